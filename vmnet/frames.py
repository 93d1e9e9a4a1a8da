"""Probe frames on an uplink: raw, unicast, tagged in the frame itself, of an EtherType for experiments.

They leave on the uplink and not on the bridge, so they do not depend on the bridge's port states and teach
it only where the other uplinks are; and a packet socket on the uplink sees what arrives before the bridge
does. The kernel takes the VLAN tag out of a received frame before any socket sees it, and tells it beside the
frame (PACKET_AUXDATA).
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING

from msgspec import Struct

from vmnet.hearing import ALL, EQUAL, LOAD_HALF, NOTHING, hear_only
from vmnet.names import mac_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

ETHERTYPE = 0x88B5
"""IEEE 802's local experimental EtherType 1."""

MARK = b"bridgehead preflight"
_BODY = struct.Struct("!20sQH")

ETH_P_ALL, ETH_P_8021Q = 0x0003, 0x8100
SOL_PACKET, PACKET_AUXDATA, PACKET_OUTGOING = 263, 8, 4
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status len snaplen mac net vlan_tci vlan_tpid
TP_STATUS_VLAN_VALID = 1 << 4


class Caught(Struct, frozen=True):
    """One probe frame that arrived: whose it is, its payload's length, and its VLAN (0: none)."""

    token: int
    size: int
    vlan: int


class Wire:
    """A packet socket on one interface, in the network namespace of the thread that makes it."""

    def __init__(self, interface: str) -> None:
        # Nothing is received before the filter is on: protocol 0 until the bind.
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        # The tag is out already: the EtherType stands at offset 12.
        hear_only(self.socket, (LOAD_HALF, 0, 0, 12), (EQUAL, 0, 1, ETHERTYPE), ALL, NOTHING)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((interface, ETH_P_ALL))
        self.socket.setblocking(False)
        self.mac = bytes(self.socket.getsockname()[4])

    def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def send(self, *, to: str, vlan: int, size: int, token: int) -> bool:
        """Send one frame with `size` bytes of payload; False when the interface's own MTU refuses it."""
        tag = struct.pack("!HH", ETH_P_8021Q, vlan) if vlan else b""
        body = _BODY.pack(MARK, token, size).ljust(size, b"\0")
        try:
            self.socket.send(mac_bytes(to) + self.mac + tag + struct.pack("!H", ETHERTYPE) + body)
        except OSError as error:
            # A veth whose peer has a smaller MTU drops the frame and says ENOBUFS: it was sent, and is lost.
            if error.errno not in {errno.EMSGSIZE, errno.ENOBUFS}:
                raise
            return error.errno == errno.ENOBUFS
        return True

    def caught(self) -> Iterator[Caught]:
        """Yield the probe frames that have arrived since the last call."""
        while True:
            try:
                data, extra, _, source = self.socket.recvmsg(65535, 256)
            except BlockingIOError:
                return
            if source[2] != PACKET_OUTGOING and (frame := _frame(data, extra)):
                yield frame


def _frame(data: bytes, extra: list[tuple[int, int, bytes]]) -> Caught | None:
    if len(data) < 14 + _BODY.size:
        return None
    mark, token, size = _BODY.unpack_from(data, 14)
    if mark != MARK or len(data) - 14 < size:
        return None
    return Caught(token=token, size=size, vlan=_tag(extra))


def _tag(extra: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in extra:
        if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
            status, _, _, _, _, tci, _ = _AUXDATA.unpack_from(value)
            return tci & 0x0FFF if status & TP_STATUS_VLAN_VALID else 0
    return 0
