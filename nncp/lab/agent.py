"""Runs commands inside the lab kernel for the processes outside it.

The kernel's second console (/dev/tty1) is a socket of the keeper on the host. Frames of many jobs share
it: one job is one command with its standard streams. This file is started by path, isolated and without
site-packages (`python -I -S`), because every import costs boot time: it uses the standard library only,
and the host's side takes the frames from here.

Each direction of a stream has a window: at most so many bytes are on their way, and what the far side has
taken is said back. So a command that nobody reads from stands still, and no other job with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import termios
import tty
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HEADER = struct.Struct(">BII")  # kind, job, length of the payload
COUNT = struct.Struct(">I")
CHUNK = 16384
WINDOW = 65536
# What the terminal layer inside may hold (N_TTY_BUF_SIZE is 4096): one that overflows is throttled, and the
# user-mode console does not always wake from that. So the keeper never has more than this on its way.
CONSOLE = 3500


class Kind(IntEnum):
    """What a frame says."""

    HELLO = 1  # agent: the kernel is up
    SETUP = 2  # keeper: folders of the host to mount writable (JSON)
    READY = 3  # agent: set up; the payload says what went wrong, if anything did
    RUN = 4  # client: argv, env, cwd, terminal (JSON)
    INPUT = 5  # client: bytes for the command; none at all is the end of its input
    OUTPUT = 6  # agent: bytes of standard output
    ERRORS = 7  # agent: bytes of standard error
    TAKEN = 8  # either: so many bytes of the other's stream are through
    SIGNAL = 9  # client: a signal for the command's process group
    SIZE = 10  # client: rows and columns of the terminal
    HANGUP = 11  # keeper: the client has gone
    EXIT = 12  # agent: the exit status (JSON)
    STOP = 13  # client to keeper, keeper to agent: power off


class Frame(NamedTuple):
    """One message on the wire."""

    kind: Kind
    job: int
    payload: bytes = b""

    def packed(self) -> bytes:
        """The frame as bytes."""
        return HEADER.pack(self.kind, self.job, len(self.payload)) + self.payload


class Frames:
    """Bytes as they arrive -> whole frames."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Add `data` and yield the frames that are complete now."""
        self._bytes += data
        while len(self._bytes) >= HEADER.size:
            kind, job, length = HEADER.unpack_from(self._bytes)
            end = HEADER.size + length
            if len(self._bytes) < end:
                return
            payload = bytes(self._bytes[HEADER.size : end])
            del self._bytes[:end]
            yield Frame(Kind(kind), job, payload)


class Job:
    """One command, its pipes (or its terminal) and what is still to be moved through them."""

    def __init__(self, number: int, order: dict[str, Any], agent: Agent) -> None:
        self.number = number
        self.agent = agent
        self.status: int | None = None
        self.input = bytearray()
        self.ended = False  # no more input will come
        self.room = WINDOW  # of both output streams together
        self.terminal = bool(order["terminal"])
        self.stdin = -1
        self.outputs: dict[int, Kind] = {}
        self.process = self._terminal(order) if self.terminal else self._pipes(order)
        self.pidfd = os.pidfd_open(self.process.pid)
        for fd in self.outputs:
            os.set_blocking(fd, False)
            agent.watch(fd, selectors.EVENT_READ, self.readable)
        agent.watch(self.pidfd, selectors.EVENT_READ, self.exited)

    def _pipes(self, order: dict[str, Any]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            order["argv"],
            bufsize=0,
            cwd=order["cwd"],
            env=order["env"],
            start_new_session=True,
            stdin=subprocess.PIPE if order["stdin"] else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        if process.stdin:
            self.stdin = os.dup(process.stdin.fileno())
            process.stdin.close()
            os.set_blocking(self.stdin, False)
        for stream, kind in ((process.stdout, Kind.OUTPUT), (process.stderr, Kind.ERRORS)):
            if stream:
                self.outputs[os.dup(stream.fileno())] = kind
                stream.close()
        return process

    def _terminal(self, order: dict[str, Any]) -> subprocess.Popen[bytes]:
        ours, theirs = os.openpty()
        self.outputs = {ours: Kind.OUTPUT}
        self.stdin = os.dup(ours)
        self.resize(struct.pack("HH", *order["terminal"]))
        try:
            return subprocess.Popen(
                order["argv"],
                cwd=order["cwd"],
                env=order["env"],
                start_new_session=True,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509  one thread only
            )
        finally:
            os.close(theirs)

    def resize(self, size: bytes) -> None:
        """Give the command's terminal the size of the user's."""
        if self.terminal:
            fcntl.ioctl(self.stdin, termios.TIOCSWINSZ, size + bytes(4))

    def readable(self, fd: int, *, drain: bool = False) -> bool:
        """Move output to the client; say whether there is nothing more to come from `fd` for now."""
        kind = self.outputs[fd]
        while self.room:
            try:
                data = os.read(fd, min(CHUNK, self.room))
            except BlockingIOError:
                return True
            except OSError:  # EIO: nobody has the terminal open any more
                data = b""
            if not data:
                self.agent.forget(fd)
                del self.outputs[fd]
                return True
            self.room -= len(data)
            self.agent.send(kind, self.number, data)
            if not drain:
                return False
        self.agent.unwatch(fd)
        return False

    def exited(self, _fd: int) -> None:
        """Take the exit status, and finish when what the command wrote has left."""
        self.status = self.process.wait()
        self.agent.forget(self.pidfd)
        self.finish()

    def finish(self) -> None:
        """End the job once its output is through.

        A daemon that the command left behind may hold the pipes for ever, so what is there is taken and
        the end of file is not waited for.
        """
        if self.status is None:
            return
        through = [self.readable(fd, drain=True) for fd in list(self.outputs)]
        if not all(through):
            return
        self.agent.send(Kind.EXIT, self.number, json.dumps({"status": self.status}).encode())
        self.close()

    def feed(self, data: bytes) -> None:
        """Take input for the command; no bytes are the end of it."""
        self.input += data
        self.ended = not data
        self.writable(self.stdin)

    def writable(self, fd: int) -> None:
        """Write waiting input, and tell the client how much went through."""
        if self.stdin < 0:
            return
        try:
            taken = os.write(fd, self.input) if self.input else 0
        except BlockingIOError:
            taken = 0
        except OSError:  # EPIPE: the command closed its input; the rest goes nowhere, as in any pipe
            taken, self.ended = len(self.input), True
        del self.input[:taken]
        if taken:
            self.agent.send(Kind.TAKEN, self.number, COUNT.pack(taken))
        if self.input:
            self.agent.watch(fd, selectors.EVENT_WRITE, self.writable)
        else:
            self.agent.unwatch(fd)
            if self.ended and not self.terminal:
                os.close(fd)
                self.stdin = -1

    def taken(self, count: int) -> None:
        """The client has taken so much output: the rest may follow."""
        self.room += count
        for fd in self.outputs:
            self.agent.watch(fd, selectors.EVENT_READ, self.readable)
        self.finish()

    def kill(self, number: int) -> None:
        """Send a signal to the command's process group."""
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def close(self) -> None:
        """Let go of every descriptor, and of the job."""
        for fd in (*self.outputs, self.stdin):
            if fd >= 0:
                self.agent.forget(fd)
        self.outputs, self.stdin = {}, -1
        self.agent.jobs.pop(self.number, None)

    def hangup(self) -> None:
        """Nobody waits any more: end the command."""
        self.kill(signal.SIGKILL)
        self.close()


class Agent:
    """The loop: frames in, frames out, pipes between."""

    def __init__(self, channel: int) -> None:
        self.channel = channel
        self.selector = selectors.DefaultSelector()
        self.frames = Frames()
        self.jobs: dict[int, Job] = {}
        self.stopped = False
        self.watch(channel, selectors.EVENT_READ, self.receive)

    def watch(self, fd: int, events: int, act: Callable[[int], object]) -> None:
        """Call `act` whenever `fd` is ready."""
        if fd in self.selector.get_map():
            self.selector.modify(fd, events, act)
        else:
            self.selector.register(fd, events, act)

    def unwatch(self, fd: int) -> None:
        """Do not look at `fd` any more."""
        if fd in self.selector.get_map():
            self.selector.unregister(fd)

    def forget(self, fd: int) -> None:
        """Close `fd`."""
        self.unwatch(fd)
        os.close(fd)

    def send(self, kind: Kind, job: int, payload: bytes = b"") -> None:
        """Write a frame; the keeper always reads, so waiting here is short."""
        data = memoryview(Frame(kind, job, payload).packed())
        while data:
            data = data[os.write(self.channel, data) :]

    def receive(self, fd: int) -> None:
        """Take what came in, and say that there is room again."""
        data = os.read(fd, 65536)
        self.send(Kind.TAKEN, 0, COUNT.pack(len(data)))
        for frame in self.frames.feed(data):
            self.obey(frame)

    def obey(self, frame: Frame) -> None:
        """Do what a frame says. Frames of a job that has ended meanwhile are late, not wrong."""
        job = self.jobs.get(frame.job)
        match frame.kind:
            case Kind.SETUP:
                self.send(Kind.READY, 0, set_up(json.loads(frame.payload)).encode())
            case Kind.RUN:
                self.start(frame.job, json.loads(frame.payload))
            case Kind.STOP:
                self.stopped = True
            case _ if job is None:
                pass
            case Kind.INPUT:
                job.feed(frame.payload)
            case Kind.TAKEN:
                job.taken(*COUNT.unpack(frame.payload))
            case Kind.SIGNAL:
                job.kill(frame.payload[0])
            case Kind.SIZE:
                job.resize(frame.payload)
            case Kind.HANGUP:
                job.hangup()

    def start(self, number: int, order: dict[str, Any]) -> None:
        """Start a command; 127 and 126 are the shell's words for what cannot be started."""
        try:
            self.jobs[number] = Job(number, order, self)
        except OSError as error:
            status = 127 if isinstance(error, FileNotFoundError) else 126
            self.send(Kind.EXIT, number, json.dumps({"status": status, "error": str(error)}).encode())

    def serve(self) -> None:
        """Work until told to stop."""
        self.send(Kind.HELLO, 0)
        while not self.stopped:
            for key, _events in self.selector.select():
                if key.fd in self.selector.get_map():  # an earlier one may have closed it
                    key.data(key.fd)


def set_up(order: dict[str, Any]) -> str:
    """Mount folders of the host over the copy-on-write view; say what failed."""
    import ctypes  # noqa: PLC0415  only here, and it is a tenth of the start

    libc = ctypes.CDLL(None, use_errno=True)
    for folder in order["writable"]:
        path = os.fsencode(folder)
        os.makedirs(path, exist_ok=True)  # noqa: PTH103  pathlib is one more import
        # mount(2) and not mount(8): newer ones use fsconfig, to which hostfs gives its option another name.
        if libc.mount(b"none", path, b"hostfs", 0, path):
            return f"cannot make {folder} writable: {os.strerror(ctypes.get_errno())}"
    return ""


def main() -> None:
    """Serve the console given as the only argument, then bring every file to its disk."""
    channel = os.open(sys.argv[1], os.O_RDWR | os.O_NOCTTY)
    tty.setraw(channel)
    Agent(channel).serve()
    os.sync()


if __name__ == "__main__":
    main()
