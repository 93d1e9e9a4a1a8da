"""A running lab kernel, and commands in it.

`start` boots one; `attach` finds one that another process started; `run` runs a command in it as if it
ran here: its streams, its exit status, its signals, and it ends when its caller does.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from nncp.errors import Error, ErrorKind
from nncp.lab.agent import CHUNK, Frame, Kind
from nncp.lab.call import Call, Sink, Stream, descriptor, signals_forwarded, sink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Completed(NamedTuple):
    """What a finished command left: its exit status (128 + n for signal n) and what it wrote."""

    status: int
    stdout: str
    stderr: str


class Session:
    """A lab kernel that runs. Leaving it as a context manager stops it."""

    def __init__(self, folder: Path, *, owner: int | None = None) -> None:
        self.folder = folder
        self._owner = owner  # our end of the keeper's pipe: it closes with this process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
        stdin: Stream | None = None,
        stdout: Stream | Sink | None = None,
        stderr: Stream | Sink | None = None,
        forward: bool = False,
        terminal: bool = False,
    ) -> int:
        """Run a command and return its exit status; 128 + n when signal n ended it.

        Args:
            argv: the command.
            timeout: seconds after which it is killed and an error raised.
            env: its environment; this process's when None.
            cwd: where it starts; this process's folder when None.
            stdin: a descriptor or file; nothing to read when None.
            stdout: a descriptor, file or function of bytes; this process's standard output when None.
            stderr: likewise.
            forward: pass this process's signals on to the command (in the main thread only).
            terminal: give it a terminal of its own, and put ours, `stdin`, in raw mode meanwhile.

        """
        with _connection(self.folder) as connection:
            call = Call(
                connection,
                stdin=None if stdin is None else descriptor(stdin, 0),
                sinks={Kind.OUTPUT: sink(stdout, 1), Kind.ERRORS: sink(stderr, 2)},
                terminal=terminal,
            )
            with signals_forwarded(connection, terminal=terminal) if forward else contextlib.nullcontext():
                return call.run(argv, env=env, cwd=cwd, timeout=timeout)

    def output(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | Path | None = None,
    ) -> Completed:
        """Run a command and return what it wrote."""
        wrote: dict[Kind, bytearray] = {Kind.OUTPUT: bytearray(), Kind.ERRORS: bytearray()}
        with _connection(self.folder) as connection:
            call = Call(connection, stdin=None, sinks={kind: data.extend for kind, data in wrote.items()})
            status = call.run(argv, env=env, cwd=cwd, timeout=timeout)
        return Completed(status, *(bytes(data).decode(errors="replace") for data in wrote.values()))

    def alive(self) -> bool:
        """Whether the kernel still runs."""
        try:
            _connection(self.folder).close()
        except Error:
            return False
        return True

    def stop(self) -> None:
        """Power off, and return when nothing is left. Of a session that has ended already: nothing."""
        with contextlib.suppress(Error, OSError), _connection(self.folder) as connection:
            connection.sendall(Frame(Kind.STOP, 0).packed())
            while connection.recv(CHUNK):
                pass
        owner, self._owner = self._owner, None  # another thread may stop it too
        if owner is not None:
            os.close(owner)
        shutil.rmtree(self.folder, ignore_errors=True)  # of a keeper that was killed with its sweeper


def start(
    *,
    folder: Path | None = None,
    memory: str = "3G",
    name: str = "lab",
    writable: Sequence[Path] = (),
    lifetime: float | None = None,
    detached: bool = False,
    kernel: Path | None = None,
) -> Session:
    """Boot a lab kernel and return when it takes commands (half a second).

    It sees this host's files through a copy-on-write view: what it writes is gone with it.

    Args:
        folder: where the session lives (its socket, `console.log`); made, and removed at the end. A later
            process attaches by it. A temporary one when None.
        memory: how much, as the kernel's `mem=` has it. Only what is used is taken.
        name: its host name.
        writable: folders of the host that are written through.
        lifetime: seconds after which it is ended whatever happens.
        detached: it lives until `stop` or its lifetime ends; otherwise it ends with this process.
        kernel: the kernel's executable; the built one (built now, if need be) when None.

    """
    if kernel is None:
        from nncp.lab.build import kernel as built  # noqa: PLC0415  only when something is started

        kernel = built()
    folder = _new_folder(folder, name=name)
    mine, owner, said, status = *os.pipe(), *os.pipe()
    order = {
        "kernel": str(kernel),
        "folder": str(folder),
        "memory": memory,
        "name": name,
        "writable": [str(path.absolute()) for path in writable],
        "lifetime": lifetime,
        "owner": None if detached else mine,
        "status": status,
    }
    session = Session(folder, owner=owner)
    try:
        keeper = _keeper(order, folder=folder, keep=[status] if detached else [mine, status])
        os.close(status)
        answer = _answer(said, keeper, folder)
    except BaseException:
        session.stop()
        raise
    finally:
        os.close(mine)
    if answer != "ready":
        session.stop()
        raise Error(f"the lab kernel did not start: {answer}", kind=ErrorKind.UNSUPPORTED)
    keeper.returncode = 0  # nobody waits for it: it is its own master now
    return session


def _keeper(order: Mapping[str, object], *, folder: Path, keep: list[int]) -> subprocess.Popen[bytes]:
    with (folder / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "nncp.lab.keeper", json.dumps(order)],
            env={**os.environ, "PYTHONPATH": _import_path()},
            pass_fds=keep,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def attach(folder: Path) -> Session:
    """Return the session that lives in `folder`.

    Raises:
        Error: there is none.

    """
    _connection(folder).close()
    return Session(folder)


def _new_folder(folder: Path | None, *, name: str) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix=f"bridgehead-{name}-", dir=_temporary()))
    folder = folder.absolute()
    try:
        _connection(folder).close()
    except Error:  # none, or what one left that was killed with its keeper and its sweeper
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)
        return folder
    raise Error(f"a lab kernel already runs in {folder}", kind=ErrorKind.FAILED, hint="stop it first")


def _temporary() -> str:
    """Return where temporary folders go; Python tries that by a file, which stays there if we are killed."""
    places = filter(None, (os.environ.get("TMPDIR"), "/tmp", "/var/tmp"))  # noqa: S108  (mkdtemp's own)
    return next((place for place in places if os.access(place, os.W_OK | os.X_OK)), "/tmp")  # noqa: S108


def _import_path() -> str:
    """Return where the keeper finds this package: where it was found here."""
    # Nothing from a folder that depends on where the command was started.
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join(
        [str(Path(__file__).parents[2]), *(path for path in given if Path(path).is_absolute())]
    )


def _answer(said: int, keeper: subprocess.Popen[bytes], folder: Path) -> str:
    """Return what the keeper says; when it dies without a word, what it or the kernel said last."""
    log, console = folder / "keeper.log", folder / "console.log"
    with open(said, "rb") as pipe:
        answer = pipe.read().decode()
    if answer:
        return answer
    keeper.wait()
    lines = [
        line
        for path in (log, console)
        if path.exists()
        for line in path.read_text(errors="replace").splitlines()
    ]
    shutil.rmtree(folder, ignore_errors=True)
    return lines[-1] if lines else f"its keeper ended with status {keeper.returncode}"


def _connection(folder: Path) -> socket.socket:
    """Connect to the keeper of the session in `folder`; by descriptor, since sun_path holds 107 bytes."""
    try:
        fd = os.open(folder, os.O_PATH)
    except OSError:
        raise Error(f"no lab kernel runs in {folder}", kind=ErrorKind.FAILED) from None
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(f"/proc/self/fd/{fd}/socket")
    except OSError:
        connection.close()
        raise Error(f"no lab kernel runs in {folder}", kind=ErrorKind.FAILED) from None
    finally:
        os.close(fd)
    return connection
