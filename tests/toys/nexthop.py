"""Next hops that stand by themselves (net/ipv4/nexthop.c): keys are ("nexthop", id)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.kinds.codec import LINK, TEXT
from nncp.kinds.kind import Attr, Tie
from nncp.tables.table import Table, references

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Key, Op
    from nncp.kinds.kind import Kind
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

RTM_NEWNEXTHOP, RTM_DELNEXTHOP, RTM_GETNEXTHOP = 104, 105, 106
NHA_ID, NHA_OIF, NHA_GATEWAY = 1, 5, 6
NHMSG = struct.Struct("=BBBBI")  # struct nhmsg: family, scope, protocol, reserved, flags
ATTRS = (Attr("link", NHA_OIF, LINK, tie=Tie.RESTS), Attr("gateway", NHA_GATEWAY, TEXT))


def _attrs(_: Kind | None) -> tuple[Attr, ...]:
    return ATTRS


def _read(dumps: Dumps) -> Iterator[Row]:
    for body in dumps.dump(RTM_GETNEXTHOP, NHMSG.pack(0, 0, 0, 0, 0)):
        given = wire.table(body, NHMSG.size)
        (index,) = struct.unpack("=I", given[NHA_OIF])
        attrs = {"link": dumps.names[index], "gateway": socket.inet_ntoa(given[NHA_GATEWAY])}
        yield Row(("nexthop", str(struct.unpack("=I", given[NHA_ID])[0])), attrs)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    for _, name in references(key, rows[key], kinds):
        yield ("link", name)
        yield ("up", name)  # nexthop_flush_dev() takes it with a link that goes down


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    number = wire.attr(NHA_ID, struct.pack("=I", int(op.key[1])))
    if op.verb == "remove":
        yield wire.message(RTM_DELNEXTHOP, wire.NLM_F_ACK, NHMSG.pack(0, 0, 0, 0, 0) + number)
        return
    link = wire.attr(NHA_OIF, struct.pack("=I", indexes[op.attrs["link"]]))
    gateway = wire.attr(NHA_GATEWAY, socket.inet_aton(op.attrs["gateway"]))
    flags = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE
    yield wire.message(
        RTM_NEWNEXTHOP, flags, NHMSG.pack(socket.AF_INET, 0, 4, 0, 0) + number + link + gateway
    )


def _show(host: Host, names: set[str]) -> Mapping[str, Any]:
    rows = [row for row in host.table("nexthop") if not names or row.attrs["link"] in names]
    return {"nexthops": [{"id": int(row.key[1]), **row.attrs} for row in rows]} if rows else {}


NEXTHOP = Table(
    name="nexthop",
    read=_read,
    write=_write,
    attrs=_attrs,
    needs=_needs,
    links=lambda _, attrs: filter(None, [attrs.get("link")]),
    whole=True,
    about=False,
    sentence=lambda op: f"{op.verb} next hop {op.key[1]}",
    what=lambda key, attrs: f"next hop {key[1]}: {attrs['gateway']} by {attrs['link']}",
    plural="next hops",
    show=_show,
)
