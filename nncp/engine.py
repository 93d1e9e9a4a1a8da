"""show, plan, apply, rollback: the data flow, and nothing else.

wanted rows ─┐
snapshot ────┴─▶ plan ─▶ transaction ─▶ plan again, until it is empty
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, structs

from nncp import transaction
from nncp.applied import HOST, is_alike, with_new
from nncp.document.state import asked_texts
from nncp.errors import Error, ErrorKind, raise_all
from nncp.gone import orphans, sweep
from nncp.guard import keep
from nncp.host import Op
from nncp.journal import STATE_DIR, Journal, Record
from nncp.known import KINDS
from nncp.listed import bereft
from nncp.macs import pinned
from nncp.namespace import Namespace
from nncp.netlink.channel import Channel
from nncp.plan import plan
from nncp.way_back import bereaving, built_on, subjects, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from nncp.applied import Applied
    from nncp.host import Host, Key, Row
    from nncp.listed import Listed

LOOKS = 3
"""How often it is told what will be written, while others change that."""
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
    rows = list(want)
    return _Apply(Journal(state_dir), lambda _: rows, transaction.Terms(deadline, silence)).run()


class Asking(Protocol):
    """What documents ask of a host."""

    def sees(self, before: Sequence[Applied], /) -> None:
        """Know the documents that are in force, while the journal is locked."""

    def __call__(self, host: Host, /) -> Sequence[Row]:
        """Return the rows that are wanted of a host."""

    def meant(self) -> Sequence[Applied]:
        """Return the documents as they were meant at the last look at a host."""


def apply_compiled(
    asking: Asking,
    *,
    state_dir: Path = STATE_DIR,
    terms: transaction.Terms | None = None,
    force: bool = False,
    again: bool = False,
) -> list[Op]:
    """Lead the current network namespace to what documents ask of it; see `apply_rows`.

    The ports among their rows are known from then on as listed by one, a bridge that carries guests goes only
    by `force`, and the documents are in force from then on.

    Args:
        asking: the documents.
        state_dir: where the journal is kept.
        terms: when it holds.
        force: whether bridges with guests on them may go.
        again: whether the documents are in force already, and only the host is to follow them.

    Raises:
        Error: as `apply_rows` raises it.

    """
    journal = Journal(state_dir)
    return _ApplyDocuments(journal, asking, terms or transaction.Terms(), force=force, again=again).run()


class _Apply:
    """One apply of what is asked for, on some terms."""

    def __init__(
        self, journal: Journal, wanted: Callable[[Host], Sequence[Row]], terms: transaction.Terms
    ) -> None:
        self.journal = journal
        self.wanted = wanted
        self.terms = terms
        self.file = journal.applied()

    def run(self) -> list[Op]:
        """Do it, and return what was written."""
        with Channel() as channel:
            namespace = Namespace(channel, KINDS)
            try:
                with self.journal.locked(patience=PATIENCE) as lock:
                    return self._locked(namespace, lock)
            except Error as error:
                if error.kind is ErrorKind.PRIVILEGE:
                    self.wanted(namespace.snapshot())  # what is wrong with it is told to everybody
                raise

    def _locked(self, namespace: Namespace, lock: int) -> list[Op]:
        journal = self.journal
        _settle(namespace, journal)
        self._see()
        now, want, ops = self._told(namespace)
        lists = self._lists(now, want)
        record = self._staged(Record((), journal.listed(), lists=lists), now, ops)
        if ops or record.documents:
            asked = {*record.asked, *subjects(want, KINDS)}
            record = structs.replace(record, number=journal.next, at=time.time(), asked=tuple(sorted(asked)))
        try:
            if ops:
                change = transaction.Change(now, ops, want, record, self._pins(now, ops))
                transaction.run(change, journal, lock, KINDS, self.terms)
                sweep(journal)
            elif record.documents:
                journal.write(record)
                keep(journal, record)
            journal.note_listed(lists)
        except KeyboardInterrupt:
            if not journal.is_kept(record.number):
                raise
            # It holds, and whoever stopped it came too late.
        finally:
            with contextlib.suppress(Error):  # whoever comes next does it
                self.file.settle(journal.held)
        return ops

    def _look(self, namespace: Namespace) -> tuple[Host, Sequence[Row], list[Op]]:
        """Return the host, what is wanted of it, and the writes."""
        now = self.journal.listed().known_to(namespace.snapshot())
        want = self.wanted(now)
        now, ops = namespace.foresee(namespace.with_sysctls(now, want), want)
        self._check(now, ops)
        return now, want, ops

    def _told(self, namespace: Namespace) -> tuple[Host, Sequence[Row], list[Op]]:
        """Look, tell what will be written and try what is tried before, until that is what a new look finds.

        Both take their time, in which others change the host.
        """
        found, proof, told = self._look(namespace), self.terms.proof, self.terms.planned
        for _ in range(LOOKS):
            ops = found[2]
            if not ops or not (proof or told):
                return found
            if told:
                told(ops)
            if proof:
                proof.before()
                proof = None
            found = self._look(namespace)
            if _told_of(ops) == _told_of(found[2]):
                return found
        raise Error(
            "others change this host faster than it can be told what would be written; nothing was",
            kind=ErrorKind.FAILED,
            hint="try again once they are done",
        )

    def _see(self) -> None:
        """Look at what is in force, while the journal is locked."""

    def _check(self, now: Host, ops: Sequence[Op]) -> None:
        """Raise an error when what is planned must not be done."""

    def _lists(self, now: Host, want: Sequence[Row]) -> Listed:
        return self.journal.listed().same(now, want)

    def _pins(self, now: Host, ops: Sequence[Op]) -> Sequence[str]:  # noqa: ARG002
        return ()

    def _staged(self, record: Record, now: Host, ops: Sequence[Op]) -> Record:  # noqa: ARG002
        """Write down what will be in force, before anything is done about it; return what is known then."""
        return record


class _ApplyDocuments(_Apply):
    """An apply of documents, which are in force from then on."""

    def __init__(
        self, journal: Journal, asking: Asking, terms: transaction.Terms, *, force: bool, again: bool
    ) -> None:
        super().__init__(journal, asking, terms)
        self.asking = asking
        self.before: Sequence[Applied] = ()
        self.force = force
        self.again = again

    def _see(self) -> None:
        self.before = self.file.read(self.journal.held)
        self.asking.sees(self.before)

    def _check(self, now: Host, ops: Sequence[Op]) -> None:
        raise_all([] if self.force else bereft(now, ops))

    def _lists(self, now: Host, want: Sequence[Row]) -> Listed:
        return self.journal.listed().after(now, want)

    def _pins(self, now: Host, ops: Sequence[Op]) -> Sequence[str]:
        return pinned(now, ops)

    def _staged(self, record: Record, now: Host, ops: Sequence[Op]) -> Record:
        new, before = self.asking.meant(), self.before
        names = tuple(dict.fromkeys(document.name for document in new))
        known = self.again or all(any(is_alike(one, other) for other in before) for one in new)
        if not new or (known and not ops):
            return record
        texts = tuple(asked_texts([document.state for document in new], absent=True))
        if self.again:
            return structs.replace(record, call=new[0].call, documents=names, asked=texts)
        call = os.urandom(8).hex()
        creates = (op.key for op in ops if op.verb == "create" and op.key[0] == "link")
        made = [key[1] for key in creates if key not in now]  # one that is made again was there before
        self.file.stage(with_new(before, new, call, made), call)
        replaced = tuple(document for document in before if document.name in names)
        return structs.replace(record, call=call, documents=names, replaced=replaced, asked=texts)


def _told_of(ops: Iterable[Op]) -> list[tuple[str, Key]]:
    """Return what somebody decides by: routing daemons' routes that go along come and go by the second."""
    return [(op.verb, op.key) for op in ops if not op.implied and not op.back]


def _settle(namespace: Namespace, journal: Journal) -> None:
    """Finish what processes that were killed have left."""
    if journal.is_pending():
        undo(namespace, journal)
    journal.applied().settle(journal.held)


def in_force(*, state_dir: Path = STATE_DIR) -> tuple[Applied, ...]:
    """Return the documents that are to be brought back, once what was interrupted is undone.

    In another network namespace than the host's own they are those of the one that has gone last: from now
    on they are this one's.

    Raises:
        Error: they cannot be read, or what was interrupted cannot be undone.

    """
    journal = Journal(state_dir)
    file = journal.applied()
    with journal.locked(patience=PATIENCE), Channel() as channel:
        _settle(Namespace(channel, KINDS), journal)
        found = file.read(journal.held)
        if found or file.scope == HOST:
            return found
        for former in orphans(journal):
            if found := former.read(journal.held):
                file.write(found)
                with contextlib.suppress(Error):  # it is swept once it is old
                    former.remove()
                break
        return found


def drop(chosen: Callable[[Sequence[Applied]], Sequence[str]], *, state_dir: Path = STATE_DIR) -> None:
    """Take documents out of what is brought back; the host stays as it is.

    Args:
        chosen: returns the names of those to take out.
        state_dir: where they are kept.

    Raises:
        Error: whatever `chosen` raises.

    """
    journal = Journal(state_dir)
    with journal.locked(patience=PATIENCE):
        file = journal.applied()
        file.settle(journal.held)
        found = file.read(journal.held)
        names = chosen(found)
        file.write([document for document in found if document.name not in names])


def commit(*, state_dir: Path = STATE_DIR) -> Record:
    """Keep the change that is being tried; return what is known of it.

    Raises:
        Error: none is, or it is being undone.

    """
    journal = Journal(state_dir)
    record = journal.tried()
    if record is None or not keep(journal, record, tried=True):
        going = journal.is_pending()
        raise Error(
            "too late: what was tried is being undone"
            if going and record
            else "no change is being tried here",
            kind=ErrorKind.FAILED,
            hint="`nncp history` shows what is kept; if what was tried is not there, it is undone",
        )
    return record  # whoever tries it, or comes next, lets its documents count


class Undone(Struct, frozen=True):
    """What a rollback has done.

    Args:
        ops: the writes.
        pinned: the bridges that keep their MAC address.
        number: of the apply that is undone; None when there was none, or somebody else has undone it.
        documents: the names of its documents.
        was_tried: whether it was being tried: whoever guarded it has undone it.

    """

    ops: Sequence[Op] = ()
    pinned: Sequence[str] = ()
    number: int | None = None
    documents: Sequence[str] = ()
    was_tried: bool = False


def rollback(*, state_dir: Path = STATE_DIR, force: bool = False, number: int | None = None) -> Undone:
    """Undo the last apply in this network namespace, or what a killed one left, or the apply of a number.

    Args:
        state_dir: where the journal is kept.
        force: whether what others have put on links of the apply's since may go with them.
        number: of an apply, as `nncp history` says it.

    Raises:
        Error: the state before could not be restored; or nothing was written (`UNSUPPORTED`), since others
            would lose what is theirs, or later applies have built on it.

    """
    journal = Journal(state_dir)
    last, tried = journal.last, journal.tried()
    pending = journal.is_pending()
    if number is None and not pending and not last:
        return Undone()
    called_off = tried is not None and number is None and journal.call_off(tried.number)
    with journal.locked(patience=PATIENCE), Channel() as channel:
        namespace = Namespace(channel, KINDS)
        if journal.is_pending():
            record = journal.read()
            ops = undo(namespace, journal)
            if record and number in {None, record.number}:
                return Undone(ops, (), record.number, record.documents)
        elif tried and called_off:
            return Undone(number=tried.number, documents=tried.documents, was_tried=True)
        elif pending and number is None and journal.last == last:
            return Undone()  # it has been undone meanwhile
        journal.applied().settle(journal.held)
        return _undone(namespace, journal, number, force=force)


def _undone(namespace: Namespace, journal: Journal, number: int | None, *, force: bool) -> Undone:
    later: list[Record] = []
    for record in journal.kept():
        if number in {None, record.number}:
            break
        later.append(record)
    else:
        if number is None:
            return Undone()
        raise _unknown(number, [one.number for one in later])
    raise_all(built_on(record, later, KINDS, journal))
    if not force:
        raise_all(bereaving(namespace, record, journal))
    ops = undo(namespace, journal, kept=record.number)
    return Undone(ops, namespace.pinned(record.pinned), record.number, record.documents)


def _unknown(number: int, kept: Sequence[int]) -> Error:
    return Error(
        f"there is no apply {number} to undo",
        kind=ErrorKind.USAGE,
        hint=f"these can be undone: {', '.join(map(str, kept))}; see `nncp history`"
        if kept
        else "nothing that was applied here is known any more",
    )


def forget(*, state_dir: Path = STATE_DIR) -> Record | None:
    """Give up the way back that `rollback` would go; return what was recorded, None where nothing was.

    A record that this nncp cannot read is given up too, and told as an empty one.
    """
    journal = Journal(state_dir)
    with journal.locked(patience=PATIENCE):
        journal.applied().settle(journal.held)
        try:
            record = journal.read()
        except Error:
            record = Record(())
        if record is not None:
            journal.forget()
        return record
