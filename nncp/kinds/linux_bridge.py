"""Linux bridges: `type: linux-bridge`, section `bridge` (net/bridge/br_netlink.c, br_vlan.c)."""

from __future__ import annotations

from nncp.kinds.codec import BE16, BOOL8, BOOL32, MAC, U8, U16, U32, U64, Codec, enum, scaled
from nncp.kinds.kind import Attr

ETH_P = {"802.1q": 0x8100, "802.1ad": 0x88A8}
USER_HZ = 100

SECONDS: Codec = scaled(U32, USER_HZ)

ATTRS = (
    Attr("stp.forward-delay", 1, SECONDS),
    Attr("stp.hello-time", 2, SECONDS),
    Attr("stp.max-age", 3, SECONDS),
    Attr("mac-ageing-time", 4, SECONDS),
    # Timers are range-checked only while STP runs, so they go first: the kernel reads them first too.
    Attr("stp.enabled", 5, BOOL32),
    Attr("stp.priority", 6, U16),
    Attr("vlan-filtering", 7, BOOL8),
    Attr("vlan-protocol", 8, enum(ETH_P, BE16)),
    Attr("group-forward-mask", 9, U16),
    Attr("group-addr", 20, MAC),
    Attr("multicast-router", 22, enum({"disabled": 0, "auto": 1, "enabled": 2}, U8)),
    Attr("multicast-snooping", 23, BOOL8),
    Attr("multicast-query-use-ifaddr", 24, BOOL8),
    Attr("multicast-querier", 25, BOOL8),
    Attr("hash-max", 27, U32),
    Attr("multicast-last-member-count", 28, U32),
    Attr("multicast-startup-query-count", 29, U32),
    Attr("multicast-last-member-interval", 30, U64),
    Attr("multicast-membership-interval", 31, U64),
    Attr("multicast-querier-interval", 32, U64),
    Attr("multicast-query-interval", 33, U64),
    Attr("multicast-query-response-interval", 34, U64),
    Attr("multicast-startup-query-interval", 35, U64),
    # br_vlan_set_default_pvid() answers EPERM while the bridge filters.
    Attr("vlan-default-pvid", 39, U16, without="vlan-filtering"),
)

PORT_ATTRS = (
    # Refused with EBUSY under kernel STP, and moved by the bridge itself: never restored.
    Attr(
        "state",
        1,
        enum({"disabled": 0, "listening": 1, "learning": 2, "forwarding": 3, "blocking": 4}),
        volatile=True,
    ),
    Attr("stp-priority", 2, U16),
    Attr("stp-path-cost", 3, U32),
    Attr("stp-hairpin-mode", 4, BOOL8),
    Attr("bpdu-guard", 5, BOOL8),
    Attr("root-block", 6, BOOL8),
    Attr("multicast-fast-leave", 7, BOOL8),
    Attr("learning", 8, BOOL8),
    Attr("unicast-flood", 9, BOOL8),
    Attr("proxy-arp", 10, BOOL8),
    Attr("proxy-arp-wifi", 12, BOOL8),
    Attr("multicast-router", 25, enum({"disabled": 0, "auto": 1, "enabled": 2}, U8)),
    Attr("multicast-flood", 27, BOOL8),
    Attr("multicast-to-unicast", 28, BOOL8),
    Attr("vlan-tunnel", 29, BOOL8),
    Attr("broadcast-flood", 30, BOOL8),
    Attr("group-forward-mask", 31, U16),
    Attr("neigh-suppress", 32, BOOL8),
    Attr("isolated", 33, BOOL8),
    Attr("locked", 39, BOOL8),
)
