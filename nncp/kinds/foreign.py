"""Types that we do not make, and that rest on a link which the head of their message does not name.

The kernel deletes them with that link, so whoever takes it away must know of them.
"""

from __future__ import annotations

from nncp.kinds.codec import LINK
from nncp.kinds.kind import Attr, Kind, Tie

FOREIGN = (
    # vxlan_handle_lowerdev_unregister(), hsr_netdev_notify(), amt_device_event().
    Kind(type="vxlan", link="vxlan", attrs=(Attr("base-iface", 3, LINK, tie=Tie.RESTS),)),
    Kind(
        type="hsr",
        link="hsr",
        attrs=(Attr("port1", 1, LINK, tie=Tie.RESTS), Attr("port2", 2, LINK, tie=Tie.RESTS)),
    ),
    Kind(type="amt", link="amt", attrs=(Attr("base-iface", 4, LINK, tie=Tie.RESTS),)),
)
