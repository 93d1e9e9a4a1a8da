"""How the commands speak to the launcher in a Pod: one JSON line each way, over the Pod's socket.

Each says its version, since a Pod may be older than the command that asks it, or younger. Before the answer
the launcher says every other second that it is at it. So whoever asked waits for a long migration and for a
slow machine, and not for a launcher that hangs.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Struct

from launcher.migration.credentials import Half
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit
from nncp.render import printable
from vmnet import init, versioned
from vmnet.record import SOCKET, reach
from vmnet.valid import is_address

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
WORKING = b'{"working": true}\n'
WORKING_EVERY = 2.0
PATIENCE = 10.0
"""Seconds of a quiet machine since the launcher's last word."""
CONNECT_EVERY = 0.05
LONGEST = 1 << 16


def listen(folder: Path) -> socket.socket:
    """Return the Pod's socket, taking it over from a launcher that has died.

    Raises:
        Error: a launcher lives there, or what it leaves does not end.

    """
    hint = f"launcher stop --pod {folder.name}"
    if is_alive(folder):
        raise Error(f"Pod {folder.name} has a launcher already", kind=ErrorKind.USAGE, hint=hint)
    if not init.has_ended(folder):
        message = f"Pod {folder.name} has processes of a launcher that hears nobody any more"
        raise Error(message, kind=ErrorKind.FAILED, hint=hint)
    (folder / SOCKET).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with _short(folder) as path:
        listener.bind(path)
    listener.listen(8)
    return listener


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """Yield a short path to the socket: the whole one may be too long for it (unix(7), sun_path)."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET}"
    finally:
        os.close(descriptor)


def is_alive(folder: Path) -> bool:
    """Whether a launcher listens in this Pod."""
    try:
        with _short(folder) as path:
            reach(path)
    except PermissionError:
        raise _shut(folder) from None
    except OSError:
        return False
    return True


Seconds = Annotated[float, Meta(ge=0, le=1e9)]
"""What somebody has time for; no clock has to add up what is beyond a lifetime."""


class Leave(Struct, frozen=True, tag_field="do", tag="migrate"):
    """What `migrate` asks for; `credentials` say where the guest is to go, and open the door there."""

    credentials: Half
    max_downtime: int
    timeout: Seconds | None = None
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse what is no address: it becomes a rule's text."""
        if not is_address(self.credentials.to):
            raise ValueError(f"{self.credentials.to!r} is not an IP address")


class Stop(Struct, frozen=True, tag_field="do", tag="stop"):
    """What `stop` asks for."""

    grace: Seconds = 0.0
    version: int = VERSION


class Status(Struct, frozen=True, tag_field="do", tag="status"):
    """What `status` asks for."""

    version: int = VERSION


Asked: TypeAlias = Leave | Stop | Status


class Told(Struct, frozen=True):
    """An error as JSON carries it; what happens in a Pod has no place in a user's file."""

    message: str
    kind: str
    hint: str = ""
    subject: str = ""

    @classmethod
    def of(cls, error: Error) -> Told:
        """Return what is told of an error."""
        return cls(error.message, error.kind.name, error.hint, error.subject)

    def error(self) -> Error:
        """Return the error that it was."""
        kind = ErrorKind[self.kind] if self.kind in ErrorKind.__members__ else ErrorKind.FAILED
        # In one line each: a guest may have taken over who says it.
        message, hint, subject = map(printable, (self.message, self.hint, self.subject))
        return Error(message, kind=kind, hint=hint, subject=subject)


class Answer(Struct, frozen=True):
    """What the launcher says in the end: a value, or an error."""

    version: int
    value: dict[str, Any] = {}
    error: Told | None = None


def wanted(asked: bytes) -> Asked:
    """Return what a request asks for; raises `Error` when it makes no sense, or is of another version."""
    request: Asked = versioned.decode(asked, Asked, version=VERSION, what="the command")
    return request


class Request:
    """What somebody asks over a connection: read as it comes, since nobody may make the launcher wait."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.line = line
        self._said = b""

    def read(self) -> bytes | None:
        """Return the request once it is whole; what there is of it when no more will come."""
        try:
            data = self.line.recv(LONGEST)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        self._said += data
        if data and b"\n" not in self._said and len(self._said) < LONGEST:
            return None
        return self._said.partition(b"\n")[0]


def say_working(line: socket.socket) -> bool:
    """Say that an answer is being worked at; False when that is known already, or nobody listens."""
    try:
        return bool(line.send(WORKING))
    except BlockingIOError:
        return True
    except OSError:
        return False


def ask(
    folder: Path,
    request: Asked,
    *,
    patience: float = PATIENCE,
    in_all: float = float("inf"),
) -> dict[str, Any]:
    """Send a request and return the answer, for which is waited `patience` since its last word, and `in_all`.

    Raises:
        Error: there is no launcher, it refuses, hangs, or it ended before it answered.

    """
    with socket.socket(socket.AF_UNIX) as line:
        limit = Limit(patience, in_all=in_all)
        try:
            with _short(folder) as path:
                _connect(line, path, limit)
            _send(line, msgspec.json.encode(request) + b"\n", limit)
            said = _heard(line, limit)
        except TimeoutError:
            message = f"the launcher of Pod {folder.name} did not answer {limit.story}"
            hint = f"launcher stop --pod {folder.name} ends it all the same"
            raise Error(message, kind=ErrorKind.FAILED, hint=hint) from None
        except PermissionError:
            raise _shut(folder) from None
        except OSError:
            raise absent(folder) from None
    if not said:
        message = f"the launcher of Pod {folder.name} ended before it answered"
        raise Error(message, kind=ErrorKind.FAILED, hint=f"see {folder / 'launcher.err'}")
    return told(said, f"the launcher of Pod {folder.name}")


def stop(folder: Path, grace: float) -> dict[str, Any]:
    """End a Pod's guest, and return when nothing of the Pod runs any more, whatever its launcher says.

    Raises:
        Error: it does not end, or it is only just being started.

    """

    def killed() -> dict[str, Any]:
        return {"pod": folder.name, "stopped": init.kill(folder)}

    try:
        said = ask(folder, Stop(grace), in_all=grace + PATIENCE) if is_alive(folder) else killed()
    except Error:
        if not os.access(folder, os.W_OK):
            raise  # it is root's
        said = killed()  # what is there does not answer, says something odd, or is of another version
    if not init.has_ended(folder, patience=PATIENCE):
        said = killed()  # it says that it ends
    if not init.is_there(folder) and not is_alive(folder):
        return said
    hint = "end the command that starts it" if not init.is_there(folder) else "see what holds it: dmesg"
    raise Error(f"Pod {folder.name} does not end", kind=ErrorKind.FAILED, hint=hint)


def told(said: bytes, who: str) -> dict[str, Any]:
    """Return the value of an answer, or raise the error that it is."""
    answer: Answer = versioned.decode(said, Answer, version=VERSION, what=who)
    if answer.error is not None:
        raise answer.error.error()
    return answer.value


def _connect(line: socket.socket, path: str, limit: Limit) -> None:
    """Connect; TimeoutError when others wait already and the launcher does not come round to them."""
    line.setblocking(False)
    while True:
        try:
            return line.connect(path)
        except BlockingIOError:
            if limit.is_over():
                raise TimeoutError from None
            time.sleep(CONNECT_EVERY)


def _send(line: socket.socket, data: bytes, limit: Limit) -> None:
    """Send all of it; TimeoutError when the other side does not take it."""
    while data:
        line.settimeout(max(limit.left, 0.01))
        try:
            data = data[line.send(data) :]
        except TimeoutError:
            if limit.is_over():
                raise


def _heard(line: socket.socket, limit: Limit) -> bytes:
    """Return the answer, empty when the other side hung up; TimeoutError when it is silent for too long."""
    said = b""
    while b"\n" not in said:
        line.settimeout(max(limit.left, 0.01))
        try:
            data = line.recv(LONGEST)
        except TimeoutError:
            if limit.is_over():
                raise
            continue
        if not data:
            return b""
        said += data
        if len(said) > LONGEST:
            return said  # and no more: it is odd
        while said.startswith(WORKING):
            said = said.removeprefix(WORKING)
            limit.progress()
    return said


def absent(folder: Path) -> Error:
    """Return the error that says that a Pod has no launcher, or that there is no Pod."""
    name = folder.name
    if not folder.exists():
        return Error(f"there is no Pod {name}", kind=ErrorKind.FAILED, hint=f"vmnet attach {name} makes one")
    hint = f"launcher start gives it one; when its guest has ended or moved: vmnet detach {name}"
    return Error(f"Pod {name} has no launcher", kind=ErrorKind.FAILED, hint=hint)


def _shut(folder: Path) -> Error:
    return Error(f"Pod {folder.name} is root's", kind=ErrorKind.PRIVILEGE, hint="run it as root")


def packed(answer: dict[str, Any] | Error) -> bytes:
    """Return an answer as a line."""
    said = Answer(VERSION, error=Told.of(answer)) if isinstance(answer, Error) else Answer(VERSION, answer)
    return msgspec.json.encode(said) + b"\n"


def reply(line: socket.socket, answer: dict[str, Any] | Error) -> None:
    """Answer a request and hang up. Nobody is waited for: an answer fits into the socket's buffer."""
    with line:
        line.setblocking(False)
        with contextlib.suppress(OSError):  # whoever asked has gone, or has filled it and does not read
            line.send(packed(answer))
