"""Work in another network namespace, for as long as a block lasts."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from nncp import libc
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def entered(path: str | Path) -> Iterator[None]:
    """Put this thread into the network namespace at `path` (`/run/netns/x`, `/proc/PID/ns/net`).

    Children forked inside stay in it. Other threads are not moved, so a caller has one.

    Raises:
        Error: there is no such namespace, or it may not be entered.

    """
    own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            target = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Error(
                f"network namespace {path} cannot be opened: {error.strerror}", kind=ErrorKind.FAILED
            ) from error
        try:
            _enter(target, str(path))
        finally:
            os.close(target)
        try:
            yield
        finally:
            _enter(own, "of before")
    finally:
        os.close(own)


def _enter(descriptor: int, what: str) -> None:
    try:
        libc.call("setns", descriptor, CLONE_NEWNET)
    except OSError as error:
        message = f"network namespace {what} cannot be entered: {os.strerror(error.errno or 0)}"
        raise Error(message, kind=ErrorKind.PRIVILEGE, hint="run it as root") from error
