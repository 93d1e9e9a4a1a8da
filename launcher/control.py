"""How the commands speak to the launcher in a Pod: one JSON line each way, over the Pod's socket."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "launcher.sock"


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
        try:
            probe.connect(str(folder / SOCKET))
        except OSError:
            return False
        return True


def ask(folder: Path, request: dict[str, Any], *, patience: float) -> dict[str, Any]:
    """Send a request and return the answer.

    Raises:
        Error: there is no launcher, it refuses, or it ended before it answered.

    """
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(patience)
        try:
            line.connect(str(folder / SOCKET))
            line.sendall(json.dumps(request).encode() + b"\n")
            said = line.makefile("rb").readline()
        except TimeoutError:
            message = f"the launcher of Pod {folder.name} did not answer in {patience:.0f} s"
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
        line.sendall(json.dumps(value).encode() + b"\n")
    except OSError:
        pass
    finally:
        line.close()
