"""Links that stand under their former name, and all their rows, under the wanted one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.host import Host, Key, Op, Row
from nncp.needs import closure
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows


class Renaming(Struct, frozen=True):
    """Rows under their new names, the operations that got them there, and the rows these took away."""

    rows: dict[Key, Mapping[str, Any]]
    ops: list[Op] = []
    taken: frozenset[Key] = frozenset()


def renamed(now: Host, want: Iterable[Row], kinds: Kinds) -> Renaming:
    """Give links that stand under their former name the wanted one, together with all their rows."""
    rows = {row.key: row.attrs for row in now}
    names = {row.was: row.name for row in want if row.was and _is_rename(row, rows)}
    if not names:
        return Renaming(rows)
    ops = []
    for old, new in names.items():
        if ("link", new) in rows:
            ops.append(Op("remove", ("link", new), old=rows["link", new], type=rows["link", new]["type"]))
            rows = _less(rows, ("link", new), kinds)
        if ("up", old) in rows:
            # dev_change_name() refuses a link that is up in kernels before 6.2 (net/core/dev.c).
            ops.append(Op("remove", ("up", old), back=True))
        ops.append(Op("rename", ("link", new), {"name": new}, {"name": old}))
    taken = closure((("up", old) for old in names), rows, kinds)
    moved = dict(_with_name(key, rows[key], names, kinds) for key in rows)
    return Renaming(moved, ops, frozenset(_with_name(key, rows[key], names, kinds)[0] for key in taken))


def _is_rename(row: Row, rows: Rows) -> bool:
    old, new = rows.get(("link", row.was)), rows.get(row.key)
    if old is None or row.absent or old.get("type") != row.attrs.get("type", old.get("type")):
        return False
    return new is None or new.get("type") != old.get("type")


def _less(rows: Rows, root: Key, kinds: Kinds) -> dict[Key, Mapping[str, Any]]:
    gone = closure([root], rows, kinds)
    return {key: attrs for key, attrs in rows.items() if key not in gone}


def _with_name(
    key: Key, attrs: Mapping[str, Any], names: Mapping[str, str], kinds: Kinds
) -> tuple[Key, Mapping[str, Any]]:
    table = kinds.tables[key[0]]
    if table.renamed:
        return table.renamed(key, attrs, names)
    told = {attr.name: names[name] for attr, name in references(key, attrs, kinds) if name in names}
    return (key[0], names.get(key[1], key[1]), *key[2:]), {**attrs, **told}
