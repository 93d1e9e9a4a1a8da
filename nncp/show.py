"""From rows to a document: what `nncp show` prints, and what applying it again leaves as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.tables.address import is_kernels_own, is_v6

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncp.host import Host, Row
    from nncp.tables.kinds import Kinds

ETHERNET = len("00:00:00:00:00:00")


def show_state(host: Host, kinds: Kinds, names: Iterable[str] = ()) -> dict[str, Any]:
    """Return the document that describes `host`, or only the interfaces `names` of it."""
    wanted = set(names)
    links = sorted(
        (row for row in host.table("link") if not wanted or row.name in wanted), key=lambda row: row.name
    )
    addresses: dict[str, list[str]] = {}
    for row in host.table("address"):
        addresses.setdefault(row.name, []).append(row.key[2])
    shown: dict[str, Any] = {
        "interfaces": [_interface(row, host, kinds, addresses.get(row.name, [])) for row in links]
    }
    sections: dict[str, Any] = {}
    for table in kinds.tables.values():
        sections |= table.show(host, wanted)
    return {**sections, **shown}


def _interface(row: Row, host: Host, kinds: Kinds, addresses: list[str]) -> dict[str, Any]:
    attrs, name = row.attrs, row.name
    shown: dict[str, Any] = {
        "name": name,
        "type": attrs["type"],
        "state": "up" if ("up", name) in host else "down",
    }
    if attrs.get("alias"):
        shown["description"] = attrs["alias"]
    if len(attrs.get("mac", "")) == ETHERNET:
        shown["mac-address"] = attrs["mac"].upper()
    shown["mtu"] = attrs.get("mtu")
    if controller := host.attr("port", name, name="controller"):
        shown["controller"] = controller
    shown["ipv4"] = _ip([address for address in addresses if not is_v6(address)])
    shown["ipv6"] = _ip([address for address in addresses if is_v6(address)])
    if host.attr("sysctl", f"net/ipv6/conf/{name}/disable_ipv6", name="value") == "0":
        shown["ipv6"] = {**shown["ipv6"], "enabled": True}
        if controller and not _own(host, name, addresses):
            del shown["ipv6"]  # a port has no IP to enable, and nobody switched it off
    kind = kinds.by_type.get(attrs["type"])
    if kind and kind.section and kind.show:
        section = kind.show(host, name)
        if section:
            shown[kind.section] = section
    if kind is None:
        # Another tool's link of a type that we do not write: shown, and left alone when applied.
        shown["state"] = "ignore"
    return shown


def _own(host: Host, name: str, addresses: list[str]) -> list[str]:
    """Return the IPv6 addresses that somebody gave to a link."""
    return [
        address
        for address in addresses
        if is_v6(address)
        and not is_kernels_own(("address", name, address), host.rows["address", name, address].attrs)
    ]


def _ip(addresses: list[str]) -> dict[str, Any]:
    if not addresses:
        return {"enabled": False}
    entries = []
    for address in sorted(addresses):
        ip, _, prefix = address.partition("/")
        entries.append({"ip": ip, "prefix-length": int(prefix)})
    return {"enabled": True, "address": entries}
