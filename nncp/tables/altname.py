"""Further names of links, as by `ip link property add`; keys are ("altname", name, "wan").

The kernel takes them with the link, and nobody here gives or compares any (net/core/rtnetlink.c,
rtnl_linkprop).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Row
from nncp.tables.link import ACK, IFLA_ALT_IFNAME, IFLA_PROP_LIST, text
from nncp.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows


def _read(dumps: Dumps) -> Iterator[Row]:
    for link in dumps.links:
        for number, data in wire.attrs(link.properties):
            if number == IFLA_ALT_IFNAME:
                yield Row(("altname", link.name, text(data)))


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    yield ("link", key[1])


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    head = wire.IFINFO.pack(0, 0, indexes[op.key[1]], 0, 0)
    names = wire.nest(IFLA_PROP_LIST, wire.attr(IFLA_ALT_IFNAME, op.key[2].encode() + b"\0"))
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELLINKPROP, ACK, head + names)
    else:
        yield wire.message(wire.RTM_NEWLINKPROP, ACK | wire.NLM_F_CREATE | wire.NLM_F_EXCL, head + names)


ALTNAME = Table(
    name="altname",
    read=_read,
    write=_write,
    needs=_needs,
    sentence=lambda op: (
        f"{'take' if op.verb == 'remove' else 'give'} {op.key[1]} the further name {op.key[2]}"
    ),
    what=lambda key, _: f"further name {key[2]}",
    plural="further names",
)
