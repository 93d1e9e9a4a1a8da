"""What a binding is given and what it gives back: data only, to be looked at before anything acts.

A binding is a pure function from a `Site` (the VM's interface, and what the CNI plugins left in the Pod for
it) to a `Plumbing`: rows for the planner, an nft ruleset, the domain's element, programs that serve the
guest, the gate that keeps its segment out while it runs elsewhere, and what a migration needs or forbids.
Whoever makes a Pod, starts a guest in it or moves it reads these, and knows no binding by name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from nncp.host import Row
from vmnet.model import Interface, Network
from vmnet.names import Devices, devices


class Route(Struct, frozen=True, rename="kebab"):
    """A route of the Pod network; `gateway` is empty for what is on the link."""

    destination: str
    gateway: str = ""


class PodLink(Struct, frozen=True, rename="kebab"):
    """What the CNI plugins left in the Pod for one network, before any binding touched it."""

    name: str
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    node_bridge: str = ""
    node_port: str = ""

    def address(self, version: int) -> str:
        """Return the first address of an IP version that others could reach, with its prefix length.

        Empty when there is none: one that is link-local, or loopback, is no Pod's (KubeVirt's
        hasIPGlobalUnicast).
        """
        found = ((text, ipaddress.ip_interface(text)) for text in self.addresses)
        return next((text for text, one in found if one.version == version and _is_global(one)), "")


def _is_global(address: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> bool:
    ip = address.ip
    return not (ip.is_link_local or ip.is_loopback or ip.is_multicast or ip.is_unspecified)


class Resolver(Struct, frozen=True, rename="kebab"):
    """What the Pod's resolv.conf says, as DHCP hands it on."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()


class Site(Struct, frozen=True):
    """Where a binding is to plumb: one interface of a VM in one Pod.

    `index` is the interface's position in the VM, `mac` the guest's, `device_mac` the one for devices of
    ours. `owner` and `group` may open the tap without privilege; `queues` is 1 unless the VM asks for
    multiqueue.
    """

    interface: Interface
    network: Network
    index: int
    link: PodLink
    mac: str
    device_mac: str
    hostname: str
    resolver: Resolver = Resolver()
    owner: int = 0
    group: int = 0
    queues: int = 1

    @property
    def tap_queues(self) -> int:
        """How many queues the tap has: one unless the card is virtio.

        QEMU opens one for any other, and a tap of several refuses that (drivers/net/tun.c, tun_set_iff).
        """
        return self.queues if self.interface.model in {"", "virtio"} else 1

    @property
    def devices(self) -> Devices:
        """The names of this site's devices."""
        return devices(self.network.name, primary=self.network.is_primary)


class Socket(Struct, frozen=True, rename="kebab"):
    """A socket that takes rights to open: a UDP port on one interface."""

    interface: str
    port: int


class Service(Struct, frozen=True, rename="kebab"):
    """A program that serves the guest in its Pod, without rights of its own, and is started again if it ends.

    It runs as `python -m MODULE DESCRIPTOR...`, a descriptor for each of its sockets in their order. They
    are open before it is and stay open after it: what comes meanwhile waits. `config` is one line of JSON on
    its standard input, the end of which ends it.
    """

    name: str
    module: str
    sockets: tuple[Socket, ...] = ()
    config: dict[str, Any] = {}


class Gate(Struct, frozen=True, rename="kebab"):
    """What shuts the guest's segment out of a Pod while the guest runs in another.

    `nic` is the port of the Pod's bridge that leads out, below which `mac`, the guest's, is announced; `tap`
    is the guest's.
    """

    nic: str
    tap: str
    mac: str


class Migration(Struct, frozen=True, rename="kebab"):
    """What a live migration needs of a binding.

    `refusal` says why a guest so bound cannot be moved; empty when it can. `exempt` is true where the guest
    is given what arrives at the Pod's own ports, so that the target has to keep those of a migration.
    """

    refusal: str = ""
    exempt: bool = False


class Plumbing(Struct, frozen=True):
    """What a binding wants.

    `rows` and `nft` are of the Pod's network namespace, `domain` is libvirt's element as XML, `address` what
    the guest is told to be its own, with the prefix length; empty when nobody tells it one.
    """

    rows: tuple[Row, ...]
    devices: Devices
    domain: str
    nft: str = ""
    services: tuple[Service, ...] = ()
    gate: Gate | None = None
    migration: Migration = Migration()
    address: str = ""


class Binding(Struct, frozen=True):
    """A way to connect a guest to a Pod's network; `name` is its key in a VM's interface.

    `primary_only` is what to say when it is used on a secondary network; empty when it may be.
    `takes_place` is true where the guest stands in the Pod link's stead, so that the link is made with the
    guest's MAC, or the guest gets the link's. `reserved_mac` is one that no guest so bound may have.
    """

    name: str
    plumb: Callable[[Site], Plumbing]
    primary_only: str = ""
    takes_place: bool = False
    reserved_mac: str = ""
