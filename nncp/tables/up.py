"""Links that are administratively up: the flag IFF_UP, as a row of its own; keys are ("up", name)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Cost, Row
from nncp.kinds.kind import Tie
from nncp.tables.link import ACK, IFF_UP
from nncp.tables.table import Table, references

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows


def _read(dumps: Dumps) -> Iterator[Row]:
    return (Row(("up", link.name)) for link in dumps.links if link.up)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    name = key[1]
    link = ("link", name)
    yield link
    port = rows.get(("port", name))
    kind = kinds.by_type.get(port.get("type", "")) if port else None
    if kind and kind.port_cost >= Cost.DOWN:
        # bond_enslave() wants the port down, and bond_release leaves it down.
        yield ("port", name)
    attrs = rows.get(link, {})
    kind = kinds.by_type.get(attrs.get("type", ""))
    if kind and kind.up_with_base(attrs):
        yield from (("up", base) for attr, base in references(link, attrs, kinds) if attr.tie is Tie.RESTS)


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    flag = IFF_UP if op.verb != "remove" else 0
    yield wire.message(wire.RTM_NEWLINK, ACK, wire.IFINFO.pack(0, 0, indexes[op.key[1]], flag, IFF_UP))


UP = Table(
    name="up",
    read=_read,
    write=_write,
    needs=_needs,
    sentence=lambda op: f"bring {op.key[1]} {'down' if op.verb == 'remove' else 'up'}",
    what=lambda _key, _attrs: "up",
    told=True,
)
