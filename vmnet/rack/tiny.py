"""The tiny guest: Debian's cloud kernel and busybox, ready in seconds under TCG.

Its userland is `guest/`: the NICs by NoCloud's network-config, DHCP on what that does not name, an echo
server on TCP 7, and on TCP 8 the verdict of a watch over its own memory and disk.
"""

from __future__ import annotations

import re
import subprocess
from importlib.resources import files
from typing import TYPE_CHECKING

from nncp.lab.debian import STABLE
from vmnet.rack import cpio

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nncp.lab.debian import Archive

SUITES = STABLE
PACKAGES = ("linux-image-cloud-amd64", "busybox-static")
DISK = 32 << 20  # bytes: it only needs to be written to
# In the order in which they need one another: virtio's NIC and disk, the seed's file system, power button.
MODULES = (
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_blk",
    "cdrom",
    "isofs",
    "evdev",
    "button",
)


def recipe() -> bytes:
    """Return what decides the image beside the packages."""
    return repr((MODULES, DISK, sorted(guest_files().items()))).encode()


def build(archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    """Put `vmlinuz`, `initrd`, `cmdline` and `disk.img` into `folder`."""
    kernel = archive.resolve("linux-image-cloud-amd64")
    root = folder.parent / "root"
    for package in (kernel, "busybox-static"):
        say(f"unpacks {package}")
        archive.unpack(package, root)
    (folder / "vmlinuz").write_bytes(next((root / "boot").glob("vmlinuz-*")).read_bytes())
    modules = {
        path.stem: path.read_bytes() for path in root.glob("lib/modules/**/*.ko") if path.stem in MODULES
    }
    busybox = (root / "bin" / "busybox").read_bytes()
    applets = subprocess.run([root / "bin" / "busybox", "--list"], check=True, capture_output=True, text=True)
    (folder / "initrd").write_bytes(initrd(busybox, applets.stdout.split(), modules))
    (folder / "cmdline").write_text("console=ttyS0 quiet", encoding="ascii")
    with (folder / "disk.img").open("wb") as disk:
        disk.truncate(DISK)


def initrd(busybox: bytes, applets: list[str], modules: Mapping[str, bytes]) -> bytes:
    """Return the guest's first and only root; uncompressed, since inflating it under TCG takes longer."""
    guest = guest_files()
    folders = ("bin", "lib", "modules", "proc", "sys", "dev", "run", "etc", "etc/acpi", "etc/acpi/PWRF")
    entries = {
        **{path: cpio.folder() for path in folders},
        "bin/busybox": cpio.file(busybox),
        **{f"bin/{name}": cpio.link("busybox") for name in applets if name != "busybox"},
        **{f"modules/{name}.ko": cpio.file(modules[name]) for name in MODULES},
        "modules/order": cpio.file("".join(f"{name}\n" for name in MODULES).encode()),
        "init": cpio.file(guest.pop("init")),
        **{f"lib/{name}": cpio.file(data) for name, data in guest.items()},
        # What busybox' acpid runs at the power button, which is how libvirt and `system_powerdown` ask.
        "etc/acpi/PWRF/00000080": cpio.file(b"#!/bin/sh\nsync\npoweroff -f\n"),
    }
    return cpio.archive(entries)


def guest_files() -> dict[str, bytes]:
    """Return the guest's own files. Comments stay out of the way of its shell."""
    folder = files("vmnet.rack") / "guest"
    return {path.name: path.read_bytes() for path in folder.iterdir() if re.fullmatch(r"[a-z.-]+", path.name)}
