"""Sysctls of the network namespace: /proc/sys/net is the namespace of whoever opens it.

A container's own /proc/sys cannot be written, so BRIDGEHEAD_SYSCTLS may name another folder that holds `net`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from nncp.errors import Error, ErrorKind

ROOT = Path(os.environ.get("BRIDGEHEAD_SYSCTLS") or "/proc/sys")


def _file(path: str) -> Path:
    """Return the file of a sysctl of the network namespace; no other file is ever touched.

    Raises:
        Error: the path leads anywhere else.

    """
    parts = path.split("/")
    if parts[0] != "net" or not {"", ".", ".."}.isdisjoint(parts):
        raise Error(f"{path} is no sysctl of a network namespace", kind=ErrorKind.UNSUPPORTED)
    return ROOT / path


def read(path: str) -> str | None:
    """Return the value of a sysctl such as `net/ipv4/ip_forward`, or None where the kernel has none."""
    try:
        return " ".join(_file(path).read_text(errors="backslashreplace").split())
    except (FileNotFoundError, NotADirectoryError):
        return None


def values(folder: str) -> dict[str, str]:
    """Return the values of the sysctls in a folder that may be written, by name and sorted by it."""
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for file in sorted(_file(folder).iterdir()):
            with contextlib.suppress(OSError):  # one that cannot be read has not been set (stable_secret)
                if file.stat().st_mode & stat.S_IWUSR:
                    found[file.name] = " ".join(file.read_text(errors="backslashreplace").split())
    return found


def write(path: str, value: str) -> None:
    """Set a sysctl. IPv6 is off already where there is none to switch off.

    Raises:
        Error: this kernel has no such sysctl, or it refuses the value.

    """
    try:
        _file(path).write_text(value + "\n")
    except FileNotFoundError as error:
        if path.startswith("net/ipv6/conf/") and path.endswith("/disable_ipv6") and value == "1":
            return
        raise Error(f"this kernel has no sysctl {path}", kind=ErrorKind.UNSUPPORTED) from error
    except OSError as error:
        raise Error(
            f"sysctl {path} could not be set to {value}: {error.strerror}", kind=ErrorKind.FAILED
        ) from error
