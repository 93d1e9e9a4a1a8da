"""The VLANs of bridge ports and of bridges themselves (net/bridge/br_vlan.c, br_netlink.c).

Keys are ("vlans", name); the attribute `vids` is ((first, last, word), ...), `word` one of WORDS. A wanted
row with `ids` is about those VLANs alone: what somebody else adds or takes away meanwhile is theirs.
"""

from __future__ import annotations

import itertools
import struct
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from nncp import wire
from nncp.host import Row
from nncp.kinds.link import IFLA_AF_SPEC
from nncp.kinds.linux_bridge import LINUX_BRIDGE, merged
from nncp.tables.link import ACK, IFLA_EXT_MASK
from nncp.tables.table import Table
from nncp.tables.words import ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

AF_BRIDGE = 7
RTEXT_FILTER_BRVLAN_COMPRESSED = 4
IFLA_BRIDGE_FLAGS, IFLA_BRIDGE_VLAN_INFO = 0, 2
BRIDGE_FLAGS_SELF = 2
DEFAULT = "vlan-default-pvid"
VLAN_PVID, VLAN_UNTAGGED, VLAN_RANGE_BEGIN, VLAN_RANGE_END = 2, 4, 8, 16
WORDS = {0: "", VLAN_PVID: "pvid", VLAN_UNTAGGED: "untagged", VLAN_PVID | VLAN_UNTAGGED: "pvid untagged"}
DUMP = wire.IFINFO.pack(AF_BRIDGE, 0, 0, 0, 0) + wire.attr(
    IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_BRVLAN_COMPRESSED)
)

GIVEN = wire.Pick(wire.IFINFO.size, (IFLA_AF_SPEC,))

Ranges: TypeAlias = tuple[tuple[int, int, str], ...]


def _read(dumps: Dumps) -> Iterator[Row]:
    if not any(link.attrs["type"] == LINUX_BRIDGE.type for link in dumps.links):
        return
    for data in dumps.dump(wire.RTM_GETLINK, DUMP):
        index = wire.IFINFO.unpack_from(data)[2]
        # Without any VLAN there is no attribute (br_fill_ifinfo).
        spec = GIVEN(data).get(IFLA_AF_SPEC, b"")
        if index in dumps.names and not _is_cards(spec):
            yield Row(("vlans", dumps.names[index]), {"vids": _vids(spec)})


@lru_cache(maxsize=1024)
def _is_cards(spec: bytes) -> bool:
    """Whether it tells of a switch in the card, not of the bridge above (ndo_dflt_bridge_getlink)."""
    return IFLA_BRIDGE_FLAGS in wire.table(spec)


@lru_cache(maxsize=1024)  # most ports have the same
def _vids(spec: bytes) -> Ranges:
    found: list[tuple[int, int, str]] = []
    begin = 0
    for number, data in wire.attrs(spec):
        if number != IFLA_BRIDGE_VLAN_INFO:
            continue
        flags, vid = struct.unpack_from("=HH", data)
        if flags & VLAN_RANGE_BEGIN:
            begin = vid
            continue
        first = begin if flags & VLAN_RANGE_END else vid
        found.append((first, vid, WORDS[flags & (VLAN_PVID | VLAN_UNTAGGED)]))
    return merged(found)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("port", key[1]) if ("port", key[1]) in rows else ("link", key[1])


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    old: Ranges = op.old.get("vids", ())
    new: Ranges = op.attrs.get("vids", ()) if op.verb != "remove" else ()
    is_port = op.type != LINUX_BRIDGE.type
    flags = [] if is_port else [wire.attr(IFLA_BRIDGE_FLAGS, struct.pack("=H", BRIDGE_FLAGS_SELF))]
    for kind, entries in ((wire.RTM_DELLINK, without(old, new)), (wire.RTM_SETLINK, _fresh(new, old))):
        infos = [info for entry in entries for info in _info(*entry)]
        if infos:
            head = wire.IFINFO.pack(AF_BRIDGE, 0, indexes[op.key[1]], 0, 0)
            yield wire.message(kind, ACK, head + wire.nest(IFLA_AF_SPEC, *flags, *infos))


def _info(first: int, last: int, word: str) -> Iterator[bytes]:
    flags = (VLAN_PVID if "pvid" in word else 0) | (VLAN_UNTAGGED if "untagged" in word else 0)
    if first == last:
        yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags, first))
        return
    yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | VLAN_RANGE_BEGIN, first))
    yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | VLAN_RANGE_END, last))


def _fresh(new: Ranges, old: Ranges) -> Iterable[tuple[int, int, str]]:
    fresh = [
        (first, last, word)
        for word in WORDS.values()
        for first, last, _ in without(_of(word, new), _of(word, old))
    ]
    # A PVID that moves: the entry that loses it is written before the one that gets it.
    return sorted(fresh, key=lambda entry: "pvid" in entry[2])


def _of(word: str, entries: Ranges) -> Ranges:
    return tuple(entry for entry in entries if entry[2] == word)


def without(old: Ranges, new: Ranges) -> Ranges:
    """Return the parts of `old` whose numbers are in no range of `new`; neither has a number twice."""
    found = []
    taken, begun = sorted(new), 0
    for first, last, _ in sorted(old):
        at = first
        while begun < len(taken) and taken[begun][1] < first:
            begun += 1
        for begin, end, _ in itertools.islice(taken, begun, None):
            if begin > last:
                break
            if begin > at:
                found.append((at, begin - 1, ""))
            at = end + 1
        if at <= last:
            found.append((at, last, ""))
    return tuple(found)


def words_of(vids: Ranges) -> dict[int, str]:
    """Return the word of each VLAN in ranges."""
    return {vid: word for first, last, word in vids for vid in range(first, last + 1)}


def _amid(key: Key, rows: Rows, want: Mapping[Key, Row]) -> Mapping[str, Any]:
    """Return VLANs as they are as far as the wanted row is about them, and else as it has them."""
    attrs, wanted = rows[key], want[key].attrs
    if want[key].absent or "ids" not in wanted:
        return attrs
    if not wanted["ids"]:
        return {**attrs, "vids": wanted["vids"]}
    have, found = words_of(attrs["vids"]), words_of(wanted["vids"])
    for vid in wanted["ids"]:
        found.pop(vid, None)
        if vid in have:
            found[vid] = have[vid]
    return {**attrs, "vids": merged((vid, vid, word) for vid, word in found.items())}


def _recorded(key: Key, rows: Rows, ops: Mapping[str, list[Op]]) -> Mapping[str, Any]:
    """Return VLANs with which of them an apply changes: of a port or bridge that is made anew it is all."""
    attrs, own = rows[key], ops.get(key[1], ())
    if any(op.verb != "change" and op.key[0] in {"link", "port", "vlans"} for op in own):
        return attrs
    bridge = rows.get(("port", key[1]), {}).get("controller", key[1])
    ids = {
        op_attrs[DEFAULT]
        for op in ops.get(bridge, ())
        for op_attrs in (op.attrs, op.old)
        if op.key[0] == "link" and DEFAULT in op_attrs
    }
    for op in own:
        if op.key == key:
            ids |= {vid for vid, _ in words_of(op.old["vids"]).items() ^ words_of(op.attrs["vids"]).items()}
    return {**attrs, "ids": tuple(sorted(ids))}


def _vids_of(attrs: Any) -> str:
    return ranges(attrs.get("vids", ()))


VLANS = Table(
    name="vlans",
    read=_read,
    write=_write,
    needs=_needs,
    amid=_amid,
    recorded=_recorded,
    sentence=lambda op: f"{'set' if op.verb == 'change' else op.verb} VLANs of {op.key[1]}",
    what=lambda _, attrs: f"VLANs {_vids_of(attrs)}",
    changed=lambda op: f"VLANs: {_vids_of(op.old)} → {_vids_of(op.attrs)}",
)
