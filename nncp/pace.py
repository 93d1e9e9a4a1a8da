"""What this machine does just now, and limits on waiting that follow it.

A wait is for an event; behind it stands a limit, so that it ends when the event never comes. In seconds such
a limit is wrong somewhere: an emulated kernel, an older processor or four busy neighbours make everything two
to twenty times slower. So a limit is a multiple of what the machine does. Nothing is measured while all goes
well: only when the seconds of a quiet machine are over is a fixed piece of work timed, and a machine that
takes ten times as long for it is given ten times as long.

    limit = Limit(10.0)
    while not is_there():
        if limit.is_over():
            raise Error(f"it did not come {limit.story}")
        limit.sees(how_far_it_is())  # what comes nearer is waited for
        time.sleep(0.05)
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    import subprocess

MOST = 60.0
"""No limit is stretched further than so many times: a wait for what never comes has to end."""

WORK = "sum(range(4_000_000))"
ROUND_TRIPS = 50
GETLINK_LO = struct.pack("=IHHII BxHiII", 32, 18, 1, 1, 0, 0, 0, 1, 0, 0)  # linux/rtnetlink.h, RTM_GETLINK


class Pace(Struct, frozen=True):
    """How long this machine takes for a few fixed things, in milliseconds of the wall clock."""

    start: float
    """A process that starts Python and ends it."""
    spawn: float
    """A process that does nothing."""
    work: float
    """A computation, long enough that other work gets its share of the CPU meanwhile."""
    netlink: float
    """Fifty questions to the kernel, each with its answer."""

    @property
    def slowness(self) -> float:
        """How many times as long as on the quiet machine that limits were made for; 1 at least."""
        here, quiet = msgspec.structs.astuple(self), msgspec.structs.astuple(QUIET)
        return max(1.0, *(float(mine / its) for mine, its in zip(here, quiet, strict=True)))

    def __str__(self) -> str:
        return (
            f"Python starts in {self.start:.0f} ms, a process in {self.spawn:.1f} ms, {ROUND_TRIPS} netlink "
            f"round trips take {self.netlink:.1f} ms, a computation {self.work:.0f} ms: "
            f"{self.slowness:.1f} times as long as a quiet machine"
        )


QUIET = Pace(start=15.0, spawn=1.5, work=70.0, netlink=1.0)
"""A host of 2024 with nothing else to do."""


def measure() -> Pace:
    """Time all of it, in some hundred milliseconds.

    By children: a real-time thread may ask if what it starts runs as usual (SCHED_RESET_ON_FORK).
    """
    start = _timed(sys.executable, "-I", "-S", "-c", "")
    both = _timed(sys.executable, "-I", "-S", "-c", WORK)
    return Pace(start=start, spawn=_timed("true"), work=max(0.0, both - start), netlink=_netlink())


def slowness() -> float:
    """Return how many times as long as on a quiet machine everything takes just now; 1 at least."""
    return measure().slowness


def _timed(*argv: str) -> float:
    import subprocess  # noqa: PLC0415 - needed only when a limit has run out, and dear at a start

    began = time.perf_counter()
    # A limit that never ends would be no limit, even on a machine that stands still.
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=MOST)
    return (time.perf_counter() - began) * 1000


def _netlink() -> float:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as line:
        line.settimeout(MOST)
        began = time.perf_counter()
        with contextlib.suppress(OSError):
            for _ in range(ROUND_TRIPS):
                line.send(GETLINK_LO)
                line.recv(8192)
        return (time.perf_counter() - began) * 1000


def cpu_seconds(*pids: int) -> float:
    """Return how long processes and the children they waited for have computed; 0 for those that ended.

    What works on grows by it, however small its share of the CPU (proc(5), /proc/PID/stat).
    """
    return sum(map(_ticks, pids)) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return sum(int(word) for word in text.rpartition(")")[2].split()[11:15])


class Limit:
    """A limit on a wait: seconds of a quiet machine, counted from its making or the last progress."""

    def __init__(self, seconds: float, *, most: float = MOST, in_all: float = float("inf")) -> None:
        """Make one.

        Args:
            seconds: how long a quiet machine is given.
            most: how many times as long any machine is given; 1 for a number that somebody asked for.
            in_all: seconds of a quiet machine from the making on, whatever progress there is. What spins
                without end shows progress too.

        """
        self.seconds = seconds
        self._stretch = 1.0
        self._most = most
        self._in_all = in_all
        self._seen: object = None
        self._made = self._began = time.monotonic()

    def __str__(self) -> str:
        return _seconds(self.allowed)

    @property
    def allowed(self) -> float:
        """Seconds without progress that this machine is given, as far as it has been measured."""
        return self.seconds * self._stretch

    @property
    def story(self) -> str:
        """What was really waited, to end a sentence with."""
        waited = time.monotonic() - self._made
        if self._began == self._made:
            return f"in {_seconds(waited)}"
        still = time.monotonic() - self._began
        if still < self.allowed:
            return f"in {_seconds(waited)}, though it still moved"
        return f"in {_seconds(waited)}, of which nothing moved in the last {_seconds(still)}"

    def progress(self) -> None:
        """Count anew: what is waited for has come nearer."""
        self._began = time.monotonic()

    def sees(self, sign: object) -> None:
        """Count anew if what is waited for no longer looks as it did at the last call."""
        if self._seen is not None and sign != self._seen:
            self.progress()
        self._seen = sign

    @property
    def left(self) -> float:
        """Seconds until it is worth asking `is_over`; 0 when it is now."""
        end = min(self._began + self.allowed, self._made + self._in_all * self._stretch)
        return max(0.0, end - time.monotonic())

    def is_over(self) -> bool:
        """Whether there is nothing left to wait for. Measures the machine when the time seems to be over."""
        if self.left:
            return False
        if self._most > 1:
            self._stretch = max(self._stretch, min(self._most, slowness()))
        return not self.left


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds:.1f} s"


def communicate(process: subprocess.Popen[str], limit: Limit) -> tuple[str, str]:
    """Return what a process writes until it ends; it is given the time that it works, and the limit's.

    Its standard input is no pipe: `Popen.communicate` does not go on with one after a timeout.

    Raises:
        subprocess.TimeoutExpired: it did neither; it still runs.

    """
    import subprocess  # noqa: PLC0415 - whoever has a Popen has it

    limit.sees(cpu_seconds(process.pid))
    while True:
        try:
            return process.communicate(timeout=min(1.0, limit.left))
        except subprocess.TimeoutExpired:
            limit.sees(cpu_seconds(process.pid))
            if limit.is_over():
                raise
