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
from nncp.applied import HOST
from nncp.desired import Desired, plain
from nncp.errors import Error, ErrorKind, raise_all
from nncp.gone import orphans
from nncp.host import Op
from nncp.journal import STATE_DIR, Journal
from nncp.netlink.channel import Events
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.applied import Applied, AppliedFile

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

    An apply that was interrupted is undone first. In another network namespace than the host's own it brings
    back what was applied in the one that has gone last.

    Raises:
        Error: what could not be brought back; the rest was.

    """
    journal = Journal(state_dir)
    if journal.is_pending():
        engine.rolled_back(state_dir=state_dir, force=True)
    file = journal.applied()
    found = file.read(journal.held)
    former = next(iter(() if found or file.scope == HOST else orphans(journal)), None)
    if former is not None:
        found = former.read(journal.held)
    done: list[Restored] = []
    errors: list[Error] = []
    for _, group in itertools.groupby(found, key=lambda document: document.call):
        documents = list(group)
        try:
            ops = _again(documents, state_dir, force=force)
            done.append(Restored(tuple(document.name for document in documents), ops))
        except Error as error:
            errors += list(error)
    if former is not None and found:
        _adopt(file, former, found)
    raise_all(errors)
    return done


def _adopt(file: AppliedFile, former: AppliedFile, documents: Sequence[Applied]) -> None:
    file.write(documents)
    with contextlib.suppress(Error):  # it is swept once it is old
        former.remove()


def _again(documents: Sequence[Applied], state_dir: Path, *, force: bool) -> list[Op]:
    """Apply documents; links that they name may still come, as after a start."""
    desired = Desired([plain(document) for document in documents])
    limit = Limit(PATIENCE, in_all=IN_ALL)
    with Events() as events:
        while True:
            try:
                return engine.apply_compiled(desired, state_dir=state_dir, force=force)
            except Error as error:
                if error.kind is not ErrorKind.DOCUMENT or limit.is_over():
                    raise desired.located(error) from error
            limit.sees(frozenset(row.name for row in engine.snapshot().table("link")))
            events.wait(min(LOOK_EVERY, limit.left))


def forget(names: Sequence[str], *, state_dir: Path = STATE_DIR) -> None:
    """Take documents out of what is brought back; the host stays as it is.

    Raises:
        Error: with each name that no document has.

    """
    journal = Journal(state_dir)
    file = journal.applied()
    with journal.locked(patience=engine.PATIENCE):
        found = file.read(journal.held)
        known = {document.name for document in found}
        hint = f"there are {', '.join(sorted(known))}" if known else "nothing was applied here"
        raise_all(
            Error(f"no document {name} was applied here", kind=ErrorKind.USAGE, hint=hint)
            for name in names
            if name not in known
        )
        file.write([document for document in found if document.name not in names])


def unit(state_dir: Path = STATE_DIR) -> str:
    """Return the unit that brings back what was applied, before anything waits for it (systemd.unit(5))."""
    where = "" if state_dir == STATE_DIR else f" --state-dir {state_dir}"
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
ExecStart={sys.executable} -P -m nncp restore{where}

[Install]
WantedBy=multi-user.target
"""


def install_unit(*, state_dir: Path = STATE_DIR, unit_dir: Path = UNIT_DIR) -> Path:
    """Put the unit where systemd finds it, and have it started with the host; return its path.

    Raises:
        Error: it cannot be written.

    """
    place = unit_dir / UNIT
    with _told(place):
        (unit_dir / WANTED_BY).mkdir(parents=True, exist_ok=True)
        draft = place.with_suffix(".new")
        draft.write_text(unit(state_dir), encoding="utf-8")
        draft.replace(place)
        link = unit_dir / WANTED_BY / UNIT
        link.unlink(missing_ok=True)
        link.symlink_to(place)
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
