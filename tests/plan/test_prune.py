"""What documents no longer ask for goes; what others have beside it, in whatever it differs, stays."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from model import after

from nncp.applied import Applied
from nncp.desired import Desired, documents
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.tables.rtmsg import NONE
from nncp.tables.rule import NONE as NO_MARK

if TYPE_CHECKING:
    from collections.abc import Iterable

BOOT, STATIC, BIRD = 3, 4, 12


def link(name: str, word: str, **attrs: Any) -> list[Row]:
    return [Row(("link", name), {"type": word, "mtu": 1500, **attrs}), Row(("up", name))]


def route(*hops: tuple[Any, ...], key: Iterable[str] = (), metric: int = 0, **attrs: Any) -> Row:
    name = ("route", "ipv4", "254", "198.51.100.0/24", str(metric), *key)
    kind = "unicast" if hops else "blackhole"
    had = {**NONE, "type": kind, "protocol": STATIC, "scope": 0, "nexthops": hops}
    return Row(name, {**had, **attrs})


def rule(priority: int, protocol: int = STATIC, **more: Any) -> Row:
    said = {"from": "192.0.2.1/32", "to": "", "iif": "", "mark": 0, "mask": 0, "table": 50, "action": ""}
    attrs = {**said, "suppress": NO_MARK, **more}
    return Row(
        ("rule", "ipv4", str(priority), f"from {attrs['from']} lookup {attrs['table']}"),
        attrs | {"protocol": protocol},
    )


VIA = ("eth1", "192.0.2.1", 1, False)
OTHER = ("eth1", "192.0.2.2", 1, False)
BASE = [*link("eth1", "ethernet"), Row(("address", "eth1", "192.0.2.9/24"), {})]


def hop(via: tuple[Any, ...] = VIA, **more: Any) -> dict[str, Any]:
    where = {"next-hop-address": via[1], "next-hop-interface": via[0]}
    return {"destination": "198.51.100.0/24", **where, **more}


def routes(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"routes": {"config": list(entries)}}


def rules(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"route-rules": {"config": list(entries)}}


def interfaces(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"interfaces": list(entries)}


def named(state: dict[str, Any]) -> tuple[str, ...]:
    return tuple(interface["name"] for interface in state.get("interfaces", ()) if "name" in interface)


def pruned(
    host: Host,
    *before: dict[str, Any],
    now: dict[str, Any] | None = None,
    others: Iterable[dict[str, Any]] = (),
) -> tuple[list[str], list[str]]:
    """Return what goes of a host or changes there, and what is said beside, where a file says less."""
    applied = [Applied("a.yaml", state, made=named(state)) for state in before]
    applied += [Applied("b.yaml", state) for state in others]
    desired = Desired(documents([("a.yaml", json.dumps(now or {}))]), prune=True)
    desired.sees(applied)
    ops = plan(host, desired(host), KINDS)
    after(host, ops)
    notes = [note.text for note in desired.notes()]
    return [f"{op.verb} {' '.join(op.key)}" for op in ops if not op.implied], notes


def test_of_a_file_of_several_documents_all_are_seen() -> None:
    host = Host([*BASE, *link("d0", "dummy"), *link("d1", "dummy")])
    first, second = ({"interfaces": [{"name": name, "type": "dummy"}]} for name in ("d0", "d1"))
    gone, _ = pruned(host, first, second)
    assert [line for line in gone if "link" in line] == ["remove link d0", "remove link d1"]
    gone, _ = pruned(host, first, second, now=second)
    assert [line for line in gone if "link" in line] == ["remove link d0"]


@pytest.mark.parametrize(
    "beside",
    [
        route(OTHER, metric=5),
        route(VIA, metric=5),
        route(VIA, key=["tos 8"]),
        route(VIA, key=["via 192.0.2.1 dev eth1 proto boot"], protocol=BOOT),
        route(VIA, key=["via 192.0.2.1 dev eth1 proto bird"], protocol=BIRD),
        route(VIA, key=["via"], source="192.0.2.9"),
        route(VIA, key=["via"], cwnd=10),
        route(VIA, key=["via"], metrics=((2, 1400),)),
        route((*VIA[:3], True), key=["via"]),
        route(OTHER, key=["via"]),
        route(key=["blackhole"]),
        Row(("route", "ipv4", "100", "198.51.100.0/24", "0"), dict(route(VIA).attrs)),
    ],
)
def test_a_route_that_differs_in_one_property_stays(beside: Row) -> None:
    host = Host([*BASE, route(VIA), beside])
    assert pruned(host, routes(hop())) == (["remove route ipv4 254 198.51.100.0/24 0"], [])


@pytest.mark.parametrize(
    "alone",
    [route(VIA, protocol=BOOT), route(VIA, source="192.0.2.9"), route(VIA, **{"nexthop-id": 5})],
)
def test_one_that_no_document_can_have_made_stays_and_is_told(alone: Row) -> None:
    gone, notes = pruned(Host([*BASE, alone]), routes(hop()))
    assert gone == []
    (note,) = notes
    assert note.startswith("keeps route 198.51.100.0/24 via 192.0.2.1 dev eth1")
    assert note.endswith("it is not as a document made it, or others are beside it")


def test_where_the_kernel_would_take_another_for_it_a_route_stays() -> None:
    sourced = route(VIA, source="192.0.2.9")
    beside = route(VIA, key=["via 192.0.2.1 dev eth1"])
    gone, notes = pruned(Host([*BASE, sourced, beside]), routes(hop()))
    assert (gone, len(notes)) == ([], 2)
    several = Host([*BASE, route(VIA, OTHER), route(key=["blackhole"])])
    assert pruned(several, routes(hop()))[0] == []


def test_what_gets_the_key_of_a_route_that_has_gone_stays() -> None:
    desired = Desired(documents([("a.yaml", "{}")]), before=[Applied("a.yaml", routes(hop()))], prune=True)
    want = desired(Host([*BASE, route(VIA), route(VIA, key=["via"], source="192.0.2.9")]))
    assert plan(Host([*BASE, route(VIA, source="192.0.2.9")]), want, KINDS) == []


def test_of_a_multipath_route_its_own_hop_goes_alone() -> None:
    host = Host([*BASE, route(VIA, OTHER)])
    desired = Desired(documents([("a.yaml", "{}")]), before=[Applied("a.yaml", routes(hop()))], prune=True)
    (op,) = plan(host, desired(host), KINDS)
    assert (op.verb, op.attrs["nexthops"]) == ("change", (OTHER,))
    assert pruned(host, routes(hop()), others=[routes(hop(weight=7))]) == ([], [])
    assert pruned(host, routes(hop(weight=7)))[0] == [], "somebody gave it another weight"


def test_a_route_that_changes_and_one_that_ends_are_one_change() -> None:
    host = Host([*BASE, route(VIA, OTHER, source="192.0.2.9")])
    before = routes(hop(source="192.0.2.9"), hop(OTHER))
    assert pruned(host, before, now=routes(hop(OTHER)))[0] == ["change route ipv4 254 198.51.100.0/24 0"]
    assert pruned(
        Host([*BASE, route()]), routes({"destination": "198.51.100.0/24", "route-type": "blackhole"})
    )[0] == ["remove route ipv4 254 198.51.100.0/24 0"]


RULE = {"ip-from": "192.0.2.1/32", "route-table": 50}


@pytest.mark.parametrize(
    ("stand", "entry", "gone"),
    [
        ([rule(5), rule(6)], {"priority": 5}, ["5"]),
        ([rule(5, BOOT)], {"priority": 5}, []),
        ([rule(5), rule(30000)], {}, ["30000"]),
        ([rule(5)], {}, []),
        ([rule(30000), rule(30001, table=51), rule(30002, **{"from": "192.0.2.2/32"})], {}, ["30000"]),
        ([rule(30000, BOOT), rule(30001)], {}, ["30001"]),
        ([rule(30000), rule(30001)], {}, []),
        ([rule(32766)], {}, []),
    ],
)
def test_a_rule_goes_that_has_the_very_same_words_and_priority(
    stand: list[Row], entry: dict[str, Any], gone: list[str]
) -> None:
    found, _ = pruned(Host([*BASE, *stand]), rules({**RULE, **entry}))
    assert [line.split()[3] for line in found] == gone


def test_a_rule_that_another_document_wants_stays_whether_or_not_it_says_a_priority() -> None:
    host = Host([*BASE, rule(30000)])
    for other in (RULE, {**RULE, "priority": 30000}):
        assert pruned(host, rules(RULE), others=[rules(other)])[0] == []
        assert pruned(host, rules(RULE), now=rules(other))[0] == []
    assert pruned(host, rules(RULE), now=rules({**RULE, "priority": 7}))[0] == [
        f"remove {' '.join(rule(30000).key)}",
        f"create {' '.join(rule(7).key)}",
    ]


def test_the_one_rule_that_two_documents_asked_for_goes_once() -> None:
    host = Host([*BASE, rule(30000)])
    assert len(pruned(host, rules(RULE), rules(RULE))[0]) == 1


@pytest.mark.parametrize(
    ("word", "more", "note"),
    [
        ("veth", {}, "keeps x, though nothing asks for it now: no document said its type"),
        ("dummy", {}, "keeps x, though nothing asks for it now: no document said its type"),
        (
            "dummy",
            {"type": "linux-bridge"},
            "keeps x, though nothing asks for it now: it is of type dummy by now",
        ),
        (
            "ethernet",
            {"type": "dummy"},
            "keeps x, though nothing asks for it now: it is of type ethernet by now",
        ),
        ("dummy", {"type": "dummy", "state": "ignore"}, ""),
        ("dummy", {"type": "dummy", "state": "absent"}, ""),
        ("dummy", {"type": "dummy", "identifier": "mac-address", "mac-address": "02:00:00:00:00:01"}, ""),
    ],
)
def test_a_link_that_no_document_made_stays(word: str, more: dict[str, Any], note: str) -> None:
    host = Host([*BASE, *link("x", word), Row(("address", "x", "192.0.2.99/24"), {})])
    gone, notes = pruned(host, interfaces({"name": "x", **more}))
    assert (gone, notes) == ([], [note] if note else [])


def test_a_link_that_was_there_before_a_document_asked_for_it_stays_and_is_told() -> None:
    host = Host([*BASE, *link("x", "dummy")])
    desired = Desired(documents([("a.yaml", "{}")]), prune=True)
    desired.sees([Applied("a.yaml", interfaces({"name": "x", "type": "dummy"}))])
    assert plan(host, desired(host), KINDS) == []
    (note,) = desired.notes()
    assert note.text.endswith("it was there before a document asked for it")


def test_a_further_name_is_no_link() -> None:
    host = Host([*BASE, *link("x", "dummy"), Row(("altname", "x", "d0"))])
    assert pruned(host, interfaces({"name": "d0", "type": "dummy"})) == ([], [])


@pytest.mark.parametrize("more", [{}, {"type": "ethernet"}])
@pytest.mark.parametrize("word", ["ethernet", "veth"])
def test_a_card_loses_its_configuration(word: str, more: dict[str, Any]) -> None:
    host = Host([*link("x", word), Row(("address", "x", "192.0.2.99/24"), {})])
    gone, _ = pruned(host, interfaces({"name": "x", **more}))
    assert gone == ([] if word == "veth" and not more else ["remove address x 192.0.2.99/24"])


def test_a_veth_that_was_called_an_ethernet_goes_as_the_veth_that_it_was_made_as() -> None:
    host = Host([*link("v", "veth", peer="w"), *link("w", "veth", peer="v")])
    entry = {"name": "v", "type": "ethernet", "veth": {"peer": "w"}}
    gone, _ = pruned(host, interfaces(entry))
    assert "remove link v" in gone or "remove link w" in gone
    gone, notes = pruned(host, interfaces(entry), others=[interfaces({"name": "w", "mtu": 1400})])
    assert (gone, notes) == ([], ["keeps v, though nothing asks for it now: w would go with it"])


def test_what_another_documents_rests_on_or_leads_through_stays() -> None:
    host = Host([*BASE, *link("d0", "dummy"), *link("v", "vlan", **{"base-iface": "d0", "id": 5})])
    former = interfaces({"name": "d0", "type": "dummy"})
    for other in (
        interfaces({"name": "v", "type": "vlan", "vlan": {"base-iface": "d0", "id": 5}}),
        interfaces({"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "d0"}]}}),
        routes({"destination": "203.0.113.0/24", "next-hop-interface": "d0"}),
    ):
        assert pruned(host, former, others=[other]) == ([], [])
    assert pruned(host, former)[1] == ["keeps d0, though nothing asks for it now: v would go with it"]
    both = interfaces(
        *former["interfaces"], {"name": "v", "type": "vlan", "vlan": {"base-iface": "d0", "id": 5}}
    )
    assert "remove link d0" in pruned(host, both)[0]


def test_the_port_of_a_bridge_that_goes_is_free_and_stays() -> None:
    port = Row(("port", "eth1"), {"controller": "br0", "type": "linux-bridge"})
    host = Host([*link("eth1", "ethernet"), *link("br0", "linux-bridge"), port])
    bridge = {"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}}
    gone, _ = pruned(host, interfaces(bridge))
    assert [line for line in gone if "link" in line] == ["remove link br0"]
    kept, notes = pruned(
        host,
        interfaces(bridge, {"name": "eth1", "type": "ethernet", "mtu": 1500}),
        others=[interfaces(bridge)],
    )
    assert (kept, notes) == ([], [])
