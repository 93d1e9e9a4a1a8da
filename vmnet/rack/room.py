"""The room that a rack stands in: PID and mount namespaces whose first process ends all the others.

So nothing outlives it, whatever is killed: daemons, guests, namespaces and mounts of the rack hang on one
process. A room that is kept holds a lock while it lives, and a note that says how to enter it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NOTE = Path(os.environ.get("BRIDGEHEAD_RACK", "/run/bridgehead/rack"))
"""What says that a rack stands here, and how to enter it; one rack for each such file."""
END_S = 30.0  # of a quiet machine: the kernel has killed all, and takes mounts and namespaces down
# The shell is process 1 and reaps what loses its parent; with one command it would become that command.
FIRST = '"$@"; exit $?'
READY = "the room is furnished"
KEPT = f'"$@" || exit; echo "{READY}"; exec </dev/null >/dev/null 2>&1; sleep infinity & wait'


def enter(argv: Sequence[str]) -> NoReturn:
    """Run a command in a room of its own in place of this process; the room ends with it."""
    if os.geteuid():
        raise Error("a rack's room needs root", kind=ErrorKind.PRIVILEGE, hint="run it as root")
    command = _unshared(argv, FIRST)
    os.execvp(command[0], command)  # noqa: S606


def keep(argv: Sequence[str], *, say: Callable[[str], None]) -> None:
    """Furnish a room by a command, and keep it after the command is done.

    Raises:
        Error: there is one already, or the command failed.

    """
    NOTE.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(NOTE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise stands_already() from None
    process = subprocess.Popen(
        _unshared(argv, KEPT),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=[lock],
        start_new_session=True,
    )
    with _note(lock, process):
        _furnished(process, say)


def stands_already() -> Error:
    """Return what is wrong when there is a rack and another one is wanted."""
    return Error("a rack already stands here", kind=ErrorKind.FAILED, hint="vmnet rack down")


def _furnished(process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
    """Pass on what is said until the room is ready; the pipe stays open with its maker."""
    assert process.stdout is not None
    said = "no word"
    with process.stdout as output:
        for line in output:
            said = line.decode(errors="replace").rstrip()
            if said == READY:
                return
            say(said)
    raise Error(f"the rack did not come up: {said}", kind=ErrorKind.FAILED)


class Kept(NamedTuple):
    """A kept room, by the process that made it and by its first process."""

    maker: int
    first: int

    @property
    def root(self) -> Path:
        """The room's files, seen from here."""
        return Path(f"/proc/{self.maker}/root")

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in the room."""
        namespaces = f"/proc/{self.maker}/ns"
        pid, mount = f"--pid={namespaces}/pid_for_children", f"--mount={namespaces}/mnt"
        return ["nsenter", pid, mount, f"--wdns={Path.cwd()}", "--", *argv]

    def end(self) -> None:
        """Kill all that is in the room; the kernel's answer comes when nothing is left."""
        try:
            maker = os.pidfd_open(self.maker)
        except ProcessLookupError:
            return
        try:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.first, signal.SIGKILL)
            self._wait_for(maker)
        finally:
            os.close(maker)

    def _wait_for(self, maker: int) -> None:
        limit = Limit(END_S)
        while not select.select([maker], [], [], limit.left)[0]:
            if limit.is_over():
                message = f"the rack was killed and has not ended {limit.story}"
                raise Error(message, kind=ErrorKind.FAILED, hint=f"process {self.first} is still there")


def find() -> Kept | None:
    """Return the room that is kept here, or None."""
    try:
        lock = os.open(NOTE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with contextlib.suppress(FileNotFoundError, IndexError):  # it is ending while we look
            maker = int(json.loads(NOTE.read_text(encoding="ascii"))["maker"])
            return Kept(maker, _child(maker))
    finally:
        os.close(lock)
    return None


def clear() -> None:
    """End the room that is kept here, if there is one, and forget it."""
    kept = find()
    if kept is not None:
        kept.end()
    NOTE.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # others keep something there, or it never was
        NOTE.parent.rmdir()


def _unshared(argv: Sequence[str], first: str) -> list[str]:
    return [
        "unshare",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        first,
        "sh",
        *argv,
    ]


@contextlib.contextmanager
def _note(lock: int, process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Say in the lock's file how to enter; end the room when furnishing it is interrupted."""
    try:
        os.truncate(lock, 0)
        os.pwrite(lock, json.dumps({"maker": process.pid}).encode(), 0)
        yield
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(lock)


def _child(pid: int) -> int:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return int(children[0])
