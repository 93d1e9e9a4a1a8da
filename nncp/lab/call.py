"""One command in a lab kernel, from this side: what is sent, what comes back, and where it goes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import tty
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from nncp.errors import Error, ErrorKind
from nncp.lab.agent import CHUNK, COUNT, WINDOW, Frame, Frames, Kind

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator, Mapping, Sequence

Stream: TypeAlias = "int | IO[Any]"
Sink: TypeAlias = "Callable[[bytes], object]"  # takes what the command writes, as it writes it
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


class Call:
    """A command on a connection of its own; closing the connection ends the command."""

    def __init__(
        self, connection: socket.socket, *, stdin: int | None, sinks: dict[Kind, Sink], terminal: bool = False
    ) -> None:
        self.connection = connection
        self.stdin = stdin
        self.sinks = sinks
        self.terminal = terminal
        self.room = WINDOW
        self.frames = Frames()
        self.status: int | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None,
        cwd: str | Path | None,
        timeout: float | None,
    ) -> int:
        """Run the command to its end and return its exit status, 128 + n for signal n."""
        order = {
            "argv": list(argv),
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or Path.cwd()),
            "stdin": self.stdin is not None,
            "terminal": terminal_size() if self.terminal else None,
        }
        deadline = None if timeout is None else time.monotonic() + timeout
        with raw(self.stdin) if self.terminal and self.stdin is not None else contextlib.nullcontext():
            self.send(Kind.RUN, json.dumps(order).encode())
            while self.status is None:
                self.step(argv, deadline)
        return self.status

    def send(self, kind: Kind, payload: bytes) -> None:
        """Send one frame; the keeper always reads."""
        self.connection.sendall(Frame(kind, 0, payload).packed())

    def step(self, argv: Sequence[str], deadline: float | None) -> None:
        """Wait for something to move, and move it."""
        poll = select.poll()
        poll.register(self.connection, select.POLLIN)
        if self.stdin is not None and self.room:
            poll.register(self.stdin, select.POLLIN)
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        ready = {fd for fd, _ in poll.poll(None if left is None else left * 1000)}
        if not ready and left is not None:
            raise Error(f"{argv[0]} took too long and was ended", kind=ErrorKind.FAILED)
        if self.stdin in ready:
            self.feed(self.stdin)
        if self.connection.fileno() in ready:
            self.receive()

    def feed(self, stdin: int) -> None:
        """Send what can be read; no bytes are the end of it."""
        try:
            data = os.read(stdin, min(CHUNK, self.room))
        except OSError:  # a terminal that hung up
            data = b""
        self.room -= len(data)
        self.send(Kind.INPUT, data)
        if not data:
            self.stdin = None

    def receive(self) -> None:
        """Take what came."""
        data = b""
        with contextlib.suppress(ConnectionError):  # it ended amid a word
            data = self.connection.recv(1 << 18)
        if not data:
            raise Error("the lab kernel ended while a command ran in it", kind=ErrorKind.FAILED)
        for frame in self.frames.feed(data):
            if frame.kind in self.sinks:
                self.sinks[frame.kind](frame.payload)
                self.send(Kind.TAKEN, COUNT.pack(len(frame.payload)))
            elif frame.kind == Kind.TAKEN:
                self.room += COUNT.unpack(frame.payload)[0]
            elif frame.kind == Kind.EXIT:
                self.exited(**json.loads(frame.payload))

    def exited(self, *, status: int, error: str = "") -> None:
        """Take the exit status."""
        if error:
            self.sinks[Kind.ERRORS](f"lab: {error}\n".encode())
        self.status = status if status >= 0 else 128 - status


def descriptor(stream: Stream | None, default: int) -> int:
    """Return the descriptor of a stream; what Python still holds of it goes out first."""
    if stream is None:
        for ours in (sys.stdout, sys.stderr):
            ours.flush()
        return default
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    if isinstance(stream, int):
        return stream
    if stream.writable():
        stream.flush()
    return stream.fileno()


def sink(stream: Stream | Sink | None, default: int) -> Sink:
    """Return what takes the bytes of a stream: a function as it is, or one that writes to a descriptor."""
    if callable(stream):
        return stream
    fd = descriptor(stream, default)

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(fd, rest) :]

    return write


def terminal_size() -> list[int]:
    """Return rows and columns of this process's terminal."""
    columns, rows = os.get_terminal_size(1) if os.isatty(1) else (80, 24)
    return [rows, columns]


@contextmanager
def raw(fd: int) -> Iterator[None]:
    """Hand every key of the terminal `fd` on as it is; put it back in the end."""
    if not os.isatty(fd):
        yield
        return
    before = termios.tcgetattr(fd)
    try:
        tty.setraw(fd, termios.TCSADRAIN)  # what was typed ahead is for the command
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextmanager
def signals_forwarded(connection: socket.socket, *, terminal: bool) -> Iterator[None]:
    """Pass this process's signals on to the command; and the terminal's size, when it has one."""

    def forward(number: int, _frame: object) -> None:
        connection.sendall(Frame(Kind.SIGNAL, 0, bytes([number])).packed())

    def resize(_number: int, _frame: object) -> None:
        connection.sendall(Frame(Kind.SIZE, 0, struct.pack("HH", *terminal_size())).packed())

    handlers: dict[int, Callable[[int, object], None]] = dict.fromkeys(FORWARDED, forward)
    if terminal:
        handlers[signal.SIGWINCH] = resize
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
