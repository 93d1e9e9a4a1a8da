"""Work in a process of its own: the engine goes on answering, and nothing that ends the work ends the engine.

A fork, since everything is imported already; the engine has one thread. What is answered goes into memory
that both have, so that nobody has to read while it is written.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING

import msgspec

from nncp import libc
from nncp.errors import Error, ErrorKind
from nncp.guard import STOPPING, signals_wait
from nncp.operator.protocol import Refused, answered, line, told
from nncp.supervisor import close_all_but

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.operator.protocol import Answered

PR_SET_PDEATHSIG = 1  # linux/prctl.h
ENDED = Refused("the process that did it was ended", ErrorKind.BUG.value)
"""The answer of one that had no time to give one."""


class Job:
    """One piece of work.

    Args:
        work: done by a child of this process.

    """

    def __init__(self, work: Callable[[], Answered]) -> None:
        self.work = work
        self.pid = 0

    async def run(self) -> Answered:
        """Return what it answers; `ENDED` when it was ended before it could."""
        memory = os.memfd_create("answer")
        try:
            parent = os.getpid()
            with signals_wait():  # none is lost between the engine's handlers and the work's
                self.pid = os.fork()
                if self.pid == 0:
                    code = 1
                    try:
                        code = self._child(memory, parent)
                    finally:
                        os._exit(code)
            await _end_of(self.pid)
            self.pid = 0
            return _read(memory)
        finally:
            os.close(memory)

    def end(self, number: int) -> None:
        """Send it a signal, if it goes on."""
        with contextlib.suppress(ProcessLookupError):
            if self.pid:
                os.kill(self.pid, number)

    def _child(self, memory: int, parent: int) -> int:
        try:
            _leave(memory, parent)
            answer = line(self.work())
        except Error as error:
            answer = line(Refused(told(error), error.kind.value))
        except KeyboardInterrupt:
            answer = line(Refused("stopped before anything was written", ErrorKind.INTERRUPTED.value))
        except BaseException as error:  # noqa: BLE001  (whoever asked hears of it, and the log of where)
            traceback.print_exc(file=sys.stderr)
            what = f"a fault of nncp's own: {type(error).__name__}: {error}"
            answer = line(Refused(what, ErrorKind.BUG.value))
        with os.fdopen(memory, "wb", closefd=False) as file:
            file.write(answer)
        return 0


def _leave(memory: int, parent: int) -> None:
    """Have nothing in common with the engine any more but the answer's memory, and end with it."""
    signal.set_wakeup_fd(-1)  # the engine would hear of this process's signals
    for number in STOPPING:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
    gc.freeze()  # what belongs to the engine must not close descriptors here
    close_all_but(0, 1, 2, memory)
    os.setsid()
    libc.call("prctl", PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        os._exit(1)


async def _end_of(pid: int) -> None:
    """Wait until a child has ended."""
    descriptor = os.pidfd_open(pid)
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(descriptor, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        _reap(pid, late=not ended.is_set())


def _reap(pid: int, *, late: bool) -> None:
    """Take a child's end; one that nobody waits for any more is ended."""
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        if late:
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    # Process 1 of a container takes the ends of those whose parents have gone (wait(2)).
    with contextlib.suppress(ChildProcessError):
        while os.getpid() == 1 and os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _read(memory: int) -> Answered:
    os.lseek(memory, 0, os.SEEK_SET)
    with os.fdopen(memory, "rb", closefd=False) as file:
        data = file.read()
    try:
        return answered(data)
    except (Error, msgspec.MsgspecError):
        return ENDED
