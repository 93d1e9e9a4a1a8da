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
    from nncp.tables.table import Dumps, Indexes, Look, Rows, Taken

CONF = "net/ipv{}/conf/"
FOLDERS = ("net/ipv4/conf", "net/ipv6/conf", "net/ipv4/neigh", "net/ipv6/neigh", "net/mpls/conf")
"""Where each link has sysctls of its own."""
BY_OTHERS = frozenset({"net/ipv6/conf/addr_gen_mode", "net/ipv6/conf/disable_ipv6"})
"""What other rows hold."""
DEVCONF_DISABLE_IPV6 = 26


def sysctl_link(path: str) -> str:
    """Return the link whose own sysctl this is, or "" (`net/ipv6/conf/br0/disable_ipv6` is br0's)."""
    for folder in FOLDERS:
        if path.startswith(f"{folder}/"):
            name = path[len(folder) + 1 :].rpartition("/")[0]
            return "" if name in {"all", "default"} else name
    return ""


def _read(dumps: Dumps) -> Iterator[Row]:
    for link in dumps.links:
        conf = link.inet6_conf
        has_ipv6 = len(conf) > DEVCONF_DISABLE_IPV6 * 4
        value = struct.unpack_from("=i", conf, DEVCONF_DISABLE_IPV6 * 4)[0] if has_ipv6 else 1
        yield Row(("sysctl", f"net/ipv6/conf/{link.name}/disable_ipv6"), {"value": str(value)})


def _taken(look: Look, taken: Taken) -> Iterator[Row]:
    """Yield the sysctls of links that go which a link made again would not have by itself."""
    for folder in FOLDERS if taken.links else ():
        # Neighbours' defaults are shown in the first namespace alone; the loopback has them as well.
        default = look.settings(f"{folder}/default") or look.settings(f"{folder}/lo")
        for name in sorted(taken.links):
            for leaf, value in look.settings(f"{folder}/{name}").items():
                given = (
                    default.get(leaf, "0") if leaf != "mtu" else str(look.host.attr("link", name, name="mtu"))
                )
                if value != given and f"{folder}/{leaf}" not in BY_OTHERS:
                    yield Row(("sysctl", f"{folder}/{name}/{leaf}"), {"value": value})


def _needs(key: Key, rows: Rows, kinds: Kinds) -> Iterator[Key]:  # noqa: ARG001  (a Table's shape)
    if link := sysctl_link(key[1]):
        yield ("link", link)


def _takes(key: Key, attrs: Mapping[str, Any], rows: Rows) -> Iterator[Key]:
    """Yield the routes that go with a link's IPv6 (net/ipv6/addrconf.c, addrconf_ifdown)."""
    if not key[1].endswith("/disable_ipv6") or attrs["value"] != "1":
        return
    link = sysctl_link(key[1])
    for other, route in rows.items():
        if other[:2] == ("route", "ipv6") and any(hop[0] == link for hop in route.get("nexthops", ())):
            yield other


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
    taken=_taken,
    write=_write,
    needs=_needs,
    takes=_takes,
    about=False,
    links=lambda key, _: (link for link in (sysctl_link(key[1]),) if link),
    sentence=lambda op: f"set {op.key[1]} to {op.attrs.get('value')}",
    what=lambda key, attrs: _told(key[1], attrs["value"]),
    changed=lambda op: _told(op.key[1], op.attrs["value"], op.old.get("value")),
    marks={"create": "~", "change": "~"},
    renamed=_renamed,
)
