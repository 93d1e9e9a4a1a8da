"""What this machine does just now, and limits on waiting that follow it.

A wait is for an event; behind it stands a limit, so that it ends when the event never comes. In seconds such
a limit is wrong somewhere: an emulated kernel, an older processor or four busy neighbours make everything two
to twenty times slower. So a limit is a multiple of what the machine does. Nothing is measured while all goes
well: only when the seconds of a quiet machine are over is a fixed piece of work timed, and a machine that
takes ten times as long for it is given ten times as long.

    limit = Limit(10.0)
    while not is_there():
        if limit.is_over():
            raise Error(f"it did not come in {limit}")
        time.sleep(0.05)
"""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import time

import msgspec
from msgspec import Struct

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
    """Time all of it, in some hundred milliseconds; by children, so that a real-time thread may ask."""
    start = _timed(sys.executable, "-I", "-S", "-c", "")
    both = _timed(sys.executable, "-I", "-S", "-c", WORK)
    return Pace(start=start, spawn=_timed("true"), work=max(0.0, both - start), netlink=_netlink())


def slowness() -> float:
    """Return how many times as long as on a quiet machine everything takes just now; 1 at least."""
    return measure().slowness


def _timed(*argv: str) -> float:
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


class Limit:
    """A limit on a wait: seconds of a quiet machine, counted from its making or the last progress."""

    def __init__(self, seconds: float, *, most: float = MOST) -> None:
        """Make one.

        Args:
            seconds: how long a quiet machine is given.
            most: how many times as long any machine is given.

        """
        self.seconds = seconds
        self.allowed = seconds
        self._most = most
        self._began = time.monotonic()

    def __str__(self) -> str:
        return f"{self.allowed:.0f} s" if self.allowed >= 1 else f"{self.allowed:.1f} s"

    def progress(self) -> None:
        """Count anew: what is waited for has come nearer."""
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """Seconds until it is worth asking `is_over`; 0 when it is now."""
        return max(0.0, self._began + self.allowed - time.monotonic())

    def is_over(self) -> bool:
        """Whether there is nothing left to wait for. Measures the machine when the time seems to be over."""
        if self.left:
            return False
        self.allowed = max(self.allowed, self.seconds * min(self._most, slowness()))
        return not self.left
