"""The launcher's one loop: files that can be read, calls that are due, and threads for what blocks."""

from __future__ import annotations

import heapq
import itertools
import queue
import selectors
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_SLEEP = 3600.0  # epoll_wait(2) counts milliseconds in an int


class Watching(Protocol):
    """What lets something be called later; see `Loop`."""

    def watch(self, file: socket.socket | int, call: Callable[[], None]) -> None: ...  # noqa: D102
    def unwatch(self, file: socket.socket | int) -> None: ...  # noqa: D102
    def later(self, seconds: float, call: Callable[[], None]) -> None: ...  # noqa: D102
    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None: ...  # noqa: D102


class Loop:
    """Calls what is to be called, one after the other, until it is told to end."""

    def __init__(self) -> None:
        self.ending: int | None = None
        """The code that it ends with, once it is to end."""
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self.watch(self._woken, self._returned)

    def run(self) -> int:
        """Serve until `end`; return its code."""
        while self.ending is None:
            for key, _ in self._selector.select(self._wait()):
                # What was called before may have unwatched it, or watched another file of that number.
                if self._selector.get_map().get(key.fd) is key:
                    self._call(key.data)
            while self._due and self._due[0][0] <= time.monotonic():
                self._call(heapq.heappop(self._due)[2])
        return self.ending

    def _call(self, call: Callable[[], None]) -> None:
        """Call something: a bug of ours in what somebody said costs no guest."""
        try:
            call()
        except Exception as error:  # noqa: BLE001 -- whatever it is
            self.failed(error)

    def failed(self, error: Exception) -> None:
        """Tell of an exception that nobody expected."""
        print("".join(traceback.format_exception(error)), end="", file=sys.stderr)  # noqa: T201

    def _wait(self) -> float | None:
        return min(max(0.0, self._due[0][0] - time.monotonic()), LONGEST_SLEEP) if self._due else None

    def end(self, code: int = 0) -> None:
        """Leave the loop, with the first code that is given."""
        self.ending = code if self.ending is None else self.ending

    def watch(self, file: socket.socket | int, call: Callable[[], None]) -> None:
        """Call something whenever a file can be read."""
        self._selector.register(file, selectors.EVENT_READ, call)

    def unwatch(self, file: socket.socket | int) -> None:
        """Do so no more."""
        self._selector.unregister(file)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in the loop, so many seconds from now."""
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), call))

    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do what blocks in a thread; `then` is called in the loop with its result or its exception."""

        def thread() -> None:
            result: Any
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 -- `then` decides what it means
                result = error
            self._done.put(lambda: then(result))
            self._wake.send(b"x")

        try:
            threading.Thread(target=thread, daemon=True).start()
        except RuntimeError as error:  # the user has as many as it may: others of its Pods' count too
            failure = error
            self.later(0.0, lambda: then(failure))

    def _returned(self) -> None:
        self._woken.recv(64)
        while not self._done.empty():
            self._call(self._done.get())
