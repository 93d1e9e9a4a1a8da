"""Virtual Ethernet pairs: `type: veth`, section `veth` (drivers/net/veth.c)."""

from __future__ import annotations

from nncp.kinds.codec import TEXT
from nncp.kinds.kind import Attr

ATTRS = (
    # Number 0: packed together, as the nest VETH_INFO_PEER, when the pair is made.
    Attr("peer", 0, TEXT, create=True),
    Attr("peer-netns", 0, TEXT, create=True),
    Attr("peer-mac", 0, TEXT, create=True),
    Attr("peer-mtu", 0, TEXT, create=True),
)
