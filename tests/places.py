"""Where tests run, and what the summary says about it.

A test marked `kernel` needs bonding, 802.1Q, vlan_filtering, VRFs and root. Where this kernel lacks them it runs
in a pytest in a lab kernel. Then, or with `--places`, all tests are handed out: workers, one more than there are
CPUs, take them a few at a time, those for a lab kernel first, and the reports come here as they are made, so there
is one run, one progress, one closing line. A worker that is lost loses the test that it ran, and no other.
"""

from __future__ import annotations

import contextlib
import os
import platform
import queue
import signal
import threading
import time
from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import pytest

from nncp import lab, pace
from nncp.errors import Error
from tests import leftovers
from tests.stall import STILL, Stall
from tests.workers import HostWorker, Inside, LabWorker, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOST, LAB = HostWorker.kind, LabWorker.kind
# More skipped tests than this fail the run (`--places`): a suite must not become green by running less.
MOST_SKIPS = {HOST: 0, LAB: 0}
MOST_WORKERS = 4
MEMORY = 3 << 30  # bytes of it that a worker may want, by its lab kernel
MOST_AT_ONCE = 8  # tests of one order
MOST_FALSE_STARTS = 3  # workers in a row that are lost before a test has begun
QUIET = 30.0  # seconds of one test after which we say that it still runs


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--places", action="store_true", help="spread all tests; fail when more are skipped than committed"
    )
    parser.addoption("--worker", action="store_true", help="(in a worker) take orders")
    parser.addoption(
        "--still",
        type=float,
        default=STILL,
        metavar="SECONDS",
        help="end a test without progress after so long, on a quiet machine (default: %(default)s)",
    )


def pytest_configure(config: pytest.Config) -> None:
    still = config.getoption("--still")
    if config.getoption("--worker"):
        inside = Inside(config)
        config.pluginmanager.register(inside)
        config.pluginmanager.register(Stall(still=still, tick=inside.alive, parent=os.getppid()))
    else:
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as tidily as by Ctrl-C
        leftovers.begin_run()
        leftovers.sweep_dead_runs()
        config.pluginmanager.register(Stall(still=still))
        config.pluginmanager.register(Places(config), "places")


def pytest_report_header() -> list[str]:
    lacks = ", ".join(lab.missing())
    kernel = f"kernel: {platform.release()}" + (f", lacks {lacks}" if lacks else "")
    return [kernel, f"pace: {pace.measure()}"]


def needs_lab(item: pytest.Item) -> bool:
    return item.get_closest_marker("kernel") is not None and bool(lab.missing() or os.geteuid())


def most_workers() -> int:
    """Return how many there may be: one more than CPUs, since tests wait as long as they work."""
    cpus, memory = len(os.sched_getaffinity(0)), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(cpus + (memory >= MEMORY * (cpus + 1)), MOST_WORKERS)


def is_slow(item: pytest.Item) -> bool:
    return item.get_closest_marker("slow") is not None


def keeps_something_up(item: pytest.Item) -> bool:
    """Whether tests of this one's module share what is dear to make."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = info.name2fixturedefs.values() if info else ()
    return any(each[-1].scope in {"module", "class"} for each in definitions)


def orders(items: Iterable[pytest.Item]) -> deque[list[str]]:
    """Divide tests into orders: neighbours of one module, whole where it keeps something up; the slow first."""
    made: list[list[pytest.Item]] = []
    for item in items:
        last = made[-1] if made else []
        most = 1 if is_slow(item) else MOST_AT_ONCE
        is_near = last and last[-1].path == item.path
        if is_near and (len(last) < most or (keeps_something_up(item) and keeps_something_up(last[-1]))):
            last.append(item)
        else:
            made.append([item])
    made.sort(key=lambda order: not is_slow(order[0]))
    return deque([item.nodeid for item in order] for order in made)


class Places:
    """The pytest that a person started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.spreads = bool(config.getoption("--places"))
        self.workers: list[Worker] = []
        self.events: queue.Queue[tuple[Worker, dict[str, Any]]] = queue.Queue()
        self.kernels = {HOST: platform.release()}
        self.paces: dict[str, str] = {}
        self.counts: dict[str, Counter[str]] = {HOST: Counter(), LAB: Counter()}
        self.skips: list[tuple[str, str, str]] = []
        self.left: list[str] = []
        self.items: dict[str, pytest.Item] = {}  # that workers run
        self.in_lab: set[str] = set()
        self.orders: dict[str, deque[list[str]]] = {}
        self.false_starts = 0
        self.numbers = iter(range(1, 1_000_000))
        self.ended = threading.Event()

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        remote = [item for item in items if needs_lab(item)]
        why = _no_lab() if remote and not self.config.option.collectonly else ""
        for item in remote if why else ():
            item.add_marker(pytest.mark.skip(why))
        self.in_lab = set() if why else {item.nodeid for item in remote}
        if self.config.option.collectonly:
            return
        # All or none: this process has to listen while workers run.
        self.items = {item.nodeid: item for item in items} if self.spreads or self.in_lab else {}
        here = [item for item in self.items.values() if item.nodeid not in self.in_lab]
        there = [item for item in self.items.values() if item.nodeid in self.in_lab]
        self.orders = {LAB: orders(there), HOST: orders(here)}

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        every = session.items
        session.items = [item for item in every if item.nodeid not in self.items]
        threading.Thread(target=self._tell, daemon=True).start()
        try:
            if not session.testsfailed:
                self._fill()
            result = yield
            while self.workers:
                self._hear(seconds=1.0)
                if session.shouldfail:
                    raise session.Failed(session.shouldfail)
        finally:
            session.items = every
            self.ended.set()
            for each in self.workers:
                each.stop()
            for number in (signal.SIGINT, signal.SIGTERM):  # once is enough: this ends by itself
                signal.signal(number, signal.SIG_IGN)
            self.left += leftovers.end_run()
        return result

    # ── workers ──

    def _fill(self) -> None:
        """Have as many workers as the machine carries, if there is so much to do."""
        while len(self.workers) < most_workers() and (place := self._next_place()):
            self._hire(place)

    def _next_place(self) -> str:
        """Return the place of which fewer workers than orders are there; lab kernels first."""
        for place in (LAB, HOST):
            at_it = sum(worker.kind == place and not worker.given for worker in self.workers)
            if len(self.orders.get(place, ())) > at_it:
                return place
        return ""

    def _hire(self, place: str) -> None:
        files = dict.fromkeys(
            str(self.items[nodeid].path) for order in self.orders[place] for nodeid in order
        )
        kind = LabWorker if place == LAB else HostWorker
        options = [f"--rootdir={self.config.rootpath}", f"--still={self.config.getoption('--still')}"]
        options += [word for plugin in self.config.option.plugins for word in ("-p", plugin)]
        if self.config.inipath:
            options += ["-c", str(self.config.inipath)]
        worker = kind(
            list(files),
            options=options,
            root=self.config.invocation_params.dir,
            events=self.events,
            number=next(self.numbers),
        )
        self.workers.append(worker)
        worker.start()

    def _hear(self, *, seconds: float) -> None:
        """Take what the workers have said; wait so long for the first word."""
        with contextlib.suppress(queue.Empty):
            self._act(*self.events.get(timeout=seconds))
            while True:
                self._act(*self.events.get_nowait())
        for worker in self.workers:
            if worker.limit.is_over():  # not even its own watch is heard: what it stands in has stopped
                worker.said += f"\nno word of it for {worker.limit}".encode()
                worker.stop()

    def _act(self, one: Worker, event: dict[str, Any]) -> None:
        one.limit.progress()
        if "kernel" in event:
            self.kernels[one.kind], self.paces[one.kind] = event["kernel"], event["pace"]
        elif "idle" in event:
            one.given = []
            one.give(self.orders[one.kind].popleft() if self.orders[one.kind] else [])
        elif "started" in event:
            self.false_starts = 0
            one.go(event["started"])
        elif "report" in event:
            self._report(one, event["report"])
        elif "broken" in event:
            one.said += event["broken"].encode()
        elif "left" in event:
            self.left += event["left"]
        elif "ended" in event:
            self._ended(one)

    def _report(self, one: Worker, data: dict[str, Any]) -> None:
        hook = self.config.hook
        report = hook.pytest_report_from_serializable(config=self.config, data=data)
        if isinstance(report.longrepr, list):  # a skip's place and reason, through JSON
            report.longrepr = tuple(report.longrepr)
        if report.when == "teardown":
            one.given.remove(report.nodeid)
            one.started = ""
        hook.pytest_runtest_logreport(report=report)

    def _ended(self, one: Worker) -> None:
        """A worker that ended before its time loses the test that it ran; a fresh one goes on with the rest."""
        self.workers.remove(one)
        waiting = self.orders[one.kind]
        lost = [one.started] if one.started else []
        if not lost and not one.is_dismissed:
            self.false_starts += 1
            if self.false_starts >= MOST_FALSE_STARTS:
                lost = [*one.given, *(nodeid for order in waiting for nodeid in order)]
                waiting.clear()
        for nodeid in lost:
            self.config.hook.pytest_runtest_logreport(report=_lost(self.items[nodeid], one))
        if rest := [nodeid for nodeid in one.given if nodeid not in lost]:
            waiting.appendleft(rest)
        self._fill()

    def _tell(self) -> None:
        """Say which test takes long."""
        reporter = self.config.pluginmanager.get_plugin("terminalreporter")
        while not self.ended.wait(QUIET):
            for worker in list(self.workers):
                if worker.started and reporter and (runs := time.monotonic() - worker.since) >= QUIET:
                    reporter.ensure_newline()
                    reporter.write_line(f"{worker.kind}: {worker.started} runs for {runs:.0f} s")

    # ── what came of it ──

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = LAB if report.nodeid in self.in_lab else HOST
        if report.when == "call" or report.outcome != "passed":
            self.counts[place][report.outcome] += 1
        if report.skipped:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
            self.skips.append((place, report.nodeid, reason.removeprefix("Skipped: ")))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        fails = self.left or (self.spreads and self._too_many_skips())
        if fails and session.exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_unconfigure(self) -> None:
        leftovers.leave_folder()

    def _too_many_skips(self) -> list[str]:
        return [place for place, most in MOST_SKIPS.items() if self.counts[place]["skipped"] > most]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        terminalreporter.section("places")
        for place, counts in self.counts.items():
            if counts:
                kernel = self.kernels.get(place, self.kernels[HOST])
                numbers = ", ".join(f"{counts[word]} {word}" for word in ("passed", "failed", "skipped"))
                terminalreporter.write_line(f"{place:<11} Linux {kernel:<22} {numbers}")
                if place in self.paces:
                    terminalreporter.write_line(f"{'':<11} {self.paces[place]}")
        for place, nodeid, reason in self.skips:
            terminalreporter.write_line(f"skipped on {place}: {nodeid}: {reason}")
        for told in self.left:
            terminalreporter.write_line(f"left behind: {told}", red=True)
        for place in self._too_many_skips() if self.spreads else ():
            most = MOST_SKIPS[place]
            terminalreporter.write_line(f"too many skips on {place}: at most {most} are committed", red=True)


def _no_lab() -> str:
    """Say why there is no lab kernel, "" when there is one (built now, if need be)."""
    from nncp.lab.build import kernel

    try:
        kernel()
    except Error as error:
        return f"no lab kernel: {error.message}"
    return ""


def _lost(item: pytest.Item, worker: Worker) -> pytest.TestReport:
    what = f"the {worker.kind}'s pytest ended while this test ran" if worker.started else "no worker came up"
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords={},
        outcome="failed",
        longrepr=f"{what}\n{worker.last_words()}",
        when="call",
    )
