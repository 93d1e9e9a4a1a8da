"""What the words of a rule mean, of a host or not: its family, its networks, the priority of one without."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FIRST_PRIORITY, MAIN_PRIORITY = 30000, 32766
"""Where priorities begin of rules that name none (nmstate: route_rule.rs), and where they come to nothing."""


def family_of(*networks: str) -> str:
    """Return the family of a rule that says none: that of its networks."""
    return "ipv6" if any(":" in network for network in networks) else "ipv4"


def compared(network: str) -> str:
    """Return the network that a rule compares, "" where it is all of them.

    The kernel tells no network of length 0 (net/ipv4/fib_rules.c, fib4_rule_fill).
    """
    return "" if network.endswith("/0") else network


def next_priorities(used: Iterable[int]) -> Iterator[int]:
    """Yield the priorities of rules that name none: above those in use (so nmstate), below the main."""
    inside = (number for number in used if FIRST_PRIORITY <= number < MAIN_PRIORITY)
    yield from range(max(chain(inside, [FIRST_PRIORITY - 1])) + 1, MAIN_PRIORITY)
