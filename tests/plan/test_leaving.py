"""Which routes a document takes along, because a link loses the addresses that they belong to."""

from __future__ import annotations

from typing import Any

import pytest
from model import compiled, host_of, wanted

from nncp.host import Host

BOOT, RA, DHCP, BGP = 3, 9, 16, 186
KERNELS = {"protocol": 3}


def route(
    family: str, net: str, *hops: tuple[str, str], protocol: int = BOOT, dev: str = ""
) -> dict[str, Any]:
    nexthops = [[name, via, 1, False] for name, via in hops]
    key = f"route {family} 254 {net} {1024 if family == 'ipv6' else 0}{f' dev {dev}' if dev else ''}"
    return {key: {"type": "unicast", "protocol": protocol, "nexthops": nexthops}}


ROUTES = {
    "static 4": route("ipv4", "10.1.0.0/16", ("eth1", "192.0.2.254")),
    "device 4": route("ipv4", "10.2.0.0/16", ("eth1", "")),
    "dhcp 4": route("ipv4", "0.0.0.0/0", ("eth1", "192.0.2.254"), protocol=DHCP),
    "bgp 4": route("ipv4", "10.3.0.0/16", ("eth1", "192.0.2.254"), protocol=BGP),
    "both 4": route("ipv4", "10.4.0.0/16", ("eth1", "192.0.2.254"), ("eth2", "198.51.100.254")),
    "other 4": route("ipv4", "10.5.0.0/16", ("eth2", "198.51.100.254")),
    "static 6": route("ipv6", "2001:db8:1::/48", ("eth1", "2001:db8::fe")),
    "device 6": route("ipv6", "2001:db8:2::/48", ("eth1", ""), dev="eth1"),
    "local 6": route("ipv6", "2001:db8:3::/48", ("eth1", "fe80::1")),
    "ra 6": route("ipv6", "::/0", ("eth1", "fe80::1"), protocol=RA),
    "ra via 6": route("ipv6", "2001:db8:5::/48", ("eth1", "2001:db8::fe"), protocol=RA),
    "other ra 6": route("ipv6", "2001:db8:4::/48", ("eth2", "fe80::1"), protocol=RA),
}
NAMES = {next(iter(row)): name for name, row in ROUTES.items()}
HOST = host_of({
    **{f"link eth{n}": {"type": "ethernet"} for n in (1, 2)}, **{f"up eth{n}": {} for n in (1, 2)},
    "link br0": {"type": "linux-bridge"}, "up br0": {}, "link bond0": {"type": "bond", "mode": "balance-rr"},
    "address eth1 192.0.2.1/24": {}, "address eth2 198.51.100.1/24": {},
    "address eth1 2001:db8::1/64": {}, "address eth1 fe80::5/64": KERNELS,
    **{key: attrs for row in ROUTES.values() for key, attrs in row.items()},
})  # fmt: skip
ALL_4, ALL_6 = {"static 4", "device 4", "dhcp 4"}, {"static 6", "device 6", "local 6", "ra 6", "ra via 6"}


def lost(text: str, host: Host = HOST) -> set[str]:
    """Return the routes that a document takes away, and `both 4-` where one hop of that is left."""
    rows = [row for row in wanted(f"interfaces: [{text}]", host) if row.key[0] == "route"]
    left = {f"{NAMES[' '.join(row.key)]}-" for row in rows if not row.absent}
    return left | {NAMES[" ".join(row.key)] for row in rows if row.absent}


def eth1(more: str) -> str:
    return f"{{name: eth1, {more}}}"


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (eth1("mtu: 1400"), set()),
        (eth1("state: absent"), ALL_4 | {"both 4-", "static 6"}),
        (eth1("controller: br0"), ALL_4 | ALL_6 | {"both 4-"}),
        ("{name: br0, type: linux-bridge, bridge: {port: [{name: eth1}]}}", ALL_4 | ALL_6 | {"both 4-"}),
        ("{name: br0, type: linux-bridge, bridge: {port: [{name: eth2}]}}", {"both 4-", "other 4", "other ra 6"}),
        (eth1("ipv4: {enabled: false}"), ALL_4 | {"both 4-"}),
        (eth1("ipv4: {enabled: true, address: []}"), ALL_4 | {"both 4-"}),
        (eth1("ipv4: {enabled: true, address: [{ip: 192.0.2.1, prefix-length: 24}]}"), set()),
        (eth1("ipv4: {enabled: true, address: [{ip: 192.0.2.7, prefix-length: 24}]}"), set()),
        (eth1("ipv6: {enabled: false}"), ALL_6),
        (eth1("ipv6: {enabled: true, address: []}"), {"static 6"}),
        (eth1("ipv6: {enabled: true, address: [{ip: '2001:db8::7', prefix-length: 64}]}"), set()),
        (eth1("ipv6: {enabled: true, autoconf: false}"), {"ra 6", "ra via 6"}),
    ],
)  # fmt: skip
def test_what_belongs_to_the_addresses_of_a_link_goes_with_them(text: str, taken: set[str]) -> None:
    assert lost(text) == taken


def test_a_port_that_stays_one_and_a_link_that_keeps_another_address_lose_no_route() -> None:
    port = host_of({"port eth1": {"controller": "br0", "type": "linux-bridge"}})
    assert lost(eth1("controller: br0"), HOST.with_rows(port)) == set()
    further = HOST.with_rows(host_of({"address eth1 192.0.2.9/24": {}}))
    assert (
        lost(eth1("ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}"), further) == set()
    )


def test_an_address_that_no_document_speaks_of_keeps_its_routes() -> None:
    """An advertised address goes here, and neither the given one nor what the kernel makes is spoken of."""
    advertised = host_of(
        {"address eth1 2001:db8:aa::5/64": {"protocol": 2}, "address eth1 fe80::9/64": {"protocol": 3}}
    )
    text = eth1("ipv6: {enabled: true, autoconf: false}")
    host = HOST.with_rows(advertised)
    assert lost(text, host) == {"ra 6", "ra via 6"}
    other = [row for row in host if row.key != ("address", "eth1", "2001:db8::1/64")]
    assert lost(text, Host(other)) == {"ra 6", "ra via 6", "static 6"}


def test_a_virtual_link_that_goes_takes_its_routes_of_both_families() -> None:
    over = ROUTES["static 4"] | ROUTES["local 6"]
    rows = {
        key: {**attrs, "nexthops": [["br0", *hop[1:]] for hop in attrs["nexthops"]]}
        for key, attrs in over.items()
    }
    host = HOST.with_rows(host_of({**rows, "address br0 192.0.2.3/24": {}}))
    assert lost("{name: br0, type: linux-bridge, state: absent}", host) == {"static 4", "local 6"}


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("mtu: 1400", False),
        ("ipv6: {enabled: false}", False),
        ("ipv4: {enabled: false}", True),
        ("controller: br0", True),
    ],
)
def test_a_gateway_that_stands_outside_every_prefix_stays_one_while_its_link_keeps_its_addresses(
    text: str, refused: bool
) -> None:
    onlink = HOST.with_rows(host_of(route("ipv4", "10.8.0.0/16", ("eth1", "203.0.113.9"))))
    asked = "{destination: 10.9.0.0/16, next-hop-interface: eth1, next-hop-address: 203.0.113.9}"
    found = compiled(f"interfaces: [{eth1(text)}]\nroutes: {{config: [{asked}]}}", onlink).faults
    assert [name for name, fault in found if "outside every prefix" in fault.message] == ["eth1"] * refused
