"""What SIGINT, SIGTERM and SIGHUP do to a command that changes the host: undo, until it is kept."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, TypeAlias

from nncp.guard import STOPPING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.guard import Guard
    from nncp.journal import Record

    Kept: TypeAlias = Callable[[Guard, Record], bool]


class Stopping:
    """Lets SIGTERM and SIGHUP raise what Ctrl-C does, where they would end this process: not behind nohup."""

    def __init__(self) -> None:
        self.heard = [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]

        def stop(number: int, _: object) -> None:
            self._answer(signal.SIG_IGN)  # once is enough: what undoes it must not be stopped
            raise KeyboardInterrupt(signal.Signals(number).name)

        self._answer(stop)

    def for_good(self, kept: Kept) -> Kept:
        """Return how a change is kept: from then on whatever would stop this process comes too late."""

        def asked(guard: Guard, record: Record) -> bool:
            if not kept(guard, record):
                return False
            self._answer(signal.SIG_IGN)
            return True

        return asked

    def only_words_are_left(self) -> None:
        """Let what would stop this process end it as what it is: done."""
        self._answer(lambda *_: os._exit(0))

    def _answer(self, answer: Any) -> None:
        for number in self.heard:
            signal.signal(number, answer)
