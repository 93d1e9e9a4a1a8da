"""Next hops that routes name by number: what `ip nexthop` shows (net/ipv4/nexthop.c).

Keys are ("nexthop", id); `dev` is the link, `group` the numbers of those that a group is made of, `head` and
`sent` what goes back as it was read. A link that goes down loses them (nexthop_flush_dev), and with the last
of its members goes a group, so they are read where a plan takes a link or its up.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.rtmsg import FAMILIES, encap_cannot_be_made
from nncp.tables.table import SHARED, Table, not_sent_back

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Indexes, Look, Rows, Taken

NHA_ID, NHA_GROUP, NHA_OIF, NHA_ENCAP_TYPE, NHA_ENCAP = 1, 2, 5, 7, 8
# group, group-type, blackhole, gateway, encap-type, encap, fdb, hw-stats-enable
SENT_BACK = frozenset({NHA_GROUP, 3, 4, 6, NHA_ENCAP_TYPE, NHA_ENCAP, 11, 16})
READ_ONLY = frozenset({14, 15, 17})  # op-flags, group-stats, hw-stats-used
MEMBER = struct.Struct("=IBBH")  # struct nexthop_grp: id, weight, high weight, reserved
RTNH_F_ONLINK = 4
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    if not taken.down:
        return
    found = [_row(data, look) for data in look.dump(wire.RTM_GETNEXTHOP, wire.NHMSG.pack(0, 0, 0, 0))]
    lost = {row.name for row in found if row.attrs["dev"] in taken.down}
    yield from (row for row in found if row.name in lost or lost.intersection(row.attrs["group"]))


def _row(data: bytes, look: Look) -> Row:
    family, _, protocol, flags = wire.NHMSG.unpack_from(data)
    given = wire.table(data, wire.NHMSG.size)
    index = struct.unpack("=I", given[NHA_OIF])[0] if NHA_OIF in given else 0
    attrs: dict[str, Any] = {
        "dev": look.names.get(index, ""),
        "group": tuple(str(member[0]) for member in MEMBER.iter_unpack(given.get(NHA_GROUP, b""))),
        # The scope is the kernel's to say, and refused in a request (rtm_to_nh_config).
        "head": (family, 0, protocol, flags & RTNH_F_ONLINK),
        "sent": tuple((number, value.hex()) for number, value in given.items() if number in SENT_BACK),
    }
    if unknown := sorted(given.keys() - SENT_BACK - READ_ONLY - {NHA_ID, NHA_OIF}):
        attrs["unknown"] = tuple(f"attribute {number} of a next hop" for number in unknown)
    return Row(("nexthop", str(struct.unpack("=I", given[NHA_ID])[0])), attrs)


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    attrs = rows[key]
    yield from (("nexthop", member) for member in attrs["group"])
    if name := attrs["dev"]:
        yield ("link", name)
        yield ("up", name)


def _lives_on(key: Key, attrs: Mapping[str, Any]) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    if attrs["dev"] and attrs["head"][0] == FAMILIES["ipv4"]:
        yield (SHARED, "ipv4", attrs["dev"])


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    number = wire.attr(NHA_ID, struct.pack("=I", int(op.key[1])))
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELNEXTHOP, wire.NLM_F_ACK, wire.NHMSG.pack(0, 0, 0, 0) + number)
        return
    body = wire.NHMSG.pack(*op.attrs["head"]) + number
    if name := op.attrs["dev"]:
        body += wire.attr(NHA_OIF, struct.pack("=I", indexes[name]))
    for kind, value in op.attrs["sent"]:
        packed = bytes.fromhex(value)
        body += wire.nest(kind, packed) if kind == NHA_ENCAP else wire.attr(kind, packed)
    yield wire.message(wire.RTM_NEWNEXTHOP, PUT, body)


def _cannot_be_made(attrs: Mapping[str, Any]) -> str:
    sent = {number: bytes.fromhex(value) for number, value in attrs["sent"]}
    return not_sent_back(attrs) or encap_cannot_be_made(sent.get(NHA_ENCAP_TYPE), sent.get(NHA_ENCAP, b""))


def _renamed(key: Key, attrs: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Key, Mapping[str, Any]]:
    return key, {**attrs, "dev": names.get(attrs["dev"], attrs["dev"])}


NEXTHOP = Table(
    name="nexthop",
    taken=_taken,
    apart=True,
    write=_write,
    needs=_needs,
    lives_on=_lives_on,
    cannot_be_made=lambda attrs, _: _cannot_be_made(attrs),
    links=lambda _, attrs: (attrs["dev"],) if attrs.get("dev") else (),
    about=False,
    whole=True,
    sentence=lambda op: f"{op.verb} next hop {op.key[1]}",
    what=lambda key, _: f"next hop {key[1]}",
    changed=lambda op: f"next hop {op.key[1]} as it was",
    plural="next hops",
    renamed=_renamed,
)
