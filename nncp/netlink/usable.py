"""Waits until an IPv6 address is past duplicate address detection (RFC 4862, section 5.4)."""

from __future__ import annotations

import socket
import struct
import time
from typing import TYPE_CHECKING

from nncp import wire
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit
from nncp.tables.address import IFA_ADDRESS, IFA_FLAGS, IFA_LOCAL

if TYPE_CHECKING:
    from nncp.netlink.channel import Channel

IFA_F_DADFAILED, IFA_F_TENTATIVE = 0x08, 0x40
DETECTION = 5.0
"""Seconds of a quiet machine; it takes up to two (RFC 4862), and a carrier may come first."""
LOOK_EVERY = 0.02


def until_usable(channel: Channel, address: str) -> None:
    """Return once the kernel takes `address` as a source.

    Raises:
        Error: it did not come, another host has it, or its link has no carrier.

    """
    limit = Limit(DETECTION)
    while (flags := _flags(channel, address)) is None or flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED):
        if flags is not None and flags & IFA_F_DADFAILED:
            raise Error(f"another host on the link has {address} already", kind=ErrorKind.FAILED)
        if limit.is_over():
            raise Error(
                f"{address} could not be used as a source {limit.story}",
                kind=ErrorKind.FAILED,
                hint="" if flags is None else "without a carrier the kernel does not check it for duplicates",
            )
        time.sleep(LOOK_EVERY)


def _flags(channel: Channel, address: str) -> int | None:
    """Return the flags of an address, the best that any link has; None when none has it."""
    packed = socket.inet_pton(socket.AF_INET6, address)
    found = []
    for data in channel.dump(wire.RTM_GETADDR, wire.IFADDR.pack(socket.AF_INET6, 0, 0, 0, 0)):
        given = wire.table(data, wire.IFADDR.size)
        if given.get(IFA_LOCAL, given.get(IFA_ADDRESS)) == packed:
            found.append(struct.unpack("=I", given[IFA_FLAGS])[0] if IFA_FLAGS in given else data[2])
    return min(found, key=lambda flags: flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED), default=None)
