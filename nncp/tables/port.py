"""Ports of controllers: IFLA_MASTER and IFLA_INFO_SLAVE_DATA; keys are ("port", name).

The attributes are `controller`, `type` (of the controller) and those that its kind gives to its ports.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Cost, Row
from nncp.kinds.link import PORT_ATTRS
from nncp.tables.link import (
    ACK,
    IFF_UP,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    decode,
    pack,
    set_link,
    unmodelled,
)
from nncp.tables.table import Table, not_sent_back, references
from nncp.tables.words import in_brackets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.host import Key, Op
    from nncp.kinds.kind import Attr, Kind
    from nncp.tables.kinds import Kinds
    from nncp.tables.link import LinkMessage
    from nncp.tables.table import Dumps, Indexes, Look, Rows, Taken


def _read(dumps: Dumps) -> Iterator[Row]:
    for link in dumps.links:
        if link.controller in dumps.names:
            yield Row(("port", link.name), _attrs(link, dumps))


def _attrs(link: LinkMessage, dumps: Dumps) -> dict[str, Any]:
    kind = dumps.kinds.by_link.get(link.port_word)
    attrs: dict[str, Any] = {
        "controller": dumps.names[link.controller],
        "type": kind.type if kind else link.port_word,
    }
    if kind:
        decode(dumps.kinds.pick(kind, port=True)(link.port_data), kind.port_attrs, attrs)
    return attrs


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    """Yield ports that leave their controller and that have what is not modelled."""
    for name in sorted(taken.ports):
        row, link = look.host.get("port", name), look.link(name)
        kind = look.kinds.by_type.get(row.attrs["type"]) if row else None
        if row is None or link is None or kind is None:
            continue
        left = unmodelled(wire.table(link.port_data), kind.port_attrs, kind.port_read_only)
        if left:
            unknown = tuple(f"attribute {number} of a port of {kind.type}" for number in left)
            yield Row(row.key, {**row.attrs, "unknown": unknown})


def _kind_attrs(kind: Kind | None) -> Iterable[Attr]:
    return (*PORT_ATTRS, *(kind.port_attrs if kind else ()))


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:
    yield ("link", key[1])
    for _, name in references(key, rows[key], kinds):
        yield ("link", name)


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    index = indexes[op.key[1]]
    if op.verb == "remove":
        yield set_link(index, wire.attr(IFLA_MASTER, struct.pack("=I", 0)))
        return
    if controller := op.attrs.get("controller"):
        kind = indexes.kinds.by_type.get(op.type)
        if kind and kind.port_cost >= Cost.DOWN:
            # What it rests on has brought it up again, or somebody else has (vlan_device_event, NETDEV_UP).
            yield wire.message(wire.RTM_NEWLINK, ACK, wire.IFINFO.pack(0, 0, index, 0, IFF_UP))
        yield set_link(index, wire.attr(IFLA_MASTER, struct.pack("=I", indexes[controller])))
    data = [wire.attr(attr.number, pack(attr, value, indexes)) for attr, value in _own(op, indexes.kinds)]
    if data:
        word = indexes.kinds.by_type[op.type].link.encode() + b"\0"
        info = (wire.attr(IFLA_INFO_SLAVE_KIND, word), wire.nest(IFLA_INFO_SLAVE_DATA, *data))
        yield set_link(index, wire.nest(IFLA_LINKINFO, *info))


def _own(op: Op, kinds: Kinds) -> Iterator[tuple[Attr, Any]]:
    """Yield what the controller's kind gives to a port; a new port forwards by itself."""
    table = kinds.attrs("port", op.type)
    for word, value in op.attrs.items():
        attr = table.get(word)
        if attr is None or value is None or attr in PORT_ATTRS:
            continue
        if op.verb != "create" or not attr.volatile or value != "forwarding":
            yield attr, value


def _sentence(op: Op) -> str:
    name, controller = op.key[1], op.attrs.get("controller") or op.old.get("controller")
    if op.verb == "remove":
        return f"detach {name} from {controller}"
    if op.verb == "create":
        return f"attach {name} to {controller}"
    return f"set {', '.join(f'{word} of {name} to {value}' for word, value in op.attrs.items())}"


PORT = Table(
    name="port",
    read=_read,
    taken=_taken,
    write=_write,
    attrs=_kind_attrs,
    needs=_needs,
    cannot_be_made=lambda attrs, _: not_sent_back(attrs),
    sentence=_sentence,
    what=lambda _, attrs: f"port of {attrs.get('controller')}{in_brackets(attrs)}",
)
