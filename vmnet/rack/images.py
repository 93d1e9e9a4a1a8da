"""The rack's guest images, and the QEMU that they need without KVM.

tiny     kernel and busybox: a NoCloud reader in shell, answers in seconds (`guest/`)
debian   Debian with systemd and the real cloud-init, as a disk
qemu     QEMU from backports: under TCG, stable's loses guest memory when it migrates
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.lab import images
from nncp.lab.images import Image
from vmnet.rack import debian, qemu, tiny

if TYPE_CHECKING:
    from pathlib import Path

    from nncp.lab.images import Say

IMAGES = {
    image.name: image
    for image in (
        Image("tiny", tiny.SUITES, tiny.PACKAGES, tiny.recipe, tiny.build),
        Image("debian", debian.SUITES, debian.PACKAGES, debian.recipe, debian.build),
        Image("qemu", qemu.SUITES, qemu.PACKAGES, qemu.recipe, qemu.build),
    )
}


def find(name: str) -> Path | None:
    """Return the newest image of that name which the present recipe built, or None."""
    return images.find(IMAGES[name])


def ensure(name: str, *, say: Say | None = None) -> Path:
    """Return the image of that name; build it when the present recipe has built none yet."""
    return images.ensure(IMAGES[name], say=say)


def refresh(name: str, *, say: Say | None = None) -> Path:
    """Return the image of the newest packages; build it when they are newer than what is there."""
    return images.refresh(IMAGES[name], say=say)


def qemu_tree() -> Path | None:
    """Return the folder with `usr/` of a QEMU that migrates TCG guests soundly; None before it is built."""
    folder = find("qemu")
    return folder and folder / "tree"
