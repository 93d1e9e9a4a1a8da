"""Sysctls of the network namespace: keys are ("sysctl", path), as in `net/ipv6/conf/br0/disable_ipv6`.

A dump of links holds `disable_ipv6`, which is on where a link has no IPv6 at all: its MTU is less than 1280,
or the kernel has none (`ipv6.disable=1`). All others are read when somebody wants them (nncp.sysctl).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from nncp.host import Row
from nncp.tables.table import Sysctl, Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Dumps, Indexes, Rows

CONF = "net/ipv{}/conf/"
IFLA_INET6_CONF, DEVCONF_DISABLE_IPV6 = 2, 26


def sysctl_link(path: str) -> str:
    """Return the link whose own sysctl this is, or "" (`net/ipv6/conf/br0/disable_ipv6` is br0's)."""
    for family in (4, 6):
        prefix = CONF.format(family)
        if path.startswith(prefix):
            name = path[len(prefix) :].rpartition("/")[0]
            return "" if name in {"all", "default"} else name
    return ""


def _read(dumps: Dumps) -> Iterator[Row]:
    for link in dumps.links:
        conf = link.inet6.get(IFLA_INET6_CONF, b"")
        has_ipv6 = len(conf) > DEVCONF_DISABLE_IPV6 * 4
        value = struct.unpack_from("=i", conf, DEVCONF_DISABLE_IPV6 * 4)[0] if has_ipv6 else 1
        yield Row(("sysctl", f"net/ipv6/conf/{link.name}/disable_ipv6"), {"value": str(value)})


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    if link := sysctl_link(key[1]):
        yield ("link", link)


def _write(op: Op, indexes: Indexes) -> Iterator[Sysctl]:  # noqa: ARG001
    if op.verb != "remove":
        yield Sysctl(op.key[1], op.attrs["value"])


def _renamed(key: Key, attrs: Mapping[str, Any], names: Mapping[str, str]) -> tuple[Key, Mapping[str, Any]]:
    # Sysctls move with the link (net/ipv6/addrconf.c, addrconf_sysctl_register on NETDEV_CHANGENAME).
    old = sysctl_link(key[1])
    if old not in names:
        return key, attrs
    head, _, leaf = key[1].rpartition("/")
    return (key[0], f"{head.removesuffix(old)}{names[old]}/{leaf}"), attrs


def _told(path: str, value: str, old: str | None = None) -> str:
    if path.endswith("/disable_ipv6"):
        return f"{sysctl_link(path):<15} IPv6 {'off' if value == '1' else 'on'}"
    return f"{path.replace('/', '.')}: {'' if old is None else f'{old} → '}{value}"


SYSCTL = Table(
    name="sysctl",
    read=_read,
    write=_write,
    needs=_needs,
    about=False,
    sentence=lambda op: f"set {op.key[1]} to {op.attrs.get('value')}",
    what=lambda key, attrs: _told(key[1], attrs["value"]),
    changed=lambda op: _told(op.key[1], op.attrs["value"], op.old.get("value")),
    marks={"create": "~", "change": "~"},
    renamed=_renamed,
)
