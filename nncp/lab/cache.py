"""Where what is dear to make is kept, and how two that want to make it wait for each other."""

from __future__ import annotations

import fcntl
import os
import pwd
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def folder(*names: str) -> Path:
    """Return a folder of the cache, made when it is not there.

    The cache is `~/.cache/bridgehead`, or what BRIDGEHEAD_CACHE says.
    """
    home = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir  # an empty one is none
    root = Path(os.environ.get("BRIDGEHEAD_CACHE") or Path(home, ".cache", "bridgehead"))
    path = root.joinpath(*names).absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file `path`; call `waiting` once when somebody else holds it.

    The kernel drops the lock with its holder, however that ends: there is no stale lock.
    """
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def claim(path: Path) -> int | None:
    """Return a descriptor that holds the lock file `path` until it is closed, or None when it is taken."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


def boot_id() -> str:
    """Return what names this boot of this kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
