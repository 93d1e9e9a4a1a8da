"""Which links lose their addresses of a family by what a document asks for, and which routes go with them."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from nncp.tables.address import is_kernels_own, is_v6
from nncp.tables.route import CONFIG_PROTOCOLS, RTPROT_RA
from nncp.tables.sysctl import sysctl_link

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Key, Row
    from nncp.tables.kinds import Kinds
    from nncp.tables.rtmsg import Hop

BOTH = ("ipv4", "ipv6")


class Leaving:
    """What a document takes from the links of a host.

    `ended` are the families that a link has no longer (it goes, becomes a port, or IPv6 is off), `emptied`
    those of which it only loses the last address, `unadvertised` the links that no longer listen to routers.
    """

    def __init__(self, wanted: Mapping[Key, Row], host: Host, kinds: Kinds) -> None:
        self.ended = set(_ended(wanted, host, kinds))
        self.emptied = set(_emptied(wanted, host))
        self.unadvertised = {
            sysctl_link(key[1])
            for key, row in wanted.items()
            if key[0] == "sysctl" and key[1].endswith("/accept_ra") and row.attrs.get("value") == "0"
        }

    def any_of(self, name: str, family: str) -> bool:
        """Whether a link loses its addresses of a family."""
        return (name, family) in self.ended or (name, family) in self.emptied

    def takes(self, key: Key, hop: Hop, protocol: int) -> bool:
        """Whether a route loses a hop: what belongs to an address of the link goes with it.

        IPv4 goes with the last address (net/ipv4/fib_frontend.c, fib_disable_ip). IPv6 does not: there a
        route to the link stays, and one by a router's link-local address.
        """
        if (hop[0], key[1]) in self.ended or (protocol == RTPROT_RA and hop[0] in self.unadvertised):
            return True
        if (hop[0], key[1]) not in self.emptied:
            return False
        if key[1] == "ipv4":
            return True
        is_global = bool(hop[1]) and not ipaddress.ip_address(hop[1]).is_link_local
        return is_global and protocol in CONFIG_PROTOCOLS


def _ended(wanted: Mapping[Key, Row], host: Host, kinds: Kinds) -> Iterator[tuple[str, str]]:
    for key, row in wanted.items():
        if key[0] == "link" and row.absent:
            yield from ((row.name, family) for family in BOTH)
        elif key[0] == "port" and not row.absent:
            controller = ("link", str(row.attrs.get("controller")))
            said = wanted[controller].attrs.get("type") if controller in wanted else None
            routed = kinds.is_routed(said or host.attr(*controller, name="type", default=""))
            if host.attr(*key, name="controller") != controller[1] and not routed:
                yield from ((row.name, family) for family in BOTH)
        elif key[0] == "sysctl" and key[1].endswith("/disable_ipv6") and row.attrs.get("value") == "1":
            yield sysctl_link(key[1]), "ipv6"


def _emptied(wanted: Mapping[Key, Row], host: Host) -> Iterator[tuple[str, str]]:
    held = {_family(key) for key, row in wanted.items() if key[0] == "address" and not row.absent}
    for name, family in {_family(key) for key, row in wanted.items() if key[0] == "address" and row.absent}:
        left = (
            row
            for row in host.of("address", name)
            if _family(row.key) == (name, family)
            and row.key not in wanted
            and not is_kernels_own(row.key, row.attrs)
        )
        if (name, family) not in held and not any(left):
            yield name, family


def _family(key: Key) -> tuple[str, str]:
    return key[1], "ipv6" if is_v6(key[2]) else "ipv4"
