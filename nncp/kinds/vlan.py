"""VLAN sub-interfaces: `type: vlan`, section `vlan` (net/8021q/vlan_netlink.c)."""

from __future__ import annotations

from nncp.host import Cost
from nncp.kinds.codec import BE16, U16, bits, enum
from nncp.kinds.kind import Attr

REORDER_HDR, GVRP, LOOSE_BINDING, MVRP, BRIDGE_BINDING = 1, 2, 4, 8, 16

ATTRS = (
    # The kernel answers 0 to a changed id or protocol and ignores it (vlan_changelink).
    Attr("id", 1, U16, cost=Cost.NEW),
    Attr("protocol", 5, enum({"802.1q": 0x8100, "802.1ad": 0x88A8}, BE16), cost=Cost.NEW),
    Attr("reorder-headers", 2, bits({True: REORDER_HDR, False: 0}, REORDER_HDR)),
    Attr("registration-protocol", 2, bits({"none": 0, "gvrp": GVRP, "mvrp": MVRP}, GVRP | MVRP)),
    Attr("loose-binding", 2, bits({True: LOOSE_BINDING, False: 0}, LOOSE_BINDING)),
    Attr("bridge-binding", 2, bits({True: BRIDGE_BINDING, False: 0}, BRIDGE_BINDING)),
)
