"""What every link has, whatever its type (linux/if_link.h; net/core/rtnetlink.c, do_setlink)."""

from __future__ import annotations

from nncp.host import Cost
from nncp.kinds.codec import ALIAS, BOOL8, LINK, MAC, U8, U32, enum
from nncp.kinds.kind import Attr, Tie, as_read

AF_INET6 = 10
IFLA_AF_SPEC = 26

BASE_ATTRS = (
    Attr("mtu", 4, U32, follows=True),
    Attr("mac", 1, MAC, follows=True),
    Attr("base-iface", 5, LINK, cost=Cost.NEW, tie=Tie.RESTS),
    Attr("alias", 20, ALIAS, late=True, unset=""),
    Attr("txqlen", 13, U32),
    Attr("link-group", 27, U32),
    # Part of a link's identity: asked for again when an undo has to create it anew.
    Attr("tx-queues", 31, U32, create=True),
    Attr("rx-queues", 32, U32, create=True),
    Attr(
        "addr-gen-mode",
        8,
        enum({"eui64": 0, "none": 1, "stable-privacy": 2, "random": 3}, U8),
        nest=(IFLA_AF_SPEC, AF_INET6),
        late=True,
    ),
)

STATE_ATTRS = (
    Attr("carrier", 33, BOOL8),
    Attr("min-mtu", 50, U32),
    Attr("max-mtu", 51, U32),
    Attr("permanent-mac", 54, MAC),
)
"""What a link tells of itself and nobody can ask for."""

SENT_BACK = (
    # ifi_flags, which stand before the attributes.
    Attr("flags", 0, U32, create=True),
    # broadcast, linkmode, gso-max-segs and -size, gro-max-size, and both sizes for IPv4 (rtnl_create_link).
    *as_read(2, 17, 40, 41, 58, 63, 64),
)
"""What is not modelled, and what a link that is made again takes as it was read."""

FLAGS = 0x1384
"""IFF_DEBUG, NOARP, PROMISC, ALLMULTI, MULTICAST: what of ifi_flags is set by hand (__dev_change_flags)."""

ELSEWHERE = frozenset({3, 5, 10, 18, IFLA_AF_SPEC, 37, 52})
"""Numbers that other rows hold: name, link, master, linkinfo, per family, link-netnsid, prop-list."""

READ_ONLY = frozenset({
    # qdisc, stats, map, operstate, num-vf, stats64, promiscuity, phys-port-id, carrier-changes
    6, 7, 14, 16, 21, 23, 30, 34, 35,
    # phys-switch-id, phys-port-name, pad, event, new-netnsid, carrier-up-count, carrier-down-count
    36, 38, 42, 44, 45, 47, 48,
    # new-ifindex, perm-address, parent-dev-name, parent-dev-bus-name, tso-max-size, tso-max-segs
    49, 54, 56, 57, 59, 60,
    # allmulti, devlink-port, dpll-pin
    61, 62, 65,
    # max-pacing-offload-horizon, netns-immutable, headroom, tailroom
    66, 67, 68, 69,
})  # fmt: skip
"""Numbers that a link only tells (rtnl_fill_ifinfo)."""

IDLE = {39: bytes(1), 43: bytes.fromhex("0500020000000000")}
"""Numbers that every link tells, by what they are when nobody asked for them: proto-down, xdp."""

INET6_IDLE = {7: bytes(16)}
"""The same of IPv6: the token."""

PORT_ATTRS = (Attr("controller", 10, LINK, tie=Tie.RESTS),)
"""What every port has, whatever its controller's type; writing it attaches the port."""
