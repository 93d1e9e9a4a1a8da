"""The files behind a guest's disks, as a node sees them before a Pod is entered."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.guest import BOOT, CLAIMS, IMAGES, SPEC
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.guest import Disk, Guest
    from nncp.document.source import Node, Step

F_OFD_GETLK = 36  # linux/fcntl.h; Python has no name for it
QEMU_LOCKS_FROM, QEMU_LOCKS = 100, 200
"""QEMU locks single bytes of an image, from 100 for what it does and from 200 for what it forbids
(block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE)."""


def on_node(file: str, *, claims: Path, images: Path) -> Path:
    """Return where the node has a file that the Pod sees under CLAIMS or IMAGES."""
    for prefix, folder in ((CLAIMS, claims), (IMAGES, images)):
        if file.startswith(f"{prefix}/"):
            return folder / file.removeprefix(f"{prefix}/")
    return Path(file)


def missing(guest: Guest, node: Node, *, claims: Path, images: Path) -> Iterator[Error]:
    """Yield an error for each file that the guest needs and that is not there, or leads out of its folder."""
    for disk in _claimed(guest):
        path = on_node(disk.file, claims=claims, images=images)
        where = _source(node, disk)
        if not path.exists():
            message = f"the disk of {disk.name} is not there: claim {disk.claim} has no {path.name}"
            hint = f"looked for {path}; --claims says where claims are"
            yield node.error(message, *where, subject=disk.name, hint=hint)
        elif why := unfit(path, folder=claims / disk.claim):
            message = f"the disk of {disk.name} {why}"
            yield node.error(message, *where, subject=disk.name, hint=f"looked at {path}")
    if guest.kernel is None:
        return
    for key, file in (("kernelPath", guest.kernel.file), ("initrdPath", guest.kernel.initrd)):
        path = on_node(file, claims=claims, images=images)
        if file and not path.exists():
            hint = f"looked for {path}; --images says where images are"
            yield node.error(f"{path.name} is not in the image", *BOOT, "container", key, hint=hint)
        elif file and (why := unfit(path, folder=images / guest.kernel.image)):
            yield node.error(f"{path.name} {why}", *BOOT, "container", key, hint=f"looked at {path}")


def unfit(path: Path, *, folder: Path) -> str:
    """Return why a file is not one to give to a guest, or "".

    A symbolic link may lead to another place in the folder. It is read by the node's root before the Pod is
    entered, so one that leads out would show a guest any file of the node.
    """
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        return f"leads out of {folder} by a symbolic link"
    if not (path.is_file() or path.is_block_device()):
        return "is not a file"
    return ""


def unshared(guest: Guest, node: Node, *, claims: Path, images: Path) -> Iterator[Error]:
    """Yield an error for each disk that the source's QEMU does not hold.

    A running QEMU locks its image. Seeing that lock from here proves that it is the same file, which no look
    at mount tables could; two QEMUs on two copies would each be right by themselves.
    """
    for disk in _claimed(guest):
        path = on_node(disk.file, claims=claims, images=images)
        if not is_held(path):
            message = f"the disk of {disk.name} is not the source's: nobody holds {path}"
            hint = "live migration needs the same file on both nodes (ReadWriteMany), and the guest running"
            yield node.error(message, *_source(node, disk), subject=disk.name, hint=hint)


def unwritable(guest: Guest, node: Node, *, claims: Path, user: int) -> Iterator[Error]:
    """Yield an error for each disk that the Pod's user may not write to: none is given to it unasked."""
    for disk in _claimed(guest):
        path = claims / disk.file.removeprefix(f"{CLAIMS}/")
        if not _opens_for(path, user):
            found = path.stat()
            message = (
                f"the disk of {disk.name} cannot be written by user {user}, which QEMU runs as: it is "
                f"{found.st_uid}:{found.st_gid}'s, mode {stat.S_IMODE(found.st_mode):04o}"
            )
            hint = f"chown {user}:{user} {path}"
            yield node.error(message, *_source(node, disk), subject=disk.name, hint=hint)


def _opens_for(path: Path, user: int) -> bool:
    """Whether a user may write to a file, whatever is shut to it on the way to the folder."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.setgroups([])
                os.setresgid(user, user, user)
                os.setresuid(user, user, user)
                os.open(path.name, os.O_RDWR | os.O_CLOEXEC, dir_fd=folder)
                code = 0
            finally:
                os._exit(code)
        return os.waitpid(child, 0)[1] == 0
    finally:
        os.close(folder)


def shown(guest: Guest, *, claims: Path, images: Path) -> Iterator[tuple[Path, Path, bool]]:
    """Yield the folders of the node that the guest needs, each after the place where its Pod sees it.

    Its own claims and its own image, and nobody else's; and whether it writes there.
    """
    for claim in dict.fromkeys(disk.claim for disk in _claimed(guest)):
        yield Path(CLAIMS, claim), (claims / claim).resolve(), True
    if guest.kernel is not None:
        yield Path(IMAGES, guest.kernel.image), (images / guest.kernel.image).resolve(), False


def caches(guest: Guest, *, claims: Path, images: Path) -> dict[str, str]:
    """Return each claimed disk's cache mode: what the manifest says, else `none` where that can be done.

    As KubeVirt decides: `none` is safe under migration, and `writethrough` is the next best without O_DIRECT.
    """
    found = {}
    for disk in _claimed(guest):
        path = on_node(disk.file, claims=claims, images=images)
        found[disk.name] = disk.cache or ("none" if _opens_directly(path) else "writethrough")
    return found


def is_held(path: Path) -> bool:
    """Whether another process holds one of QEMU's locks on an image."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise Error(f"{path} cannot be opened: {error.strerror}", kind=ErrorKind.FAILED) from None
    try:
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, QEMU_LOCKS_FROM, QEMU_LOCKS, 0)
        answer = fcntl.fcntl(descriptor, F_OFD_GETLK, wanted)
        return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)
    finally:
        os.close(descriptor)


def _claimed(guest: Guest) -> Iterator[Disk]:
    return (disk for disk in guest.disks if not disk.is_seed)


def _source(node: Node, disk: Disk) -> tuple[Step, ...]:
    """Where the manifest names the claim."""
    volume = node.value["spec"]["template"]["spec"]["volumes"][disk.volume]
    kind, key = (
        ("persistentVolumeClaim", "claimName")
        if "persistentVolumeClaim" in volume
        else ("dataVolume", "name")
    )
    return (*SPEC, "volumes", disk.volume, kind, key)


def _opens_directly(path: Path) -> bool:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC))
    except OSError:
        return False
    return True
