"""show, plan, apply, rollback: the data flow, and nothing else.

wanted rows ─┐
snapshot ────┴─▶ plan ─▶ transaction ─▶ plan again, until it is empty
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from nncp import transaction
from nncp.applied import is_alike, with_new
from nncp.errors import Error, ErrorKind, raise_all
from nncp.gone import sweep
from nncp.journal import STATE_DIR, Journal, Record
from nncp.known import KINDS
from nncp.listed import Listed, bereft
from nncp.macs import pinned
from nncp.namespace import Namespace
from nncp.netlink.channel import Channel
from nncp.plan import plan
from nncp.way_back import bereaving, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from nncp.applied import Applied, AppliedFile
    from nncp.host import Host, Op, Row

PATIENCE = 30.0
"""Seconds of a quiet machine to wait for another apply in the same namespace: longer than one takes."""


def snapshot(want: Iterable[Row] = (), *, state_dir: Path | None = None) -> Host:
    """Return the rows of the current network namespace, with the sysctls that `want` mentions.

    With a `state_dir`, what documents applied here have listed is known too.
    """
    with Channel() as channel:
        host = Namespace(channel, KINDS).snapshot(want)
    return Journal(state_dir).listed().known_to(host) if state_dir else host


def with_sysctls(host: Host, want: Iterable[Row]) -> Host:
    """Return `host` with the sysctls that `want` mentions, read now."""
    return Namespace.with_sysctls(host, want)


def plan_rows(now: Host, want: Iterable[Row]) -> list[Op]:
    """Return the writes between `now` and `want`; nothing is read or written."""
    return plan(now, list(want), KINDS)


def foresee(now: Host, want: Iterable[Row]) -> list[Op]:
    """Return the writes between `now` and `want`, and what they take of routes that `now` leaves out."""
    with Channel() as channel:
        return Namespace(channel, KINDS).foresee(now, list(want))[1]


def apply_rows(
    want: Iterable[Row],
    *,
    state_dir: Path = STATE_DIR,
    deadline: float | None = None,
    silence: float = transaction.SILENCE,
) -> list[Op]:
    """Lead the current network namespace to `want`, in one transaction; return what was written.

    A child of this process writes: whoever calls it is never ended when the writing has to be.

    Args:
        want: the rows.
        state_dir: where the journal is kept.
        deadline: seconds until `want` must hold; when None, as long as this machine needs.
        silence: seconds of a quiet machine that the writing may stand still.

    Raises:
        Error: nothing could be changed, or everything was rolled back, or (`ROLLBACK_FAILED`) it was not.

    """
    wanted = list(want)
    return _apply(lambda _: wanted, Listed.same, state_dir, deadline, silence)


def apply_compiled(
    compiled: Callable[[Host], Sequence[Row]],
    *,
    state_dir: Path = STATE_DIR,
    deadline: float | None = None,
    silence: float = transaction.SILENCE,
    force: bool = False,
    meant: Callable[[], Sequence[Applied]] | None = None,
) -> list[Op]:
    """Lead the current network namespace to the rows that `compiled` makes of it; see `apply_rows`.

    They are a document's: the ports among them are known from then on as listed by one, and a bridge that
    carries guests goes only by `force`. `meant` returns the documents as they were compiled: they are in
    force from then on.
    """

    def checked(now: Host, ops: Sequence[Op]) -> None:
        raise_all([] if force else bereft(now, ops))

    return _apply(compiled, Listed.after, state_dir, deadline, silence, checked, pinned, meant)


def _apply(
    compiled: Callable[[Host], Sequence[Row]],
    noted: Callable[[Listed, Host, Sequence[Row]], Listed],
    state_dir: Path,
    deadline: float | None,
    silence: float,
    checked: Callable[[Host, Sequence[Op]], None] = lambda _now, _ops: None,
    pins: Callable[[Host, Sequence[Op]], Sequence[str]] = lambda _now, _ops: (),
    meant: Callable[[], Sequence[Applied]] | None = None,
) -> list[Op]:
    journal = Journal(state_dir)
    file = journal.applied()
    with Channel() as channel:
        namespace = Namespace(channel, KINDS)
        try:
            with journal.locked(patience=PATIENCE) as lock:
                if journal.is_pending():
                    undo(namespace, journal)
                file.settle(journal.held)
                now = journal.listed().known_to(namespace.snapshot())
                want = compiled(now)
                now, ops = namespace.foresee(namespace.with_sysctls(now, want), want)
                checked(now, ops)
                listed = noted(journal.listed(), now, want)
                force = _Force(file, journal, meant() if meant else (), changes=bool(ops))
                force.stage()
                if ops:
                    change = transaction.Change(
                        now, ops, want, listed, pins(now, ops), force.call, force.replaced
                    )
                    try:
                        transaction.run(change, journal, lock, KINDS, deadline=deadline, silence=silence)
                    except BaseException:
                        force.drop()
                        raise
                    sweep(journal)
                journal.note_listed(listed)
                force.take()
                return ops
        except Error as error:
            if error.kind is ErrorKind.PRIVILEGE:
                compiled(namespace.snapshot())  # what is wrong with the document is told to everybody
            raise


class _Force:
    """The documents that an apply brings into force, and those that it takes out of it."""

    def __init__(self, file: AppliedFile, journal: Journal, new: Sequence[Applied], *, changes: bool) -> None:
        self.file = file
        self.before = file.read(journal.held) if new else ()
        known = all(any(is_alike(one, other) for other in self.before) for one in new)
        self.new = () if known and not changes else new
        self.call = os.urandom(8).hex() if self.new else ""
        names = {document.name for document in self.new}
        self.replaced = [document for document in self.before if document.name in names]

    def stage(self) -> None:
        """Write down what will be in force, before anything is done about it."""
        if self.new:
            self.file.stage(with_new(self.before, self.new, self.call), self.call)

    def take(self) -> None:
        """Let it be in force."""
        if self.new:
            self.file.take()

    def drop(self) -> None:
        """Leave in force what was. What cannot be dropped is not taken either: the apply did not hold."""
        if self.new:
            with contextlib.suppress(Error):
                self.file.drop()


def rollback(*, state_dir: Path = STATE_DIR, force: bool = False) -> list[Op]:
    """Undo the last apply in this network namespace, or what a killed one left; return what was written.

    Args:
        state_dir: where the journal is kept.
        force: whether what others have put on links of the apply's since may go with them.

    Raises:
        Error: the state before could not be restored; or nothing was written (`UNSUPPORTED`), since others
            would lose what is theirs.

    """
    return rolled_back(state_dir=state_dir, force=force)[0]


def rolled_back(*, state_dir: Path = STATE_DIR, force: bool = False) -> tuple[list[Op], Sequence[str]]:
    """Do as `rollback` does; return what was written, and the bridges that keep their MAC address.

    Raises:
        Error: as `rollback` raises it.

    """
    journal = Journal(state_dir)
    if journal.read() is None:
        return [], ()
    with journal.locked(patience=PATIENCE), Channel() as channel:
        namespace = Namespace(channel, KINDS)
        record = None if journal.is_pending() else journal.read()
        if record and not force:
            raise_all(bereaving(namespace, record, journal))
        ops = undo(namespace, journal, kept=True)
        return ops, namespace.pinned(record.pinned) if record else ()


def forget(*, state_dir: Path = STATE_DIR) -> Record | None:
    """Give up the way back that `rollback` would go; return what was recorded, None where nothing was.

    A record that this nncp cannot read is given up too, and told as an empty one.
    """
    journal = Journal(state_dir)
    with journal.locked(patience=PATIENCE):
        try:
            record = journal.read()
        except Error:
            record = Record(())
        if record is not None:
            journal.forget()
        return record
