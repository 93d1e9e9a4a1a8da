"""Links of other network namespaces that rest on a link of this one, and go with it: a Pod's macvlan.

Keys are ("elsewhere", link below, type and name). They are read where a plan takes the link below, and could
not be made again, so they refuse it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row
from nncp.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Key
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Look, Rows, Taken


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    for index, kind, name in look.elsewhere() if taken.links else ():
        if (below := look.names.get(index)) in taken.links:
            yield Row(("elsewhere", below, f"{kind} {name}".strip()))


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("link", key[1])


ELSEWHERE = Table(
    name="elsewhere",
    taken=_taken,
    apart=True,
    about=False,
    needs=_needs,
    links=lambda key, _: (key[1],),
    cannot_be_made=lambda _attrs, _kinds: "it is in another network namespace",
    what=lambda key, _: f"{key[2]} in another network namespace",
    told=True,
)
