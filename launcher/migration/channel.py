"""TLS between the launchers of a migration: words, libvirt's own protocol, and the guest's memory.

Neither libvirt nor QEMU listens on a network. At the source they speak to Unix sockets of the launcher's,
which passes all of it through to the target's launcher, and that to their fellows' Unix sockets. QEMU's own
TLS would do for the memory, but it writes each page by itself: the pause grew by a quarter where system calls
are dear.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time
from typing import TYPE_CHECKING, Any

import msgspec

from launcher.migration import knock, words
from launcher.migration.credentials import TARGET
from launcher.migration.words import Hello, Welcome
from nncp.errors import Error, ErrorKind
from vmnet import versioned
from vmnet.node.migration_rules import PEER_PORT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launcher.loop import Watching
    from launcher.migration.words import Purpose, Word

TRY_S = 5.0
"""Seconds for a handshake, and for a hello and its answer. Whoever gets no further is asked again."""
STALL_S = 120.0
"""Seconds for one side to take what the other says; libvirt gives up after 30."""
PIECE = 7 << 14
"""Bytes at a time: seven records of TLS, and less than what malloc(3) maps anew each time. That took half of
the time where a page's first touch is dear."""
BUFFER = 1 << 18
"""Bytes that may be on their way in one socket. QEMU pauses the guest when it thinks that what is left passes
within the limit, and what waits in the kernel's buffers, megabytes otherwise, it takes for passed."""


class Line:
    """A TLS connection of which this program reads and writes the records: many of them a system call."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, *, to: str = "") -> None:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            plain.setsockopt(socket.SOL_SOCKET, option, BUFFER // 2)  # the kernel doubles it (socket(7))
        plain.settimeout(TRY_S)
        self.socket = plain
        self._until = time.monotonic() + TRY_S  # of the handshake, the hello and its answer together
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_side=not to, server_hostname=to or None)

    def shake(self) -> None:
        """Shake hands; blocks. Raises OSError when the other is not the one that is meant."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                with contextlib.suppress(OSError):
                    self._flush()  # what is wrong
                raise
            else:
                self._flush()
                return

    def send(self, data: bytes) -> None:
        """Say something; blocks."""
        self.socket.sendall(self.sealed(data))

    def line(self) -> bytes:
        """Return what is said up to the end of a line, and not a byte more; blocks."""
        said = b""
        while not said.endswith(b"\n") and len(said) < words.LARGEST:
            try:
                said += self._tls.read(1)
            except ssl.SSLWantReadError:
                self._fill()
        return said

    def sealed(self, data: bytes) -> bytes:
        """Return what to write to the socket for `data` to be read at the other end."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._tls.write(rest) :]
        return self._out.read()

    def opened(self, data: bytes = b"") -> bytes:
        """Return what the other end said, of which `data` was read from the socket; raises OSError."""
        self._in.write(data)
        said = []
        with contextlib.suppress(ssl.SSLWantReadError):
            while piece := self._tls.read(PIECE):
                said.append(piece)
        return b"".join(said)

    def _flush(self) -> None:
        self.socket.sendall(self._out.read())

    def _fill(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long")
        self.socket.settimeout(left)
        data = self.socket.recv(PIECE)
        if not data:
            raise ConnectionResetError("it hung up")
        self._in.write(data)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.socket.close()


def connect(to: str, context: ssl.SSLContext, purpose: Purpose) -> Line:
    """Return a connection to the target's launcher; blocks.

    Raises:
        OSError: nobody is there, or not the one that is meant.
        Error: it refuses, by name.

    """
    line = Line(socket.create_connection((to, PEER_PORT), TRY_S), context, to=TARGET)
    try:
        line.shake()
        line.send(msgspec.json.encode(Hello(words.VERSION, purpose)) + b"\n")
        _welcome(line, f"the launcher at {to}")
    except BaseException:
        line.close()
        raise
    return line


def _welcome(line: Line, who: str) -> None:
    welcome: Welcome = versioned.decode(line.line(), Welcome, version=words.VERSION, what=who)
    if welcome.refusal:
        raise Error(f"{who} refuses: {welcome.refusal}", kind=ErrorKind.FAILED)


def reach(to: str, context: ssl.SSLContext, secret: bytes) -> Words:
    """Knock, and return a connection for words if the target has opened; blocks, raises as `connect`."""
    knock.knock(to, secret)
    return Words(connect(to, context, "words"))


def accepted(plain: socket.socket, context: ssl.SSLContext) -> tuple[Purpose, Line]:
    """Return what a connection is for, and it; blocks.

    Raises:
        OSError: it is not the source that is meant, or it says nothing.
        Error: it is of another version, and was told so.

    """
    line = Line(plain, context)
    try:
        line.shake()
        purpose = _welcomed(line)
    except BaseException:
        line.close()
        raise
    return purpose, line


def _welcomed(line: Line) -> Purpose:
    """Return what the source wants; one that is not understood is told why."""
    refusal = ""
    said = line.line()
    try:
        hello: Hello = versioned.decode(said, Hello, version=words.VERSION, what="the source's launcher")
    except Error as error:
        refusal = error.message
        raise
    finally:
        line.send(msgspec.json.encode(Welcome(words.VERSION, refusal)) + b"\n")
    return hello.purpose


class Words:
    """A connection over which words pass, in the launcher's loop: it never waits."""

    def __init__(self, line: Line) -> None:
        line.socket.setblocking(False)
        self.line = line
        self._rest = b""

    @property
    def socket(self) -> socket.socket:
        """What can be read when a word has come."""
        return self.line.socket

    def say(self, word: Word) -> bool:
        """Say a word; False when nobody hears it any more, or will not take it."""
        data = self.line.sealed(msgspec.json.encode(word) + b"\n")
        try:
            return self.socket.send(data) == len(data)
        except OSError:
            return False

    def hear(self) -> list[Word] | None:
        """Return the words that have come, without what is odd; None when the other side has hung up."""
        try:
            data = self._received()
            self._rest += self.line.opened(data or b"")
        except OSError:  # it hung up, or what it says is no TLS
            return None
        *lines, self._rest = self._rest.split(b"\n")
        # Its last words before it hung up count; that it did is told the next time.
        if (data == b"" and not lines) or len(self._rest) > words.LARGEST:
            return None
        return [word for word in map(words.decoded, lines) if word is not None]

    def _received(self) -> bytes | None:
        """Return what has come, nothing when it has hung up, and None when nothing has come yet."""
        try:
            return self.socket.recv(PIECE)
        except BlockingIOError:
            return None

    def close(self) -> None:
        """Hang up."""
        self.line.close()


def pump(line: Line, plain: socket.socket) -> None:
    """Pass on what each side says to the other, until one hangs up or takes no more; blocks.

    Neither direction waits for the other: each side may wait for the other's word.
    """
    sides = line.socket, plain
    waiting = {line.socket: memoryview(b""), plain: memoryview(line.opened())}  # that came with the hello
    with line.socket, plain, contextlib.suppress(OSError):
        for side in sides:
            side.setblocking(False)
        while True:
            full = [side for side in sides if waiting[side]]
            heard = [side for side, other in (sides, sides[::-1]) if not waiting[other]]
            readable, writable, _ = select.select(heard, full, [], STALL_S if full else None)
            if not readable and not writable:
                raise TimeoutError
            for side in writable:
                waiting[side] = _taken(side, waiting[side])
            for side in readable:
                data = side.recv(PIECE)
                said = line.opened(data) if side is line.socket else line.sealed(data)
                other = plain if side is line.socket else line.socket
                waiting[other] = _taken(other, memoryview(said))
                if not data:
                    return _give(other, waiting[other])


def _taken(sink: socket.socket, data: memoryview) -> memoryview:
    """Write what is taken at once; return the rest."""
    with contextlib.suppress(BlockingIOError):
        while data:
            data = data[sink.send(data) :]
    return data


def _give(sink: socket.socket, data: memoryview) -> None:
    """Write all of it; raises OSError when nobody takes it."""
    while data := _taken(sink, data):
        if not select.select([], [sink], [], STALL_S)[1]:
            raise TimeoutError


class Forwarder:
    """A Unix socket of the source's, each connection to which leads to its fellow at the target."""

    def __init__(self, path: Path, loop: Watching, reach: Callable[[], Line]) -> None:
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.listener.bind(str(path))
        self.listener.listen(4)
        self._loop = loop
        self._reach = reach
        loop.watch(self.listener, self._came)

    def _came(self) -> None:
        plain, _ = self.listener.accept()
        self._loop.aside(lambda: self._forward(plain), lambda _: None)

    def _forward(self, plain: socket.socket) -> None:
        try:
            line = self._reach()
        except (OSError, Error):
            plain.close()  # libvirt says that its peer hung up
            return
        pump(line, plain)

    def close(self) -> None:
        """Take in nobody any more; whoever is connected stays."""
        self._loop.unwatch(self.listener)
        self.listener.close()


class Door:
    """Where a target takes in its source: whoever passes its TLS, and nobody for longer than a handshake."""

    MOST = 8
    """Handshakes at a time: what comes beyond is hung up on."""

    def __init__(
        self,
        address: str,
        context: ssl.SSLContext,
        loop: Watching,
        came: Callable[[Purpose, Line], None],
        refused: Callable[[str], None],
    ) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, PEER_PORT), family=family, backlog=self.MOST)
        self._context = context
        self._loop = loop
        self._came = came
        self._refused = refused
        self._busy = 0
        loop.watch(self.listener, self._knocked)

    def _knocked(self) -> None:
        try:
            plain, _ = self.listener.accept()
        except OSError:  # it has gone again
            return
        if self._busy >= self.MOST:
            plain.close()
            return
        self._busy += 1
        self._loop.aside(lambda: accepted(plain, self._context), self._shook)

    def _shook(self, result: Any) -> None:
        self._busy -= 1
        if isinstance(result, Exception):
            self._refused(str(result))
        else:
            self._came(*result)

    def close(self) -> None:
        """Let nobody in any more; whoever is in stays."""
        self._loop.unwatch(self.listener)
        self.listener.close()
