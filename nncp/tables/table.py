"""What a table of rows is made of: the one description from which everything else derives.

Order, collateral damage, reading, writing, the sentences of a plan and of an error, and what `show` prints of
it all read these. A new table is one new file beside this one, and its name in `nncp.known.TABLES`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from msgspec import Struct

from nncp.host import Host, Key, Op, Row
from nncp.kinds.kind import Attr, Kind
from nncp.tables.words import in_brackets, value

if TYPE_CHECKING:
    from nncp.tables.kinds import Kinds
    from nncp.tables.link import LinkMessage

Rows: TypeAlias = Mapping[Key, Mapping[str, Any]]
"""The attributes of each row, by key."""


class Dumps(Protocol):
    """What a table reads from: the kernel's dumps, and the links, which are dumped once for all tables."""

    @property
    def kinds(self) -> Kinds:
        """The interface types and tables."""

    @property
    def links(self) -> Sequence[LinkMessage]:
        """The links, in the kernel's order."""

    @property
    def names(self) -> Mapping[int, str]:
        """The name of each link by its index."""

    @property
    def tells_makers(self) -> bool:
        """Whether this kernel says of an address who made it (IFA_PROTO, since Linux 5.18)."""

    def dump(self, kind: int, body: bytes) -> Iterable[bytes]:
        """Return the bodies of the messages that answer a dump."""


class Taken(Struct, frozen=True):
    """What a plan takes from a host that stands again afterwards, or would after a rollback.

    Args:
        links: links that are deleted, for good or to be made again.
        ports: links that leave their controller.
        down: links that go down, those that are deleted included.
        moved: links that stay, and whose MAC address may change.

    """

    links: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()
    down: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.links or self.ports or self.down or self.moved)


class Look(Protocol):
    """A narrow look at what a plan takes, beside the snapshot on which it was planned."""

    @property
    def kinds(self) -> Kinds:
        """The interface types and tables."""

    @property
    def host(self) -> Host:
        """The snapshot."""

    @property
    def names(self) -> Mapping[int, str]:
        """The name of each link by its index."""

    def dump(self, kind: int, body: bytes) -> Iterable[bytes]:
        """Return the bodies of the messages that answer a dump; nothing where the kernel knows no such."""

    def link(self, name: str) -> LinkMessage | None:
        """Return one link as it is now, or None where it has gone."""

    def elsewhere(self) -> Sequence[tuple[int, str, str]]:
        """Return what rests on links of this namespace from others: the link's index, the type, the name."""

    def settings(self, folder: str) -> Mapping[str, str]:
        """Return the sysctls of a folder that may be read and written, by their last part."""


class Indexes(Protocol):
    """The index of each link, those that the present plan makes included, and its open namespaces."""

    @property
    def kinds(self) -> Kinds:
        """The interface types and tables."""

    @property
    def namespaces(self) -> Mapping[str, int]:
        """Open descriptors of network namespaces, by path."""

    def __getitem__(self, name: str) -> int:
        """Return a link's index; KeyError when there is none of that name."""

    def new(self, name: str, former: int | None = None) -> int:
        """Return the index that a new link is to get: its former one, or one that is nobody's."""

    def forget(self, name: str) -> int:
        """Return the index of a link that goes."""

    def rename(self, old: str, new: str) -> None:
        """Take note of a link's new name."""


class Sysctl(Struct, frozen=True):
    """A write that is no message: a sysctl, below /proc/sys."""

    path: str
    value: str


class Tap(Struct, frozen=True):
    """A write that is no message: a tap, made by ioctls on /dev/net/tun."""

    name: str
    index: int
    attrs: Mapping[str, Any]


class Usable(Struct, frozen=True):
    """A wait before what follows: until no duplicate address detection goes on for an IPv6 address."""

    address: str


Write: TypeAlias = "bytearray | Sysctl | Tap | Usable"

SHARED = "shared"
"""The first part of what rows uphold together: ("shared", "ipv4", "eth1") is upheld by eth1's addresses."""


def _nothing(*_: Any) -> tuple[()]:
    return ()


def _no(*_: Any) -> bool:
    return False


def _none(*_: Any) -> set[Key]:
    return set()


def _nowhere(_: Row) -> None:
    return None


def _as_it_is(key: Key, rows: Rows, ops: Mapping[str, list[Op]]) -> Mapping[str, Any]:  # noqa: ARG001
    return rows[key]


def _unsaid(*_: Any) -> str:
    return ""


def _as_written(_: Key, __: Mapping[str, Any], number: int) -> tuple[Any, ...]:
    return (number,)


def _sentence(op: Op) -> str:
    return f"{op.verb} {op.key[0]} {' '.join(op.key[1:])}"


def _what(key: Key, attrs: Mapping[str, Any]) -> str:
    return f"{key[0]} {' '.join(key[2:])}".rstrip() + in_brackets(attrs)


def _changed(op: Op) -> str:
    return ", ".join(f"{name}: {value(op.old.get(name))} → {value(new)}" for name, new in op.attrs.items())


def _shown(host: Host, names: set[str]) -> Mapping[str, Any]:  # noqa: ARG001  (a Table's shape)
    return {}


class Table(Struct, frozen=True):
    """A table of rows.

    Args:
        name: the first part of its rows' keys.
        read: the rows that the kernel's dumps hold.
        taken: what of its rows is read only where a plan takes it, since it is only sent back: rows that no
            snapshot holds, and rows of one with further attributes.
        write: the messages that carry out an operation on a row, in order.
        attrs: what its rows may hold, by what is written to the kernel; for a link or port of a kind.
        needs: the keys without which a row cannot be, and with which the kernel takes it; takes key, rows
            and Kinds.
        upholds: what a row keeps alive together with its equals, until the last of them goes.
        lives_on: what of that a row needs, by key and attributes.
        fallen: which of some rows a host could not hold, though all that they need is there.
        cannot_be_made: why a row could not be made again if it went, or ""; takes attributes and Kinds.
        links: the links that a row is about, beside the second part of its key.
        own: whether the kernel makes this row by itself.
        fleeting: whether it also ends by itself: a rollback brings back only one that an apply has removed.
        replaced: whether a changed row is removed and made again, unless only attributes in `live` change.
        live: see `replaced`.
        whole: whether a change is written with all attributes of the row, since a message replaces it.
        amid: the attributes of a row as they are among the wanted ones alone; takes key, rows and the wanted
            rows.
        behind: the rows that the kernel would take away instead, since they stand before this one; takes
            attributes.
        recorded: the attributes of a row to which a rollback leads back; takes key, rows and the operations
            of an apply by the second part of their keys.
        follows: the key of the row behind which one is wanted, and with which it is made anew; None for none.
        stem: what the keys of rows have in common that only their place in a dump tells apart; () for none.
        takes: what the kernel takes with a change of a row; takes key, wanted attributes and rows.
        spared: whether the kernel may spare a row when another of its table goes that it needs: it is then
            removed by itself, and first, where it is to go.
        turn: where among the rows of its table one is written that could be written now; takes key,
            attributes and the place at which it was wanted.
        apart: whether no snapshot holds its rows: they are read by `taken` alone.
        by_mac: whether its rows go also when the MAC address of their link changes.
        about: whether the second part of a key is the name of a link.
        sentence: an operation in plain words, as in `the kernel refused to ...`.
        what: a row in a plan, after its link's name.
        changed: a change in a plan, after its link's name.
        marks: the sign before a line of a plan, where it is not the usual one.
        told: whether a row is told in a plan also when it goes by itself with something else.
        counted: whose a row is, when rows that go by themselves are told by number alone; "" when by each.
        partly: what such a row loses if it may lose only a part, before its number.
        plural: what rows that come back are called in a summary; "" when they are not counted.
        renamed: a key and attributes after links were renamed, where the link is not just the second part.
        show: the part of a document that describes the rows, or nothing.
        section: the part of a document whose `config` lists what is asked of the rows, "" for none.
        asks: the rows that its entries ask for, each with the entry's index; takes the entries, the host, and
            what is told of an entry that cannot be meant: its index, a sentence and a hint.

    """

    name: str
    read: Callable[[Dumps], Iterable[Row]] = _nothing
    taken: Callable[[Look, Taken], Iterable[Row]] = _nothing
    write: Callable[[Op, Indexes], Iterable[Write]] = _nothing
    attrs: Callable[[Kind | None], Iterable[Attr]] = _nothing
    needs: Callable[[Key, Rows, Any], Iterable[Key]] = _nothing
    upholds: Callable[[Key], Iterable[Key]] = _nothing
    lives_on: Callable[[Key, Mapping[str, Any]], Iterable[Key]] = _nothing
    fallen: Callable[[Iterable[Key], Rows, Any], set[Key]] = _none
    cannot_be_made: Callable[[Mapping[str, Any], Any], str] = _unsaid
    links: Callable[[Key, Mapping[str, Any]], Iterable[str]] = _nothing
    own: Callable[[Key, Mapping[str, Any]], bool] = _no
    fleeting: Callable[[Key, Mapping[str, Any]], bool] = _no
    replaced: bool = False
    live: frozenset[str] = frozenset()
    whole: bool = False
    amid: Callable[[Key, Rows, Mapping[Key, Row]], Mapping[str, Any]] | None = None
    behind: Callable[[Mapping[str, Any]], Iterable[Key]] = _nothing
    recorded: Callable[[Key, Rows, Mapping[str, list[Op]]], Mapping[str, Any]] = _as_it_is
    follows: Callable[[Row], Key | None] = _nowhere
    stem: Callable[[Key], Key] = _nothing
    takes: Callable[[Key, Mapping[str, Any], Rows], Iterable[Key]] | None = None
    spared: bool = False
    turn: Callable[[Key, Mapping[str, Any], int], tuple[Any, ...]] = _as_written
    apart: bool = False
    by_mac: bool = False
    about: bool = True
    sentence: Callable[[Op], str] = _sentence
    what: Callable[[Key, Mapping[str, Any]], str] = _what
    changed: Callable[[Op], str] = _changed
    marks: Mapping[str, str] = {}
    told: bool = False
    counted: Callable[[Mapping[str, Any]], str] = _unsaid
    partly: Callable[[Mapping[str, Any]], str] = _unsaid
    plural: str = ""
    renamed: Callable[[Key, Mapping[str, Any], Mapping[str, str]], tuple[Key, Mapping[str, Any]]] | None = (
        None
    )
    show: Callable[[Host, set[str]], Mapping[str, Any]] = _shown
    section: str = ""
    asks: Callable[[Sequence[Any], Host, Callable[[int, str, str], None]], Iterable[tuple[Row, int]]] = (
        _nothing
    )


def not_sent_back(attrs: Mapping[str, Any]) -> str:
    """Return that a row has what we cannot send back, if it has: `unknown` are the attributes' numbers."""
    unknown = attrs.get("unknown")
    return f"it has what nncp cannot send back: {', '.join(unknown)}" if unknown else ""


def references(key: Key, attrs: Mapping[str, Any], kinds: Kinds) -> Iterator[tuple[Attr, str]]:
    """Yield the links that a row's attributes name, each with the attribute."""
    for attr in kinds.ties(key[0], str(attrs.get("type", ""))):
        if name := attrs.get(attr.name):
            yield attr, name
