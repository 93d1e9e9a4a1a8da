"""What a machine's network is, by ip and bridge: our own reader vouches for nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nncp.lab.cluster.handle import Handle

QUESTIONS = (
    "ip -d -j addr",
    "ip -j route show table all",
    "ip -6 -j route show table all",
    "ip -j rule",
    "ip -6 -j rule",
    "bridge -j vlan",
)
"""What the kernel says of itself: numbers that move, and what is not yet so."""
MOVING = frozenset(
    {"preferred_life_time", "valid_life_time", "expires", "tentative", "stable-privacy", "mngtmpaddr"}
)


def network(cluster: Handle, machine: str) -> set[str]:
    """All of a machine's links, addresses, routes, rules and VLANs."""
    found = cluster.on(machine, "sh", "-ec", "; echo; ".join(QUESTIONS)).splitlines()
    return {json.dumps(_still(each)) for line in found if line.strip() for each in json.loads(line)}


def json_of(cluster: Handle, machine: str, *argv: str) -> Any:
    """What a program says in JSON; [] where it says nothing."""
    return json.loads(cluster.on(machine, *argv) or "[]")


def addresses(cluster: Handle, machine: str, link: str) -> set[str]:
    (found,) = json_of(cluster, machine, "ip", "-j", "addr", "show", "dev", link)
    return {f"{a['local']}/{a['prefixlen']}" for a in found["addr_info"] if a["scope"] == "global"}


def routes(cluster: Handle, machine: str, table: str, *family: str) -> set[tuple[str, str]]:
    """Where to and through which link a machine's routes of a table go."""
    found = json_of(cluster, machine, "ip", *family, "-j", "route", "show", "table", table)
    return {(each["dst"], each["dev"]) for each in found}


def _still(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {key: _still(inner) for key, inner in value.items() if not _moves(key)}
        return {key: inner for key, inner in kept.items() if inner not in ({}, [])}
    return [_still(each) for each in value if each != {}] if isinstance(value, list) else value


def _moves(key: str) -> bool:
    return key in MOVING or key.endswith("_timer")
