"""How a step of the set-up tells what it does and how far it is.

Under `make` it tells nncp.lab.setup, which shows all steps together (see there). By itself it shows how far
it is on one line that changes on a terminal, and now and then on a line of its own elsewhere.
"""

from __future__ import annotations

import os
import sys
import time

from nncp.lab.setup import EVERY, VARIABLE


class Progress:
    """What one step tells."""

    def __init__(self, step: str, *, name: str) -> None:
        """Name it: `step` as in nncp.lab.setup, `name` for a person."""
        self.step = step
        self.name = name
        self.set_up = bool(os.environ.get(VARIABLE))
        self.terminal = sys.stderr.isatty()
        self.share: float | None = None  # not known; the set-up goes by the time
        self.next = 0.0
        self.drawn = False

    def say(self, text: str) -> None:
        """Say what is done from now on."""
        if self.set_up:
            self._tell(text)
        else:
            self._print(f"{self._clear()}{self.name}: {text}\n")

    def advance(self, share: float, text: str) -> None:
        """Say how far it is; to be called as often as one likes."""
        self.share = share
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + (0.5 if self.set_up or self.terminal else EVERY)
        if self.set_up:
            self._tell(text)
        elif self.terminal:
            self._print(f"\r{self.name}: {share * 100:.0f} %, {text}\x1b[K")
            self.drawn = True
        else:
            self.say(f"{share * 100:.0f} %, {text}")

    def finish(self, text: str) -> None:
        """Say that it is done."""
        self.share = 1.0
        self.say(text)

    def end(self) -> None:
        """Have the set-up count it as done; nobody else is told."""
        if self.set_up:
            self._print(f"progress: {self.step} 1 \n")

    def _tell(self, text: str) -> None:
        share = "-" if self.share is None else f"{self.share:.3f}"
        self._print(f"progress: {self.step} {share} {self.name}: {text}\n")

    def _clear(self) -> str:
        cleared, self.drawn = "\r\x1b[K" if self.drawn else "", False
        return cleared

    def _print(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
