"""Giving up what a process may do: for good, for itself and for all that it starts."""

from __future__ import annotations

import contextlib
import os
import struct
from typing import TYPE_CHECKING

from nncp import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

NET_ADMIN, NET_RAW = 12, 13
"""linux/capability.h, CAP_*."""
LAST = 63
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38  # linux/prctl.h
VERSION_3 = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3


def keep(capabilities: Iterable[int]) -> None:
    """Keep these capabilities of the user root and no other; raises OSError."""
    kept = set(capabilities)
    _give_up(set(range(LAST + 1)) - kept)
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    head = struct.pack("=Ii", VERSION_3, 0)
    libc.call("capset", head, struct.pack("=6I", low, low, 0, high, high, 0))
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def become(user: int) -> None:
    """Become a user and the group of the same number, without any capability; raises OSError."""
    _give_up(range(LAST + 1))
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _give_up(capabilities: Iterable[int]) -> None:
    for number in capabilities:
        with contextlib.suppress(OSError):  # this kernel does not know it
            _prctl(PR_CAPBSET_DROP, number)


def _prctl(option: int, value: int) -> None:
    libc.call("prctl", option, value, 0, 0, 0)
