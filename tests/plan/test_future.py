"""Links that would rest on each other in a circle: refused at their place, before anything is written."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import pytest
from model import compiled, host_of

from nncp import mtu

CARD = {"type": "ethernet"}
VLAN: dict[str, Any] = {"type": "vlan", "base-iface": "eth1", "id": 5}
HOST: dict[str, Any] = {
    "link eth1": CARD, "link eth2": CARD, "link eth1.5": VLAN,
    "link br0": {"type": "linux-bridge"}, "port eth2": {"controller": "br0", "type": "linux-bridge"},
    "link br0.7": {**VLAN, "base-iface": "br0", "id": 7},
}  # fmt: skip


def told(interfaces: str) -> list[tuple[str, str, bool]]:
    """Return of each circle where it is told, which links it has, and whether only a host could tell."""
    found = compiled(f"interfaces: [{interfaces}]", host_of(HOST)).faults
    assert all("circle" in fault.message or "itself" in fault.message for _, fault in found)
    places = [".".join(map(str, fault.path[1:])) for _, fault in found]
    names = [fault.message.removesuffix(" cannot rest on itself").rpartition(": ")[2] for _, fault in found]
    return [
        (place, name, fault.of_host) for place, name, (_, fault) in zip(places, names, found, strict=True)
    ]


def vlan(name: str, base: str) -> str:
    return (
        f"{{name: {name}, type: vlan, vlan: {{base-iface: {base}, id: {crc32(name.encode()) % 4001 + 9}}}}}"
    )


def bridge(name: str, *ports: str) -> str:
    listed = ", ".join(f"{{name: {port}}}" for port in ports)
    return f"{{name: {name}, type: linux-bridge, bridge: {{port: [{listed}]}}}}"


@pytest.mark.parametrize(
    ("interfaces", "circles"),
    [
        (vlan("a", "a"), [("0.vlan.base-iface", "a", False)]),
        (f"{vlan('a', 'b')}, {vlan('b', 'a')}", [("0.vlan.base-iface", "a -> b -> a", False)]),
        (
            f"{bridge('b1', 'b1.5')}, {vlan('b1.5', 'b1')}",
            [("0.bridge.port.0", "b1 -> b1.5 -> b1", False)],
        ),
        (
            f"{bridge('b1', 'eth1', 'v')}, {vlan('v', 'w')}, {vlan('w', 'b1')}, {vlan('x', 'v')}",
            [("0.bridge.port.1", "b1 -> v -> w -> b1", False)],
        ),
        (f"{vlan('x', 'a')}, {vlan('a', 'b')}, {vlan('b', 'a')}", [("1.vlan.base-iface", "a -> b -> a", False)]),
        ("{name: br0.7, type: vlan, controller: br0}", [("0.controller", "br0.7 -> br0 -> br0.7", True)]),
        (bridge("br0", "br0.7"), [("0.bridge.port.0", "br0 -> br0.7 -> br0", True)]),
        (
            f"{bridge('b1', 'b1.5', 'b1.6')}, {vlan('b1.5', 'b1')}, {vlan('b1.6', 'b1')}",
            [
                ("0.bridge.port.0", "b1 -> b1.5 -> b1", False),
                ("0.bridge.port.1", "b1 -> b1.6 -> b1", False),
            ],
        ),
        ("{name: m, type: mac-vlan, mac-vlan: {base-iface: m, mode: bridge}}", [("0.mac-vlan.base-iface", "m", False)]),
        (f"{bridge('b1', 'eth1.5')}, {vlan('b1.5', 'b1')}, {bridge('b2', 'b1.5')}", []),
        (f"{bridge('b1', 'v')}, {vlan('v', 'eth1')}, {bridge('b2', 'w')}, {vlan('w', 'v')}", []),
        ("{name: br0, state: absent}, {name: br0.7, type: dummy}", []),
        (f"{{name: br0, type: dummy}}, {bridge('b1', 'br0')}, {vlan('eth2', 'b1')}", []),
        (f"{{name: br0.7, state: absent}}, {vlan('eth2', 'eth1')}", []),
    ],
)  # fmt: skip
def test_links_in_a_circle_are_refused_at_their_place(
    interfaces: str, circles: list[tuple[str, str, bool]]
) -> None:
    assert told(interfaces) == circles


def test_a_host_without_a_change_is_not_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nncp.future.Future._below", None)
    assert told(f"{bridge('br0', 'eth2')}, {vlan('eth1.5', 'eth1')}") == []


@pytest.mark.parametrize("links", [7, 8, 9, 3000])
def test_links_that_rest_too_high_on_one_another_are_refused(links: int) -> None:
    chain = [vlan("v1", "eth1"), *(vlan(f"v{n}", f"v{n - 1}") for n in range(2, links + 1))]
    found = compiled(f"interfaces: [{', '.join([*chain, bridge('b1', f'v{links}')])}]", host_of(HOST)).faults
    high = "would rest on 8 links, each on the next, and the kernel takes no more than 7"
    name, index = ("b1", 7) if links == 7 else ("v8", 7)
    assert [(fault.path, fault.message) for _, fault in found] == [(("interfaces", index), f"{name} {high}")]


def test_what_stands_above_a_change_counts_and_is_told_at_the_change() -> None:
    names = ["br0.7", *(f"w{n}" for n in range(5))]
    above = {
        f"link {name}": {**VLAN, "base-iface": below} for name, below in zip(names[1:], names, strict=False)
    }
    now = host_of({**HOST, **above})
    found = compiled("interfaces: [{name: eth1.5, type: vlan, controller: br0}]", now).faults
    assert [(fault.path, name) for name, fault in found] == [(("interfaces", 0, "controller"), "w4")]
    assert compiled("interfaces: [{name: eth1, controller: br0}]", now).faults == []


def test_the_ends_of_a_pair_rest_on_nothing() -> None:
    ends = {f"link nk{n}": {"type": "netkit", "peer": f"nk{1 - n}"} for n in (0, 1)}
    found = compiled(f"interfaces: [{vlan('v', 'nk0')}]", host_of({**HOST, **ends})).faults
    assert found == []


@pytest.mark.parametrize(
    ("interfaces", "told_of"),
    [
        ("{name: m, type: mac-vlan, mac-vlan: {base-iface: old, mode: bridge}}",
         [("0.mac-vlan.base-iface", "m cannot rest on old, which is a mac-vlan itself", True)]),
        ("{name: m, type: mac-vlan, mac-vlan: {base-iface: tap, mode: bridge}}",
         [("0.mac-vlan.base-iface", "m cannot rest on tap, which is a macvtap itself", True)]),
        (("{name: m, type: mac-vlan, mac-vlan: {base-iface: n, mode: bridge}},"
         " {name: n, type: mac-vlan, mac-vlan: {base-iface: eth2, mode: vepa}}"),
         [("0.mac-vlan.base-iface", "m cannot rest on n, which is a mac-vlan itself", False),
          ("1", "eth2 cannot be a port of br0: the mac-vlan n rests on it", False)]),
        (bridge("b1", "eth1"), [("0.bridge.port.0", "eth1 cannot be a port of b1: the macvtap tap rests on it", True)]),
        ("{name: eth1, controller: br0}", [("0.controller", "eth1 cannot be a port of br0: the macvtap tap rests on it", True)]),
        ("{name: old, state: absent}, {name: tap, state: ignore}", []),
        ("{name: old, type: dummy}, {name: eth3, controller: br0}", []),
        ("{name: v, type: vlan, vlan: {base-iface: old, id: 5}}", []),
        ("{name: m, type: mac-vlan, mac-vlan: {base-iface: eth2, mode: bridge}}, {name: eth2, controller: ''}", []),
    ],
)  # fmt: skip
def test_a_mac_vlan_rests_on_no_other_and_on_no_port(
    interfaces: str, told_of: list[tuple[str, str, bool]]
) -> None:
    more = {
        "link eth3": CARD, "link old": {"type": "mac-vlan", "base-iface": "eth3", "mode": "bridge"},
        "link tap": {"type": "macvtap", "base-iface": "eth1"},
    }  # fmt: skip
    found = compiled(f"interfaces: [{interfaces}]", host_of({**HOST, **more})).faults
    places = [".".join(map(str, fault.path[1:])) for _, fault in found]
    assert [
        (place, fault.message, fault.of_host) for place, (_, fault) in zip(places, found, strict=True)
    ] == told_of


def test_what_a_host_has_by_itself_is_no_fault_of_a_document() -> None:
    """Two ends of an unknown pair name each other as what they rest on."""
    ends = {f"link q{n}": {"type": "mystery", "base-iface": f"q{1 - n}"} for n in (0, 1)}
    assert compiled(f"interfaces: [{vlan('a', 'eth1')}]", host_of({**HOST, **ends})).faults == []


def test_the_other_end_of_a_veth_is_nothing_below() -> None:
    chain = [vlan("v1", "a"), *(vlan(f"v{n}", f"v{n - 1}") for n in range(2, 7)), bridge("b1", "v6")]
    assert told(f"{{name: a, type: veth, veth: {{peer: b}}}}, {', '.join(chain)}") == []


def test_the_mtu_of_a_link_with_many_ways_down_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    look = mtu._Mtus._by_itself
    monkeypatch.setattr(mtu._Mtus, "_by_itself", lambda links, name: seen.append(name) or look(links, name))
    links = [bridge("b0", "eth1")]
    for n in range(1, 4):
        ports = [f"v{n}.{port}" for port in range(20)]
        links += [bridge(f"b{n}", *ports), *(vlan(name, f"b{n - 1}") for name in ports)]
    assert told(", ".join(links)) == []
    assert len(seen) <= 2 * len(links)  # two looks, each of its own


@pytest.mark.parametrize(
    ("interfaces", "told_of"),
    [
        ("{name: v5, type: vlan, vlan: {base-iface: eth1, id: 5}}", [("0", "eth1.5 is VLAN 5 of eth1 already, and v5 would be it once more", True)]),
        ("{name: a, type: vlan, vlan: {base-iface: eth2, id: 6}}, {name: b, type: vlan, vlan: {base-iface: eth2, id: 6}}",
         [("1", "a is VLAN 6 of eth2 already, and b would be it once more", False)]),
        ("{name: br0.7, type: vlan, vlan: {base-iface: eth1, id: 5}}", [("0", "eth1.5 is VLAN 5 of eth1 already, and br0.7 would be it once more", True)]),
        ("{name: eth1.5, state: absent}, {name: v5, type: vlan, vlan: {base-iface: eth1, id: 5}}", []),
        ("{name: eth1.5, type: dummy}, {name: v5, type: vlan, vlan: {base-iface: eth1, id: 5}}", []),
        ("{name: v5, type: vlan, vlan: {base-iface: eth1, id: 5, protocol: 802.1ad}}", []),
        ("{name: v5, type: vlan, vlan: {base-iface: eth2, id: 5}}", []),
        ("{name: eth1.5, type: vlan, vlan: {base-iface: eth1, id: 6}}, {name: v5, type: vlan, vlan: {base-iface: eth1, id: 5}}", []),
        ("{name: a, type: veth, veth: {peer: b}}, {name: c, type: veth, veth: {peer: b}}",
         [("1.veth.peer", "b is the other end of a, and cannot be that of c", False)]),
        ("{name: a, type: veth, veth: {peer: b}}, {name: b, type: veth, veth: {peer: a}}", []),
        ("{name: eth1, state: down}, {name: eth1.5, type: vlan, state: up}",
         [("0.state", "eth1 is to be down, and eth1.5, which rests on it, up", False)]),
        ("{name: eth1, state: down}, {name: eth1.5, type: vlan, state: down}", []),
        ("{name: eth1, state: down}", []),
        ("{name: eth1, state: down}, {name: eth1.5, type: vlan, vlan: {loose-binding: true}}", []),
        ("{name: eth1, state: down}, {name: m, type: mac-vlan, mac-vlan: {base-iface: eth1, mode: bridge}}", []),
    ],
)  # fmt: skip
def test_what_two_links_cannot_both_be_is_refused(
    interfaces: str, told_of: list[tuple[str, str, bool]]
) -> None:
    found = compiled(f"interfaces: [{interfaces}]", host_of(HOST)).faults
    places = [".".join(map(str, fault.path[1:])) for _, fault in found]
    assert [
        (place, fault.message, fault.of_host) for place, (_, fault) in zip(places, found, strict=True)
    ] == told_of
