"""What stands in a node, in lines: its bonds with LACP's view of them, its bridges with their ports."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp.lab.switch import bond_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.nodes import Node


def told(node: Node) -> Iterator[str]:
    """Yield lines about a node, its name first."""
    links = json.loads(node.run("ip", "-json", "-details", "address"))
    yield node.name
    for link in links:
        kind = link.get("linkinfo", {}).get("info_kind", "") or link["link_type"]
        if link["ifname"] != "lo":
            columns = f"{link['ifname']:<12}{kind:<9}{link['operstate'].lower():<16}"
            yield f"  {columns}{_more(node, link, kind)}".rstrip()


def _more(node: Node, link: dict[str, Any], kind: str) -> str:
    addresses = [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"]
    words = [f"in {link['master']}"] if "master" in link else []
    if kind == "bond":
        bond = bond_of(node, link["ifname"])
        words += [f"{bond.mode}, partner {bond.partner_mac or 'none'}"]
        words += [f"{port.name} {'passes' if port.passes else f'state {port.state}'}" for port in bond.ports]
    if "master" in link:
        state = link.get("linkinfo", {}).get("info_slave_data", {}).get("state", "")
        words += (
            [state.lower()]
            if state in {"forwarding", "learning", "listening", "blocking", "disabled"}
            else []
        )
    return " ".join([*addresses, ", ".join(words)])
