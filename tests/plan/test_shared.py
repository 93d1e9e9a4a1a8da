"""What rows have in common: what they uphold together, and keys that only their place in a dump tells apart."""

from __future__ import annotations

from typing import Any

import pytest
from model import host_of, told

from nncp.difference import matched
from nncp.host import Key, Row
from nncp.known import KINDS, TABLES
from nncp.needs import closure
from nncp.plan import plan
from nncp.tables.kinds import Kinds
from nncp.tables.route import ROUTE

ETH = {"link eth0": {"type": "ethernet"}, "up eth0": {}}
DEVICE = {
    "route ipv4 254 10.0.0.0/8 0": {"type": "unicast", "protocol": 186, "nexthops": [["eth0", "", 1, False]]}
}
ADDRESSES: list[Key] = [("address", "eth0", f"192.0.{n}.1/24") for n in (1, 2, 3)]
PLAIN: Key = ("route", "ipv4", "254", "10.0.0.0/8", "0")


def holding(*addresses: Key) -> dict[str, Any]:
    return {**ETH, **DEVICE, **{" ".join(key): {"scope": 0} for key in addresses}}


@pytest.mark.parametrize(("gone", "taken"), [(0, False), (1, False), (2, False), (3, True)])
def test_a_links_last_ipv4_address_takes_its_routes(gone: int, taken: bool) -> None:
    host = host_of(holding(*ADDRESSES))
    rows = {row.key: row.attrs for row in host}
    assert closure(ADDRESSES[:gone], rows, KINDS) == {*ADDRESSES[:gone], *([PLAIN] if taken else [])}
    ops = plan(host, [Row(key, absent=True) for key in ADDRESSES[:gone]], KINDS)
    removals = [f"remove {' '.join(key)}" for key in ADDRESSES[:gone]]
    assert [told(op) for op in ops] == [*([f"? remove {' '.join(PLAIN)}"] if taken else []), *removals]
    assert all(op.old["protocol"] == 186 for op in ops if op.key == PLAIN)


def test_an_address_that_is_yet_to_come_upholds_nothing_now() -> None:
    ops = plan(
        host_of(holding(ADDRESSES[0])),
        [Row(ADDRESSES[0], absent=True), Row(ADDRESSES[1], {"scope": 0})],
        KINDS,
    )
    first, other, route = (" ".join(key) for key in (ADDRESSES[0], ADDRESSES[1], PLAIN))
    assert [told(op) for op in ops] == [f"remove {first}", f"create {other}", f"* create {route}"]


def test_what_is_upheld_together_waits_for_all_that_uphold_it_whatever_the_tables_order() -> None:
    kinds = Kinds.of(KINDS.by_type.values(), (ROUTE, *(table for table in TABLES if table is not ROUTE)))
    want = [Row(PLAIN, {"type": "unicast", "protocol": 4, "nexthops": (("eth0", "192.0.1.9", 1, False),)})]
    want += [Row(key, {"scope": 0}) for key in ADDRESSES]
    assert [op.key for op in plan(host_of(ETH), want, kinds)] == [*ADDRESSES, PLAIN]
    assert [op.key for op in plan(host_of(holding(*ADDRESSES)), want, kinds)] == [PLAIN]


def test_what_a_row_asks_to_wait_for_is_written_before_it() -> None:
    sysctl, link = ("sysctl", "net/ipv4/ip_forward"), ("link", "d")
    want = [Row(link, {"type": "dummy"}, needs=(sysctl,)), Row(sysctl, {"value": "1"})]
    assert [op.key for op in plan(host_of({}), want, KINDS)] == [sysctl, link]
    assert [op.key for op in plan(host_of({}), [Row(link, {"type": "dummy"}), want[1]], KINDS)] == [
        link,
        sysctl,
    ]


def hop(number: int) -> dict[str, Any]:
    return {"type": "unicast", "protocol": 4, "nexthops": (("eth0", f"192.0.1.{number}", 1, False),)}


def beside(number: int) -> Key:
    return (*PLAIN, f"via 192.0.1.{number} dev eth0")


FURTHER = (*PLAIN, "further")
MTU = Row(("link", "eth0"), {"mtu": 1400})
TWO = {PLAIN: hop(1), beside(2): hop(2)}


@pytest.mark.parametrize(
    ("rows", "want", "found"),
    [
        (TWO, {PLAIN: hop(1)}, TWO),
        (TWO, {PLAIN: None}, TWO),
        ({beside(2): hop(2)}, {PLAIN: None}, {beside(2): hop(2)}),
        # The key of the first is the next one's once that is the first.
        (TWO, {PLAIN: hop(2)}, {FURTHER: hop(1), PLAIN: hop(2)}),
        ({beside(2): hop(2)}, {PLAIN: hop(2)}, {PLAIN: hop(2)}),
        (TWO, {PLAIN: hop(3)}, TWO),
        # Who has its own row keeps it; who is to be another, or to go, does not.
        (TWO, {PLAIN: hop(2), beside(2): hop(2)}, TWO),
        (TWO, {PLAIN: hop(2), beside(2): hop(3)}, {FURTHER: hop(1), PLAIN: hop(2)}),
        (TWO, {PLAIN: hop(2), beside(2): None}, {FURTHER: hop(1), PLAIN: hop(2)}),
        # Two that change places; one that two could be.
        (TWO, {PLAIN: hop(2), beside(1): hop(1)}, {beside(1): hop(1), PLAIN: hop(2)}),
        ({beside(2): hop(2)}, {beside(3): hop(2), beside(4): hop(2)}, {beside(3): hop(2)}),
    ],
)  # fmt: skip
def test_a_route_is_the_wanted_one_that_it_is_whatever_its_place(rows: Any, want: Any, found: Any) -> None:
    asked = [MTU, *(Row(key, attrs or {}, absent=attrs is None) for key, attrs in want.items())]
    link = {("link", "eth0"): {"type": "ethernet"}}
    assert matched({**link, **rows}, {row.key: row for row in asked}, KINDS) == {**link, **found}
