"""A test that no longer gets anywhere ends, and only that one.

Its time counts from its last progress: a process of it that the CPU has worked for. A test that waits for what
never comes uses no CPU; one that is slow, or has little of the CPU, uses what it gets. There is a limit on the
whole of a phase as well, for what turns in circles.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from nncp.pace import Limit
from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

STILL = 60.0  # seconds of a quiet machine without any progress
WHOLE = 8 * STILL
ENDS = 20.0  # seconds for a phase to end once it was told to
LOOK_AFTER, LOOK_EVERY = 8.0, 2.0


class Phase:
    """A test's set-up, call or tear-down, and how far it has come."""

    def __init__(self, name: str, still: float) -> None:
        self.name = name
        self.still = Limit(still)
        self.whole = Limit(still * WHOLE / STILL, most=10)
        self.young = Limit(min(still, LOOK_AFTER), most=1)
        self.used = (-1, 0.0)

    def hangs(self) -> str:
        """Say why this phase is to end, "" while it gets on."""
        if self.young.left:
            return ""
        if (used := cpu_used()) != self.used:
            self.used = used
            self.still.progress()
        if self.still.is_over():
            return f"nothing of it has used the CPU for {self.still}"
        return f"it runs in circles: {self.whole} are over" if self.whole.is_over() else ""


def cpu_used() -> tuple[int, float]:
    """Return the CPU time of what this worker has started, and of its own main thread: not of this look."""
    own = time.clock_gettime(time.pthread_getcpuclockid(threading.main_thread().ident or 0))
    return sum(process.ticks for process in leftovers.marked(os.environ[leftovers.MARK])), own


class Stall:
    """The plugin: a thread that looks at the phase that runs, and ends it by a signal to the main thread."""

    def __init__(
        self, *, still: float, tick: Callable[[], None] = lambda: None, parent: int | None = None
    ) -> None:
        """Make one.

        Args:
            still: seconds of a quiet machine that a phase may be without progress.
            tick: called every other second for as long as this process runs at all.
            parent: the process that wants to know of it all, and without which there is no use in going on.

        """
        self.still = still
        self.tick = tick
        self.phase: Phase | None = None
        self.condemned: tuple[Phase, str] | None = None
        self.ended = threading.Event()
        self.parent = parent
        signal.signal(signal.SIGALRM, self._ring)
        threading.Thread(target=self._look, daemon=True).start()

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if self.condemned is not None and self.condemned[0] is self.phase:
            pytest.fail(f"{self.condemned[0].name} stands still: {self.condemned[1]}")

    def _look(self) -> None:
        while not self.ended.wait(LOOK_EVERY if self.still > LOOK_EVERY else self.still / 2):
            self._tell()
            phase = self.phase
            if phase is not None and (why := phase.hangs()):
                self._end(phase, why)

    def _tell(self) -> None:
        """Give a sign of life; end when whoever wanted it has gone."""
        with contextlib.suppress(OSError):
            self.tick()
            if self.parent in {None, os.getppid()}:
                return
        leftovers.end_processes()
        os._exit(1)

    def _end(self, phase: Phase, why: str) -> None:
        self.condemned = (phase, why)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
        limit = Limit(ENDS)
        while self.phase is phase and not limit.is_over():
            self.ended.wait(0.1)
        if self.phase is phase:  # stuck where no signal reaches it
            print(f"{phase.name} cannot be ended: {why}", file=sys.stderr)
            faulthandler.dump_traceback(all_threads=True)
            os._exit(1)

    @contextlib.contextmanager
    def _watched(self, name: str) -> Iterator[None]:
        self.phase = Phase(name, self.still)
        try:
            yield
        finally:
            self.phase = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._watched(f"the set-up of {item.name}"):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._watched(item.name):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        with self._watched(f"the tear-down of {item.name}"):
            return (yield)

    def pytest_unconfigure(self) -> None:
        self.ended.set()
