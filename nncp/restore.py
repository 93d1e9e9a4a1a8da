"""Bringing back what was applied, after a start: by hand, or as a unit that systemd runs early."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp import engine
from nncp.desired import Desired, chosen, plain
from nncp.errors import Error, ErrorKind, raise_all
from nncp.host import Op
from nncp.journal import STATE_DIR
from nncp.netlink.channel import Events
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.applied import Applied
    from nncp.host import Host, Row

PATIENCE = 30.0
"""Seconds of a quiet machine since the last link came for those to come that documents name."""
IN_ALL = 120.0
LOOK_EVERY = 1.0
UNIT_DIR = Path("/etc/systemd/system")
UNIT, WANTED_BY = "nncp-restore.service", "multi-user.target.wants"


class Restored(Struct, frozen=True):
    """What one call's documents took to be in force again."""

    names: tuple[str, ...]
    ops: Sequence[Op]


def restore(*, state_dir: Path = STATE_DIR, force: bool = False) -> list[Restored]:
    """Apply again what was applied, in its order; captures mean what they meant.

    An apply that was interrupted is undone first. What lacks a link, or what another document makes, is tried
    again as links come; and once anything was, all is again in its order.

    Raises:
        Error: what could not be brought back; the rest was.

    """
    found = engine.in_force(state_dir=state_dir)
    groups = [list(group) for _, group in itertools.groupby(found, key=lambda document: document.call)]
    limit = Limit(PATIENCE, in_all=IN_ALL)
    done: dict[int, Restored] = {}
    with Events() as events:
        while True:
            passed = _passed(groups, state_dir, force=force)
            for number, ops in passed.ops.items():
                before = done[number].ops if number in done else ()
                names = tuple(dict.fromkeys(document.name for document in groups[number]))
                done[number] = Restored(names, (*before, *ops))
            if not passed.errors or not passed.may_come or limit.is_over():
                raise_all(passed.errors)
                return [done[number] for number in sorted(done)]
            if not any(passed.ops.values()):
                limit.sees(frozenset(row.name for row in engine.snapshot().table("link")))
                events.wait(min(LOOK_EVERY, limit.left))


class _Pass(Struct):
    """One time through all documents: by their group's number what was written, and what could not be."""

    ops: dict[int, Sequence[Op]] = {}
    errors: list[Error] = []
    may_come: bool = True
    """Whether all that is wrong is that something is not there, which may come."""


def _passed(groups: Sequence[Sequence[Applied]], state_dir: Path, *, force: bool) -> _Pass:
    found = _Pass({}, [])
    for number, documents in enumerate(groups):
        asking = _InForce(documents)
        try:
            found.ops[number] = engine.apply_compiled(asking, state_dir=state_dir, force=force, again=True)
        except Error as error:
            found.errors += asking.desired.located(error)
            found.may_come = found.may_come and error.kind is ErrorKind.DOCUMENT
    return found


class _InForce:
    """Documents of one apply, as far as they are in force when they are applied again."""

    def __init__(self, documents: Sequence[Applied]) -> None:
        self.documents = documents
        self.desired = Desired([])

    def sees(self, before: Sequence[Applied]) -> None:
        """Leave out what is not in force any more: somebody may have applied another one meanwhile."""
        self.documents = [document for document in self.documents if document in before]
        self.desired = Desired([plain(document) for document in self.documents])

    def __call__(self, host: Host) -> Sequence[Row]:
        """Return the rows that are wanted of a host."""
        return self.desired(host)

    def meant(self) -> Sequence[Applied]:
        """Return the documents."""
        return self.documents


def forget(names: Sequence[str], *, state_dir: Path = STATE_DIR) -> None:
    """Take documents out of what is brought back; the host stays as it is.

    Raises:
        Error: with each name that no document has.

    """

    def known(found: Sequence[Applied]) -> Sequence[str]:
        return chosen(names, [document.name for document in found])

    engine.drop(known, state_dir=state_dir)


def unit(state_dir: Path = STATE_DIR, *, program: Sequence[str] = ()) -> str:
    """Return the unit that brings back what was applied, before anything waits for it (systemd.unit(5)).

    Args:
        state_dir: where it is known.
        program: what runs nncp; this process's own Python when nothing is said.

    """
    argv = [*(program or (sys.executable, "-P", "-m", "nncp")), "restore"]
    argv += [] if state_dir == STATE_DIR else ["--state-dir", str(state_dir.absolute())]
    return f"""\
[Unit]
Description=Network that nncp has applied
DefaultDependencies=no
Wants=network.target
After=local-fs.target systemd-modules-load.service systemd-sysctl.service systemd-udevd.service
Before=network.target network-online.target shutdown.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart={" ".join(map(_quoted, argv))}

[Install]
WantedBy=multi-user.target
"""


def _quoted(word: str) -> str:
    """Return a word as systemd takes it for one, with nothing in it that is replaced (systemd.service(5)).

    Raises:
        Error: it holds a character that cannot be said.

    """
    if not word.isprintable():
        raise Error(f"a unit cannot name {word!r}", kind=ErrorKind.USAGE, hint="name another folder")
    plain = word.replace("%", "%%").replace("$", "$$")
    if plain == word and not set(word) & set(" \"'\\;"):
        return word
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def install_unit(
    *, state_dir: Path = STATE_DIR, unit_dir: Path = UNIT_DIR, program: Sequence[str] = ()
) -> Path:
    """Put the unit where systemd finds it, and have it started with the host; return its path.

    It may be another host's folder that is seen here: nothing in it leads out of it.

    Args:
        state_dir: where it is known what was applied.
        unit_dir: the folder of units.
        program: see `unit`.

    Raises:
        Error: it cannot be written.

    """
    unit_dir = unit_dir.absolute()
    place = unit_dir / UNIT
    with _told(place):
        (unit_dir / WANTED_BY).mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".new")
        try:
            draft.write_text(unit(state_dir, program=program), encoding="utf-8")
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
        link = unit_dir / WANTED_BY / UNIT
        link.unlink(missing_ok=True)
        link.symlink_to(Path("..", UNIT))
    return place


def remove_unit(*, unit_dir: Path = UNIT_DIR) -> Path:
    """Undo `install_unit`; return where the unit was. Raises `Error` when it cannot be removed."""
    place = unit_dir / UNIT
    with _told(place):
        (unit_dir / WANTED_BY / UNIT).unlink(missing_ok=True)
        place.unlink(missing_ok=True)
    return place


@contextlib.contextmanager
def _told(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = ErrorKind.PRIVILEGE if isinstance(error, PermissionError) else ErrorKind.UNSUPPORTED
        message = f"{error.filename or place} cannot be written: {error.strerror}"
        raise Error(message, kind=kind, hint="run it as root, or name another --unit-dir") from error
