"""The room that a rack or a cluster stands in: PID and mount namespaces whose first process ends all others.

So nothing outlives it, whatever is killed: daemons, guests, namespaces and mounts in it hang on one process.
A room that is kept holds a lock on its note while it lives, and the note says how to enter it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.lab.cgroups import left
from nncp.lab.ended import first_child, has_ended, kill
from nncp.lab.sweep import Sweeper
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Site(Struct, frozen=True):
    """What may stand on this machine: one thing for each note."""

    what: str
    """For people: a rack, a cluster."""
    note: Path
    """The file that says that it stands here, and how to enter it."""
    command: str
    """Puts it up, takes it down: `vmnet rack`."""
    groups: str = ""
    """What the names of its machines' control groups begin with, if they have any."""

    def stands_already(self) -> Error:
        """Return what is wrong when there is one and another is wanted."""
        return Error(f"a {self.what} already stands here", kind=ErrorKind.FAILED, hint=f"{self.command} down")

    def needs_root(self) -> None:
        """Refuse whoever is not root."""
        if os.geteuid():
            raise Error(f"a {self.what} needs root", kind=ErrorKind.PRIVILEGE, hint="run it as root")

    def is_missing(self) -> Error:
        """Return what is wrong when there is none."""
        return Error(f"no {self.what} stands here", kind=ErrorKind.FAILED, hint=f"{self.command} up")


LOOK_EVERY = 0.02
CLAIM_S = 5.0  # of a quiet machine: for those who only look
END_S = 30.0  # of a quiet machine: the kernel has killed all, and takes mounts and namespaces down
# The shell is process 1 and reaps what loses its parent; with one command it would become that command.
FIRST = '"$@"; exit $?'
READY = "the room is furnished"
# It ends when nobody hears that it is ready: as process 1 it is spared the SIGPIPE.
KEPT = f'"$@" || exit; echo "{READY}" || exit; exec </dev/null >/dev/null 2>&1; sleep infinity & wait'


def enter(argv: Sequence[str]) -> NoReturn:
    """Run a command in a room of its own in place of this process; the room ends with it."""
    if os.geteuid():
        raise Error("a room needs root", kind=ErrorKind.PRIVILEGE, hint="run it as root")
    command = _unshared(argv, FIRST)
    os.execvp(command[0], command)  # noqa: S606


def run(site: Site, argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run a command in a room of its own and return its exit code; nothing is left of the room's machines.

    Raises:
        Error: one stands there already.

    """
    site.needs_root()
    lock = _claimed(site)
    try:
        _sweep_groups(site)
        done = subprocess.run(_unshared(argv, FIRST), env=env, check=False)
        return done.returncode if done.returncode >= 0 else 128 - done.returncode
    finally:
        _swept(site, lock)
        os.close(lock)


def keep(site: Site, argv: Sequence[str], *, say: Callable[[str], None]) -> None:
    """Furnish a room by a command, and keep it after the command is done.

    Raises:
        Error: there is one already, or the command failed.

    """
    site.needs_root()
    lock = _claimed(site)
    try:
        os.truncate(lock, 0)
        _sweep_groups(site)  # of one that was killed with its sweeper
        sweeper = Sweeper(last=partial(_swept, site, lock))
        process = subprocess.Popen(
            _unshared(argv, KEPT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[lock, sweeper.pipe],
            start_new_session=True,
            preexec_fn=partial(_note, lock),  # noqa: PLW1509  whoever puts something up has one thread
        )
        sweeper.hand_on()
        try:
            _furnished(site, process, say)
        except BaseException:
            sweeper.wait()
            raise
    finally:
        os.close(lock)


def _claimed(site: Site) -> int:
    """Return a descriptor of the note that holds its lock: nobody else puts anything up.

    Raises:
        Error: something stands, or is being put up.

    """
    limit = Limit(CLAIM_S)
    while not limit.is_over():
        site.note.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(site.note, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if _locks(lock, fcntl.LOCK_EX):
            with contextlib.suppress(FileNotFoundError):  # whoever took it down has taken the note away
                if site.note.stat().st_ino == os.fstat(lock).st_ino:
                    return lock
        elif not _locks(lock, fcntl.LOCK_SH):  # it is no reader who holds it
            os.close(lock)
            break
        os.close(lock)
        time.sleep(LOOK_EVERY)
    raise site.stands_already()


def _locks(file: int, how: int) -> bool:
    """Lock a file if nobody is in the way; return whether that was done."""
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _note(lock: int) -> None:
    """Say in the lock's file who made the room: this process, in a moment."""
    os.pwrite(lock, json.dumps({"maker": os.getpid()}).encode(), 0)


def _furnished(site: Site, process: subprocess.Popen[bytes], say: Callable[[str], None]) -> None:
    """Pass on what is said until the room is ready; end it when it does not get so far, or is interrupted."""
    assert process.stdout is not None
    said = "no word"
    stands = False
    try:
        with process.stdout as output:
            for line in output:
                said = line.decode(errors="replace").rstrip()
                stands = said == READY
                if stands:
                    process.returncode = 0  # nobody waits for it
                    return
                say(said)
    finally:
        if not stands:
            process.kill()
            process.wait()
    raise Error(f"the {site.what} did not come up: {said}", kind=ErrorKind.FAILED)


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
        if has_ended(self.maker):
            return
        kill(self.first, Limit(END_S))
        limit = Limit(END_S)
        if not kill(self.maker, limit):
            message = f"what stood there was killed and has not ended {limit.story}"
            raise Error(message, kind=ErrorKind.FAILED, hint=f"process {self.maker} is still there")


def find(site: Site) -> Kept | None:
    """Return the room that is kept here, or None."""
    site.needs_root()
    try:
        lock = os.open(site.note, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if _locks(lock, fcntl.LOCK_SH):
            return None
        # It is being put up, or is ending, while we look.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError, ValueError):
            maker = int(json.loads(site.note.read_text(encoding="ascii"))["maker"])
            return Kept(maker, first_child(maker))
    finally:
        os.close(lock)
    return None


def clear(site: Site) -> None:
    """End the room that is kept here, if there is one, and forget it.

    Raises:
        Error: it does not end.

    """
    if kept := find(site):
        kept.end()
    try:
        lock = os.open(site.note, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        limit = Limit(END_S)
        while not _locks(lock, fcntl.LOCK_EX):  # the sweeper holds it until all is swept
            if limit.is_over():
                told = f"the {site.what} is still being put up, or has not ended {limit.story}"
                raise Error(told, kind=ErrorKind.FAILED, hint="try again")
            time.sleep(LOOK_EVERY)
        _swept(site, lock)
    finally:
        os.close(lock)


def _swept(site: Site, lock: int) -> None:
    """Remove what outlives a room: control groups, and the note whose lock is held."""
    _sweep_groups(site)
    with contextlib.suppress(OSError):  # it has gone, others keep something there
        if site.note.stat().st_ino == os.fstat(lock).st_ino:  # it is not another's by now
            site.note.unlink()
            site.note.parent.rmdir()


def _sweep_groups(site: Site) -> None:
    for group in left(site.groups) if site.groups else ():
        group.remove()


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
