"""The process that keeps all attempts, as whoever asks sees it, and from within.

It ends with all that it started, and with what that has left behind, when it is done, or when whoever asked
has gone or has closed its end of the line.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import math
import os
import select
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nncp import libc
from nncp.errors import Error, ErrorKind
from nncp.pace import MOST, Limit
from nncp.probes.attempt import attempt, set_alarm
from nncp.supervisor import close_all_but
from nncp.told import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nncp.probes.written import Probe

PATIENCE = 1.0
"""Seconds for a first attempt that is not the only one; each further one has twice as long, as in TCP."""
PAUSE = 0.2
"""Seconds between two attempts."""
LOOK_EVERY = 0.05
"""Seconds between two looks at what ends without a word, and two pulses."""
ENDING = 5.0
"""Seconds of a quiet machine until what was killed has ended."""
TAIL = 4096
"""Bytes kept of what an attempt prints."""
WORDS = 200
"""Characters told of its last line."""
PIECE = 1 << 16  # what a pipe holds (pipe(7)), so one read takes all that a dead process has left in it
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h


def asked(
    probes: Sequence[Probe], seconds: Sequence[float], *, most: float, again: bool, pulse: Callable[[], None]
) -> dict[Probe, str]:
    """Let a keeper ask; return which failed, and why.

    Handlers of signals wait for the moment between two looks: whatever one raises, the keeper has ended then.

    Args:
        probes: what is asked, side by side.
        seconds: of a quiet machine, that each of them has.
        most: how many times as long a slow machine is given at most.
        again: whether what fails is tried again.
        pulse: called between two looks.

    """
    with _handlers_wait() as let_in, contextlib.ExitStack() as stack:
        answer, its = os.pipe()
        keepers: list[int] = []
        stack.callback(_reap, keepers)
        stack.callback(os.close, answer)  # first: this ends it
        try:
            keepers.append(_forked(lambda: _keep(its, probes, seconds, most, again=again)))
        finally:
            os.close(its)
        told = _heard(answer, keepers[0], let_in, pulse)
    if not told:
        raise Error("the process that asks the probes was ended", kind=ErrorKind.FAILED)
    if not told.startswith(b"{"):
        raise unpacked(told)
    return {probes[number]: why for number, why in msgspec.json.decode(told, type=dict[int, str]).items()}


def _forked(work: Callable[[], int]) -> int:
    """Return the id of a child, which works and never returns."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    return pid


def _heard(answer: int, keeper: int, let_in: Callable[[], None], pulse: Callable[[], None]) -> bytes:
    told, poll = b"", select.poll()  # select() takes no descriptor beyond 1023
    poll.register(answer, select.POLLIN)
    while True:
        if poll.poll(LOOK_EVERY * 1000):
            piece = os.read(answer, PIECE)
            if not piece:
                return told
            told += piece
        if _is_stopped(keeper):
            return b""  # it will never answer
        pulse()
        let_in()


@contextlib.contextmanager
def _handlers_wait() -> Iterator[Callable[[], None]]:
    """Let handlers of signals wait until what is yielded is called, or the block is done.

    To block the signals is not enough: another thread gets them then, and the handler runs in the main one.
    """
    came: list[int] = []
    is_main = threading.current_thread() is threading.main_thread()
    every = {number: signal.getsignal(number) for number in signal.valid_signals() if is_main}
    handlers: dict[int, Any] = {number: handler for number, handler in every.items() if callable(handler)}

    def let_in() -> None:
        while came:
            number = came.pop(0)
            handlers[number](number, None)

    try:
        with contextlib.ExitStack() as stack:
            for number, handler in handlers.items():
                stack.callback(signal.signal, number, handler)
                signal.signal(number, lambda number, _: came.append(number))
            yield let_in
    finally:
        let_in()


def _is_stopped(pid: int) -> bool:
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # it has ended, and has told what it had to
        return False


def _reap(pids: Iterable[int]) -> None:
    """Wait for a keeper's end; one that does not end by itself, say stopped by a program, is ended."""
    for pid in pids:
        limit = Limit(2 * ENDING)
        with contextlib.suppress(ChildProcessError):  # somebody else in this process has waited for it
            while not os.waitpid(pid, os.WNOHANG)[0]:
                if limit.is_over():
                    os.kill(pid, signal.SIGKILL)
                time.sleep(LOOK_EVERY / 10)


def _keep(answer: int, probes: Sequence[Probe], seconds: Sequence[float], most: float, *, again: bool) -> int:
    """Ask, and answer when all is over and has ended."""
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        gc.disable()  # what belongs to the caller must not close descriptors here
        os.setsid()
        answer = fcntl.fcntl(answer, fcntl.F_DUPFD_CLOEXEC, 3)
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        close_all_but(0, 1, 2, answer)
        libc.call("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        bound = min(int(MOST * (max(seconds) + ENDING)), 1 << 30)
        set_alarm(bound)
        # Where it is ignored, nobody can be waited for (wait(2)).
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        limits = [Limit(limit, most=most) for limit in seconds]
        whole = [
            _Attempts(probe, limit, bound, again=again) for probe, limit in zip(probes, limits, strict=True)
        ]
        _run(whole, answer)
        told = msgspec.json.encode({number: one.why for number, one in enumerate(whole) if one.why})
    except BaseException as error:  # noqa: BLE001  (whatever it is, the caller raises it)
        told = packed(error)
    _end_children()
    with contextlib.suppress(OSError), os.fdopen(answer, "wb") as file:
        file.write(told)
    return 0


def _run(whole: Sequence[_Attempts], answer: int) -> None:
    """Go on with all of them until all are over, or nobody listens any more."""
    while left := [one for one in whole if not one.is_over]:
        poll = select.poll()
        poll.register(answer, 0)  # POLLERR: the other end is closed (pipe(7))
        for one in left:
            if one.output >= 0:
                poll.register(one.output, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(LOOK_EVERY * 1000)}
        if answer in ready:
            return
        for one in left:
            one.go_on(said=one.output in ready)


def _end_children() -> None:
    """Kill and reap what this process has started, and what came to it when its parent ended."""
    limit = Limit(ENDING)
    with contextlib.suppress(ChildProcessError):
        while not limit.is_over():
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
            for pid in _children():
                _kill(pid)
            time.sleep(LOOK_EVERY / 10)


def _children() -> Iterator[int]:
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208  (names are all that is wanted)
        with contextlib.suppress(OSError):
            stat = Path("/proc", name, "stat").read_bytes().rpartition(b")")[2].split()
            if int(stat[1]) == os.getpid():
                yield int(name)


def _kill(pid: int) -> None:
    for kill in (os.killpg, os.kill):  # it may not have a group of its own yet, or any more
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)


class _Attempts:
    """The attempts of one probe, one after the other."""

    def __init__(self, probe: Probe, limit: Limit, bound: int, *, again: bool) -> None:
        self.probe = probe
        self.bound = bound
        self.again = again
        self.limit = limit
        self.patience = PATIENCE if again and probe.kind != "exec" else math.inf
        self.count = 0
        self.pid = 0
        self.output = -1
        self.said = b""
        self.until = 0.0
        """When the attempt has had its time, or the pause is over."""
        self.is_over = False
        self.reason = ""
        """Of the last attempt that had its time."""
        self.why = ""

    def go_on(self, *, said: bool) -> None:
        """Do what is to be done just now."""
        if said:
            self._read()
        if not self.pid:
            if self.count and self.limit.left < PAUSE:  # too little for one more
                self.is_over = self.limit.is_over()
            elif time.monotonic() >= self.until:
                self._begin()
        elif os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            self._end()
        elif self.limit.is_over() or time.monotonic() >= self.until:
            self._end(late=True)

    def _begin(self) -> None:
        self.output, its = os.pipe()
        os.set_blocking(self.output, False)
        self.said = b""
        self.count += 1
        keeper = os.getpid()
        self.pid = _forked(lambda: attempt(self.probe, its, keeper, self.bound))
        os.close(its)
        self.until = time.monotonic() + self.patience
        self.patience *= 2

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            piece = os.read(self.output, PIECE)
            self.said = (self.said + piece)[-TAIL:]
            if not piece:
                self._close()

    def _close(self) -> None:
        if self.output >= 0:
            os.close(self.output)
        self.output = -1

    def _end(self, *, late: bool = False) -> None:
        """End the attempt with its whole session; it has ended itself unless it is `late`."""
        _kill(self.pid)
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.pid = 0
        if self.output >= 0:
            self._read()
        self._close()
        self.until = time.monotonic() + PAUSE
        times = f"{self.count} attempt{'s' * (self.count > 1)} {self.limit.story}"
        # Of one that was ended before it could even begin, the one before it says more.
        if not self.reason or self.said or not late or self.probe.kind == "exec":
            self.reason = self._reason(code, late=late)
        self.why = f"{self.reason} ({times})" if code else ""
        self.is_over = not self.why or not self.again

    def _reason(self, code: int, *, late: bool) -> str:
        lines = self.said.decode(errors="replace").splitlines()
        last = next((words[:WORDS] for line in reversed(lines) if (words := line.strip())), "")
        if last and self.probe.kind != "exec":
            return last
        how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
        return f"it {'did not end' if late else how}" + (f", and said last: {last}" if last else "")
