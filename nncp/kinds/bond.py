"""Bonds: `type: bond`, section `link-aggregation` (drivers/net/bonding/bond_options.c, bond_netlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.host import Attrs, Cost, Host, Row, Value
from nncp.kinds import codec
from nncp.kinds.bond_section import (
    AD_SELECT,
    ALL_SLAVES_ACTIVE,
    ARP_ALL_TARGETS,
    ARP_VALIDATE,
    DEFAULTS,
    FAIL_OVER_MAC,
    LACP_ACTIVE,
    LACP_RATE,
    MODES,
    PRIMARY_RESELECT,
    XMIT_HASH_POLICY,
    BondConfig,
    BondOptions,
)
from nncp.kinds.codec import BOOL8, LINK, MAC, S32, address_list, enum
from nncp.kinds.flat import flat, is_given, nested
from nncp.kinds.kind import Attr, Fault, Kind, Tie, as_read
from nncp.kinds.ports import port_rows, ports_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IFLA_BOND_MODE, IFLA_BOND_FAIL_OVER_MAC = 1, 13
TX_QUEUES = 16
"""What a new bond has (bond_main.c, BOND_DEFAULT_TX_QUEUES)."""
MIIMON = 100
"""Milliseconds: what the kernel falls back to where a mode needs it (bond_main.c, bond_check_params)."""
LACP = frozenset({"802.3ad"})
NO_ARP_MONITOR = frozenset({"802.3ad", "balance-tlb", "balance-alb"})
ARP_MONITOR = frozenset(MODES) - NO_ARP_MONITOR
WITH_PRIMARY = frozenset({"active-backup", "balance-tlb", "balance-alb"})
DYNAMIC = frozenset({"balance-tlb", "balance-alb"})

# `cost` is the option's own flags in bond_opts[]: IFDOWN is DOWN, NOSLAVES is EMPTY; `only` its unsuppmodes.
# Delays want MII monitoring, even none (_bond_option_delay_set).
ATTRS = (
    Attr("mode", 1, enum(MODES), cost=Cost.EMPTY),
    Attr("miimon", 3, codec.U32),
    Attr("updelay", 4, codec.U32, under="miimon"),
    Attr("downdelay", 5, codec.U32, under="miimon"),
    Attr("use_carrier", 6, BOOL8),
    Attr("arp_interval", 7, codec.U32, only=ARP_MONITOR),
    Attr("arp_ip_target", 8, address_list(4), unset=""),
    Attr(
        "arp_validate",
        9,
        enum(
            ARP_VALIDATE,
            codec.U32,
        ),
        only=ARP_MONITOR,
    ),
    Attr("arp_all_targets", 10, enum(ARP_ALL_TARGETS, codec.U32)),
    Attr("primary", 11, LINK, only=WITH_PRIMARY, unset="", tie=Tie.NAMES),
    Attr("primary_reselect", 12, enum(PRIMARY_RESELECT)),
    Attr("fail_over_mac", 13, enum(FAIL_OVER_MAC), cost=Cost.EMPTY),
    Attr(
        "xmit_hash_policy",
        14,
        enum(XMIT_HASH_POLICY),
        cost=Cost.DOWN,
    ),
    Attr("resend_igmp", 15, codec.U32),
    Attr("num_grat_arp", 16, codec.U8),
    Attr("all_slaves_active", 17, enum(ALL_SLAVES_ACTIVE)),
    Attr("min_links", 18, codec.U32),
    Attr("lp_interval", 19, codec.U32),
    Attr("packets_per_slave", 20, codec.U32, only=frozenset({"balance-rr"})),
    Attr("lacp_rate", 21, enum(LACP_RATE), cost=Cost.DOWN, only=LACP),
    Attr("ad_select", 22, enum(AD_SELECT), cost=Cost.DOWN),
    Attr("ad_actor_sys_prio", 24, codec.U16, only=LACP),
    Attr("ad_user_port_key", 25, codec.U16, cost=Cost.DOWN, only=LACP),
    Attr("ad_actor_system", 26, MAC, only=LACP),
    Attr("tlb_dynamic_lb", 27, BOOL8, cost=Cost.DOWN, only=DYNAMIC),
    Attr("peer_notif_delay", 28, codec.U32, under="miimon"),
    Attr("lacp_active", 29, enum(LACP_ACTIVE), cost=Cost.DOWN, only=LACP),
    Attr("arp_missed_max", 30, codec.U8, only=ARP_MONITOR),
)

PORT_ATTRS = (
    Attr("permanent-mac", 4, MAC),
    Attr("queue-id", 5, codec.U16, shared=0),
    Attr("priority", 9, S32, only=WITH_PRIMARY),
    Attr("actor-port-priority", 10, codec.U16, only=LACP),
)


def _is_known(word: str, mode: str) -> bool:
    return any(attr.name == word and (not attr.only or mode in attr.only) for attr in ATTRS)


def _settings(bond: BondConfig, name: str, host: Host) -> Mapping[str, Value]:
    """Return mode and options; a new bond with a mode that needs it watches its links every 100 ms.

    An empty `options` gives an existing bond those of a new one, as in nmstate.
    """
    attrs = flat(bond.options)
    attrs.pop("balance_slb", None)
    if is_given(bond.mode):
        attrs["mode"] = bond.mode
    if bond.options == BondOptions() and ("link", name) in host:
        mode = str(attrs.get("mode", host.attr("link", name, name="mode")))
        return {**{word: value for word, value in DEFAULTS.items() if _is_known(word, mode)}, **attrs}
    if ("link", name) not in host and not {"miimon", "arp_interval"} & attrs.keys():
        attrs["miimon"] = MIIMON
    return attrs


def _rows(bond: BondConfig, name: str, host: Host) -> Iterator[Row]:
    own: dict[str, Attrs] = (
        {port.name: flat(port) for port in bond.ports_config or ()} if is_given(bond.ports_config) else {}
    )
    listed = bond.port if isinstance(bond.port, tuple) else tuple(own) or None
    ports = None
    if listed is not None:
        ports = {
            port: {key: value for key, value in own.get(port, {}).items() if key != "name"} for port in listed
        }
    yield from port_rows(name, ports, host)


def _check(bond: BondConfig, name: str, host: Host) -> Iterator[Fault]:
    if host.attr("link", name, name="type") != "bond":
        host = Host()  # what is there is another link, and goes
    mode = bond.mode if is_given(bond.mode) else host.attr("link", name, name="mode")
    options = flat(bond.options)
    if mode is None:
        hint = f"use one of {', '.join(MODES)}"
        yield Fault((), f"link-aggregation.mode is missing: {name} does not exist yet", hint, of_host=True)
    for attr in ATTRS:
        if mode is not None and attr.name in options and attr.only and mode not in attr.only:
            known = ", ".join(sorted(attr.only))
            yield Fault(
                ("options", attr.name),
                f"{attr.name} has no meaning in mode {mode}",
                f"modes that know it: {known}",
            )
    if options.get("miimon") and options.get("arp_interval"):
        yield Fault(
            ("options", "arp_interval"), "miimon and arp_interval exclude each other", "set one of them to 0"
        )
    if int(options.get("ad_actor_system", "00")[:2], 16) & 1:
        yield Fault(("options", "ad_actor_system"), "ad_actor_system must not be a multicast address")
    yield from _check_delays(options, name, host)
    yield from _check_primary(bond, options, name, host)
    yield from _check_ports(bond)
    yield from _check_queues(bond, host.attr("link", name, name="tx-queues", default=TX_QUEUES), name)


def _macs(bond: BondConfig, name: str, host: Host) -> frozenset[str] | None:
    """Return the MAC addresses that a bond can have: its ports', while the active one lends it its own."""
    mode = bond.mode if is_given(bond.mode) else host.attr("link", name, name="mode")
    policy = flat(bond.options).get("fail_over_mac", host.attr("link", name, name="fail_over_mac"))
    if mode == "active-backup" and policy == "follow" and host.attr("link", name, name="type") == "bond":
        return frozenset({host.attr("link", name, name="mac")})  # bond_set_mac_address() leaves it as it is
    if (mode, policy) != ("active-backup", "active"):
        return None
    listed = bond.port if isinstance(bond.port, tuple) else ports_of(name, host)
    found = {
        mac
        for port in listed
        for row in (host.get("link", port), host.get("port", port))
        if row is not None
        for mac in (row.attrs.get("mac"), row.attrs.get("permanent-mac"))
        if mac
    }
    if set(listed) == set(ports_of(name, host)):
        found.add(host.attr("link", name, name="mac"))  # it stays, also where no port is active
    return frozenset(found)


def _check_delays(options: Mapping[str, Value], name: str, host: Host) -> Iterator[Fault]:
    """Yield delays that are no multiples of miimon: the kernel rounds them down (_bond_option_delay_set)."""
    every = options.get("miimon", host.attr("link", name, name="miimon"))
    if every is None and ("link", name) not in host and not options.get("arp_interval"):
        every = MIIMON
    for word in ("updelay", "downdelay", "peer_notif_delay"):
        delay = options.get(word)
        if delay and every == 0:
            message = f"{word} needs miimon, which watches the links"
            yield Fault(("options", word), message, f"miimon: {MIIMON}", of_host="miimon" not in options)
        elif delay and every and delay % every:
            message = f"{word} must be a multiple of miimon, {every}, got {delay}"
            hint = f"use {delay - delay % every} or {delay - delay % every + every}"
            yield Fault(("options", word), message, hint, of_host="miimon" not in options)


def _check_primary(bond: BondConfig, options: Mapping[str, Value], name: str, host: Host) -> Iterator[Fault]:
    primary = options.get("primary")
    listed = _port_names(bond)
    if primary and primary not in (ports_of(name, host) if listed is None else listed):
        message = f"primary {primary} is no port of {name}"
        yield Fault(("options", "primary"), message, "list it under port", of_host=listed is None)


def _port_names(bond: BondConfig) -> list[str] | None:
    """Return the ports that a document lists, None when it lists none."""
    if isinstance(bond.port, tuple):
        return list(bond.port)
    return [port.name for port in bond.ports_config] if isinstance(bond.ports_config, tuple) else None


def _check_ports(bond: BondConfig) -> Iterator[Fault]:
    if not is_given(bond.ports_config):
        return
    configured = [port.name for port in bond.ports_config or ()]
    if is_given(bond.port) and set(bond.port or ()) != set(configured):
        yield Fault(("ports-config",), "port and ports-config must name the same ports")
    queues = [port.queue_id for port in bond.ports_config or () if is_given(port.queue_id) and port.queue_id]
    if len(set(queues)) < len(queues):
        yield Fault(("ports-config",), "two ports have the same queue-id")


def _check_queues(bond: BondConfig, most: int, name: str) -> Iterator[Fault]:
    """Yield queues that a bond does not have (bond_options.c, bond_option_queue_id_set)."""
    for at, port in enumerate(bond.ports_config or () if is_given(bond.ports_config) else ()):
        if isinstance(port.queue_id, int) and port.queue_id > most:
            message = f"queue-id must be at most {most}, the number of {name}'s transmit queues"
            yield Fault(
                ("ports-config", at, "queue-id"),
                f"{message}, got {port.queue_id}",
                unsupported=True,
                of_host=True,
            )


def _borrowed(given: Mapping[int, bytes]) -> Iterator[str]:
    """Yield what is a port's own: with fail_over_mac active a bond has its active port's MAC address."""
    mode, mac = (given.get(number, b"")[:1] for number in (IFLA_BOND_MODE, IFLA_BOND_FAIL_OVER_MAC))
    if (mode, mac) == (bytes([MODES["active-backup"]]), bytes([FAIL_OVER_MAC["active"]])):
        yield "mac"


def _show(host: Host, name: str) -> Mapping[str, Any]:
    attrs = host.rows["link", name].attrs
    shown: dict[str, Any] = nested(attrs, ["mode"])
    known = [attr.name for attr in ATTRS if not attr.only or attrs.get("mode") in attr.only]
    shown["options"] = nested(attrs, [name for name in known if name != "mode"])
    ports = ports_of(name, host)
    shown["port"] = ports
    own = [
        {"name": port, **nested(host.rows["port", port].attrs, ("priority", "queue-id"))} for port in ports
    ]
    if own:
        shown["ports-config"] = own
    return shown


BOND = Kind(
    type="bond",
    link="bond",
    section="link-aggregation",
    config=BondConfig,
    attrs=ATTRS,
    # ns-ip6-target; coupled-control, broadcast-neigh, lacp-strict (bond_opts[], their unsuppmodes)
    sent_back=(*as_read(31, of="bond", only=ARP_MONITOR), *as_read(32, 33, 34, of="bond", only=LACP)),
    read_only=frozenset({2, 23}),  # active-slave, ad-info
    port_attrs=PORT_ATTRS,
    # state, mii-status, link-failure-count, perm-hwaddr, ad-aggregator-id, port states and churn states
    port_read_only=frozenset({1, 2, 3, 4, 6, 7, 8, 11, 12}),
    port_cost=Cost.DOWN,
    imposes=True,
    settings=_settings,
    rows=_rows,
    check=_check,
    macs=_macs,
    borrowed=_borrowed,
    show=_show,
)
