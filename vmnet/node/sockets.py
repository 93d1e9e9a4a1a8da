"""Sockets that take rights to open, opened in the Pod's network namespace for programs that have none."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmnet.plumbing import Socket


def opened(wanted: Socket) -> socket.socket:
    """Open a socket in the network namespace of this thread; raises OSError."""
    if wanted.kind == "packet":
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        made.bind((wanted.interface, 0))  # protocol 0: it sends, and is never given a frame
        return made
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, wanted.interface.encode())
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    made.bind(("", wanted.port))
    return made
