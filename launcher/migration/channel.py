"""TLS between the launchers of a migration: lines of words, and libvirt's own protocol, passed on.

libvirt listens nowhere. The source's daemon speaks to a Unix socket of its launcher, which passes all of it
through to the target's launcher, and that to its daemon's own Unix socket. QEMU's stream, which is all of the
guest's memory, goes past both: by its own TLS, with the same certificates.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
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
    from typing import Literal

    from launcher.loop import Watching
    from launcher.migration.words import Word

TRY_S = 5.0
"""Seconds for a handshake, and for a hello and its answer. Whoever gets no further is asked again."""
STALL_S = 120.0
"""Seconds for one side of libvirt's protocol to take what the other says; libvirt gives up after 30."""
PIECE = 1 << 16


def connect(to: str, context: ssl.SSLContext, purpose: Literal["words", "libvirt"]) -> ssl.SSLSocket:
    """Return a connection to the target's launcher; blocks.

    Raises:
        OSError: nobody is there, or not the one that is meant.
        Error: it refuses, by name.

    """
    plain = socket.create_connection((to, PEER_PORT), TRY_S)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = context.wrap_socket(plain, server_hostname=TARGET)
    except BaseException:
        plain.close()
        raise
    try:
        _greet(line, purpose, f"the launcher at {to}")
    except BaseException:
        line.close()
        raise
    return line


def _greet(line: ssl.SSLSocket, purpose: Literal["words", "libvirt"], who: str) -> None:
    line.sendall(msgspec.json.encode(Hello(words.VERSION, purpose)) + b"\n")
    welcome = versioned.decode(_line(line), Welcome, version=words.VERSION, what=who)
    if welcome.refusal:
        raise Error(f"{who} refuses: {welcome.refusal}", kind=ErrorKind.FAILED)


def reach(to: str, context: ssl.SSLContext, secret: bytes) -> Words:
    """Knock, and return a connection for words if the target has opened; blocks, raises as `connect`."""
    knock.knock(to, secret)
    return Words(connect(to, context, "words"))


def accepted(plain: socket.socket, context: ssl.SSLContext) -> tuple[str, ssl.SSLSocket]:
    """Return what a connection is for, and it; blocks.

    Raises:
        OSError: it is not the source that is meant, or it says nothing.
        Error: it is of another version, and was told so.

    """
    plain.settimeout(TRY_S)
    line = context.wrap_socket(plain, server_side=True)
    try:
        purpose = _welcomed(line)
    except BaseException:
        line.close()
        raise
    return purpose, line


def _welcomed(line: ssl.SSLSocket) -> str:
    """Return what the source wants; one that is not understood is told why."""
    refusal = ""
    try:
        hello: Hello = versioned.decode(
            _line(line), Hello, version=words.VERSION, what="the source's launcher"
        )
    except Error as error:
        refusal = error.message
        raise
    finally:
        line.sendall(msgspec.json.encode(Welcome(words.VERSION, refusal)) + b"\n")
    return hello.purpose


def _line(line: ssl.SSLSocket) -> bytes:
    """Return what is said up to the end of a line, and not a byte more."""
    said = b""
    while not said.endswith(b"\n") and len(said) < words.LARGEST:
        piece = line.recv(1)
        if not piece:
            raise ConnectionResetError("it hung up")
        said += piece
    return said


class Words:
    """A connection over which words pass, in the launcher's loop: it never waits."""

    def __init__(self, line: ssl.SSLSocket) -> None:
        line.setblocking(False)
        self.line = line
        self._rest = b""

    def say(self, word: Word) -> bool:
        """Say a word; False when nobody hears it any more, or will not take it."""
        data = msgspec.json.encode(word) + b"\n"
        try:
            return self.line.send(data) == len(data)
        except OSError:  # ssl's own are OSErrors
            return False

    def hear(self) -> list[Word] | None:
        """Return the words that have come, without what is odd; None when the other side has hung up."""
        while True:
            try:
                data = self.line.recv(PIECE)
            except ssl.SSLWantReadError:
                break
            except OSError:
                return None
            self._rest += data
            if not data or len(self._rest) > words.LARGEST:
                return None
        *lines, self._rest = self._rest.split(b"\n")
        return [word for word in map(words.decoded, lines) if word is not None]

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self.line.close()


def pump(line: ssl.SSLSocket, plain: socket.socket) -> None:
    """Pass on what each side says to the other, until one hangs up or takes no more; blocks."""
    with line, plain:
        line.setblocking(False)
        plain.setblocking(False)
        with contextlib.suppress(OSError):
            while True:
                if not line.pending():
                    select.select([line, plain], [], [])
                if not _passed(line, plain) or not _passed(plain, line):
                    return


def _passed(source: socket.socket, sink: socket.socket) -> bool:
    """Pass on what there is; False when there will be no more."""
    try:
        data = source.recv(PIECE)
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sink.send(rest) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            if not select.select([], [sink], [], STALL_S)[1]:
                raise TimeoutError from None
    return bool(data)


class Forwarder:
    """A Unix socket for this side's libvirt daemon, each connection to which leads to the target's."""

    def __init__(self, path: Path, loop: Watching, reach: Callable[[], ssl.SSLSocket]) -> None:
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
        came: Callable[[str, ssl.SSLSocket], None],
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
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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
