"""What a transaction must leave behind so that it can be undone by somebody else, even after `kill -9`.

A journal belongs to one boot and one network namespace, so that namespaces which share a file system never
meet. Its lock is held by the transaction and its supervisor for as long as either lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nncp.errors import Error, ErrorKind
from nncp.host import Row
from nncp.listed import Listed
from nncp.pace import Limit, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STATE_DIR = Path("/var/lib/nncp")
SO_NETNS_COOKIE = 71  # since Linux 5.14 (net/core/sock.c)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
IN_ALL = 20
"""So many times its patience is a lock waited for at most, though its holder works."""
LOOK_EVERY = 1.0


class Record(msgspec.Struct, frozen=True):
    """The touched rows as they were, and what documents had listed."""

    before: tuple[Row, ...]
    listed: Listed | None = None


def namespace_key() -> str:
    """Return what this boot and this network namespace are known by."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        cookie = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")
    return f"{BOOT_ID.read_text().strip()}-{cookie}"


class Journal:
    """The journal of the present network namespace under `state_dir`."""

    def __init__(self, state_dir: Path = STATE_DIR) -> None:
        self.folder = state_dir / "journals" / namespace_key()
        self.pending = self.folder / "pending.json"
        self.kept = self.folder / "kept.json"
        self.list = self.folder / "listed.json"

    @contextlib.contextmanager
    def locked(self, *, patience: float) -> Iterator[int]:
        """Hold the lock, which children inherit; yield its descriptor.

        Raises:
            Error: somebody else held it, and for `patience` seconds of a quiet machine did not work; or the
                folder cannot be written.

        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Error(
                f"{self.folder} cannot be written: {error.strerror}",
                kind=ErrorKind.PRIVILEGE,
                hint="run it as root, or name a folder of yours with --state-dir",
            ) from error
        try:
            _lock(descriptor, patience)
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self) -> Record | None:
        """Return what was recorded: of the transaction that is pending, or else of the last that held."""
        for path in (self.pending, self.kept):
            try:
                record = msgspec.json.decode(path.read_bytes(), type=Record)
            except FileNotFoundError:
                continue
            return Record(tuple(_restored(row) for row in record.before), record.listed)
        return None

    def is_pending(self) -> bool:
        """Whether an apply was interrupted and not undone yet (or is going on)."""
        return self.pending.exists()

    def write(self, before: Iterable[Row]) -> None:
        """Record `before` and have it on the disk when this returns."""
        self._put(self.pending, Record(tuple(before), self.listed()))

    def listed(self) -> Listed:
        """Return what documents applied here have listed; nothing that may be read is nothing."""
        try:
            return msgspec.json.decode(self.list.read_bytes(), type=Listed)
        except (FileNotFoundError, PermissionError):
            return Listed()

    def note(self, listed: Listed) -> None:
        """Keep what documents have listed, on the disk when this returns."""
        if listed != self.listed():
            self._put(self.list, listed)

    def _put(self, path: Path, content: Record | Listed) -> None:
        draft = path.with_suffix(".new")
        descriptor = os.open(
            draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(content))
            file.flush()
            os.fsync(file.fileno())
        self._rename(draft, path)

    def keep(self) -> None:
        """Mark the transaction as held: what was before it stays known, for a later rollback."""
        self._rename(self.pending, self.kept)

    def forget(self) -> None:
        """Remove what `read` returned."""
        (self.pending if self.is_pending() else self.kept).unlink(missing_ok=True)

    def _rename(self, old: Path, new: Path) -> None:
        old.replace(new)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _lock(descriptor: int, patience: float) -> None:
    limit, look = Limit(patience, in_all=IN_ALL * patience), Limit(LOOK_EVERY, most=1)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if look.is_over():
                look.progress()
                limit.sees(cpu_seconds(*_holders(descriptor)))
            if limit.is_over():
                raise Error(
                    f"another nncp changes this network namespace and was not done {limit.story}",
                    kind=ErrorKind.FAILED,
                    hint="wait until it is done; if it hangs, end it and run `nncp rollback`",
                ) from None
            time.sleep(0.02)
        else:
            return


def _holders(descriptor: int) -> Iterator[int]:
    """Yield the processes that hold a lock, by their descriptors: children inherit it (proc(5), fdinfo)."""
    wanted = os.fstat(descriptor)
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and _holds(process, wanted):
            yield int(process.name)


def _holds(process: Path, wanted: os.stat_result) -> bool:
    """Whether a process holds a lock on a file. It may end at any step, and its descriptors may be closed."""
    files: list[Path] = []
    with contextlib.suppress(OSError):
        files.extend((process / "fd").iterdir())
    for file in files:
        with contextlib.suppress(OSError):
            told = process / "fdinfo" / file.name
            if os.path.samestat(file.stat(), wanted) and "FLOCK" in told.read_text(encoding="ascii"):
                return True
    return False


def _restored(row: Row) -> Row:
    attrs = {name: _tuples(value) for name, value in row.attrs.items()}
    return Row(row.key, attrs, row.needs, row.absent, row.was)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
