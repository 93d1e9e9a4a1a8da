"""The interface types and the tables together: what is handed to whoever plans, reads or writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from nncp import wire
from nncp.kinds.foreign import FOREIGN
from nncp.kinds.kind import Attr, Kind
from nncp.tables.table import Table


class Kinds(Struct, frozen=True):
    """The interface types that are known, by either of their names, and the tables of rows.

    `foreign` are types that only tell what they rest on. `rank` says which of the rows that could be written
    now go first. `seen`, `seen_ties` and `seen_picks` remember what has been looked up.
    """

    by_type: Mapping[str, Kind] = field(default_factory=dict)
    by_link: Mapping[str, Kind] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict)
    rank: Mapping[str, int] = field(default_factory=dict)
    foreign: Mapping[str, Kind] = field(default_factory=dict)
    seen: dict[tuple[str, str], Mapping[str, Attr]] = field(default_factory=dict)
    seen_ties: dict[tuple[str, str], tuple[Attr, ...]] = field(default_factory=dict)
    seen_picks: dict[tuple[str, bool], wire.Pick] = field(default_factory=dict)

    @classmethod
    def of(cls, kinds: Iterable[Kind], tables: Iterable[Table]) -> Kinds:
        """Index `kinds` by nmstate's and by the kernel's word, and `tables` by name."""
        found, every = tuple(kinds), tuple(tables)
        return cls(
            {kind.type: kind for kind in found},
            {kind.link: kind for kind in found if kind.link},
            {table.name: table for table in every},
            {table.name: number for number, table in enumerate(every)},
            {kind.type: kind for kind in FOREIGN if kind not in found},
        )

    def tells(self, row_type: str) -> Kind | None:
        """Return the type that says how links of it are read, written by us or not."""
        return self.by_type.get(row_type) or self.foreign.get(row_type)

    def is_routed(self, controller_type: str) -> bool:
        """Whether the ports of a type of controllers keep their addresses."""
        kind = self.by_type.get(controller_type)
        return kind is not None and kind.routed

    def attrs(self, table: str, row_type: str) -> Mapping[str, Attr]:
        """Return what a row of a table may hold, by name; a port by its controller's type."""
        found = self.seen.get((table, row_type))
        if found is None:
            every = self.tables[table].attrs(self.tells(row_type))
            found = self.seen[table, row_type] = {attr.name: attr for attr in every}
        return found

    def ties(self, table: str, row_type: str) -> tuple[Attr, ...]:
        """Return those of `attrs` whose values are links."""
        found = self.seen_ties.get((table, row_type))
        if found is None:
            found = tuple(attr for attr in self.attrs(table, row_type).values() if attr.tie)
            self.seen_ties[table, row_type] = found
        return found

    def pick(self, kind: Kind, *, port: bool = False) -> wire.Pick:
        """Return what reads, of a link of a type or of a port of one, what its rows are made of."""
        found = self.seen_picks.get((kind.type, port))
        if found is None:
            numbers = (attr.number for attr in (kind.port_attrs if port else kind.attrs))
            found = wire.Pick(0, (*numbers, *(() if port else kind.looks_at)))
            self.seen_picks[kind.type, port] = found
        return found
