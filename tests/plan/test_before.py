"""What an apply records before its first write, and that a way leads back to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, reject, settings
from model import after, host_of
from test_laws import hosts

from nncp.before import _then, before, see_the_way_back
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Op, Row
from nncp.known import KINDS
from nncp.plan import plan

CIRCLE = [
    Row(("link", "a"), {"type": "vlan", "base-iface": "b", "id": 1}),
    Row(("link", "b"), {"type": "vlan", "base-iface": "a", "id": 2}),
]


@settings(max_examples=settings.default.max_examples)
@given(hosts(), hosts())
def test_what_a_plan_leaves_is_foreseen_as_a_kernel_leaves_it(host: Host, wish: Host) -> None:
    try:
        ops = plan(host, [*wish, *(Row(row.key, absent=True) for row in host if row.key not in wish)], KINDS)
    except Error:
        reject()  # together with what stays, the wish is a loop

    def known(rows: Host) -> dict[Any, Any]:
        """Return all but what a kernel adds: default VLANs and values, and a veth's other end."""
        left = (row for row in rows if row.key[0] != "vlans" and row.attrs.get("type") != "veth")
        return {row.key: {name: value for name, value in row.attrs.items() if value} for row in left}

    assert known(_then(host, ops)) == known(after(host, ops))


def host(**more: Any) -> Host:
    return host_of({
        "link eth1": {"type": "ethernet", "mtu": 1500}, "up eth1": {}, "link eth2": {"type": "ethernet"}, "up eth2": {},
        "address eth1 192.0.2.1/24": {}, "address eth2 198.51.100.1/24": {}, **more,
    })  # fmt: skip


def recorded(now: Host, ops: list[Op]) -> tuple[set[str], set[str]]:
    """Return the rows that are kept and those whose absence is."""
    rows = before(now, ops, KINDS)
    kept = {" ".join(row.key) for row in rows if not row.absent}
    return kept, {" ".join(row.key) for row in rows if row.absent}


ETH1 = {"link eth1", "up eth1", "address eth1 192.0.2.1/24"}


@pytest.mark.parametrize(
    ("more", "op", "kept", "absent"),
    [
        ({}, Op("change", ("link", "eth1"), {"mtu": 1400}), ETH1, set()),
        ({}, Op("create", ("link", "d"), {"type": "dummy"}), set(), {"link d"}),
        ({}, Op("create", ("link", "v"), {"type": "vlan", "base-iface": "eth1", "id": 5}, type="vlan"), set(), {"link v"}),
        ({}, Op("create", ("link", "veth1"), {"type": "veth", "peer": "veth2"}, type="veth"), set(), {"link veth1"}),
        ({}, Op("create", ("sysctl", "net/ipv6/conf/eth1/accept_ra"), {"value": "0"}), ETH1,
         {"sysctl net/ipv6/conf/eth1/accept_ra"}),
        # A controller's rows can move with its ports, a link's with those that rest on it, a veth's with its peer's.
        ({"link br0": {"type": "linux-bridge"}}, Op("create", ("port", "eth1"), {"controller": "br0"}, type="linux-bridge"),
         ETH1 | {"link br0"}, {"port eth1", "up br0"}),
        ({"link br0": {"type": "linux-bridge"}, "up br0": {}, "port eth1": {"controller": "br0", "type": "linux-bridge"}},
         Op("change", ("link", "eth1"), {"mtu": 1400}), ETH1 | {"link br0", "up br0", "port eth1"}, set()),
        ({"link v": {"type": "vlan", "base-iface": "eth1", "id": 5}}, Op("remove", ("up", "eth1")),
         ETH1 | {"link v"}, {"up v"}),
        ({"link v": {"type": "vlan", "base-iface": "eth1", "id": 5}}, Op("change", ("link", "v"), {"mtu": 1400}),
         {"link v"}, {"up v"}),
        ({"link a": {"type": "veth", "peer": "b"}, "link b": {"type": "veth", "peer": "a"}, "up b": {}},
         Op("change", ("link", "a"), {"mtu": 1400}), {"link a", "link b", "up b"}, {"up a"}),
        ({"link a": {"type": "veth", "peer": "b"}}, Op("change", ("link", "a"), {"peer": "eth1"}, type="veth"),
         ETH1 | {"link a"}, {"up a"}),
        ({}, Op("rename", ("link", "lan1"), {"name": "lan1"}, {"name": "eth1"}), ETH1, {"link lan1"}),
        # What is no link's is recorded by itself; a link may have the name of a family.
        ({"sysctl net/ipv4/ip_forward": {"value": "0"}, "link ipv4": {"type": "dummy"}},
         Op("change", ("sysctl", "net/ipv4/ip_forward"), {"value": "1"}), {"sysctl net/ipv4/ip_forward"}, set()),
        ({"link ipv4": {"type": "dummy"}},
         Op("create", ("route", "ipv4", "254", "10.0.0.0/8", "0"), {"nexthops": (("eth1", "192.0.2.9", 1, False),)}),
         ETH1, {"route ipv4 254 10.0.0.0/8 0"}),
    ],
)  # fmt: skip
def test_all_rows_that_a_write_can_move_are_recorded(
    more: Any, op: Op, kept: set[str], absent: set[str]
) -> None:
    assert recorded(host(**more), [op]) == (kept, absent)


def test_a_write_that_takes_a_route_records_it_and_those_of_its_destination() -> None:
    def route(via: str) -> dict[str, Any]:
        return {
            "type": "unicast",
            "protocol": 3,
            "nexthops": [["eth1" if via.startswith("192") else "eth2", via, 1, False]],
        }

    now = host(
        **{
            "route ipv4 254 10.0.0.0/8 0": route("192.0.2.9"),
            "route ipv4 254 10.1.0.0/16 0": route("198.51.100.9"),
        }
    )
    beside = Row(("route", "ipv4", "254", "10.0.0.0/8", "0", "via 198.51.100.9 dev eth2"),
                 {"type": "unicast", "protocol": 3, "nexthops": (("eth2", "198.51.100.9", 1, False),)})  # fmt: skip
    kept, absent = recorded(now.with_rows([beside]), [Op("remove", ("up", "eth1"))])
    assert kept == ETH1 | {"route ipv4 254 10.0.0.0/8 0", " ".join(beside.key)}
    assert absent == set()


def test_what_moves_by_itself_is_not_recorded() -> None:
    port = {"controller": "br0", "type": "linux-bridge", "state": "forwarding", "learning": True}
    now = host(**{"link br0": {"type": "linux-bridge", "index": 7}, "port eth1": port})
    rows = {row.key: row.attrs for row in before(now, [Op("change", ("link", "br0"), {"mtu": 1400})], KINDS)}
    assert rows["port", "eth1"] == {name: value for name, value in port.items() if name != "state"}
    assert rows["link", "br0"] == {"type": "linux-bridge", "index": 7}


def test_an_advertised_address_is_recorded_only_where_a_write_is_about_it() -> None:
    now = host(**{"address eth1 2001:db8::5/64": {"protocol": 2}, "address eth1 fe80::5/64": {"protocol": 3}})
    address = Op("remove", ("address", "eth1", "2001:db8::5/64"))
    for op, kept in ((address, True), (Op("change", ("link", "eth1"), {"mtu": 1400}), False)):
        found, _ = recorded(now, [op])
        assert ("address eth1 2001:db8::5/64" in found) == kept
        assert "address eth1 fe80::5/64" in found


def test_of_a_bridge_that_another_may_rule_is_recorded_what_a_write_changes() -> None:
    now = host(**{"link br0": {"type": "linux-bridge", "mtu": 1500, "stp.hello-time": 2}})
    for attrs, kept in (({"mtu": 1400}, False), ({"stp.hello-time": 3}, True)):
        rows = {row.key: row.attrs for row in before(now, [Op("change", ("link", "br0"), attrs)], KINDS)}
        assert ("stp.hello-time" in rows["link", "br0"]) == kept


def test_a_link_with_a_new_name_is_recorded_under_the_former_by_which_it_can_be_found() -> None:
    ops = [
        Op("remove", ("up", "eth1"), back=True),
        Op("rename", ("link", "lan1"), {"name": "lan1"}, {"name": "eth1"}),
    ]
    rows = {row.key: row for row in before(host(), ops, KINDS)}
    assert rows["link", "eth1"].was == "lan1"
    assert {row.was for key, row in rows.items() if key != ("link", "eth1")} == {""}
    assert rows["link", "lan1"].absent


@pytest.mark.parametrize("verb", ["change", "remove"])
def test_where_no_way_leads_back_nothing_may_be_written(verb: Any) -> None:
    ops = [
        Op("create", ("link", "d"), {"type": "dummy"}),
        Op(verb, ("link", "eth1"), {"mtu": 1400}, type="ethernet"),
    ]
    with pytest.raises(Error, match=r"could not be undone: .* circle: a -> b -> a") as caught:
        see_the_way_back(host(), ops, CIRCLE, KINDS)
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert caught.value.subject == "a"
    assert "base-iface" in caught.value.hint


def test_what_is_only_made_is_undone_by_its_deletion_and_costs_no_second_plan() -> None:
    made = [Op("create", ("link", name), {"type": "dummy"}) for name in ("d", "e")]
    see_the_way_back(host(), made, CIRCLE, KINDS)
    again = Op("create", ("link", "eth1"), {"type": "ethernet"}, type="ethernet")
    with pytest.raises(Error, match="could not be undone"):
        see_the_way_back(host(), [*made, again], CIRCLE, KINDS)


def test_a_new_name_needs_no_second_plan() -> None:
    see_the_way_back(
        host(), [Op("rename", ("link", "lan1"), {"name": "lan1"}, {"name": "eth1"})], CIRCLE, KINDS
    )


def test_a_way_back_may_take_away_what_could_not_be_made_again() -> None:
    now = host(**{"link t": {"type": "vxlan", "base-iface": "d"}})
    ops = [Op("change", ("link", "eth1"), {"mtu": 1400}), Op("create", ("link", "d"), {"type": "dummy"})]
    see_the_way_back(now, ops, [Row(("link", "d"), absent=True)], KINDS)
