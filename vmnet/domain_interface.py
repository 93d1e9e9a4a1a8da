"""`<interface>` of the domain XML for a tap that is there already, which libvirt leaves alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vmnet.plumbing import Site


def ethernet(site: Site) -> str:
    """Return the element for a site, its parts in the order in which libvirt writes them.

    Its MTU is the Pod link's, as nothing else knows the path. A `driver` is named for several queues only,
    where KubeVirt does for multiqueue on one vCPU too: libvirt takes vhost anyway if it is there.
    """
    from xml.etree.ElementTree import Element, SubElement, tostring  # noqa: PLC0415 -- 10 ms for an attach only

    nic, model = site.interface, site.interface.model or "virtio"
    top = Element("interface", type="ethernet")
    SubElement(top, "mac", address=site.mac)
    SubElement(top, "target", dev=site.devices.tap, managed="no")
    SubElement(top, "model", type="virtio-non-transitional" if model == "virtio" else model)
    if site.tap_queues > 1:
        SubElement(top, "driver", name="vhost", queues=str(site.tap_queues))
    if nic.state == "down":
        SubElement(top, "link", state="down")
    SubElement(top, "mtu", size=str(site.link.mtu))
    SubElement(top, "alias", name=site.devices.alias)
    if nic.boot_order:
        SubElement(top, "boot", order=str(nic.boot_order))
    else:
        SubElement(top, "rom", enabled="no")
    if nic.acpi_index:
        SubElement(top, "acpi", index=str(nic.acpi_index))
    if nic.pci_address:
        SubElement(top, "address", _pci(nic.pci_address))
    return tostring(top, encoding="unicode")


def _pci(address: str) -> dict[str, str]:
    domain, bus, rest = address.split(":")
    slot, function = rest.split(".")
    numbers = {"domain": domain, "bus": bus, "slot": slot, "function": function}
    return {"type": "pci", **{name: f"0x{value}" for name, value in numbers.items()}}
