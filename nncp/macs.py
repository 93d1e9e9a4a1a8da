"""MAC addresses that a document means without naming them: a copied one, and a bridge's own.

A bridge has the lowest MAC address of its ports, whoever plugs them, until somebody sets its own
(net/bridge/br_stp_if.c, br_stp_recalculate_bridge_id): a Pod that comes or goes would change it, and peers
lose the bridge for as long as they remember the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.future import MAX_NEST_DEV
from nncp.host import Row
from nncp.kinds.bond import BOND
from nncp.kinds.bond_section import BondConfig
from nncp.kinds.linux_bridge import LINUX_BRIDGE
from nncp.kinds.vlan import VLAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Host, Key, Op


def permanent(name: str, host: Host) -> str | None:
    """Return the permanent MAC address of a link, a bond's port included, or else the one that it has."""
    told = (("link", "permanent-mac"), ("port", "permanent-mac"), ("link", "mac"))
    found = (host.attr(table, name, name=word) for table, word in told)
    return next((str(mac) for mac in found if mac), None)


def of_new_bridges(want: Mapping[Key, Row], host: Host) -> Iterator[Row]:
    """Yield the MAC address of each bridge that is to be made, unless it is given one: its first port's."""
    ports: dict[str, list[str]] = {}
    for row in want.values():
        if row.key[0] == "port" and not row.absent:
            ports.setdefault(row.attrs["controller"], []).append(row.name)
    for row in want.values():
        made = row.key[0] == "link" and not row.absent and row.attrs.get("type") == LINUX_BRIDGE.type
        if not made or host.attr(*row.key, name="type") == LINUX_BRIDGE.type:
            continue
        if (listed := ports.get(row.name)) and (mac := _future(listed[0], want, ports, host)):
            yield Row(row.key, {"mac": mac})


def _future(name: str, want: Mapping[Key, Row], ports: Mapping[str, list[str]], host: Host) -> str | None:
    """Return the MAC address that a link will have, as far as is known; no link rests on itself."""
    row = want.get(("link", name))
    attrs = row.attrs if row else {}
    if mac := attrs.get("mac"):
        return str(mac)
    have = host.attr("link", name, name="type")
    if have and attrs.get("type", have) == have:
        return permanent(name, host)
    below = ports.get(name, []) if attrs.get("type") == BOND.type else [attrs.get("base-iface")]
    return next((_future(other, want, ports, host) for other in below if other), None)


def is_lent(mac: str, name: str, host: Host) -> bool:
    """Whether a VLAN has the MAC address that a bond's active port lends it, and `mac` is one of that bond's.

    It follows the bond's while it has the same (net/8021q/vlan.c, vlan_sync_address).
    """
    base, have = name, host.attr("link", name, name="mac")
    for _ in range(MAX_NEST_DEV):
        if host.attr("link", base, name="type") != VLAN.type or host.attr("link", base, name="mac") != have:
            break
        base = host.attr("link", base, name="base-iface", default="")
    lends = "mac" in host.attr("link", base, name="borrowed", default=())
    if base == name or not lends or host.attr("link", base, name="mac") != have:
        return False
    return mac in (BOND.macs(BondConfig(), base, host) or ())


def pinned(now: Host, ops: Iterable[Op]) -> list[str]:
    """Return the bridges that are to keep their MAC address: `ops` change their ports or give them addresses.

    One that is made keeps what it then has, unless it is made with a MAC address: that is its own already.
    """
    ops = list(ops)
    links = [op for op in ops if op.key[0] == "link"]
    made = {op.key[1]: op for op in links if op.verb == "create" and op.type == LINUX_BRIDGE.type}
    stand = {row.name for row in now.table("link") if row.attrs["type"] == LINUX_BRIDGE.type}
    stand -= {op.key[1] for op in links if op.verb == "remove"}
    told = {
        str(op.attrs.get("controller") or op.old.get("controller"))
        for op in ops
        if op.key[0] == "port" and op.verb in {"create", "remove"}
    }
    told |= {op.key[1] for op in ops if op.key[0] == "address" and op.verb == "create"}
    return sorted((told & stand) | {name for name, op in made.items() if "mac" not in op.attrs})
