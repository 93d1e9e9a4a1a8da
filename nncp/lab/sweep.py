"""Leaves nothing behind, however a process ends.

A sweeper is forked from the process that it sweeps after and only reads a pipe: at its end of file, which
even SIGKILL brings about, it kills the process groups that it was told of and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

TERMINATING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Sweeper:
    """Our end of the pipe. To be made while the process has one thread: it forks."""

    def __init__(
        self, folder: Path | None = None, *, close: Iterable[int] = (), last: Callable[[], object] = bool
    ) -> None:
        """Fork it.

        Args:
            folder: what it removes in the end, if anything.
            close: descriptors that it does not keep.
            last: what it calls after that.

        """
        self.folder = folder
        ours, self._pipe = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                os.setsid()  # a signal from the terminal is not for it
                null = os.open(os.devnull, os.O_RDWR)
                for fd in (0, 1, 2):  # who waits for the end of what our process says does not wait for it
                    os.dup2(null, fd)
                for fd in (self._pipe, *close):
                    os.close(fd)
                _wait_and_sweep(ours, folder)
                last()
            finally:
                os._exit(0)
        os.close(ours)

    def guard(self, group: int) -> None:
        """Kill this process group in the end."""
        os.write(self._pipe, b"+%d\n" % group)

    def join(self) -> None:
        """Kill the process that calls this, and its group, in the end: a child's first act.

        Whoever guards it from outside, once it runs, may be killed before.
        """
        self.guard(os.getpid())

    def release(self, group: int) -> None:
        """This process group has ended: its number may soon be somebody else's."""
        os.write(self._pipe, b"-%d\n" % group)

    @property
    def pipe(self) -> int:
        """What a process holds that it is to sweep after; see `hand_on`."""
        return self._pipe

    def hand_on(self) -> None:
        """Leave it to those who hold the pipe: it sweeps when the last of them has ended."""
        os.close(self._pipe)

    def wait(self) -> None:
        """Return when it has swept after all that hold the pipe."""
        os.waitpid(self.pid, 0)

    def sweep(self) -> None:
        """Sweep now; returns when nothing is left."""
        os.close(self._pipe)
        self.wait()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)  # only there when the sweeper itself was killed


def end_group(leader: int) -> None:
    """Kill what is left of a process group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def _wait_and_sweep(pipe: int, folder: Path | None) -> None:
    for number in TERMINATING:
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    with os.fdopen(pipe) as lines:
        for line in lines:
            (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
    for group in groups:
        end_group(group)
    if folder:
        _remove(folder)


def _remove(folder: Path) -> None:
    for _ in range(20):  # what was just killed may still be writing its last file
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
