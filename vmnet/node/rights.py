"""Giving up what a process may do: for good, for itself and for all that it starts."""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

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
    for number in set(range(LAST + 1)) - kept:
        _prctl(PR_CAPBSET_DROP, number, is_needed=False)  # those that this kernel does not know fail
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    head = struct.pack("=Ii", VERSION_3, 0)
    if ctypes.CDLL(None, use_errno=True).capset(head, struct.pack("=6I", low, low, 0, high, high, 0)) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"capset: {os.strerror(code)}")
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def become(user: int) -> None:
    """Become a user and the group of the same number, without any capability; raises OSError."""
    for number in range(LAST + 1):
        _prctl(PR_CAPBSET_DROP, number, is_needed=False)
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int, *, is_needed: bool = True) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0 and is_needed:
        code = ctypes.get_errno()
        raise OSError(code, f"prctl: {os.strerror(code)}")
