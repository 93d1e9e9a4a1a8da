"""A source's knock at a target that listens to nobody yet: one datagram with a key and a counter.

The target opens no port before. So the source's guest, which has the very same address behind masquerade,
finds nothing to connect to while a target waits; and who knocks has shut its guest out before.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import time

from vmnet.node.migration_rules import PEER_PORT

MARK = b"bridgehead knock 1"
COUNTER = 8  # bytes
LENGTH = len(MARK) + COUNTER + hashlib.sha256().digest_size


def knock(to: str, secret: bytes) -> None:
    """Knock once at a target; one that is lost is as if nobody had. Raises OSError for no way there."""
    with socket.socket(_family(to), socket.SOCK_DGRAM) as line:
        line.sendto(packed(secret, time.clock_gettime_ns(time.CLOCK_BOOTTIME)), (to, PEER_PORT))


def packed(secret: bytes, counter: int) -> bytes:
    """Return a knock: a mark, a counter, and the proof that whoever sent it has the key (RFC 2104)."""
    head = MARK + counter.to_bytes(COUNTER, "big")
    return head + hmac.digest(secret, head, "sha256")


class Listener:
    """Where a target hears knocks; no answer ever leaves, and none is heard twice."""

    def __init__(self, address: str, secret: bytes) -> None:
        self.socket = socket.socket(_family(address), socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind((address, PEER_PORT))
        self.socket.setblocking(False)
        self._secret = secret
        self._last = 0

    def heard(self) -> bool:
        """Whether the datagram that has come is a knock."""
        try:
            data = self.socket.recv(LENGTH + 1)
        except OSError:
            return False
        counter = int.from_bytes(data[len(MARK) : len(MARK) + COUNTER], "big")
        if len(data) != LENGTH or not hmac.compare_digest(data, packed(self._secret, counter)):
            return False
        is_new = counter > self._last
        self._last = max(counter, self._last)
        return is_new

    def close(self) -> None:
        """Hear no more."""
        self.socket.close()


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
