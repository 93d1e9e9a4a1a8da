"""A route as bytes (struct rtmsg; net/ipv4/fib_semantics.c, net/ipv6/route.c) and as a row, both ways.

`nexthops` is ((link, gateway or "", weight, whether onlink), ...), sorted; what else a hop carries (realm,
encapsulation) follows as hexadecimal bytes. Further attributes: `type`, `protocol`, `scope`; `source`,
`cwnd`, `metrics`, `nexthop-id` and `kept` (sent back as it was read), which are there also when the kernel
leaves them out, since none is a value that a rollback leads back to; `expires` and `unknown` (numbers of
what we cannot send back).
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any, TypeAlias

from nncp import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Key
    from nncp.tables.table import Indexes

FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
(
    RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_FLOW,
    RTA_CACHEINFO, RTA_TABLE, RTA_MFC_STATS, RTA_VIA, RTA_PREF, RTA_ENCAP_TYPE, RTA_ENCAP, RTA_EXPIRES,
    RTA_PAD, RTA_UID, RTA_TTL_PROPAGATE, RTA_NH_ID,
) = (1, 2, 4, 5, 6, 7, 8, 9, 11, 12, 15, 17, 18, 20, 21, 22, 23, 24, 25, 26, 30)  # fmt: skip
MODELLED = frozenset({
    RTA_DST, RTA_SRC, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC, RTA_METRICS, RTA_MULTIPATH, RTA_TABLE,
    RTA_VIA, RTA_NH_ID,
})  # fmt: skip
READ_ONLY = frozenset({RTA_CACHEINFO, RTA_MFC_STATS, RTA_PAD, RTA_UID})
OF_A_HOP = (RTA_FLOW, RTA_ENCAP_TYPE, RTA_ENCAP)
OF_A_ROUTE = (RTA_PREF, RTA_TTL_PROPAGATE)
LWTUNNEL_ENCAP_BPF, LWTUNNEL_ENCAP_SEG6_LOCAL = 6, 7
ENCAPS = frozenset({1, 2, 3, 4, 5, LWTUNNEL_ENCAP_SEG6_LOCAL, 8, 9, 10})
"""mpls, ip, ila, ip6, seg6, seg6local, rpl, ioam6, xfrm: what is told of them is what makes them."""
SEG6_LOCAL_BPF = 8
RTAX_LOCK, RTAX_CWND, RTAX_CC_ALGO = 1, 7, 16
CWND_IS_LOCKED = 1 << RTAX_CWND
RTPROT_KERNEL, RTPROT_BOOT, RTPROT_STATIC = 2, 3, 4
MAIN_TABLE = 254
RTNH_F_ONLINK = 4
RTM_F_CLONED = 0x200
TYPES = {
    1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast", 6: "blackhole", 7: "unreachable",
    8: "prohibit", 9: "throw",
}  # fmt: skip
NUMBERS = {word: number for number, word in TYPES.items()}
HOPLESS = frozenset({"blackhole", "unreachable", "prohibit", "throw"})
NEXTHOP = struct.Struct("=HBBi")  # struct rtnexthop: length, flags, hops, index
RT_SCOPE_LINK, RT_SCOPE_UNIVERSE = 253, 0
RT_TABLE_COMPAT = 252
USER_HZ = 100
NONE: Mapping[str, Any] = {"source": "", "cwnd": 0, "metrics": (), "nexthop-id": 0, "kept": ()}
"""What a route has of which a dump says nothing."""

Hop: TypeAlias = tuple[Any, ...]
"""(link, gateway, weight, onlink), and perhaps what else it carries."""


def unpack(word: str, data: bytes, names: Mapping[int, str]) -> tuple[Key, dict[str, Any]] | None:
    """Return the key and the attributes of a route of a dump, or None for one that is no entry of a table."""
    family, size, from_size, tos, table, protocol, scope, kind, flags = wire.RTMSG.unpack_from(data)
    # A kernel without IPv6 answers with the routes of all families that it has (rtnl_dump_all).
    if family != FAMILIES[word] or kind not in TYPES or flags & RTM_F_CLONED:
        return None
    given = wire.table(data, wire.RTMSG.size)
    if RTA_TABLE in given:
        table = _number(given[RTA_TABLE])
    metric = _number(given[RTA_PRIORITY]) if RTA_PRIORITY in given else 0
    further = [f"tos {tos}"] if tos else []
    further += [f"from {_network(family, given.get(RTA_SRC), from_size)}"] if from_size else []
    attrs: dict[str, Any] = {"type": TYPES[kind], "protocol": protocol, "scope": scope}
    hops = () if TYPES[kind] in HOPLESS else _hops(family, given, flags, names)
    attrs["nexthops"] = tuple(sorted(hops))
    attrs |= _rest(family, given)
    further += link_word(word, attrs["nexthops"])
    return (
        "route",
        word,
        str(table),
        _network(family, given.get(RTA_DST), size),
        str(metric),
        *further,
    ), attrs


def link_word(word: str, hops: Iterable[Hop]) -> list[str]:
    """Return the link of an IPv6 route that has no gateway: part of what it is (rt6_qualify_for_ecmp)."""
    found = list(hops)
    return [f"dev {found[0][0]}"] if word == "ipv6" and len(found) == 1 and not found[0][1] else []


def _number(data: bytes) -> int:
    return int(struct.unpack_from("=I", data)[0])


def _network(family: int, data: bytes | None, size: int) -> str:
    return f"{wire.address(family, data or bytes(4 if family == socket.AF_INET else 16))}/{size}"


def _rest(family: int, given: Mapping[int, bytes]) -> dict[str, Any]:
    attrs = dict(NONE)
    if RTA_PREFSRC in given:
        attrs["source"] = wire.address(family, given[RTA_PREFSRC])
    attrs |= _metrics(given.get(RTA_METRICS, b""))
    if RTA_NH_ID in given:
        attrs["nexthop-id"] = _number(given[RTA_NH_ID])
    kept = tuple((number, given[number].hex()) for number in OF_A_ROUTE if any(given.get(number, b"")))
    if kept:
        attrs["kept"] = kept
    # struct rta_cacheinfo: the third number is the time left, in ticks of USER_HZ.
    expires = struct.unpack_from("=8xi", given[RTA_CACHEINFO])[0] if RTA_CACHEINFO in given else 0
    if expires > 0:
        attrs["expires"] = max(1, expires // USER_HZ)
    unknown = given.keys() - MODELLED - READ_ONLY - set(OF_A_HOP) - set(OF_A_ROUTE)
    if unknown:
        attrs["unknown"] = tuple(sorted(unknown))
    return attrs


def _metrics(data: bytes) -> dict[str, Any]:
    """Return `cwnd` where it is locked, as nmstate has it (unlocked it is a hint), and the other metrics."""
    found: dict[int, Any] = {
        number: value.rstrip(b"\0").decode(errors="backslashreplace")
        if number == RTAX_CC_ALGO
        else _number(value)
        for number, value in wire.attrs(data)
    }
    attrs: dict[str, Any] = {}
    if RTAX_CWND in found and found.get(RTAX_LOCK, 0) & CWND_IS_LOCKED:
        attrs["cwnd"] = found.pop(RTAX_CWND)
        found[RTAX_LOCK] &= ~CWND_IS_LOCKED
    metrics = tuple((number, value) for number, value in found.items() if value)
    return {**attrs, "metrics": metrics} if metrics else attrs


def _hops(family: int, given: Mapping[int, bytes], flags: int, names: Mapping[int, str]) -> Iterator[Hop]:
    if RTA_MULTIPATH not in given:
        index = _number(given[RTA_OIF]) if RTA_OIF in given else 0
        yield _hop(family, given, index, 0, flags, names)
        return
    data, at = given[RTA_MULTIPATH], 0
    while at + NEXTHOP.size <= len(data):
        size, own_flags, hops, index = NEXTHOP.unpack_from(data, at)
        yield _hop(family, wire.table(data[at : at + size], NEXTHOP.size), index, hops, own_flags, names)
        at += (size + 3) & ~3


def _hop(
    family: int, given: Mapping[int, bytes], index: int, hops: int, flags: int, names: Mapping[int, str]
) -> Hop:
    via = ""
    if RTA_GATEWAY in given:
        via = wire.address(family, given[RTA_GATEWAY])
    elif RTA_VIA in given:  # struct rtvia: a gateway of another family
        other = int(struct.unpack_from("=H", given[RTA_VIA])[0])
        via = wire.address(other, given[RTA_VIA][2:])
    rest = b"".join(_again(number, given[number]) for number in OF_A_HOP if number in given).hex()
    hop = (names.get(index, ""), via, hops + 1, bool(flags & RTNH_F_ONLINK))
    return (*hop, rest) if rest else hop


def _again(number: int, data: bytes) -> bytes:
    return wire.nest(number, data) if number == RTA_ENCAP else wire.attr(number, data)


def cannot_be_made(attrs: Mapping[str, Any]) -> str:
    """Return why a route could not be made again once it is gone, or ""."""
    if unknown := attrs.get("unknown"):
        return f"it has what nncp cannot send back: attribute {', '.join(str(number) for number in unknown)}"
    for hop in attrs.get("nexthops", ()):
        rest = wire.table(bytes.fromhex("".join(hop[4:])))
        if why := encap_cannot_be_made(rest.get(RTA_ENCAP_TYPE), rest.get(RTA_ENCAP, b"")):
            return why
    return ""


def encap_cannot_be_made(kind: bytes | None, data: bytes) -> str:
    """Return why an encapsulation could not be made again, or ""; a `kind` of None is none."""
    if kind is None:
        return ""
    (number,) = struct.unpack_from("=H", kind)
    local = wire.table(data) if number == LWTUNNEL_ENCAP_SEG6_LOCAL else {}
    if number == LWTUNNEL_ENCAP_BPF or SEG6_LOCAL_BPF in local:
        return "the program of its bpf encapsulation is known to its maker alone"
    return "" if number in ENCAPS else f"it has what nncp cannot send back: encapsulation {number}"


def pack(key: Key, attrs: Mapping[str, Any], indexes: Indexes) -> bytes:
    """Return the body of a message that makes or removes a route."""
    _, word, table, network, metric, *further = key
    family, hops = FAMILIES[word], attrs.get("nexthops", ())
    address, _, size = network.partition("/")
    source = next((text.removeprefix("from ") for text in further if text.startswith("from ")), "")
    tos = next((int(text.removeprefix("tos ")) for text in further if text.startswith("tos ")), 0)
    kind = attrs.get("type", "unicast")
    head = wire.RTMSG.pack(
        family,
        int(size),
        int(source.partition("/")[2] or 0),
        tos,
        min(int(table), RT_TABLE_COMPAT),
        attrs.get("protocol", RTPROT_STATIC),
        0 if kind in HOPLESS else attrs.get("scope", _scope(word, hops)),
        NUMBERS[kind],
        RTNH_F_ONLINK if len(hops) == 1 and hops[0][3] and not attrs.get("nexthop-id") else 0,
    )
    parts = [wire.attr(RTA_DST, socket.inet_pton(family, address))] if int(size) else []
    if source:
        parts.append(wire.attr(RTA_SRC, socket.inet_pton(family, source.partition("/")[0])))
    parts.append(wire.attr(RTA_TABLE, struct.pack("=I", int(table))))
    if int(metric):
        parts.append(wire.attr(RTA_PRIORITY, struct.pack("=I", int(metric))))
    return head + b"".join([*parts, *_packed(family, attrs, indexes)])


def _scope(word: str, hops: Iterable[Hop]) -> int:
    return RT_SCOPE_UNIVERSE if word == "ipv6" or any(hop[1] for hop in hops) else RT_SCOPE_LINK


def _packed(family: int, attrs: Mapping[str, Any], indexes: Indexes) -> Iterator[bytes]:
    if nexthop := attrs.get("nexthop-id"):
        # Its hops are told beside it in a dump, and refused beside it in a request (fib_create_info).
        yield wire.attr(RTA_NH_ID, struct.pack("=I", nexthop))
    else:
        yield from _packed_hops(family, attrs.get("nexthops", ()), indexes)
    if source := attrs.get("source"):
        yield wire.attr(RTA_PREFSRC, socket.inet_pton(family, source))
    if metrics := list(_packed_metrics(attrs)):
        yield wire.nest(RTA_METRICS, *metrics)
    if expires := attrs.get("expires"):
        yield wire.attr(RTA_EXPIRES, struct.pack("=I", expires))
    for number, data in attrs.get("kept") or ():
        yield wire.attr(number, bytes.fromhex(data))


def _packed_metrics(attrs: Mapping[str, Any]) -> Iterator[bytes]:
    values = dict(attrs.get("metrics") or ())
    if cwnd := attrs.get("cwnd"):
        values[RTAX_CWND] = cwnd
        values[RTAX_LOCK] = values.get(RTAX_LOCK, 0) | CWND_IS_LOCKED
    for number, value in sorted(values.items()):
        yield wire.attr(
            number, value.encode() + b"\0" if isinstance(value, str) else struct.pack("=I", value)
        )


def _packed_hops(family: int, hops: tuple[Hop, ...], indexes: Indexes) -> Iterator[bytes]:
    if len(hops) == 1:
        yield from _gateway(family, hops[0])
        if hops[0][0]:
            yield wire.attr(RTA_OIF, struct.pack("=I", indexes[hops[0][0]]))
    elif hops:
        yield wire.attr(RTA_MULTIPATH, b"".join(_in_multipath(family, hop, indexes) for hop in hops))


def _in_multipath(family: int, hop: Hop, indexes: Indexes) -> bytes:
    rest = b"".join(_gateway(family, hop))
    flags = RTNH_F_ONLINK if hop[3] else 0
    return NEXTHOP.pack(NEXTHOP.size + len(rest), flags, hop[2] - 1, indexes[hop[0]]) + rest


def _gateway(family: int, hop: Hop) -> Iterator[bytes]:
    if via := hop[1]:
        own = socket.AF_INET6 if ":" in via else socket.AF_INET
        packed = socket.inet_pton(own, via)
        # An IPv4 route by an IPv6 gateway (RFC 5549) names the family.
        yield (
            wire.attr(RTA_GATEWAY, packed)
            if own == family
            else wire.attr(RTA_VIA, struct.pack("=H", own) + packed)
        )
    if hop[4:]:
        yield bytes.fromhex(hop[4])
