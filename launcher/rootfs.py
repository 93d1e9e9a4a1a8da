"""A Pod's file tree: what it sees of the node, and under which names.

    /run/bridgehead/pod        the launcher's own folder    /run/bridgehead/claims/NAME   its guest's disks
    /run/bridgehead/home       libvirt's                    /run/bridgehead/images/NAME   its guest's kernel
    /dev                       what a container has, its taps, and /dev/kvm where that works
    /usr                       the node's, with parts of another QEMU over it where that is asked for

Of folders that are shut to the Pod's user it sees what Python needs, and nothing else.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from launcher.daemon import HOME

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
PASSWD, GROUP = Path("/etc/passwd"), Path("/etc/group")
GIVEN = ("net/tun", "vhost-net", "kvm")
"""Devices that are the Pod's user's by group: a tap that is there already, and what makes it fast."""


class Sandbox(Struct, frozen=True):
    """Where a Pod lives: what it is entered by, whose it is, and what of the node it sees.

    `folder` is the Pod's on the node; `shown` are further folders, each with the place where the Pod sees it.
    """

    netns: str
    hostname: str
    folder: Path
    user: int
    shown: tuple[tuple[Path, Path], ...] = ()
    qemu: Path | None = None
    kvm: bool = False


def arrange(sandbox: Sandbox) -> None:
    """Make the Pod's file tree, in the mount namespace that the caller has to itself."""
    mount_at("none", "/", flags=MS_REC | MS_PRIVATE)
    socket.sethostname(sandbox.hostname)
    # Kept open by descriptor: what lies under /run is out of sight once the Pod's own /run covers it.
    shown = [(POD, sandbox.folder / OWN), *sandbox.shown]
    opened = [(place, os.open(path, os.O_PATH)) for place, path in shown]
    parts = [(place, os.open(path, os.O_PATH)) for place, path in _parts(sandbox.qemu)]
    mount_at("proc", "/proc", kind="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount_at("sysfs", "/sys", kind="sysfs", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    # This mount alone: another of the same network namespace may be writable (fs/super.c, get_tree_keyed).
    mount_at("", "/sys", flags=MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _devices(sandbox)
    open_the_way(sandbox.user, python_folders())
    mount_at("pod", "/run", kind="tmpfs", flags=MS_NOSUID | MS_NODEV, data="mode=755")
    for place, descriptor in opened:
        place.mkdir(parents=True)
        bind(descriptor, place)
    for place, descriptor in parts:
        bind(descriptor, place)
    HOME.mkdir(mode=0o700)
    os.chown(HOME, sandbox.user, sandbox.user)
    _make_known(sandbox.user)


def _devices(sandbox: Sandbox) -> None:
    """Give the Pod a /dev of its own: nothing of the node's but what a guest needs."""
    numbers = {name: _number(name) for name in (*DEVICES, *GIVEN)}
    if not sandbox.kvm:
        numbers["kvm"] = None
    mount_at("dev", "/dev", kind="tmpfs", flags=MS_NOSUID | MS_NOEXEC, data="mode=755")
    Path("/dev/net").mkdir()
    for name, number in numbers.items():
        if number is not None:
            path = Path("/dev", name)
            os.mknod(path, stat.S_IFCHR | 0o600, number)
            path.chmod(DEVICES.get(name, 0o660))
            os.chown(path, 0, 0 if name in DEVICES else sandbox.user)
    for name, goal in (("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        Path("/dev", name).symlink_to(goal)


def _number(name: str) -> int | None:
    try:
        return Path("/dev", name).stat().st_rdev
    except FileNotFoundError:
        return None


def python_folders() -> Iterator[Path]:
    """Yield where this program and what it imports lie."""
    found = [sys.prefix, sys.exec_prefix, sys.base_prefix, *sys.path, str(Path(__file__).parents[1])]
    for folder in dict.fromkeys(Path(name).resolve() for name in found if name):
        if folder.is_dir():
            yield folder


def open_the_way(user: int, folders: Iterable[Path]) -> None:
    """Let a user reach these folders, behind whatever is shut to it on the way: root's home, say.

    What is shut is covered by an empty folder that shows them and nothing else.
    """
    shut: dict[Path, list[Path]] = {}
    for folder in folders:
        stone = next(
            (one for one in reversed((folder, *folder.parents)) if not _is_passable(one, user)), None
        )
        if stone is not None and stone != folder:
            shut.setdefault(stone, []).append(folder)
    for stone, behind in shut.items():
        opened = [(folder, os.open(folder, os.O_PATH)) for folder in behind]
        mount_at("way", str(stone), kind="tmpfs", flags=MS_NOSUID | MS_NODEV, data="mode=755")
        for folder, descriptor in opened:
            folder.mkdir(parents=True, exist_ok=True)
            bind(descriptor, folder)


def _is_passable(folder: Path, user: int) -> bool:
    found = folder.stat()
    return bool(found.st_mode & stat.S_IXOTH) or (found.st_uid == user and bool(found.st_mode & stat.S_IXUSR))


def _parts(qemu: Path | None) -> Iterable[tuple[Path, Path]]:
    """The places in /usr that another QEMU's tree covers, each with what covers it."""
    if qemu is None:
        return []
    pairs = [(Path("/usr") / part, qemu / "usr" / part) for part in QEMU_PARTS]
    return [(place, path) for place, path in pairs if place.exists() and path.exists()]


def _make_known(user: int) -> None:
    """Let the Pod's copy of the account files name its user; the node's own stay as they are."""
    for path, line in (
        (PASSWD, f"qemu:x:{user}:{user}::{HOME}:/usr/sbin/nologin"),
        (GROUP, f"qemu:x:{user}:"),
    ):
        lines = path.read_text(encoding="utf-8").splitlines()
        numbers = [words[2] for words in (one.split(":") for one in lines) if len(words) > 2]
        if str(user) not in numbers:
            own = POD.parent / path.name
            own.write_text("\n".join([*lines, line]) + "\n", encoding="utf-8")
            mount_at(str(own), str(path), flags=MS_BIND)


def bind(descriptor: int, place: Path) -> None:
    """Show an open file or folder at another place too."""
    mount_at(f"/proc/self/fd/{descriptor}", str(place), flags=MS_BIND | MS_REC)
    os.close(descriptor)


def mount_at(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount something, or change how it is mounted."""
    libc("mount", source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)


def libc(name: str, *args: object) -> None:
    """Call a function of the C library that answers 0 when it is done; raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)  # unshare and setns came to os with Python 3.12, mount never
    if getattr(library, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
