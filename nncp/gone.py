"""Journals of namespaces that are gone are removed, once in a while."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.applied import FOLDER, HOST, NAMESPACE, AppliedFile
from nncp.errors import Error
from nncp.journal import boot_id
from nncp.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.journal import Journal

SWEEP_EVERY = 24 * 3600.0
"""Seconds between two looks for journals whose namespace is gone, and the least age of what is removed."""
STAMP = "swept"


def sweep(journal: Journal, *, every: float = SWEEP_EVERY) -> None:
    """Remove the journals of namespaces that are gone, once in a while; see `_remove_if_gone`."""
    with (
        contextlib.suppress(OSError, Error),
        StateFolder.make(journal.state_dir, "journals") as folder,
    ):
        if _is_due(folder, every):
            others = [name for name in folder.names() if name not in {journal.key, STAMP}]
            in_use = _namespaces() if others else set()
            for name in others:
                _remove_if_gone(folder, name, in_use, least_age=every)
            for file in orphans(journal):
                if file.gone_for() > every:
                    file.remove()


def orphans(journal: Journal) -> list[AppliedFile]:
    """Return the documents of network namespaces that are gone, those that changed last first.

    Whoever makes a namespace anew, as a start makes the host's, may bring them back in it.
    """
    state_dir, own = journal.state_dir, journal.applied().scope
    folder = StateFolder.find(state_dir, FOLDER)
    if folder is None:
        return []
    with folder:
        names = [name for name in folder.names() if name not in {HOST, own}]
    # The kernel gives a namespace's number to the next one (proc_alloc_inum): ours was another's then.
    in_use = _namespaces() - {str(NAMESPACE.readlink())} if names else set()
    found = [AppliedFile(state_dir, journal.key, name) for name in names]
    of_gone = [file for file in found if file.namespace and file.namespace not in in_use]
    return sorted(of_gone, key=lambda file: file.changed, reverse=True)


def _is_due(folder: StateFolder, every: float) -> bool:
    """Whether the last look was long ago; from now on it is this one."""
    stamp = folder.open(STAMP, os.O_RDWR | os.O_CREAT)
    try:
        if os.fstat(stamp).st_size and time.time() - os.fstat(stamp).st_mtime < every:
            return False
        os.pwrite(stamp, b"swept\n", 0)
        os.utime(stamp)
        return True
    finally:
        os.close(stamp)


def _remove_if_gone(folder: StateFolder, name: str, in_use: set[str], *, least_age: float) -> None:
    """Remove one journal whose namespace is gone, and which nobody has locked.

    Gone is the namespace of another boot, and one of this boot that no process, mount or descriptor holds. A
    pending one of another boot may be of a kernel that shares this file system: its age speaks for it.
    """
    with contextlib.suppress(OSError):
        lock = os.open(f"{name}/lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder.descriptor)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            namespace = os.pread(lock, 200, 0).decode(errors="replace")
            of_this_boot = name.startswith(boot_id())
            young = time.time() - os.fstat(lock).st_mtime < least_age
            if young or (of_this_boot and (not namespace or namespace in in_use)):
                return
            import shutil  # noqa: PLC0415  (seldom)

            shutil.rmtree(name, dir_fd=folder.descriptor)
        finally:
            os.close(lock)


def _namespaces() -> set[str]:
    """Return the network namespaces that anybody holds, as `net:[4026531840]` (namespaces(7))."""
    found: set[str] = set()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            found.update(_held_by(process))
    return found


def _held_by(process: Path) -> Iterator[str]:
    links = [process / "ns/net", *(task / "ns/net" for task in _listed(process / "task"))]
    for link in (*links, *_listed(process / "fd")):
        with contextlib.suppress(OSError):
            target = str(link.readlink())
            if target.startswith("net:["):
                yield target
    with contextlib.suppress(OSError):
        for line in (process / "mountinfo").read_text(errors="replace").splitlines():
            yield from (word for word in line.split()[3:4] if word.startswith("net:["))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
