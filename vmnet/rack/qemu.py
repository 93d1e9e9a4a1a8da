"""QEMU from Debian's backports, unpacked and never installed.

Migrating a TCG guest with stable's QEMU 7.2 loses stores: its dirty-bitmap synchronisation clears bits
without resetting the TCG TLB ("system/physmem: Fix migration dirty bitmap coherency with TCG memory access").
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab.debian import BACKPORTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nncp.lab.debian import Archive

SUITES = BACKPORTS
# Shared libraries and the NICs' option ROMs are those of stable's qemu-system-x86, which is installed.
PACKAGES = ("qemu-system-x86", "qemu-system-common", "qemu-system-data", "seabios")


def recipe() -> bytes:
    """Return what decides the image beside the packages."""
    return repr(PACKAGES).encode()


def build(archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    """Put `tree/usr/...` into `folder`.

    Raises:
        Error: the program lacks libraries on this machine.

    """
    tree = folder / "tree"
    for package in PACKAGES:
        say(f"unpacks {package}")
        archive.unpack(package, tree)
    program = tree / "usr" / "bin" / "qemu-system-x86_64"
    linked = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    lacking = [line.split()[0] for line in linked.splitlines() if "not found" in line]
    if lacking:
        raise Error(
            f"QEMU from {BACKPORTS[0]} does not run here: {', '.join(lacking)} is not installed",
            kind=ErrorKind.UNSUPPORTED,
            hint="apt-get install qemu-system-x86 brings the libraries",
        )
