"""A Pod's first process, with which all others end: by it whoever keeps the Pod knows whether they have.

What else a Pod says of itself may be the word of a guest that has taken its launcher over. This is written
beside the Pod's record, in the folder that is root's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE, PROC = "init.json", Path("/proc")
PATIENCE = 20.0
"""Seconds of a quiet machine for all processes of a Pod to end; QEMU has to give back its memory."""


class Init(Struct, frozen=True):
    """Its id, and when it began, in ticks: a number comes round again."""

    pid: int
    began: int


def remember(folder: Path, pid: int) -> None:
    """Write down which process it is; raises OSError."""
    (folder / FILE).write_bytes(msgspec.json.encode(Init(pid, _began(pid))))


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[int | None]:
    """Yield a descriptor of the process (pidfd_open(2)); None when it is not there any more."""
    descriptor = None
    with contextlib.suppress(OSError, ValueError):
        init = msgspec.json.decode((folder / FILE).read_bytes(), type=Init)
        descriptor = os.pidfd_open(init.pid)
        # Its number is somebody else's by now, or nobody has waited for it yet.
        if _began(init.pid) != init.began or select.select([descriptor], [], [], 0)[0]:
            os.close(descriptor)
            descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_there(folder: Path) -> bool:
    """Whether anything of the Pod runs."""
    with _held(folder) as process:
        return process is not None


def kill(folder: Path) -> bool:
    """End all that runs in a Pod, and wait for it; False when nothing does, or it does not end."""
    with _held(folder) as process:
        if process is None:
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
        return _wait(process, Limit(PATIENCE))


def has_ended(folder: Path, *, patience: float = PATIENCE) -> bool:
    """Wait until nothing of the Pod runs; False when something does for `patience` (`nncp.pace`)."""
    with _held(folder) as process:
        return process is None or _wait(process, Limit(patience))


def _wait(process: int, limit: Limit) -> bool:
    while not select.select([process], [], [], max(limit.left, 0.01))[0]:
        if limit.is_over():
            return False
    return True


def _began(pid: int) -> int:
    """Return when a process began (proc(5), /proc/pid/stat, starttime; its name may have blanks)."""
    said = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    return int(said.rpartition(")")[2].split()[19])
