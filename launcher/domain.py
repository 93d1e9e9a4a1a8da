"""The domain XML of a guest: what libvirt is told, as a function of the manifest and of the Pod's record.

It holds nothing of the Pod itself: the same guest has the same XML in every Pod, so that a migration rewrites
nothing. Interfaces are KubeVirt's (vmnet writes them); taps are there already, libvirt only opens them.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, fromstring, indent, register_namespace, tostring

from launcher.guest import BUSES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from launcher.guest import Disk, Guest

QEMU_NS = "http://libvirt.org/schemas/domain/qemu/1.0"
EMULATOR = "/usr/bin/qemu-system-x86_64"
MONITOR = "/run/bridgehead/pod/qmp.sock"
CONSOLE = "/run/bridgehead/pod/console.log"
MONITORED = (
    *("-chardev", f"socket,id=launcher,path={MONITOR},server=off"),
    *("-mon", "chardev=launcher,mode=control"),
)
"""A second QMP monitor, the launcher's: QEMU connects to it when it starts, so no event is missed."""

PRESENT = ("-overcommit", "mem-lock=on")
"""All that QEMU needs is there from its start. Emulation touches new memory all the time after a move, and
where the kernel is emulated as well, each first touch of a page costs 44 us: the pause halved, and the first
answer after it."""

TRANSLATIONS = 32
"""MiB of TCG's cache of translated code: all of it is locked with the guest's memory."""


def domain_xml(guest: Guest, nics: Sequence[str], *, accelerator: str, caches: dict[str, str]) -> str:
    """Return the domain XML of a guest.

    Args:
        guest: the machine without its networks.
        nics: the elements of its interfaces as XML, in the manifest's order.
        accelerator: `kvm` or `tcg`.
        caches: the cache mode of each claim's disk, by the disk's name.

    """
    register_namespace("qemu", QEMU_NS)
    top = Element("domain", type="kvm" if accelerator == "kvm" else "qemu")
    SubElement(top, "name").text = guest.name
    SubElement(top, "uuid").text = guest.uuid
    SubElement(top, "memory", unit="B").text = str(guest.memory)
    _processors(top, guest, accelerator)
    _boot(top, guest)
    features = SubElement(top, "features")
    SubElement(features, "acpi")
    if accelerator == "tcg":
        SubElement(SubElement(features, "tcg"), "tb-cache", unit="MiB").text = str(TRANSLATIONS)
    clock = SubElement(top, "clock", offset="utc")
    # Under TCG the HPET makes the guest doubt its own clocks, and it costs wakeups everywhere.
    SubElement(clock, "timer", name="hpet", present="no")
    for event, action in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        SubElement(top, f"on_{event}").text = action
    _devices(top, guest, nics, caches)
    _command_line(top, [*MONITORED, *(PRESENT if accelerator == "tcg" else ())])
    indent(top)
    return tostring(top, encoding="unicode") + "\n"


def _processors(top: Element, guest: Guest, accelerator: str) -> None:
    SubElement(top, "vcpu").text = str(guest.cores * guest.sockets * guest.threads)
    if accelerator == "kvm":
        cpu = SubElement(top, "cpu", mode="host-model")
    elif guest.cores * guest.sockets * guest.threads > 1:
        cpu = SubElement(top, "cpu")
    else:
        return
    counts = {"sockets": guest.sockets, "dies": 1, "cores": guest.cores, "threads": guest.threads}
    SubElement(cpu, "topology", {name: str(count) for name, count in counts.items()})


def _boot(top: Element, guest: Guest) -> None:
    os_ = SubElement(top, "os")
    SubElement(os_, "type", arch="x86_64", machine=guest.machine).text = "hvm"
    if guest.kernel is None:
        return
    SubElement(os_, "kernel").text = guest.kernel.file
    if guest.kernel.initrd:
        SubElement(os_, "initrd").text = guest.kernel.initrd
    if guest.kernel.arguments:
        SubElement(os_, "cmdline").text = guest.kernel.arguments


def _devices(top: Element, guest: Guest, nics: Sequence[str], caches: dict[str, str]) -> None:
    devices = SubElement(top, "devices")
    SubElement(devices, "emulator").text = EMULATOR
    names = {prefix: iter(string.ascii_lowercase) for prefix in set(BUSES.values())}
    for disk in guest.disks:
        prefix = BUSES[disk.bus]
        _disk(devices, disk, target=prefix + next(names[prefix]), cache=caches.get(disk.name, ""))
    SubElement(devices, "controller", type="usb", model="none" if not _uses_usb(guest) else "qemu-xhci")
    for nic in nics:
        devices.append(fromstring(nic))  # noqa: S314 -- vmnet wrote it
    serial = SubElement(devices, "serial", type="file")
    # Without append libvirt empties the file at each incoming migration, a panic's last words included.
    SubElement(serial, "source", path=CONSOLE, append="on")
    SubElement(devices, "memballoon", model="none")
    if guest.rng:
        rng = SubElement(devices, "rng", model="virtio")
        SubElement(rng, "backend", model="random").text = "/dev/urandom"


def _uses_usb(guest: Guest) -> bool:
    return any(disk.bus == "usb" for disk in guest.disks)


def _disk(devices: Element, disk: Disk, *, target: str, cache: str) -> None:
    top = SubElement(devices, "disk", type="file", device=disk.device)
    driver = SubElement(top, "driver", name="qemu", type="raw")
    if cache:
        driver.set("cache", cache)
    SubElement(top, "source", file=disk.file)
    SubElement(top, "target", dev=target, bus=disk.bus)
    # Never <shareable/>: it turns off QEMU's image lock, which is what keeps a guest from running twice.
    if disk.is_seed:
        SubElement(top, "readonly")
    if disk.serial:
        SubElement(top, "serial").text = disk.serial
    if disk.boot_order:
        SubElement(top, "boot", order=str(disk.boot_order))
    SubElement(top, "alias", name=f"ua-{disk.name}")


def _command_line(top: Element, arguments: Iterable[str]) -> None:
    command = SubElement(top, f"{{{QEMU_NS}}}commandline")
    for value in arguments:
        SubElement(command, f"{{{QEMU_NS}}}arg", value=value)
