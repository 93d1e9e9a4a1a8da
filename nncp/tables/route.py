"""Routes: what `ip route` shows (struct rtmsg; net/ipv4/fib_frontend.c, net/ipv6/route.c).

Keys are ("route", "ipv4" | "ipv6", table, destination, metric), with the TOS after it where there is one.
`nexthops` is ((link, gateway or "", weight, whether onlink), ...). Left out are the kernel's own routes.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_TABLE = (
    1, 4, 5, 6, 7, 8, 9, 15,
)  # fmt: skip
RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_BOOT, RTPROT_STATIC, RTPROT_RA = 1, 2, 3, 4, 9
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200
TYPES = {1: "unicast", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
NUMBERS = {word: number for number, word in TYPES.items()}
NEXTHOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, index
RT_SCOPE_LINK, RT_SCOPE_UNIVERSE = 253, 0


CONFIG_PROTOCOLS = frozenset({RTPROT_BOOT, RTPROT_STATIC})  # what an administrator put there


def _read(dumps: Dumps) -> Iterator[Row]:
    for word, family in FAMILIES.items():
        body = wire.RTMSG.pack(family, 0, 0, 0, 0, 0, 0, 0, 0)
        for data in dumps.dump(wire.RTM_GETROUTE, body):
            row = _row(word, family, data, dumps.names)
            if row is not None:
                yield row


def _row(word: str, family: int, data: bytes, names: Mapping[int, str]) -> Row | None:
    _, size, _, tos, table, protocol, scope, kind, flags = wire.RTMSG.unpack_from(data)
    if protocol in {RTPROT_REDIRECT, RTPROT_KERNEL, RTPROT_RA} or kind not in TYPES or flags & RTM_F_CLONED:
        return None
    given = wire.table(data, wire.RTMSG.size)
    if RTA_TABLE in given:
        table = struct.unpack("=I", given[RTA_TABLE])[0]
    metric = struct.unpack("=I", given[RTA_PRIORITY])[0] if RTA_PRIORITY in given else 0
    empty = bytes(4 if family == socket.AF_INET else 16)
    network = f"{socket.inet_ntop(family, given.get(RTA_DST, empty))}/{size}"
    attrs: dict[str, Any] = {"type": TYPES[kind], "protocol": protocol, "scope": scope}
    attrs["nexthops"] = tuple(_hops(family, given, flags, names)) if kind == NUMBERS["unicast"] else ()
    if RTA_PREFSRC in given:
        attrs["source"] = socket.inet_ntop(family, given[RTA_PREFSRC])
    if RTA_METRICS in given and (metrics := _metrics(given[RTA_METRICS])):
        attrs["metrics"] = metrics
    key = ("route", word, str(table), network, str(metric))
    return Row((*key, str(tos)) if tos else key, attrs)


def _metrics(data: bytes) -> tuple[tuple[int, int], ...]:
    return tuple(
        (number, struct.unpack("=I", value)[0]) for number, value in wire.attrs(data) if len(value) == 4
    )


def _hops(
    family: int, given: Mapping[int, bytes], flags: int, names: Mapping[int, str]
) -> Iterator[tuple[str, str, int, bool]]:
    if RTA_MULTIPATH not in given:
        index = struct.unpack("=I", given[RTA_OIF])[0] if RTA_OIF in given else 0
        yield _hop(family, given, index, 0, flags, names)
        return
    data, at = given[RTA_MULTIPATH], 0
    while at + NEXTHOP.size <= len(data):
        size, own_flags, hops, index = NEXTHOP.unpack_from(data, at)
        yield _hop(family, wire.table(data[at : at + size], NEXTHOP.size), index, hops, own_flags, names)
        at += (size + 3) & ~3


def _hop(
    family: int, given: Mapping[int, bytes], index: int, hops: int, flags: int, names: Mapping[int, str]
) -> tuple[str, str, int, bool]:
    via = socket.inet_ntop(family, given[RTA_GATEWAY]) if RTA_GATEWAY in given else ""
    return (names.get(index, ""), via, hops + 1, bool(flags & RTNH_F_ONLINK))


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    attrs = rows[key]
    for hop in attrs.get("nexthops", ()):
        yield ("link", hop[0])
        yield ("up", hop[0])
    if source := attrs.get("source"):
        names = {hop[0] for hop in attrs["nexthops"]}
        yield from (
            other
            for other in rows
            if other[0] == "address" and other[1] in names and other[2].partition("/")[0] == source
        )


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    yield _request(op.verb, op.key, op.old if op.verb == "remove" else op.attrs, indexes)


def _request(verb: str, key: Key, attrs: Mapping[str, Any], indexes: Indexes) -> bytearray:
    _, word, table, network, metric, *tos = key
    family = FAMILIES[word]
    address, _, size = network.partition("/")
    number = int(table)
    hops = attrs.get("nexthops", ())
    scope = attrs.get(
        "scope", RT_SCOPE_UNIVERSE if word == "ipv6" or any(hop[1] for hop in hops) else RT_SCOPE_LINK
    )
    kind = NUMBERS[attrs.get("type", "unicast")]
    flags = RTNH_F_ONLINK if len(hops) == 1 and hops[0][3] else 0
    head = wire.RTMSG.pack(
        family,
        int(size),
        0,
        int(tos[0]) if tos else 0,
        min(number, 252),
        attrs.get("protocol", RTPROT_STATIC),
        scope if kind == NUMBERS["unicast"] else 0,
        kind,
        flags,
    )
    parts = [wire.attr(RTA_DST, socket.inet_pton(family, address))] if int(size) else []
    parts.append(wire.attr(RTA_TABLE, struct.pack("=I", number)))
    if int(metric):
        parts.append(wire.attr(RTA_PRIORITY, struct.pack("=I", int(metric))))
    parts += _packed_hops(family, hops, indexes)
    if source := attrs.get("source"):
        parts.append(wire.attr(RTA_PREFSRC, socket.inet_pton(family, source)))
    if metrics := attrs.get("metrics"):
        parts.append(
            wire.nest(RTA_METRICS, *(wire.attr(n, struct.pack("=I", value)) for n, value in metrics))
        )
    if verb == "remove":
        return wire.message(wire.RTM_DELROUTE, wire.NLM_F_ACK, head + b"".join(parts))
    how = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE
    return wire.message(wire.RTM_NEWROUTE, how, head + b"".join(parts))


def _packed_hops(family: int, hops: Any, indexes: Indexes) -> list[bytes]:
    if len(hops) == 1:
        return _one_hop(family, hops[0], indexes, named=True)
    if not hops:
        return []
    packed = b""
    for name, via, weight, onlink in hops:
        rest = b"".join(_one_hop(family, (name, via, weight, onlink), indexes, named=False))
        size = NEXTHOP.size + len(rest)
        packed += NEXTHOP.pack(size, RTNH_F_ONLINK if onlink else 0, weight - 1, indexes[name]) + rest
    return [wire.attr(RTA_MULTIPATH, packed)]


def _one_hop(family: int, hop: Any, indexes: Indexes, *, named: bool) -> list[bytes]:
    name, via, _, _ = hop
    parts = [wire.attr(RTA_GATEWAY, socket.inet_pton(family, via))] if via else []
    if named and name:
        parts.append(wire.attr(RTA_OIF, struct.pack("=I", indexes[name])))
    return parts


def _words(attrs: Mapping[str, Any]) -> str:
    hops = attrs.get("nexthops", ())
    if not hops:
        return str(attrs.get("type", ""))
    return " and ".join(f"{f'via {via} ' if via else ''}dev {name}" for name, via, _, _ in hops)


def _renamed(key: Key, attrs: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Key, Mapping[str, Any]]:
    hops = attrs.get("nexthops", ())
    if not any(hop[0] in names for hop in hops):
        return key, attrs
    return key, {**attrs, "nexthops": tuple((names.get(hop[0], hop[0]), *hop[1:]) for hop in hops)}


def _show(host: Host, names: set[str]) -> Mapping[str, Any]:
    """Return all routes as `running` and those that an administrator put there as `config`."""
    found = sorted(_by_protocol(host, names), key=lambda found: _route_order(found[1]))
    if not found:
        return {}
    running, config = [entry for _, entry in found], [entry for own, entry in found if own]
    return {"routes": {"running": running, "config": config}}


def _by_protocol(host: Host, wanted: set[str]) -> list[tuple[bool, dict[str, Any]]]:
    return [
        (row.attrs.get("protocol") in CONFIG_PROTOCOLS, entry)
        for row in host.table("route")
        for entry in _routes(row)
        if not wanted or entry.get("next-hop-interface") in wanted
    ]


def _routes(row: Row) -> list[dict[str, Any]]:
    """Return one entry for each next hop, as nmstate writes multipath routes."""
    _, family, table, network, metric, *_ = row.key
    shown: dict[str, Any] = {"destination": network, "metric": int(metric), "table-id": int(table)}
    if source := row.attrs.get("source"):
        shown["source"] = source
    if row.attrs.get("type", "unicast") != "unicast":
        return [{**shown, "route-type": row.attrs["type"]}]
    hops = row.attrs.get("nexthops", ())
    none = "::" if family == "ipv6" else "0.0.0.0"  # noqa: S104  (nmstate's word for no gateway)
    return [
        {
            **shown,
            "next-hop-interface": name,
            "next-hop-address": via or none,
            **({"weight": weight} if len(hops) > 1 else {}),
        }
        for name, via, weight, _ in hops
    ]


def _route_order(entry: dict[str, Any]) -> tuple[Any, ...]:
    return (entry["table-id"], entry["destination"], entry["metric"], entry.get("next-hop-address", ""))


ROUTE = Table(
    name="route",
    read=_read,
    write=_write,
    needs=_needs,
    links=lambda _, attrs: (hop[0] for hop in attrs.get("nexthops", ())),
    about=False,
    sentence=lambda op: f"{op.verb} route {op.key[3]}",
    what=lambda key, attrs: f"route {key[3]} {_words(attrs)}",
    changed=lambda op: f"route {op.key[3]}: {_words(op.old)} → {_words(op.attrs)}",
    told=True,
    plural="routes",
    renamed=_renamed,
    show=_show,
)
