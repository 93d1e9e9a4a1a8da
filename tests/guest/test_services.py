"""Programs beside a guest: one that ends is started again, later each time that it ends at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from launcher import services
from launcher.loop import Loop
from launcher.services import AGAIN_AFTER, AGAIN_AT_MOST, WELL_AFTER, Served
from vmnet.plumbing import Service

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest


class Noting(Loop):
    """A loop that starts nothing again before it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[dict[str, Any]] = []
        self.planned: list[tuple[float, Callable[[], None]]] = []

    def note(self, event: str, **more: Any) -> None:
        self.notes.append({"event": event, **more})
        self.end()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self.planned.append((seconds, call))

    def round(self) -> float:
        """Let the program end, and start it again; return how long it was not to be."""
        self.ending = None
        self.run()
        seconds, start = self.planned.pop()
        start()
        return seconds


def served(module: str) -> tuple[Noting, Served]:
    loop = Noting()
    one = Served(Service("s", module), [], loop, os.open(os.devnull, os.O_WRONLY))
    one.start()
    return loop, one


def test_it_waits_twice_as_long_each_time_up_to_a_bound() -> None:
    loop, one = served("no_module_of_this_name")
    waited = [loop.round() for _ in range(3)]
    assert waited == [2 * AGAIN_AFTER, 4 * AGAIN_AFTER, 8 * AGAIN_AFTER]
    assert all(note["code"] == 1 for note in loop.notes)
    one._wait = AGAIN_AT_MOST
    assert loop.round() == AGAIN_AT_MOST
    loop.ending = None
    loop.run()


def test_one_that_was_well_is_back_at_once() -> None:
    loop, one = served("no_module_of_this_name")
    loop.round()
    one._began -= WELL_AFTER
    assert loop.round() == AGAIN_AFTER
    loop.ending = None
    loop.run()


def test_what_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services.sys, "executable", "/nowhere/python")
    loop, _ = served("json.tool")
    assert [seconds for seconds, _ in loop.planned] == [2 * AGAIN_AFTER]
    assert "/nowhere/python" in loop.notes[0]["error"]
