"""Where tests run, and what the summary says about it.

A test marked `kernel` needs bonding, 802.1Q, vlan_filtering, VRFs and root. Where this kernel has them it
runs here. Elsewhere a pytest in a lab kernel on each CPU runs its share of them, while this one runs the rest; the
reports come here as they are made, so there is one run, one progress, one closing line.

A test marked `guest` has the machine to itself: it measures.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from nncp import lab
from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    Events = queue.Queue[tuple["Lab", dict[str, Any]]]

HOST, LAB, GUEST = "host", "lab kernel", "guest"
# More skipped tests than this fail the run (`--places`): a suite must not become green by running less.
MOST_SKIPS = {HOST: 0, LAB: 0, GUEST: 0}
MOST_LABS = 2
LIFETIME = 1500.0  # seconds: no lab kernel outlives a run that hangs
QUIET = 20.0  # seconds of one test after which we say that it still runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--places", action="store_true", help="fail when more tests are skipped than committed")
    parser.addoption(
        "--lab-reports", type=int, metavar="FD", help="(inside the lab kernel) write reports there"
    )


def pytest_configure(config: pytest.Config) -> None:
    fd = config.getoption("--lab-reports")
    if fd is not None:
        config.pluginmanager.register(Inside(config, fd))
    elif not hasattr(config, "workerinput"):
        config.pluginmanager.register(Places(config), "places")


def pytest_report_header() -> str:
    lacks = ", ".join(lab.missing())
    return f"kernel: {platform.release()}" + (f", lacks {lacks}" if lacks else "")


def needs_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None and bool(lab.missing() or os.geteuid())


def is_guest(item: pytest.Item) -> bool:
    return item.get_closest_marker("guest") is not None


class Inside:
    """The pytest in the lab kernel: hands on what it hears, one JSON object a line."""

    def __init__(self, config: pytest.Config, fd: int) -> None:
        self.config = config
        self.pipe = os.fdopen(fd, "w", buffering=1)
        self.say(kernel=platform.release())

    def say(self, **words: Any) -> None:
        print(json.dumps(words, default=str), file=self.pipe)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.say(started=nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        data = self.config.hook.pytest_report_to_serializable(config=self.config, report=report)
        self.say(report=data)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self.say(broken=str(report.longrepr))


class Lab(threading.Thread):
    """A lab kernel with a pytest in it; what that says goes to `events`, with the lab that said it."""

    def __init__(self, items: list[pytest.Item], *, root: Path, events: Events) -> None:
        super().__init__(daemon=True)
        self.left = {item.nodeid: item for item in items}
        self.root = root
        self.events = events
        self.rest = b""
        self.said = bytearray()  # by pytest itself: shown when it fails
        self.session: lab.Session | None = None
        self.running = ("", 0.0)  # a test, and since when

    def take(self, data: bytes) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.events.put((self, json.loads(line)))

    def run(self) -> None:
        # The reports have a descriptor of their own: what tests print goes to the ones that pytest captures.
        inner = [sys.executable, "-m", "pytest", "--lab-reports=9", "-p", "no:cacheprovider", *self.left]
        try:
            self.session = lab.start(name="tests", lifetime=LIFETIME)
            with self.session as session:
                session.run(
                    ["sh", "-c", 'exec "$@" 9>&1 1>&2', "sh", *inner],
                    cwd=self.root,
                    stdout=self.take,
                    stderr=self.said.extend,
                )
        except Error as error:
            self.said += error.message.encode()
        self.events.put((self, {"ended": True}))


class Places:
    """The pytest that a person started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.labs: list[Lab] = []
        self.events: Events = queue.Queue()
        self.kernels = {HOST: platform.release()}
        self.counts: dict[str, Counter[str]] = {HOST: Counter(), LAB: Counter(), GUEST: Counter()}
        self.skips: list[tuple[str, str, str]] = []
        self.remote: dict[str, pytest.Item] = {}
        self.guests: set[str] = set()
        self.running = ("", 0.0)
        self.ended = threading.Event()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        remote = [item for item in items if needs_lab(item)]
        why = _no_lab() if remote and not self.config.option.collectonly else ""
        if why:
            for item in remote:
                item.add_marker(pytest.mark.skip(why))
        self.guests = {item.nodeid for item in items if is_guest(item)}
        self.remote = {} if why else {item.nodeid: item for item in remote}
        items.sort(key=is_guest)  # last, and with the machine to themselves

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        every = session.items
        if not self.config.option.collectonly:
            session.items = [item for item in every if item.nodeid not in self.remote]
            self._start([item for item in self.remote.values() if not is_guest(item)])
        threading.Thread(target=self._tell, daemon=True).start()
        try:
            result = yield
            self._hear_out(session)
        finally:
            session.items = every
            self.ended.set()
            for each in self.labs:
                if each.session:
                    each.session.stop()
        return result

    def _start(self, items: list[pytest.Item], *, kernels: int | None = None) -> None:
        """Share tests out to lab kernels, one a CPU; neighbours take about as long as each other."""
        kernels = kernels or min(len(os.sched_getaffinity(0)), MOST_LABS)
        for share in filter(None, (items[first::kernels] for first in range(kernels))):
            self.labs.append(Lab(share, root=self.config.rootpath, events=self.events))
            self.labs[-1].start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[object]:
        if is_guest(item):
            self._hear_out(item.session)
        self.running = (item.nodeid, time.monotonic())
        result = yield
        self.running = ("", 0.0)
        self._hear()
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = self._place(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            self.counts[place][report.outcome] += 1
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skips.append((place, report.nodeid, reason.removeprefix("Skipped: ")))

    def _place(self, nodeid: str) -> str:
        if nodeid in self.guests:
            return GUEST
        return LAB if nodeid in self.remote else HOST

    def _hear(self, *, seconds: float = 0.0) -> None:
        """Take what the lab kernels have said; wait so long for the first word."""
        with contextlib.suppress(queue.Empty):
            self._act(*self.events.get(block=seconds > 0, timeout=seconds or None))
            while True:
                self._act(*self.events.get_nowait())

    def _hear_out(self, session: pytest.Session) -> None:
        """Wait until every test in lab kernels is through: first the others, then those with guests."""
        guests = [item for item in self.remote.values() if is_guest(item)]
        while self.labs or guests:
            if not self.labs:
                self._start(guests, kernels=1)
                guests = []
            self._hear(seconds=1.0)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
        self.remote = {nodeid: item for nodeid, item in self.remote.items() if not is_guest(item)}

    def _act(self, one: Lab, event: dict[str, Any]) -> None:
        hook = self.config.hook
        if "kernel" in event:
            self.kernels[GUEST if self.guests.issuperset(one.left) else LAB] = event["kernel"]
        elif "started" in event:
            one.running = (event["started"], time.monotonic())
        elif "report" in event:
            report = hook.pytest_report_from_serializable(config=self.config, data=event["report"])
            if isinstance(report.longrepr, list):  # a skip's place and reason, through JSON
                report.longrepr = tuple(report.longrepr)
            if report.when == "teardown":
                one.left.pop(report.nodeid, None)
            hook.pytest_runtest_logreport(report=report)
        elif "ended" in event:
            self._lab_ended(one)

    def _lab_ended(self, one: Lab) -> None:
        """See that every test that went there came back; the others failed, with what was said at the end."""
        self.labs.remove(one)
        said = bytes(one.said[-4000:]).decode(errors="replace")
        for item in one.left.values():
            text = (
                f"the lab kernel ended before this test did; the last to start was {one.running[0]}\n{said}"
            )
            self.config.hook.pytest_runtest_logreport(report=_failed(item, text))

    def _tell(self) -> None:
        """Say which test takes long."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        while not self.ended.wait(QUIET):
            for place, (nodeid, since) in [(HOST, self.running), *((LAB, one.running) for one in self.labs)]:
                if nodeid and time.monotonic() - since >= QUIET and reporter:
                    reporter.ensure_newline()
                    reporter.write_line(f"{place}: {nodeid} runs for {time.monotonic() - since:.0f} s")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self.config.getoption("--places") and self._too_many_skips() and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _too_many_skips(self) -> list[str]:
        return [place for place, most in MOST_SKIPS.items() if self.counts[place]["skipped"] > most]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("places")
        for place, counts in self.counts.items():
            if counts:
                kernel = self.kernels.get(place, self.kernels[HOST])
                numbers = ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped"))
                terminalreporter.write_line(f"{place:<11} Linux {kernel:<22} {numbers}")
        for place, nodeid, reason in self.skips:
            terminalreporter.write_line(f"skipped on {place}: {nodeid}: {reason}")
        if self.config.getoption("--places"):
            for place in self._too_many_skips():
                most = MOST_SKIPS[place]
                terminalreporter.write_line(
                    f"too many skips on {place}: at most {most} are committed", red=True
                )


def _no_lab() -> str:
    """Say why there is no lab kernel, "" when there is one (built now, if need be)."""
    from nncp.lab.build import kernel

    try:
        kernel()
    except Error as error:
        return f"no lab kernel: {error.message}"
    return ""


def _failed(item: pytest.Item, text: str) -> pytest.TestReport:
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=text,
        when="call",
    )
