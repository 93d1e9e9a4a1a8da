"""A departure beside a target, a libvirt and a machine that take their time."""

from __future__ import annotations

import heapq
import itertools
import json
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from launcher.migration import source
from launcher.migration.source import Departure
from launcher.migration.states import Arrival, Event, Facts, Phase, Timing, step
from nncp import pace
from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_BEGUN = {"data_remaining": 0, "data_total": 0}
HERE, THERE = Facts(host_uuid="a"), Facts(host_uuid="b")


class Home:
    """A launcher whose clock is turned by hand, on a machine that is as slow as it is told to be.

    What would block is done when its time has come: `aside` at once, and libvirt's own part when `libvirt` says.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.slow = 1.0
        self.phase = Phase.RUNNING
        self.facts = HERE
        self.timing: Timing | None = None
        self.connection: Any = SimpleNamespace(lookupByName=lambda _: self)
        self.peer: Any = self
        self.address = ""
        self.said: list[str] = []
        self.answer: dict[str, Any] | Error | None = None
        self.ended: Callable[[Any], None] = lambda _: None
        self.left = [1000]
        self.has_begun = True
        self.job = SimpleNamespace(record=SimpleNamespace(vm="default/vm", address="10.0.0.1"), domain="vm")
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        monkeypatch.setattr(pace.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(pace, "slowness", lambda: self.slow)
        self.aborts = True
        monkeypatch.setattr(
            Departure, "_abort_job", lambda _: self.aborts and self.ended("canceled by client")
        )

    def jobStats(self) -> dict[str, int]:  # noqa: N802 -- libvirt's name
        return {"data_remaining": self.left[0], "data_total": 5000} if self.has_begun else dict(NOT_BEGUN)

    def say(self, word: str) -> None:
        self.said.append(word)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if getattr(work, "__name__", "") == "_migrate":
            self.ended = then
        else:
            then(work())

    def happened(self, event: Event, **_more: Any) -> None:
        self.phase = step(self.phase, event).phase

    def departed(self, _line: object, answer: dict[str, Any] | Error) -> None:
        assert self.answer is None, "answered twice"
        self.answer = answer

    def pass_(self, seconds: float, *, every: Callable[[], None] = lambda: None) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, call = heapq.heappop(self._due)
            call()
            every()
        self.now = end


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Home:
    return Home(monkeypatch)


def depart(home: Home, *, timeout: float | None = None) -> Departure:
    departure = Departure(
        home, to="10.0.0.2", limit_ms=50, timeout=timeout, line=socket.socket(socket.AF_UNIX)
    )
    departure.start()
    return departure


def left(home: Home, *, timeout: float | None = None) -> Departure:
    """One whose target was ready: libvirt moves the guest."""
    departure = depart(home, timeout=timeout)
    departure.heard({"word": "ready", "facts": msgspec.to_builtins(THERE), "phase": "waiting"})
    assert home.phase is Phase.LEAVING
    return departure


def moved(home: Home) -> Departure:
    departure = left(home)
    home.happened(Event.STOP)
    home.timing = Timing(stopped=10.0, boot_id="x")
    home.ended(None)
    assert home.phase is Phase.GONE
    return departure


def arrived() -> dict[str, Any]:
    return {"word": "arrived", **msgspec.to_builtins(Arrival(resumed=10.5, boot_id="x"))}


def refusal(home: Home) -> str:
    assert isinstance(home.answer, Error)
    return home.answer.message


def test_nobody_is_waited_for_as_long_as_a_quiet_machine_needs(home: Home) -> None:
    depart(home)
    home.pass_(source.READY_PATIENCE - 0.1)
    assert home.answer is None
    home.pass_(1)
    assert refusal(home) == "no target is ready at 10.0.0.2: nobody answered in 3 s"
    assert set(home.said) == {"ask"}


def test_on_a_slow_machine_a_target_may_answer_later(home: Home) -> None:
    home.slow = 5.0
    departure = depart(home)
    home.pass_(source.READY_PATIENCE * 4)
    assert home.answer is None
    departure.heard({"word": "ready", "facts": msgspec.to_builtins(THERE), "phase": "waiting"})
    home.pass_(source.READY_PATIENCE * 4)
    assert (home.answer, home.phase) == (None, Phase.LEAVING)


@pytest.mark.parametrize(
    "nonsense",
    [{}, {"phase": "waiting"}, {"phase": 1, "facts": {}}, {"phase": "waiting", "facts": {"qemu": 5}}],
)
def test_a_target_that_says_nonsense_is_asked_again(home: Home, nonsense: dict[str, Any]) -> None:
    departure = depart(home)
    departure.heard({"word": "ready", **nonsense})
    assert (home.answer, home.phase) == (None, Phase.RUNNING)
    departure.heard({"word": "ready", "facts": msgspec.to_builtins(THERE), "phase": "waiting"})
    assert home.phase is Phase.LEAVING


@pytest.mark.parametrize(
    "nonsense", [{}, {"resumed": "now", "boot_id": "x"}, {"resumed": 10**400, "boot_id": "x"}]
)
def test_an_arrival_that_is_nonsense_is_asked_for_again(home: Home, nonsense: dict[str, Any]) -> None:
    departure = moved(home)
    departure.heard({"word": "arrived", **nonsense})
    assert home.answer is None
    departure.heard(arrived())
    assert isinstance(home.answer, dict)


def test_a_target_that_says_not_yet_is_waited_for_and_its_figure_is_reported(home: Home) -> None:
    departure = moved(home)
    home.pass_(60, every=lambda: departure.heard({"word": "coming"}))
    assert home.answer is None
    departure.heard(arrived())
    assert isinstance(home.answer, dict)
    assert (home.answer["downtime_ms"], home.answer["downtime_by"]) == (500.0, "clock")


def test_a_target_that_falls_silent_leaves_the_pause_unknown(home: Home) -> None:
    departure = moved(home)
    home.pass_(5, every=lambda: departure.heard({"word": "coming"}))
    home.pass_(source.ARRIVED_PATIENCE + 1)
    assert isinstance(home.answer, dict)
    assert (home.answer["downtime_ms"], home.answer["downtime_by"]) == (None, "unknown")
    json.dumps(home.answer)


def test_a_target_that_never_gets_on_is_not_waited_for_for_ever(home: Home) -> None:
    departure = moved(home)
    home.pass_(source.ARRIVED_IN_ALL + 1, every=lambda: departure.heard({"word": "coming"}))
    assert isinstance(home.answer, dict)


def test_a_migration_is_given_time_while_less_and_less_is_left(home: Home) -> None:
    left(home)

    def copy() -> None:
        home.left[0] -= 1

    home.pass_(source.PROGRESS_TIMEOUT * 10, every=copy)
    assert (home.answer, home.phase) == (None, Phase.LEAVING)


def test_a_migration_that_has_not_begun_yet_has_not_copied_all(home: Home) -> None:
    home.has_begun = False
    left(home)
    home.pass_(source.LOOK_AFTER + 2 * source.LOOK_EVERY)
    home.has_begun = True

    def copy() -> None:
        home.left[0] -= 1

    home.pass_(source.PROGRESS_TIMEOUT * 3, every=copy)
    assert (home.answer, home.phase) == (None, Phase.LEAVING)


def test_a_migration_that_copies_in_vain_is_given_up(home: Home) -> None:
    left(home)
    home.pass_(source.PROGRESS_TIMEOUT + source.LOOK_AFTER + source.LOOK_EVERY)
    assert "failed: it did not get on: not done in " in refusal(home)
    assert home.phase is Phase.RUNNING


def test_on_a_slow_machine_a_migration_may_stand_still_for_longer(home: Home) -> None:
    home.slow = 3.0
    left(home)
    home.pass_(source.PROGRESS_TIMEOUT * 2.5)
    assert home.answer is None


def test_seconds_that_somebody_asked_for_are_kept(home: Home) -> None:
    home.slow = 50.0
    left(home, timeout=7)
    home.pass_(6.9)
    assert home.answer is None
    home.pass_(0.2)
    assert refusal(home) == "migration to 10.0.0.2 failed: it was not done in 7 s"


def test_a_libvirt_that_hangs_is_told_of_and_may_still_end_it(home: Home) -> None:
    home.aborts = False
    left(home, timeout=7)
    home.pass_(7 + source.ABORT_PATIENCE - 1)
    assert home.answer is None
    home.pass_(2)
    assert "it was not done in 7 s, and libvirt did not end it in 30 s" in refusal(home)
    home.ended("canceled by client")  # answered once, and the guest is known to run on
    assert home.phase is Phase.RUNNING


def test_a_paused_guest_is_not_taken_back_and_not_waited_for_for_ever(home: Home) -> None:
    home.aborts = False
    left(home, timeout=7)
    home.happened(Event.STOP)
    home.pass_(7 + source.ABORT_PATIENCE + 1)
    assert refusal(home).endswith(
        "not done in 7 s, and libvirt did not say in 30 s whether the guest has moved"
    )
    assert isinstance(home.answer, Error)
    assert home.answer.hint == "the guest is paused"


def test_the_timer_of_a_migration_that_is_over_does_not_end_the_next(home: Home) -> None:
    left(home, timeout=100)
    home.ended("connection reset")
    assert refusal(home).endswith("failed: connection reset")
    home.answer = None
    home.pass_(50)
    left(home, timeout=100)
    home.pass_(99)
    assert (home.answer, home.phase) == (None, Phase.LEAVING)


@pytest.mark.parametrize("resumes", [True, False])
def test_a_failure_is_told_once_the_guest_runs_on_or_does_not(home: Home, *, resumes: bool) -> None:
    home.slow = 4.0
    left(home)
    home.happened(Event.STOP)
    home.ended("the other side hung up")
    home.pass_(source.RESUME_PATIENCE * 2)
    assert (home.answer, home.phase) == (None, Phase.STRANDED)
    if resumes:
        home.happened(Event.RESUME)
    home.pass_(source.RESUME_PATIENCE * 4)
    assert isinstance(home.answer, Error)
    words = "the guest runs on in its Pod" if resumes else "the guest is stranded: it did not resume in 40 s"
    assert home.answer.hint == words
