"""Links that get another name: all that names them has the new one, and nothing else is another."""

from __future__ import annotations

from typing import Any

import pytest
from model import host_of

from nncp.host import Op, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.renaming import Renaming, renamed

HOP = ("eth0", "192.0.2.254", 1, False)
HOST = host_of({
    "link eth0": {"type": "ethernet", "mtu": 1500}, "link eth1": {"type": "ethernet"}, "up eth1": {},
    "link v": {"type": "vlan", "base-iface": "eth0", "id": 5}, "link w": {"type": "vlan", "base-iface": "eth1", "id": 5},
    "link bond0": {"type": "bond", "mode": "active-backup", "primary": "eth0"},
    "port eth0": {"controller": "bond0", "type": "bond", "queue-id": 0},
    "port eth1": {"controller": "bond0", "type": "bond", "queue-id": 0},
    "link veth1": {"type": "veth", "peer": "veth2"}, "link veth2": {"type": "veth", "peer": "veth1"},
    "link d": {"type": "dummy"}, "up d": {}, "address d 192.0.2.1/24": {}, "address d 2001:db8::1/64": {},
    "sysctl net/ipv6/conf/eth0/disable_ipv6": {"value": "0"}, "sysctl net/ipv6/conf/d/disable_ipv6": {"value": "0"},
    "route ipv4 254 10.0.0.0/8 0": {"type": "unicast", "nexthops": [HOP]},
    "route ipv4 254 10.1.0.0/16 0": {"type": "unicast", "nexthops": [("d", "192.0.2.9", 1, False)]},
    "route ipv4 254 10.9.0.0/16 0": {"type": "blackhole"},
})  # fmt: skip


def put(value: Any, names: dict[str, str]) -> Any:
    """Return a value with names in place of others, however deep."""
    if isinstance(value, tuple):
        return tuple(put(each, names) for each in value)
    if isinstance(value, dict):
        return {key: put(each, names) for key, each in value.items()}
    if isinstance(value, str) and "/" in value:
        return "/".join(names.get(part, part) for part in value.split("/"))
    return names.get(value, value) if isinstance(value, str) else value


def wish(names: dict[str, str]) -> list[Row]:
    return [
        Row(("link", new), {"type": HOST.attr("link", old, name="type")}, was=old)
        for old, new in names.items()
    ]


@pytest.mark.parametrize(
    "names",
    [
        {"eth0": "lan0"}, {"bond0": "lag0"}, {"v": "eth0.5"}, {"veth1": "pod"}, {"veth1": "pod", "veth2": "host"},
        {"eth0": "lan0", "eth1": "lan1", "bond0": "lag0"},
    ],
)  # fmt: skip
def test_a_new_name_stands_wherever_the_former_did(names: dict[str, str]) -> None:
    found = renamed(HOST, wish(names), KINDS)
    assert found.rows == {put(row.key, names): put(dict(row.attrs), names) for row in HOST}
    assert {op.key[1]: op.old["name"] for op in found.ops if op.verb == "rename"} == {
        new: old for old, new in names.items()
    }


def test_a_link_goes_down_for_its_new_name_and_what_goes_with_that_comes_back() -> None:
    found = renamed(HOST, wish({"d": "dummy0"}), KINDS)
    assert found.ops == [
        Op("remove", ("up", "d"), back=True), Op("rename", ("link", "dummy0"), {"name": "dummy0"}, {"name": "d"}),
    ]  # fmt: skip
    assert found.taken == {
        ("up", "dummy0"), ("address", "dummy0", "2001:db8::1/64"), ("route", "ipv4", "254", "10.1.0.0/16", "0"),
    }  # fmt: skip
    again = plan(HOST, [*wish({"d": "dummy0"}), Row(("up", "dummy0"))], KINDS)
    assert [op.key for op in again if op.verb == "create"] == [
        ("up", "dummy0"), ("address", "dummy0", "2001:db8::1/64"), ("route", "ipv4", "254", "10.1.0.0/16", "0"),
    ]  # fmt: skip


def test_what_has_the_new_name_and_is_of_another_type_goes_first() -> None:
    found = renamed(HOST, wish({"eth1": "d"}), KINDS)
    assert found.ops == [
        Op("remove", ("link", "d"), old={"type": "dummy"}, type="dummy"),
        Op("remove", ("up", "eth1"), back=True),
        Op("rename", ("link", "d"), {"name": "d"}, {"name": "eth1"}),
    ]
    assert found.rows["link", "d"] == {"type": "ethernet"}
    assert not {key for key in found.rows if key[:2] == ("address", "d") or key[3:4] == ("10.1.0.0/16",)}
    assert ("link", "eth1") not in found.rows


@pytest.mark.parametrize(
    "row",
    [
        Row(("link", "lan0"), {"type": "ethernet"}, was="eth9"),
        Row(("link", "lan0"), {"type": "dummy"}, was="eth0"),
        Row(("link", "lan0"), absent=True, was="eth0"),
        Row(("link", "eth1"), {"type": "ethernet"}, was="eth0"),
        Row(("link", "eth0"), {"type": "ethernet"}),
    ],
)
def test_nothing_else_is_a_new_name(row: Row) -> None:
    assert renamed(HOST, [row], KINDS) == Renaming({row.key: row.attrs for row in HOST})


def test_a_type_that_nobody_says_is_that_of_the_former_name() -> None:
    rows = [Row(("link", "lan0"), was="eth0"), Row(("link", "w"), was="eth1")]
    assert [op.key[1] for op in renamed(HOST, rows, KINDS).ops if op.verb == "rename"] == ["lan0", "w"]


def test_a_link_that_is_down_need_not_go_down() -> None:
    assert [(op.verb, op.key) for op in renamed(HOST, wish({"eth0": "lan0"}), KINDS).ops] == [
        ("rename", ("link", "lan0"))
    ]
