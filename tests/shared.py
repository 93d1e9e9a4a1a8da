"""What the tests of a module share because it is dear to start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Thing = TypeVar("Thing")


class Shared(Generic[Thing]):
    """A kernel or a guest; one that is lost is started anew for the tests after it."""

    def __init__(
        self, start: Callable[[], Thing], *, is_there: Callable[[Thing], bool], end: Callable[[Thing], None]
    ) -> None:
        self._start = start
        self._is_there = is_there
        self._end = end
        self._started: list[Thing] = []

    def running(self) -> Thing:
        """Return the one that runs, started if need be."""
        if not self._started or not self._is_there(self._started[-1]):
            self._started.append(self._start())
        return self._started[-1]

    def end(self) -> None:
        """End all of them."""
        for each in self._started:
            self._end(each)
