"""The supervisor and the child that writes, as the process sees them that started both."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from nncp import supervisor
from nncp.errors import Error, ErrorKind
from nncp.state_folder import FOLDER
from nncp.told import Ended, packed, unpacked
from nncp.way_back import finish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nncp.journal import Journal, Record

PULSE_EVERY = 0.1
DONE = b"{}"
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Guard:
    """Sees to it that what a child writes holds, or is undone.

    Args:
        pid: of the supervisor.
        line: to it.
        journal: of the namespace, locked by the caller.
        lock: the descriptor of its lock.

    """

    def __init__(self, pid: int, line: socket.socket, journal: Journal, lock: int) -> None:
        self.pid = pid
        self.line = line
        self.journal = journal
        self.lock = lock
        self.writer = 0
        self.report = b""
        self.saved = b""
        self._pulsed = 0.0

    @classmethod
    def start(cls, journal: Journal, lock: int, silence: float) -> Guard:
        """Start the supervisor; it inherits the journal's lock and one end of a line.

        Raises:
            Error: it cannot be started.

        """
        line, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with its:
                pid = _spawned(its.fileno(), lock, journal.state_dir, silence)
        except OSError as error:
            line.close()
            raise _unstartable(error.strerror) from error
        with _pidfd() as caller:
            socket.send_fds(line, [supervisor.CALLER], [caller])
        return cls(pid, line, journal, lock)

    def await_ready(self) -> None:
        """Wait until it watches.

        Raises:
            Error: it could not be started.

        """
        if self._heard() != supervisor.READY:
            raise _unstartable("it has ended")

    def dismiss(self) -> None:
        """Let it go: nothing was written, or everything holds."""
        self._say(supervisor.COMMIT)
        self._reap()

    def write_in_child(self, write: Callable[[Callable[[], None]], None]) -> None:
        """Let a child write; return when it has.

        Raises:
            Error: what it raised, or that it was ended.

        """
        answer, its = os.pipe()
        with signals_wait():
            self.writer = os.fork()
            if self.writer == 0:
                os._exit(self._child(its, write))
        os.close(its)
        try:
            told = _answer(answer, self.writer)
        finally:
            os.close(answer)
        if told != DONE:
            raise unpacked(told)

    def _child(self, answer: int, write: Callable[[Callable[[], None]], None]) -> int:
        """Write, but not before the supervisor can end this process."""
        try:
            gc.disable()  # what belongs to the caller must not close descriptors here
            for number in STOPPING:
                signal.signal(number, signal.SIG_IGN)  # it is the caller that is asked to stop
            supervisor.close_all_but(0, 1, 2, answer, self.line.fileno(), self.lock)
            with _pidfd() as own:
                socket.send_fds(self.line, [supervisor.WRITER], [own])
            if self._heard() != supervisor.GO:
                return 1
            write(self.pulse)
            told = DONE
        except BaseException as error:  # noqa: BLE001  (whatever it is, the caller raises it)
            told = packed(error)
        with os.fdopen(answer, "wb") as file:
            file.write(told)
        return 0

    def pulse(self) -> None:
        """Say that something was written, now and then."""
        if (now := time.monotonic()) - self._pulsed >= PULSE_EVERY:
            self._pulsed = now
            self._say(supervisor.PULSE, socket.MSG_DONTWAIT)

    def commit(self, record: Record, *, tried: bool = False) -> bool:
        """Mark the journal as held, and let the supervisor go; False when it had begun to undo."""
        with signals_wait():
            if keep(self.journal, record, tried=tried):
                self.dismiss()
                return True
            self._listen()
        return False

    def write(self, record: Record) -> None:
        """Record what an apply starts from; the supervisor knows it then, whatever comes of the file."""
        self.saved = self.journal.write(record)
        folder = os.open(self.journal.path, FOLDER)
        try:
            with contextlib.suppress(OSError):
                socket.send_fds(self.line, [supervisor.JOURNAL], [folder])
        finally:
            os.close(folder)

    def hold(self, record: Record, seconds: float) -> bool:
        """Let the supervisor undo what holds unless somebody keeps it in time, whatever comes of us.

        Returns whether it does; if not, it had begun to undo.

        Args:
            record: what is known of it.
            seconds: from now on.

        """
        with signals_wait():
            if not self.journal.hold(record.number):
                self._listen()
                return False
            self._say(supervisor.HOLD + f"{seconds:.1f} {record.number}".encode())
        return True

    def listen(self, record: Record) -> bool:
        """Hear how it ended, once the line has something to be heard; return whether it was kept."""
        with signals_wait():
            self._listen()
        return self.journal.is_kept(record.number)

    def undo(self, error: BaseException) -> None:
        """Let what was written be undone because of `error`, and wait.

        Raises:
            Error: it could not, or the supervisor began by itself, with `error` among its `others`.

        """
        with signals_wait():
            self._end_writer()
            self._say(supervisor.UNDO)
            self._listen()
            told = self.undone(error if isinstance(error, Error) else None)
        if told.kind is ErrorKind.ROLLBACK_FAILED or isinstance(error, Ended):
            raise told from error

    def undone(self, first: Error | None = None) -> Error:
        """Return what is to be told of the rollback."""
        report = msgspec.json.decode(self.report, type=_Report) if self.report else self._undone_here()
        left = tuple(_difference(one) for one in report.left)
        if not left:
            return Error(f"{report.why}; what had been written is undone", kind=ErrorKind.FAILED)
        return Error(
            "the change was undone only in part",
            kind=ErrorKind.ROLLBACK_FAILED,
            hint="run `nncp rollback` to go on with it",
            others=((first,) if first else ()) + left,
        )

    def _undone_here(self) -> _Report:
        """Undo in this process, which has the lock: somebody has ended the supervisor."""
        why = "the supervisor was ended"
        try:
            finish(self.journal.state_dir, self.saved)
        except Error as error:
            return _Report(why, [supervisor.told(one) for one in error])
        except Exception as error:  # noqa: BLE001  (the journal stays, and the next nncp goes on)
            return _Report(why, [supervisor.told(error)])
        return _Report(why)

    def _listen(self) -> None:
        while piece := self._heard():
            # A writer that was ended early has left its word unread.
            self.report += piece if piece != supervisor.GO else b""
        self._reap()

    def _heard(self) -> bytes:
        for _ in range(2):  # what it left unread when it ended is told before what it has said
            with contextlib.suppress(OSError):
                return self.line.recv(supervisor.PIECE)
        return b""

    def _say(self, word: bytes, flags: int = 0) -> None:
        with contextlib.suppress(OSError):
            self.line.send(word, flags)

    def _end_writer(self) -> None:
        # Somebody else in this process may have waited for it already.
        with contextlib.suppress(ChildProcessError, ProcessLookupError):
            if self.writer:
                os.kill(self.writer, signal.SIGKILL)
                os.waitpid(self.writer, 0)
        self.writer = 0

    def _reap(self) -> None:
        self.line.close()
        self._end_writer()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def _spawned(line: int, lock: int, state_dir: Path, silence: float) -> int:
    """Start the program by its path, with the signals blocked that would stop it; return its id."""
    folder = Path(supervisor.__file__).resolve().parent.parent
    path = [str(Path(entry).absolute()) for entry in (str(folder), *sys.path) if entry]
    argv = [sys.executable, "-I", "-S", supervisor.__file__, str(state_dir), str(silence), *path]
    with Path(os.devnull).open("r+b", 0) as null, contextlib.ExitStack() as stack:
        given = [null.fileno()] * 3 + [line, lock]
        high = [stack.enter_context(_high(descriptor)) for descriptor in given]
        actions = [(os.POSIX_SPAWN_DUP2, descriptor, number) for number, descriptor in enumerate(high)]
        return os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions, setsigmask=STOPPING)


def _unstartable(why: str | None) -> Error:
    return Error(
        f"the supervisor could not be started by {sys.executable or 'Python'}: {why}; nothing was written",
        kind=ErrorKind.UNSUPPORTED,
        hint="it is nncp/supervisor.py, and wants this Python and the packages that nncp wants",
    )


def _answer(answer: int, writer: int) -> bytes:
    """Return what the child says until its end; others may hold the pipe for longer (fork(2))."""
    told = b""
    with _pidfd(writer) as ended:
        poll = select.poll()  # select() takes no descriptor beyond 1023
        for descriptor in (answer, ended):
            poll.register(descriptor, select.POLLIN)
        while found := dict(poll.poll()):
            piece = os.read(answer, 1 << 16) if answer in found else b""
            if not piece:
                break
            told += piece
    return told


class _Report(Struct, frozen=True):
    """What the supervisor tells when it has undone."""

    why: str = ""
    left: list[dict[str, str]] = []


def _difference(told: Mapping[str, str]) -> Error:
    return Error(told["message"], kind=ErrorKind.ROLLBACK_FAILED, subject=told["subject"], hint=told["hint"])


@contextlib.contextmanager
def _pidfd(pid: int = 0) -> Iterator[int]:
    """Yield a descriptor of a process, or of this one (pidfd_open(2))."""
    descriptor = os.pidfd_open(pid or os.getpid())
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _high(descriptor: int) -> Iterator[int]:
    """Yield a duplicate that is none of the numbers that the supervisor is given."""
    found = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 16)
    try:
        yield found
    finally:
        os.close(found)


def keep(journal: Journal, record: Record, *, tried: bool = False) -> bool:
    """Mark an apply as held, with what documents have listed; False when somebody has begun to undo it.

    What is tried may be kept by several at once, without the lock: only the one that has writes.
    """
    former = journal.listed()
    if not tried:
        journal.note_listed(record.lists or former)
    done = journal.keep(record.number, tried=tried)
    if done and tried:
        with contextlib.suppress(Error):  # it is kept, and whoever tries it notes that too
            journal.note_listed(record.lists or former)
    elif not done and not tried:
        journal.note_listed(former)
    return done


@contextlib.contextmanager
def signals_wait() -> Iterator[None]:
    """Let signals that would stop this process wait until the block is done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
