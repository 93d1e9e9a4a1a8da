"""The network namespace of a Pod that we make: known again by more than its name, and no other is touched.

Anybody may make or delete a namespace of any name at any time. Ours has a cookie (SO_NETNS_COOKIE), which the
kernel gives to no other of this boot; it is written down before the namespace has a name, so that whoever was
killed in between has left either nothing or what is known to be ours.
"""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import nncp
from nncp import libc, netns
from nncp.errors import Error, ErrorKind
from nncp.journal import namespace_key

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

NAMES = Path("/run/netns")
"""Where ip-netns(8) keeps the names."""
FALLBACK = frozenset(
    {"erspan0", "gre0", "gretap0", "ip6_vti0", "ip6gre0", "ip6tnl0", "ip_vti0", "sit0", "tunl0"}
)
"""Tunnels that the kernel puts into each new namespace (sysctl/net.rst, fb_tunnels_only_for_init_net)."""


class Fresh:
    """A namespace without a name: it goes with the process that holds it. `key` is what it is known by."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.key = _key(f"/proc/{pid}/ns/net")

    def name(self, path: Path) -> None:
        """Give it a name.

        Raises:
            Error: the name is taken, or cannot be given.

        """
        argv = ["ip", "netns", "attach", path.name, str(self._pid)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode:
            message = f"network namespace {path.name} could not be named: {done.stderr.strip()}"
            raise Error(message, kind=ErrorKind.FAILED)


@contextlib.contextmanager
def fresh() -> Iterator[Fresh]:
    """Make a namespace that nobody else can find; without a name it is gone after the block."""
    pipe = subprocess.PIPE
    with subprocess.Popen(["unshare", "--net", "cat"], stdin=pipe, stdout=pipe, stderr=pipe) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert holder.stderr is not None
        try:
            with contextlib.suppress(BrokenPipeError):
                holder.stdin.write(b"\n")
                holder.stdin.flush()
            if not holder.stdout.read(1):  # cat speaks once it is in its namespace
                why = holder.stderr.read().decode(errors="replace").strip()
                kind = ErrorKind.FAILED if os.geteuid() == 0 else ErrorKind.PRIVILEGE
                hint = "" if os.geteuid() == 0 else "run it as root"
                raise Error(f"a network namespace could not be made: {why}", kind=kind, hint=hint)
            yield Fresh(holder.pid)
        finally:
            holder.kill()


def _key(path: str | Path) -> str:
    with netns.entered(path):
        return namespace_key()


def is_there(path: Path, key: str) -> bool:
    """Whether the namespace of this name is the one that is known by `key`."""
    if not key or not _is_namespace(path):
        return False
    try:
        return _key(path) == key
    except Error:
        if os.geteuid() == 0:  # a namespace of another kind has been put there
            return False
        raise


def _is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`: all of them live on one file system of the kernel's own."""
    try:
        return path.lstat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except FileNotFoundError:
        return False


def clear(path: Path, *, begun: bool) -> None:
    """Make sure that the name is free.

    Args:
        path: the name.
        begun: whether we have begun to give this name before: the empty file that a killed ip-netns(8)
            leaves is ours then.

    Raises:
        Error: somebody else has it.

    """
    if begun:
        _unlink_empty(path)
    if not os.path.lexists(path):
        return
    what = "network namespace" if _is_namespace(path) else "file"
    raise Error(
        f"{path} is a {what} that vmnet did not make",
        kind=ErrorKind.USAGE,
        hint=f"give the Pod another name; or, if nobody needs it, {_removal(path)}",
    )


def _removal(path: Path) -> str:
    return f"ip netns delete {path.name}" if _is_namespace(path) else f"rm {path}"


def _unlink_empty(path: Path) -> None:
    """Remove a plain empty file; the kernel keeps one that something is mounted on (EBUSY)."""
    with contextlib.suppress(OSError):
        found = path.lstat()
        if stat.S_ISREG(found.st_mode) and not found.st_size and not _is_namespace(path):
            path.unlink()


def is_taken(path: Path) -> bool:
    """Whether any namespace has this name."""
    return _is_namespace(path)


def strangers(path: Path, ours: Collection[str]) -> list[str]:
    """Return the links of a namespace that are not in `ours`, each with its type."""
    with netns.entered(path):
        links = nncp.snapshot().table("link")
    known = {"lo", *FALLBACK, *ours}
    return [f"{link.name} ({link.attrs['type']})" for link in links if link.name not in known]


def remove(path: Path, key: str) -> None:
    """Take the name off the namespace that is known by `key`; a namespace goes with what last holds it.

    Somebody may put another in its place at any moment, so what is unmounted is what was looked at, by its
    descriptor, and the kernel does not remove a file that something is mounted on.
    """
    if not is_there(path, key):
        _unlink_empty(path)
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    held = f"/proc/self/fd/{descriptor}"
    try:
        if _key(held) == key:
            _unmount(held, path)
    finally:
        os.close(descriptor)
    _unlink_empty(path)


def _unmount(held: str, path: Path) -> None:
    try:
        libc.call("umount2", held.encode(), libc.MNT_DETACH)
    except OSError as error:
        message = f"network namespace {path.name} could not be removed: {os.strerror(error.errno or 0)}"
        raise Error(message, kind=ErrorKind.FAILED) from error
