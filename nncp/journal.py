"""What a transaction must leave behind so that it can be undone by somebody else, even after `kill -9`.

A journal belongs to one boot and one network namespace, so that namespaces which share a file system never
meet. Its lock is held by the transaction and its supervisor for as long as either lives. An apply is one
file: `pending.json` while it is going on, `trying-N.json` while it holds and waits to be kept, `undoing.json`
once somebody has begun to undo it, and `kept-N.json` when it held. To rename it is to decide: who comes
second finds nothing to rename.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nncp.applied import Applied, AppliedFile, cookie
from nncp.errors import Error, ErrorKind
from nncp.host import Row
from nncp.listed import Listed
from nncp.pace import Limit, cpu_seconds
from nncp.state_folder import StateFolder, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STATE_DIR = Path("/var/lib/nncp")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/thread-self/ns/net")
IN_ALL = 20
"""So many times its patience is a lock waited for at most, though its holder works."""
LOOK_EVERY = 1.0
VERSION, READS = 3, frozenset({2, 3})
MOST_KEPT = 20
"""So many applies that held can be undone."""
GIVE_UP = "drop it with `nncp rollback --forget`: the host stays as it is"
PENDING, UNDOING, LISTED = "pending.json", "undoing.json", "listed.json"
TRYING, KEPT, USED = "trying-{}.json", "kept-{}.json", "used-{}"
"""An apply that waits to be kept, one that held, and an empty file: this number is nobody's any more."""
NUMBERED = {
    TRYING: re.compile(r"trying-(\d{1,15})\.json"),
    KEPT: re.compile(r"kept(?:-(\d{1,15}))?\.json"),
    USED: re.compile(r"used-(\d{1,15})"),
}


class Record(msgspec.Struct, frozen=True):
    """What an apply is undone by.

    Args:
        before: the touched rows as they were.
        listed: what documents had listed.
        made: the indexes drawn for each new link, also for one that is made again.
        gone: the links that the apply deletes; any other that has gone since was deleted by somebody else.
        pinned: the bridges whose MAC address is set in the end.
        call: what the apply is known by; "" where no document asked for it.
        replaced: the documents that were in force until then and are not by it.
        number: what it is called by whoever looks back; 0 of one that an older nncp wrote.
        at: when, in seconds since 1970.
        documents: their names.
        changes: how many rows it writes.
        asked: the links, and what else, that it asks for, written or not: see `nncp.history`.
        lists: what documents have listed once it holds.

    """

    before: tuple[Row, ...]
    listed: Listed | None = None
    made: Mapping[str, tuple[int, ...]] = {}
    gone: frozenset[str] = frozenset()
    pinned: tuple[str, ...] = ()
    call: str = ""
    replaced: tuple[Applied, ...] = ()
    number: int = 0
    at: float = 0.0
    documents: tuple[str, ...] = ()
    changes: int = 0
    asked: tuple[str, ...] = ()
    lists: Listed | None = None
    version: int = VERSION

    def noting(self, drawn: Mapping[str, int]) -> Record:
        """Return this record with the indexes of further links."""
        made = {**self.made, **{name: (*self.made.get(name, ()), index) for name, index in drawn.items()}}
        return msgspec.structs.replace(self, made=made)


class _Called(msgspec.Struct, frozen=True):
    call: str = ""


def namespace_key() -> str:
    """Return what this boot and this network namespace are known by."""
    return f"{boot_id()}-{cookie()}"


def boot_id() -> str:
    """Return what this boot is known by."""
    return BOOT_ID.read_text(encoding="ascii").strip()


class Journal:
    """The journal of the present network namespace under `state_dir`."""

    def __init__(self, state_dir: Path = STATE_DIR) -> None:
        self.state_dir = Path(os.path.abspath(state_dir))  # noqa: PTH100  (resolve() would follow links)
        self.key = namespace_key()
        self.path = self.state_dir / "journals" / self.key

    @contextlib.contextmanager
    def locked(self, *, patience: float) -> Iterator[int]:
        """Hold the lock, which children inherit; yield its descriptor.

        Raises:
            Error: somebody else held it, and for `patience` seconds of a quiet machine did not work; or the
                folder cannot be written.

        """
        with self._folder() as folder:
            descriptor = folder.open("lock", os.O_RDWR | os.O_CREAT)
        try:
            _lock(descriptor, patience, self._may_wait)
            with contextlib.suppress(OSError):  # only `sweep` wants it; a full disk is told where it matters
                os.pwrite(descriptor, str(NAMESPACE.readlink()).encode(), 0)
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self) -> Record | None:
        """Return what was recorded: of the transaction that is pending, or else of the last that held.

        Raises:
            Error: it is of another version, or cannot be read.

        """
        data = self._going()
        return decoded(data, self.path) if data is not None else next(self.kept(), None)

    def kept(self) -> Iterator[Record]:
        """Yield the applies that held and were not undone since, the last one first.

        Raises:
            Error: one is of another version, or cannot be read.

        """
        for number, name in self._numbered(KEPT).items():
            if (data := self._data(name)) is not None:
                yield msgspec.structs.replace(decoded(data, self.path), number=number)

    def is_kept(self, number: int) -> bool:
        """Whether an apply held, and was not undone since."""
        return number in self._numbered(KEPT)

    @property
    def last(self) -> int:
        """The number of the last apply that held and was not undone since; 0 where there is none."""
        return next(iter(self._numbered(KEPT)), 0)

    @property
    def next(self) -> int:
        """The number of an apply that comes: one that was undone is never another's."""
        return 1 + max(self.last, *self._numbered(USED), 0)

    def is_pending(self) -> bool:
        """Whether an apply was interrupted and not undone yet (or is going on)."""
        return self._going() is not None

    def tried(self) -> Record | None:
        """Return the apply that holds and waits to be kept; raises `Error` when it cannot be read."""
        data = self._data(*self._numbered(TRYING).values())
        return None if data is None else decoded(data, self.path)

    def is_tried(self) -> bool:
        """Whether somebody tries a change; what nobody guards any more is undone by who comes next."""
        if not self._numbered(TRYING):
            return False
        with self._folder() as folder:
            descriptor = folder.open("lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def write(self, record: Record) -> bytes:
        """Record what an apply starts from; return what is on the disk by then."""
        data = msgspec.json.encode(record)
        with self._folder() as folder:
            folder.write(PENDING, data)
        return data

    def listed(self) -> Listed:
        """Return what documents applied here have listed; nothing, to who may not read it.

        Raises:
            Error: it cannot be read by anybody.

        """
        try:
            data = self._data(LISTED)
            return Listed() if data is None else msgspec.json.decode(data, type=Listed)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise Error(
                f"{LISTED} in {self.path} cannot be read: {error}",
                kind=ErrorKind.FAILED,
                hint="remove it; ports that documents have listed then count as guests' until they are again",
            ) from error
        except Error as error:
            if error.kind is ErrorKind.PRIVILEGE:
                return Listed()
            raise

    def note_listed(self, listed: Listed) -> None:
        """Keep what documents have listed, on the disk when this returns."""
        if listed != self.listed():
            with self._folder() as folder:
                folder.write(LISTED, msgspec.json.encode(listed))

    def applied(self) -> AppliedFile:
        """Return the documents that are in force in the journal's namespace."""
        return AppliedFile(self.state_dir, self.key)

    def held(self, key: str, call: str) -> bool:
        """Whether an apply of a journal held: it is the last that did."""
        folder = StateFolder.find(self.state_dir, "journals", key)
        if folder is None or not call:
            return False
        with folder:
            data = next((folder.read(name) for name in _numbers(folder, KEPT).values()), None)
        try:
            return data is not None and msgspec.json.decode(data, type=_Called).call == call
        except (msgspec.MsgspecError, RecursionError):
            return False

    def note_drawn(self, drawn: Mapping[str, int]) -> None:
        """Record the indexes of links that are about to be made, on the disk when this returns."""
        record = self.read()
        if not drawn or record is None:
            return
        with self._folder() as folder:
            folder.write(
                UNDOING if folder.has(UNDOING) else PENDING, msgspec.json.encode(record.noting(drawn))
            )

    def claim(self, *, kept: int | None = None) -> Record | None:
        """Begin to undo: what is pending, or else the apply `kept` that held. None when there is neither."""
        with self._folder() as folder:
            held = _numbers(folder, KEPT)
            names = (*_going(folder), *((held[kept],) if kept in held else ()))
            name = next(iter(names), UNDOING)
            _use_up(folder, *(number for number in (kept, *_numbers(folder, TRYING)) if number))
            with contextlib.suppress(FileNotFoundError, Error):  # what cannot be renamed can be undone
                folder.rename(name, UNDOING)
        data = self._data(UNDOING, *names)
        return None if data is None else decoded(data, self.path)

    def hold(self, number: int) -> bool:
        """Mark the transaction as one that waits to be kept; False when somebody has begun to undo it."""
        with self._folder() as folder:
            return _renamed(folder, PENDING, TRYING.format(number))

    def call_off(self, number: int) -> bool:
        """Mark a transaction that waits to be kept as one to be undone, which whoever guards it does.

        Returns whether it is; if not, somebody has kept it, or begun to undo it.
        """
        with self._folder() as folder:
            _use_up(folder, number)
            return _renamed(folder, TRYING.format(number), UNDOING)

    def keep(self, number: int, *, tried: bool = False) -> bool:
        """Mark the transaction as held: what was before it stays known, for a later rollback.

        Returns whether it is; if not, somebody has begun to undo it.
        """
        with self._folder() as folder:
            old = TRYING.format(number) if tried else PENDING
            done = _renamed(folder, old, KEPT.format(number))
            with contextlib.suppress(Error):  # they are too many, and nothing worse
                for name in list(_numbers(folder, KEPT).values())[MOST_KEPT:]:
                    folder.remove(name)
        return done

    def done(self, record: Record) -> None:
        """Remove what was claimed: it is undone."""
        with self._folder() as folder:
            held = _numbers(folder, KEPT).get(record.number, UNDOING)
            folder.remove(next(iter(_going(folder)), held))

    def forget(self) -> None:
        """Remove what is pending, or else all that held: nothing leads back then."""
        with self._folder() as folder:
            pending = _going(folder)
            held = {} if pending else _numbers(folder, KEPT)
            _use_up(folder, *held, *_numbers(folder, TRYING))
            for name in (*pending, *held.values()):
                folder.remove(name)

    def _numbered(self, kind: str) -> dict[int, str]:
        folder = StateFolder.find(self.state_dir, "journals", self.key)
        if folder is None:
            return {}
        with folder:
            return _numbers(folder, kind)

    def _may_wait(self) -> None:
        """Refuse to wait for somebody who tries a change: that takes as long as he likes."""
        if self._numbered(TRYING):
            raise Error(
                "a change is being tried in this network namespace, and nobody has kept it yet",
                kind=ErrorKind.FAILED,
                hint="`nncp commit` keeps it, `nncp rollback` undoes it",
            )

    def _folder(self) -> StateFolder:
        return StateFolder.make(self.state_dir, "journals", self.key)

    def _going(self) -> bytes | None:
        """Return what was recorded of a transaction that is pending."""
        folder = StateFolder.find(self.state_dir, "journals", self.key)
        if folder is None:
            return None
        with folder:
            return next((data for name in _going(folder) if (data := folder.read(name)) is not None), None)

    def _data(self, *names: str) -> bytes | None:
        """Return what the first file of `names` that is there holds."""
        folder = StateFolder.find(self.state_dir, "journals", self.key)
        if folder is None:
            return None
        with folder:
            return next((data for name in names if (data := folder.read(name)) is not None), None)


def decoded(data: bytes, folder: Path) -> Record:
    """Return what was recorded; raises `Error` when it is of another version, or cannot be read."""
    try:
        version = version_of(data)
        if version not in READS:
            raise Error(
                f"the journal in {folder} is of version {version}, and this nncp reads version {VERSION}",
                kind=ErrorKind.ROLLBACK_FAILED,
                hint=f"undo it with the nncp that wrote it, or {GIVE_UP}",
            )
        record = msgspec.json.decode(data, type=Record)
        if any(len(row.key) < 2 for row in record.before):
            raise msgspec.ValidationError("a row has no name")
        return msgspec.structs.replace(record, before=tuple(_restored(row) for row in record.before))
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Error(
            f"the journal in {folder} cannot be read: {error}",
            kind=ErrorKind.ROLLBACK_FAILED,
            hint=f"put it back as it was, or {GIVE_UP}",
        ) from error


def _renamed(folder: StateFolder, old: str, new: str) -> bool:
    """Rename a file; False when there is none. Once renamed it is, though perhaps not on the disk yet."""
    try:
        folder.rename(old, new)
    except FileNotFoundError:
        return False
    except Error:
        if folder.has(old):
            raise
        # Should the host lose power now, it is as if it had not been renamed.
    return True


def _numbers(folder: StateFolder, kind: str) -> dict[int, str]:
    """Return the files of applies that held, or were undone, by their numbers, the last one first."""
    found = [(match, name) for name in folder.names() if (match := NUMBERED[kind].fullmatch(name))]
    return dict(sorted(((int(match[1] or 0), name) for match, name in found), reverse=True))


def _going(folder: StateFolder) -> list[str]:
    """Return the files of a transaction that is pending: one, but for who comes between two steps."""
    names = (UNDOING, *_numbers(folder, TRYING).values(), PENDING)
    return [name for name in names if folder.has(name)]


def _use_up(folder: StateFolder, *numbers: int) -> None:
    """See that no other apply gets these numbers; on a full disk one may, once what had it is gone."""
    former, number = _numbers(folder, USED), max(numbers, default=0)
    with contextlib.suppress(Error):
        if number > max(former, default=0):
            os.close(folder.open(USED.format(number), os.O_WRONLY | os.O_CREAT))
            for name in former.values():
                folder.remove(name)


def _lock(descriptor: int, patience: float, may_wait: Callable[[], None]) -> None:
    limit, look = Limit(patience, in_all=IN_ALL * patience), Limit(LOOK_EVERY, most=1)
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            may_wait()
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
    return msgspec.structs.replace(row, attrs=attrs)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
