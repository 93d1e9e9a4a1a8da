"""What a document says about routes, as rows: additive, and absent by wildcard (nmstate: route.rs)."""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.document.state import MAIN_TABLE, V6_METRIC
from nncp.future import Future
from nncp.host import Host, Key, Row
from nncp.kinds.flat import is_given
from nncp.leaving import Leaving
from nncp.tables.address import is_v6
from nncp.tables.kinds import Kinds
from nncp.tables.route import (
    CONFIG_PROTOCOLS,
    OF_THE_LINK,
    RTPROT_STATIC,
    SHOWN_TYPES,
    Reach,
    is_narrowed,
    protocol_word,
    words,
)
from nncp.tables.rtmsg import RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, Hop, link_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from nncp.document.state import Route

    Fault = Callable[[str, tuple[str | int, ...], str, str], None]

NO_HOP = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (how nmstate shows a route without a gateway)
OF_ANOTHER = ("source", "cwnd", "metrics", "kept", "expires", "nexthop-id")
"""What a route had when all its hops were others."""


def route_rows(
    routes: Sequence[Route],
    host: Host,
    wanted: Mapping[Key, Row],
    kinds: Kinds,
    will_be: Callable[[str], bool],
    fault: Fault,
) -> Iterator[tuple[Row, int | None]]:
    """Yield each wanted row with the index of the entry that asks for it, or None where no entry does.

    Args:
        routes: the entries of `routes.config`.
        host: the rows as they are.
        wanted: what the document asks for besides.
        kinds: the interface types.
        will_be: whether an interface will be there.
        fault: takes (subject, path, message, hint) of what is wrong.

    """
    book = _opened(host, Leaving(wanted, host, kinds), kinds)
    for number, route in enumerate(routes):
        if route.state == "absent":
            _take_away(book, route, number)
    sound = [
        (index, route)
        for index, route in enumerate(routes)
        if route.state != "absent" and _is_sound(route, index, will_be, fault)
    ]
    for number, route in sound:
        _put(book, route, number, fault)
    _check_hops(book, sound, wanted, fault)
    for key, index in book.origin.items():
        yield _row(book, key), index


class _Book(Struct):
    """What becomes of each route: its hops, which entry decided, and what that entry says besides.

    `alike` holds the keys that one destination, table and metric have, `known` the host's hops, each with the
    family, and `rows` its routes by destination.
    """

    host: Host
    kinds: Kinds
    leaving: Leaving
    hops: dict[Key, list[Hop]]
    alike: dict[Key, list[Key]]
    origin: dict[Key, int | None]
    attrs: dict[Key, dict[str, Any]]
    known: set[Hop]
    rows: dict[str, list[Row]]


def _opened(host: Host, leaving: Leaving, kinds: Kinds) -> _Book:
    """Return the book of the host's routes, without the hops through links that lose their addresses."""
    book = _Book(host, kinds, leaving, {}, {}, {}, {}, set(), {})
    for row in host.table("route"):
        hops = list(row.attrs.get("nexthops", ()))
        if not is_narrowed(row.key):
            book.alike.setdefault(row.key[:5], []).append(row.key)
        book.known.update((row.key[1], *hop[:2]) for hop in hops)
        book.rows.setdefault(row.key[3], []).append(row)
        book.hops[row.key] = hops
        protocol = row.attrs.get("protocol", RTPROT_STATIC)
        if protocol in OF_THE_LINK and (
            lost := [hop for hop in hops if leaving.takes(row.key, hop, protocol)]
        ):
            book.hops[row.key] = [hop for hop in hops if hop not in lost]
            book.origin[row.key] = None
    return book


def _row(book: _Book, key: Key) -> Row:
    hops = sorted(book.hops.get(key, ()))
    if not hops and key not in book.attrs:
        return Row(key, {"nexthops": book.host.attr(*key, name="nexthops", default=())}, absent=True)
    if len(hops) == 1:
        hops = [(*hops[0][:2], 1, *hops[0][3:])]  # a weight among one is none, and the kernel drops it
    had = book.host.attr(*key, name="nexthops", default=())
    attrs: dict[str, Any] = {}
    if key in book.host and not any(hop in had for hop in hops):
        attrs = {name: None for name in OF_ANOTHER if name in book.host.rows[key].attrs}
    if tuple(hops) != had and key in book.host:
        attrs["scope"] = _scope(key, hops)
    return Row(key, {**attrs, **book.attrs.get(key, {}), "nexthops": tuple(hops)})


def _scope(key: Key, hops: Iterable[Hop]) -> int:
    has_gateway = key[1] == "ipv6" or any(hop[1] for hop in hops) or not hops
    return RT_SCOPE_UNIVERSE if has_gateway else RT_SCOPE_LINK


def _take_away(book: _Book, route: Route, index: int) -> None:
    for row in _matching(route, book):
        book.hops[row.key] = [hop for hop in book.hops[row.key] if not _matches_hop(route, hop)]
        book.origin[row.key] = index


def _put(book: _Book, route: Route, index: int, fault: Fault) -> None:
    kind = str(route.route_type) if is_given(route.route_type) else "unicast"
    hop = _hop(route) if kind == "unicast" else None
    key = _place(book, _key(route), kind, hop)
    if stranger := _stranger(book, key, hop):
        message = (
            f"a route of {protocol_word(stranger)} with this destination and metric stands there:"
            f" {words(key, stranger)}"
        )
        hint = "give this one another metric, or make what put the other there take it away"
        fault(key[3], ("routes", "config", index), message, hint)
        return
    book.origin[key] = index
    hops = book.hops.setdefault(key, [])
    if key not in book.host:
        book.alike.setdefault(key[:5], []).append(key)
    attrs = book.attrs.setdefault(key, {"type": kind})
    if book.host.attr(*key, name="protocol", default=RTPROT_STATIC) not in CONFIG_PROTOCOLS:
        attrs |= {"protocol": RTPROT_STATIC, "expires": None}
    if is_given(route.source):
        attrs["source"] = str(route.source)
    if isinstance(route.cwnd, int):
        attrs["cwnd"] = int(route.cwnd)
    if hop is None:
        hops.clear()
    else:
        _add_hop(hops, hop, weighted=isinstance(route.weight, int))


def _place(book: _Book, key: Key, kind: str, hop: Hop | None) -> Key:
    """Return the key of the route that an entry is about: one that has its hop, or else the first."""
    for other in book.alike.get(key[:5], ()):
        attrs = book.host.rows[other].attrs if other in book.host else book.attrs.get(other, {})
        if attrs.get("type", "unicast") == kind and (
            hop is None or any(known[:2] == hop[:2] for known in book.hops[other])
        ):
            return other
    return key


def _stranger(book: _Book, key: Key, hop: Hop | None) -> Mapping[str, Any] | None:
    """Return the route of another protocol that an entry would replace, unless it is the very same."""
    row = book.host.get(*key)
    if row is None or row.attrs.get("protocol", RTPROT_STATIC) in CONFIG_PROTOCOLS or key in book.attrs:
        return None
    hops = book.hops[key]
    if row.attrs.get("nexthops") and not hops:
        return None  # it goes with the addresses of its link
    same = hop is not None and [known[:2] for known in hops] == [hop[:2]]
    return None if same else row.attrs


def _add_hop(hops: list[Hop], hop: Hop, *, weighted: bool) -> None:
    """Add a hop, or give one that is there its weight; what a document has no word for stays (onlink)."""
    for at, known in enumerate(hops):
        if known[:2] == hop[:2]:
            hops[at] = (*known[:2], hop[2] if weighted else known[2], *known[3:])
            return
    hops.append(hop)


def _is_sound(route: Route, index: int, will_be: Callable[[str], bool], fault: Fault) -> bool:
    name = str(route.next_hop_interface) if is_given(route.next_hop_interface) else ""
    if not is_given(route.destination):
        return False  # the document's own rules tell
    if name and not will_be(name):
        path = ("routes", "config", index, "next-hop-interface")
        fault(name, path, f"the route to {route.destination} leaves by {name}, which is not there", "")
        return False
    return True


def _check_hops(
    book: _Book, routes: Iterable[tuple[int, Route]], wanted: Mapping[Key, Row], fault: Fault
) -> None:
    """Tell of what the kernel would refuse: a gateway that it cannot reach, a source that no link has."""
    reach = cache(lambda: Reach(_as_it_will_be(book, wanted), book.kinds))
    for index, route in routes:
        if not is_given(route.route_type):
            hop = _hop(route)
            for word, message, hint in _wrong(book, route, hop, wanted, reach):
                fault(hop[0], ("routes", "config", index, word), message, hint)


def _wrong(
    book: _Book, route: Route, hop: Hop, wanted: Mapping[Key, Row], reach: Callable[[], Reach]
) -> Iterator[tuple[str, str, str]]:
    """Yield what is wrong with one route: the word of its entry, a sentence, and what to do."""
    name, via, key = hop[0], hop[1], _key(route)
    if is_given(route.source) and not reach().is_own(str(route.source)):
        message = f"no interface has {route.source}, the source of the route to {route.destination}"
        yield "source", message, "add the address to an interface, or name another source"
    elif is_given(route.source) and (vrf := reach().owner(str(route.source), key[2])):
        message = (
            f"{route.source} is an address of the VRF {vrf}, and the route to {route.destination} is not in"
            " its table"
        )
        yield "source", message, f"give the route the table-id of {vrf}, or name another source"
    if key[1] == "ipv6" and _is_off(book, name, wanted):
        message = f"the route to {route.destination} leaves by {name}, whose IPv6 is off"
        yield "next-hop-interface", message, f"switch ipv6 of {name} on in this document"
    elif via and not _stays(book, key[1], hop) and (why := reach().why_not(name, via, key[2])):
        hint = _onlink(hop) if "prefix" in why else ""
        yield "next-hop-address", f"the gateway {via} of {route.destination} {why}", hint


def _onlink(hop: Hop) -> str:
    return (
        f"add a route to the gateway itself, {hop[1]}/{128 if is_v6(hop[1]) else 32} with only"
        f" next-hop-interface: {hop[0]}; what `onlink` makes elsewhere is that"
    )


def _is_off(book: _Book, name: str, wanted: Mapping[Key, Row]) -> bool:
    key = ("sysctl", f"net/ipv6/conf/{name}/disable_ipv6")
    if key in wanted:
        return bool(wanted[key].attrs.get("value") == "1")
    return bool(book.host.attr(*key, name="value") == "1")


def _stays(book: _Book, family: str, hop: Hop) -> bool:
    """Whether a gateway is one already, and its link keeps what it was reached by."""
    return not book.leaving.any_of(hop[0], family) and (family, *hop[:2]) in book.known


def _as_it_will_be(book: _Book, wanted: Mapping[Key, Row]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    for row in book.host.table("address"):
        if row.key not in wanted:
            yield row.key, row.attrs
    for key, row in wanted.items():
        if key[0] == "address" and not row.absent:
            yield key, {**(book.host.rows[key].attrs if key in book.host else {}), **row.attrs}
    for key, hops in book.hops.items():
        yield key, {**(book.host.rows[key].attrs if key in book.host else {}), "nexthops": hops}
    yield from _vrfs(book, wanted)


def _vrfs(book: _Book, wanted: Mapping[Key, Row]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    """Yield the VRFs that will be there, and their ports; other ports have no addresses of their own."""
    future = Future(wanted, book.host, book.kinds)
    stand = [row.key for row in book.host.table("link") if row.key not in wanted]
    for key in (*stand, *(key for key, row in wanted.items() if key[0] == "link" and not row.absent)):
        attrs = future.attrs(key[1])
        if book.kinds.is_routed(attrs.get("type", "")):
            yield key, attrs
            yield from ((("port", port), {"controller": key[1]}) for port in future.ports(key[1]))


def _key(route: Route) -> Key:
    network = ipaddress.ip_network(str(route.destination), strict=False)
    family = f"ipv{network.version}"
    metric = int(route.metric) if isinstance(route.metric, int) and route.metric >= 0 else 0
    if family == "ipv6" and not metric:
        metric = V6_METRIC
    table = int(route.table_id) if isinstance(route.table_id, int) and route.table_id else MAIN_TABLE
    hops = () if is_given(route.route_type) else (_hop(route),)
    return ("route", family, str(table), str(network), str(metric), *link_word(family, hops))


def _hop(route: Route) -> Hop:
    via = str(route.next_hop_address) if is_given(route.next_hop_address) else ""
    weight = int(route.weight) if isinstance(route.weight, int) else 1
    return (str(route.next_hop_interface), "" if via in NO_HOP else via, weight, False)


def _matching(route: Route, book: _Book) -> Iterator[Row]:
    """Yield the host's routes that have every property that an absent entry names.

    Only what an administrator put there: a routing daemon's or a DHCP client's routes are theirs to remove.
    """
    named = is_given(route.destination)
    for row in book.rows.get(str(route.destination), ()) if named else book.host.table("route"):
        _, _, table, _, metric, *_ = row.key
        hops = row.attrs.get("nexthops", ())
        kind = row.attrs.get("type", "unicast")
        if (
            not is_narrowed(row.key)
            and row.attrs.get("protocol", RTPROT_STATIC) in CONFIG_PROTOCOLS
            and kind in SHOWN_TYPES
            and (not is_given(route.table_id) or not route.table_id or str(route.table_id) == table)
            and (not isinstance(route.metric, int) or route.metric < 0 or str(int(route.metric)) == metric)
            and (not is_given(route.route_type) or route.route_type == kind)
            and (not is_given(route.source) or route.source == row.attrs.get("source"))
            and (any(_matches_hop(route, hop) for hop in hops) if hops else not _names_hop(route))
        ):
            yield row


def _names_hop(route: Route) -> bool:
    """Whether an entry names a hop, which a blackhole has not; `lo` is where nmstate shows it to lead."""
    name = route.next_hop_interface if is_given(route.next_hop_interface) else ""
    via = route.next_hop_address if is_given(route.next_hop_address) else ""
    return via not in NO_HOP or bool(name and not (name == "lo" and is_given(route.route_type)))


def _matches_hop(route: Route, hop: Hop) -> bool:
    name, via, weight, *_ = hop
    wanted = str(route.next_hop_address) if is_given(route.next_hop_address) else None
    return (
        (not is_given(route.next_hop_interface) or route.next_hop_interface == name)
        and (wanted is None or ("" if wanted in NO_HOP else wanted) == via)
        and (not isinstance(route.weight, int) or route.weight == weight)
    )
