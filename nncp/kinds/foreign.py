"""Types that we do not make, and of which the head of their message does not tell what they rest on.

Some rest on a link that it does not name: the kernel deletes them with that link, so whoever takes it away
must know of them. Tunnels outlive the link that it does name (net/ipv4/ip_tunnel.c, net/ipv6/ip6_tunnel.c).
"""

from __future__ import annotations

from nncp.kinds.codec import LINK
from nncp.kinds.kind import Attr, Kind, Tie

TUNNELS = (
    "gre", "gretap", "erspan", "ipip", "sit", "vti",
    "ip6gre", "ip6gretap", "ip6erspan", "ip6tnl", "vti6",
)  # fmt: skip
PAIRS = ("netkit", "vxcan")
"""Whose ends come and go together, as a veth's (drivers/net/netkit.c, drivers/net/can/vxcan.c)."""

FOREIGN = (
    # vxlan_handle_lowerdev_unregister(), hsr_netdev_notify(), amt_device_event().
    Kind(type="vxlan", link="vxlan", attrs=(Attr("base-iface", 3, LINK, tie=Tie.RESTS),)),
    Kind(
        type="hsr",
        link="hsr",
        attrs=(Attr("port1", 1, LINK, tie=Tie.RESTS), Attr("port2", 2, LINK, tie=Tie.RESTS)),
    ),
    Kind(type="amt", link="amt", attrs=(Attr("base-iface", 4, LINK, tie=Tie.RESTS),)),
    *(
        Kind(type=word, link=word, below="peer", attrs=(Attr("peer", 0, LINK, tie=Tie.PAIR),))
        for word in PAIRS
    ),
    *(
        Kind(type=word, link=word, below="device", attrs=(Attr("device", 0, LINK, tie=Tie.NAMES),))
        for word in TUNNELS
    ),
)
