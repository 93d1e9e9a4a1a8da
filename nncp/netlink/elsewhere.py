"""What rests on a link of this network namespace from another one: a Pod's macvlan, say.

Nothing here tells of it, and the kernel deletes it with the link (net/core/dev.c, NETDEV_UNREGISTER). So who
deletes a link looks into the other namespaces that there are: those of processes, and those with a name.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from nncp import wire
from nncp.errors import Error
from nncp.kinds.foreign import PAIRS
from nncp.netlink.channel import Channel, Refusal
from nncp.netns import entered
from nncp.tables.link import (
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINK,
    IFLA_LINK_NETNSID,
    IFLA_LINKINFO,
    number,
    text,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

RTM_GETNSID = 90
NETNSA_NSID, NETNSA_FD = 1, 3  # linux/net_namespace.h
FAMILY = struct.Struct("=Bxxx")  # struct rtgenmsg
OWN = Path("/proc/thread-self/ns/net")
ENDS = frozenset({"veth", *PAIRS})
"""Whose link attribute names their other end, of which this namespace tells itself."""
NAMED = Path("/run/netns")
PROCESSES = Path("/proc")


def resting_elsewhere() -> list[tuple[int, str, str]]:
    """Return what rests on links of the present namespace from others: the link's index, the type, the name.

    A namespace that cannot be entered is passed over: who may not look there may not delete a link either.
    """
    found: list[tuple[int, str, str]] = []
    with contextlib.suppress(OSError):
        own = os.open(OWN, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # A thread of its own: whatever goes wrong there, the caller stays in its namespace.
            looking = threading.Thread(target=lambda: found.extend(_looked(own)))
            looking.start()
            looking.join()
        finally:
            os.close(own)
    return found


def _looked(own: int) -> Iterator[tuple[int, str, str]]:
    for path in _others(os.fstat(own)):
        with contextlib.suppress(Error, OSError), entered(path), Channel() as channel:
            known_as = _number_of(own, channel)
            if known_as is not None:
                yield from _resting(channel, known_as)


def _others(own: os.stat_result) -> Iterator[Path]:
    """Yield a path to each network namespace but the own one; what else lies there is not opened."""
    seen = {own.st_ino}
    processes = (process / "ns" / "net" for process in _entries(PROCESSES) if process.name.isdecimal())
    for path in (*_entries(NAMED), *processes):
        with contextlib.suppress(OSError):
            found = path.stat()
            if found.st_dev == own.st_dev and found.st_ino not in seen:
                seen.add(found.st_ino)
                yield path


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _number_of(namespace: int, channel: Channel) -> int | None:
    """Return the number by which a namespace knows another one; None where it does not."""
    asked = FAMILY.pack(0) + wire.attr(NETNSA_FD, struct.pack("=I", namespace))
    try:
        told = wire.table(channel.ask(RTM_GETNSID, asked), FAMILY.size)
    except Refusal:
        return None
    found = struct.unpack("=i", told[NETNSA_NSID])[0] if NETNSA_NSID in told else -1
    return found if found >= 0 else None


def _resting(channel: Channel, known_as: int) -> Iterator[tuple[int, str, str]]:
    for data in channel.dump(wire.RTM_GETLINK, wire.IFINFO.pack(0, 0, 0, 0, 0)):
        given = wire.table(data, wire.IFINFO.size)
        below, where = given.get(IFLA_LINK), given.get(IFLA_LINK_NETNSID)
        kind = text(wire.table(given.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND, b""))
        if below and where and number(where) == known_as and kind not in ENDS:
            yield number(below), kind, text(given[IFLA_IFNAME])
