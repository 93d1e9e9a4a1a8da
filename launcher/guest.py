"""What a VirtualMachine says of its guest beside its networks: processors, memory, firmware, disks.

The fields and the words of the errors are KubeVirt's. What is not supported is refused by name where leaving
it out would make another machine; every error of the manifest is reported at once.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from launcher.seed import firmware_uuid
from nncp.errors import Error, raise_all

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

BUSES = ("virtio", "sata", "scsi", "usb")
DEFAULT_MEMORY = 256 << 20
LEAST_MEMORY = 1 << 20
UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12} | {
    f"{unit}i": 1 << shift for unit, shift in (("K", 10), ("M", 20), ("G", 30), ("T", 40))
}
_QUANTITY = re.compile(r"([0-9]+)([a-zA-Z]*)\Z")


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


def read_guest(vm: VirtualMachine) -> Guest:
    """Read the guest of a VirtualMachine, or raise every error that it has."""
    faults: list[Error] = []
    domain = _mapping(vm.node, *DOMAIN)
    cpu = _mapping(vm.node, *DOMAIN, "cpu")
    guest = Guest(
        name=f"{vm.namespace}_{vm.name}",
        uuid=_uuid(vm.node, faults),
        memory=_memory(vm.node, faults),
        disks=tuple(_disks(vm.node, faults)),
        cores=_count(vm.node, cpu, "cores", faults),
        sockets=_count(vm.node, cpu, "sockets", faults),
        threads=_count(vm.node, cpu, "threads", faults),
        machine=str((domain.get("machine") or {}).get("type") or "q35"),
        kernel=_kernel(vm.node, faults),
        rng=isinstance((domain.get("devices") or {}).get("rng"), dict),
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


def _mapping(node: Node, *path: Step) -> dict[str, Any]:
    value = _value(node, *path)
    return value if isinstance(value, dict) else {}


def _list(node: Node, *path: Step) -> list[Any]:
    value = _value(node, *path)
    return value if isinstance(value, list) else []


def _uuid(node: Node, faults: list[Error]) -> str:
    text = firmware_uuid(node.value)
    try:
        return str(uuid.UUID(text))
    except ValueError:
        faults.append(node.error(f"{text} is not a UUID", *DOMAIN, "firmware", "uuid"))
        return text


def _count(node: Node, cpu: dict[str, Any], key: str, faults: list[Error]) -> int:
    value = cpu.get(key, 1)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 256:
        faults.append(node.error(f"{key} must be 1 to 256, got {value}", *DOMAIN, "cpu", key))
        return 1
    return value


def _memory(node: Node, faults: list[Error]) -> int:
    """The guest's memory in bytes: what it is to see, or else what is asked of the node for it."""
    places = (("memory", "guest"), ("resources", "requests", "memory"), ("resources", "limits", "memory"))
    for place in places:
        value = _value(node, *DOMAIN, *place)
        if value is None:
            continue
        size = quantity(str(value))
        if size is None or size < LEAST_MEMORY:
            message = f"{value} is not an amount of memory"
            faults.append(node.error(message, *DOMAIN, *place, hint="128Mi, 2Gi"))
        return size or DEFAULT_MEMORY
    return DEFAULT_MEMORY


def _kernel(node: Node, faults: list[Error]) -> Kernel | None:
    boot = _mapping(node, *BOOT)
    if not boot:
        return None
    container = _mapping(node, *BOOT, "container")
    image, kernel, initrd = (container.get(key) for key in ("image", "kernelPath", "initrdPath"))
    if not image or not kernel:
        message = "kernelBoot needs container.image and container.kernelPath"
        faults.append(node.error(message, *BOOT, key=True))
        return None
    return Kernel(
        file=_inside(IMAGES, str(image), str(kernel)),
        initrd=_inside(IMAGES, str(image), str(initrd)) if initrd else "",
        arguments=str(boot.get("kernelArgs") or ""),
    )


def _inside(*parts: str) -> str:
    return "/".join(part.rstrip("/") if i == 0 else part.strip("/") for i, part in enumerate(parts))


def _disks(node: Node, faults: list[Error]) -> Iterator[Disk]:
    """The disks in the order of the manifest, each with the volume of its name."""
    volumes = {v.get("name"): i for i, v in enumerate(_list(node, *SPEC, "volumes")) if isinstance(v, dict)}
    used = set()
    for index, entry in enumerate(_list(node, *DISKS)):
        name = entry.get("name") if isinstance(entry, dict) else None
        if name not in volumes:
            message = f"spec.domain.devices.disks[{index}].name '{name}' not found"
            hint = f"volumes: {', '.join(str(volume) for volume in volumes) or 'there is none'}"
            faults.append(node.error(message, *DISKS, index, "name", hint=hint))
            continue
        used.add(name)
        disk = _disk(node, index, volumes[name], faults)
        if disk is not None:
            yield disk
    for name, index in volumes.items():
        if name not in used:
            message = f"volume {name} has no disk"
            faults.append(
                node.error(message, *SPEC, "volumes", index, "name", hint="add a disk of this name")
            )


def _disk(node: Node, index: int, volume: int, faults: list[Error]) -> Disk | None:
    entry = _list(node, *DISKS)[index]
    device = next((kind for kind in ("disk", "cdrom") if kind in entry), "disk")
    target = entry.get(device) or {}
    bus = target.get("bus") or ("sata" if device == "cdrom" else "virtio")
    if bus not in BUSES:
        message = f"disk {entry['name']} uses bus {bus} that is not supported"
        faults.append(
            node.error(message, *DISKS, index, device, "bus", hint=f"supported: {', '.join(BUSES)}")
        )
    source = _source(node, volume, faults)
    if source is None:
        return None
    claim, file = source
    return Disk(
        name=str(entry["name"]),
        file=file,
        volume=volume,
        bus=str(bus),
        device=device,
        claim=claim,
        cache=str(entry.get("cache") or ""),
        serial=str(entry.get("serial") or ""),
        boot_order=int(entry.get("bootOrder") or 0),
    )


def _source(node: Node, volume: int, faults: list[Error]) -> tuple[str, str] | None:
    """The claim behind a volume and its file in the Pod; a seed has no claim."""
    where = (*SPEC, "volumes", volume)
    if "cloudInitNoCloud" in _list(node, *SPEC, "volumes")[volume]:
        return "", SEED
    for kind, key in (("persistentVolumeClaim", "claimName"), ("dataVolume", "name")):
        source = _list(node, *SPEC, "volumes")[volume].get(kind)
        if source is None:
            continue
        claim = source.get(key) if isinstance(source, dict) else None
        if not isinstance(claim, str) or not claim or "/" in claim:
            faults.append(node.error(f"{kind} needs {key}", *where, kind, key=True))
            return None
        return claim, _inside(CLAIMS, claim, "disk.img")
    kinds = [key for key in _list(node, *SPEC, "volumes")[volume] if key != "name"]
    said = f"volumes of kind {kinds[0]} are not supported here" if kinds else "should have a volume source"
    hint = "persistentVolumeClaim, dataVolume or cloudInitNoCloud"
    faults.append(node.error(said, *where, *kinds[:1], key=True, hint=hint))
    return None
