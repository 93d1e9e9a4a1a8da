"""The order of a link's addresses, against a model of how the kernel keeps its lists."""

from __future__ import annotations

import ipaddress
import sys
from itertools import pairwise
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.tables.address_order import listed, moved_ipv4, moved_ipv6

IPV4 = [f"192.0.2.{n}/{size}" for n in (1, 2, 3, 4) for size in (24, 25)]
IPV6 = [f"2001:db8::{n}/64" for n in range(6)]


def subnet(address: str) -> object:
    return ipaddress.ip_interface(address).network


def given_ipv4(have: list[str], new: str) -> list[str]:
    """inet_insert_ifa(): behind the last primary if it is one, else at the end."""
    first = [a for i, a in enumerate(have) if not any(subnet(b) == subnet(a) for b in have[:i])]
    if any(subnet(a) == subnet(new) for a in have):
        return [*have, new]
    at = len(first)
    return [*have[:at], new, *have[at:]]


def taken_ipv4(have: list[str], address: str, *, promotes: bool) -> list[str]:
    """inet_del_ifa(): a primary takes its secondaries, or the next of them gets behind the last primary."""
    mates = [a for a in have if subnet(a) == subnet(address) and a != address]
    left = [a for a in have if a != address]
    if have.index(address) > min((have.index(a) for a in mates), default=len(have)) or not mates:
        return left
    left = [a for a in left if a not in mates[: 1 if promotes else None]]
    return given_ipv4(left, mates[0]) if promotes and len(mates) == 1 else _promoted(left, mates, promotes)


def _promoted(left: list[str], mates: list[str], promotes: bool) -> list[str]:
    if not promotes:
        return left
    first = [
        a for i, a in enumerate(left) if not any(subnet(b) == subnet(a) for b in left[:i]) and a not in mates
    ]
    return [*first, mates[0], *(a for a in left if a not in first)]


lists4 = st.lists(st.sampled_from(IPV4), unique=True)
lists6 = st.lists(st.sampled_from(IPV6), unique=True)


@given(lists4, lists4, st.booleans())
@example(
    ["192.0.2.1/25", "192.0.2.2/25", "192.0.2.3/24", "192.0.2.2/24", "192.0.2.3/25", "192.0.2.1/24"],
    ["192.0.2.3/24", "192.0.2.1/24", "192.0.2.2/25", "192.0.2.3/25"],
    True,
)
def test_ipv4_addresses_end_in_the_documents_order(
    before: list[str], wanted: list[str], promotes: bool
) -> None:
    have: list[str] = []
    for address in before:
        have = given_ipv4(have, address)
    assert have == listed(before)
    moved = moved_ipv4(have, wanted)
    gone = moved | (set(have) - set(wanted))
    for address in [a for a in reversed(have) if a in gone]:  # secondaries first, as a plan has it
        have = taken_ipv4(have, address, promotes=promotes)
    for address in wanted:
        if address not in have:
            have = given_ipv4(have, address)
    assert have == listed(wanted)


@given(lists6, lists6)
def test_ipv6_addresses_end_in_the_documents_order(standing: list[str], wanted: list[str]) -> None:
    moved = moved_ipv6(standing, wanted)
    left = [a for a in standing if a in wanted and a not in moved]
    for address in reversed(wanted):
        if address not in left:
            left = [address, *left]
    assert left == wanted


class Hashed(str):
    """An address that counts how often it is looked up."""

    __slots__ = ()
    times = 0

    def __hash__(self) -> int:
        Hashed.times += 1
        return super().__hash__()


def test_a_thousand_ipv6_addresses_are_ordered_in_one_pass() -> None:
    wanted = [Hashed(f"2001:db8::{n:x}/64") for n in range(1000)]
    assert moved_ipv6(wanted, wanted) == set()
    assert Hashed.times < 10 * len(wanted)


def test_a_thousand_addresses_that_go_are_planned_in_one_pass() -> None:
    addresses = [f"2001:db8::{n:x}/64" for n in range(1000)]
    host = Host(
        Row(("address", "eth1", address), {"after": before}) for before, address in pairwise(["", *addresses])
    )
    calls = 0

    def counted(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal calls
        calls += event.endswith("call")

    sys.setprofile(counted)
    try:
        ops = plan(host, [Row(row.key, absent=True) for row in host], KINDS)
    finally:
        sys.setprofile(None)
    assert len(ops) == len(addresses)
    assert calls < 200 * len(addresses)


@given(lists4, lists6)
def test_addresses_that_are_in_order_stay_as_they_are(four: list[str], six: list[str]) -> None:
    assert moved_ipv4(listed(four), four) == moved_ipv4(listed(four), listed(four)) == set()
    assert moved_ipv6(six, six) == set()
