"""Trying a change: it holds, and is kept once somebody says so. If nobody does, the supervisor undoes it."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from nncp.guard import Guard
    from nncp.journal import Record

LOOK_EVERY = 1.0
PIECE = 4096
STOPPING_JOBS = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


class Trial(Struct, frozen=True):
    """Waits for a change to be kept: by Enter on this terminal, or by `nncp commit` on any.

    Args:
        seconds: until it is undone.
        told: tells the person at the terminal something.

    """

    seconds: float
    told: Callable[[str], None]

    def __call__(self, guard: Guard, record: Record) -> bool:
        """Return whether it was kept."""
        # The terminal may go away, and the change stays as long as it would have: somebody comes back.
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
        for number in STOPPING_JOBS:  # whoever is stopped holds the journal's lock
            signal.signal(number, signal.SIG_IGN)
        if not guard.hold(record, self.seconds):
            return False
        terminal = _terminal()
        enter = "Enter or " if terminal is not None else ""
        self.told(
            f"It holds. {enter}`nncp commit` keeps it; Ctrl-C, `nncp rollback` or {self.seconds:g} s without "
            f"either undo it."
        )
        while True:
            line = guard.line.fileno()
            ready = _ready(line, *_foreground(terminal))
            if line in ready:
                return guard.listen(record)
            said = _read(terminal) if terminal is not None and ready else b""
            if ready and not said:
                terminal = None  # Ctrl-D: nothing more comes from there
            elif said.strip():
                self.told("Enter alone keeps it.")
            elif said:
                return guard.commit(record, tried=True)


def _read(terminal: int) -> bytes:
    """Return what was typed; nothing where the terminal has just become another job's, or gone."""
    try:
        return os.read(terminal, PIECE)
    except OSError:
        return b""


def _terminal() -> int | None:
    """Return the descriptor of the terminal, without what was typed before; None where there is none."""
    try:
        number = sys.stdin.fileno()
        if not os.isatty(number):
            return None
        if _foreground(number):
            termios.tcflush(number, termios.TCIFLUSH)
    except (OSError, ValueError, AttributeError, termios.error):
        return None
    return number


def _ready(*descriptors: int) -> set[int]:
    """Return those from which something can be read, within a second; select() takes none beyond 1023."""
    poll = select.poll()
    for number in descriptors:
        poll.register(number, select.POLLIN)
    return {number for number, _ in poll.poll(LOOK_EVERY * 1000)}


def _foreground(terminal: int | None) -> list[int]:
    """Return the terminal while it is ours to read: a job in the background would be stopped by it."""
    if terminal is None:
        return []
    try:
        return [terminal] if os.tcgetpgrp(terminal) == os.getpgrp() else []
    except OSError:  # it controls no jobs of ours
        return [terminal]
