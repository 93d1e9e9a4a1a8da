"""What a document says of a bond: the section `link-aggregation` (drivers/net/bonding/bond_options.c)."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET, field

from nncp.document.lax import (
    U8,
    U16,
    EthernetAddress,
    Ipv4List,
    LaxBool,
    LaxEnum,
    LaxInt,
    Maybe,
    Natural,
    Positive,
)
from nncp.document.section import Section

MODES = {
    "balance-rr": 0,
    "active-backup": 1,
    "balance-xor": 2,
    "broadcast": 3,
    "802.3ad": 4,
    "balance-tlb": 5,
    "balance-alb": 6,
}
ARP_VALIDATE = {
    "none": 0,
    "active": 1,
    "backup": 2,
    "all": 3,
    "filter": 4,
    "filter_active": 5,
    "filter_backup": 6,
}
ARP_ALL_TARGETS = {"any": 0, "all": 1}
PRIMARY_RESELECT = {"always": 0, "better": 1, "failure": 2}
FAIL_OVER_MAC = {"none": 0, "active": 1, "follow": 2}
XMIT_HASH_POLICY = {"layer2": 0, "layer3+4": 1, "layer2+3": 2, "encap2+3": 3, "encap3+4": 4, "vlan+srcmac": 5}
ALL_SLAVES_ACTIVE = {"dropped": 0, "delivered": 1}
LACP_RATE = {"slow": 0, "fast": 1}
AD_SELECT = {"stable": 0, "bandwidth": 1, "count": 2}
LACP_ACTIVE = {"off": 0, "on": 1}

DEFAULTS = {
    "miimon": 100, "updelay": 0, "downdelay": 0, "use_carrier": True, "arp_interval": 0, "arp_ip_target": "",
    "arp_validate": "none", "arp_all_targets": "any", "primary": "", "primary_reselect": "always",
    "fail_over_mac": "none", "xmit_hash_policy": "layer2", "resend_igmp": 1, "num_grat_arp": 1,
    "all_slaves_active": "dropped", "min_links": 0, "lp_interval": 1, "packets_per_slave": 1,
    "lacp_rate": "slow", "ad_select": "stable", "ad_actor_sys_prio": 65535, "ad_user_port_key": 0,
    "ad_actor_system": "00:00:00:00:00:00", "tlb_dynamic_lb": True, "peer_notif_delay": 0,
    "lacp_active": "on", "arp_missed_max": 2,
}  # fmt: skip
"""What a bond has without options (bond_main.c, bond_check_params), and the miimon that we give it."""


class BondMode(LaxEnum, words=MODES):
    """How the ports share the traffic."""

    __slots__ = ()


class ArpValidate(LaxEnum, words=ARP_VALIDATE):
    """Which ARP replies count."""

    __slots__ = ()


class ArpAllTargets(LaxEnum, words=ARP_ALL_TARGETS):
    """How many ARP targets must answer."""

    __slots__ = ()


class PrimaryReselect(LaxEnum, words=PRIMARY_RESELECT):
    """When the primary port takes over again."""

    __slots__ = ()


class FailOverMac(LaxEnum, words=FAIL_OVER_MAC):
    """Whose MAC address the bond has."""

    __slots__ = ()


class XmitHashPolicy(LaxEnum, words=XMIT_HASH_POLICY):
    """What picks the port that a frame leaves by."""

    __slots__ = ()


class AllPortsActive(LaxEnum, words=ALL_SLAVES_ACTIVE):
    """What becomes of frames that arrive on an inactive port."""

    __slots__ = ()


class LacpRate(LaxEnum, words=LACP_RATE):
    """How often the partner is to send: every 30 s or every second."""

    __slots__ = ()


class LacpActive(LaxEnum, words=LACP_ACTIVE):
    """Whether LACPDUs are sent unasked."""

    __slots__ = ()


class AdSelect(LaxEnum, words=AD_SELECT):
    """Which aggregator is used."""

    __slots__ = ()


class PortPriority(LaxInt, ge=-(2**31), le=2**31 - 1):
    """A port's weight when the active one is chosen; the highest wins."""


class SystemPriority(LaxInt, ge=1, le=2**16 - 1):
    """Which partner decides; the lowest (bond_ad_actor_sys_prio_tbl)."""


class PortKey(LaxInt, ge=0, le=1023):
    """The upper ten bits of a port's key (bond_ad_user_port_key_tbl)."""


class MissedMax(LaxInt, ge=1, le=255):
    """After so many ARP probes without an answer a port is down (bond_missed_max_tbl)."""


class NotifyDelay(LaxInt, ge=0, le=300_000):
    """Milliseconds between two notices to the peers (bond_peer_notif_delay_tbl)."""


class BondOptions(Section, frozen=True, rename=None):
    """The options, by the names that the kernel documents (Documentation/networking/bonding.rst).

    options:
      miimon: 0
      arp_interval: 1000
      arp_ip_target: 192.0.2.1,192.0.2.2
    """

    aliases: ClassVar[Mapping[str, str]] = {"num_unsol_na": "num_grat_arp", "balance_slb_": "balance_slb"}
    meaning: ClassVar[Mapping[str, str]] = {
        "ad_actor_sys_prio": "Which of two LACP partners decides, the lowest.",
        "ad_actor_system": "The MAC address that LACP messages come from; all zeros is the bond's own.",
        "ad_select": (
            "When LACP takes another aggregator: the last port failed, or one has more bandwidth or ports."
        ),
        "ad_user_port_key": "The upper ten bits of a port's key in LACP.",
        "all_slaves_active": "Whether frames that arrive on inactive ports are dropped or delivered.",
        "arp_all_targets": "Whether a port is up as soon as any, or only when all of arp_ip_target answer.",
        "arp_interval": "Milliseconds between two ARP probes; 0 sends none.",
        "arp_ip_target": 'Up to 16 IPv4 addresses that are probed, separated by commas; "" is none.',
        "arp_missed_max": "After so many ARP probes without an answer a port is down.",
        "arp_validate": "On which ports only answers to ARP probes count, or (filter) only ARP at all.",
        "balance_slb": (
            "Whether NetworkManager spreads frames by VLAN and source address with rules of its own."
        ),
        "downdelay": (
            "Milliseconds from the loss of a carrier until its port is down, a multiple of miimon; 0 is"
            " at once."
        ),
        "fail_over_mac": (
            "Whose MAC address is whose in active-backup: all ports have the bond's (none), the bond has"
            " its active port's (active), or the active port alone has the bond's (follow)."
        ),
        "lacp_active": "Whether LACP messages are sent unasked, or only to a partner that sends some.",
        "lacp_rate": (
            "How often the partner is to send LACP messages: every 30 seconds (slow) or every second (fast)."
        ),
        "lp_interval": "Seconds between two packets from which the ports' switches learn addresses.",
        "miimon": "Milliseconds between two looks at the ports' carriers; 0 never looks.",
        "min_links": "How many ports must be up for the bond to have a carrier; 0 is as 1.",
        "num_grat_arp": (
            "How often neighbours are told of a new active port, by ARP and neighbour advertisements."
        ),
        "packets_per_slave": (
            "How many packets a port sends before it is the next one's turn; 0 takes ports at random."
        ),
        "peer_notif_delay": (
            "Milliseconds between two notices to neighbours, a multiple of miimon; 0 is as miimon."
        ),
        "primary": 'The port that is the active one whenever it can be; "" is none.',
        "primary_reselect": (
            "When the primary takes over again: at once, when it is better, or when the active port fails."
        ),
        "resend_igmp": (
            "How often multicast groups are joined anew after a new active port, 200 ms apart; 0 is never."
        ),
        "tlb_dynamic_lb": "Whether flows move between ports by their load; false picks ports by hash.",
        "updelay": "Milliseconds from a carrier until its port is used, a multiple of miimon; 0 is at once.",
        "use_carrier": "Whether miimon trusts the link's carrier; false asks the driver, as old ones need.",
        "xmit_hash_policy": "Of what the hash is made that picks the port by which a frame leaves.",
    }
    defaults: ClassVar[Mapping[str, Any]] = DEFAULTS
    samples: ClassVar[Mapping[str, Any]] = {
        "primary": "eth1",
        "updelay": 200,
        "downdelay": 200,
        "peer_notif_delay": 200,
        "ad_user_port_key": 1,
        "min_links": 1,
        "ad_actor_system": "02:00:00:00:00:01",
    }

    ad_actor_sys_prio: Maybe[SystemPriority] = UNSET
    ad_actor_system: Maybe[EthernetAddress] = UNSET
    ad_select: Maybe[AdSelect] = UNSET
    ad_user_port_key: Maybe[PortKey] = UNSET
    all_slaves_active: Maybe[AllPortsActive] = UNSET
    arp_all_targets: Maybe[ArpAllTargets] = UNSET
    arp_interval: Maybe[Natural] = UNSET
    arp_ip_target: Maybe[Ipv4List] = UNSET
    arp_missed_max: Maybe[MissedMax] = UNSET
    arp_validate: Maybe[ArpValidate] = UNSET
    balance_slb: Maybe[LaxBool] = (
        UNSET  # NetworkManager's, by nft rules of its own: no option of the kernel's
    )
    balance_slb_: Maybe[LaxBool] = field(default=UNSET, name="balance-slb")
    downdelay: Maybe[Natural] = UNSET
    fail_over_mac: Maybe[FailOverMac] = UNSET
    lacp_active: Maybe[LacpActive] = UNSET
    lacp_rate: Maybe[LacpRate] = UNSET
    lp_interval: Maybe[Positive] = UNSET
    miimon: Maybe[Natural] = UNSET
    min_links: Maybe[Natural] = UNSET
    num_grat_arp: Maybe[U8] = UNSET
    num_unsol_na: Maybe[U8] = UNSET
    packets_per_slave: Maybe[U16] = UNSET
    peer_notif_delay: Maybe[NotifyDelay] = UNSET
    primary: Maybe[str] = UNSET
    primary_reselect: Maybe[PrimaryReselect] = UNSET
    resend_igmp: Maybe[U8] = UNSET
    tlb_dynamic_lb: Maybe[LaxBool] = UNSET
    updelay: Maybe[Natural] = UNSET
    use_carrier: Maybe[LaxBool] = UNSET
    xmit_hash_policy: Maybe[XmitHashPolicy] = UNSET


class BondPort(Section, frozen=True):
    """What one port of a bond has for itself.

    ports-config:
    - name: eth1
      priority: 10
      queue-id: 1
    - name: eth2
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "name": "The link that is the port.",
        "priority": "Which port is made the active one, the highest.",
        "queue_id": "The transmit queue that leaves by this port; 0 is none.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "priority": 0,
        "queue_id": 0,
    }

    name: str
    priority: Maybe[PortPriority] = UNSET
    queue_id: Maybe[U16] = UNSET


class BondConfig(Section, frozen=True):
    """Several links that look like one.

    interfaces:
    - name: bond0
      type: bond
      link-aggregation:
        mode: 802.3ad
        options:
          miimon: 100
        port:
        - eth1
        - eth2
    """

    aliases: ClassVar[Mapping[str, str]] = {"ports": "port"}
    meaning: ClassVar[Mapping[str, str]] = {
        "mode": "How the ports share the traffic; for 802.3ad the switch must speak LACP.",
        "port": "All ports; those that are not listed are taken out.",
        "ports_config": "What ports have for themselves; it names the same ports as port.",
    }

    mode: Maybe[BondMode] = UNSET
    options: Maybe[BondOptions] = UNSET
    port: Maybe[tuple[str, ...]] = UNSET
    ports: Maybe[tuple[str, ...]] = UNSET
    ports_config: Maybe[tuple[BondPort, ...]] = UNSET
