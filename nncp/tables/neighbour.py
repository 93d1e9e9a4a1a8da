"""Neighbours that somebody gave for good: what `ip neigh` shows as PERMANENT, and proxies.

Keys are ("neighbour", link, address, "proxy" for one of those); `head` and `sent` are what goes back as it
was read. A link that goes down loses them, and one that is given a MAC address, be it the one that it has
(net/core/neighbour.c, neigh_ifdown, neigh_changeaddr), so they are read where a plan does that.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Row
from nncp.tables.table import Table, not_sent_back

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Indexes, Look, Rows, Taken

FAMILIES = (socket.AF_INET, socket.AF_INET6)
NDA_DST = 1
# dst, lladdr, vlan, vni, protocol, flags-ext
SENT_BACK = frozenset({NDA_DST, 2, 5, 7, 12, 15})
READ_ONLY = frozenset({3, 4})  # cacheinfo, probes
NUD_PERMANENT = 0x80
NTF_PROXY = 0x08
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    losing = taken.down | taken.moved
    if not losing:
        return
    for flags in (0, NTF_PROXY):
        for data in look.dump(wire.RTM_GETNEIGH, wire.NDMSG.pack(0, 0, 0, flags, 0)):
            row = _row(data, look)
            if row is not None and row.name in losing:
                yield row


def _row(data: bytes, look: Look) -> Row | None:
    family, index, state, flags, kind = wire.NDMSG.unpack_from(data)
    given = wire.table(data, wire.NDMSG.size)
    lasts = state & NUD_PERMANENT or flags & NTF_PROXY
    if family not in FAMILIES or not lasts or NDA_DST not in given or index not in look.names:
        return None
    address = wire.address(family, given[NDA_DST])
    further = ("proxy",) if flags & NTF_PROXY else ()
    sent = tuple((number, value.hex()) for number, value in given.items() if number in SENT_BACK)
    attrs = {"head": (family, state, flags, kind), "sent": sent}
    if unknown := sorted(given.keys() - SENT_BACK - READ_ONLY):
        attrs["unknown"] = tuple(f"attribute {number} of a neighbour" for number in unknown)
    return Row(("neighbour", look.names[index], address, *further), attrs)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("link", key[1])
    if ("up", key[1]) in rows:
        yield ("up", key[1])


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    attrs = op.old if op.verb == "remove" else op.attrs
    family, state, flags, kind = attrs["head"]
    body = wire.NDMSG.pack(family, indexes[op.key[1]], state, flags, kind)
    body += b"".join(wire.attr(number, bytes.fromhex(value)) for number, value in attrs["sent"])
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELNEIGH, wire.NLM_F_ACK, body)
    else:
        yield wire.message(wire.RTM_NEWNEIGH, PUT, body)


NEIGHBOUR = Table(
    name="neighbour",
    taken=_taken,
    apart=True,
    by_mac=True,
    write=_write,
    needs=_needs,
    cannot_be_made=lambda attrs, _: not_sent_back(attrs),
    links=lambda key, _: (key[1],),
    whole=True,
    sentence=lambda op: f"{op.verb} neighbour {' '.join(op.key[2:])} on {op.key[1]}",
    what=lambda key, _: f"neighbour {' '.join(key[2:])}",
    changed=lambda op: f"neighbour {' '.join(op.key[2:])} as it was",
    plural="neighbours",
)
