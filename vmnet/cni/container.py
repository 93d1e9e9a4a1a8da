"""The container's side of a port: its namespace, and what an interface gets there."""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

import nncp
from nncp import netns, sysctl
from nncp.errors import Error
from nncp.netlink.channel import Channel
from nncp.netlink.usable import until_usable
from vmnet.cni.given import container_rows, is_v6
from vmnet.cni.refusal import BAD_ENVIRONMENT, BAD_NETNS, DRIFTED, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncp.host import Row
    from vmnet.cni.given import Given
    from vmnet.cni.ports import PodPort

NS_GET_NSTYPE = 0xB703  # linux/nsfs.h
OWN = Path("/proc/thread-self/ns/net")


def random_mac() -> str:
    """Return a MAC as the kernel would draw one: local, of one interface (eth_random_addr)."""
    octets = bytearray(secrets.token_bytes(6))
    octets[0] = octets[0] & 0xFE | 2
    return octets.hex(":")


def refuse_unfit(path: str, interface: str) -> None:
    """Refuse a namespace that is none or the node's own, and an interface that is there already."""
    _refuse_namespace(path)
    with netns.entered(path):
        if nncp.snapshot().get("link", interface) is not None:
            raise Refusal(BAD_ENVIRONMENT, f"the container has an interface {interface} already")


def _refuse_namespace(path: str) -> None:
    try:
        # Looked at before it is opened: whoever opens a FIFO waits for its other end.
        if Path(path).stat().st_dev == OWN.stat().st_dev and _is_network(path):
            if os.path.samestat(Path(path).stat(), OWN.stat()):
                raise Refusal(BAD_NETNS, f"CNI_NETNS {path} is the node's own network namespace")
            return
    except OSError as error:
        raise Refusal(BAD_NETNS, f"CNI_NETNS {path} cannot be used: {error.strerror}") from None
    raise Refusal(BAD_NETNS, f"CNI_NETNS {path} is not a network namespace")


def _is_network(path: str) -> bool:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(descriptor, NS_GET_NSTYPE) == netns.CLONE_NEWNET
    finally:
        os.close(descriptor)


def settle(given: Given, port: PodPort, *, enabledad: bool, stays_down: bool, undo: Path) -> None:
    """Give the container's interface its addresses and routes, all of them usable when this returns.

    Raises:
        Error: the kernel refuses one, or another host has an IPv6 address already (RFC 4862, section 5.4).

    """
    with netns.entered(port.netns):
        rows = _rows(given, port.interface, enabledad=enabledad, stays_down=stays_down)
        if rows:
            nncp.apply_rows(rows, state_dir=undo)
        if given.addresses and not stays_down:
            _await_usable(port.interface)


def _rows(given: Given, interface: str, *, enabledad: bool, stays_down: bool) -> list[Row]:
    has_ipv6 = sysctl.read("net/ipv6/conf/default/accept_dad") is not None
    return container_rows(
        given, interface=interface, has_ipv6=has_ipv6, enabledad=enabledad, stays_down=stays_down
    )


def _await_usable(interface: str) -> None:
    """Wait for every IPv6 address of the interface, the kernel's own too."""
    addresses = [row.key[2].partition("/")[0] for row in nncp.snapshot().of("address", interface)]
    with Channel() as channel:
        for address in filter(is_v6, addresses):
            until_usable(channel, address)


def check(given: Given, port: PodPort, *, enabledad: bool, stays_down: bool) -> None:
    """Refuse what is not as a result has it: the interface, its MAC, addresses, routes, and that it is up."""
    name = port.interface
    macs = {link.mac for link in given.interfaces or () if link.sandbox and link.name == name and link.mac}
    _refuse_namespace(port.netns)
    with netns.entered(port.netns):
        link = nncp.snapshot().get("link", name)
        if link is None:
            raise Refusal(DRIFTED, f"{name} is not in the container")
        if link.attrs.get("mac") not in (macs or {port.mac}):
            raise Refusal(DRIFTED, f"{name} has MAC {link.attrs.get('mac')}, not {min(macs or {port.mac})}")
        if stays_down:
            return
        refuse_drift(name, _rows(given, name, enabledad=enabledad, stays_down=False))
        try:
            if given.addresses:
                _await_usable(name)
        except Error as error:
            raise Refusal(DRIFTED, error.message) from None


def refuse_drift(name: str, rows: Iterable[Row]) -> None:
    """Refuse when anything is between rows and the current namespace."""
    wanted = list(rows)
    ops = nncp.plan_rows(nncp.snapshot(wanted), wanted)
    changes = [f"{op.verb} {' '.join(op.key)} {dict(op.attrs) or ''}".strip() for op in ops]
    if changes:
        raise Refusal(DRIFTED, f"{name} is not as it was made; to mend: {', '.join(changes)}")
