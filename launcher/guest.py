"""What a VirtualMachine says of its guest beside its networks: processors, memory, firmware, disks.

The fields and the words of the errors are KubeVirt's. What is not supported is refused by name where leaving
it out would make another machine; every error of the manifest is reported at once.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from launcher.seed import firmware_uuid
from nncp.errors import Error, raise_all
from vmnet.reading import read
from vmnet.valid import INNER_PATH, KERNEL_ARGUMENTS, LABEL, MACHINE, SERIAL, SUBDOMAIN, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.document.source import Node, Step
    from vmnet.model import VirtualMachine

SPEC: tuple[Step, ...] = ("spec", "template", "spec")
DOMAIN: tuple[Step, ...] = (*SPEC, "domain")
DISKS: tuple[Step, ...] = (*DOMAIN, "devices", "disks")
BOOT: tuple[Step, ...] = (*DOMAIN, "firmware", "kernelBoot")

CLAIMS = "/run/bridgehead/claims"
"""Where a Pod finds its claims: CLAIMS/NAME/disk.img, as KubeVirt lays out a file system volume."""
IMAGES = "/run/bridgehead/images"
"""Where a Pod finds the images that kernels boot from: IMAGES/NAME/PATH."""
SEED = "/run/bridgehead/pod/seed.iso"

BUSES = {"virtio": "vd", "sata": "sd", "scsi": "sd", "usb": "sd"}
"""The buses of disks, each with what the names of its disks begin with."""
CACHES = ("none", "writethrough", "writeback")
MOST_DISKS = 26
"""Of one beginning: their names end in one letter."""
LONGEST_NAME = 240
"""Characters of a domain's name: libvirt's files are called so, with an ending (NAME_MAX is 255)."""
DEFAULT_MEMORY = 256 << 20
LEAST_MEMORY, MOST_MEMORY = 1 << 20, 1 << 52
"""Bytes: 52 bits are what x86 addresses at most."""
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{unit}i": 1 << shift for unit, shift in (("K", 10), ("M", 20), ("G", 30), ("T", 40))
}
_QUANTITY = re.compile(r"([0-9]{1,18})([a-zA-Z]*)\Z")


class Disk(Struct, frozen=True):
    """A disk of the guest: what it is, and the file behind it as the Pod sees it."""

    name: str
    file: str
    volume: int
    bus: str = "virtio"
    device: str = "disk"
    claim: str = ""
    cache: str = ""
    serial: str = ""
    boot_order: int = 0

    @property
    def is_seed(self) -> bool:
        """Whether it is the NoCloud seed, which each Pod makes for itself and nobody writes to."""
        return not self.claim


class Kernel(Struct, frozen=True):
    """A kernel that is booted without a boot loader (KubeVirt's kernelBoot)."""

    file: str
    initrd: str = ""
    arguments: str = ""
    image: str = ""


class Guest(Struct, frozen=True):
    """A VirtualMachine without its networks."""

    name: str
    uuid: str
    memory: int
    disks: tuple[Disk, ...]
    cores: int = 1
    sockets: int = 1
    threads: int = 1
    machine: str = "q35"
    kernel: Kernel | None = None
    rng: bool = False


class Target(Struct, frozen=True):
    """How a disk is presented: `disk: {bus: virtio}`."""

    bus: str | None = None


class DiskEntry(Struct, frozen=True, rename="camel"):
    """A disk as the manifest has it."""

    name: str = ""
    disk: Target | None = None
    cdrom: Target | None = None
    cache: str | None = None
    serial: str | None = None
    boot_order: int | None = None


class Container(Struct, frozen=True, rename="camel"):
    """Where a kernel comes from: paths in an image."""

    image: str | None = None
    kernel_path: str | None = None
    initrd_path: str | None = None


class KernelBoot(Struct, frozen=True, rename="camel"):
    """Firmware's kernelBoot."""

    container: Container | None = None
    kernel_args: str | None = None


class Firmware(Struct, frozen=True, rename="camel"):
    """A domain's firmware."""

    kernel_boot: KernelBoot | None = None
    uuid: str | None = None


class Machine(Struct, frozen=True):
    """A domain's machine."""

    type: str | None = None


class Cpu(Struct, frozen=True):
    """A domain's processors."""

    cores: Any = 1
    sockets: Any = 1
    threads: Any = 1


class Devices(Struct, frozen=True):
    """A domain's devices, without its interfaces."""

    disks: tuple[DiskEntry, ...] | None = None
    rng: dict[str, Any] | None = None


class Memory(Struct, frozen=True):
    """What a guest is to see of memory."""

    guest: str | int | None = None


class Amounts(Struct, frozen=True):
    """Amounts of what a node has."""

    memory: str | int | None = None


class Resources(Struct, frozen=True):
    """What is asked of the node."""

    requests: Amounts | None = None
    limits: Amounts | None = None


class Domain(Struct, frozen=True):
    """A domain, without its networks."""

    cpu: Cpu | None = None
    memory: Memory | None = None
    resources: Resources | None = None
    machine: Machine | None = None
    firmware: Firmware | None = None
    devices: Devices | None = None


class PodSpec(Struct, frozen=True):
    """The spec of a VM's Pod, without its networks."""

    domain: Domain | None = None
    volumes: tuple[dict[str, Any], ...] | None = None


def read_guest(vm: VirtualMachine) -> Guest:
    """Read the guest of a VirtualMachine, or raise every error that it has."""
    spec, found = read(_value(vm.node, *SPEC) or {}, PodSpec)
    faults: list[Error] = [fault.below(*SPEC).error(vm.node) for fault in found]
    spec = spec or PodSpec()
    domain = spec.domain or Domain()
    cpu = domain.cpu or Cpu()
    name = f"{vm.namespace}_{vm.name}"
    if len(name) > LONGEST_NAME:
        message = f"namespace and name have {len(name)} characters together: libvirt takes {LONGEST_NAME}"
        faults.append(vm.node.error(message, "metadata", "name"))
    guest = Guest(
        name=name,
        uuid=_uuid(vm.node, faults),
        memory=_memory(vm.node, domain, faults),
        disks=tuple(_disks(vm, spec, faults)),
        cores=_count(vm.node, cpu.cores, "cores", faults),
        sockets=_count(vm.node, cpu.sockets, "sockets", faults),
        threads=_count(vm.node, cpu.threads, "threads", faults),
        machine=_machine(vm.node, domain, faults),
        kernel=_kernel(vm.node, domain, faults),
        rng=domain.devices is not None and domain.devices.rng is not None,
    )
    raise_all(faults)
    return guest


def quantity(text: str) -> int | None:
    """Return a Kubernetes quantity (`128Mi`, `1G`, `4096`) as a number, or None when it is not one."""
    match = _QUANTITY.match(text)
    unit = UNITS.get(match[2]) if match else None
    return int(match[1]) * unit if match and unit else None


def _value(node: Node, *path: Step) -> Any:
    value = node.value
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _checked(node: Node, text: str, rule: Rule, what: str, *where: Step) -> Iterator[Error]:
    """Yield an error when a text is not of the form that it must have."""
    if not rule.allows(text):
        yield node.error(f"{text!r} is not {what}", *where, hint=rule.words)


def _uuid(node: Node, faults: list[Error]) -> str:
    text = firmware_uuid(node.value)
    try:
        return str(uuid.UUID(text))
    except ValueError:
        faults.append(node.error(f"{text} is not a UUID", *DOMAIN, "firmware", "uuid"))
        return text


def _count(node: Node, value: Any, key: str, faults: list[Error]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        faults.append(node.error(f"{key} must be 1 to 256, got {value}", *DOMAIN, "cpu", key))
        return 1
    return value


def _machine(node: Node, domain: Domain, faults: list[Error]) -> str:
    text = (domain.machine and domain.machine.type) or "q35"
    faults += _checked(node, text, MACHINE, "a type of machine", *DOMAIN, "machine", "type")
    return text


def _memory(node: Node, domain: Domain, faults: list[Error]) -> int:
    """The guest's memory in bytes: what it is to see, or else what is asked of the node for it."""
    resources = domain.resources or Resources()
    places = (
        (("memory", "guest"), domain.memory and domain.memory.guest),
        (("resources", "requests", "memory"), resources.requests and resources.requests.memory),
        (("resources", "limits", "memory"), resources.limits and resources.limits.memory),
    )
    for place, value in places:
        if value is None:
            continue
        size = quantity(str(value))
        if size is None or not LEAST_MEMORY <= size <= MOST_MEMORY:
            message = f"{value} is not an amount of memory"
            faults.append(node.error(message, *DOMAIN, *place, hint="128Mi, 2Gi"))
        return size or DEFAULT_MEMORY
    return DEFAULT_MEMORY


def _kernel(node: Node, domain: Domain, faults: list[Error]) -> Kernel | None:
    boot = domain.firmware.kernel_boot if domain.firmware else None
    if boot is None or boot == KernelBoot():
        return None
    container, arguments = boot.container or Container(), boot.kernel_args or ""
    where: tuple[Step, ...] = (*BOOT, "container")
    if not container.image or not container.kernel_path:
        message = "kernelBoot needs container.image and container.kernelPath"
        faults.append(node.error(message, *BOOT, key=True))
        return None
    image, kernel, initrd = container.image, container.kernel_path, container.initrd_path or ""
    faults += _checked(node, image, INNER_PATH, "the name of an image", *where, "image")
    faults += _checked(node, kernel, INNER_PATH, "a path in an image", *where, "kernelPath")
    if initrd:
        faults += _checked(node, initrd, INNER_PATH, "a path in an image", *where, "initrdPath")
    faults += _checked(node, arguments, KERNEL_ARGUMENTS, "a kernel's command line", *BOOT, "kernelArgs")
    return Kernel(
        file=_inside(IMAGES, image, kernel),
        initrd=_inside(IMAGES, image, initrd) if initrd else "",
        arguments=arguments,
        image=image.strip("/"),
    )


def _inside(*parts: str) -> str:
    return "/".join(part.rstrip("/") if i == 0 else part.strip("/") for i, part in enumerate(parts))


def _disks(vm: VirtualMachine, spec: PodSpec, faults: list[Error]) -> Iterator[Disk]:
    """The disks in the order of the manifest, each with the volume of its name."""
    node = vm.node
    entries = (spec.domain and spec.domain.devices and spec.domain.devices.disks) or ()
    volumes = _volumes(node, spec.volumes or (), faults)
    faults += _disk_faults(vm, entries)
    for index, entry in enumerate(entries):
        if entry.name not in volumes:
            message = f"spec.domain.devices.disks[{index}].name '{entry.name}' not found"
            hint = f"volumes: {', '.join(volumes)}" if volumes else "there are no volumes"
            faults.append(node.error(message, *DISKS, index, "name", hint=hint))
            continue
        number = volumes[entry.name]
        source = _source(node, (spec.volumes or ())[number], number, faults)
        if source is not None:
            yield _disk(entry, number, *source)
    used = {entry.name for entry in entries}
    for name in (name for name in volumes if name not in used):
        where = (*SPEC, "volumes", volumes[name], "name")
        faults.append(node.error(f"volume {name} has no disk", *where, hint="add a disk of this name"))


def _volumes(node: Node, volumes: tuple[dict[str, Any], ...], faults: list[Error]) -> dict[str, int]:
    """Where each volume stands, by its name."""
    found: dict[str, int] = {}
    for index, volume in enumerate(volumes):
        name = str(volume.get("name"))
        if not LABEL.allows(volume.get("name")):
            where = (*SPEC, "volumes", index, *(["name"] if "name" in volume else []))
            message = f"{volume.get('name')!r} is not the name of a volume"
            faults.append(node.error(message, *where, hint=LABEL.words))
        elif name in found:
            faults.append(node.error(f"there are two volumes {name}", *SPEC, "volumes", index, "name"))
        else:
            found[name] = index
    return found


def _disk_faults(vm: VirtualMachine, entries: tuple[DiskEntry, ...]) -> Iterator[Error]:
    """What is wrong with the disks beside their volumes; the words are KubeVirt's where it has some."""
    orders = {nic.interface.boot_order: nic.interface.name for nic in vm.nics}
    names: Counter[str] = Counter()
    letters: Counter[str] = Counter()
    for index, entry in enumerate(entries):
        where: tuple[Step, ...] = (*DISKS, index)
        names[entry.name] += 1
        letters[BUSES.get(_bus(entry), "")] += 1
        if names[entry.name] == 2:
            yield vm.node.error(f"there are two disks {entry.name}", *where, "name")
        if letters[BUSES.get(_bus(entry), "")] == MOST_DISKS + 1:
            yield vm.node.error(f"there are more than {MOST_DISKS} disks on bus {_bus(entry)}", *where)
        order = entry.boot_order
        if order is not None and order < 1:
            message = f"disk {entry.name} has bootOrder {order}: it must be at least 1"
            yield vm.node.error(message, *where, "bootOrder")
        elif order is not None and order in orders:
            message = f"Boot order for {entry.name} already set for a different device."
            yield vm.node.error(message, *where, "bootOrder", hint=f"{orders[order]} has it")
        orders.setdefault(order, entry.name)
        yield from _entry_faults(vm.node, entry, where)


def _entry_faults(node: Node, entry: DiskEntry, where: tuple[Step, ...]) -> Iterator[Error]:
    if _bus(entry) not in BUSES:
        message = f"disk {entry.name} uses bus {_bus(entry)} that is not supported"
        yield node.error(message, *where, _device(entry), "bus", hint=f"supported: {', '.join(BUSES)}")
    if entry.cache and entry.cache not in CACHES:
        message = f"disk {entry.name} has cache mode {entry.cache!r} that is not supported"
        yield node.error(message, *where, "cache", hint=f"supported: {', '.join(CACHES)}")
    if entry.serial:
        yield from _checked(node, entry.serial, SERIAL, "a serial number", *where, "serial")


def _device(entry: DiskEntry) -> str:
    return "cdrom" if entry.cdrom is not None and entry.disk is None else "disk"


def _bus(entry: DiskEntry) -> str:
    target = entry.cdrom if _device(entry) == "cdrom" else entry.disk
    return (target and target.bus) or ("sata" if _device(entry) == "cdrom" else "virtio")


def _disk(entry: DiskEntry, volume: int, claim: str, file: str) -> Disk:
    return Disk(
        name=entry.name,
        file=file,
        volume=volume,
        bus=_bus(entry),
        device=_device(entry),
        claim=claim,
        cache=entry.cache or "",
        serial=entry.serial or "",
        boot_order=entry.boot_order or 0,
    )


def _source(node: Node, volume: dict[str, Any], index: int, faults: list[Error]) -> tuple[str, str] | None:
    """The claim behind a volume and its file in the Pod; a seed has no claim."""
    where = (*SPEC, "volumes", index)
    if "cloudInitNoCloud" in volume:
        return "", SEED
    for kind, key in (("persistentVolumeClaim", "claimName"), ("dataVolume", "name")):
        if volume.get(kind) is None:
            continue
        source = volume[kind]
        claim = source.get(key) if isinstance(source, dict) else None
        if not isinstance(claim, str) or not claim:
            faults.append(node.error(f"{kind} needs {key}", *where, kind, key=True))
            return None
        faults += _checked(node, claim, SUBDOMAIN, "the name of a claim", *where, kind, key)
        return claim, _inside(CLAIMS, claim, "disk.img")
    kinds = [key for key in volume if key != "name"]
    said = f"volumes of kind {kinds[0]} are not supported here" if kinds else "should have a volume source"
    hint = "persistentVolumeClaim, dataVolume or cloudInitNoCloud"
    faults.append(node.error(said, *where, *kinds[:1], key=True, hint=hint))
    return None
