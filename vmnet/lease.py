"""What a guest's lease says, encoded once: whatever DHCP cannot say is refused before any guest runs.

The running server (`vmnet.dhcp`) is handed the options as they go on the wire, so that no name, number or
length of a user's, of a CNI plugin's or of a node's resolv.conf is left to fail when a guest asks. Options
and defaults are KubeVirt's (pkg/network/dhcp/server, pkg/network/dns).
"""

from __future__ import annotations

import ipaddress
import struct
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from nncp.errors import Error, raise_all
from vmnet import dhcp
from vmnet.plumbing import Route, Service, Socket
from vmnet.valid import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_Row: TypeAlias = "tuple[int, Callable[[Lease], bytes]]"

LEASE_SECONDS = 999 * 24 * 3600
"""KubeVirt's: renewed after a year and four months, so a lost server is never noticed. T1 and T2 (58, 59)
are not sent, as there: a client's own are half and seven eighths of the lease (RFC 2131, 4.4.5)."""

NAMESERVER = "8.8.8.8"
SEARCH = "cluster.local"
"""KubeVirt's, where neither the VM nor the node names a nameserver of IPv4, or a domain to search."""


class Lease(Struct, frozen=True):
    """The one DHCPv4 lease that a binding serves to its guest.

    `mac` restricts it to one client (a bridge binding shares its segment with others). `private` are
    KubeVirt's options 224 to 254, by number. Without `gateway` no router is named: KubeVirt refuses a Pod
    link with an address and no route ("no gateway address found in routes"), and a network without a way out
    is a network all the same.
    """

    interface: str
    server: str
    address: str
    gateway: str = ""
    mac: str = ""
    mtu: int = 1500
    hostname: str = ""
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    tftp_server: str = ""
    boot_file: str = ""
    ntp_servers: tuple[str, ...] = ()
    private: tuple[tuple[int, str], ...] = ()


def is_one_text(text: str) -> bool:
    """Whether an option of RFC 2132 that is text can hold `text`: ASCII that prints, at most 255 of it."""
    return len(text) <= 255 and text.isascii() and text.isprintable()


def is_one_option(text: str) -> bool:
    """Whether a private option can hold `text`: at most 255 octets of UTF-8."""
    try:
        return len(text.encode()) <= 255
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can say
        return False


def service(lease: Lease) -> Service:
    """Return the program that serves a lease.

    Raises:
        Error: every value that no option can hold, or options that no reply has room for.

    """
    encoded = tuple(options(lease))
    address = str(ipaddress.IPv4Interface(lease.address).ip)
    terms = dhcp.Terms(server=lease.server, address=address, mac=lease.mac, options=encoded)
    sockets = (Socket(lease.interface, dhcp.SERVER),)
    return Service(f"dhcp-{lease.interface}", "vmnet.dhcp", sockets, msgspec.to_builtins(terms))


def options(lease: Lease) -> list[bytes]:
    """Return a lease's options as they go on the wire, those first that a client can least do without.

    Raises `Error` as `service` does.
    """
    rows: list[_Row] = [*_OPTIONS, *((code, partial(_octets, code, text)) for code, text in lease.private)]
    found: list[bytes] = []
    errors: list[Error] = []
    for code, value in rows:
        try:
            octets = value(lease)
        except ValueError as error:  # ipaddress's, of what a CNI plugin said
            errors.append(Error(f"DHCP option {code} cannot be said: {error}"))
        except Error as error:
            errors.append(error)
        else:
            found += [_option(code, octets)] if octets else []
    raise_all(errors)
    _measure(lease, found)
    return found


def _measure(lease: Lease, found: Sequence[bytes]) -> None:
    """Refuse what one reply cannot hold: one frame, and any client takes 1500 octets."""
    room = dhcp.room(min(lease.mtu, 1500))
    size = sum(map(len, found))
    if size > room:
        message = f"the DHCP options of {lease.interface} take {size} octets, and a reply has room for {room}"
        raise Error(message, hint="shorten dhcpOptions or dnsConfig.searches, or have fewer routes")


def _option(code: int, value: bytes) -> bytes:
    """One option, in several pieces when it is longer than 255 octets (RFC 3396)."""
    pieces = (value[i : i + 255] for i in range(0, len(value), 255))
    return b"".join(bytes([code, len(piece)]) + piece for piece in pieces)


def classless_routes(routes: Sequence[Route]) -> bytes:
    """Return option 121 (RFC 3442): only the octets of a destination that its length covers, default last.

    A client that knows it ignores option 3, so the default route must be among them.
    """
    networks = [(ipaddress.IPv4Network(route.destination, strict=False), route.gateway) for route in routes]
    ordered = sorted(networks, key=lambda one: one[0].prefixlen == 0)
    return b"".join(_route(network, gateway) for network, gateway in ordered)


def _route(network: ipaddress.IPv4Network, gateway: str) -> bytes:
    octets = network.network_address.packed[: (network.prefixlen + 7) // 8]
    return bytes([network.prefixlen]) + octets + (_address(gateway) if gateway else bytes(4))


def _mask(lease: Lease) -> bytes:
    return ipaddress.IPv4Interface(lease.address).netmask.packed


def _nameservers(lease: Lease) -> bytes:
    return b"".join(_v4(lease.nameservers)) or _address(NAMESERVER)


def _searches(lease: Lease) -> tuple[str, ...]:
    return lease.searches or (SEARCH,)


def _search_list(lease: Lease) -> bytes:
    return b"".join(_domain(name) for name in _searches(lease))


def _domain(name: str) -> bytes:
    """A domain of option 119, without compression (RFC 3397; RFC 1035, 3.1)."""
    if not DOMAIN.allows(name):
        raise Error(f"{name!r} is not a domain that DHCP can name (option 119)")
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _longest_domain(lease: Lease) -> bytes:
    """KubeVirt's domain name: the longest that is searched, which is the most exact."""
    return _text(15, max(_searches(lease), key=len))


def _text(code: int, text: str) -> bytes:
    """Text of RFC 2132, which is ASCII and has to fit into one option."""
    if not is_one_text(text):
        raise Error(f"{text!r} is not text that DHCP option {code} can hold: up to 255 printable of ASCII")
    return text.encode()


def _octets(code: int, text: str, _: Lease) -> bytes:
    """Whatever a site wants in an option of its own."""
    if not is_one_option(text):
        raise Error(f"{text!r} is not text that DHCP option {code} can hold: up to 255 octets of UTF-8")
    return text.encode()


def _v4(addresses: Iterable[str]) -> Iterator[bytes]:
    return (_address(text) for text in addresses if ":" not in text)


def _address(text: str) -> bytes:
    return ipaddress.IPv4Address(text).packed


_OPTIONS: tuple[_Row, ...] = (
    (54, lambda lease: _address(lease.server)),
    (51, lambda _: struct.pack("!I", LEASE_SECONDS)),
    (1, _mask),  # before the router (RFC 2132, 3.3)
    (3, lambda lease: _address(lease.gateway) if lease.gateway else b""),
    (121, lambda lease: classless_routes(lease.routes)),
    (26, lambda lease: struct.pack("!H", min(lease.mtu, 65535))),
    (6, _nameservers),
    (12, lambda lease: _text(12, lease.hostname)),
    (15, _longest_domain),
    (119, _search_list),
    (42, lambda lease: b"".join(_v4(lease.ntp_servers))),
    (66, lambda lease: _text(66, lease.tftp_server)),
    (67, lambda lease: _text(67, lease.boot_file)),
)
"""Each option and what it holds; what is empty is left out."""
