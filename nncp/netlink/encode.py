"""From operations to requests: the writing half of the codec.

A new link is given its index by us, so that everything that refers to it can be packed in the same batch.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp.kinds.codec import LINK
from nncp.kinds.link import IFLA_AF_SPEC
from nncp.netlink import wire
from nncp.netlink.dump import (
    AF_BRIDGE,
    FOREVER,
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_CACHEINFO,
    IFA_F_MANAGETEMPADDR,
    IFA_F_NOPREFIXROUTE,
    IFA_FLAGS,
    IFA_LABEL,
    IFA_LOCAL,
    IFA_PROTO,
    IFA_RT_PRIORITY,
    IFF_UP,
    IFLA_BRIDGE_VLAN_INFO,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND,
    IFLA_LINKINFO,
    IFLA_MASTER,
    VLAN_PVID,
    VLAN_RANGE_BEGIN,
    VLAN_RANGE_END,
    VLAN_UNTAGGED,
)
from nncp.netlink.routes import route_request
from nncp.plan import attrs_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Op
    from nncp.kinds.kind import Attr, Kinds

IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF = 0, 2
VETH_INFO_PEER = 1
IFLA_NET_NS_FD = 28
ACK = wire.NLM_F_ACK
NEW = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_EXCL
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE

Ranges = tuple[tuple[int, int, str], ...]


class Encoder:
    """Packs operations; knows the index of every link, those it is about to create included.

    Args:
        kinds: the interface types.
        indexes: the index of each link by name, kept up to date with what is encoded.
        namespaces: open descriptors of the network namespaces that `peer-netns` names.

    """

    def __init__(self, kinds: Kinds, indexes: dict[str, int], namespaces: Mapping[str, int]) -> None:
        self.kinds = kinds
        self.indexes = indexes
        self.namespaces = namespaces
        self.next_index = max(indexes.values(), default=1)

    def learn(self, name: str, index: int) -> None:
        """Take note of a link that was not made by a request."""
        self.indexes[name] = index
        self.next_index = max(self.next_index, index)

    def requests(self, op: Op) -> Iterator[bytearray]:
        """Yield the requests that carry out `op`, in order."""
        table, name = op.key[0], op.key[1]
        if op.verb == "rename":
            yield self._set(op.old["name"], wire.attr(IFLA_IFNAME, name.encode() + b"\0"))
            self.indexes[name] = self.indexes.pop(op.old["name"])
        elif table == "link":
            yield from self._link(op, name)
        elif table == "up":
            yield self._flags(name, up=op.verb != "remove")
        elif table == "port":
            yield from self._port(op, name)
        elif table == "vlans":
            yield from self._vlans(op, name)
        elif table == "address":
            yield self._address(op, name)
        elif table == "route":
            yield route_request(op.verb, op.key, op.old if op.verb == "remove" else op.attrs, self.indexes)

    def _link(self, op: Op, name: str) -> Iterator[bytearray]:
        if op.verb == "remove":
            yield wire.message(wire.RTM_DELLINK, ACK, wire.IFINFO.pack(0, 0, self.indexes.pop(name), 0, 0))
            return
        table = attrs_of(op.key, op.type, self.kinds)
        kind = self.kinds.by_type.get(op.type)
        base, data, late = self._sorted(op, table)
        if op.verb == "change":
            yield self._set(name, *base, *(self._info(kind.link, data) if kind and data else ()), *late)
            return
        assert kind is not None, op
        self.indexes[name] = index = self._index(op.attrs.get("index"))
        if op.type == "veth":
            data.append(self._veth_peer(op))
        head = wire.IFINFO.pack(0, 0, index, 0, 0) + wire.attr(IFLA_IFNAME, name.encode() + b"\0")
        yield wire.message(wire.RTM_NEWLINK, NEW, head + b"".join([*base, *self._info(kind.link, data)]))
        if late:
            yield self._set(name, *late)

    def _index(self, former: int | None) -> int:
        """Return the index a link had, while that is free, or the next one."""
        if former and former not in self.indexes.values():
            return former
        self.next_index += 1
        return self.next_index

    def _sorted(self, op: Op, table: Mapping[str, Attr]) -> tuple[list[bytes], list[bytes], list[bytes]]:
        """Pack the attributes of a link: its own, its kind's, and those that a new link takes only later."""
        base: list[bytes] = []
        late: list[bytes] = []
        kind = self.kinds.by_type.get(op.type)
        own = {attr.name for attr in (kind.attrs if kind else ())}
        data: dict[int, tuple[Attr, bytes]] = {}
        for name, value in op.attrs.items():
            attr = table.get(name)
            if attr is None or value is None or not attr.number or (attr.create and op.verb == "change"):
                continue
            packed = self._packed(attr, value)
            if name in own:
                before = data.get(attr.number)
                both = attr.codec.combine(before[1], packed) if before and attr.codec.combine else packed
                data[attr.number] = (attr, both)
            else:
                (late if attr.late else base).append(_nested(attr, packed))
        return base, [wire.attr(number, packed) for number, (_, packed) in sorted(data.items())], late

    def _packed(self, attr: Attr, value: Any) -> bytes:
        if attr.codec is LINK:
            value = self.indexes[value] if value else 0
        return attr.codec.pack(value)

    @staticmethod
    def _info(kind: str, data: list[bytes]) -> list[bytes]:
        parts = [wire.attr(IFLA_INFO_KIND, kind.encode() + b"\0")]
        if data:
            parts.append(wire.nest(IFLA_INFO_DATA, *data))
        return [wire.nest(IFLA_LINKINFO, *parts)]

    def _veth_peer(self, op: Op) -> bytes:
        peer = op.attrs["peer"]
        index = 0
        parts = [wire.attr(IFLA_IFNAME, peer.encode() + b"\0")]
        if namespace := op.attrs.get("peer-netns"):
            parts.append(wire.attr(IFLA_NET_NS_FD, struct.pack("=I", self.namespaces[namespace])))
        else:
            self.indexes[peer] = index = self._index(op.attrs.get("peer-index"))
        if mac := op.attrs.get("peer-mac"):
            parts.append(wire.attr(1, bytes.fromhex(mac.replace(":", ""))))
        if mtu := op.attrs.get("peer-mtu"):
            parts.append(wire.attr(4, struct.pack("=I", mtu)))
        return wire.nest(VETH_INFO_PEER, wire.IFINFO.pack(0, 0, index, 0, 0), *parts)

    def _set(self, name: str, *parts: bytes) -> bytearray:
        head = wire.IFINFO.pack(0, 0, self.indexes[name], 0, 0)
        return wire.message(wire.RTM_NEWLINK, ACK, head + b"".join(parts))

    def _flags(self, name: str, *, up: bool) -> bytearray:
        body = wire.IFINFO.pack(0, 0, self.indexes[name], IFF_UP if up else 0, IFF_UP)
        return wire.message(wire.RTM_NEWLINK, ACK, body)

    def _port(self, op: Op, name: str) -> Iterator[bytearray]:
        if op.verb == "remove":
            yield self._set(name, wire.attr(IFLA_MASTER, struct.pack("=I", 0)))
            return
        if controller := op.attrs.get("controller"):
            yield self._set(name, wire.attr(IFLA_MASTER, struct.pack("=I", self.indexes[controller])))
        table = attrs_of(op.key, op.type, self.kinds)
        known = {
            attr: value for word, value in op.attrs.items() if (attr := table.get(word)) and value is not None
        }
        if op.verb == "create":
            known = {
                attr: value for attr, value in known.items() if not attr.volatile or value != "forwarding"
            }
        if known:
            data = [wire.attr(attr.number, self._packed(attr, value)) for attr, value in known.items()]
            word = self.kinds.by_type[op.type].link.encode() + b"\0"
            info = (wire.attr(IFLA_INFO_SLAVE_KIND, word), wire.nest(IFLA_INFO_SLAVE_DATA, *data))
            yield self._set(name, wire.nest(IFLA_LINKINFO, *info))

    def _vlans(self, op: Op, name: str) -> Iterator[bytearray]:
        old: Ranges = op.old.get("vids", ())
        new: Ranges = op.attrs.get("vids", ()) if op.verb != "remove" else ()
        is_port = op.type != "linux-bridge"
        for kind, ranges in ((wire.RTM_DELLINK, without(old, new)), (wire.RTM_SETLINK, _fresh(new, old))):
            infos = [info for entry in ranges for info in _vlan_info(*entry)]
            if infos:
                flags = (
                    [] if is_port else [wire.attr(IFLA_BRIDGE_FLAGS, struct.pack("=H", BRIDGE_FLAGS_SELF))]
                )
                spec = wire.nest(IFLA_AF_SPEC, *flags, *infos)
                head = wire.IFINFO.pack(AF_BRIDGE, 0, self.indexes[name], 0, 0)
                yield wire.message(kind, ACK, head + spec)

    def _address(self, op: Op, name: str) -> bytearray:
        interface = ipaddress.ip_interface(op.key[2])
        attrs = op.old if op.verb == "remove" else op.attrs
        family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
        head = wire.IFADDR.pack(
            family, interface.network.prefixlen, 0, attrs.get("scope", 0), self.indexes[name]
        )
        if op.verb == "remove":
            return wire.message(wire.RTM_DELADDR, ACK, head + wire.attr(IFA_LOCAL, interface.packed))
        return wire.message(wire.RTM_NEWADDR, PUT, head + b"".join(_address_parts(interface, attrs)))


def _nested(attr: Attr, packed: bytes) -> bytes:
    data = wire.attr(attr.number, packed)
    for number in reversed(attr.nest):
        data = wire.nest(number, data)
    return data


def _address_parts(interface: Any, attrs: Mapping[str, Any]) -> Iterator[bytes]:
    yield wire.attr(IFA_LOCAL, interface.packed)
    remote = attrs.get("peer-address")
    yield wire.attr(IFA_ADDRESS, ipaddress.ip_address(remote).packed if remote else interface.packed)
    broadcast = attrs.get("broadcast")
    if interface.version == 4 and broadcast is None and interface.network.prefixlen < 31:
        # Nobody said: the subnet's own broadcast address, as every distribution's tools set it.
        broadcast = str(interface.network.broadcast_address)
    if broadcast:
        yield wire.attr(IFA_BROADCAST, ipaddress.ip_address(broadcast).packed)
    if label := attrs.get("label"):
        yield wire.attr(IFA_LABEL, label.encode() + b"\0")
    flags = IFA_F_NOPREFIXROUTE if attrs.get("noprefixroute") else 0
    flags |= IFA_F_MANAGETEMPADDR if attrs.get("manage-temporary") else 0
    if flags:
        yield wire.attr(IFA_FLAGS, struct.pack("=I", flags))
    if metric := attrs.get("metric"):
        yield wire.attr(IFA_RT_PRIORITY, struct.pack("=I", metric))
    if protocol := attrs.get("protocol"):
        yield wire.attr(IFA_PROTO, struct.pack("=B", protocol))
    if "valid" in attrs:
        yield wire.attr(
            IFA_CACHEINFO, struct.pack("=IIII", attrs.get("preferred", FOREVER), attrs["valid"], 0, 0)
        )


def _vlan_info(first: int, last: int, word: str) -> Iterator[bytes]:
    flags = (VLAN_PVID if "pvid" in word else 0) | (VLAN_UNTAGGED if "untagged" in word else 0)
    if first == last:
        yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags, first))
        return
    yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | VLAN_RANGE_BEGIN, first))
    yield wire.attr(IFLA_BRIDGE_VLAN_INFO, struct.pack("=HH", flags | VLAN_RANGE_END, last))


def _fresh(new: Ranges, old: Ranges) -> Iterable[tuple[int, int, str]]:
    # A PVID that moves: the entry that loses it is written before the one that gets it.
    return sorted((entry for entry in new if entry not in old), key=lambda entry: "pvid" in entry[2])


def without(old: Ranges, new: Ranges) -> Ranges:
    """Return the parts of `old` whose numbers are in no range of `new`."""
    found = []
    for first, last, _ in old:
        at = first
        for begin, end, _ in sorted(new):
            if end < at or begin > last:
                continue
            if begin > at:
                found.append((at, begin - 1, ""))
            at = end + 1
        if at <= last:
            found.append((at, last, ""))
    return tuple(found)
