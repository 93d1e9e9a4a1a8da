"""What runs Pods in the lab's cluster: containerd and runc from Debian, unpacked and never installed.

An installed containerd would be a daemon of this machine. With them come the images that every node needs
before it can run a Pod: `localhost/pause:1`, which holds a Pod's namespaces, and `localhost/busybox:1`.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.lab import images
from nncp.lab.cluster import oci
from nncp.lab.debian import STABLE
from nncp.lab.images import Image
from nncp.lab.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.lab.debian import Archive

PACKAGES = ("containerd", "runc", "busybox-static")
PAUSE, BUSYBOX = "localhost/pause:1", "localhost/busybox:1"
FOLDERS = ("bin", "dev", "etc", "proc", "root", "sys", "tmp")
PASSWD = b"root:x:0:0::/root:/bin/sh\n"


def recipe() -> bytes:
    """Return what decides the image beside the packages."""
    return repr(PACKAGES).encode() + Path(__file__).read_bytes() + Path(oci.__file__).read_bytes()


def build(archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    """Put `tree/usr/...`, `pause.tar` and `busybox.tar` into `folder`."""
    tree = folder / "tree"
    for package in PACKAGES:
        say(f"unpacks {package}")
        archive.unpack(package, tree)
    busybox = next(path for path in (tree / "bin" / "busybox", tree / "usr/bin/busybox") if path.exists())
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout
    applets = {f"bin/{name}": "busybox" for name in listed.split() if name != "busybox"}
    layer = folder.parent / "layer.tar"
    oci.layer(layer, {"bin/busybox": busybox.read_bytes(), "etc/passwd": PASSWD, **applets}, folders=FOLDERS)
    oci.write(folder / "busybox.tar", BUSYBOX, layer, command=["/bin/sh"])
    # The runtime ends it by SIGKILL, so it need not know of others.
    oci.write(folder / "pause.tar", PAUSE, layer, command=["/bin/sleep", "infinity"])


RUNTIME = Image("containers", STABLE, PACKAGES, recipe, build)


def folder() -> Path:
    """Return where it is, built now if need be."""
    return images.ensure(RUNTIME, say=Progress("kube", name="containerd").say)
