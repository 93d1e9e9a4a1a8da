"""What a document may not say although each property is well-formed, as far as no host is needed to tell.

Rules that need the knowledge of one interface type live with the type; a port's VLANs are the exception,
since two types write them alike. Every rule looks at what could be read: one error hides no other.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from nncp.document.complaints import shown
from nncp.document.lax import given, why_no_name
from nncp.document.port_vlan import PortVlan
from nncp.document.rule import family_of
from nncp.document.source import Step
from nncp.document.state import MAIN_TABLE, Interface, Route, RouteRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.document.together import Partly
    from nncp.errors import Error

Steps: TypeAlias = tuple[Step, ...]
ByName: TypeAlias = "Mapping[str, tuple[int, Interface]]"
"""Each interface with its number."""

NO_MAC = "00:00:00:00:00:00"
LEAST_IPV6_MTU = 1280  # RFC 8200, section 5
SHOWN_FOR_NONE = ("lo", "0.0.0.0", "::")  # noqa: S104  (what nmstate shows as the hop of a blackhole)


class Claim(Struct, frozen=True):
    """A controller's word that a link is its port."""

    port: str
    controller: Interface
    steps: Steps


def rules(found: Partly) -> Iterator[Error]:
    """Yield what documents cannot mean."""
    state, interfaces = found.state, found.interfaces
    yield from _mappings(found)
    yield from _names(found)
    yield from _ports(found)
    for at, interface in interfaces.items():
        yield from _port_vlans(found, at, interface)
        yield from _mtu(found, at, interface)
        yield from _mac(found, at, interface)
        yield from _addresses(found, at, interface)
        card: Any = interface.part("ethernet")
        if given(card) and (virtual := given(card.sr_iov)) is not None and not isinstance(virtual, dict):
            message = f"ethernet.sr-iov must be a mapping, got {shown(virtual)}"
            yield found.error(message, "interfaces", at, "ethernet", "sr-iov")
    routes, rules = given(state.routes), given(state.route_rules)
    for at, route in enumerate((routes and given(routes.config)) or ()):
        yield from _route(found, ("routes", "config", at), route)
    yield from _route_types(found)
    for at, rule in enumerate((rules and given(rules.config)) or ()):
        yield from _rule(found, ("route-rules", "config", at), rule)


def _mappings(found: Partly) -> Iterator[Error]:
    """Yield what has another shape than OVN's bridge mappings, which are compared, if not made."""
    ovn: Any = given(found.state.ovn)
    if ovn is not None and not isinstance(ovn, dict):
        yield found.error(f"ovn must be a mapping, got {shown(ovn)}", "ovn")
        return
    path: Steps = ("ovn", "bridge-mappings")
    listed = None if ovn is None else ovn.get(path[-1])
    if not isinstance(listed, list):
        if listed is not None:
            yield found.error(f"ovn.bridge-mappings must be a list, got {shown(listed)}", *path)
        return
    for at, entry in enumerate(listed):
        if not isinstance(entry, dict):
            yield found.error(f"a bridge mapping must be a mapping, got {shown(entry)}", *path, at)
        elif not isinstance(name := entry.get("localnet"), str):
            said = f"must be text, got {shown(name)}" if "localnet" in entry else "is missing"
            yield found.error(f"localnet of a bridge mapping {said}", *path, at, "localnet")


# --- names


def _names(found: Partly) -> Iterator[Error]:
    """Yield names that no link can have, and names that two interfaces of a document have."""
    first: dict[tuple[str, str], int] = {}
    for at, interface in found.interfaces.items():
        name, path = interface.name, ("interfaces", at, "name")
        why = why_no_name(name) if interface.scope == "link" else ""
        if why:
            yield found.error(f"name {why}, got {shown(name)}", *path)
        known = first.setdefault((interface.scope, name), at)
        if known != at:
            line = found.place("interfaces", known, "name").line
            hint = "write all that concerns an interface in one place"
            yield found.error(
                f"interface {name} is in the document twice, first on line {line}", *path, hint=hint
            )


# --- ports and controllers


def _ports(found: Partly) -> Iterator[Error]:
    """Yield ports that two controllers or no controller can have, and ports that cannot be ports."""
    claims: dict[str, Claim] = {}
    by_name = {interface.name: (at, interface) for at, interface in found.interfaces.items()}
    for at, interface in found.interfaces.items():
        for claim in _claims(at, interface):
            yield from _claim(found, claim, claims.setdefault(claim.port, claim), by_name.get(claim.port))
    for at, interface in found.interfaces.items():
        yield from _controller(found, at, interface, claims.get(interface.name), by_name)
        yield from _addresses_of_port(found, at, interface, claims.get(interface.name), by_name)


def _claims(at: int, interface: Interface) -> Iterator[Claim]:
    """Yield the ports that a controller lists."""
    if interface.state in {"absent", "ignore"}:
        return
    for number, port in enumerate(_port_list(interface) or ()):
        steps: Steps = ("interfaces", at, interface.section, "port", number)
        if isinstance(port, str):
            yield Claim(port, interface, steps)
        else:
            yield Claim(port.name, interface, (*steps, "name"))


def _claim(found: Partly, claim: Claim, first: Claim, port: tuple[int, Interface] | None) -> Iterator[Error]:
    name, controller = claim.port, claim.controller.name
    if name == controller:
        yield found.error(f"{name} cannot be a port of its own", *claim.steps)
    elif first.controller is not claim.controller:
        of = f"{first.controller.name}{found.elsewhere(first.steps, than=claim.steps)}"
        message = f"{name} is a port of {of} already and cannot be one of {controller}"
        yield found.error(message, *claim.steps, hint="a link has one controller")
    elif first is not claim:
        yield found.error(f"port {name} is listed twice in {controller}", *claim.steps)
    elif port is not None and port[1].state == "absent":
        where = found.elsewhere(("interfaces", port[0], "state"), than=claim.steps)
        message = f"{name} cannot be a port of {controller} and {port[1].state}{where} at once"
        yield found.error(message, *claim.steps)


def _controller(
    found: Partly, at: int, interface: Interface, claim: Claim | None, by_name: ByName
) -> Iterator[Error]:
    """Yield a `controller` that the controllers' own lists of ports contradict."""
    wanted, name = given(interface.controller), interface.name
    if wanted is None:
        return
    path: Steps = ("interfaces", at, "controller")
    number, other = by_name.get(wanted, (0, None))
    if claim is not None and claim.controller.name != wanted:
        what = "leaves its controller by controller: ''" if not wanted else f"has controller: {wanted}"
        where = found.elsewhere(claim.steps, than=path)
        yield found.error(f"{name} {what}, but {claim.controller.name} lists it as a port{where}", *path)
    elif other is not None and other.state == "absent":
        where = found.elsewhere(("interfaces", number, "state"), than=path)
        yield found.error(f"controller {wanted} of {name} is to be absent{where}", *path)
    elif claim is None and other is not None and _lists_ports(other):
        where = found.elsewhere(("interfaces", number, other.section, "port"), than=path)
        hint = f"add {name} to the ports of {wanted}, or leave the list out"
        message = f"{name} has controller: {wanted}, which does not list it as a port{where}"
        yield found.error(message, *path, hint=hint)


def _lists_ports(interface: Interface) -> bool:
    return isinstance(_port_list(interface), tuple)


def _port_list(interface: Interface) -> Any:
    return given(getattr(given(interface.config), "port", None))


def _addresses_of_port(
    found: Partly, at: int, interface: Interface, claim: Claim | None, by_name: ByName
) -> Iterator[Error]:
    """Yield addresses of a port: its controller speaks for it, except where that only routes (vrf)."""
    name = claim.controller.name if claim else given(interface.controller)
    _, controller = by_name.get(name or "", (0, None))
    if controller is None or controller.type == "vrf" or interface.type == "ovs-interface":
        return
    for family in ("ipv4", "ipv6"):
        ip = given(getattr(interface, family))
        if ip is not None and given(ip.enabled):
            message = f"{interface.name} is a port of {name} and cannot have {family} enabled"
            hint = f"give the addresses to {name}"
            yield found.error(message, "interfaces", at, family, "enabled", hint=hint)


# --- single interfaces


def _port_vlans(found: Partly, at: int, interface: Interface) -> Iterator[Error]:
    vlans: dict[str, PortVlan] = {}
    for port in _port_list(interface) or ():
        if isinstance(getattr(port, "vlan", None), PortVlan):
            vlans.setdefault(port.name, port.vlan)
    for claim in _claims(at, interface):
        vlan = vlans.pop(claim.port, None)  # a port that is listed twice is wrong for that alone
        path = (*claim.steps[:-1], "vlan")
        for steps, sentence, hint in vlan.problems() if vlan else ():
            message = f"{found.label(*path, *steps)} {sentence}"
            yield found.error(message, *path, *steps, hint=hint)


def _mtu(found: Partly, at: int, interface: Interface) -> Iterator[Error]:
    mtu, ipv6 = given(interface.mtu), given(interface.ipv6)
    if mtu is not None and mtu < LEAST_IPV6_MTU and ipv6 is not None and given(ipv6.enabled):
        message = f"mtu must be at least {LEAST_IPV6_MTU} while ipv6 is enabled, got {mtu}"
        yield found.error(message, "interfaces", at, "mtu")


def _mac(found: Partly, at: int, interface: Interface) -> Iterator[Error]:
    """Yield a MAC address that no link of the type can have (is_valid_ether_addr)."""
    mac, path = given(interface.mac_address), ("interfaces", at, "mac-address")
    if mac is None or interface.type in {"loopback", "infiniband"} or interface.state in {"absent", "ignore"}:
        return
    if len(mac) > len(NO_MAC):
        yield found.error(f"mac-address must have 6 bytes, got '{mac}'", *path)
    elif int(mac[:2], 16) & 1 or mac == NO_MAC:
        yield found.error(f"mac-address must be that of one card, got '{mac}'", *path)


def _addresses(found: Partly, at: int, interface: Interface) -> Iterator[Error]:
    """Yield addresses that no host can have (inet6_addr_add), and the loopback's on other links."""
    for family in ("ipv4", "ipv6") if interface.state not in {"absent", "ignore"} else ():
        ip = given(getattr(interface, family))
        for number, entry in enumerate((ip and given(ip.address)) or ()):
            address = ipaddress.ip_address(entry.ip)
            six = address.version == 6
            away = six and address.is_loopback and interface.name != "lo"
            if address.is_unspecified or (six and address.is_multicast) or away:
                path: Steps = ("interfaces", at, family, "address", number, "ip")
                what = "the loopback's alone" if away else "no address of a host"
                yield found.error(f"{found.label(*path)} {entry.ip} is {what}", *path)


# --- routes and rules


def _route(found: Partly, path: Steps, route: Route) -> Iterator[Error]:
    if given(route.state) == "absent":
        return
    name, destination = given(route.next_hop_interface), given(route.destination)
    if destination is None:
        yield found.error("destination is missing", *path, "destination", key=True)
    if given(route.route_type) is not None:
        for key, value, harmless in (
            ("next-hop-interface", name, SHOWN_FOR_NONE[:1]),
            ("next-hop-address", given(route.next_hop_address), SHOWN_FOR_NONE[1:]),
        ):
            if value and value not in harmless:
                yield found.error(f"{key} is not for a {route.route_type} route", *path, key, key=True)
    elif not name:
        yield found.error("next-hop-interface is missing", *path, "next-hop-interface", key=True)
    yield from _route_families(found, path, route)
    for at, hop in found.interfaces.items():
        if hop.name == name and hop.state in {"absent", "down"}:
            where = found.elsewhere(("interfaces", at, "state"), than=path)
            message = f"next-hop-interface {name} is to be {hop.state}{where}"
            yield found.error(message, *path, "next-hop-interface")


def _route_types(found: Partly) -> Iterator[Error]:
    """Yield routes that another entry makes one of another type: a destination and metric have one."""
    routes = given(found.state.routes)
    first: dict[tuple[str, int, int], tuple[int, str]] = {}
    for at, route in enumerate((routes and given(routes.config)) or ()):
        destination, kind = given(route.destination), given(route.route_type) or "unicast"
        if given(route.state) == "absent" or destination is None:
            continue
        network = str(ipaddress.ip_network(destination, strict=False))
        key = (network, given(route.table_id) or MAIN_TABLE, max(given(route.metric) or 0, 0))
        other, known = first.setdefault(key, (at, kind))
        if kind != known:
            path: Steps = ("routes", "config", at)
            place = found.place("routes", "config", other)
            message = f"the route to {network} is {kind} here and {known} on line {place.line}"
            where = found.elsewhere(("routes", "config", other), than=path)
            yield found.error(f"{message}{where}", *path, hint="give one of them another metric or table")


def _route_families(found: Partly, path: Steps, route: Route) -> Iterator[Error]:
    destination, weight = given(route.destination), given(route.weight)
    if destination is None:
        return
    network = ipaddress.ip_network(destination)
    for key, address in (("next-hop-address", route.next_hop_address), ("source", route.source)):
        text = given(address)
        if not text or (key == "next-hop-address" and network.version == 4):
            continue  # an IPv4 route may have an IPv6 gateway (RFC 5549)
        if ipaddress.ip_address(text).version != network.version:
            yield found.error(
                f"{key} must be an IPv{network.version} address as the destination is, got '{text}'",
                *path,
                key,
            )
    if network.version == 6 and weight is not None:
        yield found.error("weight is for IPv4 routes", *path, "weight")
    if (
        network.version == 4
        and given(route.route_type) is None  # to send such packets nowhere is sound
        and network.prefixlen
        and network.network_address in ipaddress.ip_network("0.0.0.0/8")
    ):
        # "This host on this network" is never a destination (RFC 1122, section 3.2.1.3).
        yield found.error(
            f"destination {destination} is in 0.0.0.0/8, which names no host", *path, "destination"
        )
    if given(route.cwnd) == 0:
        yield found.error("cwnd must be at least 1, got 0", *path, "cwnd")


def _rule(found: Partly, path: Steps, rule: RouteRule) -> Iterator[Error]:
    family = given(rule.family)
    networks = {
        key: text for key, text in (("ip-from", given(rule.ip_from)), ("ip-to", given(rule.ip_to))) if text
    }
    versions = {key: family_of(text) for key, text in networks.items()}
    if given(rule.state) != "absent" and not networks and family is None:
        message = "a rule needs ip-from, ip-to or family"
        yield found.error(message, *path, hint="family: ipv4 makes a rule for all of IPv4")
    if len(set(versions.values())) > 1:
        yield found.error("ip-from and ip-to must be of one IP version", *path, "ip-to")
    for key, version in versions.items():
        if family not in {None, version}:
            yield found.error(f"{key} is of {version}, but family is {family}", *path, key)
    if given(rule.action) and given(rule.route_table) not in {None, 0, MAIN_TABLE}:
        # The kernel would keep it and look into none (fib4_rule_action). The main one is no choice: nmstate
        # shows it of every such rule, as `ip rule` and NetworkManager send it.
        message = f"route-table is not for a rule with action: {rule.action}, which looks into no table"
        yield found.error(message, *path, "route-table", key=True)
    if given(rule.fwmask) is not None and given(rule.fwmark) is None:
        yield found.error("fwmask needs a fwmark", *path, "fwmask", key=True)
