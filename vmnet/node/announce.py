"""Announcements of a guest, below a Pod's gate, and the frame that QEMU may lose.

They are RARP frames on X-nic itself, below the bridge: they pass a closed gate and teach k6t-X nothing. Near
the switchover nothing forks: every frame is packed and every socket open beforehand.
"""

from __future__ import annotations

import heapq
import socket
import struct
from typing import TYPE_CHECKING

from vmnet.frames import ETHERTYPE

if TYPE_CHECKING:
    from collections.abc import Iterable

ETH_P_RARP = 0x8035
BROADCAST = b"\xff" * 6
NOBODY = b"\x02" + bytes(5)  # a MAC of local administration that no interface bears
MOST_DUE = 64
EVERY = 0.02
"""Seconds between two announcements at least: whoever asks for them may have been taken over."""
MINIMUM_FRAME = 60  # without the checksum (IEEE 802.3, 4.4.2)


def rarp(mac: str) -> bytes:
    """Return the frame by which a guest's MAC is announced: a reverse-ARP request about itself (RFC 903).

    It says where the MAC is and nothing about addresses, as QEMU's own announcement does (net/announce.c):
    MAC and address stay together in a migration, so no neighbour's cache has to change.
    """
    own = bytes.fromhex(mac.replace(":", ""))
    head = struct.pack("!6s6sHHHBBH", BROADCAST, own, ETH_P_RARP, 1, 0x0800, 6, 4, 3)
    return (head + own + bytes(4) + own + bytes(4)).ljust(MINIMUM_FRAME, b"\0")


class Announcer:
    """Announces a Pod's guest on its bridged NICs, at once and at times to come."""

    def __init__(self, nics: Iterable[tuple[str, str]]) -> None:
        self._wires = [(_wire(nic), rarp(mac)) for nic, mac in nics]
        self._due: list[float] = []
        self._not_before = float("-inf")

    @property
    def next(self) -> float | None:
        """When the next announcement is due, by the clock that `plan` was given."""
        return max(self._due[0], self._not_before) if self._due else None

    def plan(self, times: Iterable[float]) -> None:
        """Announce at these times, beside those that are planned already."""
        for time in times:
            if len(self._due) < MOST_DUE:  # whoever asks may have been taken over
                heapq.heappush(self._due, time)

    def mute(self) -> None:
        """Forget what is still to come."""
        self._due.clear()

    def speak(self, now: float) -> int:
        """Announce if it is time, once for all that was due; return how many frames left."""
        if self.next is None or self.next > now:
            return 0
        self._not_before = now + EVERY
        while self._due and self._due[0] <= now:
            heapq.heappop(self._due)
        return sum(_sent(wire_, frame) for wire_, frame in self._wires)

    def end(self) -> None:
        """Let go of the sockets."""
        for wire_, _ in self._wires:
            wire_.close()


class Decoy:
    """A frame for QEMU to lose, on the tap of each bridged NIC, before the guest's own frames come.

    While the guest does not run, QEMU takes one frame off a tap and holds it (net/tap.c, tap_send), and that
    one never reaches the guest; the rest waits in the tap. Without a decoy a migration lost the first frame
    after the gate opened. A guest that gets it all the same drops it: its EtherType is one for experiments.
    """

    FRAME = (2 * NOBODY + struct.pack("!H", ETHERTYPE)).ljust(MINIMUM_FRAME, b"\0")

    def __init__(self, taps: Iterable[str]) -> None:
        self._wires = [_wire(tap) for tap in taps]

    def send(self) -> None:
        """Put it before whatever comes."""
        for wire_ in self._wires:
            _sent(wire_, self.FRAME)

    def end(self) -> None:
        """Let go of the sockets."""
        for wire_ in self._wires:
            wire_.close()


def _wire(device: str) -> socket.socket:
    wire_ = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    wire_.bind((device, 0))  # protocol 0: it sends, and is never given a frame
    return wire_


def _sent(wire_: socket.socket, frame: bytes) -> bool:
    try:
        wire_.send(frame)
    except OSError:  # the uplink has no carrier just now; the next announcement may pass
        return False
    return True
