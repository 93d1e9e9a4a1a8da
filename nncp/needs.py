"""What must exist before a row, and goes with it.

The one relation behind creation order, removal order and collateral damage. The tables tell it from the
rows, for a host as it is and for the host that a plan is heading to, so the two cannot disagree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.host import Cost, Key
from nncp.kinds.kind import Tie
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows


def needs(key: Key, rows: Rows, kinds: Kinds) -> Iterable[Key]:
    """Return the keys without which the row `key` of `rows` cannot be."""
    return kinds.tables[key[0]].needs(key, rows, kinds)


def up_before(port: Key, controller_type: str, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    """Yield what must be up before a port is attached: a bond opens it, so its base is open."""
    kind, link = kinds.by_type.get(controller_type), ("link", port[1])
    if kind and kind.port_cost >= Cost.DOWN:
        found = references(link, rows.get(link, {}), kinds)
        yield from (("up", base) for attr, base in found if attr.tie is Tie.RESTS)


def companions(key: Key, rows: Rows, kinds: Kinds) -> list[Key]:
    """Return what goes and comes with a row as its equal: the other end of a veth pair."""
    return [
        other
        for attr, name in references(key, rows[key], kinds)
        if attr.tie is Tie.PAIR and (other := (key[0], name)) in rows
    ]


def upheld(rows: Iterable[Key], kinds: Kinds) -> dict[Key, list[Key]]:
    """Return what rows keep alive together, each with the rows that do: a link's IPv4, by its addresses."""
    found: dict[Key, list[Key]] = {}
    for key in rows:
        for shared in kinds.tables[key[0]].upholds(key):
            found.setdefault(shared, []).append(key)
    return found


def lives_on(key: Key, rows: Rows, kinds: Kinds) -> Iterable[Key]:
    """Return what of that the row `key` of `rows` needs."""
    return kinds.tables[key[0]].lives_on(key, rows[key])


class Dependents(Struct, frozen=True):
    """What needs each row, or what rows uphold together, and which rows uphold that."""

    needed_by: dict[Key, list[Key]]
    upheld: dict[Key, list[Key]]

    @classmethod
    def of(cls, rows: Rows, kinds: Kinds) -> Dependents:
        """Look at each of `rows` once."""
        needed_by: dict[Key, list[Key]] = {}
        for key in rows:
            for need in (*needs(key, rows, kinds), *lives_on(key, rows, kinds)):
                needed_by.setdefault(need, []).append(key)
        return cls(needed_by, upheld(rows, kinds))


def closure(roots: Iterable[Key], rows: Rows, kinds: Kinds, dependents: Dependents | None = None) -> set[Key]:
    """Return `roots` and everything of `rows` that goes with them; `dependents` are those of `rows`."""
    gone = {key for key in roots if key in rows}
    if not gone:
        return gone
    found_by = dependents or Dependents.of(rows, kinds)
    needed_by = found_by.needed_by
    left: dict[Key, int] = {}
    todo = list(gone)
    while todo:
        key = todo.pop()
        found = {*needed_by.get(key, ()), *companions(key, rows, kinds)}
        for shared in kinds.tables[key[0]].upholds(key):
            left[shared] = left.get(shared, len(found_by.upheld[shared])) - 1
            if not left[shared]:
                found.update(needed_by.get(shared, ()))
        found -= gone
        gone |= found
        todo += found
    return gone
