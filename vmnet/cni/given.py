"""Addresses and routes as a CNI result has them, and the rows that they mean. Pure.

An IPAM plugin's result, and a `prevResult`, are somebody else's words: they are read as strictly as a
configuration is.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta, Struct, structs, to_builtins

from nncp.host import Row
from vmnet.reading import Fault, read
from vmnet.rows import sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host
    from vmnet.cni.conf import BridgeConf

Number = Annotated[int, Meta(ge=0, le=2**32 - 1)]
MAIN_TABLE, V6_PRIORITY = 254, 1024
"""The kernel gives an IPv6 route without a metric 1024 (net/ipv6/route.c, IP6_RT_PRIO_USER)."""
RTAX_MTU, RTAX_ADVMSS = 2, 8  # linux/rtnetlink.h
CONTAINER = 2
"""The container's place among a result's interfaces, after the bridge and the node's end of the pair."""


class Link(Struct, frozen=True):
    """An interface of a result."""

    name: str
    mac: str | None = None
    sandbox: str | None = None


class Ip(Struct, frozen=True, omit_defaults=True):
    """An address with its prefix length, and who is to be its gateway."""

    address: str
    gateway: str | None = None
    interface: int | None = None


class Path(Struct, frozen=True, omit_defaults=True):
    """A route: `dst` by `gw`, else by the gateway of the first address of its family that has one."""

    dst: str
    gw: str | None = None
    mtu: Number | None = None
    advmss: Number | None = None
    priority: Number | None = None
    table: Number | None = None
    scope: Annotated[int, Meta(ge=0, le=255)] | None = None


class Given(Struct, frozen=True):
    """What a result says; more than this is nothing that we do."""

    interfaces: tuple[Link, ...] | None = None
    ips: tuple[Ip, ...] | None = None
    routes: tuple[Path, ...] | None = None
    dns: dict[str, Any] | None = None

    @property
    def addresses(self) -> tuple[Ip, ...]:
        """The container's addresses."""
        return tuple(ip for ip in self.ips or () if ip.interface in {None, CONTAINER})

    @property
    def paths(self) -> Iterator[Path]:
        """The routes, each with its gateway or an empty one."""
        gateways = {is_v6(ip.gateway): ip.gateway for ip in reversed(self.ips or ()) if ip.gateway}
        for path in self.routes or ():
            yield structs.replace(path, gw=path.gw or gateways.get(is_v6(path.dst), ""))


def is_v6(address: str) -> bool:
    """Tell an IPv6 address or network from an IPv4 one."""
    return ":" in address


def read_given(value: Mapping[str, Any]) -> tuple[Given, list[Fault]]:
    """Read a result, and list everything that is wrong with it."""
    given, faults = read(dict(value), Given)
    given = given or Given()
    return given, faults or list(_faults(given))


def _faults(given: Given) -> Iterator[Fault]:
    for index, ip in enumerate(given.ips or ()):
        if not _parses(ipaddress.ip_interface, ip.address) or "/" not in ip.address:
            yield Fault(f'"{ip.address}" is not an address with a prefix length', ("ips", index, "address"))
        if ip.gateway and not _parses(ipaddress.ip_address, ip.gateway):
            yield Fault(f'"{ip.gateway}" is not an address', ("ips", index, "gateway"))
    seen: set[tuple[str, ...]] = set()
    for index, path in enumerate(given.routes or ()):
        faults = list(_path_faults(path))
        yield from (fault.below("routes", index) for fault in faults)
        if not faults and (key := _key(path)) in seen:
            yield Fault(f"a second route to {path.dst} with the same priority", ("routes", index))
        elif not faults:
            seen.add(key)


def _path_faults(path: Path) -> Iterator[Fault]:
    if not _parses(ipaddress.ip_network, path.dst):
        yield Fault(f'"{path.dst}" is not a network', ("dst",))
    elif path.gw and not _parses(ipaddress.ip_address, path.gw):
        yield Fault(f'"{path.gw}" is not an address', ("gw",))
    elif path.gw and is_v6(path.gw) != is_v6(path.dst):
        yield Fault(f"{path.gw} is of another family than {path.dst}", ("gw",))


def _parses(kind: Any, text: str) -> bool:
    try:
        kind(text, strict=False) if kind is ipaddress.ip_network else kind(text)
    except ValueError:
        return False
    return "%" not in text


def with_gateways(given: Given, conf: BridgeConf) -> Given:
    """Return what IPAM gave with the bridge as its gateway, as far as the configuration asks for that.

    An address without a gateway gets the first address of its network, and `isDefaultGateway` a default
    route for each family that has none yet.
    """
    if not conf.gateway:
        return given
    ips = tuple(structs.replace(ip, gateway=ip.gateway or _first(ip.address)) for ip in given.ips or ())
    routes = list(given.routes or ())
    for ip in ips if conf.is_default_gateway else ():
        everywhere = "::/0" if is_v6(ip.address) else "0.0.0.0/0"
        if not any(path.dst == everywhere for path in routes):
            routes.append(Path(dst=everywhere, gw=ip.gateway))
    return structs.replace(given, ips=ips, routes=tuple(routes) or None)


def _first(address: str) -> str:
    base = ipaddress.ip_interface(address).network.network_address
    return str(type(base)((int(base) + 1) % 2**base.max_prefixlen))


def container_rows(
    given: Given, *, interface: str, has_ipv6: bool, enabledad: bool, stays_down: bool
) -> list[Row]:
    """Return the container's side: nothing for a launcher but its addresses; else up, addresses, routes."""
    link, up = ("link", interface), ("up", interface)
    addresses = [
        Row(("address", interface, str(ipaddress.ip_interface(ip.address))), needs=(link,))
        for ip in given.addresses
    ]
    if stays_down:
        return addresses
    settings = list(_settings(given, interface, has_ipv6=has_ipv6, enabledad=enabledad))
    needs = (link, *(row.key for row in settings))
    routes = [_route(path, interface) for path in given.paths]
    return [*settings, *addresses, Row(up, needs=needs), *routes]


def _settings(given: Given, interface: str, *, has_ipv6: bool, enabledad: bool) -> Iterator[Row]:
    """Yield what the reference plugin sets before it gives addresses (bridge.go, cmdAdd).

    Whether there is duplicate detection is said of the kernel's own IPv6 address too.
    """
    if given.addresses:
        yield sysctl(f"net/ipv4/conf/{interface}/arp_notify", "1", of=interface)
    if any(is_v6(ip.address) for ip in given.addresses):
        yield sysctl(f"net/ipv6/conf/{interface}/disable_ipv6", "0", of=interface)
    if given.addresses and has_ipv6:
        if enabledad:
            yield sysctl(f"net/ipv6/conf/{interface}/enhanced_dad", "1", of=interface)
        yield sysctl(f"net/ipv6/conf/{interface}/accept_dad", str(int(enabledad)), of=interface)


def _key(path: Path) -> tuple[str, ...]:
    family = "ipv6" if is_v6(path.dst) else "ipv4"
    priority = path.priority or (V6_PRIORITY if family == "ipv6" else 0)
    network = str(ipaddress.ip_network(path.dst, strict=False))
    return ("route", family, str(path.table or MAIN_TABLE), network, str(priority))


def _route(path: Path, interface: str) -> Row:
    key = _key(path)
    if key[1] == "ipv6" and not path.gw:
        key = (*key, f"dev {interface}")  # part of what the route is (rt6_qualify_for_ecmp)
    attrs: dict[str, Any] = {"nexthops": ((interface, path.gw, 1, False),)}
    metrics = tuple((number, v) for number, v in ((RTAX_MTU, path.mtu), (RTAX_ADVMSS, path.advmss)) if v)
    if metrics:
        attrs["metrics"] = metrics
    if path.scope is not None and key[1] == "ipv4":  # IPv6 routes have no scope (net/ipv6/route.c)
        attrs["scope"] = path.scope
    return Row(key, attrs)


def gateway_rows(given: Given, conf: BridgeConf, host: Host) -> tuple[list[Row], list[Fault]]:
    """Return the bridge's addresses as gateway, and forwarding; and which of its own are in the way.

    As the reference plugin has it (bridge.go, ensureAddr): a bridge has one IPv4 address, and IPv6 ones
    that do not overlap; `forceAddress` takes the others away.
    """
    rows: dict[tuple[str, ...], Row] = {}
    faults: list[Fault] = []
    for ip in given.addresses if conf.gateway else ():
        wanted = f"{ip.gateway}/{ip.address.partition('/')[2]}"
        address = Row(("address", conf.bridge, wanted), needs=(("link", conf.bridge),))
        path = "net/ipv6/conf/all/forwarding" if is_v6(wanted) else "net/ipv4/ip_forward"
        rows |= {row.key: row for row in (address, sysctl(path, "1"))}
        for key in () if address.key in host else _in_the_way(host, conf.bridge, wanted):
            rows[key] = Row(key, absent=True, final=True)
            if not conf.force_address:
                message = f'"{conf.bridge}" already has an IP address different from {wanted}: {key[2]}'
                faults.append(Fault(message, ("isGateway",), "forceAddress replaces it", key=True))
    return list(rows.values()), faults


def _in_the_way(host: Host, bridge: str, wanted: str) -> Iterator[tuple[str, ...]]:
    network = ipaddress.ip_network(wanted, strict=False)
    for row in host.of("address", bridge):
        there = ipaddress.ip_network(row.key[2].partition(" ")[0], strict=False)
        if there.version == network.version and (network.version == 4 or there.overlaps(network)):
            yield row.key


def masqueraded(given: Given, conf: BridgeConf) -> list[tuple[str, str]]:
    """Return what is masqueraded: each address, and the network within which it is not."""
    parsed = [ipaddress.ip_interface(ip.address) for ip in given.addresses if conf.ip_masq]
    return [(str(one.ip), str(one.network)) for one in parsed]


def ips_told(given: Given, version: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the addresses for a result; 1.0.0 dropped the family of an address."""
    ips = [dict(to_builtins(structs.replace(ip, interface=CONTAINER))) for ip in given.ips or ()]
    for ip in ips if version < (1, 0, 0) else ():
        ip["version"] = "6" if is_v6(ip["address"]) else "4"
    return ips
