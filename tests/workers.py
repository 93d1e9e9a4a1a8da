"""A pytest that runs tests for another one: on this host, or in a lab kernel of its own.

The one outside hands out a few tests at a time, a JSON list of their ids a line; the one inside runs them and
says what came of it, a JSON object a line. So one worker that is lost (a kernel's panic, a crash of pytest
itself) loses one test: a fresh one goes on with the rest.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

import pytest

from nncp import lab, pace
from tests import leftovers

if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Sequence
    from pathlib import Path

    Events = queue.Queue[tuple["Worker", dict[str, Any]]]

ORDERS, REPORTS = 8, 9  # descriptors: what tests read and print goes to the ones that pytest captures
GO = "go\n"
SHELL = f'exec "$@" {ORDERS}<&0 </dev/null {REPORTS}>&1 1>&2'
LAST_WORDS = 3000  # characters of them are shown


class Inside:
    """The pytest in a worker."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.orders = os.fdopen(ORDERS, "r")
        self.reports = os.fdopen(REPORTS, "w", buffering=1)
        self.lock = threading.Lock()
        self.say(kernel=platform.release(), pace=str(pace.measure()))

    def say(self, **words: Any) -> None:
        """Tell the one outside; also from the thread that says that we are alive."""
        with self.lock:
            print(json.dumps(words, default=str), file=self.reports)

    def alive(self) -> None:
        self.say(alive=True)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run what is ordered, in that order; between two orders nothing is kept up."""
        if session.testsfailed:
            return False
        known = {item.nodeid: item for item in session.items}
        gc.freeze()  # tests fork by the hundred, and each child of a fork pays for what a collection touches
        self.say(idle=True)
        for line in self.orders:
            items = [known[nodeid] for nodeid in json.loads(line)]
            for item, following in pairwise([*items, None]):
                assert item is not None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.say(idle=True)
        self.say(left=leftovers.end_processes())
        return True

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Begin with a test only when it is known outside: its end may be ours, and words on their way are lost."""
        self.say(started=nodeid)
        if self.orders.readline() != GO:
            pytest.exit("whoever gives the orders has gone")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.say(report=self.config.hook.pytest_report_to_serializable(config=self.config, report=report))

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.say(broken=str(report.longrepr))


class Worker(threading.Thread, ABC):
    """A place with a pytest in it; what that says goes to `events`, with the worker that said it."""

    kind = ""

    def __init__(
        self, files: Sequence[str], *, options: Sequence[str], root: Path, events: Events, number: int
    ) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.events = events
        inner = [sys.executable, "-m", "pytest", "--worker", "-p", "no:cacheprovider", *options, *files]
        self.argv = ["sh", "-c", SHELL, "sh", *inner]
        self.env = {**os.environ, leftovers.MARK: f"{os.environ[leftovers.MARK]}{number}."}
        self.rest = b""
        self.said = bytearray()  # by pytest itself: shown when it is lost
        self.orders, self._pen = os.pipe()
        self.given: list[str] = []  # what it has not reported yet of its order
        self.started, self.since = "", 0.0
        self.is_dismissed = False
        self.limit = pace.Limit(120.0)  # between two words of it

    def give(self, nodeids: Sequence[str]) -> None:
        """Order these tests; none at all means that there is nothing more to do."""
        self.given = list(nodeids)
        if nodeids:
            self._write(json.dumps(self.given) + "\n")
        else:
            self.is_dismissed = True
            os.close(self._pen)

    def go(self, nodeid: str) -> None:
        """Note that this test begins, and let it."""
        self.started, self.since = nodeid, time.monotonic()
        self._write(GO)

    def _write(self, text: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has just been lost: its end will be heard
            os.write(self._pen, text.encode())

    def take(self, data: bytes) -> None:
        """Pass on whole lines of what it reports."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.events.put((self, json.loads(line)))

    def run(self) -> None:
        """Have it run to its end."""
        try:
            self.work()
        except Exception as error:  # noqa: BLE001  whatever it was: a worker that is not heard of is waited for
            self.said += f"{type(error).__name__}: {error}".encode()
        finally:
            os.close(self.orders)
            self.events.put((self, {"ended": True}))

    @abstractmethod
    def work(self) -> None:
        """Start it and pass on what it says, until it ends."""

    @abstractmethod
    def stop(self) -> None:
        """End it now; nothing of it stays."""

    def last_words(self) -> str:
        """Return what it said at its end."""
        return bytes(self.said[-LAST_WORDS:]).decode(errors="replace").strip()


class HostWorker(Worker):
    """A pytest on this host."""

    kind = "host"
    process: subprocess.Popen[bytes] | None = None

    def work(self) -> None:
        self.process = subprocess.Popen(
            self.argv,
            cwd=self.root,
            env=self.env,
            stdin=self.orders,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the one outside, which ends this one
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        reader = threading.Thread(target=_pump, args=(self.process.stderr, self.said.extend), daemon=True)
        reader.start()
        _pump(self.process.stdout, self.take)
        self.process.wait()
        reader.join(1.0)  # what a test left behind may hold the pipe for ever

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        for left in leftovers.marked(self.env[leftovers.MARK]):  # which may hold its pipes
            with contextlib.suppress(ProcessLookupError):
                os.kill(left.pid, signal.SIGKILL)


class LabWorker(Worker):
    """A pytest in a lab kernel."""

    kind = "lab kernel"
    session: lab.Session | None = None
    console: IO[bytes] | None = None

    def work(self) -> None:
        self.session = lab.start(name="tests")
        # Held open: the session's folder goes with it, and its last words are wanted then.
        self.console = (self.session.folder / "console.log").open("rb")
        with self.session as session:
            session.run(
                self.argv,
                cwd=self.root,
                env=self.env,
                stdin=self.orders,
                stdout=self.take,
                stderr=self.said.extend,
            )

    def stop(self) -> None:
        if self.session is not None:
            self.session.stop()

    def last_words(self) -> str:
        kernel = self.console.read().decode(errors="replace")[-LAST_WORDS:].strip() if self.console else ""
        return "\n".join(
            filter(None, [super().last_words(), f"the kernel's last words:\n{kernel}" if kernel else ""])
        )


def _pump(pipe: IO[bytes], into: Callable[[bytes], object]) -> None:
    with pipe:
        while data := os.read(pipe.fileno(), 1 << 16):
            into(data)
