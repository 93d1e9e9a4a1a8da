"""What a document says, except what belongs to one interface type: nmstate's schema as frozen Structs.

What is not written is UNSET and stays as it is on the host; an explicit null is None. Properties that
only a query tells are accepted and dropped. What no part of the engine does yet is read as it stands
and refused by name (unsupported.py), since another backend may know it.
"""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Protocol, Union, cast

import msgspec
from msgspec import UNSET, Struct, UnsetType, field

from nncp.document.ethtool import Ethtool
from nncp.document.ip import Ipv4, Ipv6
from nncp.document.lax import (
    U8,
    U32,
    Alias,
    IpAddress,
    IpNetwork,
    IpNetworkOrNone,
    LaxBool,
    LaxEnum,
    LaxInt,
    MacAddress,
    Maybe,
    Mtu,
    Query,
    given,
)
from nncp.document.names import DnsResolver, Hostname
from nncp.document.section import Section

INTERFACE_TYPES = (
    *("bond", "dummy", "ethernet", "hsr", "infiniband", "ip-tunnel", "ipsec", "ipvlan", "linux-bridge"),
    *("loopback", "mac-vlan", "mac-vtap", "macsec", "ovs-bridge", "ovs-interface", "tun", "veth", "vlan"),
    *("vrf", "vxlan", "xfrm"),
)
"""The interface types of nmstate's schema."""

USERSPACE_TYPES = frozenset({"ovs-bridge", "ipsec"})
"""Types that are no links of the kernel: their names are their own, beside the links'."""
SAME_TYPE = frozenset({"ethernet", "veth"})
"""nmstate calls a veth an ethernet and the other way round."""
MAIN_TABLE = 254
"""The routing table of what names none, or 0."""
V6_METRIC = 1024
"""What the kernel gives an IPv6 route without one (net/ipv6/route.c, IP6_RT_PRIO_USER)."""


class InterfaceState(LaxEnum, words=("up", "down", "absent", "ignore", "unknown")):
    """What an interface is to be; up when nothing is said."""

    __slots__ = ()


class Identifier(LaxEnum, words=("name", "mac-address", "pci-address")):
    """What finds the interface on the host; with mac-address, `name` is a profile's."""

    __slots__ = ()


class WaitIp(LaxEnum, words=("any", "ipv4", "ipv6", "ipv4+ipv6")):
    """Which addresses must be there before the interface counts as up."""

    __slots__ = ()


class Absent(LaxEnum, words=("absent",)):
    """The only state that an entry of a list has a word for."""

    __slots__ = ()


class Family(LaxEnum, words=("ipv4", "ipv6")):
    """An IP version."""

    __slots__ = ()


class RouteType(LaxEnum, words={"blackhole": 6, "unreachable": 7, "prohibit": 8}):
    """What a route does instead of forwarding (RTN_* of linux/rtnetlink.h)."""

    __slots__ = ()


class RuleAction(LaxEnum, words={"blackhole": 6, "unreachable": 7, "prohibit": 8}):
    """What a rule does instead of looking into a table (FR_ACT_* of linux/fib_rules.h)."""

    __slots__ = ()


class Metric(LaxInt, ge=-1, le=2**32 - 1):
    """A route's metric; -1 leaves it to the kernel."""


class Weight(LaxInt, ge=1, le=256):
    """A next hop's share of a multipath route; the kernel keeps it less one, in a byte."""


class AltName(Section, frozen=True):
    """A further name of a link.

    alt-names:
    - name: uplink
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "name": "The further name, of at most 127 bytes.",
        "state": "With absent the name is taken away.",
    }

    name: str
    state: Maybe[Absent] = UNSET


class Lldp(Section, frozen=True):
    """Whether the interface tells its neighbours of itself."""

    meaning: ClassVar[Mapping[str, str]] = {
        "enabled": (
            "Whether the interface tells its neighbours of itself, and listens to them (IEEE 802.1AB)."
        ),
        "neighbors": "What the neighbours have told; only shown.",
    }

    enabled: Maybe[LaxBool] = UNSET
    neighbors: Query = UNSET


class Interface(Section, frozen=True):
    """An interface, of whatever type: `form` adds the section of one type.

    interfaces:
    - name: eth1
      type: ethernet
      state: up
      mtu: 1500
      ipv4:
        enabled: false
    """

    section: ClassVar[str] = ""
    form: ClassVar[str] = ""  # the type whose section it has, also where the document does not say it
    meaning: ClassVar[Mapping[str, str]] = {
        "name": "The interface's name; where an identifier finds it by its address, the name of a profile.",
        "type": (
            "What the interface is, hence what is made and which section is read; unknown is what stands"
            " there."
        ),
        "state": "Whether it is to be up, down, gone (absent) or left exactly as it is (ignore, unknown).",
        "description": (
            'What an administrator says of the link, which keeps it as its alias; "" takes it away.'
        ),
        "profile_name": "The name of NetworkManager's profile: read and ignored, since a kernel has none.",
        "identifier": "What finds the interface on the host: its name, its MAC address or its PCI address.",
        "mac_address": "The hardware address.",
        "pci_address": "The card's place on the PCI bus, for an identifier that asks for it.",
        "copy_mac_from": "The interface whose permanent hardware address this one gets.",
        "mtu": "The most bytes of a packet, without the link's own header; IPv6 needs 1280.",
        "controller": (
            'The bond, bridge or VRF whose port the link is; "" takes it out of the one that it is in.'
        ),
        "accept_all_mac_addresses": "Whether frames to any hardware address are taken in (promiscuous mode).",
        "wait_ip": "Which addresses must be there before the interface counts as up.",
        "alt_names": "Further names by which the link is found.",
        "ieee_802_1x": "How the port proves to its switch who it is (IEEE 802.1X).",
        "mptcp": "What multipath TCP makes of the interface's addresses.",
        "dispatch": "Scripts that NetworkManager runs when the interface comes up or goes down.",
        "ovs_db": "What Open vSwitch keeps of the interface in its database.",
        "driver": "The card's driver; only shown.",
        "min_mtu": "The least MTU that the link takes, in bytes; only shown.",
        "max_mtu": "The largest MTU that the link takes, in bytes, 0 for no bound; only shown.",
        "permanent_mac_address": "The hardware address that the card was made with; only shown.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "state": "up",
        "identifier": "name",
        "wait_ip": "any",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "profile_name": "uplink",
        "pci_address": "0000:01:00.0",
        "copy_mac_from": "eth2",
        "controller": "br1",
        "description": "to the switch in rack 3",
    }

    name: str
    type: Maybe[str] = UNSET
    state: Maybe[InterfaceState] = UNSET
    description: Maybe[Alias] = UNSET
    profile_name: Maybe[str] = UNSET  # NetworkManager's; the kernel has no profiles
    identifier: Maybe[Identifier] = UNSET
    mac_address: Maybe[MacAddress] = UNSET
    pci_address: Maybe[str] = UNSET
    copy_mac_from: Maybe[str] = UNSET
    mtu: Maybe[Mtu] = UNSET
    controller: Maybe[str] = UNSET
    accept_all_mac_addresses: Maybe[LaxBool] = UNSET
    wait_ip: Maybe[WaitIp] = UNSET
    ipv4: Maybe[Ipv4] = UNSET
    ipv6: Maybe[Ipv6] = UNSET
    alt_names: Maybe[tuple[AltName, ...]] = UNSET
    ethtool: Maybe[Ethtool] = UNSET
    lldp: Maybe[Lldp] = UNSET
    ieee_802_1x: Any = field(default=UNSET, name="802.1x")
    mptcp: Any = UNSET
    dispatch: Any = UNSET
    ovs_db: Any = UNSET
    driver: Query = UNSET
    min_mtu: Query = UNSET
    max_mtu: Query = UNSET
    permanent_mac_address: Query = UNSET

    @property
    def config(self) -> Any:
        """The section of the interface's own type, UNSET when the type has none or it is not written."""
        return self.part(self.section)

    def part(self, section: str) -> Any:
        """Return a section, UNSET when the type has none of this name or it is not written."""
        return getattr(self, _attribute(section), UNSET) if section else UNSET

    @property
    def scope(self) -> str:
        """What its name is the name of: a link, a profile, or something of its type's own."""
        if given(self.identifier) not in {"name", None}:
            return "profile"
        if self.type in USERSPACE_TYPES or self.name.startswith("sriov:"):
            return str(self.type)
        return "link"

    @property
    def is_up(self) -> bool:
        """Whether the interface is to be up: also when the document does not say so."""
        return self.state in {UNSET, None, "up"}


class Route(Section, frozen=True):
    """A route; with `state: absent`, every route that has the properties given.

    routes:
      config:
      - destination: 198.51.100.0/24
        next-hop-address: 192.0.2.1
        next-hop-interface: eth1
      - destination: 203.0.113.0/24
        route-type: blackhole
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "state": "With absent, every route that has all the given properties is taken away.",
        "destination": "The network that the route leads to; 0.0.0.0/0 and ::/0 are the default routes.",
        "next_hop_interface": "The interface by which packets leave.",
        "next_hop_address": (
            "The router that gets the packets; without one the destination is on the link itself."
        ),
        "metric": (
            "Which of several routes is used, the lowest; -1 leaves it to the kernel: 0, or 1024 for IPv6."
        ),
        "table_id": "The routing table; 0 is the main one, 254.",
        "weight": "The share of this next hop among all of an IPv4 destination.",
        "route_type": "What becomes of packets that are not sent on: dropped silently, or answered by ICMP.",
        "cwnd": "The most segments of TCP's congestion window, from 1 on.",
        "source": "The address that packets of this host itself get as their source.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "table_id": 254,
        "weight": 1,
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "metric": 100,
        "table_id": 100,
        "cwnd": 10,
        "source": "192.0.2.2",
        "weight": 2,
    }

    state: Maybe[Absent] = UNSET
    destination: Maybe[IpNetwork] = UNSET
    next_hop_interface: Maybe[str] = UNSET
    next_hop_address: Maybe[IpAddress] = UNSET
    metric: Maybe[Metric] = UNSET
    table_id: Maybe[U32] = UNSET
    weight: Maybe[Weight] = UNSET
    route_type: Maybe[RouteType] = UNSET
    cwnd: Maybe[U32] = UNSET
    source: Maybe[IpAddress] = UNSET


class Routes(Section, frozen=True):
    """The routes that are to be there besides those of interfaces and protocols."""

    meaning: ClassVar[Mapping[str, str]] = {
        "config": "The routes to add, or with state absent to take away; others stay.",
        "running": "All routes of the host; only shown.",
    }

    config: Maybe[tuple[Route, ...]] = UNSET
    running: Query = UNSET


class RouteRule(Section, frozen=True):
    """A policy rule; with `state: absent`, every rule that has the properties given.

    route-rules:
      config:
      - ip-from: 192.0.2.0/24
        priority: 1000
        route-table: 50
      - family: ipv4
        fwmark: 1
        fwmask: 255
        route-table: 51
      - ip-to: 203.0.113.0/24
        action: prohibit
    """

    aliases: ClassVar[Mapping[str, str]] = {"suppress_prefixlength": "suppress_prefix_length"}
    meaning: ClassVar[Mapping[str, str]] = {
        "family": "The IP version of the packets, where no network tells it.",
        "state": "With absent, every rule that has all the given properties is taken away.",
        "ip_from": 'The network that packets come from; "" in an absent entry is a rule without one.',
        "ip_to": 'The network that packets go to; "" in an absent entry is a rule without one.',
        "priority": (
            "When the rule is looked at, the lowest first; without one, or with -1, it gets one from"
            " 30000 on."
        ),
        "route_table": "The routing table that is looked into; 0 is the main one, 254.",
        "fwmark": "The mark, set by a firewall, that packets have.",
        "fwmask": "The bits of the mark that count; without it all of them.",
        "action": "What becomes of packets that look into no table: dropped silently, or answered by ICMP.",
        "iif": "The interface by which packets come in.",
        "suppress_prefix_length": (
            "What is found with a prefix of at most so many bits does not count; 0 is the default route."
        ),
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "route_table": 254,
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "iif": "eth1",
        "ip_to": "198.51.100.0/24",
    }

    family: Maybe[Family] = UNSET
    state: Maybe[Absent] = UNSET
    ip_from: Maybe[IpNetworkOrNone] = UNSET
    ip_to: Maybe[IpNetworkOrNone] = UNSET
    priority: Maybe[Metric] = UNSET
    route_table: Maybe[U32] = UNSET
    fwmark: Maybe[U32] = UNSET
    fwmask: Maybe[U32] = UNSET
    action: Maybe[RuleAction] = UNSET
    iif: Maybe[str] = UNSET
    suppress_prefix_length: Maybe[U8] = UNSET
    suppress_prefixlength: Maybe[U8] = field(default=UNSET, name="suppress_prefixlength")


class RouteRules(Section, frozen=True):
    """The policy rules."""

    meaning: ClassVar[Mapping[str, str]] = {
        "config": "The rules to add, or with state absent to take away; others stay.",
    }

    config: Maybe[tuple[RouteRule, ...]] = UNSET


class State(Section, frozen=True):
    """A document: what it does not say stays as it is on the host.

    Its type says which properties an interface has.
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "description": "A remark about the document, read and ignored.",
        "interfaces": "The interfaces, each once; what is not listed stays as it is.",
        "ovs_db": "What Open vSwitch keeps in its database beside bridges and ports.",
        "ovn": "Which bridges serve which networks of OVN.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "description": "what all nodes have",
    }

    description: Maybe[str] = UNSET
    hostname: Maybe[Hostname] = UNSET
    dns_resolver: Maybe[DnsResolver] = UNSET
    route_rules: Maybe[RouteRules] = UNSET
    routes: Maybe[Routes] = UNSET
    interfaces: tuple[Interface, ...] = ()
    ovs_db: Any = UNSET
    ovn: Any = UNSET


class Documented(Protocol):
    """What the document needs to know of an interface type: its section and that section's Struct."""

    @property
    def section(self) -> str:
        """The key of the section; "" when the type has none."""

    @property
    def config(self) -> type[Struct] | None:
        """The Struct of the section."""

    @property
    def also(self) -> Mapping[str, type[Struct]]:
        """Further sections that its interfaces may have, with their Structs."""


def form(type_name: str, kind: Documented) -> type[Interface]:
    """Return the Struct of an interface of one type: the base and the type's own sections."""
    if not kind.section or not kind.config:
        return Interface
    return _form(type_name, ((kind.section, kind.config), *kind.also.items()))


@cache
def _form(type_name: str, sections: tuple[tuple[str, type[Struct]], ...]) -> type[Interface]:
    words = [word.capitalize() for word in type_name.split("-")]
    section, config = sections[0]
    made = msgspec.defstruct(
        f"{''.join(words)}Interface",
        [
            # A value and not an annotation, which is what UP007 wants to see.
            (_attribute(name), Union[struct, UnsetType, None], field(default=UNSET, name=name))  # noqa: UP007
            for name, struct in sections
        ],
        bases=(Interface,),
        namespace={"section": section, "form": type_name, "__doc__": config.__doc__},
        frozen=True,
        kw_only=True,
    )
    return cast("type[Interface]", made)


def _attribute(section: str) -> str:
    return section.replace("-", "_").replace(".", "_")


def document(state: State) -> dict[str, Any]:
    """Return a state as plain data, as it would be written: what `dump` takes."""
    plain = msgspec.to_builtins(state)
    assert isinstance(plain, dict)
    return plain


def absent(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what counts of an interface: of an absent one only its name, its type and its state."""
    if data.get("state") != "absent":
        return data
    return {key: data[key] for key in ("name", "type", "state") if key in data}


def asked_texts(value: Any, *, absent: bool = False) -> set[str]:
    """Return the texts that plain data of a state asks for: names of interfaces and addresses among them.

    Those of routes and rules that are to be `absent` are left out, unless they are asked for.
    """
    found: set[str] = set()
    left = [value]
    while left:
        one = left.pop()
        if isinstance(one, str):
            found.add(one)
        elif isinstance(one, list | tuple):
            left.extend(one)
        elif isinstance(one, dict) and (absent or one.get("state") != "absent" or "name" in one):
            left.extend(item for key, item in one.items() if key != "description")
    return found
