"""Bonds: `type: bond`, section `link-aggregation` (drivers/net/bonding/bond_options.c, bond_netlink.c)."""

from __future__ import annotations

import socket

from nncp.host import Cost
from nncp.kinds.codec import BOOL8, LINK, MAC, S32, U8, U16, U32, address_list, enum
from nncp.kinds.kind import Attr

MODES = {
    "balance-rr": 0,
    "active-backup": 1,
    "balance-xor": 2,
    "broadcast": 3,
    "802.3ad": 4,
    "balance-tlb": 5,
    "balance-alb": 6,
}
LACP = frozenset({"802.3ad"})
NO_ARP_MONITOR = frozenset({"802.3ad", "balance-tlb", "balance-alb"})
ARP_MONITOR = frozenset(MODES) - NO_ARP_MONITOR
WITH_PRIMARY = frozenset({"active-backup", "balance-tlb", "balance-alb"})
DYNAMIC = frozenset({"balance-tlb", "balance-alb"})

# `cost` is the option's own flags in bond_opts[]: IFDOWN is DOWN, NOSLAVES is EMPTY; `only` its unsuppmodes.
ATTRS = (
    Attr("mode", 1, enum(MODES), cost=Cost.EMPTY),
    Attr("miimon", 3, U32),
    Attr("updelay", 4, U32),
    Attr("downdelay", 5, U32),
    Attr("use_carrier", 6, BOOL8),
    Attr("arp_interval", 7, U32, only=ARP_MONITOR),
    Attr("arp_ip_target", 8, address_list(socket.AF_INET)),
    Attr(
        "arp_validate",
        9,
        enum(
            {
                "none": 0,
                "active": 1,
                "backup": 2,
                "all": 3,
                "filter": 4,
                "filter_active": 5,
                "filter_backup": 6,
            },
            U32,
        ),
        only=ARP_MONITOR,
    ),
    Attr("arp_all_targets", 10, enum({"any": 0, "all": 1}, U32)),
    Attr("primary", 11, LINK, only=WITH_PRIMARY),
    Attr("primary_reselect", 12, enum({"always": 0, "better": 1, "failure": 2})),
    Attr("fail_over_mac", 13, enum({"none": 0, "active": 1, "follow": 2}), cost=Cost.EMPTY),
    Attr(
        "xmit_hash_policy",
        14,
        enum({"layer2": 0, "layer3+4": 1, "layer2+3": 2, "encap2+3": 3, "encap3+4": 4, "vlan+srcmac": 5}),
        cost=Cost.DOWN,
    ),
    Attr("resend_igmp", 15, U32),
    Attr("num_grat_arp", 16, U8),
    Attr("all_slaves_active", 17, enum({"dropped": 0, "delivered": 1})),
    Attr("min_links", 18, U32),
    Attr("lp_interval", 19, U32),
    Attr("packets_per_slave", 20, U32, only=frozenset({"balance-rr"})),
    Attr("lacp_rate", 21, enum({"slow": 0, "fast": 1}), cost=Cost.DOWN, only=LACP),
    Attr("ad_select", 22, enum({"stable": 0, "bandwidth": 1, "count": 2}), cost=Cost.DOWN),
    Attr("ad_actor_sys_prio", 24, U16, only=LACP),
    Attr("ad_user_port_key", 25, U16, cost=Cost.DOWN, only=LACP),
    Attr("ad_actor_system", 26, MAC, only=LACP),
    Attr("tlb_dynamic_lb", 27, BOOL8, cost=Cost.DOWN, only=DYNAMIC),
    Attr("peer_notif_delay", 28, U32),
    Attr("lacp_active", 29, enum({"off": 0, "on": 1}), cost=Cost.DOWN, only=LACP),
    Attr("arp_missed_max", 30, U8, only=ARP_MONITOR),
)

PORT_ATTRS = (
    Attr("queue-id", 5, U16),
    Attr("priority", 9, S32),
)
