"""Addresses: what `ip address` shows (struct ifaddrmsg; net/ipv4/devinet.c, net/ipv6/addrconf.c).

Keys are ("address", name, "192.0.2.1/24"), and "192.0.2.1/32 peer 192.0.2.2" for one with a peer: a link may
have an IPv4 address once for each peer (__inet_insert_ifa), an IPv6 address only once. Those that the kernel
makes by itself, link-local ones and those of router advertisements, are marked; temporary ones, which come
and go with the latter, are left out.
`after` is the address before this one in the kernel's list of the link and family, `lasting` that no lifetime
ends.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.host import Row
from nncp.tables.link import text
from nncp.tables.table import SHARED, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO = (
    1, 2, 3, 4, 6, 8, 9, 11,
)  # fmt: skip
IFA_F_SECONDARY = IFA_F_TEMPORARY = 1
FLAGS = {"nodad": 2, "home": 0x10, "manage-temporary": 0x100, "noprefixroute": 0x200, "autojoin": 0x400}
"""What somebody may give with an address (inet6_rtm_newaddr, rtm_to_ifaddr), by iproute2's words."""
IFAPROT_KERNEL_RA, IFAPROT_KERNEL_LL = 2, 3  # linux/if_addr.h
GIVEN = wire.Pick(
    wire.IFADDR.size,
    (IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST, IFA_CACHEINFO, IFA_FLAGS, IFA_RT_PRIORITY, IFA_PROTO),
)
SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}
LINK_LOCAL = bytes.fromhex("fe80000000000000")
LOOPBACK4, LOOPBACK6 = ("lo", "127.0.0.1/8"), ("lo", "::1/128")
FOREVER = 0xFFFFFFFF
PEER = " peer "
PUT = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_REPLACE


def is_v6(address: str) -> bool:
    """Tell an IPv6 address or network from an IPv4 one."""
    return ":" in address


def is_kernels_own(key: Key, attrs: Mapping[str, Any]) -> bool:
    """Whether the kernel makes this row by itself: a link-local address, an advertised one, the loopback's.

    ::1 comes with the loopback's being up (net/ipv6/addrconf.c, init_loopback); given once more it gets a
    route besides.
    """
    kernels = attrs.get("protocol") in {IFAPROT_KERNEL_LL, IFAPROT_KERNEL_RA} or key[1:] == LOOPBACK6
    return key[0] == "address" and kernels


def is_advertised(key: Key, attrs: Mapping[str, Any]) -> bool:
    """Whether the kernel has made an address of a router's advertisement (addrconf_prefix_rcv_add_addr)."""
    return key[0] == "address" and attrs.get("protocol") == IFAPROT_KERNEL_RA


def _read(dumps: Dumps) -> Iterator[Row]:
    primaries: dict[tuple[str, object], str] = {}
    last: dict[tuple[str, int], str] = {}
    for data in dumps.dump(wire.RTM_GETADDR, wire.IFADDR.pack(0, 0, 0, 0, 0)):
        family, prefix, flags, scope, index = wire.IFADDR.unpack_from(data)
        given = GIVEN(data)
        flags = struct.unpack("=I", given[IFA_FLAGS])[0] if IFA_FLAGS in given else flags
        if family not in SIZES or index not in dumps.names:
            continue
        if family == socket.AF_INET6 and flags & IFA_F_TEMPORARY:
            continue
        # inet_fill_ifaddr() leaves an address out that is all zeros: that of a peer, say.
        given.setdefault(IFA_ADDRESS, bytes(SIZES[family]))
        name, address = dumps.names[index], _spelled(family, given, prefix)
        attrs = _attrs(family, given, flags, scope, name, dumps)
        if "protocol" not in attrs:
            attrs["after"] = last.get((name, family), "")
            last[name, family] = address
        if family == socket.AF_INET:
            subnet = (name, (prefix, int.from_bytes(given[IFA_ADDRESS], "big") >> (32 - prefix)))
            first = primaries.setdefault(subnet, address)
            attrs["secondary-to"] = first if flags & IFA_F_SECONDARY else ""
        yield Row(("address", name, address), attrs)


def _spelled(family: int, given: Mapping[int, bytes], prefix: int) -> str:
    local, remote = given.get(IFA_LOCAL) or given[IFA_ADDRESS], given[IFA_ADDRESS]
    peer = f"{PEER}{wire.address(family, remote)}" if family == socket.AF_INET and remote != local else ""
    return f"{wire.address(family, local)}/{prefix}{peer}"


def local_of(address: str) -> str:
    """Return an address and its prefix length, as a document has it, without its peer."""
    return address.partition(PEER)[0]


def _attrs(
    family: int, given: Mapping[int, bytes], flags: int, scope: int, name: str, dumps: Dumps
) -> dict[str, Any]:
    attrs: dict[str, Any] = {"scope": scope}
    local, remote = given.get(IFA_LOCAL), given[IFA_ADDRESS]
    if local and local != remote:
        attrs["peer-address"] = wire.address(family, remote)
    if family == socket.AF_INET:
        attrs["broadcast"] = wire.address(family, given[IFA_BROADCAST]) if IFA_BROADCAST in given else ""
        label = text(given.get(IFA_LABEL, b""))
        if label and label != name:
            attrs["label"] = label
    elif given.get(IFA_PROTO, b"\0")[0] == IFAPROT_KERNEL_RA:
        attrs["protocol"] = IFAPROT_KERNEL_RA
    elif remote.startswith(LINK_LOCAL) and _maker(given, dumps) == IFAPROT_KERNEL_LL:
        attrs["protocol"] = IFAPROT_KERNEL_LL
    attrs |= {word: True for word, flag in FLAGS.items() if flags & flag}
    if IFA_RT_PRIORITY in given:
        attrs["metric"] = struct.unpack("=I", given[IFA_RT_PRIORITY])[0]
    preferred, valid = struct.unpack_from(
        "=II", given.get(IFA_CACHEINFO, struct.pack("=II", FOREVER, FOREVER))
    )
    attrs["lasting"] = valid == FOREVER
    if valid != FOREVER:
        attrs["valid"], attrs["preferred"] = valid, preferred
    return attrs


def _maker(given: Mapping[int, bytes], dumps: Dumps) -> int:
    """Return who made a link-local address: before Linux 5.18 nobody tells, and it counts as the kernel's."""
    unsaid = b"\0" if dumps.tells_makers else bytes([IFAPROT_KERNEL_LL])
    return given.get(IFA_PROTO, unsaid)[0]


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    name, address = key[1], key[2]
    yield ("link", name)
    if is_v6(address):
        # addrconf_ifdown() takes IPv6 addresses from a link that goes down; IPv4 ones stay. One with a
        # lifetime that is given to a link which is down has no prefix route later (fixup_permanent_addr).
        if ("up", name) in rows or not rows[key].get("lasting", True):
            yield ("up", name)
    elif primary := rows[key].get("secondary-to"):
        # inet_del_ifa() takes the secondary addresses of a subnet with its primary one.
        yield ("address", name, primary)


def _upholds(key: Key) -> Iterator[Key]:
    address = key[2].partition("/")[0]
    yield (SHARED, "source", address)
    if not is_v6(address):
        yield (SHARED, "ipv4", key[1])


def _amid(key: Key, rows: Rows, want: Mapping[Key, Row]) -> Mapping[str, Any]:
    """Return an address with the wanted one before it: no other one is a reason to give it anew."""
    attrs = rows[key]
    before = attrs.get("after")
    if want[key].absent:
        return attrs
    while before and ((row := want.get((*key[:2], before))) is None or row.absent):
        before = rows.get((*key[:2], before), {}).get("after")
    return attrs if before == attrs.get("after") else {**attrs, "after": before}


def _turn(key: Key, _: Mapping[str, Any], number: int) -> tuple[Any, ...]:
    """Return when an address is given: IPv4 in order, IPv6 the last first.

    inet_insert_ifa() puts a new address behind its equals, and the first of a subnet is the source of what
    leaves by it. ipv6_link_dev_addr() puts a new one before those of its scope; among addresses that are
    equally good by RFC 6724, ipv6_get_saddr_eval() keeps the first, which is the one that was given last.
    """
    return (-number,) if is_v6(key[2]) else (number,)


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:
    interface = ipaddress.ip_interface(local_of(op.key[2]))
    attrs = op.old if op.verb == "remove" else op.attrs
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    index = indexes[op.key[1]]
    head = wire.IFADDR.pack(family, interface.network.prefixlen, 0, attrs.get("scope", 0), index)
    if op.verb == "remove":
        # By IFA_LOCAL alone the first of an address's several prefixes would go (inet_rtm_deladdr).
        ends = b"".join(_ends(interface, attrs))
        yield wire.message(wire.RTM_DELADDR, wire.NLM_F_ACK, head + ends)
    else:
        yield wire.message(wire.RTM_NEWADDR, PUT, head + b"".join(_parts(interface, attrs)))


def _ends(interface: Any, attrs: Mapping[str, Any]) -> Iterator[bytes]:
    yield wire.attr(IFA_LOCAL, interface.packed)
    remote = attrs.get("peer-address")
    yield wire.attr(IFA_ADDRESS, ipaddress.ip_address(remote).packed if remote else interface.packed)


def _parts(interface: Any, attrs: Mapping[str, Any]) -> Iterator[bytes]:
    yield from _ends(interface, attrs)
    broadcast = attrs.get("broadcast")
    if interface.version == 4 and broadcast is None and interface.network.prefixlen < 31:
        # Nobody said: the subnet's own broadcast address, as every distribution's tools set it.
        broadcast = str(interface.network.broadcast_address)
    if broadcast:
        yield wire.attr(IFA_BROADCAST, ipaddress.ip_address(broadcast).packed)
    if label := attrs.get("label"):
        yield wire.attr(IFA_LABEL, label.encode() + b"\0")
    if flags := sum(flag for word, flag in FLAGS.items() if attrs.get(word)):
        yield wire.attr(IFA_FLAGS, struct.pack("=I", flags))
    if metric := attrs.get("metric"):
        yield wire.attr(IFA_RT_PRIORITY, struct.pack("=I", metric))
    if protocol := attrs.get("protocol"):
        yield wire.attr(IFA_PROTO, struct.pack("=B", protocol))
    if "valid" in attrs and not attrs.get("lasting"):
        lives = struct.pack("=IIII", attrs.get("preferred", FOREVER), attrs["valid"], 0, 0)
        yield wire.attr(IFA_CACHEINFO, lives)


def _changed(op: Op) -> str:
    if op.attrs.get("lasting") != op.old.get("lasting"):
        return f"address {op.key[2]}: {'for good' if op.attrs.get('lasting') else 'for its lifetime'}"
    return f"address {op.key[2]}: metric {op.old.get('metric', 0)} → {op.attrs.get('metric', 0)}"


ADDRESS = Table(
    name="address",
    read=_read,
    write=_write,
    needs=_needs,
    own=is_kernels_own,
    fleeting=is_advertised,
    upholds=_upholds,
    # With net.ipv4.conf.*.promote_secondaries the next address of the subnet becomes its primary one instead.
    spared=True,
    amid=_amid,
    follows=lambda row: (*row.key[:2], row.attrs["after"]) if row.attrs.get("after") else None,
    turn=_turn,
    # inet_rtm_newaddr() replaces lifetimes and metric of an address, nothing else.
    replaced=True,
    live=frozenset({"lasting", "metric"}),
    whole=True,
    sentence=lambda op: f"{op.verb} address {op.key[2]} on {op.key[1]}",
    what=lambda key, _: f"address {key[2]}",
    changed=_changed,
    told=True,
    plural="addresses",
)
