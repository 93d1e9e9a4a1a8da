"""What must exist before a row, and goes with it.

The one relation behind creation order, removal order and collateral damage. It is computed from the rows
themselves, for a host as it is and for the host that a plan is heading to, so the two cannot disagree.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeAlias

from nncp.host import Cost

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Key
    from nncp.kinds.kind import Kinds

State: TypeAlias = "Mapping[Key, Mapping[str, Any]]"
"""The attributes of each row, by key."""

RANK = {"link": 0, "port": 1, "vlans": 2, "sysctl": 3, "up": 4, "address": 5, "route": 6, "rule": 7}
"""Among rows that could be written now, the earlier table goes first: no link speaks before its sysctls."""

IFAPROT_KERNEL_LL = 3  # linux/if_addr.h

CONF = "net/ipv{}/conf/"


def sysctl_link(path: str) -> str:
    """Return the link whose own sysctl this is, or "" (`net/ipv6/conf/br0/disable_ipv6` is br0's)."""
    for family in (4, 6):
        prefix = CONF.format(family)
        if path.startswith(prefix):
            name = path[len(prefix) :].rpartition("/")[0]
            return "" if name in {"all", "default"} else name
    return ""


def is_v6(address: str) -> bool:
    """Tell an IPv6 address or network from an IPv4 one."""
    return ":" in address


def is_kernels_own(key: Key, attrs: Mapping[str, Any]) -> bool:
    """Whether the kernel makes this row by itself: a link-local address of a link that goes up."""
    return key[0] == "address" and attrs.get("protocol") == IFAPROT_KERNEL_LL


def needs(key: Key, state: State, kinds: Kinds) -> Iterator[Key]:
    """Yield the keys without which the row `key` of `state` cannot be."""
    table, attrs = key[0], state[key]
    if table == "link":
        if base := attrs.get("base-iface"):
            yield ("link", base)
    elif table == "up":
        yield from _up_needs(key[1], state, kinds)
    elif table == "port":
        yield from (("link", key[1]), ("link", attrs["controller"]))
    elif table == "vlans":
        yield ("port", key[1]) if ("port", key[1]) in state else ("link", key[1])
    elif table == "address":
        yield from _address_needs(key, state)
    elif table == "route":
        yield from _route_needs(attrs, state)
    elif table == "sysctl" and (link := sysctl_link(key[1])):
        yield ("link", link)


def _up_needs(name: str, state: State, kinds: Kinds) -> Iterator[Key]:
    yield ("link", name)
    port = state.get(("port", name))
    kind = kinds.by_type.get(port.get("type", "")) if port else None
    if kind and kind.port_cost >= Cost.DOWN:
        # bond_enslave() wants the port down, and bond_release leaves it down.
        yield ("port", name)
    link = state.get(("link", name), {})
    base = ("up", link.get("base-iface", ""))
    # vlan_dev_open() answers ENETDOWN over a link that is down, and goes down with it (net/8021q/vlan.c).
    if link.get("type") == "vlan" and base in state and not link.get("loose-binding"):
        yield base


def _address_needs(key: Key, state: State) -> Iterator[Key]:
    name, address = key[1], key[2]
    yield ("link", name)
    if is_v6(address):
        # addrconf_ifdown() takes IPv6 addresses from a link that goes down; IPv4 ones stay.
        if ("up", name) in state:
            yield ("up", name)
    elif primary := state[key].get("secondary-to"):
        # inet_del_ifa() takes the secondary addresses of a subnet with its primary one.
        yield ("address", name, primary)


def _route_needs(attrs: Mapping[str, Any], state: State) -> Iterator[Key]:
    for hop in attrs.get("nexthops", ()):
        yield ("link", hop[0])
        yield ("up", hop[0])
    if source := attrs.get("source"):
        found = {
            ("address", hop[0], address) for hop in attrs["nexthops"] for address in _written(source, state)
        }
        yield from (key for key in found if key in state)


def _written(source: str, state: State) -> Iterator[str]:
    return (key[2] for key in state if key[0] == "address" and key[2].partition("/")[0] == source)


def companions(key: Key, state: State) -> Iterable[Key]:
    """Return what goes and comes with a row as its equal: the other end of a veth pair."""
    peer = state[key].get("peer") if key[0] == "link" else None
    return [("link", peer)] if peer and ("link", peer) in state else []


def closure(roots: Iterable[Key], state: State, kinds: Kinds) -> set[Key]:
    """Return `roots` and everything of `state` that goes with them."""
    gone = {key for key in roots if key in state}
    if not gone:
        return gone
    needed_by: dict[Key, list[Key]] = {}
    for key in state:
        for need in needs(key, state, kinds):
            needed_by.setdefault(need, []).append(key)
    todo = list(gone)
    while todo:
        key = todo.pop()
        found = {*needed_by.get(key, ()), *companions(key, state)} - gone
        gone |= found
        todo += found
    return gone


def primaries(addresses: Iterable[str]) -> dict[str, str]:
    """Map each address that shares a subnet with an earlier one to that one: the kernel's secondaries."""
    first: dict[object, str] = {}
    found: dict[str, str] = {}
    for address in addresses:
        network = ipaddress.ip_interface(address).network
        if first.setdefault(network, address) != address:
            found[address] = first[network]
    return found
