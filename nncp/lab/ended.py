"""Ends processes that were started for the lab, and knows which have ended."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nncp.pace import Limit


def has_ended(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([process], [], [], 0)[0])
    finally:
        os.close(process)


def kill(pid: int, limit: Limit) -> bool:
    """Kill a process, and return whether it has ended before the limit was over."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        signal.pidfd_send_signal(process, signal.SIGKILL)
        while not select.select([process], [], [], limit.left)[0]:
            if limit.is_over():
                return False
    except ProcessLookupError:
        return True
    finally:
        os.close(process)
    return True


def known_as(pid: int) -> str:
    """Return what names a process for good: its number, and when it began, in ticks (proc(5))."""
    return f"{pid} {_stat(pid)[19]}"


def running(known: str) -> int:
    """Return the process id of what is known so, 0 when it has ended: its number may be another's by now."""
    pid = int(known.split(maxsplit=1)[0])
    try:
        stat = _stat(pid)
    except OSError:
        return 0
    return pid if stat[0] not in "ZX" and f"{pid} {stat[19]}" == known else 0


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the third on: the second may hold anything."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    return text.rpartition(")")[2].split()


def first_child(pid: int) -> int:
    """Return the first child of a process: of `unshare --fork`, that is process 1 of the new namespace.

    Raises:
        IndexError: it has none.
        OSError: there is no such process.

    """
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
