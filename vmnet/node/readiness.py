"""What must hold on a node before a guest's Pod is entered there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import nncp
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit
from vmnet import nft
from vmnet.manifest import INTERFACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Host
    from vmnet.model import VirtualMachine
    from vmnet.record import Nic, Record

STP_PATIENCE, STP_IN_ALL = 45.0, 180.0
"""Seconds of a quiet machine since a port's state changed, and in all. No state on the way to forwarding
lasts longer: Max Age is 40 s at most, the forward delay 30 s (IEEE 802.1D-2004, 17.14)."""
LOOK_EVERY = 0.1


def check_bridges(vm: VirtualMachine, record: Record) -> None:
    """Raise when a node bridge, or the Pod's port of it, is not there; it need not forward yet."""
    nncp.raise_all(error for error in unready(vm, record, nncp.snapshot()) if not error.kind.retry_helps)


def check_rules(record: Record) -> None:
    """Raise when the Pod, in whose network namespace this runs, has lost rules that were made for its guest.

    Without them a guest is cut off, or reaches what it must not. What others have put between is theirs.
    """
    lost = [
        table
        for nic in record.interfaces
        for table, rules in nic.rules.items()
        if not _holds(nft.listed(table), rules)
    ]
    if lost and not nft.is_installed():
        raise nft.missing()
    if lost:
        message = f"Pod {record.name} has lost rules of its nft tables {', '.join(lost)}"
        hint = f"somebody took them out after vmnet attach; vmnet attach {record.name} again"
        raise Error(message, kind=ErrorKind.FAILED, hint=hint)


def _holds(text: str, rules: str) -> bool:
    """Whether all lines of some rules are there, in their order."""
    lines = iter(text.splitlines())
    return all(line in lines for line in rules.splitlines())


def wait_forwarding(vm: VirtualMachine, record: Record, *, patience: float = STP_PATIENCE) -> None:
    """Return when the node's ports of all interfaces with a gate forward.

    A port of an STP bridge is silent for twice the forward delay after it came up; a guest that arrived
    meanwhile would be unreachable for so long, and its announcements unheard.

    Raises:
        Error: a bridge or port is not there, or it does not forward in time.

    """
    limit = Limit(patience, in_all=STP_IN_ALL)
    while True:
        found = list(unready(vm, record, nncp.snapshot()))
        waits = found and all(error.kind.retry_helps for error in found)
        limit.sees(tuple(error.message for error in found))
        if not waits or limit.is_over():
            for error in found if waits else ():
                error.hint = f"it did not {limit.story}; {error.hint}"
            nncp.raise_all(found)
            return
        time.sleep(LOOK_EVERY)


def unready(vm: VirtualMachine, record: Record, host: Host) -> Iterator[Error]:
    """Yield what stands in the way of traffic on the node's side of each interface that has a gate."""
    for nic in record.interfaces:
        if nic.gate is not None and nic.link.node_bridge:
            yield from _unready(vm, nic, host)


def _unready(vm: VirtualMachine, nic: Nic, host: Host) -> Iterator[Error]:
    index = next(i for i, bound in enumerate(vm.nics) if bound.interface.name == nic.name)
    where = (*INTERFACES, index, "name")
    bridge, port = nic.link.node_bridge, nic.link.node_port
    kind = host.attr("link", bridge, name="type")
    if kind != "linux-bridge":
        said = "is not there" if kind is None else f"is a {kind}"
        message = f"bridge {bridge} of network {nic.network} {said} on this node"
        yield vm.node.error(
            message, *where, subject=nic.name, hint="apply the node's policy first: nncp apply"
        )
        return
    if host.attr("port", port, name="controller") != bridge:
        message = f"{port}, this Pod's end on the node, is no port of {bridge}"
        yield vm.node.error(message, *where, subject=nic.name, hint="vmnet attach the Pod again")
        return
    state = host.attr("port", port, name="state")
    if state != "forwarding":
        yield Error(
            f"port {port} of {bridge} is {state}, not forwarding",
            kind=ErrorKind.FAILED,
            subject=nic.name,
            hint=f"STP of {bridge} holds it; look at bridge -d link show dev {port}",
        )
