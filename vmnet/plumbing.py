"""What a binding is given and what it gives back: data only, to be looked at before anything acts.

A binding is a pure function from a `Site` (the VM's interface, and what the CNI plugins left in the Pod for
it) to a `Plumbing` (rows for the planner, the domain's interface, a DHCP lease, an nft ruleset).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.host import Row
from vmnet.model import Interface, Network
from vmnet.names import Devices, devices

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


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
    def devices(self) -> Devices:
        """The names of this site's devices."""
        return devices(self.network.name, primary=self.network.is_primary)


class Lease(Struct, frozen=True, rename="kebab"):
    """The one DHCPv4 lease that a binding serves to its guest.

    `mac` restricts it to one client (a bridge binding shares its segment with others). `private` are
    KubeVirt's options 224 to 254, by number.
    """

    interface: str
    server: str
    address: str
    gateway: str = ""
    mac: str = ""
    mtu: int = 1500
    hostname: str = ""
    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    tftp_server: str = ""
    boot_file: str = ""
    ntp_servers: tuple[str, ...] = ()
    private: tuple[tuple[int, str], ...] = ()


class DomainInterface(Struct, frozen=True, rename="kebab"):
    """What the domain XML says of one interface: a tap that is there already, and libvirt leaves alone."""

    tap: str
    mac: str
    mtu: int
    alias: str
    model: str = "virtio-non-transitional"
    boot_order: int = 0
    link_down: bool = False
    queues: int = 1
    acpi_index: int = 0
    pci_address: str = ""


class Plumbing(Struct, frozen=True):
    """What a binding wants: rows in the Pod, the domain's interface, and what serves and filters it."""

    rows: tuple[Row, ...]
    domain: DomainInterface
    lease: Lease | None = None
    nft: str = ""


class Binding(Struct, frozen=True):
    """A way to connect a guest to a Pod's network; `name` is its key in a VM's interface."""

    name: str
    plumb: Callable[[Site], Plumbing]
    primary_only: str = ""
    """What to say when it is used on a secondary network; empty when it may be."""


def domain_interface(site: Site) -> DomainInterface:
    """Return the domain's interface for a site; its MTU is the Pod link's, as nothing else knows the path."""
    vm = site.interface
    model = vm.model or "virtio"
    return DomainInterface(
        tap=site.devices.tap,
        mac=site.mac,
        mtu=site.link.mtu,
        alias=site.devices.alias,
        model="virtio-non-transitional" if model == "virtio" else model,
        boot_order=vm.boot_order or 0,
        link_down=vm.state == "down",
        queues=site.queues if model == "virtio" else 1,
        acpi_index=vm.acpi_index or 0,
        pci_address=vm.pci_address or "",
    )


def interface_xml(nic: DomainInterface) -> Element:
    """Return `<interface>` as libvirt reads it, in the order in which libvirt writes it."""
    from xml.etree.ElementTree import Element, SubElement  # noqa: PLC0415 -- 10 ms that only a launcher needs

    top = Element("interface", type="ethernet")
    SubElement(top, "mac", address=nic.mac)
    SubElement(top, "target", dev=nic.tap, managed="no")
    SubElement(top, "model", type=nic.model)
    if nic.queues > 1:
        SubElement(top, "driver", name="vhost", queues=str(nic.queues))
    if nic.link_down:
        SubElement(top, "link", state="down")
    SubElement(top, "mtu", size=str(nic.mtu))
    SubElement(top, "alias", name=nic.alias)
    if nic.boot_order:
        SubElement(top, "boot", order=str(nic.boot_order))
    else:
        SubElement(top, "rom", enabled="no")
    if nic.acpi_index:
        SubElement(top, "acpi", index=str(nic.acpi_index))
    if nic.pci_address:
        SubElement(top, "address", _pci(nic.pci_address))
    return top


def _pci(address: str) -> dict[str, str]:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    numbers = {"domain": domain, "bus": bus, "slot": slot, "function": function}
    return {"type": "pci", **{name: f"0x{value}" for name, value in numbers.items()}}
