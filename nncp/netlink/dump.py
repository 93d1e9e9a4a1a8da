"""From the kernel's dumps to rows. Only what rows hold is decoded.

Left out, because the kernel makes and unmakes it by itself: addresses and routes of router advertisements,
connected and local routes. Its own link-local addresses are marked.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp.host import Host, Row
from nncp.kinds.link import AF_INET6, BASE_ATTRS, IFLA_AF_SPEC
from nncp.kinds.linux_bridge import merged
from nncp.needs import IFAPROT_KERNEL_LL, primaries
from nncp.netlink import wire
from nncp.netlink.routes import route_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.kinds.kind import Attr, Kinds
    from nncp.netlink.channel import Channel

AF_BRIDGE = 7
ARPHRD_LOOPBACK = 772
IFF_UP = 1
IFLA_IFNAME, IFLA_LINK, IFLA_MASTER, IFLA_LINKINFO, IFLA_EXT_MASK, IFLA_LINK_NETNSID = 3, 5, 10, 18, 29, 37
IFLA_INFO_KIND, IFLA_INFO_DATA, IFLA_INFO_SLAVE_KIND, IFLA_INFO_SLAVE_DATA = 1, 2, 4, 5
IFLA_INET6_CONF, DEVCONF_DISABLE_IPV6 = 2, 26
RTEXT_FILTER_BRVLAN_COMPRESSED, RTEXT_FILTER_SKIP_STATS = 4, 8
IFLA_BRIDGE_VLAN_INFO = 2
VLAN_PVID, VLAN_UNTAGGED, VLAN_RANGE_BEGIN, VLAN_RANGE_END = 2, 4, 8, 16
WORDS = {0: "", VLAN_PVID: "pvid", VLAN_UNTAGGED: "untagged", VLAN_PVID | VLAN_UNTAGGED: "pvid untagged"}
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = (
    1, 2, 3, 4, 6, 8, 9, 11,
)  # fmt: skip
IFA_F_SECONDARY, IFA_F_TEMPORARY, IFA_F_NODAD, IFA_F_MANAGETEMPADDR, IFA_F_NOPREFIXROUTE = (
    1,
    1,
    2,
    0x100,
    0x200,
)
IFAPROT_KERNEL_RA = 2
LINK_LOCAL = bytes.fromhex("fe80000000000000")
FOREVER = 0xFFFFFFFF


class _Link:
    """One link as dumped: what the second pass needs once every index has its name."""

    __slots__ = ("attrs", "base", "controller", "disable_ipv6", "name", "port", "up")

    def __init__(self, name: str, attrs: dict[str, Any], *, up: bool) -> None:
        self.name = name
        self.attrs = attrs
        self.up = up
        self.base = 0
        self.controller = 0
        self.disable_ipv6: int | None = None
        self.port: tuple[str, bytes] | None = None


def snapshot(channel: Channel, kinds: Kinds) -> Host:
    """Return the rows of the channel's network namespace.

    One dump of links, of addresses and of each family's routes; one more of VLANs where there is a bridge.
    """
    found = _links(channel, kinds)
    names = {index: link.name for index, link in found.items()}
    host = Host(row for link in found.values() for row in _link_rows(link, names, kinds))
    if any(link.attrs["type"] == "linux-bridge" for link in found.values()):
        host.rows.update((row.key, row) for row in _vlan_rows(channel, names))
    host.rows.update((row.key, row) for row in _address_rows(channel, found))
    host.rows.update((row.key, row) for row in route_rows(channel, names))
    return host


def indexes(host: Host) -> dict[str, int]:
    """Return the index of each link by its name."""
    return {row.name: row.attrs["index"] for row in host.table("link")}


def _links(channel: Channel, kinds: Kinds) -> dict[int, _Link]:
    tables = {kind.link: _by_number(kind.attrs) for kind in kinds.by_link.values()}
    base = _by_number(attr for attr in BASE_ATTRS if not attr.nest and attr.name != "base-iface")
    body = wire.IFINFO.pack(0, 0, 0, 0, 0) + wire.attr(
        IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_SKIP_STATS)
    )
    found = {}
    for data in channel.dump(wire.RTM_GETLINK, body):
        _, hardware, index, flags, _ = wire.IFINFO.unpack_from(data)
        given = wire.table(data, wire.IFINFO.size)
        link = _Link(given[IFLA_IFNAME].rstrip(b"\0").decode(), {"index": index}, up=bool(flags & IFF_UP))
        _decode(given, base, link.attrs)
        _decode_info(given, hardware, link, kinds, tables)
        _decode_references(given, link)
        found[index] = link
    return found


def _by_number(attrs: Iterable[Attr]) -> dict[int, list[Attr]]:
    found: dict[int, list[Attr]] = {}
    for attr in attrs:
        if not attr.nest:
            found.setdefault(attr.number, []).append(attr)
    return found


def _decode(given: dict[int, bytes], table: dict[int, list[Attr]], into: dict[str, Any]) -> None:
    for number, data in given.items():
        if data and number in table:
            for attr in table[number]:
                into[attr.name] = attr.codec.unpack(data)


def _decode_info(
    given: dict[int, bytes],
    hardware: int,
    link: _Link,
    kinds: Kinds,
    tables: dict[str, dict[int, list[Attr]]],
) -> None:
    info = wire.table(given.get(IFLA_LINKINFO, b""))
    word = info.get(IFLA_INFO_KIND, b"").rstrip(b"\0").decode()
    kind = kinds.by_link.get(word)
    link.attrs["type"] = kind.type if kind else word or _bare_type(hardware)
    if kind:
        _decode(wire.table(info.get(IFLA_INFO_DATA, b"")), tables[word], link.attrs)
    if IFLA_INFO_SLAVE_KIND in info:
        word = info[IFLA_INFO_SLAVE_KIND].rstrip(b"\0").decode()
        link.port = (word, info.get(IFLA_INFO_SLAVE_DATA, b""))


def _bare_type(hardware: int) -> str:
    return "loopback" if hardware == ARPHRD_LOOPBACK else "ethernet"


def _decode_references(given: dict[int, bytes], link: _Link) -> None:
    if IFLA_LINK in given and IFLA_LINK_NETNSID not in given:
        link.base = struct.unpack("=I", given[IFLA_LINK])[0]
    if IFLA_MASTER in given:
        link.controller = struct.unpack("=I", given[IFLA_MASTER])[0]
    inet6 = wire.table(wire.table(given.get(IFLA_AF_SPEC, b"")).get(AF_INET6, b""))
    for attr in BASE_ATTRS:
        if attr.nest and attr.number in inet6:
            link.attrs[attr.name] = attr.codec.unpack(inet6[attr.number])
    if len(conf := inet6.get(IFLA_INET6_CONF, b"")) > DEVCONF_DISABLE_IPV6 * 4:
        link.disable_ipv6 = struct.unpack_from("=i", conf, DEVCONF_DISABLE_IPV6 * 4)[0]


def _link_rows(link: _Link, names: dict[int, str], kinds: Kinds) -> Iterator[Row]:
    name = link.name
    kind = kinds.by_type.get(link.attrs["type"])
    for attr in kind.attrs if kind else ():
        if attr.name == "primary" and attr.name in link.attrs:
            link.attrs[attr.name] = names.get(link.attrs[attr.name])
    if link.base in names and names[link.base] != name:
        link.attrs["peer" if link.attrs["type"] == "veth" else "base-iface"] = names[link.base]
    yield Row(("link", name), link.attrs)
    if link.up:
        yield Row(("up", name))
    if link.controller in names:
        yield Row(("port", name), _port_attrs(link, names, kinds))
    if link.disable_ipv6 is not None:
        yield Row(("sysctl", f"net/ipv6/conf/{name}/disable_ipv6"), {"value": str(link.disable_ipv6)})


def _port_attrs(link: _Link, names: dict[int, str], kinds: Kinds) -> dict[str, Any]:
    attrs: dict[str, Any] = {"controller": names[link.controller]}
    word, data = link.port or ("", b"")
    kind = kinds.by_link.get(word)
    attrs["type"] = kind.type if kind else word
    if kind:
        _decode(wire.table(data), _by_number(kind.port_attrs), attrs)
    return attrs


def _vlan_rows(channel: Channel, names: dict[int, str]) -> Iterator[Row]:
    mask = wire.attr(IFLA_EXT_MASK, struct.pack("=I", RTEXT_FILTER_BRVLAN_COMPRESSED))
    for data in channel.dump(wire.RTM_GETLINK, wire.IFINFO.pack(AF_BRIDGE, 0, 0, 0, 0) + mask):
        index = wire.IFINFO.unpack_from(data)[2]
        spec = wire.table(data, wire.IFINFO.size).get(IFLA_AF_SPEC)
        if spec is not None and index in names:
            yield Row(("vlans", names[index]), {"vids": _vids(spec)})


def _vids(spec: bytes) -> tuple[tuple[int, int, str], ...]:
    found: list[tuple[int, int, str]] = []
    begin = 0
    for number, data in wire.attrs(spec):
        if number != IFLA_BRIDGE_VLAN_INFO:
            continue
        flags, vid = struct.unpack_from("=HH", data)
        if flags & VLAN_RANGE_BEGIN:
            begin = vid
            continue
        first = begin if flags & VLAN_RANGE_END else vid
        found.append((first, vid, WORDS[flags & (VLAN_PVID | VLAN_UNTAGGED)]))
    return merged(found)


def _address_rows(channel: Channel, links: dict[int, _Link]) -> Iterator[Row]:
    secondary: dict[str, list[str]] = {}
    for data in channel.dump(wire.RTM_GETADDR, wire.IFADDR.pack(0, 0, 0, 0, 0)):
        family, prefix, flags, scope, index = wire.IFADDR.unpack_from(data)
        given = wire.table(data, wire.IFADDR.size)
        flags = struct.unpack("=I", given[IFA_FLAGS])[0] if IFA_FLAGS in given else flags
        if index not in links or _is_advertised(family, given, flags):
            continue
        name = links[index].name
        address = f"{socket.inet_ntop(family, given.get(IFA_LOCAL) or given[IFA_ADDRESS])}/{prefix}"
        attrs = _address_attrs(family, given, flags, scope, name)
        if family == socket.AF_INET:
            secondary.setdefault(name, []).append(address)
            if flags & IFA_F_SECONDARY:
                attrs["secondary-to"] = primaries(secondary[name]).get(address)
        yield Row(("address", name, address), attrs)


def _is_advertised(family: int, given: dict[int, bytes], flags: int) -> bool:
    if family == AF_INET6 and flags & IFA_F_TEMPORARY:
        return True
    return given.get(IFA_PROTO, b"\0")[0] == IFAPROT_KERNEL_RA


def _address_attrs(family: int, given: dict[int, bytes], flags: int, scope: int, name: str) -> dict[str, Any]:
    attrs: dict[str, Any] = {"scope": scope}
    local, remote = given.get(IFA_LOCAL), given[IFA_ADDRESS]
    if local and local != remote:
        attrs["peer-address"] = socket.inet_ntop(family, remote)
    if family == socket.AF_INET:
        attrs["broadcast"] = socket.inet_ntop(family, given[IFA_BROADCAST]) if IFA_BROADCAST in given else ""
        label = given.get(IFA_LABEL, b"").rstrip(b"\0").decode()
        if label and label != name:
            attrs["label"] = label
    elif remote.startswith(LINK_LOCAL) and given.get(IFA_PROTO, b"\3")[0] == IFAPROT_KERNEL_LL:
        # Kernels before 5.18 do not tell who made an address: link-local ones count as the kernel's own.
        attrs["protocol"] = IFAPROT_KERNEL_LL
    for word, flag in (("noprefixroute", IFA_F_NOPREFIXROUTE), ("manage-temporary", IFA_F_MANAGETEMPADDR)):
        if flags & flag:
            attrs[word] = True
    if IFA_RT_PRIORITY in given:
        attrs["metric"] = struct.unpack("=I", given[IFA_RT_PRIORITY])[0]
    preferred, valid = struct.unpack_from(
        "=II", given.get(IFA_CACHEINFO, struct.pack("=II", FOREVER, FOREVER))
    )
    if valid != FOREVER:
        attrs["valid"], attrs["preferred"] = valid, preferred
    return attrs
