"""The addresses of an interface, and what may be got from others: the sections `ipv4` and `ipv6`."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import (
    U32,
    Ipv4Address,
    Ipv4Prefix,
    Ipv6Address,
    Ipv6Prefix,
    LaxBool,
    LaxEnum,
    LifeTime,
    Maybe,
    Query,
)
from nncp.document.section import Section


class AddrGenMode(LaxEnum, words=("eui64", "none", "stable-privacy", "random")):
    """Of what a link makes the second half of its own addresses (linux/if_link.h, IN6_ADDR_GEN_MODE_*)."""

    __slots__ = ()


class IpEntry(Section, frozen=True):
    """An address of an interface."""

    aliases: ClassVar[Mapping[str, str]] = {
        "valid_left": "valid_life_time",
        "valid_lft": "valid_life_time",
        "preferred_left": "preferred_life_time",
        "preferred_lft": "preferred_life_time",
    }
    meaning: ClassVar[Mapping[str, str]] = {
        "mptcp_flags": "How multipath TCP uses the address; only shown.",
        "valid_life_time": (
            "How long the address is valid; what is not forever is of a lease, and left alone."
        ),
        "preferred_life_time": "How long new connections may start from the address; only shown.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "valid_life_time": "forever",
    }

    ip: str
    prefix_length: int
    mptcp_flags: Query = UNSET
    valid_life_time: Maybe[LifeTime] = UNSET
    valid_left: Maybe[LifeTime] = UNSET
    valid_lft: Maybe[LifeTime] = UNSET
    preferred_life_time: Query = UNSET
    preferred_left: Query = UNSET
    preferred_lft: Query = UNSET


class Ipv4Entry(IpEntry, frozen=True):
    """An IPv4 address of an interface."""

    meaning: ClassVar[Mapping[str, str]] = {
        "ip": "The address, without its prefix length.",
        "prefix_length": "The bits of the network that the address is in; with 32 it is alone.",
    }

    ip: Ipv4Address
    prefix_length: Ipv4Prefix


class Ipv6Entry(IpEntry, frozen=True):
    """An IPv6 address of an interface."""

    meaning: ClassVar[Mapping[str, str]] = {
        "ip": "The address, without its prefix length; link-local ones are the link's own, and left alone.",
        "prefix_length": "The bits of the network that the address is in; with 128 it is alone.",
    }

    ip: Ipv6Address
    prefix_length: Ipv6Prefix


class Ip(Section, frozen=True):
    """What both IP versions have."""

    meaning: ClassVar[Mapping[str, str]] = {
        "enabled": "Whether the interface has addresses of this IP version; false takes them all away.",
        "dhcp": "Whether a DHCP client gets addresses.",
        "auto_dns": "Whether name servers from DHCP or router advertisements are used.",
        "auto_gateway": "Whether default routes from DHCP or router advertisements are used.",
        "auto_routes": "Whether routes from DHCP or router advertisements are used.",
        "auto_route_table_id": (
            "The routing table of routes from DHCP or router advertisements; 0 is the main one."
        ),
        "auto_route_metric": "The metric of routes from DHCP or router advertisements.",
        "allow_extra_address": (
            "Whether further addresses would pass; an apply leaves exactly the listed ones."
        ),
        "dhcp_send_hostname": "Whether a DHCP client tells the server a name of the host.",
        "dhcp_custom_hostname": 'The name that a DHCP client tells the server; "" is the host\'s own.',
        "forwarding": "Whether packets that come in here are sent on by other interfaces.",
        "prefix_route_metric": "The metric of the routes to the networks that the addresses are in.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "dhcp_custom_hostname": "node1",
        "auto_route_table_id": 100,
        "auto_route_metric": 100,
        "prefix_route_metric": 100,
    }

    enabled: Maybe[LaxBool] = UNSET
    dhcp: Maybe[LaxBool] = UNSET
    auto_dns: Maybe[LaxBool] = UNSET
    auto_gateway: Maybe[LaxBool] = UNSET
    auto_routes: Maybe[LaxBool] = UNSET
    auto_route_table_id: Maybe[U32] = UNSET
    auto_route_metric: Maybe[U32] = UNSET
    allow_extra_address: Maybe[LaxBool] = UNSET  # an apply leaves exactly the listed ones, which fits both
    dhcp_send_hostname: Maybe[LaxBool] = UNSET
    dhcp_custom_hostname: Maybe[str] = UNSET
    forwarding: Maybe[LaxBool] = UNSET
    prefix_route_metric: Maybe[U32] = UNSET


class Ipv4(Ip, frozen=True):
    """Static IPv4, or none.

    ipv4:
      enabled: true
      dhcp: false
      address:
      - ip: 172.16.1.21
        prefix-length: 24
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "address": "All static addresses in their order: the first of a subnet is its primary.",
        "dhcp_client_id": "What a DHCP client calls itself: ll, iaid+duid, or bytes in hexadecimal.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "dhcp_client_id": "ll",
    }

    address: Maybe[tuple[Ipv4Entry, ...]] = UNSET
    dhcp_client_id: Maybe[str] = UNSET


class Ipv6(Ip, frozen=True):
    """Static IPv6, router advertisements, or none.

    ipv6:
      enabled: true
      dhcp: false
      autoconf: false
      address:
      - ip: 2001:db8::21
        prefix-length: 64
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "enabled": "Whether the interface speaks IPv6; false takes the link-local address too.",
        "autoconf": (
            "Whether addresses and routes are made from router advertisements; false takes those away."
        ),
        "address": "All static addresses in their order, but for link-local ones.",
        "dhcp_duid": "What a DHCP client calls itself: ll, llt, uuid, or bytes in hexadecimal.",
        "addr_gen_mode": "Of what the kernel makes the second half of the link's own addresses.",
        "token": "The second half of autoconfigured addresses, written as ::1; :: is none.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "dhcp_duid": "ll",
    }

    autoconf: Maybe[LaxBool] = UNSET
    address: Maybe[tuple[Ipv6Entry, ...]] = UNSET
    dhcp_duid: Maybe[str] = UNSET
    addr_gen_mode: Maybe[AddrGenMode] = UNSET
    token: Maybe[Ipv6Address] = UNSET
