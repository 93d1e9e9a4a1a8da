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


def first_child(pid: int) -> int:
    """Return the first child of a process: of `unshare --fork`, that is process 1 of the new namespace.

    Raises:
        IndexError: it has none.
        OSError: there is no such process.

    """
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
