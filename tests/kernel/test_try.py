"""A change that is tried: kept when somebody says so, undone otherwise, whatever becomes of who tried it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from deadly import await_supervisor

from nncp import netns
from nncp.journal import Journal
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

PATIENCE = 60.0
DUMMY = {"interfaces": [{"name": "d0", "type": "dummy", "state": "up"}]}
OTHER = {"interfaces": [{"name": "d1", "type": "dummy", "state": "up"}]}


IN_THE_BACKGROUND = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY)
if (child := os.fork()) == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


class Trying:
    """`nncp try` in a namespace."""

    def __init__(
        self, ns: Namespace, state_dir: Path, file: Path, seconds: float, stdin: int, wrapped: str
    ) -> None:
        self.ns = ns
        self.state_dir = state_dir
        argv = [sys.executable, "-m", "nncp", "try", str(file), "--timeout", str(seconds)]
        argv = [sys.executable, "-c", wrapped, *argv] if wrapped else argv
        self.process = ns.popen(
            *argv, "--state-dir", str(state_dir), stdin=stdin, stderr=subprocess.PIPE, start_new_session=True
        )
        self.said = ""

    def await_hold(self) -> None:
        assert self.process.stderr is not None
        while "It holds" not in self.said:
            line = self.process.stderr.readline()
            assert line, f"it ended with {self.process.wait()} after saying {self.said!r}"
            self.said += line

    def ended(self) -> tuple[int, str]:
        _, rest = self.process.communicate()
        return self.process.returncode, self.said + rest

    def nncp(self, *argv: str, code: int = 0, document: Any = None) -> str:
        where = ("--state-dir", str(self.state_dir))
        done = self.ns.nncp(*argv, *where, stdin=json.dumps(document) if document else None)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def links(self) -> set[str]:
        return {link["ifname"] for link in self.ns.json("ip", "-j", "link", "show")} - {"lo"}

    def in_force(self) -> list[str]:
        with netns.entered(self.ns.path):
            journal = Journal(self.state_dir)
            return [document.name for document in journal.applied().read(journal.held)]

    def await_end(self) -> None:
        """Wait until nobody tries anything."""
        limit = Limit(PATIENCE)
        with netns.entered(self.ns.path):
            while Journal(self.state_dir).tried():
                assert not limit.is_over()
                time.sleep(0.05)
            await_supervisor(self.state_dir)


@pytest.fixture
def tries(ns: Namespace, tmp_path: Path) -> Iterator[Callable[..., Trying]]:
    file = tmp_path / "d0.json"
    file.write_text(json.dumps(DUMMY))
    started: list[Trying] = []

    def start(seconds: float = 600, stdin: int = subprocess.DEVNULL, wrapped: str = "") -> Trying:
        trying = Trying(ns, tmp_path / "state", file, seconds, stdin, wrapped)
        started.append(trying)
        return trying

    yield start
    for trying in started:
        with contextlib.suppress(ProcessLookupError):
            trying.process.kill()
        trying.process.wait()
        trying.nncp("rollback")
        trying.await_end()


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, its = pty.openpty()
    yield ours, its
    for number in (ours, its):
        with contextlib.suppress(OSError):
            os.close(number)


def test_what_nobody_keeps_is_undone_in_time_and_said(tries: Callable[..., Trying]) -> None:
    trying = tries(1)
    code, said = trying.ended()
    assert code == 75
    assert "nobody has kept it within 1 s; what had been written is undone" in said
    assert trying.links() == set()
    assert trying.in_force() == []


def test_commit_from_elsewhere_keeps_it(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    assert trying.links() == {"d0"}
    assert trying.in_force() == []
    assert trying.process.stdout is not None
    assert trying.process.stdout.readline().startswith("+ d0 "), "it is said before somebody decides"
    assert "being tried: `nncp commit` keeps it" in trying.nncp("history")
    assert [one["tried"] for one in json.loads(trying.nncp("history", "-o", "json"))] == [True]
    assert trying.nncp("commit").startswith("Apply 1 (")
    code, said = trying.ended()
    assert (code, "It is kept." in said) == (0, True)
    assert "being tried" not in trying.nncp("history")
    assert trying.links() == {"d0"}
    assert len(trying.in_force()) == 1
    assert "no change is being tried" in trying.nncp("commit", code=75)


def test_whose_reader_goes_away_tries_it_all_the_same(tries: Callable[..., Trying]) -> None:
    trying = tries()
    assert trying.process.stdout is not None
    trying.process.stdout.close()
    trying.await_hold()
    trying.nncp("commit")
    assert trying.process.wait() == 0
    assert trying.links() == {"d0"}


def test_enter_keeps_it_and_what_was_typed_before_does_not(
    tries: Callable[..., Trying], terminal: tuple[int, int]
) -> None:
    ours, its = terminal
    os.write(ours, b"\n\n")
    trying = tries(stdin=its)
    trying.await_hold()
    with netns.entered(trying.ns.path):
        assert Journal(trying.state_dir).tried()
    os.write(ours, b"what?\n")
    assert trying.process.stderr is not None
    assert "Enter alone keeps it" in trying.process.stderr.readline()
    os.write(ours, b"\n")
    assert trying.ended()[0] == 0
    assert trying.links() == {"d0"}
    assert len(trying.in_force()) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_is_asked_to_stop_undoes_it_at_once(tries: Callable[..., Trying], number: int) -> None:
    trying = tries()
    trying.await_hold()
    trying.process.send_signal(number)
    code, said = trying.ended()
    assert code == 130
    assert "what had been written is undone" in said
    assert trying.links() == set()


def test_to_be_stopped_by_two_is_to_be_stopped(tries: Callable[..., Trying]) -> None:
    for gap in (0, 0.001, 0.004, 0.01):
        trying = tries()
        trying.await_hold()
        trying.process.send_signal(signal.SIGINT)
        time.sleep(gap)
        trying.process.send_signal(signal.SIGTERM)
        code, said = trying.ended()
        assert (code, "what had been written is undone" in said) == (130, True)
        assert trying.links() == set()


def test_a_job_in_the_background_is_not_stopped_by_its_terminal(
    tries: Callable[..., Trying], terminal: tuple[int, int]
) -> None:
    trying = tries(stdin=terminal[1], wrapped=IN_THE_BACKGROUND)
    trying.await_hold()
    (job,) = Path(f"/proc/{trying.process.pid}/task/{trying.process.pid}/children").read_text().split()
    os.kill(int(job), signal.SIGTSTP)  # Ctrl-Z
    trying.nncp("commit")
    assert trying.ended()[0] == 0
    trying.nncp("apply", "-", document=OTHER)
    assert trying.links() == {"d0", "d1"}


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
@pytest.mark.parametrize("is_kept", [True, False])
def test_a_lost_terminal_leaves_it_to_its_time(
    tries: Callable[..., Trying], number: int, *, is_kept: bool
) -> None:
    trying = tries(600 if is_kept else 3)
    trying.await_hold()
    trying.process.send_signal(number)
    assert trying.ended()[0] == -number
    if is_kept:
        assert trying.links() == {"d0"}
        trying.nncp("commit")
    trying.await_end()
    assert trying.links() == ({"d0"} if is_kept else set())
    assert len(trying.in_force()) == is_kept


def test_rollback_from_elsewhere_undoes_what_is_tried_and_nothing_before_it(
    tries: Callable[..., Trying],
) -> None:
    trying = tries()
    trying.await_hold()
    trying.nncp("commit")
    trying.ended()
    trying.nncp("apply", "-", document=OTHER)
    trying.ns.run("ip", "link", "del", "d0")
    again = tries()
    again.await_hold()
    assert again.nncp("rollback").startswith("What was being tried is undone")
    assert again.ended()[0] == 75
    assert again.links() == {"d1"}
    assert len(again.in_force()) == 2


def test_while_one_is_tried_others_are_refused_by_name_at_once(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    for command in ("apply", "try"):
        said = trying.nncp(command, "-", document=OTHER, code=75)
        assert "a change is being tried in this network namespace" in said
    assert "a change is being tried" in trying.nncp("restore", code=75)
    assert "a change is being tried" in trying.nncp("rollback", "--forget", code=75)
    assert "+ " in trying.nncp("plan", "-", document=OTHER)
    trying.nncp("commit")
    assert trying.ended()[0] == 0
    assert trying.links() == {"d0"}


def test_a_commit_at_the_very_end_keeps_it_or_comes_too_late(tries: Callable[..., Trying]) -> None:
    for _ in range(6):
        trying = tries(1)
        trying.await_hold()
        with netns.entered(trying.ns.path):
            journal = Journal(trying.state_dir)
            record = journal.tried()
            assert record is not None
            time.sleep(0.97)
            kept = journal.keep(record.number, tried=True)
        code, _ = trying.ended()
        assert (code == 0) == kept
        assert trying.links() == ({"d0"} if kept else set())
        assert bool(trying.in_force()) == kept
        trying.nncp("rollback")
        assert trying.links() == set()


def test_when_who_guards_it_is_killed_it_is_undone(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    _kill_supervisor(trying)
    code, said = trying.ended()
    assert code == 75
    assert "the supervisor was ended" in said
    assert trying.links() == set()


def test_when_all_are_killed_the_next_undoes_it(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    trying.process.send_signal(signal.SIGSTOP)
    _kill_supervisor(trying)
    trying.process.kill()
    trying.process.wait()
    trying.nncp("apply", "-", document=OTHER)
    assert trying.links() == {"d1"}
    assert len(trying.in_force()) == 1


def _kill_supervisor(trying: Trying) -> None:
    """Kill the supervisor that this test has started: the child of its try."""
    children = Path(f"/proc/{trying.process.pid}/task/{trying.process.pid}/children").read_text().split()
    (pid,) = (pid for pid in children if "supervisor.py" in Path(f"/proc/{pid}/cmdline").read_text())
    os.kill(int(pid), signal.SIGKILL)


@pytest.mark.parametrize("how", ["removed", "moved", "a link"])
def test_what_is_tried_is_undone_though_its_journal_is_taken_away(
    tries: Callable[..., Trying], tmp_path: Path, how: str
) -> None:
    trying = tries(3)
    trying.await_hold()
    state, away = tmp_path / "state", tmp_path / "away"
    state.rename(away)
    if how == "removed":
        shutil.rmtree(away)
    elif how == "a link":
        state.symlink_to(away)
    code, said = trying.ended()
    assert trying.links() == set()
    assert code in {75, 76, 77}, said
    if how == "a link":
        state.unlink()


def test_a_commit_keeps_what_it_has_seen_and_no_other(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    with netns.entered(trying.ns.path):
        journal = Journal(trying.state_dir)
        seen = journal.tried()
        assert seen is not None
        trying.nncp("rollback")
        trying.ended()
        again = tries()
        again.await_hold()
        assert not journal.keep(seen.number, tried=True)
        assert journal.tried() is not None


def test_a_jump_of_the_clock_changes_nothing(tries: Callable[..., Trying]) -> None:
    """The clock is the machine's: it is moved only where that is the lab's own kernel."""
    trying = tries()
    trying.await_hold()
    now = time.time()
    try:
        time.clock_settime(time.CLOCK_REALTIME, now + 7 * 24 * 3600)
        time.sleep(1)
        with netns.entered(trying.ns.path):
            assert Journal(trying.state_dir).tried()
    finally:
        time.clock_settime(time.CLOCK_REALTIME, now + 1)
    trying.nncp("commit")
    assert trying.ended()[0] == 0
    assert trying.links() == {"d0"}


def test_trying_what_is_so_already_waits_for_nobody(tries: Callable[..., Trying]) -> None:
    trying = tries()
    trying.await_hold()
    trying.nncp("commit")
    trying.ended()
    code, said = tries().ended()
    assert (code, "It holds" in said) == (0, False)
