"""How the commands speak to the launcher in a Pod: one JSON line each way, over the Pod's socket.

Before the answer the launcher says every other second that it is at it. So whoever asked waits for a long
migration and for a slow machine, and not for a launcher that hangs.
"""

from __future__ import annotations

import json
import socket
import time
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta, Struct

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "launcher.sock"
WORKING = b'{"working": true}\n'
WORKING_EVERY = 2.0
PATIENCE = 10.0
"""Seconds of a quiet machine since the launcher's last word."""
CONNECT_EVERY = 0.05
LONGEST = 1 << 16
REPLY_S = 1.0
"""An answer fits into the socket's buffer; whoever has filled it and does not read is not waited for."""


def listen(folder: Path) -> socket.socket:
    """Return the Pod's socket, taking it over from a launcher that has died.

    Raises:
        Error: a launcher lives there.

    """
    path = folder / SOCKET
    if is_alive(folder):
        raise Error(
            f"Pod {folder.name} has a launcher already",
            kind=ErrorKind.USAGE,
            hint=f"launcher stop --pod {folder.name}",
        )
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.bind(str(path))
    listener.listen(8)
    return listener


def is_alive(folder: Path) -> bool:
    """Whether a launcher listens in this Pod."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(folder / SOCKET))
        except BlockingIOError:  # it does not come round to those who wait already (unix(7), EAGAIN)
            return True
        except OSError:
            return False
        return True


Seconds = Annotated[float, Meta(ge=0, le=1e9)]
"""What somebody has time for; no clock has to add up what is beyond a lifetime."""


class Leave(Struct, frozen=True, tag_field="do", tag="migrate"):
    """What `migrate` asks for."""

    to: str
    max_downtime: int
    timeout: Seconds | None = None

    def __post_init__(self) -> None:
        """Refuse what is no address: the target is known by the one that its words come from."""
        ip_address(self.to)


class Stop(Struct, frozen=True, tag_field="do", tag="stop"):
    """What `stop` asks for."""

    grace: Seconds = 0.0


class Status(Struct, frozen=True, tag_field="do", tag="status"):
    """What `status` asks for."""


def wanted(asked: dict[str, Any]) -> Leave | Stop | Status:
    """Return what a request asks for.

    Raises:
        Error: it makes no sense.

    """
    try:
        return msgspec.convert(asked, Leave | Stop | Status)
    except msgspec.ValidationError as error:
        raise Error(f"the launcher does not take this request: {error}", kind=ErrorKind.USAGE) from None


class Request:
    """What somebody asks over a connection: read as it comes, since nobody may make the launcher wait."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self.line = line
        self._said = b""

    def read(self) -> dict[str, Any] | None:
        """Return the request once it is whole; an empty one when nothing sensible will come."""
        try:
            data = self.line.recv(LONGEST)
        except BlockingIOError:
            return None
        except OSError:
            return {}
        self._said += data
        if data and b"\n" not in self._said and len(self._said) < LONGEST:
            return None
        try:
            request = msgspec.json.decode(self._said.partition(b"\n")[0] or b"{}")
        except (ValueError, RecursionError):
            return {}
        return request if isinstance(request, dict) else {}


def say_working(line: socket.socket) -> bool:
    """Say that an answer is being worked at; False when that is known already, or nobody listens."""
    try:
        return bool(line.send(WORKING))
    except BlockingIOError:
        return True
    except OSError:
        return False


def ask(folder: Path, request: dict[str, Any], *, patience: float = PATIENCE) -> dict[str, Any]:
    """Send a request and return the answer.

    Raises:
        Error: there is no launcher, it refuses, hangs, or it ended before it answered.

    """
    with socket.socket(socket.AF_UNIX) as line:
        limit = Limit(patience)
        try:
            _connect(line, str(folder / SOCKET), limit)
            _send(line, json.dumps(request).encode() + b"\n", limit)
            said = _heard(line, limit)
        except TimeoutError:
            message = f"the launcher of Pod {folder.name} did not answer {limit.story}"
            raise Error(message, kind=ErrorKind.FAILED) from None
        except OSError:
            raise absent(folder) from None
    if not said:
        message = f"the launcher of Pod {folder.name} ended before it answered"
        raise Error(message, kind=ErrorKind.FAILED, hint=f"see {folder / 'launcher.err'}")
    answer: dict[str, Any] = json.loads(said)
    if "error" in answer:
        raise unpacked(answer["error"])
    return answer


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
        limit.progress()
        said += data
        while said.startswith(WORKING):
            said = said.removeprefix(WORKING)
    return said


def absent(folder: Path) -> Error:
    """Return the error that says that a Pod has no launcher."""
    return Error(
        f"Pod {folder.name} has no launcher",
        kind=ErrorKind.FAILED,
        hint=f"launcher start --pod {folder.name} VM.yaml",
    )


def packed(error: Error) -> dict[str, Any]:
    """Return an error as JSON carries it; what happens in a Pod has no place in a user's file."""
    return {"message": error.message, "kind": error.kind.name, "hint": error.hint, "subject": error.subject}


def unpacked(value: dict[str, Any]) -> Error:
    """Return the error that `packed` packed."""
    return Error(
        value["message"], kind=ErrorKind[value["kind"]], hint=value["hint"], subject=value["subject"]
    )


def reply(line: socket.socket, answer: dict[str, Any] | Error) -> None:
    """Answer a request and hang up; whoever asked may have gone."""
    value = {"error": packed(answer)} if isinstance(answer, Error) else answer
    try:
        line.settimeout(REPLY_S)
        line.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass
    finally:
        line.close()
