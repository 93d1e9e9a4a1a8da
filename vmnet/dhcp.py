"""The DHCPv4 server of a Pod: one client, one address that never changes, every option it may want.

Our own, because nothing on PyPI fits: the servers there hand out pools. This one has no pool and no state,
so it may be killed and started anywhere, on the other node after a migration too.

One UDP socket, bound to the guest's bridge, hears and answers, as KubeVirt's does. A client without an
address is answered by broadcast, which RFC 2131, 4.1 allows: raw frames would name its MAC, but whoever holds
a packet socket sends on every link of the Pod. One that renews is answered at its address.

Served in full whatever the client's parameter list says, as KubeVirt does. A request for another address
gets a NAK (RFC 2131, 4.3.2), which KubeVirt never sends: a guest that remembers a former network asks anew
at once. INFORM, DECLINE and RELEASE are ignored, and what a relay handed on: the one guest is on this link.

No datagram ends it, and none costs more than another: what it says was encoded before (`vmnet.lease`), and
what it cannot read, or send, is counted and forgotten.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import struct
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from vmnet.hearing import ALL, EQUAL, LOAD_HALF, LOAD_WORD, NOTHING, hear_only
from vmnet.names import mac_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


SERVER, CLIENT = 67, 68
MAGIC = b"\x63\x82\x53\x63"

DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
BROADCAST = "255.255.255.255"

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
"""RFC 2131, figure 1: op htype hlen hops xid secs flags ciaddr yiaddr siaddr giaddr chaddr sname file."""

_NOWHERE = bytes(4)
_LEAST = 300  # RFC 1542, 2.1: relays and old clients drop what is shorter
_LONGEST = 1500  # octets of a datagram that are read: what a client says fits into one frame

_RXQ_OVFL = 40  # SO_RXQ_OVFL, which Python does not name (include/uapi/asm-generic/socket.h)
_NO_CHECK = 11  # nor SO_NO_CHECK
_PKTINFO, _MTU_DISCOVER, _PMTUDISC_DO = 8, 10, 2  # nor these (include/uapi/linux/in.h, IP_...)
_PAUSE = 0.1  # seconds between two readings of a socket that has only an error to tell


class Terms(Struct, frozen=True, rename="kebab"):
    """What a server offers. `options` are whole ones, as on the wire, the least dispensable first.

    `server` and `address`, the guest's, are IPv4 addresses. `mac` restricts it to one client; empty serves
    any.
    """

    server: str
    address: str
    mac: str = ""
    options: tuple[bytes, ...] = ()


class Message(Struct, frozen=True):
    """A client's message, as far as a server with one lease reads it."""

    kind: int
    xid: int
    flags: int
    client: bytes
    ciaddr: bytes
    options: dict[int, bytes]

    @property
    def requested(self) -> bytes:
        """The address that a REQUEST is about: option 50, or its own when it renews."""
        return self.options.get(50, self.ciaddr)

    @property
    def room(self) -> int:
        """Octets of options that the client has room for; one that names no size has it for any."""
        said = self.options.get(57, b"")
        return room(max(576, int.from_bytes(said, "big"))) if len(said) == 2 else room(65535)


class Answer(Struct, frozen=True):
    """A reply: the BOOTP message, and the address it goes to."""

    kind: int
    payload: bytes
    address: str


def room(datagram: int) -> int:
    """Return the octets for options in an IP datagram of that many, beside the message type and the end."""
    return datagram - 20 - 8 - _HEADER.size - len(MAGIC) - 3 - 1


def parse(data: bytes) -> Message | None:
    """Return the message in a datagram, or None for what no Ethernet DHCP client of this link sends."""
    if len(data) < _HEADER.size + 4 or data[_HEADER.size : _HEADER.size + 4] != MAGIC:
        return None
    op, htype, hlen, _, xid, _, flags, ciaddr, _, _, giaddr, chaddr, sname, file = _HEADER.unpack_from(data)
    options = _gathered(_options(data[_HEADER.size + 4 :]))
    overload = options.get(52, b"\0")[-1:]
    if overload in {b"\1", b"\3"}:  # RFC 2131, 4.1: the file field first
        options = _gathered(_options(file), options)
    if overload in {b"\2", b"\3"}:
        options = _gathered(_options(sname), options)
    kind = options.get(53, b"")
    if (op, htype, hlen, giaddr) != (1, 1, 6, _NOWHERE) or len(kind) != 1:
        return None
    return Message(kind=kind[0], xid=xid, flags=flags, client=chaddr[:6], ciaddr=ciaddr, options=options)


def _gathered(found: Iterable[tuple[int, bytes]], known: dict[int, bytes] | None = None) -> dict[int, bytes]:
    """Put options together; the pieces of one that comes several times are one (RFC 3396)."""
    options = dict(known or {})
    for code, value in found:
        options[code] = options.get(code, b"") + value
    return options


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield options up to the end of what is whole."""
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        value = data[at + 2 : at + 2 + data[at + 1]]
        if len(value) < data[at + 1]:
            return
        yield data[at], value
        at += 2 + len(value)


def answer(message: Message, terms: Terms) -> Answer | None:
    """Return what a server says to a message on its terms, or None when it keeps silent."""
    if terms.mac and message.client != mac_bytes(terms.mac):
        return None
    if message.kind == DISCOVER:
        return _grant(OFFER, message, terms)
    if message.kind != REQUEST:
        return None
    chosen = message.options.get(54)
    if chosen is not None and chosen != _address(terms.server):
        return None  # it took another server's offer
    right = message.requested == _address(terms.address)
    return _grant(ACK, message, terms) if right else _refuse(message, terms)


def _grant(kind: int, message: Message, terms: Terms) -> Answer:
    options = b"".join(_fitting(terms.options, message.room))
    ciaddr = message.ciaddr if kind == ACK else _NOWHERE  # RFC 2131, table 3
    payload = _payload(kind, message, options, ciaddr=ciaddr, yiaddr=_address(terms.address))
    has_it = message.ciaddr == _address(terms.address)
    return Answer(kind=kind, payload=payload, address=terms.address if has_it else BROADCAST)


def _fitting(options: Iterable[bytes], left: int) -> Iterator[bytes]:
    """Yield the options for which a client has room."""
    for option in options:
        if len(option) <= left:
            left -= len(option)
            yield option


def _refuse(message: Message, terms: Terms) -> Answer:
    payload = _payload(NAK, message, bytes([54, 4]) + _address(terms.server))
    return Answer(kind=NAK, payload=payload, address=BROADCAST)


def _payload(
    kind: int, message: Message, options: bytes, *, ciaddr: bytes = _NOWHERE, yiaddr: bytes = _NOWHERE
) -> bytes:
    head = (2, 1, 6, 0, message.xid, 0, message.flags, ciaddr, yiaddr, _NOWHERE, _NOWHERE, message.client)
    body = _HEADER.pack(*head, b"", b"") + MAGIC + bytes([53, 1, kind]) + options + b"\xff"
    return body.ljust(_LEAST, b"\0")


def _address(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


class Server:
    """One lease's terms, and the socket by which they are asked for and told.

    `lost` counts what was not answered that might have been, by reason: `unread` by us, `unheard` that the
    kernel dropped (its queue was full, or it was another client's), and each error of a socket by its name.
    """

    def __init__(self, terms: Terms, line: socket.socket) -> None:
        self.terms = terms
        self.line = line
        self.lost: Counter[str] = Counter()
        # in_pktinfo, ip(7): the Pod's link may have no other address, and the node's would be chosen then.
        self._from = (socket.IPPROTO_IP, _PKTINFO, struct.pack("=i4s4s", 0, _address(terms.server), _NOWHERE))
        # No checksum (RFC 768): the kernel leaves it to the guest's card, and not every client knows of that.
        line.setsockopt(socket.SOL_SOCKET, _NO_CHECK, 1)
        # No fragments: a client without an address does not put them together.
        line.setsockopt(socket.IPPROTO_IP, _MTU_DISCOVER, _PMTUDISC_DO)
        # On a kernel without them `answer` looks itself, and less is counted.
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
            if terms.mac:
                _hear_only(line, mac_bytes(terms.mac))

    def once(self) -> Answer | None:
        """Take one datagram, if there is one, and answer it; return what was said."""
        data = self._heard()
        message = None if data is None else parse(data)
        if data is not None and message is None:
            self._lose("unread")
        reply = answer(message, self.terms) if message else None
        return reply if reply is not None and self._said(reply) else None

    def _heard(self) -> bytes | None:
        # Never blocking: a datagram that poll told of is gone again when its checksum turns out to be wrong.
        try:
            data, told, _, _ = self.line.recvmsg(_LONGEST, 64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            self._lose(_name(error))
            time.sleep(_PAUSE)
            return None
        for _, _, count in told:
            more = int.from_bytes(count[:4], sys.byteorder) - self.lost["unheard"]
            self._lose("unheard", more)
        return data

    def _said(self, reply: Answer) -> bool:
        try:
            self.line.sendmsg([reply.payload], [self._from], socket.MSG_DONTWAIT, (reply.address, CLIENT))
        except OSError as error:  # the link is down, its queue is full, or its MTU has shrunk
            self._lose(_name(error))
            return False
        return True

    def _lose(self, why: str, count: int = 1) -> None:
        """Count what is lost, and say so each time that there is twice as much of it."""
        before = self.lost[why]
        self.lost[why] += count
        if self.lost[why].bit_length() > before.bit_length():
            self.tell()

    def tell(self) -> None:
        """Write down what was lost so far; a log that takes no more stops nothing."""
        with contextlib.suppress(OSError):
            line = msgspec.json.encode({"event": "dhcp lost", "server": self.terms.server, **self.lost})
            os.write(2, line + b"\n")

    def serve(self, until: int) -> None:
        """Answer until the file `until` ends."""
        poll = select.poll()  # descriptors are inherited, and may be beyond what select can watch
        poll.register(self.line, select.POLLIN)
        poll.register(until, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number != until:
                    self.once()
                elif not os.read(until, 4096):
                    return


def _name(error: OSError) -> str:
    return os.strerror(error.errno or 0)


def _hear_only(line: socket.socket, mac: bytes) -> None:
    """Hear this client alone: chaddr stands 28 octets into the message (RFC 2131), 36 after UDP's header."""
    hear_only(
        line,
        (LOAD_WORD, 0, 0, 36),
        (EQUAL, 0, 3, int.from_bytes(mac[:4], "big")),
        (LOAD_HALF, 0, 0, 40),
        (EQUAL, 0, 1, int.from_bytes(mac[4:], "big")),
        ALL,
        NOTHING,
    )


def main() -> int:
    """Serve as a `plumbing.Service` does: its socket's descriptor as argument, the terms by input."""
    terms = msgspec.json.decode(sys.stdin.buffer.readline(), type=Terms)
    server = Server(terms, socket.socket(fileno=int(sys.argv[1])))
    server.serve(sys.stdin.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
