"""Linux bridges: `type: linux-bridge`, section `bridge` (net/bridge/br_netlink.c, br_vlan.c)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from msgspec import UNSET, convert

from nncp.document import lax
from nncp.document.lax import GroupAddress, LaxBool, LaxEnum, LaxInt, Maybe, Query, VlanProtocol
from nncp.document.port_vlan import PortVlan
from nncp.document.section import Section
from nncp.host import Attrs, Host, Row, Value
from nncp.kinds.codec import BE16, BOOL8, BOOL32, MAC, U8, U16, U32, U64, Codec, enum, scaled
from nncp.kinds.flat import flat, is_given, nested
from nncp.kinds.kind import Attr, Fault, Kind, as_read
from nncp.kinds.ports import guests_of, port_rows, ports_of

ETH_P = {"802.1q": 0x8100, "802.1ad": 0x88A8}
USER_HZ = 100

SECONDS: Codec = scaled(U32, USER_HZ)

ROUTER = {"disabled": 0, "auto": 1, "enabled": 2}

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
    Attr("multicast-router", 22, enum(ROUTER, U8)),
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
    Attr("multicast-router", 25, enum(ROUTER, U8)),
    Attr("multicast-flood", 27, BOOL8),
    Attr("multicast-to-unicast", 28, BOOL8),
    Attr("vlan-tunnel", 29, BOOL8),
    Attr("broadcast-flood", 30, BOOL8),
    Attr("group-forward-mask", 31, U16),
    Attr("neigh-suppress", 32, BOOL8),
    Attr("isolated", 33, BOOL8),
    Attr("multicast-eht-hosts-limit", 37, U32),
    Attr("locked", 39, BOOL8),
    Attr("mac-authentication-bypass", 40, BOOL8),
    Attr("multicast-max-groups", 42, U32),
    Attr("neigh-vlan-suppress", 43, BOOL8),
    Attr("backup-nexthop", 44, U32),
    Attr("neigh-forward-gratuitous", 45, BOOL8),
)

DEFAULT_PVID = 1

TIMERS = ("stp.forward-delay", "stp.hello-time", "stp.max-age")
AGEING = "mac-ageing-time"
BORROWED = frozenset({*TIMERS, AGEING})
"""What a bridge has of its own, and does not tell while others' values are in force: see `_borrowed`."""


class HelloTime(LaxInt, ge=1, le=10):
    """Seconds (IEEE 802.1D-2004, table 17-1)."""


class MaxAge(LaxInt, ge=6, le=40):
    """Seconds (IEEE 802.1D-2004, table 17-1)."""


class ForwardDelay(LaxInt, ge=2, le=30, hint="the standard wants 4 to 30 s; Linux takes 2"):
    """Seconds that a port listens, and again learns, before it forwards."""


class AgeingTime(LaxInt, ge=0, le=(2**32 - 1) // USER_HZ):
    """Seconds, which the kernel is told in hundredths, in four bytes."""


class Hundredths(LaxInt, ge=0, le=2**32 - 1):
    """Hundredths of a second, which the kernel can turn into its own ticks and back."""


class QueryInterval(LaxInt, ge=USER_HZ, le=86_400 * USER_HZ):
    """Hundredths of a second, from one second to a day (br_multicast_set_query_intvl)."""


class PortPriority(LaxInt, ge=0, le=63):
    """A port's STP priority (net/bridge/br_stp.c, BR_PORT_BITS)."""


class PathCost(LaxInt, ge=1, le=65535):
    """A port's STP path cost (net/bridge/br_private_stp.h)."""


class MulticastRouter(LaxEnum, words=ROUTER, aliases={True: "auto", False: "disabled"}):
    """Whether a multicast router is assumed."""

    __slots__ = ()


class Pvid(LaxInt, ge=0, le=4094):
    """The VLAN of untagged frames on a new port; 0 is none."""


class Stp(Section, frozen=True):
    """The spanning tree protocol; times in seconds."""

    meaning: ClassVar[Mapping[str, str]] = {
        "enabled": "Whether the bridge speaks the spanning tree protocol (IEEE 802.1D).",
        "forward_delay": "Seconds that a port listens, and again learns, before it forwards.",
        "hello_time": "Seconds between two messages of a bridge that is the root.",
        "max_age": "Seconds after which the root's last message no longer counts.",
        "priority": "The bridge with the lowest priority becomes the root.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "enabled": False,
        "forward_delay": 15,
        "hello_time": 2,
        "max_age": 20,
        "priority": 32768,
    }

    enabled: Maybe[LaxBool] = UNSET
    forward_delay: Maybe[ForwardDelay] = UNSET
    hello_time: Maybe[HelloTime] = UNSET
    max_age: Maybe[MaxAge] = UNSET
    priority: Maybe[lax.U16] = UNSET


class BridgeOptions(Section, frozen=True):
    """The options of a bridge; ageing in seconds, multicast intervals in hundredths."""

    aliases: ClassVar[Mapping[str, str]] = {"group_fwd_mask": "group_forward_mask"}
    meaning: ClassVar[Mapping[str, str]] = {
        "gc_timer": "When aged addresses are next looked for; only shown.",
        "hello_timer": "When the root's next message is due; only shown.",
        "group_addr": "The multicast address that the messages of the spanning tree are sent to.",
        "group_forward_mask": "Which frames to 01:80:c2:00:00:0X are passed on, a bit for each X; 0 is none.",
        "hash_max": "How many multicast groups the bridge keeps at most.",
        "mac_ageing_time": (
            "Seconds after which an address that is no longer heard is forgotten; 0 learns none."
        ),
        "multicast_last_member_count": (
            "After so many queries without an answer a group that was left has no members."
        ),
        "multicast_last_member_interval": (
            "Hundredths of a second between two queries about a group that was left."
        ),
        "multicast_membership_interval": (
            "Hundredths of a second after which a port that reports no more has left a group."
        ),
        "multicast_querier": "Whether the bridge sends queries while no other querier is heard.",
        "multicast_querier_interval": (
            "Hundredths of a second after which another querier that is no longer heard is gone."
        ),
        "multicast_query_interval": "Hundredths of a second between two queries that the bridge sends.",
        "multicast_query_response_interval": "Hundredths of a second within which a query is to be answered.",
        "multicast_query_use_ifaddr": (
            "Whether queries come from the bridge's IPv4 address, and not from 0.0.0.0."
        ),
        "multicast_router": (
            "Whether the bridge itself gets all multicast, as a router does: never, as it is heard"
            " (auto), or always."
        ),
        "multicast_snooping": (
            "Whether multicast goes to those ports only that asked for it; false floods it."
        ),
        "multicast_startup_query_count": "How many queries the bridge sends when it starts to.",
        "multicast_startup_query_interval": "Hundredths of a second between two queries at the start.",
        "vlan_protocol": "By which tag the bridge filters: a customer's (802.1q) or a provider's (802.1ad).",
        "vlan_default_pvid": "The VLAN of untagged frames on ports that have none of their own; 0 is none.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "group_addr": "01:80:c2:00:00:00",
        "group_forward_mask": 0,
        "hash_max": 4096,
        "mac_ageing_time": 300,
        "multicast_last_member_count": 2,
        "multicast_last_member_interval": 100,
        "multicast_membership_interval": 26000,
        "multicast_querier": False,
        "multicast_querier_interval": 25500,
        "multicast_query_interval": 12500,
        "multicast_query_response_interval": 1000,
        "multicast_query_use_ifaddr": False,
        "multicast_router": "auto",
        "multicast_snooping": True,
        "multicast_startup_query_count": 2,
        "vlan_protocol": "802.1q",
        "vlan_default_pvid": DEFAULT_PVID,
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "group_forward_mask": 8,
        "multicast_startup_query_interval": 3000,
    }

    stp: Maybe[Stp] = UNSET
    gc_timer: Query = UNSET
    hello_timer: Query = UNSET
    group_addr: Maybe[GroupAddress] = UNSET
    group_forward_mask: Maybe[lax.U16] = UNSET
    group_fwd_mask: Maybe[lax.U16] = UNSET
    hash_max: Maybe[lax.U32] = UNSET
    mac_ageing_time: Maybe[AgeingTime] = UNSET
    multicast_last_member_count: Maybe[lax.U32] = UNSET
    multicast_last_member_interval: Maybe[Hundredths] = UNSET
    multicast_membership_interval: Maybe[Hundredths] = UNSET
    multicast_querier: Maybe[LaxBool] = UNSET
    multicast_querier_interval: Maybe[Hundredths] = UNSET
    multicast_query_interval: Maybe[QueryInterval] = UNSET
    multicast_query_response_interval: Maybe[Hundredths] = UNSET
    multicast_query_use_ifaddr: Maybe[LaxBool] = UNSET
    multicast_router: Maybe[MulticastRouter] = UNSET
    multicast_snooping: Maybe[LaxBool] = UNSET
    multicast_startup_query_count: Maybe[lax.U32] = UNSET
    multicast_startup_query_interval: Maybe[QueryInterval] = UNSET
    vlan_protocol: Maybe[VlanProtocol] = UNSET
    vlan_default_pvid: Maybe[Pvid] = UNSET


class BridgePort(Section, frozen=True):
    """A port of a bridge."""

    meaning: ClassVar[Mapping[str, str]] = {
        "name": "The link that is the port.",
        "stp_hairpin_mode": "Whether a frame may leave by the port that it came in by.",
        "stp_path_cost": "What the way to the root costs through this port; the cheapest is used.",
        "stp_priority": "Which of several equal ports is used, the lowest.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "stp_hairpin_mode": False,
        "stp_priority": 32,
    }

    name: str
    stp_hairpin_mode: Maybe[LaxBool] = UNSET
    stp_path_cost: Maybe[PathCost] = UNSET
    stp_priority: Maybe[PortPriority] = UNSET
    vlan: Maybe[PortVlan] = UNSET


class BridgeConfig(Section, frozen=True):
    """A Linux bridge, which filters VLANs as soon as one of its ports has any.

    interfaces:
    - name: br1
      type: linux-bridge
      bridge:
        options:
          stp:
            enabled: false
        port:
        - name: eth1
          vlan:
            mode: trunk
            trunk-tags:
            - id: 33
    """

    aliases: ClassVar[Mapping[str, str]] = {"ports": "port"}
    meaning: ClassVar[Mapping[str, str]] = {
        "port": "All ports; those that are not listed are taken out, but for guests'.",
    }

    options: Maybe[BridgeOptions] = UNSET
    port: Maybe[tuple[BridgePort, ...]] = UNSET
    ports: Maybe[tuple[BridgePort, ...]] = UNSET


def _listed(bridge: BridgeConfig) -> tuple[BridgePort, ...]:
    return tuple(bridge.port or ()) if is_given(bridge.port) else ()


def _settings(bridge: BridgeConfig, name: str, host: Host) -> Mapping[str, Value]:
    attrs = flat(bridge.options)
    vlans = [port.vlan for port in _listed(bridge) if is_given(port.vlan)]
    if any(vlan != PortVlan() for vlan in vlans):
        attrs["vlan-filtering"] = True
    elif vlans and not _is_separated(bridge, name, host):
        attrs["vlan-filtering"] = False
    return attrs


def _is_separated(bridge: BridgeConfig, name: str, host: Host) -> bool:
    """Whether a port about whose VLANs the document says nothing has some that filtering keeps apart."""
    said = {port.name for port in _listed(bridge) if is_given(port.vlan)}
    staying = {port.name for port in _listed(bridge)} | set(guests_of(name, host))
    pvid = _pvid(bridge, name, host)
    default = ((pvid, pvid, "pvid untagged"),) if pvid else ()
    return bool(host.attr("link", name, name="vlan-filtering")) and any(
        row.name in staying - said and host.attr("vlans", row.name, name="vids", default=default) != default
        for row in host.ports(name)
    )


def _pvid(bridge: BridgeConfig, name: str, host: Host) -> int:
    wanted = flat(bridge.options).get("vlan-default-pvid")
    return int(
        wanted
        if wanted is not None
        else host.attr("link", name, name="vlan-default-pvid", default=DEFAULT_PVID)
    )


def _rows(bridge: BridgeConfig, name: str, host: Host) -> Iterator[Row]:
    if not is_given(bridge.port):
        return
    ports: dict[str, Attrs] = {port.name: _port_attrs(port) for port in _listed(bridge)}
    yield from port_rows(name, ports, host)
    pvid = _pvid(bridge, name, host)
    for port in _listed(bridge):
        if isinstance(port.vlan, PortVlan):
            yield Row(("vlans", port.name), {"vids": vids(port.vlan, pvid)})


def _port_attrs(port: BridgePort) -> Attrs:
    return {word: value for word, value in flat(port).items() if word.startswith("stp-")}


def vids(vlan: PortVlan, pvid: int) -> tuple[tuple[int, int, str], ...]:
    """Return a port's whole VLAN set.

    A trunk without a native VLAN of its own keeps the bridge's default one untagged, the bridge's own
    address included, unless it lists that one, which is then tagged as its others are. An access port and a
    native VLAN replace it.
    """
    tagged = [] if vlan.mode == "access" else list(_ranges(vlan))
    if isinstance(vlan.tag, int) and (vlan.mode == "access" or vlan.enable_native is True):
        native = int(vlan.tag)
    else:
        native = 0 if any(first <= pvid <= last for first, last in tagged) else pvid
    around = [part for first, last in tagged for part in _cut(first, last, native)]
    untagged = [(native, native, "pvid untagged")] if native else []
    return merged([*untagged, *((first, last, "") for first, last in around)])


def _ranges(vlan: PortVlan) -> Iterator[tuple[int, int]]:
    for tag in vlan.trunk_tags or () if is_given(vlan.trunk_tags) else ():
        if tag.ends:
            yield tag.ends


def _cut(first: int, last: int, native: int) -> Iterable[tuple[int, int]]:
    if not first <= native <= last:
        return [(first, last)]
    return [(low, high) for low, high in ((first, native - 1), (native + 1, last)) if low <= high]


def merged(ranges: Iterable[tuple[int, int, str]]) -> tuple[tuple[int, int, str], ...]:
    """Return VLAN ranges in their one form: sorted, and neighbours of the same kind joined."""
    found: list[tuple[int, int, str]] = []
    for first, last, word in sorted(ranges):
        if found and found[-1][2] == word and "pvid" not in word and found[-1][1] + 1 == first:
            found[-1] = (found[-1][0], last, word)
        else:
            found.append((first, last, word))
    return tuple(found)


def _check(bridge: BridgeConfig, name: str, host: Host) -> Iterator[Fault]:
    pvid = flat(bridge.options).get("vlan-default-pvid")
    filters = host.attr("link", name, name="vlan-filtering") or any(
        is_given(port.vlan) for port in _listed(bridge)
    )
    if pvid not in {None, DEFAULT_PVID} and not filters:
        message = "vlan-default-pvid has no effect while no port has a vlan"
        yield Fault(("options", "vlan-default-pvid"), message, "give a port its vlan", of_host=True)


def _show(host: Host, name: str) -> Mapping[str, Any]:
    attrs = host.rows["link", name].attrs
    hidden = {"vlan-filtering"} | (
        {"vlan-default-pvid"} if attrs.get("vlan-default-pvid") == DEFAULT_PVID else set()
    )
    hidden |= {name for name in BORROWED if isinstance(attrs.get(name), float)}  # no document can say it
    options = nested(attrs, [attr.name for attr in ATTRS if attr.name not in hidden])
    ports = [_show_port(host, name, port) for port in ports_of(name, host)]
    if ports and all(port.get("vlan") == {} for port in ports):
        for port in ports:
            port["vlan"] = _default_only(attrs)  # `vlan: {}` everywhere would end the filtering
    return {"options": options, "port": ports}


def _default_only(attrs: Mapping[str, Any]) -> dict[str, Any]:
    pvid = attrs.get("vlan-default-pvid", DEFAULT_PVID)
    return {"mode": "access", "tag": pvid} if pvid else {"enable-native": False}


def _show_port(host: Host, bridge: str, port: str) -> dict[str, Any]:
    words = ("stp-hairpin-mode", "stp-path-cost", "stp-priority")
    shown: dict[str, Any] = {"name": port, **nested(host.rows["port", port].attrs, words)}
    if host.attr("link", bridge, name="vlan-filtering"):
        pvid = host.attr("link", bridge, name="vlan-default-pvid", default=DEFAULT_PVID)
        ranges = host.attr("vlans", port, name="vids", default=())
        vlan = show_vlan(ranges, pvid)
        # What no document can say (untagged in several, a tagged PVID, none at all) is left out, and stays.
        if vids(convert(vlan, PortVlan, dec_hook=lax.read_lax), pvid) == ranges:
            shown["vlan"] = vlan
    return shown


def show_vlan(ranges: tuple[tuple[int, int, str], ...], pvid: int) -> dict[str, Any]:
    """Return a port's VLANs as a document says them; `vids` of the result gives `ranges` again."""
    native = next((first for first, _, word in ranges if "pvid" in word), 0)
    tagged = [(first, last) for first, last, word in ranges if "pvid" not in word]
    if not tagged and native != pvid:
        return {"mode": "access", "tag": native} if native else {}
    tags = [
        {"id": first} if first == last else {"id-range": {"min": first, "max": last}}
        for first, last in tagged
    ]
    shown: dict[str, Any] = {"mode": "trunk", "trunk-tags": tags} if tags else {}
    if native != pvid and native:
        shown |= {"enable-native": True, "tag": native}
    return shown


IFLA_BR_STP_STATE, IFLA_BR_ROOT_ID, IFLA_BR_BRIDGE_ID, IFLA_BR_TOPOLOGY_CHANGE = 5, 10, 11, 12


def _borrowed(given: Mapping[int, bytes]) -> Iterator[str]:
    """Yield the options whose values in force are not this bridge's own.

    The root bridge sets all timers (br_record_config_timeout_values), and while the topology changes
    addresses age in twice the forward delay (__br_set_topology_change).
    """
    if given.get(IFLA_BR_ROOT_ID) != given.get(IFLA_BR_BRIDGE_ID):
        yield from TIMERS
    if any(given.get(IFLA_BR_STP_STATE, b"")) and any(given.get(IFLA_BR_TOPOLOGY_CHANGE, b"")):
        yield AGEING


LINUX_BRIDGE = Kind(
    type="linux-bridge",
    link="bridge",
    section="bridge",
    config=BridgeConfig,
    borrowed=_borrowed,
    looks_at=frozenset({IFLA_BR_ROOT_ID, IFLA_BR_BRIDGE_ID, IFLA_BR_STP_STATE, IFLA_BR_TOPOLOGY_CHANGE}),
    attrs=ATTRS,
    # nf-call-iptables, -ip6tables and -arptables, vlan-stats-enabled, mcast-stats-enabled,
    # mcast-igmp-version, mcast-mld-version, vlan-stats-per-port, multi-boolopt, fdb-max-learned, stp-mode
    sent_back=as_read(36, 37, 38, 41, 42, 43, 44, 45, 46, 49, 50, of="bridge"),
    # root-id, bridge-id, root-port, root-path-cost, both topology-change, four timers, fdb-flush,
    # mcast-hash-elasticity, pad, mcast-querier-state, fdb-n-learned
    read_only=frozenset({*range(10, 20), 21, 26, 40, 47, 48}),
    port_attrs=PORT_ATTRS,
    # learning-sync, root-id to hold-timer, flush, pad, mrp-ring-open, mrp-in-open, mcast-eht-hosts-cnt,
    # mcast-n-groups
    port_read_only=frozenset({11, *range(13, 25), 26, 35, 36, 38, 41}),
    among_ports=False,
    settings=_settings,
    rows=_rows,
    check=_check,
    show=_show,
)
