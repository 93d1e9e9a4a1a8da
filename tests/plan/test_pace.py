"""A limit follows the machine: the machine is made slow here by answering for it, since it may be quick."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nncp import pace

if TYPE_CHECKING:
    from tests.clock import Clock


def test_nothing_is_measured_before_the_quiet_machines_time_is_over(clock: Clock) -> None:
    limit = pace.Limit(10)
    clock.now += 9.9
    assert not limit.is_over()
    assert clock.asked == 0


def test_a_quiet_machine_gets_the_seconds_that_were_named(clock: Clock) -> None:
    limit = pace.Limit(10)
    clock.now += 10
    assert limit.is_over()
    assert (limit.left, str(limit)) == (0, "10 s")


def test_a_machine_that_is_slow_just_then_gets_so_much_more(clock: Clock) -> None:
    limit = pace.Limit(10)
    clock.slow = 3
    clock.now += 29
    assert not limit.is_over()
    clock.slow = 1  # what was given is not taken back
    clock.now += 0.5
    assert not limit.is_over()
    clock.now += 0.5
    assert limit.is_over()
    assert str(limit) == "30 s"


def test_time_counts_from_the_last_progress(clock: Clock) -> None:
    limit = pace.Limit(10)
    for _ in range(5):
        clock.now += 9
        limit.progress()
    assert not limit.is_over()
    clock.now += 10
    assert limit.is_over()


def test_no_machine_is_slow_enough_to_wait_for_ever(clock: Clock) -> None:
    limit = pace.Limit(1, most=5)
    clock.slow = 1e9
    clock.now += 5
    assert limit.is_over()


def test_what_is_measured_is_of_this_machine_and_says_so() -> None:
    found = pace.measure()
    assert min(found.start, found.spawn, found.netlink) > 0
    assert found.slowness >= 1
    assert f"a computation {found.work:.0f} ms" in str(found)


FIRST = """
import os, subprocess
from nncp import pace
try:
    os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
except PermissionError:  # a control group may have no real-time share: then by being nicer to nobody
    os.sched_setscheduler(0, os.SCHED_OTHER | os.SCHED_RESET_ON_FORK, os.sched_param(0))
    os.setpriority(os.PRIO_PROCESS, 0, -5)
pace.WORK = "import os; os.write(2, b'%d %d' % (os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))"
run, said = subprocess.run, []
subprocess.run = lambda *argv, **options: said.append(run(*argv, **options).stderr)
pace.measure()
print(said[1].decode())
"""


def test_a_thread_that_goes_first_is_not_measured_but_what_it_starts() -> None:
    """The launcher asks at real-time priority, under which a busy CPU would look idle."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=False)
    if "PermissionError" in done.stderr:
        pytest.skip("needs the right to go first")
    assert done.stdout == "0 0\n", done.stderr


def test_what_looks_different_is_progress_and_what_looks_the_same_is_none(clock: Clock) -> None:
    limit = pace.Limit(10)
    for sign in (0, 1, 2):
        clock.now += 9
        limit.sees(sign)
    assert not limit.is_over()
    clock.now += 9
    limit.sees(2)
    clock.now += 1
    assert limit.is_over()


def test_progress_without_end_has_an_end(clock: Clock) -> None:
    limit = pace.Limit(10, in_all=30)
    clock.slow = 2
    for second in range(59):
        clock.now += 1
        limit.sees(second)
        assert not limit.is_over()
    clock.now += 1
    limit.sees("more")
    assert limit.is_over()
    assert limit.story == "in 60 s, though it still moved"


def test_seconds_that_somebody_asked_for_are_neither_stretched_nor_measured(clock: Clock) -> None:
    limit = pace.Limit(10, most=1)
    clock.slow = 5
    clock.now += 10
    assert limit.is_over()
    assert clock.asked == 0


def test_what_was_waited_is_told(clock: Clock) -> None:
    limit = pace.Limit(10)
    clock.now += 10
    assert limit.story == "in 10 s"
    limit.progress()
    clock.now += 11
    assert limit.story == "in 21 s, of which nothing moved in the last 11 s"


def python(code: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", code]
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_process_that_computes_is_waited_for_and_its_words_are_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its CPU time is played: a busy machine may give it none for a while."""
    computed = itertools.count()
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    monkeypatch.setattr(pace, "cpu_seconds", lambda *_: next(computed))
    with python("import time; print('x' * 200_000); time.sleep(1); print('y')") as process:
        said = pace.communicate(process, pace.Limit(0.2))
    assert said == ("x" * 200_000 + "\ny\n", "")


def test_a_process_that_does_nothing_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    with python("import time; time.sleep(1000)") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            pace.communicate(process, pace.Limit(0.5))
        assert process.poll() is None
        process.kill()


def test_the_cpu_time_of_what_has_ended_is_nothing() -> None:
    with python("while True: pass") as process:
        while pace.cpu_seconds(process.pid) < 0.2:
            pass
        process.kill()
    assert pace.cpu_seconds(process.pid) == 0
