"""What a plan takes away must be possible to make again, or nobody could undo the plan.

Known before the first write: whatever goes with the links that a plan removes is asked for by its table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.needs import Dependents, closure

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from nncp.host import Key, Row
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows


def irreplaceable(
    gone: Collection[Key], roots: Collection[Key], rows: Rows, want: Mapping[Key, Row], kinds: Kinds
) -> Iterator[Error]:
    """Yield what is wrong with taking away `gone`, all that goes with `roots`: what could not come back.

    What goes only with a row that is wanted absent for good (`Row.final`) is not asked for.
    """
    reasons = {key: why for key in gone if (why := kinds.tables[key[0]].cannot_be_made(rows[key], kinds))}
    if not reasons:
        return
    told: set[Key] = set()
    dependents = Dependents.of(rows, kinds)
    for root in roots:
        if root in want and want[root].final:
            continue
        found = (closure([root], rows, kinds, dependents) & reasons.keys()) - told
        told |= found
        yield from (_error(key, root, reasons[key], rows, kinds) for key in sorted(found))


def unreachable(gone: Collection[Key], rows: Rows, kinds: Kinds) -> Iterator[Error]:
    """Yield what cannot be taken away, since the kernel would take away another row, which is to stay."""
    for key in gone:
        fronts = [front for front in kinds.tables[key[0]].behind(rows[key]) if front not in gone]
        if fronts:
            yield Error(
                f"{_said(key, rows, kinds)} cannot be removed: the kernel would remove what stands before it,"
                f" {' '.join(fronts[0][1:])}",
                kind=ErrorKind.UNSUPPORTED,
                subject=key[1],
                hint="move that one to another place first",
            )


def forgone(rows: Rows, want: Iterable[Row], kinds: Kinds) -> set[Key]:
    """Return what goes for good with final rows: what could not come back, and what stands on that.

    Nothing leads back to it, and nobody wants it: a Pod's veth, whose other end is in the container.
    """
    roots = [row.key for row in want if row.final and row.key in rows]
    gone = closure(roots, rows, kinds) if roots else ()
    lost = [key for key in gone if kinds.tables[key[0]].cannot_be_made(rows[key], kinds)]
    return closure(lost, rows, kinds) if lost else set()


def _error(key: Key, root: Key, why: str, rows: Rows, kinds: Kinds) -> Error:
    name, cause = _said(key, rows, kinds), _said(root, rows, kinds)
    with_it = "" if name == cause else f" with {cause}"
    return Error(
        f"{name} would be deleted{with_it} and could not be made again: {why}",
        kind=ErrorKind.UNSUPPORTED,
        subject=cause,
        hint=f"delete or move {name} yourself first, or leave {cause} as it is",
    )


def _said(key: Key, rows: Rows, kinds: Kinds) -> str:
    table = kinds.tables[key[0]]
    return key[1] if table.about else table.what(key, rows[key])
