"""A departure beside a target, a libvirt and a machine that take their time."""

from __future__ import annotations

import contextlib
import errno
import heapq
import itertools
import json
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from launcher.migration import source
from launcher.migration.channel import Words
from launcher.migration.facts import Arrival, Facts, Timing
from launcher.migration.source import Departure
from launcher.migration.states import Event, Phase, step
from launcher.migration.words import Arrived, Coming, Ready
from nncp import pace
from nncp.errors import Error
from vmnet.node import orders

if TYPE_CHECKING:
    from collections.abc import Callable

NOT_BEGUN = {"data_remaining": 0, "data_total": 0}
HERE, THERE = Facts(host_uuid="a"), Facts(host_uuid="b")


class Source:
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
        self.words: Words | None = Words.__new__(Words)
        self.fenced = ""
        self.node: Any = SimpleNamespace(order=self.order)
        monkeypatch.setattr(Words, "say", lambda _, word: not self.said.append(type(word).__name__.lower()))
        monkeypatch.setattr(Words, "close", lambda _: None)
        self.words.line = SimpleNamespace(socket=socket.socket(socket.AF_UNIX))
        self.said: list[str] = []
        self.ordered: list[orders.Act] = []
        self.answer: dict[str, Any] | Error | None = None
        self.ended: Callable[[Any], None] = lambda _: None
        self.left = [1000]
        self.has_begun = True
        self.has_qemu = True
        self.most: list[int] = []
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

    def migrateSetMaxDowntime(self, limit_ms: int, _flags: int) -> None:  # noqa: N802 -- the same
        self.most.append(limit_ms)

    def order(self, *acts: orders.Act, then: Callable[[str], None] = lambda _: None) -> None:
        self.ordered += acts
        then(self.fenced)

    def reach(self) -> Words:
        if self.words is None:
            raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        return self.words

    def watch(self, _file: object, _call: object) -> None: ...

    def unwatch(self, _file: object) -> None: ...

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), call))

    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        if getattr(work, "__name__", "") == "_migrate":
            self.ended = then
            return
        try:
            result = work()
        except OSError as error:
            result = error
        then(result)

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
def launcher(monkeypatch: pytest.MonkeyPatch) -> Source:
    return Source(monkeypatch)


def depart(launcher: Source, *, timeout: float | None = None) -> Departure:
    departure = Departure(
        launcher,
        to="10.0.0.2",
        limit_ms=50,
        timeout=timeout,
        line=socket.socket(socket.AF_UNIX),
        reach=launcher.reach,
        forward=lambda: [SimpleNamespace(close=lambda: None)],
    )
    departure.start()
    return departure


def left(launcher: Source, *, timeout: float | None = None) -> Departure:
    """One whose target was ready: libvirt moves the guest."""
    departure = depart(launcher, timeout=timeout)
    departure.heard(Ready(Phase.WAITING, THERE))
    assert launcher.phase is Phase.LEAVING
    return departure


def moved(launcher: Source) -> Departure:
    departure = left(launcher)
    launcher.happened(Event.STOP)
    launcher.timing = Timing(stopped=10.0, boot_id="x")
    launcher.ended(None)
    assert launcher.phase is Phase.GONE
    return departure


def arrived() -> Arrived:
    return Arrived(Arrival(resumed=10.5, boot_id="x"))


def refusal(launcher: Source) -> str:
    assert isinstance(launcher.answer, Error)
    return launcher.answer.message


def test_nobody_is_waited_for_as_long_as_a_quiet_machine_needs(launcher: Source) -> None:
    launcher.words = None
    depart(launcher)
    launcher.pass_(source.READY_PATIENCE - 0.1)
    assert launcher.answer is None
    launcher.pass_(1)
    assert refusal(launcher) == "no target is ready at 10.0.0.2 in 3 s: Connection refused"


def test_a_target_that_says_nothing_is_asked_again_and_given_up(launcher: Source) -> None:
    depart(launcher)
    launcher.pass_(source.READY_PATIENCE + 1)
    assert refusal(launcher) == "no target is ready at 10.0.0.2 in 3 s: nobody answered"
    assert set(launcher.said) == {"ask"}
    assert len(launcher.said) > 2


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.WAITING])
def test_a_target_that_does_not_wait_is_refused(launcher: Source, phase: Phase) -> None:
    depart(launcher).heard(Ready(phase, THERE))
    assert refusal(launcher) == f"the target Pod at 10.0.0.2 is {phase.value}"
    assert launcher.phase is Phase.RUNNING


def test_nothing_is_asked_of_the_target_before_the_guest_is_kept_from_its_ports(launcher: Source) -> None:
    launcher.fenced = "nft is not installed"
    depart(launcher)
    assert "could not be kept from the migration's ports: nft is not installed" in refusal(launcher)
    assert not launcher.said
    assert launcher.ordered[0] == orders.Send("10.0.0.2")


def test_whatever_becomes_of_it_the_rules_go_with_it(launcher: Source) -> None:
    closed: list[bool] = []
    departure = depart(launcher)
    departure._forward = lambda: [SimpleNamespace(close=lambda: closed.append(True))]  # type: ignore[list-item]
    departure.heard(Ready(Phase.WAITING, THERE))
    launcher.ended("connection reset")
    assert closed == [True]
    assert launcher.ordered == [orders.Send("10.0.0.2"), orders.Settle("sending")]


def test_a_connection_that_breaks_is_made_anew_and_the_question_asked_again(launcher: Source) -> None:
    departure = moved(launcher)
    departure._hang_up()
    launcher.said.clear()
    launcher.pass_(1)
    assert launcher.said[0] == "where"
    departure.heard(arrived())
    assert isinstance(launcher.answer, dict)


def test_on_a_slow_machine_a_target_may_answer_later(launcher: Source) -> None:
    launcher.slow = 5.0
    departure = depart(launcher)
    launcher.pass_(source.READY_PATIENCE * 4)
    assert launcher.answer is None
    departure.heard(Ready(Phase.WAITING, THERE))
    launcher.pass_(source.READY_PATIENCE * 4)
    assert (launcher.answer, launcher.phase) == (None, Phase.LEAVING)


def test_a_target_that_says_not_yet_is_waited_for_and_its_figure_is_reported(launcher: Source) -> None:
    departure = moved(launcher)
    launcher.pass_(60, every=lambda: departure.heard(Coming()))
    assert launcher.answer is None
    departure.heard(arrived())
    assert isinstance(launcher.answer, dict)
    assert (launcher.answer["downtime_ms"], launcher.answer["downtime_by"]) == (500.0, "clock")


def test_a_target_that_falls_silent_leaves_the_pause_unknown(launcher: Source) -> None:
    departure = moved(launcher)
    launcher.pass_(5, every=lambda: departure.heard(Coming()))
    launcher.pass_(source.ARRIVED_PATIENCE + 1)
    assert isinstance(launcher.answer, dict)
    assert (launcher.answer["downtime_ms"], launcher.answer["downtime_by"]) == (None, "unknown")
    json.dumps(launcher.answer)


def test_a_target_that_never_gets_on_is_not_waited_for_for_ever(launcher: Source) -> None:
    departure = moved(launcher)
    launcher.pass_(source.ARRIVED_IN_ALL + 1, every=lambda: departure.heard(Coming()))
    assert isinstance(launcher.answer, dict)


def test_a_migration_is_given_time_while_less_and_less_is_left(launcher: Source) -> None:
    left(launcher)

    def copy() -> None:
        launcher.left[0] -= 1

    launcher.pass_(source.PROGRESS_TIMEOUT * 10, every=copy)
    assert (launcher.answer, launcher.phase) == (None, Phase.LEAVING)


def test_a_migration_that_has_not_begun_yet_has_not_copied_all(launcher: Source) -> None:
    launcher.has_begun = False
    left(launcher)
    launcher.pass_(source.LOOK_AFTER + 2 * source.LOOK_EVERY)
    launcher.has_begun = True

    def copy() -> None:
        launcher.left[0] -= 1

    launcher.pass_(source.PROGRESS_TIMEOUT * 3, every=copy)
    assert (launcher.answer, launcher.phase) == (None, Phase.LEAVING)


def test_a_migration_that_copies_in_vain_is_given_up(launcher: Source) -> None:
    left(launcher)
    launcher.pass_(source.PROGRESS_TIMEOUT + source.LOOK_AFTER + source.LOOK_EVERY)
    assert "failed: it did not get on: not done in " in refusal(launcher)
    assert launcher.phase is Phase.RUNNING


def test_on_a_slow_machine_a_migration_may_stand_still_for_longer(launcher: Source) -> None:
    launcher.slow = 3.0
    left(launcher)
    launcher.pass_(source.PROGRESS_TIMEOUT * 2.5)
    assert launcher.answer is None


def test_seconds_that_somebody_asked_for_are_kept(launcher: Source) -> None:
    launcher.slow = 50.0
    left(launcher, timeout=7)
    launcher.pass_(6.9)
    assert launcher.answer is None
    launcher.pass_(0.2)
    assert refusal(launcher) == "migration to 10.0.0.2 failed: it was not done in 7 s"


def test_a_libvirt_that_hangs_is_told_of_and_may_still_end_it(launcher: Source) -> None:
    launcher.aborts = False
    left(launcher, timeout=7)
    launcher.pass_(7 + source.ABORT_PATIENCE - 1)
    assert launcher.answer is None
    launcher.pass_(2)
    assert "it was not done in 7 s, and libvirt did not end it in 30 s" in refusal(launcher)
    launcher.ended("canceled by client")  # answered once, and the guest is known to run on
    assert launcher.phase is Phase.RUNNING


def test_a_paused_guest_is_not_taken_back_and_not_waited_for_for_ever(launcher: Source) -> None:
    launcher.aborts = False
    left(launcher, timeout=7)
    launcher.happened(Event.STOP)
    launcher.pass_(7 + source.ABORT_PATIENCE + 1)
    assert refusal(launcher).endswith(
        "not done in 7 s, and libvirt did not say in 30 s whether the guest has moved"
    )
    assert isinstance(launcher.answer, Error)
    assert launcher.answer.hint == "the guest is paused"


def test_the_timer_of_a_migration_that_is_over_does_not_end_the_next(launcher: Source) -> None:
    left(launcher, timeout=100)
    launcher.ended("connection reset")
    assert refusal(launcher).endswith("failed: connection reset")
    launcher.answer = None
    launcher.pass_(50)
    left(launcher, timeout=100)
    launcher.pass_(99)
    assert (launcher.answer, launcher.phase) == (None, Phase.LEAVING)


def test_memory_is_given_what_the_rest_of_a_pause_leaves_and_all_of_it_in_the_end(launcher: Source) -> None:
    departure = left(launcher)
    with contextlib.suppress(Exception):  # libvirt's own, which is not there
        departure._migrate()
    assert launcher.most[0] == 50 - source.SWITCH_MS
    for number in range(1, source.MOST_PASSES + 1):
        departure.passed(number)
    assert len(launcher.most) == 1
    departure.passed(source.MOST_PASSES + 1)
    assert launcher.most[1:] == [50]
    assert [source.for_memory(limit) for limit in (1, 8, 20, 300)] == [1, 2, 5, 270]


def test_a_guest_that_is_not_copied_any_more_is_asked_nothing(launcher: Source) -> None:
    departure = left(launcher)
    launcher.happened(Event.STOP)
    departure.passed(source.MOST_PASSES + 1)
    assert launcher.most == []


def test_a_way_that_cannot_be_opened_is_told_and_the_guest_stays(launcher: Source) -> None:
    departure = depart(launcher)

    def full() -> list[Any]:
        raise OSError(errno.ENOSPC, "No space left on device")

    departure._forward = full
    departure.heard(Ready(Phase.WAITING, THERE))
    assert "the way to 10.0.0.2 could not be opened" in refusal(launcher)
    assert launcher.phase is Phase.RUNNING


def test_a_pod_whose_qemu_ends_while_its_guest_is_paused_ends_too(launcher: Source) -> None:
    left(launcher)
    launcher.happened(Event.STOP)
    launcher.has_qemu = False
    launcher.happened(Event.LOST)
    launcher.ended("the other side hung up")
    assert launcher.phase is Phase.ENDED
    assert "the guest is ended" in str(launcher.answer.hint if isinstance(launcher.answer, Error) else "")


@pytest.mark.parametrize("resumes", [True, False])
def test_a_failure_is_told_once_the_guest_runs_on_or_does_not(launcher: Source, *, resumes: bool) -> None:
    launcher.slow = 4.0
    left(launcher)
    launcher.happened(Event.STOP)
    launcher.ended("the other side hung up")
    launcher.pass_(source.RESUME_PATIENCE * 2)
    assert (launcher.answer, launcher.phase) == (None, Phase.STRANDED)
    if resumes:
        launcher.happened(Event.RESUME)
    launcher.pass_(source.RESUME_PATIENCE * 4)
    assert isinstance(launcher.answer, Error)
    words = "the guest runs on in its Pod" if resumes else "the guest is stranded: it did not resume in 40 s"
    assert launcher.answer.hint == words
