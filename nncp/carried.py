"""VLAN links above a bridge that filters: the bridge itself must carry their VLANs (net/bridge/br_input.c).

A frame reaches a bridge's own device only in a VLAN that the bridge lists for itself. What we add for a VLAN
link goes with the last link of that VLAN; what others added stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.host import Row
from nncp.kinds.linux_bridge import DEFAULT_PVID, LINUX_BRIDGE, merged
from nncp.kinds.vlan import VLAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host, Key

Vids = tuple[tuple[int, int, str], ...]


def carried(want: Mapping[Key, Row], host: Host) -> Iterator[Row]:
    """Yield the VLANs of each bridge itself that wanted rows are about, where they are to change."""
    links = _links(want, host)
    over: dict[str, list[str]] = {}
    for name, link in links.items():
        over.setdefault(str(link.get("base-iface")), []).append(name)
    for bridge in sorted(_bridges(want, links, host)):
        have = _own(bridge, links, host)
        ids = ids_of(have)
        above = {name: links[name] for name in over.get(bridge, ()) if _is_above(links[name], bridge, links)}
        asked = {link["id"] for name, link in above.items() if _counts(name, bridge, want, links, host)}
        needed = {link["id"] for link in above.values()}
        ours = {vid for owner, vid in host.carried if owner == bridge} & ids
        plus, minus = asked - ids, ours - needed
        if plus or minus:
            kept = [(vid, vid, word) for vid, word in _single(have) if vid not in minus]
            vids = merged([*kept, *((vid, vid, "") for vid in plus)])
            stands = host.attr("link", bridge, name="type") == LINUX_BRIDGE.type
            about = plus | minus if stands else ids_of(vids)
            yield Row(("vlans", bridge), {"vids": vids, "ids": tuple(sorted(about))})


def ids_of(vids: Vids) -> set[int]:
    """Return the numbers in VLAN ranges."""
    return {vid for vid, _ in _single(vids)}


def tagged_of(vids: Vids) -> set[int]:
    """Return the numbers in VLAN ranges of which the bridge's default one is none."""
    return {vid for vid, word in _single(vids) if not word}


def _single(vids: Vids) -> Iterator[tuple[int, str]]:
    for first, last, word in vids:
        yield from ((vid, word) for vid in range(first, last + 1))


def _links(want: Mapping[Key, Row], host: Host) -> dict[str, Mapping[str, Any]]:
    """Return the links that there will be."""
    links = {row.name: row.attrs for row in host.table("link")}
    for row in want.values():
        if row.key[0] == "link":
            attrs = links.pop(row.name, {})
            if not row.absent:
                links[row.name] = {**attrs, **row.attrs}
    return links


def _bridges(want: Mapping[Key, Row], links: Mapping[str, Mapping[str, Any]], host: Host) -> set[str]:
    """Return the filtering bridges that wanted links are, rest on, or rested on."""
    named = {row.name for row in want.values() if row.key[0] == "link"}
    below = {str(links.get(name, {}).get("base-iface")) for name in named}
    former = {str(host.attr("link", name, name="base-iface")) for name in named}
    return {
        name
        for name in named | below | former
        if name in links and links[name]["type"] == LINUX_BRIDGE.type and links[name].get("vlan-filtering")
    }


def _own(bridge: str, links: Mapping[str, Mapping[str, Any]], host: Host) -> Vids:
    pvid = links[bridge].get("vlan-default-pvid", DEFAULT_PVID)
    default = ((pvid, pvid, "pvid untagged"),) if pvid else ()
    if host.attr("link", bridge, name="type") != LINUX_BRIDGE.type:
        return default
    have = tuple(host.attr("vlans", bridge, name="vids", default=()))
    former = host.attr("link", bridge, name="vlan-default-pvid", default=DEFAULT_PVID)
    if former == pvid or (former, former, "pvid untagged") not in have:
        return have
    # A new default takes the place of the former one (__br_vlan_set_default_pvid).
    rest = [(vid, vid, word) for vid, word in _single(have) if vid not in {former, pvid}]
    return merged([*rest, *default])


def _is_above(link: Mapping[str, Any], bridge: str, links: Mapping[str, Mapping[str, Any]]) -> bool:
    protocol = links[bridge].get("vlan-protocol", "802.1q")
    return (
        link.get("type") == VLAN.type
        and link.get("base-iface") == bridge
        and link.get("protocol", "802.1q") == protocol
        and "id" in link
    )


def _counts(
    name: str,
    bridge: str,
    want: Mapping[Key, Row],
    links: Mapping[str, Mapping[str, Any]],
    host: Host,
) -> bool:
    """Whether a VLAN link is the document's, or loses its frames by it: others' choices are theirs."""
    begins = bool(links[bridge]["vlan-filtering"]) and not host.attr("link", bridge, name="vlan-filtering")
    return begins or ("link", name) in want


def is_uncarried(name: str, host: Host) -> bool:
    """Whether a link is a VLAN above a bridge that filters and does not carry it, as a document has it do."""
    if host.attr("link", name, name="type") != VLAN.type:
        return False
    bridge = str(host.attr("link", name, name="base-iface"))
    links = {row.name: row.attrs for key in (name, bridge) if (row := host.get("link", key))}
    if not links.get(bridge, {}).get("vlan-filtering") or not _is_above(links[name], bridge, links):
        return False
    return links[name]["id"] not in ids_of(host.attr("vlans", bridge, name="vids", default=()))


def joined(want: Iterable[Row], host: Host) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the bridges that would join VLANs of one link: bridge, link, the VLAN links."""
    rows = {row.key: row for row in want}
    links = _links(rows, host)
    groups: dict[tuple[str, str], list[str]] = {}
    ports = ((row.name, row.attrs["controller"]) for row in rows.values() if "controller" in row.attrs)
    for name, controller in ports:
        link, joining = links.get(name, {}), links.get(controller, {})
        base = link.get("base-iface")  # none where it is in another network namespace
        if base and link["type"] == VLAN.type and joining.get("type") == LINUX_BRIDGE.type:
            groups.setdefault((controller, base), []).append(name)
    yield from ((bridge, base, names) for (bridge, base), names in groups.items() if len(names) > 1)
