"""The first run: what will be done, how long it takes on this machine, how far it is, how long it took.

`make` does the work. This runs it, reads what its steps tell and shows it: one line that changes on a
terminal, a line every half minute elsewhere, nothing at all while no step has anything to do. It starts
before anything is installed, on whatever Python 3 the machine has: hence nothing but the standard library.

    python3 -I nncp/lab/setup.py CACHE VENVIRONMENT 'STEP...' MAKE [ARGUMENT]...

A step tells by lines of `progress: STEP SHARE TEXT`; every other line is passed on.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType
    from typing import TextIO

VARIABLE = "BRIDGEHEAD_PROGRESS"
"""Set where a step is to tell by lines of `progress:`."""
TOLD = re.compile(r"progress: (\w+) ([0-9.]+|-) (.*)")
APT = re.compile(r"(dl|pm)status:[^:]*:([0-9.]+):(.*)")  # apt's README.progress-reporting
WORK = 4_000_000  # numbers to add up: 70 ms of nncp.pace's quiet machine
QUIET = 0.07
EVERY = 25.0  # seconds between two lines where there is no terminal


@dataclass(frozen=True)
class Step:
    """A part of the set-up and what it takes on a quiet machine."""

    name: str
    title: str
    there: str
    """What is in the cache, or in the file system, when the step has been done."""
    waits: float
    """Seconds that more processors do not shorten."""
    works: float = 0.0
    """Seconds of one processor, shared out to all there are."""

    def seconds(self, processors: int) -> float:
        """Return how long it takes."""
        return self.waits + self.works / processors


STEPS = (
    Step("packages", "Debian packages", "/usr/share/doc/mmdebstrap", waits=60.0),
    Step("environment", "the Python environment", "{venv}/ready", waits=15.0, works=15.0),
    Step(
        "kernel",
        "a lab kernel unless this machine's own has everything",
        "kernel/*/linux",
        waits=25.0,
        works=600.0,
    ),
    Step("kube", "the lab's Kubernetes", "kube/*/kubectl", waits=40.0, works=620.0),
    Step("image", "the operator's image", "images/python-*/versions", waits=10.0, works=20.0),
    Step("tiny", "a tiny guest", "images/tiny-*/versions", waits=5.0, works=5.0),
    Step("debian", "a Debian guest", "images/debian-*/versions", waits=20.0, works=50.0),
    Step("qemu", "a newer QEMU", "images/qemu-*/versions", waits=5.0, works=10.0),
)


@dataclass
class Course:
    """How far the set-up is. Pure: the clock is handed in."""

    steps: tuple[Step, ...]
    processors: int
    slowness: float
    shares: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    silent: dict[str, float] = field(default_factory=dict)
    """When those began that do not tell how far they are."""
    most: float = 0.0

    def expected(self, step: Step) -> float:
        """Return how many seconds this machine should take for a step."""
        return step.seconds(self.processors) * self.slowness

    @property
    def total(self) -> float:
        """How many seconds it should take for all."""
        return sum(map(self.expected, self.steps))

    def take(self, name: str, share: float | None, text: str, *, now: float) -> None:
        """Note what a step has told; without a share it is judged by the time it has taken."""
        if name not in {step.name for step in self.steps}:  # it was thought to be there
            self.steps += tuple(step for step in STEPS if step.name == name)
        if share is None:
            self.silent.setdefault(name, now)
        else:
            self.silent.pop(name, None)
            self.shares[name] = min(1.0, max(share, self.shares.get(name, 0.0)))
        self.texts[name] = text
        if self.shares.get(name) == 1.0:
            self.texts.pop(name)

    def share(self, now: float) -> float:
        """Return which part of the work is done; it never goes back, and is 1 only when all is."""
        done = sum(self.expected(step) * self._share(step, now) for step in self.steps)
        self.most = max(self.most, done / self.total if self.total else 1.0)
        return self.most

    def _share(self, step: Step, now: float) -> float:
        told = self.shares.get(step.name, 0.0)
        if step.name not in self.silent:
            return told
        return max(told, 0.9 * (1 - math.exp((self.silent[step.name] - now) / self.expected(step))))

    def left(self, now: float, *, elapsed: float) -> float:
        """Return how many seconds are left, by what has been done in the `elapsed` ones."""
        return remaining(self.share(now), elapsed=elapsed, expected=self.total)


def remaining(share: float, *, elapsed: float, expected: float) -> float:
    """Return the seconds left when `share` of what was `expected` took `elapsed`.

    What was expected counts like another tenth of the work that took as long as that: soon the work's own
    pace decides.
    """
    guess = expected / 10
    pace = (elapsed + guess) / (expected * share + guess) if expected else 1.0
    return expected * (1 - share) * pace


def parsed(line: str) -> tuple[str, float | None, str] | None:
    """Return step, share and text of a line that tells of progress; None for any other line."""
    if told := TOLD.fullmatch(line):
        name, share, text = told.groups()
        return name, None if share == "-" else float(share), text
    if told := APT.fullmatch(line):
        kind, percent, text = told.groups()  # it fetches first, then it installs
        return "packages", (float(percent) / 100 + (kind == "pm")) / 2 * 0.99, text
    return None


def span(seconds: float) -> str:
    """Return a time as a person says it.

    >>> span(12), span(100), span(400), span(4000)
    ('12 s', '1 min 40 s', '6 min 40 s', '66 min 40 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def about(seconds: float) -> str:
    """Return an estimate no more exact than it is.

    >>> about(8), about(44), about(92), about(400)
    ('some seconds', 'about 40 s', 'about 2 min', 'about 7 min')
    """
    if seconds < 10:
        return "some seconds"
    return f"about {round(seconds, -1):.0f} s" if seconds < 55 else f"about {max(1, round(seconds / 60))} min"


class Display:
    """One line that changes on a terminal, a line now and then elsewhere."""

    def __init__(self, out: TextIO, *, terminal: bool) -> None:
        self.out = out
        self.terminal = terminal
        self.drawn = False

    def line(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        self.out.write(f"{text}\n")
        self.out.flush()

    def show(self, course: Course, *, now: float, elapsed: float) -> None:
        """Show how far it is."""
        share, left = course.share(now), course.left(now, elapsed=elapsed)
        doing = "; ".join(filter(None, course.texts.values()))
        text = f"{share * 100:3.0f} %, {about(left)} left{': ' * bool(doing)}{doing}"
        if not self.terminal:
            self.line(f"set-up: {text.strip()}")
            return
        columns = shutil.get_terminal_size().columns
        bar = "#" * round(share * 20)
        self.out.write("\r" + f"[{bar:-<20}] {text}"[: columns - 1] + "\x1b[K")
        self.out.flush()
        self.drawn = True

    def clear(self) -> None:
        """Take the changing line away."""
        if self.drawn:
            self.out.write("\r\x1b[K")
            self.out.flush()
        self.drawn = False


class Setup:
    """One set-up: the make that does it, and what is seen of it."""

    def __init__(self, course: Course, display: Display, *, began: float) -> None:
        self.course = course
        self.display = display
        self.began = began
        self.next = began
        self.shown = False
        self.ending = False
        """Told to end: what the steps say about that is no news."""

    def open(self) -> None:
        """Say what will be done, once it is known that something will."""
        if not self.shown:
            self.shown = True
            self.display.line(announcement(self.course))

    def take(self, line: str, *, now: float) -> None:
        """Take a line that make or a step printed."""
        told = parsed(line)
        if self.ending:
            return
        if told is None:
            self.display.line(line)
            return
        name, share, text = told
        if share == 1.0 and self.shown and text:
            self.display.line(f"set-up: {text}")
        if share != 1.0 or self.shown:
            self.course.take(name, share, text, now=now)
            self.open()

    def tick(self, *, now: float) -> None:
        """Show how far it is when it is time to."""
        if self.ending and self.shown and self.next < math.inf:
            self.display.line("set-up: ends, and removes what is half made")
            self.next = math.inf
        if self.shown and now >= self.next:
            self.next = now + (0.5 if self.display.terminal else EVERY)
            self.display.show(self.course, now=now, elapsed=now - self.began)

    def close(self, status: int, *, now: float) -> None:
        """Say how long it took."""
        self.display.clear()
        if self.shown:
            how = "done in" if status == 0 else "interrupted after" if status == 130 else "failed after"
            self.display.line(f"set-up: {how} {span(now - self.began)}")


def announcement(course: Course) -> str:
    """Say what a first run does, and for about how long."""
    titles = [step.title for step in course.steps]
    many = f"{course.processors} processor{'s' * (course.processors > 1)}"
    return (
        f"set-up: the first run here makes what is missing: {', '.join(titles)}; once, "
        f"{about(course.total)} at the present pace of this machine ({many})"
    )


def missing(names: Iterable[str], cache: Path, venv: Path) -> tuple[Step, ...]:
    """Return those of the steps of which nothing is there yet."""
    wanted = (step for step in STEPS if step.name in names)
    return tuple(step for step in wanted if not _is_there(step.there.format(venv=venv), cache))


def _is_there(pattern: str, cache: Path) -> bool:
    if pattern.startswith("/"):
        return Path(pattern).exists()
    return any(cache.glob(pattern))


def slowness() -> float:
    """Time a piece of work: how many times as long it takes as on a quiet machine of 2024.

    The median of five, since other work may run at one moment and not at the next.
    """
    return max(0.5, statistics.median(_timed() for _ in range(5)) / QUIET)


def _timed() -> float:
    began = time.perf_counter()
    sum(range(WORK))
    return time.perf_counter() - began


def _read(lines: Iterable[str], into: queue.SimpleQueue[str | None]) -> None:
    for line in lines:
        into.put(line.rstrip("\n"))
    into.put(None)


def _follow(setup: Setup, output: Iterable[str]) -> None:
    """Take lines as they come and tick in between, until there are no more."""
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(output, lines), daemon=True).start()
    while True:
        with contextlib.suppress(queue.Empty):
            line = lines.get(timeout=0.5)
            if line is None:
                return
            setup.take(line, now=time.monotonic())
        setup.tick(now=time.monotonic())


def _start(argv: list[str]) -> subprocess.Popen[str]:
    """Start make in a group of its own, so that all of it can be told to end."""
    made = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL"}  # of the make that started us: its job server is not ours
    env = {key: value for key, value in os.environ.items() if key not in made}
    # Should we be killed, make ends its children as for any other signal that ends it.
    follow = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    return subprocess.Popen(
        [*follow, *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**env, VARIABLE: "1"},
        start_new_session=True,
    )


def _forward(process: subprocess.Popen[str], setup: Setup) -> None:
    """Hand on what tells us to end; then the steps clean up, and their end is ours."""

    def hand_on(_number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM if setup.ending else signal.SIGINT)
        setup.ending = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup(1) wants it
            signal.signal(number, hand_on)


def main(cache: str, venv: str, names: str, *argv: str) -> int:
    """Run make, show what it does, and return its exit status."""
    steps = missing(names.split(), Path(cache), Path(venv))
    processors = len(os.sched_getaffinity(0))
    course = Course(steps, processors=processors, slowness=slowness() if steps else 1.0)
    setup = Setup(course, Display(sys.stderr, terminal=sys.stderr.isatty()), began=time.monotonic())
    if any(step.name != "kernel" for step in steps):  # many machines need none
        setup.open()
    process = _start(list(argv))
    _forward(process, setup)
    assert process.stdout is not None
    _follow(setup, process.stdout)
    status = 130 if process.wait() and setup.ending else process.returncode
    setup.close(status, now=time.monotonic())
    return status


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:  # before anything was started
        sys.exit(130)
    except BrokenPipeError:  # whoever read this has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
        sys.exit(1)
