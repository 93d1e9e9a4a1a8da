"""What two launchers say to each other around a migration: one JSON object a datagram.

    ask      source to target: are you ready?            answered by ready, with the target's facts
    stopped  source to target: the guest is paused
    back     source to target: it stays here
    arrived  target to source: it runs here, since when
    where    source to target: has it arrived?           answered by coming, and by arrived once it has
    coming   target to source: this Pod is at it, wait

A datagram may be lost: what matters is asked or said again, and RESUME speaks for itself.
"""

from __future__ import annotations

import json
import socket
from typing import Any

import msgspec

from launcher.migration.states import WORD_PORT

LARGEST = 4096


class Peer:
    """This Pod's end; it hears its peer alone."""

    def __init__(self, address: str) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self.socket.bind((address, WORD_PORT))
        self.socket.setblocking(False)
        self.address = ""

    def say(self, word: str, **more: Any) -> None:
        """Say a word to the peer; nobody at such an address is no error, there may soon be."""
        try:
            self.socket.sendto(json.dumps({"word": word, **more}).encode(), (self.address, WORD_PORT))
        except (OSError, ValueError, TypeError):
            return

    def hear(self) -> dict[str, Any] | None:
        """Return what the peer said, or None when it was nobody or nonsense."""
        try:
            data, sender = self.socket.recvfrom(LARGEST)
        except OSError:
            return None
        return _word(data) if sender[0] == self.address else None


def _word(data: bytes) -> dict[str, Any] | None:
    try:
        said = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and isinstance(said.get("word"), str) else None
