"""Two documents beside each other: the part that differs, and what undoes it."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from nncp.desired import WRITTEN
from nncp.document.delta import difference
from nncp.document.policy import Policy, read_current, read_policies
from nncp.document.revert import reverse
from nncp.document.source import load
from nncp.document.tidy import joined, tidied, types_of

CURRENT = """\
    interfaces:
    - name: eth1
      type: ethernet
      mtu: "0x5dc"
      mac-address: 02:00:00:00:00:0a
      ipv4: {enabled: yes, dhcp: false, address: [{ip: 192.0.2.5, prefix-length: "24"}]}
      ipv6:
        enabled: true
        address: [{ip: "2001:0DB8::5", prefix-length: 64}, {ip: "fe80::1", prefix-length: 64}]
    - {name: eth2, type: ethernet}
    - {name: eth3, type: ethernet, controller: bond0}
    - {name: bond0, type: bond, link-aggregation: {mode: 1, port: [eth3], options: {miimon: 100}}}
    - {name: v33, type: vlan, vlan: {base-iface: eth2, id: 33}}
    - {name: ovs0, type: ovs-bridge, bridge: {port: [{name: eth9}]}}
    routes:
      config:
      - {destination: 0.0.0.0/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1, metric: 10, table-id: 254}
      - {destination: "2001:db8:9::/48", next-hop-interface: eth1, next-hop-address: "2001:db8::1", metric: 1024}
      - {destination: 203.0.113.0/24, route-type: blackhole}
    route-rules:
      config:
      - {family: ipv4, priority: 1000, ip-from: 192.0.2.0/24, route-table: 50}
      - {family: ipv4, priority: 30007, ip-from: 198.51.100.0/24, route-table: 60}
    dns-resolver: {config: {server: [192.0.2.53, 192.0.2.54]}}
    hostname: {running: a, config: a}
    description: as it was
"""


def policy(text: str, *, file: str = "d.yaml") -> Policy:
    (found,) = read_policies(load(dedent(text), file=file))
    return found


HAVE = read_current(load(dedent(CURRENT), file="c.yaml"), file="c.yaml")
STANDS = tidied(HAVE, WRITTEN)


def wanted(text: str) -> dict[str, Any]:
    return tidied(policy(text), WRITTEN, types_of(HAVE.state.value))


def differs(text: str) -> dict[str, Any]:
    return difference(wanted(text), STANDS)


def undoes(text: str) -> dict[str, Any]:
    return reverse(wanted(text), STANDS)


def interfaces(*, name: str, **parts: Any) -> dict[str, Any]:
    return {"interfaces": [{"name": name, **parts}]}


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (CURRENT, {}),
        ("interfaces: []", {}),
        ("interfaces: [{name: eth1, mtu: 1500, ipv4: {enabled: true, dhcp: no}, ipv6: {autoconf: false}}]", {}),
        ("interfaces: [{name: eth1, mac-address: '02:00:00:00:00:0A'}]", {}),
        ("interfaces: [{name: eth1, mtu: null, description: null}]", {}),
        ("interfaces: [{name: gone, state: absent}]", {}),
        ("interfaces: [{name: bond0, link-aggregation: {mode: active-backup, ports: [eth3]}}]", {}),
        (
            "interfaces: [{name: eth1, mtu: 9000, ipv4: {enabled: true}}]",
            interfaces(name="eth1", type="ethernet", state="up", mtu=9000),
        ),
        (
            "interfaces: [{name: eth1, state: down}]",
            interfaces(name="eth1", type="ethernet", state="down"),
        ),
        (
            "interfaces: [{name: bond0, state: absent}]",
            interfaces(name="bond0", type="bond", state="absent"),
        ),
        (
            "interfaces: [{name: bond0, type: bond, link-aggregation: {mode: 1, options: {miimon: 140}}}]",
            interfaces(name="bond0", type="bond", state="up", **{"link-aggregation": {"options": {"miimon": 140}}}),
        ),
        (
            "interfaces: [{name: v33, type: vlan, vlan: {id: 34}}]",
            interfaces(name="v33", type="vlan", state="up", vlan={"base-iface": "eth2", "id": 34}),
        ),
        (
            "interfaces: [{name: v40, type: vlan, vlan: {base-iface: eth2, id: 40}}]",
            interfaces(name="v40", type="vlan", state="up", vlan={"base-iface": "eth2", "id": 40}),
        ),
        (
            "interfaces: [{name: eth1, ipv6: {enabled: false}}]",
            interfaces(name="eth1", type="ethernet", state="up", ipv6={"enabled": False}),
        ),
        (
            "interfaces: [{name: eth1, identifier: mac-address}]",
            interfaces(name="eth1", type="ethernet", state="up", identifier="mac-address",
                       **{"mac-address": "02:00:00:00:00:0a", "profile-name": "eth1"}),
        ),
        (
            "interfaces: [{name: ovs0, type: ovs-bridge, bridge: {port: [{name: eth8}]}}]",
            interfaces(name="ovs0", type="ovs-bridge", state="up", bridge={"port": [{"name": "eth8"}]}),
        ),
        ("dns-resolver: {config: {server: [192.0.2.53, 192.0.2.54]}}", {}),
        ("dns-resolver: {config: {}}", {"dns-resolver": {"config": {}}}),
        (
            "dns-resolver: {config: {server: [192.0.2.54, 192.0.2.53]}}",
            {"dns-resolver": {"config": {"server": ["192.0.2.54", "192.0.2.53"]}}},
        ),
        ("hostname: {config: b}", {"hostname": {"config": "b"}}),
        ("hostname: {config: a}", {}),
        ("description: another", {"description": "another"}),
    ],
)  # fmt: skip
def test_the_part_that_differs(text: str, part: dict[str, Any]) -> None:
    assert differs(text) == part


DEFAULT = {
    "destination": "0.0.0.0/0", "next-hop-interface": "eth1", "next-hop-address": "192.0.2.1", "metric": 10,
    "table-id": 254,
}  # fmt: skip
V6 = {
    "destination": "2001:db8:9::/48", "next-hop-interface": "eth1", "next-hop-address": "2001:db8::1",
    "metric": 1024,
}  # fmt: skip


@pytest.mark.parametrize(
    ("entries", "part", "back"),
    [
        (
            "[{destination: 0.0.0.0/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1, metric: 10}]",
            [],
            [],
        ),
        (
            "[{destination: '2001:db8:9::1/48', next-hop-interface: eth1, next-hop-address: '2001:db8::1'}]",
            [],
            [],
        ),
        (
            "[{destination: 0.0.0.0/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1, metric: 20}]",
            [{**DEFAULT, "metric": 20}],
            [{**DEFAULT, "metric": 20, "state": "absent"}],
        ),
        ("[{state: absent, destination: 0.0.0.0/0}]", [{**DEFAULT, "state": "absent"}], [DEFAULT]),
        ("[{state: absent, destination: 0.0.0.0/0, metric: 20}]", [], []),
        ("[{state: absent, table-id: 0, metric: 10}]", [{**DEFAULT, "state": "absent"}], [DEFAULT]),
        (
            "[{state: absent, next-hop-interface: eth1}]",
            [{**V6, "state": "absent"}, {**DEFAULT, "state": "absent"}],
            [V6, DEFAULT],
        ),
        (
            """[{destination: 0.0.0.0/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1, metric: 20},
            {destination: 192.0.2.9/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1, metric: 20}]""",
            [{**DEFAULT, "metric": 20}],
            [{**DEFAULT, "metric": 20, "state": "absent"}],
        ),
        (
            """[{state: absent, destination: 0.0.0.0/0}, {destination: 0.0.0.0/0, metric: 10,
            next-hop-interface: eth1, next-hop-address: 192.0.2.1}]""",
            [],
            [],
        ),
    ],
)
def test_routes_that_go_and_come(entries: str, part: list[Any], back: list[Any]) -> None:
    def of(found: dict[str, Any]) -> list[Any]:
        return [{**entry} for entry in found.get("routes", {}).get("config", [])]

    def plain(routes: list[Any]) -> list[Any]:
        return [{key: value for key, value in route.items() if key != "table-id"} for route in routes]

    text = f"routes: {{config: {entries}}}"
    assert plain(of(differs(text))) == plain(part)
    assert plain(of(undoes(text))) == plain(back)


RULE = {"family": "ipv4", "priority": 1000, "ip-from": "192.0.2.0/24", "route-table": 50}


@pytest.mark.parametrize(
    ("entries", "part", "back"),
    [
        ("[{ip-from: 192.0.2.0/24, route-table: 50}]", [], []),
        (
            "[{ip-to: '2001:db8::/32', route-table: 70}, {ip-from: 192.0.2.9/24, route-table: 51}]",
            [
                {"priority": 30008, "family": "ipv6", "ip-to": "2001:db8::/32", "route-table": 70},
                {"priority": 30009, "family": "ipv4", "ip-from": "192.0.2.0/24", "route-table": 51},
            ],
            [
                {"ip-to": "2001:db8::/32", "route-table": 70, "state": "absent"},
                {"ip-from": "192.0.2.0/24", "route-table": 51, "state": "absent"},
            ],
        ),
        (
            "[{ip-from: '::/0', route-table: 70}]",
            [{"priority": 30008, "family": "ipv6", "route-table": 70}],
            [{"family": "ipv6", "ip-from": "", "route-table": 70, "state": "absent"}],
        ),
        ("[{ip-from: 192.0.2.0/24, ip-to: 0.0.0.0/0, route-table: 50}]", [], []),
        ("[{state: absent, ip-to: '', route-table: 50}]", [{**RULE, "state": "absent"}], [RULE]),
        ("[{state: absent, ip-to: 0.0.0.0/0, route-table: 50}]", [{**RULE, "state": "absent"}], [RULE]),
        ("[{state: absent, ip-from: ''}, {state: absent, ip-to: 203.0.113.0/24}]", [], []),
        ("[{state: absent, priority: -1, ip-from: 192.0.2.1/24}]", [{**RULE, "state": "absent"}], [RULE]),
        (
            "[{state: absent, route-table: 0, priority: 1000}]",
            [{**RULE, "state": "absent"}],
            [RULE],
        ),
        (
            """[{ip-to: 203.0.113.0/24, route-table: 9, priority: 40000}, {ip-from: 203.0.113.9, route-table: 9},
            {ip-from: 203.0.113.9/32, route-table: 9, priority: -1}, {ip-to: 203.0.113.0/24, route-table: 9}]""",
            [
                {"family": "ipv4", "ip-to": "203.0.113.0/24", "route-table": 9, "priority": 40000},
                {"priority": 30008, "family": "ipv4", "ip-from": "203.0.113.9/32", "route-table": 9},
            ],
            [
                {"ip-from": "203.0.113.9/32", "route-table": 9, "state": "absent"},
                {"ip-to": "203.0.113.0/24", "route-table": 9, "priority": 40000,
                 "state": "absent"},
            ],
        ),
        ("[{state: absent, route-table: 50}]", [{**RULE, "state": "absent"}], [RULE]),
        ("[{state: absent, route-table: 99}]", [], []),
    ],
)  # fmt: skip
def test_rules_that_go_and_come(entries: str, part: list[Any], back: list[Any]) -> None:
    text = f"route-rules: {{config: {entries}}}"
    assert differs(text).get("route-rules", {}).get("config", []) == part
    assert undoes(text).get("route-rules", {}).get("config", []) == back


ADDRESSES = {
    "ipv4": {"enabled": True, "dhcp": False, "address": [{"ip": "192.0.2.5", "prefix-length": 24}]},
    "ipv6": {"enabled": True, "address": [{"ip": "2001:db8::5", "prefix-length": 64}]},
}


@pytest.mark.parametrize(
    ("text", "back"),
    [
        (CURRENT, {}),
        (
            "interfaces: [{name: eth1, mtu: 1280}]",
            interfaces(name="eth1", type="ethernet", state="up", mtu=1500),
        ),
        ("interfaces: [{name: d0, type: dummy}]", interfaces(name="d0", type="dummy", state="absent")),
        ("interfaces: [{name: d0, type: dummy, state: absent}]", {}),
        (
            "interfaces: [{name: v33, type: vlan, vlan: {base-iface: eth1, id: 9}}]",
            interfaces(name="v33", type="vlan", state="up", vlan={"base-iface": "eth2", "id": 33}),
        ),
        (
            "interfaces: [{name: bond0, link-aggregation: {port: []}}]",
            interfaces(name="bond0", type="bond", state="up", **{"link-aggregation": {"port": ["eth3"]}}),
        ),
        (
            "interfaces: [{name: eth1, ipv4: {enabled: true, dhcp: true}}]",
            interfaces(name="eth1", type="ethernet", state="up", ipv4=ADDRESSES["ipv4"]),
        ),
        (
            "interfaces: [{name: eth2, type: ethernet, ethernet: {sr-iov: {total-vfs: 2}}}]",
            interfaces(name="eth2", type="ethernet", state="up", ethernet={"sr-iov": {"total-vfs": 0}}),
        ),
        ("hostname: {running: b, config: b}", {"hostname": {"running": "a", "config": "a"}}),
        (
            "dns-resolver: {config: {}}",
            {"dns-resolver": {"config": {"server": ["192.0.2.53", "192.0.2.54"]}}},
        ),
    ],
)
def test_what_undoes_it(text: str, back: dict[str, Any]) -> None:
    assert undoes(text) == back


def test_a_port_gets_its_addresses_and_routes_back_and_a_new_bridge_goes() -> None:
    back = undoes("interfaces: [{name: br0, type: linux-bridge, bridge: {port: [{name: eth1}]}}]")
    eth1, br0 = back["interfaces"]
    assert eth1 == {"name": "eth1", "type": "ethernet", "state": "up", **ADDRESSES}
    assert br0 == {"name": "br0", "type": "linux-bridge", "state": "absent"}
    assert [route["next-hop-interface"] for route in back["routes"]["config"]] == ["eth1", "eth1"]


def test_a_port_of_a_vrf_keeps_its_addresses_and_none_is_given_back() -> None:
    back = undoes("interfaces: [{name: red, type: vrf, vrf: {route-table-id: 10, port: [eth1]}}]")
    assert back == interfaces(name="red", type="vrf", state="absent")


def test_what_rests_on_what_goes_comes_back_with_it() -> None:
    back = undoes("interfaces: [{name: eth2, type: ethernet, state: absent}]")
    assert [one["name"] for one in back["interfaces"]] == ["v33", "eth2"]


@pytest.mark.parametrize(
    "asked",
    ["ipv4: {enabled: false}", "ipv4: {enabled: true, address: [{ip: 192.0.2.9, prefix-length: 24}]}"],
)
def test_routes_come_back_with_the_address_that_they_went_with(asked: str) -> None:
    back = undoes(f"interfaces: [{{name: eth1, type: ethernet, {asked}}}]")
    assert "192.0.2.1" in [route.get("next-hop-address") for route in back["routes"]["config"]]


def test_what_goes_down_comes_up_with_its_routes_and_all_that_rests_on_it() -> None:
    back = undoes(
        "interfaces: [{name: eth1, type: ethernet, state: down}, {name: eth2, type: ethernet, state: down}]"
    )
    assert {one["name"]: one["state"] for one in back["interfaces"]} == dict.fromkeys(
        ("eth1", "eth2", "v33"), "up"
    )
    assert {route["next-hop-interface"] for route in back["routes"]["config"]} == {"eth1"}


def test_the_peer_of_a_veth_comes_back_with_it() -> None:
    pair = [
        {"name": name, "type": "veth", "state": "up", "veth": {"peer": peer}} for name, peer in ("ab", "ba")
    ]
    want = tidied(policy("interfaces: [{name: a, type: veth, state: absent}]"), WRITTEN)
    have = {
        "interfaces": pair,
        "routes": {"config": [{"destination": "10.0.0.0/8", "next-hop-interface": "b"}]},
    }
    back = reverse(want, have)
    assert [one["name"] for one in back["interfaces"]] == ["b", "a"]
    assert back["routes"] == have["routes"]


def test_what_dhcp_gave_is_asked_of_it_again() -> None:
    leased = {"ip": "10.0.0.9", "prefix-length": 24, "valid-life-time": "300sec"}
    current = (
        f"interfaces: [{{name: e, type: ethernet, ipv4: {{enabled: true, dhcp: true, address: [{leased}]}}}}]"
    )
    have = tidied(policy(current.replace("'", '"')), WRITTEN)
    static = tidied(
        policy("interfaces: [{name: e, type: ethernet, ipv4: {enabled: true, dhcp: false}}]"), WRITTEN
    )
    (back,) = reverse(static, have)["interfaces"]
    assert back["ipv4"] == {
        "enabled": True, "dhcp": True, "address": [], "auto-dns": True, "auto-gateway": True, "auto-routes": True
    }  # fmt: skip


def test_maps_of_open_vswitch_get_their_entries_back() -> None:
    have = tidied(
        policy("ovs-db: {external_ids: {a: x}}\novn: {bridge-mappings: [{localnet: l, bridge: b}]}"), WRITTEN
    )
    want = tidied(
        policy(
            "ovs-db: {external_ids: {a: null, b: y}}\n"
            "ovn: {bridge-mappings: [{localnet: l, state: absent}, {localnet: m, bridge: c}]}"
        ),
        WRITTEN,
    )
    assert reverse(want, have) == {
        "ovs-db": {"external_ids": {"a": "x", "b": None}},
        "ovn": {"bridge-mappings": [{"localnet": "m", "state": "absent"}, {"localnet": "l", "bridge": "b"}]},
    }


def test_a_manifests_ports_have_the_vlans_that_it_means() -> None:
    manifest = """\
        apiVersion: nmstate.io/v1
        kind: NodeNetworkConfigurationPolicy
        metadata: {name: b}
        spec: {desiredState: {interfaces: [{name: br0, type: linux-bridge, bridge: {port: [{name: eth2}]}}]}}
    """
    (bridge,) = differs(manifest)["interfaces"]
    assert bridge["bridge"]["port"][0]["vlan"]["mode"] == "trunk"


def test_a_null_says_nothing_on_either_side() -> None:
    null = "interfaces: [{name: eth1, type: ethernet, ipv4: null, mtu: null}]"
    said = "interfaces: [{name: eth1, type: ethernet, ipv4: {enabled: false}, mtu: 1500}]"
    one, other = (tidied(policy(text), WRITTEN) for text in (null, said))
    assert difference(one, other) == {}
    assert difference(other, one)["interfaces"][0]["mtu"] == 1500
    assert reverse(other, one) == {"interfaces": [{"name": "eth1", "type": "ethernet", "state": "up"}]}


def test_documents_of_one_call_are_one() -> None:
    one = wanted("interfaces: [{name: eth1, mtu: 9000}]\nroutes: {config: [{state: absent, metric: 1}]}")
    other = wanted("interfaces: [{name: eth1, state: down}, {name: eth2, mtu: 9}]\nroutes: {config: []}")
    both = joined([one, other])
    assert [(made["name"], made.get("mtu"), made["state"]) for made in both["interfaces"]] == [
        ("eth1", 9000, "down"), ("eth2", 9, "up")
    ]  # fmt: skip
    assert both["routes"]["config"] == [{"state": "absent", "metric": 1}]
