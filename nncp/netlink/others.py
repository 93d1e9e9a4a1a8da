"""Routes of routing daemons: read only where a plan takes them along, since there may be very many.

The kernel picks them by link (RTA_OIF, NETLINK_GET_STRICT_CHK), so what a plan does not touch costs nothing.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Row
from nncp.tables.address import is_v6
from nncp.tables.route import PROTOCOLS, protocol_word, rows_of
from nncp.tables.rtmsg import FAMILIES, RTA_OIF, RTA_PREFSRC
from nncp.tables.sysctl import sysctl_link

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from nncp.host import Host, Key, Op
    from nncp.netlink.channel import Channel

BOTH = tuple(FAMILIES)


def losing(host: Host, ops: Iterable[Op]) -> set[tuple[str, str]]:
    """Return the links that lose routes by a plan, each with the family: they go, go down or lose IPv4."""
    found: set[tuple[str, str]] = set()
    gone: dict[str, set[str]] = {}
    for op in ops:
        if op.verb == "rename":
            found.update((op.old["name"], family) for family in BOTH)
        elif op.key[0] == "sysctl" and op.key[1].endswith("/disable_ipv6") and op.attrs.get("value") == "1":
            found.add((sysctl_link(op.key[1]), "ipv6"))
        elif op.key not in host or op.verb == "change":
            continue
        elif op.key[0] in {"link", "up"}:  # removed, or made again
            found.update((op.key[1], family) for family in BOTH)
        elif op.key[0] == "address" and not is_v6(op.key[2]):
            gone.setdefault(op.key[1], set()).add(op.key[2])
    for name, addresses in gone.items():
        if all(row.key[2] in addresses or is_v6(row.key[2]) for row in host.of("address", name)):
            found.add((name, "ipv4"))
    return found


def sources(host: Host, ops: Iterable[Op]) -> set[bytes]:
    """Return the IPv4 addresses that go: every route whose source one is goes too, by whichever link."""
    gone = {op.key[2].partition("/")[0] for op in ops if op.key[0] == "address" and op.key in host}
    return {socket.inet_aton(address) for address in gone if not is_v6(address)}


def mentioned(rows: Iterable[Row]) -> set[tuple[str, str]]:
    """Return the links, each with the family, of those of `rows` that a snapshot does not hold."""
    return {
        (hop[0], row.key[1])
        for row in rows
        if row.key[0] == "route" and row.attrs.get("protocol") not in {None, *PROTOCOLS}
        for hop in row.attrs.get("nexthops", ())
    }


def with_others(
    channel: Channel, host: Host, links: Iterable[tuple[str, str]], gone: Collection[bytes] = ()
) -> Host:
    """Return `host` with the routes of all protocols through `links`, and with those whose source goes."""
    names = {row.attrs["index"]: row.name for row in host.table("link")}
    dumps: dict[str, dict[bytes, None]] = {}
    for name, family in sorted(links):
        # A route with several hops comes with each of their links.
        dumps.setdefault(family, {}).update(dict.fromkeys(_through(channel, host, name, family)))
    if gone:
        dumps.setdefault("ipv4", {}).update(dict.fromkeys(_from(channel, gone)))
    rows = [row for family, dump in dumps.items() for row in rows_of(family, dump, names)]
    found = [Row(_apart(row, host), row.attrs) for row in rows]
    return host.with_rows(found) if found else host


def _through(channel: Channel, host: Host, name: str, family: str) -> Iterator[bytes]:
    index = host.attr("link", name, name="index")
    if index is None:
        return
    body = wire.RTMSG.pack(FAMILIES[family], 0, 0, 0, 0, 0, 0, 0, 0)
    for data in channel.dump(wire.RTM_GETROUTE, body + wire.attr(RTA_OIF, struct.pack("=I", index))):
        if wire.RTMSG.unpack_from(data)[5] not in PROTOCOLS:
            yield data


def _from(channel: Channel, gone: Collection[bytes]) -> Iterator[bytes]:
    for data in channel.dump(wire.RTM_GETROUTE, wire.RTMSG.pack(socket.AF_INET, 0, 0, 0, 0, 0, 0, 0, 0)):
        if wire.RTMSG.unpack_from(data)[5] in PROTOCOLS or not any(address in data for address in gone):
            continue
        if wire.table(data, wire.RTMSG.size).get(RTA_PREFSRC) in gone:
            yield data


def _apart(row: Row, host: Host) -> Key:
    """Return a key that no route of the host's own configuration has, of the same destination and metric."""
    return row.key if row.key not in host else (*row.key, protocol_word(row.attrs))
