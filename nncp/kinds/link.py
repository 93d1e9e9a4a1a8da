"""What every link has, whatever its type (linux/if_link.h; net/core/rtnetlink.c, do_setlink)."""

from __future__ import annotations

from nncp.host import Cost
from nncp.kinds.codec import ALIAS, BOOL8, LINK, MAC, U8, U32, enum
from nncp.kinds.kind import Attr, Tie

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
)
"""What a link tells of itself and nobody can ask for."""

PORT_ATTRS = (Attr("controller", 10, LINK, tie=Tie.RESTS),)
"""What every port has, whatever its controller's type; writing it attaches the port."""
