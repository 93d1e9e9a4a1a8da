"""Gateways and sources that the kernel would refuse, told before the first write and at their places."""

from __future__ import annotations

from typing import Any

import pytest
from model import compiled, host_of, told

from nncp.host import Row
from nncp.known import KINDS
from nncp.plan import plan

OFF = "sysctl net/ipv6/conf/eth1/disable_ipv6"
HOST: dict[str, Any] = {
    **{f"link eth{n}": {"type": "ethernet"} for n in (1, 2)}, **{f"up eth{n}": {} for n in (1, 2)},
    "address eth1 192.0.2.1/24": {"broadcast": "192.0.2.255"}, "address eth2 198.51.100.1/24": {},
    "address eth1 2001:db8::1/64": {}, "address eth2 2001:db8:2::1/64": {}, "address eth1 fe80::5/64": {"protocol": 3},
    "address lo 2001:db8:99::1/128": {},
    OFF: {"value": "0"}, "link bond0": {"type": "bond", "mode": "active-backup"},
}  # fmt: skip


def link_route(net: str, table: int = 254) -> dict[str, Any]:
    family = "ipv6" if ":" in net else "ipv4"
    key = f"route {family} {table} {net} {1024 if family == 'ipv6' else 0}"
    return {key: {"type": "unicast", "protocol": 4, "nexthops": [["eth1", "", 1, False]]}}


def faults(route: str, *interfaces: str, **more: Any) -> list[str]:
    """Return what is wrong with a route by eth1, each after its place."""
    text = f"{{interfaces: [{', '.join(interfaces)}], routes: {{config: [{{next-hop-interface: eth1, {route}}}]}}}}"
    found = compiled(text, host_of({**HOST, **more})).faults
    return [f"{fault.path[3]}: {fault.message}" for _, fault in found]


FOUR, SIX = (
    "destination: 203.0.113.0/24, next-hop-address:",
    "destination: '2001:db8:9::/48', next-hop-address:",
)
RA = {
    "route ipv6 254 ::/0 1024": {
        "type": "unicast",
        "protocol": 9,
        "nexthops": [["eth1", "fe80::1", 1, False]],
    }
}
ADVERTISED = {"address eth1 2001:db8:aa::7/64": {"protocol": 2}}


@pytest.mark.parametrize(
    ("route", "more", "why"),
    [
        (f"{FOUR} 192.0.2.9", {}, ""),
        (f"{FOUR} 192.0.3.9", {}, "is outside every prefix of eth1 (192.0.2.0/24)"),
        (f"{FOUR} 198.51.100.9", {}, "is outside every prefix of eth1 (192.0.2.0/24)"),
        (f"{FOUR} 192.0.3.9", link_route("192.0.3.9/32"), ""),
        (
            f"{FOUR} 192.0.3.9",
            link_route("192.0.3.9/32", 77),
            "is outside every prefix of eth1 (192.0.2.0/24)",
        ),
        (f"table-id: 77, {FOUR} 192.0.3.9", link_route("192.0.3.9/32", 77), ""),
        (f"table-id: 77, {FOUR} 192.0.3.9", link_route("192.0.3.9/32"), ""),
        (f"{FOUR} 192.0.2.255", {}, "is the broadcast address of 192.0.2.0/24"),
        (
            f"{FOUR} 192.0.2.255",
            {"address eth1 192.0.2.1/24": {"broadcast": ""}},
            "is the broadcast address of 192.0.2.0/24",
        ),
        (
            f"{FOUR} 192.0.2.255",
            {"address eth1 192.0.2.1/24": {"broadcast": "192.0.2.77"}},
            "is the broadcast address of 192.0.2.0/24",
        ),
        (
            f"{FOUR} 192.0.2.77",
            {"address eth1 192.0.2.1/24": {"broadcast": "192.0.2.77"}},
            "is the broadcast address of 192.0.2.0/24",
        ),
        (f"{FOUR} 192.0.2.0", {}, ""),
        (f"{FOUR} 192.0.2.127", {"address eth2 192.0.2.100/25": {}}, ""),
        (f"{FOUR} 192.0.2.77", {"address eth2 192.0.2.9/24": {"broadcast": "192.0.2.77"}}, ""),
        (f"{FOUR} 192.0.2.1", {}, ""),
        (f"{SIX} '2001:db8::9'", {}, ""),
        (f"{SIX} '2001:db8:2::9'", {}, "is outside every prefix of eth1 (2001:db8::/64)"),
        (f"{SIX} '2001:db8:9::9'", {}, "is outside every prefix of eth1 (2001:db8::/64)"),
        (f"{SIX} '2001:db8:2::9'", link_route("2001:db8:2::9/128"), ""),
        (f"{SIX} '2001:db8:bb::9'", RA, ""),
        (f"{SIX} '2001:db8:aa::9'", ADVERTISED, ""),
        (f"{SIX} '2001:db8::1'", {}, "is an address of this host itself"),
        (f"{SIX} '2001:db8:2::1'", {}, "is an address of this host itself"),
        (f"{SIX} 'fe80::9'", {}, ""),
        (f"{SIX} 'fe80::9'", {"address eth2 fe80::9/64": {"protocol": 3}}, ""),
        (f"{SIX} 'fe80::5'", {}, "is an address of this host itself"),
    ],
)
def test_a_gateway_is_told_that_cannot_be_one(route: str, more: Any, why: str) -> None:
    found = faults(route, **more)
    gateway = route.rpartition(" ")[2].strip("'")
    to = "2001:db8:9::/48" if ":" in gateway else "203.0.113.0/24"
    assert found == ([f"next-hop-address: the gateway {gateway} of {to} {why}"] if why else [])


def test_a_gateway_outside_many_prefixes_is_told_with_some_of_them() -> None:
    many = {f"address eth1 10.0.{n}.1/24": {} for n in range(20)}
    assert faults(f"{FOUR} 10.0.19.9", **many) == []
    (told_of,) = faults(f"{FOUR} 10.9.0.9", **many)
    assert told_of.endswith("is outside every prefix of eth1 (10.0.0.0/24, 10.0.1.0/24, 10.0.10.0/24, 10.0.11.0/24,"
                            " 10.0.12.0/24, 10.0.13.0/24, 10.0.14.0/24, 10.0.15.0/24, ...)")  # fmt: skip


@pytest.mark.parametrize("route", ["destination: '2001:db8:9::/48'", f"{SIX} 'fe80::1'"])
def test_a_route_by_a_link_without_ipv6_is_told(route: str) -> None:
    off = ["next-hop-interface: the route to 2001:db8:9::/48 leaves by eth1, whose IPv6 is off"]
    assert faults(route) == []
    assert faults(route, **{OFF: {"value": "1"}}) == off
    assert faults(route, "{name: eth1, ipv6: {enabled: false}}") == off
    assert faults(route, "{name: eth1, ipv6: {enabled: true}}", **{OFF: {"value": "1"}}) == []
    assert faults("destination: 203.0.113.0/24", **{OFF: {"value": "1"}}) == []


@pytest.mark.parametrize(
    ("source", "there"),
    [
        ("192.0.2.1", True), ("198.51.100.1", True), ("192.0.2.6", False), ("127.0.0.5", True),
        ("2001:db8::1", True), ("2001:db8:99::1", True), ("2001:db8::6", False),
    ],
)  # fmt: skip
def test_a_source_that_no_link_has_is_told(source: str, there: bool) -> None:
    net = "2001:db8:9::/48" if ":" in source else "203.0.113.0/24"
    told_of = f"source: no interface has {source}, the source of the route to {net}"
    asked = f"destination: '{net}', source: '{source}'"
    assert faults(asked) == ([] if there else [told_of])
    version = 6 if ":" in source else 4
    listed = (
        f"{{name: eth2, ipv{version}: {{enabled: true, address: [{{ip: '{source}', prefix-length: 24}}]}}}}"
    )
    assert faults(asked, listed) == []
    gone = f"{{name: eth1, ipv{version}: {{enabled: true, address: []}}}}"
    assert faults(asked, gone) == (
        [] if source in {"198.51.100.1", "127.0.0.5", "2001:db8:99::1"} else [told_of]
    )


VRF = {
    "link red": {"type": "vrf", "route-table-id": 77}, "address red 198.51.100.7/32": {},
    "port eth1": {"type": "vrf", "controller": "red"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "table", "interfaces", "vrf"),
    [
        ("192.0.2.1", 254, [], "red"), ("198.51.100.7", 254, [], "red"), ("192.0.2.1", 78, [], "red"),
        ("192.0.2.1", 77, [], ""), ("198.51.100.7", 77, [], ""),
        ("198.51.100.1", 254, [], ""), ("198.51.100.1", 77, [], ""),  # eth2's, which is no port
        ("198.51.100.1", 254, ["{name: red, vrf: {port: [eth1, eth2]}}"], "red"),
        ("192.0.2.1", 254, ["{name: red, vrf: {port: []}}"], ""),
        ("192.0.2.1", 254, ["{name: red, state: absent}"], ""),
        ("192.0.2.1", 77, ["{name: red, vrf: {route-table-id: 78, port: [eth1]}}"], "red"),
        ("192.0.2.1", 78, ["{name: red, vrf: {route-table-id: 78, port: [eth1]}}"], ""),
        ("198.51.100.1", 254, ["{name: blue, type: vrf, vrf: {route-table-id: 79, port: [eth2]}}"], "blue"),
        ("2001:db8::1", 254, [], ""),
    ],
)  # fmt: skip
def test_a_source_that_is_a_vrfs_is_for_its_table_alone(
    source: str, table: int, interfaces: list[str], vrf: str
) -> None:
    net = "2001:db8:9::/48" if ":" in source else "203.0.113.0/24"
    route = f"destination: '{net}', source: '{source}', table-id: {table}"
    assert faults(route, *interfaces, **VRF) == (
        [f"source: {source} is an address of the VRF {vrf}, and the route to {net} is not in its table"]
        if vrf
        else []
    )


@pytest.mark.parametrize(
    ("via", "address", "stays"),
    [("2001:db8::9", "2001:db8::1/64", False), ("fe80::9", "2001:db8::1/64", False), ("fe80::9", "", True)],
)
def test_daemons_routes_go_with_what_their_gateways_were_reached_by(
    via: str, address: str, stays: bool
) -> None:
    route = ("route", "ipv6", "254", "2001:db8:9::/48", "1024")
    rows = {
        **HOST,
        " ".join(route): {"type": "unicast", "protocol": 186, "nexthops": [["eth1", via, 1, False]]},
    }
    want = [Row(("port", "eth1"), {"type": "bond", "controller": "bond0"})]
    if address:
        want.append(Row(("address", "eth1", address), absent=True))
    else:
        # A VRF takes its new port down for a moment, which leaves it its addresses.
        want = [Row(("port", "eth1"), {"type": "vrf", "controller": "bond0"})]
        rows["link bond0"] = {"type": "vrf"}
    ops = [op for op in plan(host_of(rows), want, KINDS) if op.key == route]
    assert [told(op) for op in ops] == [f"{'* create' if stays else '? remove'} {' '.join(route)}"]
