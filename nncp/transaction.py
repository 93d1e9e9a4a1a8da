"""How a plan is carried out so that nothing is left between, whatever is killed when.

Before the first write the touched rows as they were are on the disk, with the index that every new link will
have, and a supervisor watches (nncp/supervisor.py). A child of the caller writes and verifies; when it has,
the journal is renamed and the supervisor dismissed. When it fails, is killed or stands still, or the caller
is, the supervisor ends it and rolls back. If the supervisor is killed too, the next nncp in this namespace
finds the journal pending and rolls back first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct, structs

from nncp.before import before, see_the_way_back
from nncp.errors import Error, ErrorKind
from nncp.guard import Guard, signals_wait
from nncp.host import Host, Op, Row
from nncp.journal import Record
from nncp.namespace import Namespace
from nncp.netlink.carry import sentence
from nncp.netlink.channel import Channel, Events
from nncp.netlink.indexes import draw
from nncp.netlink.snapshot import indexes
from nncp.pace import Limit
from nncp.raised import raised
from nncp.remake import forgone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nncp.journal import Journal
    from nncp.tables.kinds import Kinds

DEADLINE = 10.0
"""Seconds of a quiet machine from the last write, or the last that fell into place, until all must hold."""
SILENCE = 30.0
"""Seconds of a quiet machine from the last batch on after which the writer is taken to stand still."""
LOOK_EVERY = 1.0
"""Seconds after which the host is looked at again although the kernel has told of nothing."""
PASSES = 3
"""How often a plan may be made anew: the kernel moves MACs and MTUs along when ports come and go."""


class Change(Struct, frozen=True):
    """What an apply does.

    Args:
        now: the rows before.
        ops: not empty, what `plan` found between `now` and `want`.
        want: what must hold in the end.
        record: what it is called, and what else is known of it before its rows are.
        pin: the bridges that are to keep the MAC address which they have then.

    """

    now: Host
    ops: Sequence[Op]
    want: Sequence[Row]
    record: Record
    pin: Sequence[str] = ()


class Proof(Protocol):
    """What is tried between the verification of a change and its end: that the node can be reached, say."""

    def before(self) -> object:
        """Try it before anything is written."""

    def after(self, pulse: Callable[[], None], /) -> None:
        """Try it again, and say by `pulse` that it goes on; raises `Error` when the change must go."""


class Terms(Struct, frozen=True):
    """When a change holds.

    Args:
        deadline: seconds to wait until it does; when None, as long as this machine needs.
        silence: seconds of a quiet machine that the writer may stand still.
        proof: what is tried besides.
        kept: returns whether it is kept once it holds, by default at once.
        planned: is told of the writes before the first.

    """

    deadline: float | None = None
    silence: float = SILENCE
    proof: Proof | None = None
    kept: Callable[[Guard, Record], bool] | None = None
    planned: Callable[[Sequence[Op]], None] | None = None


def run(change: Change, journal: Journal, lock: int, kinds: Kinds, terms: Terms) -> None:
    """Carry out `change`, and see that it holds.

    Args:
        change: of the present network namespace.
        journal: of the namespace.
        lock: the descriptor of its lock, which the caller holds.
        kinds: the interface types and tables.
        terms: when it does.

    Raises:
        Error: it cannot be undone, hence was not begun; it did not hold and was rolled back (`FAILED`,
            `INTERRUPTED`), or could not be (`ROLLBACK_FAILED`).

    """
    guard = Guard.start(journal, lock, terms.silence)
    try:
        out = forgone({row.key: row.attrs for row in change.now}, change.want, kinds)
        rows = [row for row in before(change.now, change.ops, kinds) if row.key not in out]
        see_the_way_back(change.now, change.ops, rows, kinds)
        drawn = draw(change.ops, indexes(change.now))
        gone = frozenset(op.key[1] for op in change.ops if op.key[0] == "link" and op.verb == "remove")
        record = structs.replace(
            change.record,
            before=tuple(rows),
            listed=journal.listed(),
            gone=gone,
            pinned=tuple(change.pin),
            changes=len(change.ops),
        ).noting(drawn)
        guard.await_ready()
    except BaseException:
        guard.dismiss()
        raise
    try:
        guard.write(record)
        guard.write_in_child(_Writer(change, journal, drawn, terms.deadline, kinds).write)
        if terms.proof:
            terms.proof.after(guard.pulse)
            _see_that_it_holds(change, kinds)
        committed = terms.kept(guard, record) if terms.kept else guard.commit(record)
    except BaseException as error:
        with signals_wait():
            if not journal.is_kept(record.number):
                guard.undo(error)
        if journal.is_kept(record.number):
            return  # whatever stops it comes too late
        if isinstance(error, KeyboardInterrupt):
            raise _interrupted(error) from error
        raise
    if not committed:
        raise guard.undone()


def _see_that_it_holds(change: Change, kinds: Kinds) -> None:
    """Raise `Error` unless it holds still: probes take their time, and may do anything."""
    with Channel() as channel:
        left = Namespace(channel, kinds).plan(change.want)
    if left:
        raise _unheld(left, "while probes were tried", kinds)


def _interrupted(error: KeyboardInterrupt) -> Error:
    by = f" by {error}" if str(error) else ""
    return Error(f"stopped{by}; what had been written is undone", kind=ErrorKind.INTERRUPTED)


class _Writer:
    """What the child does: write, and see that it holds."""

    def __init__(
        self, change: Change, journal: Journal, drawn: Mapping[str, int], deadline: float | None, kinds: Kinds
    ) -> None:
        self.change = change
        self.want = change.want
        self.journal = journal
        self.drawn = drawn
        self.deadline = deadline
        self.kinds = kinds

    def write(self, pulse: Callable[[], None]) -> None:
        """Write and verify; `pulse` says that it goes on."""
        limit = Limit(DEADLINE) if self.deadline is None else Limit(self.deadline, most=1)
        with Channel() as channel, Events() as events:
            namespace = Namespace(channel, self.kinds)
            namespace.carry_out(self.change.ops, self.change.now, self.drawn, written=lambda _: pulse())
            left = self._again(namespace, pulse)
            if self.deadline is None:
                limit.progress()  # it was written until now
            fewest = len(left)
            while left and not limit.is_over():
                events.wait(min(LOOK_EVERY, limit.left))
                pulse()
                left = namespace.plan(self.want)
                if self.deadline is None and len(left) < fewest:
                    fewest = len(left)
                    limit.progress()
            if left:
                raise _unheld(left, limit.story, self.kinds)
            wanted = {row.key for row in self.want}
            namespace.lower(raised(self.change.ops, self.change.now, wanted, self.kinds))
            namespace.pin(self.change.pin)
            namespace.bring_back(_kept(self.change, self.kinds))

    def _again(self, namespace: Namespace, pulse: Callable[[], None]) -> list[Op]:
        """Write what the first pass has left; return what is left in the end."""
        for _ in range(PASSES - 1):
            now = namespace.snapshot(self.want)
            now, left = namespace.foresee(now, self.want)
            if not left:
                return []
            drawn = draw(left, indexes(now))
            self.journal.note_drawn(drawn)
            namespace.carry_out(left, now, drawn, written=lambda _: pulse())
        return namespace.plan(self.want)


def _kept(change: Change, kinds: Kinds) -> list[Row]:
    """Return what goes with a MAC address that changes, or is only pinned, but for what is to go."""
    gone = {op.key for op in change.ops if op.verb == "remove"}
    gone -= {op.key for op in change.ops if op.verb == "create"}
    tables = [name for name, table in kinds.tables.items() if table.by_mac]
    return [row for name in tables for row in change.now.table(name) if row.key not in gone]


def _unheld(left: Sequence[Op], story: str, kinds: Kinds) -> Error:
    listed = "; ".join(sentence(op, kinds) for op in left[:5])
    return Error(
        f"what was asked for did not hold {story}; it still takes this: {listed}",
        kind=ErrorKind.FAILED,
        subject=left[0].key[1],
        hint="the kernel accepted it and then changed it, or something else on this host does",
    )
