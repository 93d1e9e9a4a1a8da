"""Asking probes, and what is there to be asked."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.pace import slowness
from nncp.probes import Probes, parsed

if TYPE_CHECKING:
    from collections.abc import Callable


HOST = (
    "addr add 192.0.2.66/24 dev eth1", "addr add 2001:db8::66/64 dev eth1", "addr add 198.51.100.66/24 dev eth2",
)  # fmt: skip
BEYOND = (
    "addr add 192.0.2.1/24 dev sw1", "addr add 192.0.2.9/24 dev sw1", "addr add 2001:db8::1/64 dev sw1",
    "addr add fe80::1/64 dev sw1", "addr add 198.51.100.1/24 dev sw2",
)  # fmt: skip
DEFAULT4, DEFAULT6 = "route add default via 192.0.2.1", "route add default via fe80::1 dev eth1"
SHORT = 0.5
"""Seconds of a quiet machine for what is waited for in vain."""


def children() -> list[str]:
    """Return what this process has for children, dead ones as well."""
    stats = [path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [stat for stat in stats if stat.rpartition(")")[2].split()[1] == str(os.getpid())]


def probes(*texts: str, limit: float = SHORT) -> Probes:
    return Probes(parsed(texts), limit * pace())


@cache
def pace() -> float:
    """Return how many times as long as a quiet machine this one takes, with room for more of it."""
    return 2 * slowness()


def before(asked: Probes) -> dict[str, str]:
    """Return what is left out, and why."""
    return {one.probe.text: one.why for one in asked.before()}


def after(asked: Probes, pulse: Callable[[], None] = lambda: None) -> list[str]:
    """Return what is told of each probe that failed."""
    try:
        asked.after(pulse)
    except Error as error:
        return [_checked(one).message for one in error.others]
    return []


def _checked(error: Error) -> Error:
    assert error.kind is ErrorKind.FAILED
    assert error.hint
    return error


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())
