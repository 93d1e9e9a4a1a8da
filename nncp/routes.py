"""What a document says about routes, as rows: additive, and absent by wildcard (nmstate: route.rs)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.host import Host, Key, Row
from nncp.kinds.flat import is_given

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nncp.document.state import Route

MAIN_TABLE = 254
V6_METRIC = 1024  # what the kernel gives a route without one (net/ipv6/route.c, IP6_RT_PRIO_USER)
NO_HOP = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (how nmstate shows a route without a gateway)


def route_rows(
    routes: Sequence[Route],
    host: Host,
    will_be: Callable[[str], bool],
    fault: Callable[[str, tuple[str | int, ...], str, str], None],
) -> Iterator[tuple[Row, int]]:
    """Yield each wanted row with the index of the entry that asks for it.

    Args:
        routes: the entries of `routes.config`.
        host: the rows as they are.
        will_be: whether an interface will be there.
        fault: takes (subject, path, message, hint) of what is wrong.

    """
    book = _Book({row.key: list(row.attrs.get("nexthops", ())) for row in host.table("route")}, {}, {})
    for index, route in enumerate(routes):
        if route.state == "absent":
            _take_away(book, route, index, host)
    for index, route in enumerate(routes):
        if route.state != "absent" and _is_sound(route, index, will_be, fault):
            _put(book, route, index)
    for key, index in book.origin.items():
        hops = tuple(book.hops.get(key, ()))
        if hops or key in book.attrs:
            yield Row(key, {**book.attrs.get(key, {}), "nexthops": hops}), index
        else:
            yield Row(key, absent=True), index


class _Book(Struct):
    """What becomes of each route: its hops, which entry decided, and what that entry says besides."""

    hops: dict[Key, list[tuple[str, str, int, bool]]]
    origin: dict[Key, int]
    attrs: dict[Key, dict[str, Any]]


def _take_away(book: _Book, route: Route, index: int, host: Host) -> None:
    for row in _matching(route, host):
        book.hops[row.key] = [hop for hop in book.hops[row.key] if not _matches_hop(route, hop)]
        book.origin[row.key] = index


def _put(book: _Book, route: Route, index: int) -> None:
    key = _key(route)
    book.origin[key] = index
    kind = str(route.route_type) if is_given(route.route_type) else "unicast"
    attrs = book.attrs.setdefault(key, {"type": kind})
    if is_given(route.source):
        attrs["source"] = str(route.source)
    hops = book.hops.setdefault(key, [])
    if kind == "unicast" and (hop := _hop(route)) not in hops:
        hops.append(hop)


def _is_sound(
    route: Route,
    index: int,
    will_be: Callable[[str], bool],
    fault: Callable[[str, tuple[str | int, ...], str, str], None],
) -> bool:
    name = str(route.next_hop_interface) if is_given(route.next_hop_interface) else ""
    if name and not will_be(name):
        path = ("routes", "config", index, "next-hop-interface")
        fault(name, path, f"the route to {route.destination} leaves by {name}, which is not there", "")
        return False
    return True


def _key(route: Route) -> Key:
    network = ipaddress.ip_network(str(route.destination), strict=False)
    family = f"ipv{network.version}"
    metric = int(route.metric) if isinstance(route.metric, int) and route.metric >= 0 else 0
    if family == "ipv6" and not metric:
        metric = V6_METRIC
    table = int(route.table_id) if isinstance(route.table_id, int) and route.table_id else MAIN_TABLE
    return ("route", family, str(table), str(network), str(metric))


def _hop(route: Route) -> tuple[str, str, int, bool]:
    via = str(route.next_hop_address) if is_given(route.next_hop_address) else ""
    weight = int(route.weight) if isinstance(route.weight, int) else 1
    return (str(route.next_hop_interface), "" if via in NO_HOP else via, weight, False)


def _matching(route: Route, host: Host) -> Iterator[Row]:
    """Yield the host's routes that have every property that an absent entry names."""
    for row in host.table("route"):
        _, _, table, network, metric, *_ = row.key
        hops = row.attrs.get("nexthops", ())
        kind = row.attrs.get("type", "unicast")
        if (
            (not is_given(route.destination) or str(route.destination) == network)
            and (not is_given(route.table_id) or not route.table_id or str(route.table_id) == table)
            and (not isinstance(route.metric, int) or route.metric < 0 or str(int(route.metric)) == metric)
            and (not is_given(route.route_type) or route.route_type == kind)
            and (not is_given(route.source) or route.source == row.attrs.get("source"))
            and (not hops or any(_matches_hop(route, hop) for hop in hops))
        ):
            yield row


def _matches_hop(route: Route, hop: tuple[str, str, int, bool]) -> bool:
    name, via, weight, _ = hop
    wanted = str(route.next_hop_address) if is_given(route.next_hop_address) else None
    return (
        (not is_given(route.next_hop_interface) or route.next_hop_interface == name)
        and (wanted is None or ("" if wanted in NO_HOP else wanted) == via)
        and (not isinstance(route.weight, int) or route.weight == weight)
    )
