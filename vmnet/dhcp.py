"""The DHCPv4 server of a Pod: one client, one address that never changes, every option it may want.

Our own, because nothing on PyPI fits: the servers there hand out pools and answer through a UDP socket.
This one has no pool and no state, so it may be killed and started anywhere, on the other node after a
migration too; and it must answer by raw frames, since a client without an address cannot be asked for its
MAC (RFC 2131, 4.1) and the Pod's kernel may hold the guest's address itself. Requests come through a UDP
socket: the kernel mends the checksums that a virtio guest leaves to the hardware.

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
BROADCAST_FLAG = 0x8000
BROADCAST_MAC = b"\xff" * 6

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
"""RFC 2131, figure 1: op htype hlen hops xid secs flags ciaddr yiaddr siaddr giaddr chaddr sname file."""

_NOWHERE = bytes(4)
_LEAST = 300  # RFC 1542, 2.1: relays and old clients drop what is shorter
_LONGEST = 1500  # octets of a datagram that are read: what a client says fits into one frame

_RXQ_OVFL = 40  # SO_RXQ_OVFL, which Python does not name (include/uapi/asm-generic/socket.h)
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
    """A reply: the BOOTP message, and the MAC and address it goes to."""

    kind: int
    payload: bytes
    mac: bytes
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
    if message.flags & BROADCAST_FLAG and message.ciaddr == _NOWHERE:
        return Answer(kind=kind, payload=payload, mac=BROADCAST_MAC, address="255.255.255.255")
    return Answer(kind=kind, payload=payload, mac=message.client, address=terms.address)


def _fitting(options: Iterable[bytes], left: int) -> Iterator[bytes]:
    """Yield the options for which a client has room."""
    for option in options:
        if len(option) <= left:
            left -= len(option)
            yield option


def _refuse(message: Message, terms: Terms) -> Answer:
    payload = _payload(NAK, message, bytes([54, 4]) + _address(terms.server))
    return Answer(kind=NAK, payload=payload, mac=BROADCAST_MAC, address="255.255.255.255")


def _payload(
    kind: int, message: Message, options: bytes, *, ciaddr: bytes = _NOWHERE, yiaddr: bytes = _NOWHERE
) -> bytes:
    head = (2, 1, 6, 0, message.xid, 0, message.flags, ciaddr, yiaddr, _NOWHERE, _NOWHERE, message.client)
    body = _HEADER.pack(*head, b"", b"") + MAGIC + bytes([53, 1, kind]) + options + b"\xff"
    return body.ljust(_LEAST, b"\0")


def _address(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


def frame(reply: Answer, *, source_mac: bytes, source: str) -> bytes:
    """Return the reply as an Ethernet frame, UDP checksum and all (RFC 768, 791, 894)."""
    addresses = _address(source) + _address(reply.address)
    length = 8 + len(reply.payload)
    udp = struct.pack("!HHHH", SERVER, CLIENT, length, 0) + reply.payload
    check = _checksum(addresses + struct.pack("!BBH", 0, socket.IPPROTO_UDP, length) + udp)
    udp = udp[:6] + struct.pack("!H", check or 0xFFFF) + udp[8:]
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0) + addresses
    head = head[:10] + struct.pack("!H", _checksum(head)) + head[12:]
    return reply.mac + source_mac + b"\x08\x00" + head + udp


def _checksum(data: bytes) -> int:
    """The internet checksum (RFC 1071)."""
    total: int = sum(struct.unpack(f"!{(len(data) + 1) // 2}H", data + b"\0" * (len(data) % 2)))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


class Server:
    """One lease's terms, and two sockets: one for requests, one for the frames that answer them.

    `lost` counts what was not answered that might have been, by reason: `unread` by us, `unheard` that the
    kernel dropped (its queue was full, or it was another client's), and each error of a socket by its name.
    """

    def __init__(self, terms: Terms, requests: socket.socket, frames: socket.socket) -> None:
        self.terms = terms
        self.requests = requests
        self.frames = frames
        self.lost: Counter[str] = Counter()
        with contextlib.suppress(
            OSError
        ):  # a kernel without them: `answer` looks itself, and less is counted
            requests.setsockopt(socket.SOL_SOCKET, _RXQ_OVFL, 1)
            if terms.mac:
                _hear_only(requests, mac_bytes(terms.mac))

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
            data, told, _, _ = self.requests.recvmsg(_LONGEST, 64, socket.MSG_DONTWAIT)
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
            mac = bytes(self.frames.getsockname()[4])
            sent = frame(reply, source_mac=mac, source=self.terms.server)
            self.frames.send(sent, socket.MSG_DONTWAIT)
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
        poll.register(self.requests, select.POLLIN)
        poll.register(until, select.POLLIN)
        while True:
            for number, _ in poll.poll():
                if number != until:
                    self.once()
                elif not os.read(until, 4096):
                    return


def _name(error: OSError) -> str:
    return os.strerror(error.errno or 0)


def _hear_only(requests: socket.socket, mac: bytes) -> None:
    """Hear this client alone: chaddr stands 28 octets into the message (RFC 2131), 36 after UDP's header."""
    hear_only(
        requests,
        (LOAD_WORD, 0, 0, 36),
        (EQUAL, 0, 3, int.from_bytes(mac[:4], "big")),
        (LOAD_HALF, 0, 0, 40),
        (EQUAL, 0, 1, int.from_bytes(mac[4:], "big")),
        ALL,
        NOTHING,
    )


def main() -> int:
    """Serve as a `plumbing.Service` does: descriptors of its sockets as arguments, the terms by input."""
    terms = msgspec.json.decode(sys.stdin.buffer.readline(), type=Terms)
    requests, frames = (socket.socket(fileno=int(word)) for word in sys.argv[1:])
    server = Server(terms, requests, frames)
    server.serve(sys.stdin.fileno())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
