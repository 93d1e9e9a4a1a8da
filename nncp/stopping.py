"""What SIGINT, SIGTERM and SIGHUP do to a command that changes the host: undo, until it is kept."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, TypeAlias

from nncp.guard import STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.guard import Guard
    from nncp.journal import Record

    Kept: TypeAlias = Callable[[Guard, Record], bool]


def stop_as_by_ctrl_c() -> None:
    """Let SIGTERM and SIGHUP raise what Ctrl-C does, where they would end this process.

    Behind nohup(1) they do not.
    """

    def stop(number: int, _: object) -> None:
        for other in STOPPING:  # once is enough: what undoes it must not be stopped
            signal.signal(other, signal.SIG_IGN)
        raise KeyboardInterrupt(signal.Signals(number).name)

    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def for_good(kept: Kept) -> Kept:
    """Return how a change is kept: from then on whatever would stop this process comes too late."""

    def asked(guard: Guard, record: Record) -> bool:
        if not kept(guard, record):
            return False
        for number in STOPPING:
            signal.signal(number, signal.SIG_IGN)
        return True

    return asked


def only_words_are_left() -> None:
    """Let what would stop this process end it as what it is: done."""
    for number in STOPPING:
        signal.signal(number, lambda *_: os._exit(0))
