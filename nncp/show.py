"""From rows to a document: what `nncp show` prints, and what applying it again leaves as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.carried import is_uncarried
from nncp.kinds.codec import readable
from nncp.tables.address import is_advertised, is_v6, local_of
from nncp.tables.link import has_mac

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nncp.host import Host, Row
    from nncp.tables.kinds import Kinds

ETHERNET = len("00:00:00:00:00:00")


def show_state(host: Host, kinds: Kinds, names: Iterable[str] = ()) -> dict[str, Any]:
    """Return the document that describes `host`, or only the interfaces `names` of it."""
    wanted = set(names)
    links = sorted(
        (row for row in host.table("link") if not wanted or row.name in wanted), key=lambda row: row.name
    )
    shown: dict[str, Any] = {
        "interfaces": [_interface(row, host, kinds, host.of("address", row.name)) for row in links]
    }
    sections: dict[str, Any] = {}
    for table in kinds.tables.values():
        sections |= table.show(host, wanted)
    return {**sections, **shown}


def _interface(row: Row, host: Host, kinds: Kinds, addresses: Sequence[Row]) -> dict[str, Any]:
    attrs, name = row.attrs, row.name
    kind = kinds.by_type.get(attrs["type"])
    shown: dict[str, Any] = {
        "name": name,
        "type": (kind and kind.shown_as) or attrs["type"],
        "state": "up" if ("up", name) in host else "down",
    }
    if attrs.get("alias"):
        shown["description"] = readable(attrs["alias"])
    if len(attrs.get("mac", "")) == ETHERNET and has_mac(attrs):
        shown["mac-address"] = attrs["mac"].upper()
    shown["mtu"] = attrs.get("mtu")
    if controller := host.attr("port", name, name="controller"):
        shown["controller"] = controller
    shown |= _families(name, host, addresses, kinds)
    if kind and kind.section and kind.show:
        section = kind.show(host, name)
        if section:
            shown[kind.section] = section
    if kind is None or kind.shown_as or is_uncarried(name, host):
        # What no document can ask for as it is: shown, and left alone when applied.
        shown["state"] = "ignore"
    return shown


def _families(name: str, host: Host, addresses: Sequence[Row], kinds: Kinds) -> dict[str, Any]:
    """Return the sections of both families; of a port what is off alone: its controller speaks for it.

    No document can ask for what routers advertise, and one that does not refuse it leaves it to them.
    """
    asked = [row for row in addresses if not is_advertised(row.key, row.attrs)]
    ipv4 = _ip([row for row in asked if not is_v6(row.key[2])])
    ipv6 = _ip([row for row in asked if is_v6(row.key[2])])
    if host.attr("sysctl", f"net/ipv6/conf/{name}/disable_ipv6", name="value") == "0":
        ipv6["enabled"] = True
    shown = {"ipv4": ipv4, "ipv6": ipv6}
    port = host.get("port", name)
    routed = port is None or kinds.is_routed(port.attrs.get("type", ""))
    return {word: section for word, section in shown.items() if routed or not section["enabled"]}


def _ip(addresses: Iterable[Row]) -> dict[str, Any]:
    """Return the section of a family, its addresses in the kernel's order, which a document means too."""
    entries = [_entry(row) for row in addresses]
    return {"enabled": True, "address": entries} if entries else {"enabled": False}


def _entry(row: Row) -> dict[str, Any]:
    ip, _, prefix = local_of(row.key[2]).partition("/")
    entry: dict[str, Any] = {"ip": ip, "prefix-length": int(prefix)}
    if not row.attrs.get("lasting", True):
        lives = (("valid-life-time", "valid"), ("preferred-life-time", "preferred"))
        entry |= {word: f"{row.attrs[name]}sec" for word, name in lives if name in row.attrs}
    return entry
