"""The top-of-rack switch: a node like the others, whose bridge and bonds come from a document of ours."""

from __future__ import annotations

import re
import sys
import time
from importlib.resources import files
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from vmnet.rack.nodes import Node

DOCUMENT = files("vmnet.rack") / "scenario" / "switch.yaml"
# Bits of a port's LACP state (IEEE 802.1AX-2014, 6.4.2.3): aggregatable, in sync, collecting, distributing.
# A partner's MAC is known long before the last two are set, and only they mean that traffic passes.
PASSES = 0b0011_1100
POLL = 0.05


def configure(tor: Node) -> None:
    """Give the switch its configuration, by the same engine that the nodes get theirs from."""
    tor.run(sys.executable, "-m", "nncp", "apply", "-", stdin=DOCUMENT.read_text(encoding="utf-8"))


def set_vlan(tor: Node, port: str, vlan: int, *, carried: bool) -> None:
    """Carry a VLAN on a port of the switch, or take it off."""
    verb = "add" if carried else "del"
    tor.run("bridge", "vlan", verb, "dev", port, "vid", str(vlan))


class Port(Struct, frozen=True):
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
    ports: tuple[Port, ...]

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


def _port(text: str) -> Port:
    states = [int(state) for state in re.findall(r"port state: (\d+)", text)] or [0, 0]
    name, _, rest = text.partition("\n")
    return Port(name.strip(), "MII Status: up" in rest, states[0], states[-1])


def wait_for_lacp(bonds: Iterable[tuple[Node, str]], *, deadline: float = 15.0) -> float:
    """Wait until all ports of all bonds pass traffic, and return after how many seconds they did.

    The kernel sends no event at a change of the port's state, so it is read again: a file, no process.
    """
    began, waiting = time.monotonic(), list(bonds)
    while waiting:
        waiting = [(node, bond) for node, bond in waiting if not bond_of(node, bond).passes]
        if waiting and time.monotonic() - began > deadline:
            told = "; ".join(f"{bond} on {node.name}: {_told(bond_of(node, bond))}" for node, bond in waiting)
            raise Error(f"no LACP partner after {deadline:.0f} s: {told}", kind=ErrorKind.FAILED)
        if waiting:
            time.sleep(POLL)
    return time.monotonic() - began


def bond_of(node: Node, name: str) -> Bond:
    """Return the bond as it is now."""
    return read_bond(node.read(f"/proc/net/bonding/{name}"))


def wait_for_forwarding(node: Node, port: str, *, deadline: float = 40.0) -> float:
    """Wait until a bridge port forwards, and return after how many seconds it did."""
    began = time.monotonic()
    while node.read(f"/sys/class/net/{port}/brport/state").strip() != "3":  # BR_STATE_FORWARDING
        if time.monotonic() - began > deadline:
            state = node.read(f"/sys/class/net/{port}/brport/state").strip() or "no port of a bridge"
            raise Error(f"{port} on {node.name} does not forward (state {state})", kind=ErrorKind.FAILED)
        time.sleep(POLL)
    return time.monotonic() - began


def _told(bond: Bond) -> str:
    return ", ".join(f"{port.name} {port.state}/{port.partner_state}" for port in bond.ports) or "no ports"
