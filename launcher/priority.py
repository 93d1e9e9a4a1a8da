"""Who goes first on a busy CPU around a switchover.

Launcher and node handler do: they sleep until they have something to pass on. What goes last, for the
guest's first second in a Pod, is its management: libvirt then tidies up, and QEMU reads each of its commands
a byte at a time. On one emulated CPU that took as long as all that the guest itself did, and held back its
first answers.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PROC = Path("/proc")
MONITOR_THREAD = "IO mon_iothread"
"""QEMU's thread that reads its monitors (monitor/monitor.c, monitor_iothread_init)."""


def threads(process: int, name: str = "") -> Iterator[int]:
    """Yield the ids of a process' threads, all or those of a name; none when it has ended."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in (PROC / str(process) / "task").iterdir():
            if not name or (task / "comm").read_text(encoding="utf-8").strip() == name:
                yield int(task.name)


def give_way(these: Iterable[int], *, until_idle: bool) -> None:
    """Let threads run only while nothing else wants the CPU (SCHED_IDLE), or as usual again."""
    policy = os.SCHED_IDLE if until_idle else os.SCHED_OTHER
    for thread in these:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.sched_setscheduler(thread, policy, os.sched_param(0))
