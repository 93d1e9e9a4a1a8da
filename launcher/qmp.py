"""QEMU's own events, over a monitor of the launcher's own.

libvirt passes on the same events, 1 to 15 ms later. QEMU connects to this socket when it starts, so nothing
has to look for it and no event is missed. It reads its monitor a byte at a time, seven system calls each, so
it is told one word and then only listened to.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UCRED = struct.Struct("=iII")  # linux/socket.h: pid, uid, gid
GREETING = b'{"execute":"qmp_capabilities"}\n'


class QemuEvent(Struct, frozen=True):
    """An event of QEMU, stamped by QEMU in seconds of the wall clock."""

    name: str
    stamp: float
    data: dict[str, Any]


def events(lines: list[bytes]) -> Iterator[QemuEvent]:
    """Yield the events among the lines that QEMU wrote; answers are passed over."""
    for line in lines:
        said = json.loads(line)
        if "event" in said:
            time = said["timestamp"]
            stamp = time["seconds"] + time["microseconds"] / 1e6
            yield QemuEvent(said["event"], stamp, said.get("data") or {})


class Monitor:
    """Where QEMU reports to."""

    def __init__(self, path: Path) -> None:
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.qemu: socket.socket | None = None
        self.pid = 0
        """QEMU's process, once it has come."""
        self._rest = b""

    def accept(self) -> socket.socket:
        """Take QEMU's connection, greet it and return it."""
        self.qemu, _ = self.listener.accept()
        credentials = self.qemu.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
        self.pid = UCRED.unpack(credentials)[0]
        self._rest = b""
        with contextlib.suppress(OSError):  # it has gone again: `read` will tell
            self.qemu.sendall(GREETING)
        return self.qemu

    def read(self) -> list[QemuEvent] | None:
        """Return the events that have come; None when QEMU has ended."""
        assert self.qemu is not None
        try:
            data = self.qemu.recv(1 << 16)
        except OSError:
            data = b""
        if not data:
            self.qemu.close()
            self.qemu = None
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return list(events([line for line in lines if line.strip()]))
