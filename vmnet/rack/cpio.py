"""cpio archives in the "new ASCII" format, as the kernel unpacks them into its first root.

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
"""

from __future__ import annotations

import stat
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def archive(entries: Mapping[str, tuple[int, bytes]]) -> bytes:
    """Return an archive of `entries`: path -> (mode with file type, content); parents before children."""
    numbers = count(1)
    parts = [_entry(next(numbers), path, mode, data) for path, (mode, data) in entries.items()]
    return b"".join([*parts, _entry(0, "TRAILER!!!", 0, b"")])


def folder() -> tuple[int, bytes]:
    """Return what stands for a directory."""
    return stat.S_IFDIR | 0o755, b""


def link(target: str) -> tuple[int, bytes]:
    """Return what stands for a symbolic link."""
    return stat.S_IFLNK | 0o777, target.encode()


def file(data: bytes, *, mode: int = 0o755) -> tuple[int, bytes]:
    """Return what stands for a regular file."""
    return stat.S_IFREG | mode, data


def _entry(number: int, path: str, mode: int, data: bytes) -> bytes:
    name = path.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, 4 device numbers, length of the name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
