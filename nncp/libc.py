"""What Python has no function for: calls of the C library that answer 0 when they are done."""

from __future__ import annotations

import ctypes
import os

MNT_DETACH = 2  # sys/mount.h


def call(name: str, *args: object) -> None:
    """Call a function of the C library; raises OSError, which names it."""
    library = ctypes.CDLL(None, use_errno=True)  # unshare and setns came to os with Python 3.12, mount never
    if getattr(library, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
