"""rtnetlink's byte layout: messages, attributes, nests (linux/netlink.h, linux/rtnetlink.h).

Our own codec over plain bytes, because this is what the engine spends its time on: many messages per
send, and dumps that decode only what is read.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_DUMP_INTR = 0x10
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE, NLM_F_APPEND = 0x100, 0x200, 0x400, 0x800
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 2, 3, 4
NLA_F_NESTED = 0x8000
NLA_TYPE_MASK = 0x3FFF

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK, RTM_SETLINK = 16, 17, 18, 19
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
RTM_NEWRULE, RTM_DELRULE, RTM_GETRULE = 32, 33, 34
RTM_GETQDISC = 38
RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
RTM_NEWLINKPROP, RTM_DELLINKPROP = 108, 109

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port id
ATTR = struct.Struct("=HH")  # struct nlattr: length, type
IFINFO = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, change
IFADDR = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, index
RTMSG = struct.Struct(
    "=BBBBBBBBI"
)  # struct rtmsg: family, dst, src, tos, table, protocol, scope, type, flags
NDMSG = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, index, state, flags, type
NHMSG = struct.Struct("=BBBxI")  # struct nhmsg: family, scope, protocol, flags
TCMSG = struct.Struct("=BxxxiIII")  # struct tcmsg: family, index, handle, parent, info


def attr(number: int, data: bytes) -> bytes:
    """Pack one attribute, padded to four bytes."""
    size = 4 + len(data)
    return ATTR.pack(size, number) + data + bytes(-size & 3)


def address(family: int, data: bytes) -> str:
    """Return an address in the spelling that a document's addresses are brought to."""
    text = socket.inet_ntop(family, data)
    # The C library writes ::ffff:192.0.2.1 where Python, by its version, writes ::ffff:c000:201.
    return str(ipaddress.ip_address(text)) if "." in text and ":" in text else text


def nest(number: int, *parts: bytes) -> bytes:
    """Pack a nest of attributes."""
    return attr(number | NLA_F_NESTED, b"".join(parts))


def message(kind: int, flags: int, body: bytes) -> bytearray:
    """Pack a request without its sequence number, which `number` fills in."""
    return bytearray(HEADER.pack(HEADER.size + len(body), kind, flags | NLM_F_REQUEST, 0, 0) + body)


def number(request: bytearray, sequence: int) -> None:
    """Write the sequence number into a packed request."""
    struct.pack_into("=I", request, 8, sequence)


def unacknowledged(request: bytearray) -> None:
    """Take the wish for an acknowledgement out of a packed request: only its refusal is answered."""
    request[6] &= ~NLM_F_ACK & 0xFF


def takes_away(request: bytearray) -> bool:
    """Whether a packed request deletes: of four types in a row the second does (NEW, DEL, GET, SET)."""
    return int(HEADER.unpack_from(request)[1]) % 4 == 1


def attrs(data: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield (number, value) of the attributes that follow `start`, flags of the number removed."""
    end = len(data)
    while start + 4 <= end:
        size, kind = ATTR.unpack_from(data, start)
        if size < 4:
            return
        yield kind & NLA_TYPE_MASK, data[start + 4 : start + size]
        start += (size + 3) & ~3


def table(data: bytes, start: int = 0) -> dict[int, bytes]:
    """Return the attributes that follow `start`, by number; the last of a repeated number wins.

    The inner loop of every dump, hence written out.
    """
    found: dict[int, bytes] = {}
    unpack, end = ATTR.unpack_from, len(data) - 4
    while start <= end:
        size, kind = unpack(data, start)
        if size < 4:
            break
        found[kind & NLA_TYPE_MASK] = data[start + 4 : start + size]
        start += (size + 3) & ~3
    return found


class _Layout(NamedTuple):
    """Where the attributes of a message stand: the same for every message with these headers.

    `mask` and `heads` are as wide as the message, with ones and with the headers where headers are.
    """

    mask: int
    heads: int
    numbers: tuple[int, ...]
    unpack: Callable[[bytes], tuple[bytes, ...]]


class Pick:
    """Reads some attributes of each message, by number, as `table` does; the others are not copied.

    The messages of a dump differ in values and hardly in headers. So the way through one is kept, and the
    next of its length is only compared with it, in two operations on numbers as wide as the message.

    Args:
        start: where the attributes begin.
        numbers: those that are wanted.

    """

    MOST = 64
    """Layouts that are kept: names and addresses have few lengths."""

    def __init__(self, start: int, numbers: Iterable[int]) -> None:
        self.start = start
        self.numbers = frozenset(numbers)
        self._known: dict[int, _Layout] = {}

    def __call__(self, data: bytes) -> dict[int, bytes]:
        """Return what is wanted of a message."""
        layout = self._known.get(len(data))
        if layout is None or int.from_bytes(data, "little") & layout.mask != layout.heads:
            layout = self._layout(data)
            if len(self._known) >= self.MOST:
                self._known.clear()
            self._known[len(data)] = layout
        return dict(zip(layout.numbers, layout.unpack(data), strict=True))

    def _layout(self, data: bytes) -> _Layout:
        mask, numbers, form, at, end = bytearray(len(data)), [], "=", 0, len(data) - 4
        start = self.start
        while start <= end:
            size, kind = ATTR.unpack_from(data, start)
            mask[start : start + 4] = b"\xff\xff\xff\xff"
            if size < 4:
                break
            if (number := kind & NLA_TYPE_MASK) in self.numbers:
                numbers.append(number)
                stop = min(start + size, len(data))
                form += f"{start + 4 - at}x{stop - start - 4}s"
                at = stop
            start += (size + 3) & ~3
        every = int.from_bytes(mask, "little")
        unpack = struct.Struct(f"{form}{len(data) - at}x").unpack
        return _Layout(every, int.from_bytes(data, "little") & every, tuple(numbers), unpack)


def messages(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, flags, sequence, body) of the messages in a datagram."""
    start, end = 0, len(data)
    while start + HEADER.size <= end:
        size, kind, flags, sequence, _ = HEADER.unpack_from(data, start)
        if size < HEADER.size:
            return
        yield kind, flags, sequence, data[start + HEADER.size : start + size]
        start += (size + 3) & ~3
