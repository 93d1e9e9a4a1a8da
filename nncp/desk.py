"""What the compilation of a document works on: what it has found, and what it looks things up in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from nncp.document.state import SAME_TYPE, Interface
from nncp.host import Host, Key, Row
from nncp.kinds.flat import is_given
from nncp.kinds.kind import Fault, Kind
from nncp.tables.kinds import Kinds

if TYPE_CHECKING:
    from collections.abc import Mapping

Path = tuple[str | int, ...]


class Note(Struct, frozen=True):
    """What a plan says beside what it writes: a verb, the row that it is about, a line, and which links."""

    verb: Literal["keep", "warn"]
    key: Key
    text: str
    names: tuple[str, ...] = ()


class Compiled(Struct):
    """Wanted rows, where in the document each comes from, what is wrong with the document, and notes."""

    rows: dict[Key, Row]
    origins: dict[Key, Path]
    faults: list[tuple[str, Fault]]
    notes: list[Note] = []


class Desk(Struct):
    """What the compilation of one document works on."""

    host: Host
    kinds: Kinds
    out: Compiled
    named: dict[str, tuple[int, Interface]]
    freed: set[Key]
    seen_peers: dict[str, str] | None = None

    def add(self, row: Row, path: Path, *, implied: bool = False) -> None:
        """Take a row in; an implied one never contradicts what the document says outright.

        A link that is to be ignored stays exactly as it is, whoever mentions it.
        """
        if self.is_ignored(row):
            return
        have = self.out.rows.get(row.key)
        freed = have is not None and have.absent and row.key in self.freed
        if have is None or (freed and not row.absent):
            # A port that one list lets go and another takes moves; lists may come in any order.
            self.out.rows[row.key] = row
            self.out.origins[row.key] = path
            self.freed.update([row.key] if implied and row.absent else [])
        elif have.absent == row.absent:
            attrs = {**row.attrs, **have.attrs} if implied else {**have.attrs, **row.attrs}
            self.out.rows[row.key] = Row(row.key, attrs, (), row.absent)
        elif not implied:
            self.out.rows[row.key] = row
            self.out.origins[row.key] = path

    def fault(
        self,
        subject: str,
        path: Path,
        message: str,
        hint: str = "",
        *,
        unsupported: bool = False,
        of_host: bool = True,
    ) -> None:
        """Note what is wrong; compiling goes on, so that all of it is told at once."""
        self.out.faults.append((subject, Fault(path, message, hint, unsupported, of_host)))

    def is_ignored(self, row: Row) -> bool:
        """Whether a row is about a link that the document wants left alone."""
        found = self.named.get(row.name) if self.kinds.tables[row.key[0]].about else None
        return found is not None and found[1].state in {"ignore", "unknown"}

    def kind_of(self, interface: Interface) -> Kind | None:
        """Return the kind of an interface: what the document says, or else what the host has."""
        type_name = (
            interface.type
            if is_given(interface.type)
            else self.host.attr("link", interface.name, name="type")
        )
        if type_name in SAME_TYPE and (is_given(interface.part("veth")) or interface.name in self.peers):
            return self.kinds.by_type.get("veth")
        return self.kinds.by_type.get(str(type_name))

    @property
    def peers(self) -> Mapping[str, str]:
        """The other end's name of each link that a document names as the peer of a veth."""
        if self.seen_peers is None:
            self.seen_peers = {
                str(veth.peer): interface.name
                for _, interface in self.named.values()
                if is_given(veth := interface.part("veth")) and is_given(veth.peer)
            }
        return self.seen_peers

    def is_absent(self, name: str) -> bool:
        """Whether the document itself takes a link away."""
        return name in self.named and self.named[name][1].state == "absent"

    def type_of(self, name: str) -> str:
        """Return the type that a link will have, or ""."""
        row = self.out.rows.get(("link", name))
        return str((row and row.attrs.get("type")) or self.host.attr("link", name, name="type", default=""))

    def will_be(self, name: str) -> bool:
        """Whether a link of this name will be there."""
        if name in self.named:
            return self.named[name][1].state not in {"absent", "ignore"} or (
                self.named[name][1].state == "ignore" and ("link", name) in self.host
            )
        return ("link", name) in self.host or ("link", name) in self.out.rows
