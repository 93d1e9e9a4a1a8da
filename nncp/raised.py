"""What the kernel brings up by itself: a VLAN with the link that it rests on (vlan_device_event).

It does so a moment after that link is up, whether the VLAN had been up before or not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nncp.host import Host, Key, Op
    from nncp.tables.kinds import Kinds


def raised(ops: Iterable[Op], before: Host, wanted: Collection[Key], kinds: Kinds) -> list[Row]:
    """Return, as absent, the `up` of links that were down before `ops`, and that nobody wants to be up.

    Args:
        ops: what is written.
        before: the host without it.
        wanted: the rows that are wanted, or must not be: what is said of these is done anyhow.
        kinds: the interface types.

    """
    up = {op.key[1] for op in ops if op.key[0] == "up" and op.verb == "create"}
    above: dict[str, list[str]] = {}
    for row in before.table("link") if up else ():
        kind, key = kinds.by_type.get(row.attrs["type"]), ("up", row.name)
        if kind and kind.up_with_base(row.attrs) and key not in before and key not in wanted:
            for _, base in references(row.key, row.attrs, kinds):
                above.setdefault(base, []).append(row.name)
    todo, found = list(up), list[str]()
    while todo:
        names = above.get(todo.pop(), [])
        found += names
        todo += names
    return [Row(("up", name), absent=True) for name in sorted(found)]
