"""What lies between a row that is and a row that is wanted: the only comparison there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nncp.host import Key, Row
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows

TELLING = frozenset(
    {
        "elsewhere", "carrier", "queues", "persistent", "min-mtu", "max-mtu", "permanent-mac", "secondary-to",
        "unknown", "ids",
    }
)  # fmt: skip
"""Attributes that inform, and that nobody can write."""
UNCOMPARED = TELLING | {"borrowed", "untold", "index", "peer-index", "valid", "preferred", "expires"}
"""Attributes that identify or inform, and are no wish of their own."""
TYPED = frozenset({"route"})
"""Tables whose rows may get another `type`: of links it is another link, of ports their controller's."""


def difference(have: Mapping[str, Any], row: Row) -> dict[str, Any]:
    """Return the attributes that `row` asks for and `have` does not have."""
    return {
        name: value
        for name, value in row.attrs.items()
        if name not in UNCOMPARED
        and (name != "type" or row.key[0] in TYPED)
        and value is not None
        and have.get(name) != value
        and name not in have.get("borrowed", ())
    }


def groups(keys: Iterable[Key], kinds: Kinds) -> dict[Key, list[Key]]:
    """Return the rows that only their place in a dump tells apart, by what their keys have in common."""
    found: dict[Key, list[Key]] = {}
    for key in keys:
        if stem := kinds.tables[key[0]].stem(key):
            found.setdefault(stem, []).append(key)
    return found


def matched(rows: Rows, want: Mapping[Key, Row], kinds: Kinds) -> dict[Key, Mapping[str, Any]]:
    """Return rows under the keys of those wanted ones that they are.

    Of several routes with one destination and metric the first in a dump has the plain key. Once that route
    is gone the key is the next one's, which nobody asked to change or to remove.
    """
    alike = groups(rows, kinds)
    moved: dict[Key, Key] = {}
    for key, row in want.items():
        stem = kinds.tables[key[0]].stem(key)
        if not stem or row.absent or (key in rows and not difference(rows[key], row)):
            continue
        for other in alike.get(stem, ()):
            theirs = want.get(other)
            taken = theirs and not theirs.absent and not difference(rows[other], theirs)
            if other != key and other not in moved and not taken and not difference(rows[other], row):
                moved[other] = key
                break
    displaced = {key: (*key, "further") for key in moved.values()}
    return {moved.get(key, displaced.get(key, key)): attrs for key, attrs in rows.items()}
