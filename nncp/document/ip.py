"""The addresses of an interface, and what may be got from others: the sections `ipv4` and `ipv6`."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import ClassVar

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


LIVES = {
    "valid_left": "valid_life_time", "valid_lft": "valid_life_time",
    "preferred_left": "preferred_life_time", "preferred_lft": "preferred_life_time",
}  # fmt: skip


class Ipv4Entry(Section, frozen=True):
    """An IPv4 address of an interface."""

    aliases: ClassVar[Mapping[str, str]] = LIVES

    ip: Ipv4Address
    prefix_length: Ipv4Prefix
    mptcp_flags: Query = UNSET
    valid_life_time: Maybe[LifeTime] = UNSET
    valid_left: Maybe[LifeTime] = UNSET
    valid_lft: Maybe[LifeTime] = UNSET
    preferred_life_time: Query = UNSET
    preferred_left: Query = UNSET
    preferred_lft: Query = UNSET


class Ipv6Entry(Section, frozen=True):
    """An IPv6 address of an interface."""

    aliases: ClassVar[Mapping[str, str]] = LIVES

    ip: Ipv6Address
    prefix_length: Ipv6Prefix
    mptcp_flags: Query = UNSET
    valid_life_time: Maybe[LifeTime] = UNSET
    valid_left: Maybe[LifeTime] = UNSET
    valid_lft: Maybe[LifeTime] = UNSET
    preferred_life_time: Query = UNSET
    preferred_left: Query = UNSET
    preferred_lft: Query = UNSET


class Ip(Section, frozen=True):
    """What both IP versions have."""

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

    autoconf: Maybe[LaxBool] = UNSET
    address: Maybe[tuple[Ipv6Entry, ...]] = UNSET
    dhcp_duid: Maybe[str] = UNSET
    addr_gen_mode: Maybe[AddrGenMode] = UNSET
    token: Maybe[Ipv6Address] = UNSET
