"""A clock that is turned by hand, and a machine that is as slow as it is told to be: a real one may be quick."""

from __future__ import annotations

import pytest

from nncp import pace


class Clock:
    """What `nncp.pace` takes for the time and for the machine's pace; who sleeps moves it on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.start = 1000.0
        self.slow = 1.0
        self.asked = 0
        """How often the machine was measured."""
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pace.time, "sleep", self.sleep)
        monkeypatch.setattr(pace, "slowness", self.slowness)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def slowness(self) -> float:
        self.asked += 1
        return self.slow

    @property
    def passed(self) -> float:
        return self.now - self.start


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)
