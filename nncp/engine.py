"""show, plan, apply, rollback: the data flow, and nothing else.

wanted rows ─┐
snapshot ────┴─▶ plan ─▶ transaction ─▶ plan again, until it is empty
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp import transaction
from nncp.errors import Error, ErrorKind, raise_all
from nncp.journal import STATE_DIR, Journal
from nncp.known import KINDS
from nncp.listed import Listed, bereft
from nncp.macs import pinned
from nncp.netlink.channel import Channel
from nncp.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from nncp.host import Host, Op, Row
    from nncp.tables.kinds import Kinds

PATIENCE = 30.0
"""Seconds of a quiet machine to wait for another apply in the same namespace: longer than one takes."""


def snapshot(want: Iterable[Row] = (), *, state_dir: Path | None = None, kinds: Kinds = KINDS) -> Host:
    """Return the rows of the current network namespace, with the sysctls that `want` mentions.

    With a `state_dir`, what documents applied here have listed is known too.
    """
    with Channel() as channel:
        host = transaction.Session(channel, kinds).snapshot(want)
    return Journal(state_dir).listed().known_to(host) if state_dir else host


def with_sysctls(host: Host, want: Iterable[Row]) -> Host:
    """Return `host` with the sysctls that `want` mentions, read now."""
    return transaction.Session.with_sysctls(host, want)


def plan_rows(now: Host, want: Iterable[Row], *, kinds: Kinds = KINDS) -> list[Op]:
    """Return the writes between `now` and `want`; nothing is read or written."""
    return plan(now, list(want), kinds)


def foresee(now: Host, want: Iterable[Row], *, kinds: Kinds = KINDS) -> list[Op]:
    """Return the writes between `now` and `want`, and what they take of routes that `now` leaves out."""
    with Channel() as channel:
        return transaction.Session(channel, kinds).foresee(now, list(want))[1]


def apply_rows(
    want: Iterable[Row],
    *,
    state_dir: Path = STATE_DIR,
    deadline: float | None = None,
    kinds: Kinds = KINDS,
) -> list[Op]:
    """Lead the current network namespace to `want`, in one transaction; return what was written.

    Args:
        want: the rows.
        state_dir: where the journal is kept.
        deadline: seconds until `want` must hold; when None, as long as this machine needs.
        kinds: the interface types.

    Raises:
        Error: nothing could be changed, or everything was rolled back, or (`ROLLBACK_FAILED`) it was not.

    """
    wanted = list(want)
    return _apply(lambda _: wanted, Listed.same, state_dir, deadline, kinds)


def apply_compiled(
    compiled: Callable[[Host], Sequence[Row]],
    *,
    state_dir: Path = STATE_DIR,
    deadline: float | None = None,
    force: bool = False,
    kinds: Kinds = KINDS,
) -> list[Op]:
    """Lead the current network namespace to the rows that `compiled` makes of it; see `apply_rows`.

    They are a document's: the ports among them are known from then on as listed by one, and a bridge that
    carries guests goes only by `force`.
    """

    def checked(now: Host, ops: Sequence[Op]) -> None:
        raise_all([] if force else bereft(now, ops))

    return _apply(compiled, Listed.after, state_dir, deadline, kinds, checked, pinned)


def _apply(
    compiled: Callable[[Host], Sequence[Row]],
    noted: Callable[[Listed, Host, Sequence[Row]], Listed],
    state_dir: Path,
    deadline: float | None,
    kinds: Kinds,
    checked: Callable[[Host, Sequence[Op]], None] = lambda _now, _ops: None,
    pins: Callable[[Sequence[Op]], Sequence[str]] = lambda _ops: (),
) -> list[Op]:
    journal = Journal(state_dir)
    with Channel() as channel:
        session = transaction.Session(channel, kinds)
        try:
            with journal.locked(patience=PATIENCE):
                if journal.is_pending():
                    transaction.undo(session, journal)
                now = journal.listed().known_to(session.snapshot())
                want = compiled(now)
                now, ops = session.foresee(session.with_sysctls(now, want), want)
                checked(now, ops)
                listed = noted(journal.listed(), now, want)
                if ops:
                    pin = pins(ops)
                    transaction.run(session, now, ops, want, journal, listed, deadline=deadline, pin=pin)
                journal.note(listed)
                return ops
        except Error as error:
            if error.kind is ErrorKind.PRIVILEGE:
                compiled(session.snapshot())  # what is wrong with the document is told to everybody
            raise


def rollback(*, state_dir: Path = STATE_DIR, kinds: Kinds = KINDS) -> list[Op]:
    """Undo the last apply in this network namespace, or what a killed one left; return what was written.

    Raises:
        Error: the state before could not be restored.

    """
    journal = Journal(state_dir)
    if journal.read() is None:
        return []
    with journal.locked(patience=PATIENCE), Channel() as channel:
        return transaction.undo(transaction.Session(channel, kinds), journal)
