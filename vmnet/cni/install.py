"""Our bridge plugin as an executable in the folder where container runtimes look for plugins."""

from __future__ import annotations

import os
import shlex
import sys
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from vmnet.cni.conf import OURS

if TYPE_CHECKING:
    from pathlib import Path

MARK = "# Bridgehead's bridge plugin: vmnet cni install"


def install(folder: Path) -> Path:
    """Write the executable, whole or not at all, and return its path.

    Its name is `cnv-bridge`, never `bridge`: the reference plugin of that name is other networks'.

    Raises:
        Error: a file that is not ours has the name, or the folder cannot be written.

    """
    path = folder / OURS[0]
    try:
        if (path.exists() or path.is_symlink()) and not _is_ours(path):
            hint = "move it away, or name another folder with --dir"
            raise Error(f"{path} is not ours to replace", kind=ErrorKind.FAILED, hint=hint)
        folder.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        fresh.write_text(script(), encoding="utf-8")
        fresh.chmod(0o755)
        fresh.replace(path)
    except OSError as error:
        kind = ErrorKind.PRIVILEGE if isinstance(error, PermissionError) else ErrorKind.FAILED
        raise Error(f"{path} cannot be written: {error.strerror}", kind=kind) from None
    return path


def script() -> str:
    """Return the executable: this Python, with nothing of the caller's folder in its path."""
    return f'#!/bin/sh\n{MARK}\nexec {shlex.quote(sys.executable)} -P -m vmnet.cni "$@"\n'


def _is_ours(path: Path) -> bool:
    return not path.is_symlink() and path.is_file() and MARK in path.read_text(errors="replace")
