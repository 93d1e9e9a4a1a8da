"""The VLANs that a filtering bridge carries itself for the VLAN links above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from model import compiled, host_of, wanted

from nncp.carried import carried, is_uncarried
from nncp.carried import joined as carried_joined
from nncp.host import Row
from nncp.listed import Listed

if TYPE_CHECKING:
    from nncp.host import Host

PVID = (1, 1, "pvid untagged")
FILTERS = {"type": "linux-bridge", "index": 7, "vlan-filtering": True, "vlan-default-pvid": 1}


def above(number: int, base: str = "br0", **more: Any) -> dict[str, Any]:
    return {"type": "vlan", "base-iface": base, "id": number, **more}


def host(vids: Any = (PVID,), carried: Any = (), **more: Any) -> Host:
    rows = {"link br0": FILTERS, "vlans br0": {"vids": vids}, "link eth1": {"type": "ethernet"},
            "link eth2": {"type": "ethernet"}, "link eth3": {"type": "ethernet"}, **more}  # fmt: skip
    return host_of(rows).where(listed=(), carried=carried)


def vlan(name: str, number: int, base: str = "br0", more: str = "") -> str:
    return f"{{name: {name}, type: vlan, vlan: {{base-iface: {base}, id: {number}{more}}}}}"


def own(now: Host, *interfaces: str, bridge: str = "br0") -> Any:
    """Return the VLANs that a document gives a bridge itself, None where it changes none."""
    rows = wanted(f"interfaces: [{', '.join(interfaces)}]", now)
    return next((row.attrs["vids"] for row in rows if row.key == ("vlans", bridge)), None)


@pytest.mark.parametrize(
    ("kind", "ids"),
    [(FILTERS, (5, 9)), ({"type": "dummy"}, (1, 5))],
)
def test_a_bridge_that_stands_is_asked_only_about_the_vlans_that_change(kind: Any, ids: Any) -> None:
    """Others may put some there meanwhile; one that is made is as we make it."""
    now = host((PVID, (7, 7, ""), (9, 9, "")), [("br0", 9)], **{"link br0": kind, "link w": above(9)})
    rows = {("link", "v"): Row(("link", "v"), above(5)), ("link", "w"): Row(("link", "w"), absent=True)}
    rows["link", "br0"] = Row(("link", "br0"), FILTERS)
    assert [row.attrs["ids"] for row in carried(rows, now)] == [ids]


def test_a_route_of_ipv4_says_nothing_of_a_bridge_of_that_name() -> None:
    now = host(**{"link ipv4": FILTERS, "vlans ipv4": {"vids": (PVID, (6, 6, ""))}}).where(
        listed=(), carried=[("ipv4", 6)]
    )
    route = Row(("route", "ipv4", "254", "10.0.0.0/8", "0"), {"nexthops": (("eth1", "192.0.2.9", 1, False),)})
    assert list(carried({route.key: route}, now)) == []
    link = Row(("link", "ipv4"), {})
    assert [row.attrs["vids"] for row in carried({link.key: link}, now)] == [(PVID,)]


@pytest.mark.parametrize(
    ("more", "uncarried"),
    [
        ({}, True),
        ({"vlans br0": {"vids": (PVID, (5, 5, ""))}}, False),
        ({"vlans br0": {}}, True),
        ({"link br0": {**FILTERS, "vlan-filtering": False}}, False),
        ({"link br0": {**FILTERS, "vlan-protocol": "802.1ad"}}, False),
        ({"link v": above(5, "eth1")}, False),
        ({"link v": {"type": "vlan", "id": 5}}, False),  # the link below is in another network namespace
        ({"link v": {"type": "mac-vlan", "base-iface": "br0"}}, False),
    ],
)
def test_a_vlan_that_the_bridge_below_does_not_carry_is_known(more: Any, uncarried: bool) -> None:
    assert is_uncarried("v", host(**{"link v": above(5), **more})) == uncarried


TRUNK = "vlan: {mode: trunk, trunk-tags: [{id: 9}]}"
NEW = f"{{name: br1, type: linux-bridge, bridge: {{port: [{{name: eth1, {TRUNK}}}]}}}}"
BEGINS = f"{{name: br0, type: linux-bridge, bridge: {{port: [{{name: eth1, {TRUNK}}}]}}}}"
PLAIN = {"link br0": {**FILTERS, "vlan-filtering": False}}


@pytest.mark.parametrize(
    ("now", "interfaces", "vids"),
    [
        (host(), [vlan("v", 5)], (PVID, (5, 5, ""))),
        (host(), [vlan("v", 5), vlan("w", 6)], (PVID, (5, 6, ""))),
        (host((PVID, (5, 5, ""))), [vlan("v", 5)], None),
        (host(), [vlan("v", 5, "eth1")], None),
        (host(), [vlan("v", 5, more=", protocol: 802.1ad")], None),
        (host(**PLAIN), [vlan("v", 5)], None),
        # Filtering that begins takes along what stands there; otherwise others' links are theirs.
        (host(**PLAIN, **{"link v": above(5)}), [BEGINS], (PVID, (5, 5, ""))),
        (host(**{"link v": above(5)}), [BEGINS], None),
        (host(**{"link v": above(5)}), [vlan("w", 6)], (PVID, (6, 6, ""))),
        # What was added for a link goes with the last one that wants it, and nobody else's does.
        (host((PVID, (5, 7, "")), [("br0", 6)], **{"link v": above(6)}), ["{name: v, state: absent}"],
         (PVID, (5, 5, ""), (7, 7, ""))),
        (host((PVID, (5, 7, "")), [("br1", 6)], **{"link v": above(6)}), ["{name: v, state: absent}"], None),
        (host((PVID, (5, 5, "")), [("br0", 6)], **{"link v": above(6)}), ["{name: v, state: absent}"], None),
        (host((PVID, (6, 6, "")), [("br0", 6)], **{"link v": above(6), "link w": above(6)}),
         ["{name: v, state: absent}"], None),
        (host((PVID, (6, 6, "")), [("br0", 6)], **{"link v": above(6)}), [vlan("v", 5)], (PVID, (5, 5, ""))),
        (host((PVID, (6, 6, "")), [("br0", 6)], **{"link v": above(6)}), [vlan("v", 6, "eth1")], (PVID,)),
        # A document that changes nothing of a link wants it as it stands.
        (host(**{"link v": above(5)}), ["{name: v, type: vlan, state: up}"], (PVID, (5, 5, ""))),
    ],
)  # fmt: skip
def test_a_bridge_carries_the_vlans_of_the_links_above_it(
    now: Host, interfaces: list[str], vids: Any
) -> None:
    assert own(now, *interfaces) == vids


@pytest.mark.parametrize(
    ("options", "vids"),
    [
        ("", (PVID, (5, 5, ""))),
        ("vlan-default-pvid: 8", ((5, 5, ""), (8, 8, "pvid untagged"))),
        ("vlan-default-pvid: 0", ((5, 5, ""),)),
    ],
)
def test_a_new_bridge_carries_its_default_vlan_too(options: str, vids: Any) -> None:
    new = NEW.replace("bridge: {", f"bridge: {{options: {{{options}}}, ")
    assert own(host(), new, vlan("v", 5, "br1"), bridge="br1") == vids


def test_a_link_of_another_type_becomes_a_bridge_without_what_it_was() -> None:
    now = host(**{"link br1": {"type": "bond"}, "vlans br1": {"vids": ((77, 77, ""),)}})
    assert own(now, NEW, vlan("v", 5, "br1"), bridge="br1") == (PVID, (5, 5, ""))


@pytest.mark.parametrize(
    ("vids", "after"),
    [
        ((PVID, (3, 9, "")), ((3, 7, ""), (8, 8, "pvid untagged"), (9, 9, ""), (20, 20, ""))),
        (((1, 1, ""), (3, 3, "pvid untagged")), ((1, 1, ""), (3, 3, "pvid untagged"), (20, 20, ""))),
    ],
)
def test_a_new_default_vlan_takes_the_place_of_the_former(vids: Any, after: Any) -> None:
    text = f"{{name: br0, type: linux-bridge, bridge: {{options: {{vlan-default-pvid: 8}}, port: [{{name: eth1, {TRUNK}}}]}}}}"
    assert own(host(vids), text, vlan("v", 20)) == after


def test_a_default_vlan_that_is_not_the_usual_one_is_known_as_the_former() -> None:
    now = host(((3, 3, "pvid untagged"),), **{"link br0": {**FILTERS, "vlan-default-pvid": 3}})
    text = f"{{name: br0, type: linux-bridge, bridge: {{options: {{vlan-default-pvid: 8}}, port: [{{name: eth1, {TRUNK}}}]}}}}"
    assert own(now, text, vlan("v", 20)) == ((8, 8, "pvid untagged"), (20, 20, ""))


def test_a_bridge_of_service_vlans_carries_those() -> None:
    now = host(**{"link br0": {**FILTERS, "vlan-protocol": "802.1ad"}})
    assert own(now, vlan("v", 5, more=", protocol: 802.1ad"), vlan("w", 6)) == (PVID, (5, 5, ""))


def joined(now: Host, *interfaces: str) -> list[tuple[str, ...]]:
    found = compiled(f"interfaces: [{', '.join(interfaces)}]", now)
    return [(*note.key, *note.names) for note in found.notes if "into one network" in note.text]


def bridge(*ports: str, kind: str = "linux-bridge") -> str:
    listed = ", ".join(f"{{name: {port}}}" for port in ports)
    return f"{{name: br1, type: {kind}, bridge: {{port: [{listed}]}}}}"


def test_two_vlans_of_one_link_in_one_bridge_are_warned_of() -> None:
    one, other = vlan("v", 5, "eth1"), vlan("w", 6, "eth1")
    links = [one, other, vlan("x", 7, "eth2")]
    assert joined(host(), *links, bridge("v", "w", "x", "eth3")) == [("port", "br1", "v", "w")]
    assert joined(host(), *links, bridge("v", "x", "eth2", "eth3")) == []
    assert joined(host(), one, other.replace("{", "{controller: br0, ", 1), bridge("v")) == []
    assert joined(host(), "{name: d, type: mac-vlan, mac-vlan: {base-iface: eth1, mode: vepa}}",
                  "{name: e, type: mac-vlan, mac-vlan: {base-iface: eth1, mode: vepa}}", bridge("d", "e")) == []  # fmt: skip
    gone = host(**{f"link {name}": above(number, "eth1") for name, number in (("v", 5), ("w", 6))},
                **{f"port {name}": {"controller": "br0", "type": "linux-bridge"} for name in ("v", "w")})  # fmt: skip
    assert joined(gone, "{name: br0, type: linux-bridge, bridge: {port: []}}") == []
    bond = "{name: bond0, type: bond, link-aggregation: {mode: balance-rr, port: [v, w]}}"
    assert joined(host(), one, other, bond) == []
    hidden = host(**{f"link {name}": {"type": "vlan", "id": number} for name, number in (("v", 5), ("w", 6))})
    assert joined(hidden, bridge("v", "w")) == []


def test_a_port_that_is_not_there_joins_nothing() -> None:
    ports = [Row(("port", name), {"controller": "br0", "type": "linux-bridge"}) for name in ("v", "w")]
    now = host(**{"link v": above(5, "eth1")})
    assert list(carried_joined(ports, now)) == []
    assert (
        list(carried_joined([Row(("port", "v"), {"controller": "br9", "type": "linux-bridge"})], now)) == []
    )
    assert list(carried_joined(ports, now.with_rows(host_of({"link w": above(6, "eth1")})))) == [
        ("br0", "eth1", ["v", "w"])
    ]


def test_what_documents_put_on_a_bridge_is_known_until_it_goes() -> None:
    now = host((PVID, (7, 7, "")))
    one = Listed().after(now, wanted(f"interfaces: [{vlan('v', 5)}]", now))
    assert one == Listed((), (("br0", 5),))
    known = one.known_to(host((PVID, (5, 5, ""), (7, 7, "")), **{"link v": above(5)}))
    assert known.carried == {("br0", 5)}
    other = Listed(("eth9",), (("br0", 5), ("br9", 5)))
    gone = other.after(known, wanted("interfaces: [{name: v, state: absent}]", known))
    assert gone == Listed(("eth9",), (("br9", 5),))
    assert other.same(known, []) == other
    new = wanted(f"interfaces: [{NEW}, {vlan('v', 5, 'br1')}]", now)
    assert Listed().after(now, new).vlans == (("br1", 5),), "a bridge has its default VLAN by itself"


def test_a_ports_vlans_are_no_bridges_own_and_its_name_is_known_from_then_on() -> None:
    now = host()
    listed = Listed(("eth3",)).after(now, wanted(f"interfaces: [{BEGINS}]", now))
    assert listed == Listed(("eth1", "eth3"), ())
    standing = host(
        **{"port eth1": {"controller": "br0", "type": "linux-bridge"}, "vlans eth1": {"vids": (PVID,)}}
    )
    assert listed.after(standing, wanted(f"interfaces: [{BEGINS}]", standing)) == listed
    let_go = wanted("interfaces: [{name: br0, type: linux-bridge, bridge: {port: []}}]", standing)
    assert listed.after(standing, let_go) == listed
    assert listed.known_to(now).listed == {"eth1", "eth3"}
