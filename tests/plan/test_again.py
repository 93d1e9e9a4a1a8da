"""What a plan makes again, and with what: all that nobody can see from the order of its writes alone."""

from __future__ import annotations

from typing import Any

import pytest
from model import after, host_of, told, wanted

from nncp.errors import Error
from nncp.host import Key, Op, Row
from nncp.known import KINDS
from nncp.needs import up_before
from nncp.plan import plan
from nncp.remake import irreplaceable

ETH = {"link eth0": {"type": "ethernet"}, "link eth1": {"type": "ethernet"}}
PAIR = {"link ve0": {"type": "veth", "peer": "ve1", "index": 5, "tx-queues": 1, "mtu": 1400},
        "link ve1": {"type": "veth", "peer": "ve0", "index": 6, "flags": 4098, "mtu": 1300}, "up ve1": {}}  # fmt: skip
BRIDGE = {**ETH, "link br0": {"type": "linux-bridge", "vlan-default-pvid": 7},
          "port eth0": {"type": "linux-bridge", "controller": "br0"}, "up eth0": {},
          "vlans eth0": {"vids": [[7, 7, "pvid untagged"]]}}  # fmt: skip
STACKED = {"link v": {"type": "vlan", "base-iface": "eth0", "id": 5}}
BOND = {"type": "bond", "mode": "active-backup"}
OWN = {"vids": ((9, 9, ""),)}


def link(name: str, **attrs: Any) -> Row:
    return Row(("link", name), {attr.replace("_", "-"): value for attr, value in attrs.items()})


def written(rows: Any, *want: Row) -> list[Op]:
    """Return the writes of a plan that a kernel can carry out, and that leave nothing to do."""
    host = host_of(rows)
    ops = plan(host, want, KINDS)
    assert plan(after(host, ops), want, KINDS) == []
    return [op for op in ops if not op.implied]


def made(key: Key, ops: list[Op]) -> Op:
    return next(op for op in ops if (op.verb, op.key) == ("create", key))


def test_a_link_of_another_type_has_nothing_of_the_former() -> None:
    remove, create, up = written(
        {"link d": {"type": "dummy", "mtu": 1400}, "up d": {}}, link("d", type="linux-bridge")
    )
    assert [told(op) for op in (remove, create, up)] == ["remove link d", "create link d", "* create up d"]
    assert create.attrs == {"type": "linux-bridge"}


def test_a_link_that_is_made_again_keeps_what_a_document_does_not_say() -> None:
    now = {**ETH, "link v": {"type": "vlan", "base-iface": "eth0", "id": 5, "mtu": 1400}}
    ops = written(now, Row(("link", "v"), {"unknown": 1, "id": 6}))
    assert made(("link", "v"), ops).attrs == {"type": "vlan", "base-iface": "eth0", "id": 6, "mtu": 1400}


def test_what_is_set_at_creation_only_costs_a_new_link_where_the_kernel_tells_it() -> None:
    now = {"link t": {"type": "tap", "multi-queue": False}}
    assert [told(op) for op in written(now, link("t", multi_queue=True))] == [
        "remove link t",
        "create link t",
    ]
    assert plan(host_of({"link t": {"type": "tap"}}), [link("t", multi_queue=True)], KINDS) == []


def test_a_veth_is_made_again_with_its_other_end_as_that_was() -> None:
    ops = written(PAIR, link("ve0", tx_queues=4))
    create = made(("link", "ve0"), ops)
    assert (create.attrs["peer-index"], create.attrs["peer-kept"]) == (6, {"flags": 4098})
    assert "* create up ve1" in [told(op) for op in ops]


@pytest.mark.parametrize("wish", [link("ve0", type="dummy"), link("ve0", type="veth", peer="ve2")])
def test_the_other_end_of_a_veth_that_is_none_of_it_any_more_goes_for_good(wish: Row) -> None:
    assert [told(op) for op in written(PAIR, wish)] == ["remove link ve0", "create link ve0"]


@pytest.mark.parametrize("wish", [link("br0", type="dummy"), link("br0", **BOND)])
def test_a_controller_of_another_type_has_no_port_of_the_former(wish: Row) -> None:
    ops = plan(host_of(BRIDGE), [wish], KINDS)
    assert [told(op) for op in ops if op.key[0] == "port"] == ["? remove port eth0"]
    assert [told(op) for op in written(BRIDGE, wish)] == ["remove link br0", "create link br0"]


def test_a_bond_that_is_made_again_gets_the_ports_that_it_had() -> None:
    port = {"type": "bond", "controller": "bond0", "queue-id": 2}
    now = {**ETH, "link bond0": {**BOND, "tx-queues": 1}, "port eth0": port}
    assert made(("port", "eth0"), written(now, link("bond0", tx_queues=4))).attrs == port


@pytest.mark.parametrize(
    ("bridge", "given"),
    [({"vlan-default-pvid": 7}, ((7, 7, "pvid untagged"),)), ({}, ((1, 1, "pvid untagged"),)), ({"vlan-default-pvid": 0}, ())],
)  # fmt: skip
def test_vlans_are_written_over_those_that_the_kernel_gives_a_new_port(bridge: Any, given: Any) -> None:
    now = {**BRIDGE, "vlans eth0": {"vids": [[8, 8, ""]]}, "link br1": {"type": "linux-bridge", **bridge}}
    port = Row(("port", "eth0"), {"type": "linux-bridge", "controller": "br1"})
    create = made(("vlans", "eth0"), written(now, port, Row(("vlans", "eth0"), OWN)))
    assert (create.attrs, create.old, create.type) == (OWN, {"vids": given}, "port")


def test_a_bridges_own_vlans_are_written_over_its_default_one() -> None:
    want = [link("br0", type="linux-bridge", vlan_default_pvid=7), Row(("vlans", "br0"), OWN)]
    ops = written({}, *want)
    create = made(("vlans", "br0"), ops)
    assert (create.old, create.type) == ({"vids": ((7, 7, "pvid untagged"),)}, "linux-bridge")
    assert made(("link", "br0"), ops).old == {}


def test_a_port_that_is_made_again_carries_what_it_did() -> None:
    now = {
        **BRIDGE,
        **STACKED,
        "port v": {"type": "linux-bridge", "controller": "br0"},
        "vlans v": {"vids": [[8, 8, ""]]},
    }
    create = made(("vlans", "v"), written(now, link("v", id=6)))
    assert (create.attrs, create.back) == ({"vids": ((8, 8, ""),)}, True)


def test_what_a_port_does_by_itself_is_not_written_to_one_that_is_made_again_unless_it_is_asked_for() -> None:
    port = {"type": "linux-bridge", "controller": "br0", "state": "forwarding", "priority": 3}
    now = {**BRIDGE, **STACKED, "port v": port}
    assert "state" not in made(("port", "v"), written(now, link("v", id=6))).attrs
    asked = plan(host_of(now), [link("v", id=6), Row(("port", "v"), {**port, "state": "disabled"})], KINDS)
    assert made(("port", "v"), asked).attrs["state"] == "disabled"


def test_what_waits_for_a_switch_is_written_before_that_is_thrown() -> None:
    """A bridge that filters takes no other default VLAN (br_vlan_set_default_pvid)."""
    bridge = link("br1", type="linux-bridge", vlan_filtering=True, vlan_default_pvid=7)
    create, change = (op for op in written({}, bridge) if op.key[0] == "link")
    assert (create.verb, create.back, "vlan-filtering" in create.attrs) == ("create", False, False)
    assert (change.verb, change.back, change.attrs) == ("change", False, {"vlan-filtering": True})


def test_routes_of_a_link_come_back_with_it_or_go_with_its_last_address() -> None:
    """A link without any address may have routes; one that loses its last loses them (fib_disable_ip)."""
    over = {"type": "unicast", "protocol": 186, "nexthops": [["v", "", 1, False]]}
    now = {**ETH, **STACKED, "up eth0": {}, "up v": {}, "route ipv4 254 10.0.0.0/8 0": over}
    ops = written(now, link("v", id=6))
    assert made(("route", "ipv4", "254", "10.0.0.0/8", "0"), ops).back
    address = ("address", "v", "192.0.2.1/24")
    gone = plan(host_of({**now, " ".join(address): {}}), [Row(address, absent=True)], KINDS)
    assert [told(op) for op in gone] == [
        "? remove route ipv4 254 10.0.0.0/8 0",
        "remove address v 192.0.2.1/24",
    ]


def test_a_route_is_made_beside_others_only_where_there_are_others() -> None:
    over = {"type": "unicast", "protocol": 4, "nexthops": (("eth0", "192.0.2.9", 1, False),)}
    now = {**ETH, "up eth0": {}, "address eth0 192.0.2.1/24": {}}
    route = ("route", "ipv4", "254", "10.0.0.0/8", "0")
    assert "beside" not in made(route, written(now, Row(route, over))).attrs
    apart = Row((*route, "via 192.0.2.8 dev eth0"), {**over, "nexthops": (("eth0", "192.0.2.8", 1, False),)})
    there = host_of(now).with_rows([Row(route, over)])
    assert made(apart.key, plan(there, [apart], KINDS)).attrs["beside"]


def test_vlans_of_a_port_stay_behind_when_it_moves() -> None:
    now = {**BRIDGE, "link br1": {"type": "linux-bridge"}}
    ops = written(now, Row(("port", "eth0"), {"type": "linux-bridge", "controller": "br1"}))
    assert [told(op) for op in ops] == ["remove port eth0", "create port eth0"]


def test_an_address_that_comes_back_is_what_it_was() -> None:
    now = {
        **ETH,
        "link v": {"type": "vlan", "base-iface": "eth0", "id": 5},
        "address v 192.0.2.1/24": {"scope": 0},
    }
    create = made(("address", "v", "192.0.2.1/24"), written(now, link("v", id=6)))
    assert (create.attrs, create.old, create.back) == ({"scope": 0}, {"scope": 0}, True)


def test_what_nobody_gives_or_can_write_is_not_written() -> None:
    (create,) = written({}, Row(("link", "d"), {"type": "dummy", "mtu": None, "alias": "a", "carrier": True}))
    assert create.attrs == {"type": "dummy", "alias": "a"}


def test_a_port_leaves_out_what_its_bonds_mode_does_not_know() -> None:
    options = {"type": "bond", "controller": "bond0", "priority": 3, "actor-port-priority": 4}
    ops = plan(host_of(ETH), [link("bond0", **BOND), Row(("port", "eth0"), options)], KINDS)
    assert made(("port", "eth0"), ops).attrs == {"type": "bond", "controller": "bond0", "priority": 3}


def test_a_link_goes_down_to_become_a_port_of_a_bond_that_no_document_names() -> None:
    now = {**ETH, "up eth0": {}, "link bond0": BOND}
    ops = written(now, Row(("port", "eth0"), {"controller": "bond0"}))
    assert [told(op) for op in ops] == ["* remove up eth0", "create port eth0", "* create up eth0"]


def bonded(**queues: int) -> dict[str, Any]:
    ports = {f"port {name}": {"type": "bond", "controller": "bond0", "queue-id": queue, "priority": queue}
             for name, queue in queues.items()}  # fmt: skip
    return {**ETH, "link bond0": BOND, **ports}


def test_a_port_gives_up_for_a_moment_what_another_is_to_get() -> None:
    want = [
        Row(("port", name), {"controller": "bond0", "queue-id": queue})
        for name, queue in (("eth0", 2), ("eth1", 1))
    ]
    port = ("port", "eth1")
    first = written(bonded(eth0=1, eth1=2), *want)[0]
    assert first == Op("change", port, {"queue-id": 0}, {"queue-id": 2}, type="bond")


def test_a_port_that_goes_gives_nothing_up_and_what_ports_may_have_alike_is_left() -> None:
    gone = Row(("port", "eth0"), absent=True)
    taken = Row(("port", "eth1"), {"controller": "bond0", "queue-id": 1})
    assert [told(op) for op in written(bonded(eth0=1, eth1=2), gone, taken)] == [
        "remove port eth0",
        "change port eth1",
    ]
    alike = Row(("port", "eth1"), {"controller": "bond0", "priority": 1})
    assert [told(op) for op in written(bonded(eth0=1, eth1=2), alike)] == ["change port eth1"]


def test_secondary_addresses_that_are_to_go_go_before_their_primary_one() -> None:
    now = {
        **ETH,
        "address eth0 192.0.2.1/24": {},
        "address eth0 192.0.2.2/24": {"secondary-to": "192.0.2.1/24"},
    }
    gone = [Row(("address", "eth0", f"192.0.2.{n}/24"), absent=True) for n in (1, 2)]
    ops = plan(host_of(now), gone, KINDS)
    assert [(op.key[2], op.implied) for op in ops] == [("192.0.2.2/24", False), ("192.0.2.1/24", False)]
    ops = plan(host_of(now), gone[:1], KINDS)
    assert [(op.key[2], op.implied) for op in ops] == [("192.0.2.2/24", True), ("192.0.2.1/24", False)]


def test_an_address_that_differs_in_all_that_can_be_changed_is_changed() -> None:
    now = {**ETH, "address eth0 192.0.2.1/24": {"lasting": False, "metric": 5}}
    wish = Row(("address", "eth0", "192.0.2.1/24"), {"lasting": True, "metric": 6})
    assert [told(op) for op in written(now, wish)] == ["change address eth0 192.0.2.1/24"]


def test_an_option_that_only_the_former_mode_knows_is_told_with_what_it_was() -> None:
    now = {"link bond0": {"type": "bond", "mode": "802.3ad", "lacp_rate": "fast"}}
    first, _ = written(now, Row(("link", "bond0"), {**BOND, "lacp_rate": "slow"}))
    assert first == Op("change", ("link", "bond0"), {"lacp_rate": "slow"}, {"lacp_rate": "fast"}, type="bond")


def test_a_circle_names_each_interface_once() -> None:
    want = [Row(("link", name), {"type": "vlan", "base-iface": base, "id": 1}) for name, base in ("ab", "ba")]
    with pytest.raises(Error, match=r": a -> b -> a$"):
        plan(host_of({}), [*want, Row(("up", "a")), Row(("up", "b"))], KINDS)


STACK = {**ETH, "link v": {"type": "vlan", "base-iface": "eth0", "id": 5}, "link w": {"type": "vlan", "base-iface": "v", "id": 6},
         "link t": {"type": "vxlan", "base-iface": "w"}, "link d": {"type": "dummy"}}  # fmt: skip


def refused(roots: list[str], *want: Row) -> list[str]:
    rows = {row.key: row.attrs for row in host_of(STACK)}
    keys = [("link", name) for name in roots]
    found = irreplaceable(set(rows), keys, rows, {row.key: row for row in want}, KINDS)
    return [error.subject for error in found]


def test_what_could_not_come_back_is_told_once_with_the_first_that_takes_it() -> None:
    assert refused(["v", "d", "w"]) == ["v"]


def test_what_goes_for_good_takes_along_what_could_not_come_back() -> None:
    final = Row(("link", "v"), absent=True, final=True)
    assert refused(["v"], final) == []
    assert refused(["v"], Row(("link", "v"), absent=True)) == ["v"]
    assert refused(["v", "w"], final) == ["w"]


def test_a_document_that_changes_a_controllers_type_lists_its_ports() -> None:
    text = "interfaces: [{name: br0, type: bond, link-aggregation: {mode: active-backup, port: [eth0]}}]"
    ops = written(BRIDGE, *wanted(text, host_of(BRIDGE)))
    assert made(("port", "eth0"), ops).attrs == {"type": "bond", "controller": "br0"}


def test_a_port_that_is_made_again_is_what_it_was_to_the_same_controller() -> None:
    port = {"type": "linux-bridge", "controller": "br0", "priority": 3}
    now = {**BRIDGE, **STACKED, "port v": port}
    ops = written(now, link("v", id=6), Row(("port", "v"), {"type": "linux-bridge", "controller": "br0"}))
    assert made(("port", "v"), ops).attrs == port


def test_addresses_that_the_kernel_gives_a_link_by_itself_are_left_to_it_when_it_is_made_again() -> None:
    kernels = {"address v fe80::5/64": {"protocol": 3}, "address v fe80::6/64": {}}
    ops = written({**ETH, **STACKED, "up v": {}, **kernels}, link("v", id=6))
    assert [op.key[2] for op in ops if op.key[0] == "address"] == ["fe80::6/64"]


def test_routes_that_go_with_ipv6_are_told_and_what_is_asked_for_is_not() -> None:
    """IPv6 that is off takes the routes of daemons (addrconf_ifdown); what is written otherwise takes nothing."""
    off = "net/ipv6/conf/eth0/disable_ipv6"
    over = {"type": "unicast", "protocol": 186, "nexthops": [["eth0", "fe80::1", 1, False]]}
    routes = [("route", "ipv6", "254", f"2001:db8:{n}::/48", "1024") for n in (1, 2, 3)]
    now = {**ETH, "up eth0": {}, f"sysctl {off}": {"value": "0"}, **{" ".join(key): over for key in routes}}
    asked = [Row(routes[0], over), Row(routes[1], absent=True)]

    def going(value: str, *more: Row) -> list[tuple[str, bool]]:
        ops = plan(host_of(now), [Row(("sysctl", off), {"value": value}), *more], KINDS)
        gone = [op for op in ops if op.key[0] == "route" and op.verb == "remove"]
        assert all(op.old["protocol"] == 186 for op in gone)
        return sorted((op.key[3], op.implied) for op in gone)

    assert going("1") == [(f"2001:db8:{n}::/48", True) for n in (1, 2, 3)]
    assert going("1", *asked) == [("2001:db8:2::/48", False), ("2001:db8:3::/48", True)]
    assert going("0") == []
    assert [told(op) for op in plan(host_of(now), [Row(("sysctl", off), absent=True)], KINDS)] == [
        f"remove sysctl {off}"
    ]


def test_what_a_change_costs_is_what_its_dearest_attribute_does() -> None:
    """The first of these is nobody's, the last of them wants the bond to be down."""
    now = {**ETH, "link bond0": {**BOND, "unknown": 1, "miimon": 100}, "up bond0": {}}
    want = {"a-unknown": 2, "miimon": 50, "mode": "balance-rr", "z-unknown": 2}
    assert [told(op) for op in written(now, Row(("link", "bond0"), want))] == [
        "* remove up bond0", "change link bond0", "* create up bond0",
    ]  # fmt: skip


def test_what_another_gives_up_by_itself_is_not_taken_from_it() -> None:
    """Of three ports two exchange their queues by way of the third's, which is to be none."""
    want = [
        Row(("port", name), {"controller": "bond0", "queue-id": queue})
        for name, queue in (("eth0", 0), ("eth1", 1))
    ]
    ops = written(bonded(eth0=1, eth1=2), *want)
    assert [(op.key[1], op.attrs) for op in ops] == [("eth0", {"queue-id": 0}), ("eth1", {"queue-id": 1})]


def test_vlans_that_a_wish_is_not_about_are_no_difference() -> None:
    vids = [[1, 1, "pvid untagged"], [5, 5, ""], [7, 7, ""]]
    wish = Row(("vlans", "br0"), {"vids": ((1, 1, "pvid untagged"), (5, 5, "")), "ids": (5,)})
    assert written({**BRIDGE, "vlans br0": {"vids": vids}}, wish) == []
    assert [
        told(op) for op in plan(host_of({**BRIDGE, "vlans br0": {"vids": vids[::2]}}), [wish], KINDS)
    ] == ["change vlans br0"]


def test_an_address_that_cannot_be_changed_is_given_anew_with_those_behind_it() -> None:
    keys = [("address", "eth0", f"192.0.2.{n}/24") for n in (1, 2, 3)]
    behind = [{"scope": 0}, {"scope": 0, "after": "192.0.2.1/24"}, {"scope": 0, "after": "192.0.2.2/24"}]
    now = {**ETH, **{" ".join(key): attrs for key, attrs in zip(keys, behind, strict=True)}}
    want = [Row(key, attrs) for key, attrs in zip(keys, behind, strict=True)]
    again = [Row(keys[0], {"scope": 254}), *want[1:]]
    assert [op.key for op in written(now, *again) if op.verb == "create"] == keys
    assert [op.verb for op in written(now, *again)] == ["remove"] * 3 + ["create"] * 3
    assert [told(op) for op in written(now, want[0], Row(keys[1], {"scope": 254}))] == [
        f"remove {' '.join(keys[1])}", f"create {' '.join(keys[1])}",
    ]  # fmt: skip
    first_goes = [Row(keys[0], absent=True), Row(keys[1], {"scope": 0}), want[2]]
    assert [told(op) for op in written(now, *first_goes)] == [f"remove {' '.join(keys[0])}"]


def test_a_link_goes_down_to_move_from_a_bridge_to_a_bond() -> None:
    now = {**BRIDGE, "link bond0": BOND}
    ops = written(now, Row(("port", "eth0"), {"type": "bond", "controller": "bond0"}))
    assert [told(op) for op in ops] == [
        "* remove up eth0", "remove port eth0", "create port eth0", "* create up eth0",
    ]  # fmt: skip


def test_an_entry_of_a_bridge_comes_back_with_its_port_and_stays_behind_when_that_moves() -> None:
    entry = {"bridge": "br0", "head": [128, 4, 0], "sent": []}
    now = {**BRIDGE, **STACKED, "port v": {"type": "linux-bridge", "controller": "br0"},
           "fdb v 02:00:00:00:00:01 ": entry, "link br1": {"type": "linux-bridge"}}  # fmt: skip
    again = [told(op) for op in written(now, link("v", id=6))]
    assert "* create fdb v 02:00:00:00:00:01 " in again
    moved = plan(host_of(now), [Row(("port", "v"), {"type": "linux-bridge", "controller": "br1"})], KINDS)
    assert "? remove fdb v 02:00:00:00:00:01 " in [told(op) for op in moved]


def test_what_goes_by_itself_is_told_as_what_it_was() -> None:
    now = {"link d": {"type": "dummy"}, "link v": {"type": "vlan", "base-iface": "d", "id": 5}}
    (op,) = (op for op in plan(host_of(now), [Row(("link", "d"), absent=True)], KINDS) if op.implied)
    assert (op.key, op.type, op.old["id"]) == (("link", "v"), "vlan", 5)


def test_the_other_end_that_is_made_with_a_link_is_changed_to_what_it_is_to_be() -> None:
    ops = written({}, link("ve0", type="veth", peer="ve1"), link("ve1", type="veth", peer="ve0", mtu=1300))
    assert [(told(op), op.attrs.get("mtu")) for op in ops] == [
        ("create link ve0", None),
        ("change link ve1", 1300),
    ]


def test_a_circle_is_seen_among_whatever_else_there_is_to_write() -> None:
    circle = [link("a", type="vlan", base_iface="b", id=1), link("b", type="vlan", base_iface="a", id=2)]
    others = [link(f"d{n}", type="dummy") for n in range(4)]
    with pytest.raises(Error, match="circle: a -> b -> a") as caught:
        plan(host_of({}), [*others, *circle], KINDS)
    assert caught.value.subject == "a"


@pytest.mark.parametrize(
    ("former", "mode", "anew"),
    [("vepa", "bridge", False), ("passthru", "bridge", True), ("vepa", "passthru", True)],
)
def test_what_a_change_costs_depends_on_both_values(former: str, mode: str, anew: bool) -> None:
    now = {**ETH, "link m": {"type": "mac-vlan", "base-iface": "eth0", "mode": former}}
    assert [op.verb for op in written(now, link("m", mode=mode))] == (
        ["remove", "create"] if anew else ["change"]
    )


@pytest.mark.parametrize(("option", "former"), [("priority", (1, 2)), ("queue-id", (0, 2))])
def test_what_two_ports_may_have_alike_is_written_to_each_alone(option: str, former: tuple[int, int]) -> None:
    now = {**ETH, "link bond0": BOND}
    names = ("eth0", "eth1")
    for name, value in zip(names, former, strict=True):
        now[f"port {name}"] = {"type": "bond", "controller": "bond0", option: value}
    swapped = [
        Row(("port", name), {"controller": "bond0", option: value})
        for name, value in zip(names, former[::-1], strict=True)
    ]
    if option == "queue-id":  # none is none, whoever has it
        assert [
            told(op) for op in written(now, Row(("port", "eth1"), {"controller": "bond0", option: 0}))
        ] == ["change port eth1"]
        swapped[0] = Row(("port", "eth0"), {"controller": "bond0", option: 3})
    assert [told(op) for op in written(now, *swapped)] == ["change port eth0", "change port eth1"]


def test_what_rests_on_a_port_is_up_before_it_is_opened_and_no_other_link() -> None:
    port = ("port", "x")
    resting = {("link", "x"): {"type": "vlan", "base-iface": "y"}}
    assert list(up_before(port, "bond", resting, KINDS)) == [("up", "y")]
    assert list(up_before(port, "linux-bridge", resting, KINDS)) == []
    assert list(up_before(port, "bond", {("link", "x"): {"type": "veth", "peer": "y"}}, KINDS)) == []
    assert list(up_before(port, "bond", {}, KINDS)) == []
