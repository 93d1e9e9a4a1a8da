"""Addresses that somebody gave to a bridge's ports for good: what `bridge fdb` shows as static or permanent.

Keys are ("fdb", link, MAC address, VLAN or ""); the link is the port behind which the address is, or the
bridge itself. The kernel drops them with the port or the bridge (net/bridge/br_fdb.c, br_fdb_delete_by_port),
so they are read where a plan takes one. Those of a routing daemon (`extern_learn`) last as well. What a
device receives beside its own address (`self`) is no bridge's: nobody tells it from what the kernel put
there.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Row
from nncp.kinds.linux_bridge import LINUX_BRIDGE
from nncp.tables.table import Table, not_sent_back
from nncp.tables.vlans import words_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.host import Host, Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Indexes, Look, Rows, Taken

AF_BRIDGE = 7
NDA_LLADDR, NDA_VLAN, NDA_MASTER = 2, 5, 9
SENT_BACK = frozenset({NDA_LLADDR, NDA_VLAN, 14, 15})  # fdb-ext-attrs, flags-ext
READ_ONLY = frozenset({3, NDA_MASTER})  # cacheinfo
NUD_NOARP, NUD_PERMANENT = 0x40, 0x80
NTF_SELF, NTF_MASTER, NTF_EXT_LEARNED, NTF_STICKY = 0x02, 0x04, 0x10, 0x40
GIVEN = NTF_EXT_LEARNED | NTF_STICKY
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    names = of_bridges(look, taken)
    own = _own(look.host) if names else set()
    for data in look.dump(wire.RTM_GETNEIGH, wire.NDMSG.pack(AF_BRIDGE, 0, 0, 0, 0)) if names else ():
        row = _row(data, look)
        if row is not None and row.name in names and (row.name, row.key[2]) not in own:
            yield row


def of_bridges(look: Look, taken: Taken) -> set[str]:
    """Return the bridges that go and the ports that leave one."""
    return {
        name
        for name in taken.links | taken.ports
        if LINUX_BRIDGE.type
        in {look.host.attr("link", name, name="type"), look.host.attr("port", name, name="type")}
    }


def _own(host: Host) -> set[tuple[str, str]]:
    """Return a bridge's and its ports' own addresses, which the kernel puts there with each of them."""
    found = set()
    for row in host.table("link"):
        mac = str(host.attr("link", row.name, name="mac", default=""))
        bridge = host.attr("port", row.name, name="controller", default="")
        found |= {(row.name, mac), (str(bridge), mac)}
    return found


def _row(data: bytes, look: Look) -> Row | None:
    _, index, state, flags, kind = wire.NDMSG.unpack_from(data)
    given = wire.table(data, wire.NDMSG.size)
    lasts = state & (NUD_NOARP | NUD_PERMANENT) or flags & NTF_EXT_LEARNED
    if not lasts or NDA_MASTER not in given or NDA_LLADDR not in given or index not in look.names:
        return None
    vlan = str(struct.unpack_from("=H", given[NDA_VLAN])[0]) if NDA_VLAN in given else ""
    side = NTF_SELF if given[NDA_MASTER] == struct.pack("=I", index) else NTF_MASTER
    sent = tuple((number, value.hex()) for number, value in given.items() if number in SENT_BACK)
    bridge = look.names.get(struct.unpack_from("=I", given[NDA_MASTER])[0], "")
    attrs = {"bridge": bridge, "head": (state, flags & GIVEN | side, kind), "sent": sent}
    if unknown := sorted(given.keys() - SENT_BACK - READ_ONLY):
        attrs["unknown"] = tuple(f"attribute {number} of an fdb entry" for number in unknown)
    return Row(("fdb", look.names[index], given[NDA_LLADDR].hex(":"), vlan), attrs)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("link", key[1])
    if rows[key]["head"][1] & NTF_MASTER:
        yield ("port", key[1])
    if ("vlans", key[1]) in rows:  # __br_fdb_add() wants the VLAN there
        yield ("vlans", key[1])


def fallen(keys: Iterable[Key], rows: Rows, kinds: Kinds) -> set[Key]:  # noqa: ARG001  (a Table's shape)
    """Return the entries of ports that are another bridge's, or that do not carry the entry's VLAN."""
    return {key for key in keys if not _is_held(key, rows)}


def _is_held(key: Key, rows: Rows) -> bool:
    name, vlan, bridge = key[1], key[3], rows[key]["bridge"]
    if bridge not in {name, rows.get(("port", name), {}).get("controller")}:
        return False
    carried = rows.get(("vlans", name))
    return not vlan or carried is None or int(vlan) in words_of(carried["vids"])


def entry(key: Key) -> str:
    """Return what tells an entry from others of its port, as a plan says it."""
    return f"{key[2]} VLAN {key[3]}" if key[3] else key[2]


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    attrs = op.old if op.verb == "remove" else op.attrs
    state, flags, kind = attrs["head"]
    body = wire.NDMSG.pack(AF_BRIDGE, indexes[op.key[1]], state, flags, kind)
    body += b"".join(wire.attr(number, bytes.fromhex(value)) for number, value in attrs["sent"])
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELNEIGH, wire.NLM_F_ACK, body)
    else:
        yield wire.message(wire.RTM_NEWNEIGH, PUT, body)


FDB = Table(
    name="fdb",
    taken=_taken,
    apart=True,
    write=_write,
    needs=_needs,
    fallen=fallen,
    cannot_be_made=lambda attrs, _: not_sent_back(attrs),
    links=lambda key, _: (key[1],),
    whole=True,
    sentence=lambda op: f"{op.verb} fdb entry {entry(op.key)} of {op.key[1]}",
    what=lambda key, _: f"fdb entry {entry(key)}",
    changed=lambda op: f"fdb entry {entry(op.key)} as it was",
    plural="fdb entries",
)
