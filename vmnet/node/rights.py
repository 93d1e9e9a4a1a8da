"""Giving up what a process may do: for good, for itself and for all that it starts."""

from __future__ import annotations

import errno
import os
import struct
from typing import TYPE_CHECKING

from nncp import libc

if TYPE_CHECKING:
    from collections.abc import Iterable

NET_ADMIN, NET_RAW = 12, 13
"""linux/capability.h, CAP_*."""
LAST = 63
PR_SET_KEEPCAPS, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 8, 24, 38  # linux/prctl.h
PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 47, 2
VERSION_3 = 0x20080522  # linux/capability.h, _LINUX_CAPABILITY_VERSION_3


def keep(capabilities: Iterable[int], *, user: int) -> None:
    """Become a user and its group, but keep these capabilities, for what is started too; raises OSError.

    Without any other, root still writes what is root's.
    """
    kept = set(capabilities)
    _give_up(set(range(LAST + 1)) - kept)
    _prctl(PR_SET_KEEPCAPS, 1)
    _change_to(user)
    mask = sum(1 << number for number in kept)
    low, high = mask & 0xFFFFFFFF, mask >> 32
    head = struct.pack("=Ii", VERSION_3, 0)
    libc.call("capset", head, struct.pack("=6I", low, low, low, high, high, high))
    for number in kept:
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, number)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def become(user: int) -> None:
    """Become a user and the group of the same number, without any capability; raises OSError."""
    _give_up(range(LAST + 1))
    _change_to(user)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)


def _change_to(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _give_up(capabilities: Iterable[int]) -> None:
    for number in capabilities:
        try:
            _prctl(PR_CAPBSET_DROP, number)
        except OSError as error:
            if error.errno != errno.EINVAL:  # this kernel does not know it
                raise


def _prctl(option: int, *values: int) -> None:
    libc.call("prctl", option, *(*values, 0, 0, 0)[:4])
