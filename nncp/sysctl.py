"""Sysctls of the network namespace: /proc/sys/net is the namespace of whoever opens it."""

from __future__ import annotations

from pathlib import Path

from nncp.errors import Error, ErrorKind

ROOT = Path("/proc/sys")


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
