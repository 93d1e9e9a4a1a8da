"""From rows to a document: what `nncp show` prints, and what applying it again leaves as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from nncp.carried import is_uncarried
from nncp.kinds.codec import readable
from nncp.tables.address import is_advertised, is_v6, local_of
from nncp.tables.link import has_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nncp.host import Host, Row
    from nncp.tables.kinds import Kinds

ETHERNET = len("00:00:00:00:00:00")


def show_state(host: Host, kinds: Kinds, names: Iterable[str] = ()) -> dict[str, Any]:
    """Return the document that describes `host`, or only the interfaces `names` of it."""
    state = looked_into(host, kinds, names)
    return {**state, "interfaces": [entry.whole for entry in state["interfaces"]]}


def looked_into(host: Host, kinds: Kinds, names: Iterable[str] = ()) -> dict[str, Any]:
    """Return the same with interfaces of which as much is made up as somebody looks into.

    Of thousands a capture compares one property each, and takes a few.
    """
    wanted = set(names)
    links = sorted(
        (row for row in host.table("link") if not wanted or row.name in wanted), key=lambda row: row.name
    )
    sections: dict[str, Any] = {}
    for table in kinds.tables.values():
        sections |= table.show(host, wanted)
    return {**sections, "interfaces": [Entry(row, host, kinds) for row in links]}


class Entry(Mapping[str, Any]):
    """The entry of one interface."""

    __slots__ = ("_host", "_kinds", "_row", "_whole")

    def __init__(self, row: Row, host: Host, kinds: Kinds) -> None:
        self._row, self._host, self._kinds = row, host, kinds
        self._whole: dict[str, Any] = {}

    @property
    def whole(self) -> dict[str, Any]:
        """All of it, as plain data."""
        if not self._whole:
            self._whole = _interface(self._row, self._host, self._kinds)
        return self._whole

    def __getitem__(self, word: str) -> Any:
        return self.whole[word]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)

    def get(self, word: str, default: Any = None) -> Any:
        """Return one property; those of the link itself without the rest."""
        if word not in OWN or self._whole:
            return self.whole.get(word, default)
        value = OWN[word](self._row, self._host, self._kinds)
        return default if value is None else value


def _type(row: Row, _: Host, kinds: Kinds) -> str:
    kind = kinds.by_type.get(row.attrs["type"])
    return (kind and kind.shown_as) or str(row.attrs["type"])


def _state(row: Row, host: Host, kinds: Kinds) -> str:
    """Return whether it is up, or, of what no document can ask for, that applying leaves it alone."""
    kind = kinds.by_type.get(row.attrs["type"])
    if kind is None or kind.shown_as or is_uncarried(row.name, host):
        return "ignore"
    return "up" if ("up", row.name) in host else "down"


def _mac(row: Row, *_: Any) -> str | None:
    mac = row.attrs.get("mac", "")
    return mac.upper() if len(mac) == ETHERNET and has_mac(row.attrs) else None


OWN: Mapping[str, Callable[[Row, Host, Kinds], Any]] = {
    "name": lambda row, *_: row.name,
    "type": _type,
    "state": _state,
    "description": lambda row, *_: readable(row.attrs.get("alias")) or None,
    "mac-address": _mac,
    "mtu": lambda row, *_: row.attrs.get("mtu"),
    "controller": lambda row, host, _: host.attr("port", row.name, name="controller"),
}
"""The properties that take few looks, by their words; None where the interface has none."""


def _interface(row: Row, host: Host, kinds: Kinds) -> dict[str, Any]:
    own = ((word, read(row, host, kinds)) for word, read in OWN.items())
    shown = {word: value for word, value in own if value is not None}
    shown |= _families(row.name, host, host.of("address", row.name), kinds)
    kind = kinds.by_type.get(row.attrs["type"])
    if kind and kind.section and kind.show and (section := kind.show(host, row.name)):
        shown[kind.section] = section
    return shown


def _families(name: str, host: Host, addresses: Sequence[Row], kinds: Kinds) -> dict[str, Any]:
    """Return the sections of both families; of a port what is off alone: its controller speaks for it.

    No document can ask for what routers advertise, and one that does not refuse it leaves it to them.
    """
    found: dict[str, list[dict[str, Any]]] = {"ipv4": [], "ipv6": []}
    for row in addresses:
        if not is_advertised(row.key, row.attrs):
            found["ipv6" if is_v6(row.key[2]) else "ipv4"].append(_address(row))
    shown = {family: _ip(entries) for family, entries in found.items()}
    if host.attr("sysctl", f"net/ipv6/conf/{name}/disable_ipv6", name="value") == "0":
        shown["ipv6"]["enabled"] = True
    port = host.get("port", name)
    routed = port is None or kinds.is_routed(port.attrs.get("type", ""))
    return {word: section for word, section in shown.items() if routed or not section["enabled"]}


def _ip(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the section of a family, its addresses in the kernel's order, which a document means too."""
    return {"enabled": True, "address": entries} if entries else {"enabled": False}


def _address(row: Row) -> dict[str, Any]:
    ip, _, prefix = local_of(row.key[2]).partition("/")
    entry: dict[str, Any] = {"ip": ip, "prefix-length": int(prefix)}
    if not row.attrs.get("lasting", True):
        lives = (("valid-life-time", "valid"), ("preferred-life-time", "preferred"))
        entry |= {word: f"{row.attrs[name]}sec" for word, name in lives if name in row.attrs}
    return entry
