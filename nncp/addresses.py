"""What a document says about addresses: the list is the whole list, and its order counts (nmstate: ip.rs)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from nncp.host import Host, Row
from nncp.kinds.flat import is_given
from nncp.tables.address import LOOPBACK4, LOOPBACK6, is_advertised, is_kernels_own, is_v6, local_of
from nncp.tables.address_order import listed, moved_ipv4, moved_ipv6, primaries

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

LOOPBACK = LOOPBACK4[0]
RT_SCOPE_HOST = 254
LOOPBACKS = {4: LOOPBACK4[1], 6: LOOPBACK6[1]}
"""What makes the loopback one: kept whatever a document lists."""
FOREVER = "forever"


def without_addresses(name: str, host: Host, *, families: Iterable[int]) -> Iterator[Row]:
    """Yield what takes all addresses off a link, but for those that the kernel or the loopback needs."""
    for version in families:
        yield from _less(name, version, host, keep=set(LOOPBACKS.values()) if name == LOOPBACK else set())
        if version == 6:
            yield from _without_advertised(name, host)


def defaults(name: str, host: Host) -> Iterator[Row]:
    """Yield the addresses that a link has by itself: the loopback's."""
    if name == LOOPBACK:
        yield Row(("up", name))
        yield Row(("address", name, LOOPBACKS[4]), {"scope": RT_SCOPE_HOST, "broadcast": ""})
        on = host.attr("sysctl", f"net/ipv6/conf/{name}/disable_ipv6", name="value") == "0"
        if on and ("up", name) in host:  # or else it comes with what brings it up
            yield Row(("address", name, LOOPBACKS[6]))


def address_rows(name: str, ip: Any, version: int, host: Host) -> Iterator[Row]:
    """Yield what the section `ipv4` or `ipv6` of an interface asks for.

    Args:
        name: the link.
        ip: the section.
        version: 4 or 6.
        host: the rows as they are.

    """
    if ip.enabled is False:
        yield from without_addresses(name, host, families=(version,))
    elif is_given(ip.address):
        yield from _static(name, ip.address, version, host)
    if version == 6 and (ip.enabled is False or ip.enabled is True or _has_static(ip)):
        path = f"net/ipv6/conf/{name}/disable_ipv6"
        yield Row(("sysctl", path), {"value": "1" if ip.enabled is False else "0"})
    if version == 6 and ip.enabled is not False and ip.autoconf is False:
        # Without advertisements there is neither an autoconfigured address nor a route (addrconf_rs_timer()).
        yield Row(("sysctl", f"net/ipv6/conf/{name}/accept_ra"), {"value": "0"})
        yield from _without_advertised(name, host)


def _without_advertised(name: str, host: Host) -> Iterator[Row]:
    advertised = (row.key for row in host.of("address", name) if is_advertised(row.key, row.attrs))
    yield from (Row(key, absent=True) for key in advertised)


def _has_static(ip: Any) -> bool:
    return is_given(ip.address) and any(not _is_link_local(entry.ip) for entry in ip.address)


def _less(name: str, version: int, host: Host, *, keep: set[str]) -> Iterator[Row]:
    for address in _standing(name, version, host):
        if address not in keep:
            yield Row(("address", name, address), absent=True)


def _standing(name: str, version: int, host: Host) -> list[str]:
    """Return a link's addresses in the kernel's order, but for the link-local ones that it makes itself."""
    return [
        row.key[2]
        for row in host.of("address", name)
        if is_v6(row.key[2]) == (version == 6)
        and (name == LOOPBACK or not is_kernels_own(row.key, row.attrs))
    ]


def _static(name: str, entries: Iterable[Any], version: int, host: Host) -> Iterator[Row]:
    """Yield the listed addresses and the absence of all others.

    Link-local ones are shown and never wanted, as in nmstate: those of the kernel come from the MAC address,
    and those that somebody gave are left alone.
    """
    listing = [entry for entry in entries if not _is_link_local(entry.ip)]
    told = {f"{entry.ip}/{entry.prefix_length}": entry for entry in listing}
    standing = [a for a in _standing(name, version, host) if not _is_link_local(a.partition("/")[0])]
    wanted = _with_peers([f"{entry.ip}/{entry.prefix_length}" for entry in listing], standing)
    if name == LOOPBACK and LOOPBACKS[version] in standing and LOOPBACKS[version] not in told:
        wanted.insert(0, LOOPBACKS[version])
    stays = set(wanted)
    yield from (Row(("address", name, address), absent=True) for address in standing if address not in stays)
    order, moved, first = _order(standing, wanted, version)
    for place, address in enumerate(order):
        attrs: dict[str, Any] = {}
        entry = told.get(local_of(address))
        if entry and not _is_leased(entry) and not _lasts(name, address, host):
            attrs["lasting"] = True
        if version == 4:
            attrs["secondary-to"] = first[address] if first[address] != address else ""
        if address in moved:
            attrs["after"] = order[place - 1] if place else ""
        yield Row(("address", name, address), attrs)


def _with_peers(told: list[str], standing: list[str]) -> list[str]:
    """Return what listed addresses are on a link: each with all of its peers, of which no document tells."""
    alike: dict[str, list[str]] = {address: [] for address in told}
    for address in standing:
        alike.get(local_of(address), []).append(address)
    left = {address: iter(found or [address]) for address, found in alike.items()}
    wanted = [found for address in told if (found := next(left[address], ""))]
    further = {address for found in left.values() for address in found}
    before = 0
    for address in standing if further else ():
        if address in further:  # it stays where it is
            wanted.insert(before, address)
        before = wanted.index(address) + 1 if address in wanted else before
    return wanted


def _order(
    standing: list[str], wanted: list[str], version: int
) -> tuple[list[str], set[str], dict[str, str]]:
    """Return the addresses in the kernel's order, those that must be given anew, and the primary of each."""
    if version == 4:
        return listed(wanted), moved_ipv4(standing, wanted), primaries(wanted)
    # The kernel lists them by scope, and one scope's in the order that we give them.
    order = sorted(wanted, key=_scope)
    return order, moved_ipv6(standing, order), {}


def _scope(address: str) -> int:
    """Return how far back the kernel lists an IPv6 address, the widest scope first (__ipv6_addr_type)."""
    ip = ipaddress.IPv6Interface(address).ip
    return 2 if ip.is_loopback else int(ip.is_site_local)


def _lasts(name: str, address: str, host: Host) -> bool:
    return bool(host.attr("address", name, address, name="lasting", default=True))


def _is_leased(entry: Any) -> bool:
    """Whether an address is told to end by itself, as `show` tells of those that DHCP gave."""
    left = entry.valid_life_time
    return is_given(left) and left != FOREVER


def leased(name: str, ip: Any, host: Host) -> Iterator[str]:
    """Yield the listed addresses that end by themselves elsewhere, and would not on this link."""
    for entry in ip.address if is_given(ip.address) and ip.enabled is not False else ():
        address = f"{entry.ip}/{entry.prefix_length}"
        if _is_leased(entry) and ("address", name, address) not in host:
            yield address


def unmade(name: str, ip: Any, mac: str | None, host: Host) -> Iterator[str]:
    """Yield the listed link-local addresses that a link neither has nor makes of its MAC address.

    Those are written by nobody: see `_static`.
    """
    for entry in ip.address if is_given(ip.address) and ip.enabled is not False else ():
        address = f"{entry.ip}/{entry.prefix_length}"
        if _is_link_local(entry.ip) and ("address", name, address) not in host and entry.ip != _of_mac(mac):
            yield address


def _of_mac(mac: str | None) -> str:
    """Return the link-local address that the kernel makes of a MAC address (RFC 4291, appendix A)."""
    given = bytes.fromhex((mac or "").replace(":", ""))
    if len(given) != 6:
        return ""
    half = bytes([given[0] ^ 2, *given[1:3], 0xFF, 0xFE, *given[3:]])
    return str(ipaddress.IPv6Address(0xFE80 << 112 | int.from_bytes(half)))


def _is_link_local(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.version == 6 and parsed.is_link_local
