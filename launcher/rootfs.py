"""A Pod's file tree: a root of its own, with what the node shows it and nothing else.

    /usr                       the node's, not writable, with parts of another QEMU over it if asked for
    /etc                       names of the Pod's own, and what the dynamic linker needs
    /dev                       what a container has, taps, and /dev/kvm where that works
    /run/bridgehead/pod        the launcher's own folder
    /run/bridgehead/home       libvirt's
    /run/bridgehead/claims     its guest's disks, by the claims' names
    /run/bridgehead/images     its guest's kernel, by the image's name

and the folders of Python and of this program, wherever they are: also behind one that is shut to its user.
"""

from __future__ import annotations

import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from launcher.daemon import HOME
from nncp import libc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 1, 2, 4, 8, 0x1000, 0x4000
MS_REMOUNT, MS_PRIVATE = 32, 1 << 18

POD = Path("/run/bridgehead/pod")
"""The launcher's own folder, under a name that is the same in every Pod."""
OWN = "launcher"
"""What it is called in the Pod's folder on the node. The rest of that is root's, and not seen in the Pod."""

QEMU_PARTS = ("bin/qemu-system-x86_64", "share/qemu", "share/seabios", "lib/x86_64-linux-gnu/qemu")
"""What of another QEMU's tree is laid over /usr; shared libraries are the system's."""

DEVICES = {"null": 0o666, "zero": 0o666, "full": 0o666, "random": 0o666, "urandom": 0o666, "tty": 0o666}
"""The Pod's devices, as container runtimes have them (OCI runtime specification, default devices)."""
GIVEN = ("net/tun", "vhost-net", "kvm")
"""Devices that are the Pod's user's by group: a tap that is there already, and what makes it fast."""

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
LINKER = (
    "alternatives",
    "gnutls",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "ssl/openssl.cnf",
)
"""What of the node's /etc programs cannot do without."""
SIZE = "64m"
"""What a Pod may put into its own tree: /tmp, libvirt's folder."""
OWN_FOLDERS = ("dev", "etc", "proc", "run", "sys")


class Sandbox(Struct, frozen=True):
    """Where a Pod lives: what it is entered by, whose it is, and what of the node it sees.

    `folder` is the Pod's on the node; `shown` are further folders, each after the place where the Pod sees it
    and before whether it may write there.
    """

    netns: str
    hostname: str
    folder: Path
    user: int
    shown: tuple[tuple[Path, Path, bool], ...] = ()
    qemu: Path | None = None
    kvm: bool = False


def arrange(sandbox: Sandbox) -> None:
    """Make the Pod's file tree, in the mount namespace that the caller has to itself, and go there."""
    mount_at("none", "/", flags=MS_REC | MS_PRIVATE)
    socket.sethostname(sandbox.hostname)
    root = sandbox.folder / "rootfs"
    root.mkdir(mode=0o700, exist_ok=True)
    mount_at("pod", str(root), kind="tmpfs", flags=MS_NOSUID, data=f"mode=755,size={SIZE}")
    _system(root)
    for folder in python_folders():
        show(folder, root, folder, flags=MS_RDONLY)
    show(sandbox.folder / OWN, root, POD)
    for place, path, is_writable in sandbox.shown:
        show(path, root, place, flags=0 if is_writable else MS_RDONLY, devices=is_writable)
    for place, path in _parts(sandbox.qemu):
        show(path, root, place, flags=MS_RDONLY)
    _own_folder(root, HOME, sandbox.user)
    _own_folder(root, Path("/tmp"), sandbox.user)  # noqa: S108 -- the Pod's
    _names(root / "etc", sandbox)
    _devices(root / "dev", sandbox)
    _kernel(root)
    os.chdir(root)
    libc.call("pivot_root", b".", b".")  # pivot_root(2), NOTES: the old root lies on top of the new one then
    libc.call("umount2", b".", libc.MNT_DETACH)
    os.chdir("/")


def _system(root: Path) -> None:
    """Show /usr, and whatever of the root leads there or is not yet part of it."""
    for name in SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            (root / name).symlink_to(path.readlink())
        elif path.is_dir():
            show(path, root, path, flags=MS_RDONLY)
    for name in LINKER:
        path = Path("/etc", name)
        if path.exists():
            show(path.resolve(), root, path, flags=MS_RDONLY)


def show(path: Path, root: Path, place: Path, *, flags: int = 0, devices: bool = False) -> None:
    """Show a file or folder of the node at a place below `root`; what shows it already is enough.

    With `devices` it may hold some: a claim may be a block device.
    """
    goal = root / place.relative_to("/")
    if goal.exists() and goal.samefile(path):
        return
    if path.is_dir():
        goal.mkdir(parents=True, exist_ok=True)
    elif not goal.exists():
        goal.parent.mkdir(parents=True, exist_ok=True)
        goal.touch()
    mount_at(str(path), str(goal), flags=MS_BIND | MS_REC)
    flags |= MS_REMOUNT | MS_BIND | MS_NOSUID | (0 if devices else MS_NODEV)
    mount_at("", str(goal), flags=flags)


def _own_folder(root: Path, place: Path, user: int) -> None:
    folder = root / place.relative_to("/")
    folder.mkdir(parents=True, exist_ok=True)  # Python may lie below it
    folder.chmod(0o700)
    os.chown(folder, user, user)


def _names(etc: Path, sandbox: Sandbox) -> None:
    """Write who and where the Pod is. libvirt asks for its own name amid a migration: no server is asked."""
    user, name = sandbox.user, sandbox.hostname
    files = {
        "passwd": f"root:x:0:0::/:/usr/sbin/nologin\nqemu:x:{user}:{user}::{HOME}:/usr/sbin/nologin\n",
        "group": f"root:x:0:\nqemu:x:{user}:\n",
        "hosts": f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n",
        "hostname": f"{name}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "resolv.conf": "",
    }
    etc.mkdir(exist_ok=True)
    for file, text in files.items():
        (etc / file).write_text(text, encoding="utf-8")


def _devices(dev: Path, sandbox: Sandbox) -> None:
    """Give the Pod a /dev of its own: nothing of the node's but what a guest needs."""
    (dev / "net").mkdir(parents=True)
    for name in (*DEVICES, *GIVEN):
        node = Path("/dev", name)
        if node.exists() and (name != "kvm" or sandbox.kvm):
            path = dev / name
            os.mknod(path, stat.S_IFCHR | 0o600, node.stat().st_rdev)
            path.chmod(DEVICES.get(name, 0o660))
            os.chown(path, 0, 0 if name in DEVICES else sandbox.user)
    for name, goal in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        (dev / name).symlink_to(goal)


def _kernel(root: Path) -> None:
    """Show /proc of the Pod's processes, and /sys of its network, which nobody in it writes to."""
    fixed = MS_NOSUID | MS_NODEV | MS_NOEXEC
    for name in ("proc", "sys"):
        (root / name).mkdir()
    mount_at("proc", str(root / "proc"), kind="proc", flags=fixed)
    mount_at("sysfs", str(root / "sys"), kind="sysfs", flags=fixed)
    # This mount alone: another of the same network namespace may be writable (fs/super.c, get_tree_keyed).
    mount_at("", str(root / "sys"), flags=MS_REMOUNT | MS_BIND | MS_RDONLY | fixed)


def python_folders() -> Iterator[Path]:
    """Yield where this program and what it imports lie.

    Where somebody happened to be when he started it does not count, though Python looks there too: it may be
    the root itself.
    """
    found = [sys.prefix, sys.exec_prefix, sys.base_prefix, *sys.path, str(Path(__file__).parents[1])]
    own = Path(__file__).resolve().parents[1]
    for folder in dict.fromkeys(Path(name).resolve() for name in found if name):
        if folder.is_dir() and (folder == own or folder != Path.cwd()) and not _is_the_pods(folder):
            yield folder


def _is_the_pods(folder: Path) -> bool:
    """Whether a folder is one that the Pod has of its own, lies in one, or holds them all."""
    return folder in {Path("/"), Path("/tmp")} or folder.parts[1:2] in [(name,) for name in OWN_FOLDERS]  # noqa: S108


def _parts(qemu: Path | None) -> Iterable[tuple[Path, Path]]:
    """The places in /usr that another QEMU's tree covers, each with what covers it."""
    if qemu is None:
        return []
    pairs = [(Path("/usr") / part, qemu / "usr" / part) for part in QEMU_PARTS]
    return [(place, path) for place, path in pairs if place.exists() and path.exists()]


def mount_at(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount something, or change how it is mounted."""
    libc.call("mount", source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)
