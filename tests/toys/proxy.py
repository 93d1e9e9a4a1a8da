"""Addresses that a link answers for (net/core/neighbour.c, pneigh_lookup): keys are ("proxy", link, address)."""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

RTM_NEWNEIGH, RTM_DELNEIGH, RTM_GETNEIGH = 28, 29, 30
NDA_DST, NTF_PROXY, NUD_PERMANENT = 1, 0x08, 0x80
NDMSG = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, index, state, flags, type


def _read(dumps: Dumps) -> Iterator[Row]:
    for body in dumps.dump(RTM_GETNEIGH, NDMSG.pack(0, 0, 0, NTF_PROXY, 0)):
        family, index, _, flags, _ = NDMSG.unpack_from(body)
        if flags & NTF_PROXY and index in dumps.names:
            address = socket.inet_ntop(family, wire.table(body, NDMSG.size)[NDA_DST])
            yield Row(("proxy", dumps.names[index], address))


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    yield ("link", key[1])
    yield ("up", key[1])  # pneigh_ifdown() takes it with a link that goes down


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    address = ipaddress.ip_address(op.key[2])
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    verb, flags = RTM_NEWNEIGH, wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE
    if op.verb == "remove":
        verb, flags = RTM_DELNEIGH, wire.NLM_F_ACK
    body = NDMSG.pack(family, indexes[op.key[1]], NUD_PERMANENT, NTF_PROXY, 0)
    yield wire.message(verb, flags, body + wire.attr(NDA_DST, address.packed))


def _show(host: Host, names: set[str]) -> Mapping[str, Any]:
    found = [{"address": row.key[2], "link": row.name} for row in host.table("proxy")]
    shown = [each for each in found if not names or each["link"] in names]
    return {"proxies": shown} if shown else {}


PROXY = Table(
    name="proxy",
    read=_read,
    write=_write,
    needs=_needs,
    sentence=lambda op: f"{op.verb} proxy {op.key[2]} on {op.key[1]}",
    what=lambda key, _: f"proxy for {key[2]}",
    plural="proxies",
    show=_show,
)
