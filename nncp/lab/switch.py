"""The top-of-rack switch: a node like the others, whose bridge and bonds come from a document of ours."""

from __future__ import annotations

import json
import re
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.document.source import load
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncp.lab.nodes import Node

DOCUMENT = files("nncp.lab") / "switch.yaml"
# Bits of a port's LACP state (IEEE 802.1AX-2014, 6.4.2.3): aggregatable, in sync, collecting, distributing.
# A partner's MAC is known long before the last two are set, and only they mean that traffic passes.
PASSES = 0b0011_1100
POLL = 0.05

# Seconds of a quiet machine since something last changed, and in all.
LACP_S, LACP_IN_ALL = 35.0, 140.0
"""A LACPDU that was lost is made good after the slow period, 30 s (IEEE 802.1AX-2014, 6.4.4)."""
STP_S, STP_IN_ALL = 45.0, 180.0
"""No state of a port on its way to forwarding lasts longer: Max Age is 40 s at most, the forward delay 30 s
(IEEE 802.1D-2004, 17.14)."""


def configure(tor: Node) -> None:
    """Give the switch its configuration, by the same engine that the nodes get theirs from.

    A port is left out whose cable is not there: its node is off.
    """
    there = {line.partition(":")[0].strip() for line in tor.read("/proc/net/dev").splitlines()}
    (document,) = (node.value for node in load(DOCUMENT.read_text(encoding="utf-8"), file=DOCUMENT.name))
    for interface in document["interfaces"]:
        if "link-aggregation" in interface:
            ports = interface["link-aggregation"]["port"]
            interface["link-aggregation"]["port"] = [port for port in ports if port in there]
    tor.run(sys.executable, "-P", "-m", "nncp", "apply", "-", stdin=json.dumps(document))


def set_vlan(tor: Node, port: str, vlan: int, *, carried: bool) -> None:
    """Carry a VLAN on a port of the switch, or take it off."""
    verb = "add" if carried else "del"
    tor.run("bridge", "vlan", verb, "dev", port, "vid", str(vlan))


class LacpPort(Struct, frozen=True):
    """A bond's port: its own LACP state and its partner's."""

    name: str
    up: bool
    state: int
    partner_state: int

    @property
    def passes(self) -> bool:
        """Whether traffic passes: both sides collect and distribute."""
        both = self.state & self.partner_state
        return self.up and both & PASSES == PASSES


class Bond(Struct, frozen=True):
    """A bond as the kernel shows it to people, in /proc/net/bonding."""

    mode: str
    partner_mac: str
    ports: tuple[LacpPort, ...]

    @property
    def passes(self) -> bool:
        """Whether all ports pass traffic."""
        return bool(self.ports) and all(port.passes for port in self.ports)


def read_bond(text: str) -> Bond:
    """Read /proc/net/bonding/NAME (drivers/net/bonding/bond_procfs.c)."""
    head, *ports = text.split("Slave Interface: ")
    mode = re.search(r"^Bonding Mode: (.*)$", head, re.MULTILINE)
    partner = re.search(r"Partner Mac Address: (\S+)", head)
    words = "802.3ad" if mode and "802.3ad" in mode[1] else mode[1] if mode else ""
    return Bond(words, partner[1] if partner else "", tuple(map(_port, ports)))


def _port(text: str) -> LacpPort:
    states = [int(state) for state in re.findall(r"port state: (\d+)", text)] or [0, 0]
    name, _, rest = text.partition("\n")
    return LacpPort(name.strip(), "MII Status: up" in rest, states[0], states[-1])


def wait_for_lacp(bonds: Iterable[tuple[Node, str]], *, patience: float = LACP_S) -> float:
    """Wait until all ports of all bonds pass traffic, and return after how many seconds they did.

    The kernel sends no event at a change of the port's state, so it is read again: a file, no process.
    """
    began, waiting = time.monotonic(), list(bonds)
    limit = Limit(patience, in_all=LACP_IN_ALL)
    while True:
        found = [(node, name, bond_of(node, name)) for node, name in waiting]
        waiting = [(node, name) for node, name, bond in found if not bond.passes]
        if not waiting:
            return time.monotonic() - began
        limit.sees(tuple(bond for _, _, bond in found))
        if limit.is_over():
            told = "; ".join(f"{name} on {node.name}: {_told(bond)}" for node, name, bond in found)
            raise Error(f"no LACP partner {limit.story}: {told}", kind=ErrorKind.FAILED)
        time.sleep(POLL)


def bond_of(node: Node, name: str) -> Bond:
    """Return the bond as it is now."""
    return read_bond(node.read(f"/proc/net/bonding/{name}"))


def strangers(bonds: Iterable[tuple[Node, str]]) -> list[str]:
    """Return, in a sentence each, which of two bonds that are cabled together has another partner.

    A bond speaks LACP by its own MAC as long as nobody names another system (bond_3ad.c,
    bond_3ad_initialize).
    """
    (left, one), (right, two) = bonds
    return [
        f"the LACP partner of {name} on {node.name} is {partner or 'nobody'}, not {peer.name}'s {other}"
        for node, name, peer, other in ((left, one, right, two), (right, two, left, one))
        if (partner := bond_of(node, name).partner_mac) != _mac(peer, other)
    ]


def _mac(node: Node, name: str) -> str:
    return node.read(f"/sys/class/net/{name}/address").strip()


def wait_for_forwarding(node: Node, port: str, *, patience: float = STP_S) -> float:
    """Wait until a bridge port forwards, and return after how many seconds it did."""
    began, limit = time.monotonic(), Limit(patience, in_all=STP_IN_ALL)
    while (state := _state(node, port)) != "3":  # BR_STATE_FORWARDING
        limit.sees(state)
        if limit.is_over():
            told = f"(state {state or 'no port of a bridge'})"
            raise Error(f"{port} on {node.name} did not forward {limit.story} {told}", kind=ErrorKind.FAILED)
        time.sleep(POLL)
    return time.monotonic() - began


def _state(node: Node, port: str) -> str:
    return node.read(f"/sys/class/net/{port}/brport/state").strip()


def _told(bond: Bond) -> str:
    return ", ".join(f"{port.name} {port.state}/{port.partner_state}" for port in bond.ports) or "no ports"
