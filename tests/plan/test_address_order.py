"""The order of a link's addresses, against a model of how the kernel keeps its lists."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

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


def taken_ipv4(have: list[str], gone: set[str]) -> list[str]:
    """inet_del_ifa(): a primary takes its secondaries."""
    left = have
    for address in have:
        if address in gone and address in left:
            mates = [a for a in left if subnet(a) == subnet(address)]
            takes = mates if mates[0] == address else [address]
            left = [a for a in left if a not in takes]
    return left


lists4 = st.lists(st.sampled_from(IPV4), unique=True)
lists6 = st.lists(st.sampled_from(IPV6), unique=True)


@given(lists4, lists4)
def test_ipv4_addresses_end_in_the_documents_order(before: list[str], wanted: list[str]) -> None:
    standing: list[str] = []
    for address in before:
        standing = given_ipv4(standing, address)
    assert standing == listed(before)
    left = taken_ipv4(standing, moved_ipv4(standing, wanted) | (set(standing) - set(wanted)))
    for address in listed(wanted):
        if address not in left:
            left = given_ipv4(left, address)
    assert left == listed(wanted)


@given(lists6, lists6)
def test_ipv6_addresses_end_in_the_documents_order(standing: list[str], wanted: list[str]) -> None:
    moved = moved_ipv6(standing, wanted)
    left = [a for a in standing if a in wanted and a not in moved]
    for address in reversed(wanted):
        if address not in left:
            left = [address, *left]
    assert left == wanted


@given(lists4, lists6)
def test_addresses_that_are_in_order_stay_as_they_are(four: list[str], six: list[str]) -> None:
    assert moved_ipv4(listed(four), four) == moved_ipv4(listed(four), listed(four)) == set()
    assert moved_ipv6(six, six) == set()
