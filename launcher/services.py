"""The programs that bindings want beside their guest: started, watched, and started again."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from launcher.loop import Watching

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from vmnet.plumbing import Service

AGAIN_AFTER, AGAIN_AT_MOST = 0.1, 30.0
"""Seconds until a program that has ended is started again: doubled each time, but for one that was well."""
WELL_AFTER = 60.0


class Noting(Watching, Protocol):
    """What watches over them, and notes what becomes of them."""

    def note(self, event: str, **more: Any) -> None: ...  # noqa: D102


class Served:
    """One program, for as long as its Pod lives. It ends when this process does: its input ends then."""

    def __init__(self, service: Service, sockets: Sequence[socket.socket], loop: Noting, log: int) -> None:
        self.service = service
        self.process: subprocess.Popen[bytes] | None = None
        self._sockets = sockets
        self._loop = loop
        self._log = log
        self._wait = AGAIN_AFTER
        self._began = 0.0

    def start(self) -> None:
        """Start it; what the system refuses just now is tried again."""
        try:
            self._start()
        except OSError as error:
            if self.process is not None and self.process.poll() is None:
                self.process.kill()  # it was started, and could not be watched or told what to do
                self.process.wait()
            self._again(error=str(error))

    def _start(self) -> None:
        numbers = [file.fileno() for file in self._sockets]
        argv = [sys.executable, "-P", "-m", self.service.module, *map(str, numbers)]
        self._began = time.monotonic()
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=self._log, stderr=self._log, pass_fds=numbers
        )
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(self.service.config) + b"\n")
        self.process.stdin.flush()
        descriptor = os.pidfd_open(self.process.pid)
        self._loop.watch(descriptor, lambda: self._ended(descriptor))

    def _ended(self, descriptor: int) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self._loop.unwatch(descriptor)
        os.close(descriptor)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self._again(code=self.process.wait())

    def _again(self, **why: Any) -> None:
        was_well = time.monotonic() - self._began >= WELL_AFTER
        self._wait = AGAIN_AFTER if was_well else min(2 * self._wait, AGAIN_AT_MOST)
        self._loop.note("service ended", service=self.service.name, again_after=self._wait, **why)
        self._loop.later(self._wait, self.start)
