"""What is written down in a Pod, which a guest has a say in: never without an end, and never worth a guest.

The folder lies in memory that all Pods of a node share.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

LOG_MOST, CONSOLE_MOST = 4 << 20, 1 << 20
"""Bytes. What is older goes to a second file of the name, and then away."""


class Log:
    """A file of lines; what there is no room for is lost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: TextIO | None = None

    def write(self, line: str) -> None:
        """Write a line."""
        with contextlib.suppress(OSError):
            if self._file is None or self._file.tell() + len(line) > LOG_MOST:
                self._begin()
            assert self._file is not None
            self._file.write(line + "\n")

    def _begin(self) -> None:
        if self._file is not None:
            self._file.close()
            self._path.replace(older(self._path))
        self._file = self._path.open("a", buffering=1, encoding="utf-8")


def older(path: Path) -> Path:
    """Return where the older part of a file is."""
    return path.with_name(f"{path.name}.old")


def shorten(path: Path, most: int = CONSOLE_MOST) -> None:
    """Move away what a file that others append to holds, when it is more than so many bytes."""
    with contextlib.suppress(OSError):
        if path.stat().st_size <= most:
            return
        with path.open("rb") as file:
            file.seek(-most, os.SEEK_END)
            older(path).write_bytes(file.read(most))
        os.truncate(path, 0)
