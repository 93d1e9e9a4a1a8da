"""What the commands do: documents in, data out; nothing is printed, and nothing is read but the host."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp import engine
from nncp.applied import Applied
from nncp.desired import WRITTEN, Desired, checked, documents
from nncp.desk import Note
from nncp.errors import Error, ErrorKind, raise_all
from nncp.host import Op
from nncp.journal import STATE_DIR, Journal
from nncp.kinds.linux_bridge import BORROWED
from nncp.known import KINDS
from nncp.listed import bereft
from nncp.show import show_state
from nncp.stand_in import host_of
from nncp.transaction import Terms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nncp.document.policy import Policy
    from nncp.host import Host

__all__ = ["Changes", "apply", "checked", "documents", "plan", "show"]


class Changes(Struct, frozen=True):
    """What is done, or would be: the writes in their order, what is said beside them, what is meant."""

    ops: Sequence[Op]
    notes: Sequence[Note] = ()
    meant: Sequence[Applied] = ()

    @property
    def differ(self) -> bool:
        """Whether the host is seen to differ from what is asked for.

        What a bridge neither tells nor was given here is written, and nobody has seen that it is another.
        """
        return not all(_is_unseen(op) for op in self.ops)


def _is_unseen(op: Op) -> bool:
    return op.verb == "change" and all(name in BORROWED and op.old.get(name) is None for name in op.attrs)


def show(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return the state of this host, or of some interfaces of it, as a document holds it.

    Raises:
        Error: with each of `names` that no interface has.

    """
    host = engine.snapshot()
    missing = [name for name in names if ("link", name) not in host]
    raise_all(Error(f"there is no interface {name}", kind=ErrorKind.USAGE, subject=name) for name in missing)
    return show_state(host, KINDS, names)


def plan(
    found: Sequence[Policy],
    current: Policy | None = None,
    values: Mapping[str, Any] | None = None,
    *,
    state_dir: Path = STATE_DIR,
    force: bool = False,
    prune: bool = False,
) -> Changes:
    """Return what an apply of documents would do.

    Args:
        found: the documents.
        current: a state that stands for the host: nothing is read then.
        values: what their templates call values.
        state_dir: what documents applied here have listed.
        force: whether what others have there may go.
        prune: whether what documents of these names asked for before goes, where nothing does now.

    Raises:
        Error: with all that is wrong with them, given this host.

    """
    before = () if current else in_force(found, state_dir, every=prune)
    recorded = current.state.value if current else None
    desired = Desired(found, values=values, before=before, prune=prune, current=recorded)
    host = engine.snapshot(state_dir=state_dir) if current is None else stand_in(current)
    want = desired(host)
    host = engine.with_sysctls(host, want) if current is None else host
    try:
        ops = engine.foresee(host, want) if current is None else engine.plan_rows(host, want)
        raise_all([] if force else bereft(host, ops))
    except Error as error:
        raise desired.located(error) from error
    return Changes(ops, desired.notes(), desired.meant())


def in_force(found: Iterable[Policy], state_dir: Path, *, every: bool = False) -> Sequence[Applied]:
    """Return the documents that were applied here: unless `every`, for those found that have captures.

    To who may not read them there are none.
    """
    if not every and not any(policy.capture for policy in found):
        return ()
    journal = Journal(state_dir)
    try:
        return journal.applied().read(journal.held)
    except Error as error:
        if error.kind is ErrorKind.PRIVILEGE and not every:
            return ()
        raise


def stand_in(state: Policy) -> Host:
    """Return the host that a state describes; raises `Error` with all that is wrong with it."""
    return host_of(state, WRITTEN, KINDS)


def apply(
    found: Sequence[Policy],
    *,
    state_dir: Path = STATE_DIR,
    terms: Terms | None = None,
    force: bool = False,
    values: Mapping[str, Any] | None = None,
    prune: bool = False,
    planned: Callable[[Changes], None] | None = None,
) -> Changes:
    """Apply documents and return what was done; see `nncp.apply_rows`.

    With `prune` goes what documents of the same names asked for when they were applied, and nothing does now.
    `planned` is told what will be done before anything is.
    """
    desired = Desired(found, values=values, prune=prune)
    terms = terms or Terms()
    if planned is not None:
        terms = structs.replace(
            terms, planned=lambda ops: planned(Changes(ops, desired.notes(), desired.meant()))
        )
    try:
        ops = engine.apply_compiled(desired, state_dir=state_dir, terms=terms, force=force)
    except Error as error:
        raise desired.located(error) from error
    notes = desired.notes()
    said = notes if ops else [note for note in notes if note.verb == "warn"]
    return Changes(ops, said, desired.meant())
