"""Links: what `ip link` shows (linux/if_link.h; net/core/rtnetlink.c).

Keys are ("link", name); the attributes are `type`, `index`, those of every link (nncp.kinds.link) and those
of its kind. Whatever another table reads from a link's message is decoded here once, as a LinkMessage.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.errors import Error, ErrorKind
from nncp.host import Row
from nncp.kinds.codec import LINK as LINK_CODEC
from nncp.kinds.kind import Tie
from nncp.kinds.link import (
    AF_INET6,
    BASE_ATTRS,
    ELSEWHERE,
    FLAGS,
    IDLE,
    IFLA_AF_SPEC,
    INET6_IDLE,
    READ_ONLY,
    SENT_BACK,
    STATE_ATTRS,
)
from nncp.kinds.linux_bridge import BORROWED
from nncp.kinds.tap import TAP
from nncp.tables.table import Table, Tap, not_sent_back, references
from nncp.tables.words import in_brackets
from nncp.tables.words import value as said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Key, Op
    from nncp.kinds.kind import Attr, Kind
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Look, Rows, Taken, Write

ARPHRD_LOOPBACK = 772
IFF_UP = 1
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 3, 5, 10, 18, 29, 37
IFLA_INET6_CONF = 2
IFLA_PROP_LIST, IFLA_ALT_IFNAME = 52, 53
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
RTEXT_FILTER_SKIP_STATS = 8
VETH_INFO_PEER = 1
IFLA_NET_NS_FD = 28
TCA_KIND = 1
ACK = wire.NLM_F_ACK
NEW = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_EXCL

EXTENT = wire.attr(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS))
DUMP = wire.IFINFO.pack(0, 0, 0, 0, 0) + EXTENT


class LinkMessage:
    """One link as the kernel dumps it, decoded as far as every table needs it.

    Args:
        data: the message.
        kinds: the interface types.
        whole: whether all attributes are kept, in `every` and `every_inet6`.

    Attributes:
        attrs: those of its row, links among them by index.
        controller: the index of its controller, 0 for none.
        port_word: the kernel's word for its controller's type.
        port_data: what its controller tells of it as a port.
        inet6_conf: its sysctls of IPv6, as an array.
        properties: its other names.

    """

    __slots__ = (
        "attrs", "controller", "every", "every_inet6", "flags", "index", "inet6_conf", "info_data", "name",
        "port_data", "port_word", "properties", "up",
    )  # fmt: skip

    def __init__(self, data: bytes, kinds: Kinds, *, whole: bool = False) -> None:
        _, hardware, self.index, self.flags, _ = wire.IFINFO.unpack_from(data)
        given = GIVEN(data)
        inet6_data = AF_SPEC(given.get(IFLA_AF_SPEC, b"")).get(AF_INET6, b"")
        inet6 = INET6(inet6_data)
        info = wire.table(given.get(IFLA_LINKINFO, b""))
        self.name = text(given[IFLA_IFNAME])
        self.up = bool(self.flags & IFF_UP)
        self.controller = number(given.get(IFLA_MASTER, b"\0\0\0\0"))
        self.port_word = text(info.get(IFLA_INFO_SLAVE_KIND, b""))
        self.port_data = info.get(IFLA_INFO_SLAVE_DATA, b"")
        self.inet6_conf = inet6.get(IFLA_INET6_CONF, b"")
        self.properties = given.get(IFLA_PROP_LIST, b"")
        self.attrs = _attrs(self.index, hardware, given, inet6, info, kinds)
        self.every = wire.table(data, wire.IFINFO.size) if whole else {}
        self.every_inet6 = wire.table(inet6_data) if whole else {}
        self.info_data = wire.table(info.get(IFLA_INFO_DATA, b"")) if whole else {}


def has_mac(attrs: Mapping[str, Any]) -> bool:
    """Whether a link has a MAC address: a bridge that has lost its last port has none to give back."""
    return bool(str(attrs.get("mac", "")).strip("0:"))


def text(data: bytes) -> str:
    """Return a text of the kernel's, whatever bytes somebody has put into it."""
    return data.rstrip(b"\0").decode(errors="backslashreplace")


def number(data: bytes) -> int:
    """Return a 32-bit number in host order."""
    return int(struct.unpack_from("=I", data)[0])


def decode(given: Mapping[int, bytes], attrs: Iterable[Attr], into: dict[str, Any]) -> None:
    """Add to `into` the attributes that a message holds, and those whose absence is a value."""
    for attr in attrs:
        data = given.get(attr.number)
        if data:
            try:
                into[attr.name] = attr.codec.unpack(data)
            except (struct.error, IndexError):
                continue  # shorter than what it is named for: another kernel's, or a module's of its own
        elif attr.unset is not None:
            into[attr.name] = attr.unset


def _attrs(
    index: int,
    hardware: int,
    given: Mapping[int, bytes],
    inet6: Mapping[int, bytes],
    info: Mapping[int, bytes],
    kinds: Kinds,
) -> dict[str, Any]:
    word = text(info.get(IFLA_INFO_KIND, b""))
    kind = kinds.by_link.get(word)
    bare = "loopback" if hardware == ARPHRD_LOOPBACK else "ethernet"
    attrs: dict[str, Any] = {"index": index, "type": kind.type if kind else word or bare}
    decode(given, FLAT, attrs)
    decode(inet6, NESTED, attrs)
    told = kind or kinds.foreign.get(word)
    if told and told.attrs:
        data = kinds.pick(told)(info.get(IFLA_INFO_DATA, b""))
        decode(data, told.attrs, attrs)
        if borrowed := tuple(told.borrowed(data)):
            for name in {attr.name for attr in told.attrs}.intersection(borrowed):
                attrs.pop(name, None)
            attrs["borrowed"] = borrowed
    if IFLA_LINK_NETNSID in given:
        attrs["elsewhere"] = True
    elif below := number(given.get(IFLA_LINK, b"\0\0\0\0")):
        # What the link rests on, or is paired with.
        attrs |= {told.below if told else "base-iface": below} if below != index else {}
    return attrs


FLAT = (*(attr for attr in BASE_ATTRS if not attr.nest and not attr.tie), *STATE_ATTRS)
NESTED = tuple(attr for attr in BASE_ATTRS if attr.nest)
GIVEN = wire.Pick(wire.IFINFO.size, (*ELSEWHERE, *(attr.number for attr in FLAT)))
AF_SPEC = wire.Pick(0, (AF_INET6,))
INET6 = wire.Pick(0, (IFLA_INET6_CONF, *(attr.number for attr in NESTED)))


def _read(dumps: Dumps) -> Iterator[Row]:
    for link in dumps.links:
        key = ("link", link.name)
        attrs = link.attrs
        for attr in dumps.kinds.ties("link", attrs["type"]):
            if not (index := attrs.get(attr.name)):
                continue
            # An index in another network namespace may be that of somebody else here.
            attrs[attr.name] = attr.unset if attrs.get("elsewhere") else dumps.names.get(index, attr.unset)
            if attrs[attr.name] is None:
                del attrs[attr.name]
        yield Row(key, attrs)


def _kind_attrs(kind: Kind | None) -> Iterable[Attr]:
    return (*BASE_ATTRS, *SENT_BACK, *((*kind.attrs, *kind.sent_back) if kind else ()))


TIMED = BORROWED | {"stp.enabled"}
"""What a bridge may not tell, and what clamps it (br_stp_start)."""
MODELLED = ELSEWHERE.union(attr.number for attr in FLAT)


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    """Yield links that go with what they have beside what is modelled."""
    queueing = _queueing(look) if taken.links else {}
    for name in sorted(taken.links):
        row, link = look.host.get("link", name), look.link(name)
        if row is None or link is None:
            continue
        kind = look.kinds.by_type.get(row.attrs["type"])
        attrs = {**row.attrs, "flags": link.flags & FLAGS}
        decode(link.every, SENT_BACK, attrs)
        data = link.info_data
        decode(data, kind.sent_back if kind else (), attrs)
        unknown = [*queueing.get(link.index, ()), *(f"attribute {number}" for number in _unknown(link))]
        if _is_misnamed(link):
            unknown.append("a name that is not UTF-8")
        if kind:
            left = unmodelled(data, (*kind.attrs, *kind.sent_back), kind.read_only)
            unknown += [f"attribute {number} of {kind.type}" for number in left]
        yield Row(row.key, {**attrs, "unknown": tuple(unknown)} if unknown else attrs)


def _queueing(look: Look) -> dict[int, list[str]]:
    """Return the queueing disciplines that somebody gave, by index: the kernel's own have no handle."""
    found: dict[int, list[str]] = {}
    for data in look.dump(wire.RTM_GETQDISC, wire.TCMSG.pack(0, 0, 0, 0, 0)):
        _, index, handle, _, _ = wire.TCMSG.unpack_from(data)
        if handle:
            kind = text(wire.table(data, wire.TCMSG.size)[TCA_KIND])
            found.setdefault(index, []).append(f"queueing discipline {kind} (tc)")
    return found


def _unknown(link: LinkMessage) -> Iterator[str]:
    given, inet6, known = link.every, link.every_inet6, MODELLED | READ_ONLY
    yield from (
        str(number) for number in unmodelled(given, SENT_BACK, known) if given[number] != IDLE.get(number)
    )
    yield from (f"{number} of IPv6" for number, idle in INET6_IDLE.items() if inet6.get(number, idle) != idle)


def _is_misnamed(link: LinkMessage) -> bool:
    """Whether a name of a link, or a further one, is read as another than it is."""
    further = wire.attrs(link.properties)
    names = [link.every[IFLA_IFNAME], *(data for number, data in further if number == IFLA_ALT_IFNAME)]
    return any(text(name).encode() != name.rstrip(b"\0") for name in names)


def unmodelled(given: Iterable[int], attrs: Iterable[Attr], read_only: frozenset[int]) -> list[int]:
    """Return the numbers of `given` that are neither among `attrs` nor only tell something."""
    return sorted(set(given) - {attr.number for attr in attrs} - read_only)


def _recorded(key: Key, rows: Rows, ops: Mapping[str, list[Op]]) -> Mapping[str, Any]:
    """Return a link; of a bridge what it may not tell when it is undone only if an apply changes that."""
    own = [op for op in ops.get(key[1], ()) if op.key == key]
    timed = any(op.verb != "change" or not op.attrs.keys().isdisjoint(TIMED) for op in own)
    less = (frozenset() if timed else BORROWED) | (frozenset() if has_mac(rows[key]) else {"mac"})
    return {name: value for name, value in rows[key].items() if name not in less}


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    for attr, name in references(key, rows[key], kinds):
        if attr.tie is Tie.RESTS:
            yield ("link", name)


def _cannot_be_made(attrs: Mapping[str, Any], kinds: Kinds) -> str:
    kind = kinds.by_type.get(attrs["type"])
    if kind is None:
        return f"interfaces of type {attrs['type']} are not supported yet"
    if not kind.link:
        return "it is a device that no software makes"
    if attrs.get("elsewhere"):
        other = "other end" if kind.below == "peer" else "interface below it"
        return f"its {other} is in another network namespace"
    return kind.cannot_be_made(attrs) or not_sent_back(attrs)


def _write(op: Op, indexes: Indexes) -> Iterator[Write]:
    name = op.key[1]
    if op.verb == "rename":
        yield set_link(indexes[op.old["name"]], wire.attr(IFLA_IFNAME, name.encode() + b"\0"))
        indexes.rename(op.old["name"], name)
    elif op.verb == "remove":
        yield wire.message(wire.RTM_DELLINK, ACK, wire.IFINFO.pack(0, 0, indexes.forget(name), 0, 0))
    elif op.verb == "change":
        kind = indexes.kinds.by_type.get(op.type)
        base, data, late = _sorted(op, indexes)
        first = [*base, *(_info(kind.link, data) if kind and data else ())]
        # A link has no IPv6 to set modes of before its MTU is 1280 (inet6_validate_link_af).
        yield from (set_link(indexes[name], *parts) for parts in (first, late) if parts)
    else:
        yield from _create(op, indexes)


def _create(op: Op, indexes: Indexes) -> Iterator[Write]:
    name = op.key[1]
    if why := _cannot_be_made({**op.attrs, "type": op.type}, indexes.kinds):
        raise Error(f"{name} cannot be made again: {why}", kind=ErrorKind.UNSUPPORTED, subject=name)
    kind = indexes.kinds.by_type[op.type]
    base, data, late = _sorted(op, indexes)
    index = indexes.new(name, op.attrs.get("index"))
    if kind is TAP:
        yield Tap(name, index, op.attrs)
        yield wire.message(wire.RTM_NEWLINK, ACK, _head(index, op.attrs) + b"".join(base))
    else:
        if kind.below == "peer":
            data.append(_pair(op, indexes))
        head = _head(index, op.attrs) + wire.attr(IFLA_IFNAME, name.encode() + b"\0")
        yield wire.message(wire.RTM_NEWLINK, NEW, head + b"".join([*base, *_info(kind.link, data)]))
    if late:
        yield set_link(index, *late)


def _head(index: int, attrs: Mapping[str, Any]) -> bytes:
    flags = attrs.get("flags")
    return wire.IFINFO.pack(0, 0, index, *((0, 0) if flags is None else (flags, FLAGS)))


def _sorted(op: Op, indexes: Indexes) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Pack the attributes of a link: its own, its kind's, and those that a new link takes only later."""
    base: list[bytes] = []
    late: list[bytes] = []
    table = indexes.kinds.attrs("link", op.type)
    kind = indexes.kinds.by_type.get(op.type)
    # A tap's `group` is not every link's.
    own = {attr.name for attr in (*kind.attrs, *kind.sent_back)} if kind else set()
    data: dict[int, bytes] = {}
    for name, value in op.attrs.items():
        attr = table.get(name)
        if attr is None or value is None or not attr.number or (attr.create and op.verb == "change"):
            continue
        if attr.late and op.verb == "create" and value == attr.unset:
            continue  # as it is in a new link
        packed = pack(attr, value, indexes)
        if name not in own:
            (late if attr.late else base).append(_nested(attr, packed))
            continue
        before, combine = data.get(attr.number), attr.codec.combine
        data[attr.number] = combine(before, packed) if before and combine else packed
    return base, [wire.attr(number, packed) for number, packed in sorted(data.items())], late


def pack(attr: Attr, value: Any, indexes: Indexes) -> bytes:
    """Pack one attribute; a link's name becomes its index."""
    if attr.codec is LINK_CODEC:
        value = indexes[value] if value else 0
    return attr.codec.pack(value)


def _nested(attr: Attr, packed: bytes) -> bytes:
    data = wire.attr(attr.number, packed)
    for number in reversed(attr.nest):
        data = wire.nest(number, data)
    return data


def _info(kind: str, data: list[bytes]) -> list[bytes]:
    parts = [wire.attr(IFLA_INFO_KIND, kind.encode() + b"\0")]
    if data:
        parts.append(wire.nest(IFLA_INFO_DATA, *data))
    return [wire.nest(IFLA_LINKINFO, *parts)]


def _pair(op: Op, indexes: Indexes) -> bytes:
    """Pack the other end of a veth, made in the same message."""
    peer, index = op.attrs.get("peer"), 0
    if not peer:
        name = op.key[1]
        raise Error(f"{name} cannot be made: no peer says what its other end is called", subject=name)
    parts = [wire.attr(IFLA_IFNAME, peer.encode() + b"\0")]
    if namespace := op.attrs.get("peer-netns"):
        parts.append(wire.attr(IFLA_NET_NS_FD, struct.pack("=I", indexes.namespaces[namespace])))
    else:
        index = indexes.new(peer, op.attrs.get("peer-index"))
    if mac := op.attrs.get("peer-mac"):
        parts.append(wire.attr(1, bytes.fromhex(mac.replace(":", ""))))
    if mtu := op.attrs.get("peer-mtu"):
        parts.append(wire.attr(4, struct.pack("=I", mtu)))
    kept = op.attrs.get("peer-kept") or {}
    parts += [
        wire.attr(attr.number, attr.codec.pack(kept[attr.name]))
        for attr in SENT_BACK[1:]
        if attr.name in kept
    ]
    return wire.nest(VETH_INFO_PEER, _head(index, kept), *parts)


def set_link(index: int, *parts: bytes) -> bytearray:
    """Pack a change of a link."""
    return wire.message(wire.RTM_NEWLINK, ACK, wire.IFINFO.pack(0, 0, index, 0, 0) + b"".join(parts))


def _sentence(op: Op) -> str:
    name = op.key[1]
    if op.verb == "rename":
        return f"rename {op.old['name']} to {name}"
    if op.verb == "change":
        return f"set {', '.join(f'{word} of {name} to {said(given)}' for word, given in op.attrs.items())}"
    return f"{op.verb} {op.type} {name}"


def _what(key: Key, attrs: Mapping[str, Any]) -> str:  # noqa: ARG001  (a Table's shape)
    return f"{attrs.get('type', '')}{in_brackets(attrs)}"


LINK = Table(
    name="link",
    read=_read,
    taken=_taken,
    write=_write,
    attrs=_kind_attrs,
    needs=_needs,
    recorded=_recorded,
    cannot_be_made=_cannot_be_made,
    sentence=_sentence,
    what=_what,
    told=True,
)
