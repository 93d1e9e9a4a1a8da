"""The DHCPv4 server of a Pod: one client, one address that never changes, every option it may want.

Our own, because nothing on PyPI fits: the servers there hand out pools and answer through a UDP socket.
This one has no pool and no state, so it may be killed and started anywhere, on the other node after a
migration too; and it must answer by raw frames, since a client without an address cannot be asked for its
MAC (RFC 2131, 4.1) and the Pod's kernel may hold the guest's address itself. Requests come through a UDP
socket: the kernel mends the checksums that a virtio guest leaves to the hardware.

Served in full whatever the client's parameter list says, as KubeVirt does. A request for another address
gets a NAK (RFC 2131, 4.3.2), which KubeVirt never sends: a guest that remembers a former network asks anew
at once.
"""

from __future__ import annotations

import ipaddress
import os
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from vmnet.names import mac_bytes
from vmnet.plumbing import Route, Service, Socket

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


SERVER, CLIENT = 67, 68
MAGIC = b"\x63\x82\x53\x63"
LEASE_SECONDS = 999 * 24 * 3600
"""KubeVirt's: renewed after a year and four months, so a lost server is never noticed."""

DISCOVER, OFFER, REQUEST, ACK, NAK = 1, 2, 3, 5, 6
BROADCAST_FLAG = 0x8000
BROADCAST_MAC = b"\xff" * 6

_HEADER = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
"""RFC 2131, figure 1: op htype hlen hops xid secs flags ciaddr yiaddr siaddr giaddr chaddr sname file."""

_NOWHERE = bytes(4)
_LEAST = 300  # RFC 1542, 2.1: relays and old clients drop what is shorter


class Lease(Struct, frozen=True, rename="kebab"):
    """The one DHCPv4 lease that a binding serves to its guest.

    `mac` restricts it to one client (a bridge binding shares its segment with others). `private` are
    KubeVirt's options 224 to 254, by number.
    """

    interface: str
    server: str
    address: str
    gateway: str = ""
    mac: str = ""
    mtu: int = 1500
    hostname: str = ""
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    tftp_server: str = ""
    boot_file: str = ""
    ntp_servers: tuple[str, ...] = ()
    private: tuple[tuple[int, str], ...] = ()


def service(lease: Lease) -> Service:
    """Return the program that serves a lease."""
    sockets = (Socket("udp", lease.interface, SERVER), Socket("packet", lease.interface))
    config = msgspec.to_builtins(lease)
    return Service(f"dhcp-{lease.interface}", "vmnet.dhcp", sockets, config)


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


class Answer(Struct, frozen=True):
    """A reply: the BOOTP message, and the MAC and address it goes to."""

    kind: int
    payload: bytes
    mac: bytes
    address: str


def parse(data: bytes) -> Message | None:
    """Return the message in a datagram, or None for what no Ethernet DHCP client sends."""
    if len(data) < _HEADER.size + 4 or data[_HEADER.size : _HEADER.size + 4] != MAGIC:
        return None
    op, htype, hlen, _, xid, _, flags, ciaddr, _, _, _, chaddr, _, _ = _HEADER.unpack_from(data)
    options = dict(_options(data[_HEADER.size + 4 :]))
    kind = options.get(53, b"")
    if (op, htype, hlen) != (1, 1, 6) or len(kind) != 1:
        return None
    return Message(kind=kind[0], xid=xid, flags=flags, client=chaddr[:6], ciaddr=ciaddr, options=options)


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + 1 < len(data) and data[at] != 255:
        if data[at] == 0:
            at += 1
            continue
        length = data[at + 1]
        yield data[at], data[at + 2 : at + 2 + length]
        at += 2 + length


def answer(message: Message, lease: Lease) -> Answer | None:
    """Return what the server of `lease` says to a message, or None when it keeps silent."""
    if lease.mac and message.client != mac_bytes(lease.mac):
        return None
    ours = ipaddress.IPv4Interface(lease.address).ip.packed
    if message.kind == DISCOVER:
        return _grant(OFFER, message, lease)
    if message.kind != REQUEST:
        return None
    chosen = message.options.get(54)
    if chosen is not None and chosen != _address(lease.server):
        return None  # it took another server's offer
    return _grant(ACK, message, lease) if message.requested == ours else _refuse(message, lease)


def _grant(kind: int, message: Message, lease: Lease) -> Answer:
    ours = ipaddress.IPv4Interface(lease.address)
    options = [(53, bytes([kind])), *lease_options(lease)]
    payload = _payload(message, lease, yiaddr=ours.ip.packed, options=options)
    if message.flags & BROADCAST_FLAG and message.ciaddr == _NOWHERE:
        return Answer(kind=kind, payload=payload, mac=BROADCAST_MAC, address="255.255.255.255")
    return Answer(kind=kind, payload=payload, mac=message.client, address=str(ours.ip))


def _refuse(message: Message, lease: Lease) -> Answer:
    options = [(53, bytes([NAK])), (54, _address(lease.server))]
    payload = _payload(message, lease, yiaddr=_NOWHERE, options=options)
    return Answer(kind=NAK, payload=payload, mac=BROADCAST_MAC, address="255.255.255.255")


def _payload(message: Message, lease: Lease, *, yiaddr: bytes, options: list[tuple[int, bytes]]) -> bytes:
    head = _HEADER.pack(
        2,
        1,
        6,
        0,
        message.xid,
        0,
        message.flags,
        message.ciaddr,
        yiaddr,
        _NOWHERE,
        _NOWHERE,
        message.client,
        b"",
        lease.boot_file.encode()[:127],
    )  # fmt: skip -- in the order of RFC 2131, figure 1
    body = b"".join(_option(code, value) for code, value in options)
    return (head + MAGIC + body + b"\xff").ljust(_LEAST, b"\0")


def _option(code: int, value: bytes) -> bytes:
    """One option, in several pieces when it is longer than 255 octets (RFC 3396)."""
    pieces = [value[i : i + 255] for i in range(0, len(value), 255)] or [b""]
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)


def lease_options(lease: Lease) -> Iterator[tuple[int, bytes]]:
    """Yield the options of a lease. The mask stands before the router (RFC 2132, 3.3)."""
    interface = ipaddress.IPv4Interface(lease.address)
    yield 1, interface.netmask.packed
    if lease.gateway:
        yield 3, _address(lease.gateway)
    if lease.nameservers:
        yield 6, b"".join(_v4(lease.nameservers))
    if lease.hostname:
        yield 12, lease.hostname.encode()
    if lease.searches:
        yield 15, max(lease.searches, key=len).encode()
    yield 26, struct.pack("!H", lease.mtu)
    if lease.ntp_servers:
        yield 42, b"".join(_v4(lease.ntp_servers))
    yield 51, struct.pack("!I", LEASE_SECONDS)
    yield 54, _address(lease.server)
    yield from _boot(lease)
    if lease.searches:
        yield 119, b"".join(_domain(name) for name in lease.searches)
    if lease.routes:
        yield 121, classless_routes(lease.routes)
    for code, text in lease.private:
        yield code, text.encode()


def _boot(lease: Lease) -> Iterator[tuple[int, bytes]]:
    if lease.tftp_server:
        yield 66, lease.tftp_server.encode()
    if lease.boot_file:
        yield 67, lease.boot_file.encode()


def classless_routes(routes: Sequence[Route]) -> bytes:
    """Return option 121 (RFC 3442): only the octets of a destination that its length covers, default last.

    A client that knows it ignores option 3, so the default route must be among them.
    """
    ordered = sorted(routes, key=lambda route: ipaddress.IPv4Network(route.destination).prefixlen == 0)
    return b"".join(_route(route) for route in ordered)


def _route(route: Route) -> bytes:
    network = ipaddress.IPv4Network(route.destination)
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return bytes([network.prefixlen]) + octets + (_address(route.gateway) if route.gateway else _NOWHERE)


def _domain(name: str) -> bytes:
    """A domain of option 119, without compression (RFC 3397; RFC 1035, 3.1)."""
    labels = [label.encode("idna") for label in name.strip(".").split(".")]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _v4(addresses: Iterable[str]) -> Iterator[bytes]:
    return (_address(text) for text in addresses if ":" not in text)


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
    """One lease, and its two sockets: one for requests, one for the frames that answer them."""

    def __init__(self, lease: Lease, requests: socket.socket, frames: socket.socket) -> None:
        self.lease = lease
        self.requests = requests
        self.frames = frames

    def once(self) -> Answer | None:
        """Take one datagram and answer it; return what was said."""
        message = parse(self.requests.recv(65535))
        reply = answer(message, self.lease) if message else None
        if reply is not None:
            mac = bytes(self.frames.getsockname()[4])
            self.frames.send(frame(reply, source_mac=mac, source=self.lease.server))
        return reply


def main() -> int:
    """Serve as a `plumbing.Service` does: descriptors of its sockets as arguments, the lease by input."""
    lease = msgspec.json.decode(sys.stdin.buffer.readline(), type=Lease)
    requests, frames = (socket.socket(fileno=int(word)) for word in sys.argv[1:])
    server = Server(lease, requests, frames)
    while True:
        readable, _, _ = select.select([requests.fileno(), 0], [], [])
        if 0 in readable and not os.read(0, 1):
            return 0
        if requests.fileno() in readable:
            server.once()


if __name__ == "__main__":
    raise SystemExit(main())
