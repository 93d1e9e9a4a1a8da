"""Multicast groups that somebody gave to a bridge's ports for good: what `bridge mdb` shows as permanent.

Keys are ("mdb", port, group, VLAN or "", source or ""). The kernel drops them with the port or the bridge
(net/bridge/br_multicast.c, br_multicast_del_port), so they are read where a plan takes one. A dump and a
message that adds one number their attributes differently (linux/if_bridge.h, MDBA_MDB_EATTR_*, MDBE_ATTR_*).
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.fdb import AF_BRIDGE, entry, fallen, of_bridges
from nncp.tables.table import Table, not_sent_back

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Indexes, Look, Rows, Taken

RTM_NEWMDB, RTM_DELMDB, RTM_GETMDB = 84, 85, 86
MDBA_MDB, MDBA_MDB_ENTRY, MDBA_MDB_ENTRY_INFO = 1, 1, 1
MDBA_SET_ENTRY, MDBA_SET_ENTRY_ATTRS = 1, 2
MDB_PERMANENT = 1
PORT_MSG = struct.Struct("=Bxxxi")  # struct br_port_msg: family, index
ENTRY = struct.Struct("=IBBH16s2sxx")  # struct br_mdb_entry: port, state, flags, vid, address, EtherType
PROTOCOLS = {b"\x08\x00": 4, b"\x86\xdd": 16, b"\0\0": 6}
"""The octets of a group's address, by EtherType; none says that it is a MAC address."""
EATTR_SRC_LIST, EATTR_GROUP_MODE, EATTR_SOURCE, EATTR_RTPROT = 2, 3, 4, 5
WRITTEN_AS = {EATTR_SOURCE: 1, EATTR_SRC_LIST: 2, EATTR_GROUP_MODE: 3, EATTR_RTPROT: 4}
READ_ONLY = frozenset({1})  # timer
SNOOPING = "multicast-snooping"
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    names = of_bridges(look, taken)
    for data in look.dump(RTM_GETMDB, PORT_MSG.pack(AF_BRIDGE, 0)) if names else ():
        groups = wire.table(data, PORT_MSG.size).get(MDBA_MDB, b"")
        for _, group in wire.attrs(groups):
            for _, info in wire.attrs(group):
                row = _row(info, PORT_MSG.unpack_from(data)[1], look)
                if row is not None and row.name in names:
                    yield row


def _row(info: bytes, bridge: int, look: Look) -> Row | None:
    index, state, _, vid, address, protocol = ENTRY.unpack_from(info)
    if not state & MDB_PERMANENT or not {index, bridge} <= look.names.keys() or protocol not in PROTOCOLS:
        return None
    given = wire.table(info, ENTRY.size)
    # One of a group from a source has no filter mode of its own.
    told = {EATTR_GROUP_MODE} if EATTR_SOURCE in given else set()
    sent = tuple(
        (WRITTEN_AS[number], _as_written(number, value).hex())
        for number, value in given.items()
        if number in WRITTEN_AS.keys() - told
    )
    head = (vid, address.hex(), protocol.hex())
    attrs: dict[str, Any] = {"bridge": look.names[bridge], "head": head, "sent": sent}
    snoops = look.host.attr("link", look.names[bridge], name=SNOOPING, default=True)
    up = ("up", look.names[bridge]) in look.host
    if closed := _closed(look.names[bridge], up=up, snoops=snoops):
        attrs["closed"] = closed
    if unknown := sorted(given.keys() - WRITTEN_AS.keys() - READ_ONLY):
        attrs["unknown"] = tuple(f"attribute {number} of an mdb entry" for number in unknown)
    source = _spelled(given[EATTR_SOURCE]) if EATTR_SOURCE in given else ""
    name, group = look.names[index], _spelled(address[: PROTOCOLS[protocol]])
    return Row(("mdb", name, group, str(vid) if vid else "", source), attrs)


def _closed(bridge: str, *, up: bool, snoops: bool) -> str:
    """Return why the kernel would take no entry of a bridge, though it has some (br_mdb.c, br_mdb_add)."""
    if not up:
        return f"{bridge} is down, and takes no mdb entry"
    if not snoops:
        return f"{bridge} does not snoop multicast, and takes no mdb entry"
    return ""


def _spelled(address: bytes) -> str:
    return address.hex(":") if len(address) == PROTOCOLS[b"\0\0"] else str(ipaddress.ip_address(address))


def _as_written(number: int, value: bytes) -> bytes:
    """Return an attribute as it is given: sources without what is left of their time."""
    if number != EATTR_SRC_LIST:
        return value
    sources = (wire.table(one)[1] for _, one in wire.attrs(value))
    return b"".join(wire.nest(1, wire.attr(1, source)) for source in sources)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("link", key[1])
    yield ("port", key[1])
    bridge = rows.get(("port", key[1]), {}).get("controller", "")
    yield from (other for other in (("vlans", key[1]), ("up", bridge), ("up", key[1])) if other in rows)


def _fallen(keys: Iterable[Key], rows: Rows, kinds: Kinds) -> set[Key]:
    """Return the entries that their port cannot hold, and those of bridges that would take none."""
    keys = list(keys)
    return fallen(keys, rows, kinds) | {key for key in keys if not _is_open(rows[key]["bridge"], rows)}


def _is_open(bridge: str, rows: Rows) -> bool:
    snoops = rows.get(("link", bridge), {}).get(SNOOPING, True)
    return not _closed(bridge, up=("up", bridge) in rows, snoops=snoops)


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    attrs = op.old if op.verb == "remove" else op.attrs
    vid, address, protocol = attrs["head"]
    words = (bytes.fromhex(address), bytes.fromhex(protocol))
    body = PORT_MSG.pack(AF_BRIDGE, indexes[attrs["bridge"]])
    body += wire.attr(MDBA_SET_ENTRY, ENTRY.pack(indexes[op.key[1]], MDB_PERMANENT, 0, vid, *words))
    sent = [wire.attr(number, bytes.fromhex(value)) for number, value in attrs["sent"]]
    body += wire.nest(MDBA_SET_ENTRY_ATTRS, *sent) if sent else b""
    if op.verb == "remove":
        yield wire.message(RTM_DELMDB, wire.NLM_F_ACK, body)
    else:
        yield wire.message(RTM_NEWMDB, PUT, body)


MDB = Table(
    name="mdb",
    taken=_taken,
    apart=True,
    write=_write,
    needs=_needs,
    fallen=_fallen,
    cannot_be_made=lambda attrs, _: attrs.get("closed", "") or not_sent_back(attrs),
    links=lambda key, _: (key[1],),
    whole=True,
    sentence=lambda op: f"{op.verb} mdb entry {entry(op.key)} of {op.key[1]}",
    what=lambda key, _: f"mdb entry {entry(key)}",
    changed=lambda op: f"mdb entry {entry(op.key)} as it was",
    plural="mdb entries",
)
