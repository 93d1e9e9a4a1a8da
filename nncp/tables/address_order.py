"""In which order the kernel lists the addresses of a link, and which must be given anew for another order.

inet_insert_ifa() (net/ipv4/devinet.c) lists the first address of each subnet before all further ones, each
group in the order in which they were given. ipv6_link_dev_addr() (net/ipv6/addrconf.c) puts a new one first.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from nncp.tables.address import PEER

if TYPE_CHECKING:
    from collections.abc import Container, Sequence


def primaries(wanted: Sequence[str]) -> dict[str, str]:
    """Return the primary address of each IPv4 address of a link: the first given of its subnet."""
    first: dict[object, str] = {}
    return {address: first.setdefault(_subnet(address), address) for address in wanted}


def _subnet(address: str) -> object:
    """Return the subnet of an address, which is its peer's where it has one (inet_ifa_match)."""
    local, _, peer = address.partition(PEER)
    size = local.partition("/")[2]
    return (
        ipaddress.ip_network(f"{peer}/{size}", strict=False)
        if peer
        else ipaddress.ip_interface(local).network
    )


def listed(wanted: Sequence[str]) -> list[str]:
    """Return IPv4 addresses as the kernel lists them when they are given in the order of `wanted`."""
    first = primaries(wanted)
    return [*(a for a in wanted if first[a] == a), *(a for a in wanted if first[a] != a)]


def moved_ipv4(standing: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """Return which of `standing`, in the kernel's order, must be given anew so that `wanted` is in order."""
    first = primaries(wanted)
    left = listed(_left(standing, first))
    was_first = primaries(left)
    kept = set(_head([a for a in left if was_first[a] == a], [a for a in wanted if first[a] == a]))
    rest = [a for a in left if was_first[a] != a and first[a] in kept]
    kept |= set(_head(rest, [a for a in wanted if first[a] != a]))
    return {a for a in standing if a in first} - kept


def _left(standing: Sequence[str], wanted: Container[str]) -> list[str]:
    """Return what is left of `standing` when all else goes, as far as its order is certain.

    Where a primary goes, the kernel promotes the next of its subnet behind the other primaries
    (promote_secondaries), or takes all of them, and they are given anew behind the others: for that one this
    comes to the same. Of two such subnets nobody knows which comes first, nor of any where its further ones
    are among those of others.
    """
    first = primaries(standing)
    stay = [a for a in standing if a in wanted and first[a] in wanted]
    orphans = [a for a in standing if a in wanted and first[a] not in wanted]
    if len({first[a] for a in orphans}) > 1:
        return stay
    return [*stay, *(orphans[:1] if any(first[a] != a for a in stay) else orphans)]


def moved_ipv6(standing: Sequence[str], wanted: Sequence[str]) -> set[str]:
    """Return the same for IPv6, where what is given anew comes before what stays."""
    kept = _head(standing[::-1], wanted[::-1])
    return (set(standing) & set(wanted)) - set(kept)


def _head(standing: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Return the longest beginning of `wanted` that stands in this order, perhaps with others between."""
    found: list[str] = []
    for address in standing:
        if len(found) < len(wanted) and address == wanted[len(found)]:
            found.append(address)
    return found
