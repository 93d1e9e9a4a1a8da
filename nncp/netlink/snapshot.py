"""From the kernel's dumps to rows, table by table."""

from __future__ import annotations

import os
import re
from functools import cached_property
from typing import TYPE_CHECKING

from nncp import wire
from nncp.host import Host
from nncp.tables.link import DUMP, LinkMessage

if TYPE_CHECKING:
    from nncp.netlink.channel import Channel
    from nncp.tables.kinds import Kinds


TELLS_MAKERS = (5, 18)


class Dumps:
    """The dumps of one snapshot: the links now, the rest when a table asks for it."""

    def __init__(self, channel: Channel, kinds: Kinds) -> None:
        self.kinds = kinds
        self.channel = channel
        self.links = channel.dump(wire.RTM_GETLINK, DUMP, lambda data: LinkMessage(data, kinds))
        self.names = {link.index: link.name for link in self.links}

    @cached_property
    def tells_makers(self) -> bool:
        """Whether this kernel says of an address who made it (IFA_PROTO)."""
        numbers = re.findall(r"\d+", os.uname().release)[:2]
        return tuple(int(number) for number in numbers) >= TELLS_MAKERS

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of the messages that answer a dump."""
        return self.channel.dump(kind, body)


def snapshot(channel: Channel, kinds: Kinds) -> Host:
    """Return the rows of the channel's network namespace.

    One dump of links, one of addresses, one of each family's routes of each protocol that is shown; one more
    of VLANs where there is a bridge.
    """
    dumps = Dumps(channel, kinds)
    return Host(row for table in kinds.tables.values() for row in table.read(dumps))


def indexes(host: Host) -> dict[str, int]:
    """Return the index of each link by its name."""
    return {row.name: row.attrs["index"] for row in host.table("link")}
