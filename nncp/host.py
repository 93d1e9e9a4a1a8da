"""What a kernel holds, in rows; and what is to be done to it, in operations.

A row is one thing: a link, its being up, its membership of a controller, its VLANs, an address, a
route, a rule, a sysctl. What must exist before a row is among its `needs`, and the kernel takes the
row away with any of them. That one relation gives the order of creation, the order of removal and the
collateral damage of a change, so there is no other place where order is decided.

Keys, and the attributes that their rows carry:

    ("link", name)                     type, index, mtu, mac, and what its kind adds
    ("up", name)                       none: the link is administratively up
    ("port", name)                     controller, type (of the controller), and its port attributes
    ("vlans", name)                    vids: ((first, last, "pvid untagged" | "untagged" | ""), ...)
    ("address", name, "10.0.0.1/24")   scope, flags ... of the address
    ("route", table, destination, metric, next hop ...)
    ("rule", family, ...)
    ("sysctl", "net/ipv6/conf/br0/disable_ipv6")   value
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Value: TypeAlias = Any
"""str, int, bool, None or a tuple of these: whatever compares by value and prints as itself."""

Key: TypeAlias = tuple[str, ...]
Attrs: TypeAlias = "Mapping[str, Value]"


class Cost(IntEnum):
    """What changing an attribute costs the traffic on the link."""

    LIVE = 0  # in place
    DOWN = 1  # the link must be down
    EMPTY = 2  # down, and without ports
    NEW = 3  # delete and create


class Row(Struct, frozen=True):
    """One thing that a kernel holds, or that it should hold (or, `absent`, should not).

    A wanted row carries only the attributes that somebody asked for; what it does not carry stays as it is.
    One with attributes that is to be absent means only the row that has them.
    `was` is the name under which the wanted link may still stand: it is then renamed. `final` says of an
    absent row that nobody wants it back: it may go although it could not be made again.
    """

    key: Key
    attrs: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Key, ...] = ()
    absent: bool = False
    was: str = ""
    final: bool = False

    @property
    def name(self) -> str:
        """The second part of the key: a link's name for all rows that belong to a link."""
        return self.key[1]


class Op(Struct, frozen=True):
    """One write: what a kernel is told, and what a person reads in a plan.

    `attrs` are the attributes to write, `old` what they replace, `type` the kind of the link, or of the
    controller for a port. `back` marks what nobody asked for: it restores what another operation takes away.
    `implied` marks what is not written at all: it goes by itself with what another operation removes.
    """

    verb: Literal["create", "change", "remove", "rename"]
    key: Key
    attrs: Mapping[str, Any] = field(default_factory=dict)
    old: Mapping[str, Any] = field(default_factory=dict)
    type: str = ""
    back: bool = False
    implied: bool = False


def untold(attrs: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a link has of its own and does not tell, since another's values are in force.

    What it tells all the same, as a bond its active port's MAC address, is right with any value.
    """
    return tuple(name for name in attrs.get("borrowed", ()) if name not in attrs)


class Host:
    """The rows of a host, by key; they do not change once somebody has looked into it.

    Attributes:
        rows: each row by its key.
        listed: the links that documents applied here have listed as ports: see `nncp.kinds.ports`.
        carried: the bridges, each with a VLAN, that carry it themselves only for a document's VLAN link.

    """

    __slots__ = ("_links", "_ports", "_tables", "carried", "listed", "rows")

    def __init__(
        self,
        rows: Iterable[Row] = (),
        *,
        listed: Iterable[str] = (),
        carried: Iterable[tuple[str, int]] = (),
    ) -> None:
        self.rows: dict[Key, Row] = {row.key: row for row in rows}
        self.listed = frozenset(listed)
        self.carried = frozenset(carried)
        self._tables: dict[str, list[Row]] | None = None
        self._links: dict[str, dict[str, list[Row]]] = {}
        self._ports: dict[str, list[Row]] | None = None

    def __contains__(self, key: Key) -> bool:
        return key in self.rows

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows.values())

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Host) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Host({list(self.rows.values())!r})"

    def with_rows(self, rows: Iterable[Row]) -> Host:
        """Return this host with further rows, or with others in their place."""
        return Host((*self.rows.values(), *rows), listed=self.listed, carried=self.carried)

    def where(self, *, listed: Iterable[str], carried: Iterable[tuple[str, int]]) -> Host:
        """Return this host with what documents put there."""
        return Host(self.rows.values(), listed=listed, carried=carried)

    def get(self, *key: str) -> Row | None:
        """Return the row with this key, or None."""
        return self.rows.get(key)

    def attr(self, *key: str, name: str, default: Value = None) -> Value:
        """Return one attribute of a row, or `default` when the row or the attribute is not there."""
        row = self.rows.get(key)
        return default if row is None else row.attrs.get(name, default)

    def table(self, table: str) -> Sequence[Row]:
        """Return the rows of one table: `link`, `port`, `address` and so on."""
        if self._tables is None:
            self._tables = {}
            for key, row in self.rows.items():
                self._tables.setdefault(key[0], []).append(row)
        return self._tables.get(table, ())

    def of(self, table: str, name: str) -> Sequence[Row]:
        """Return the rows of one table whose key's second part is `name`: a link's addresses, say."""
        found = self._links.get(table)
        if found is None:
            found = self._links[table] = {}
            for row in self.table(table):
                found.setdefault(row.key[1], []).append(row)
        return found.get(name, ())

    def ports(self, controller: str) -> list[Row]:
        """Return the rows of a controller's ports."""
        if self._ports is None:
            self._ports = {}
            for row in self.table("port"):
                self._ports.setdefault(row.attrs["controller"], []).append(row)
        return self._ports.get(controller, [])
