"""One command in a lab kernel of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.lab.session import start

if TYPE_CHECKING:
    from collections.abc import Sequence


def once(
    argv: Sequence[str], *, memory: str = "3G", lifetime: float | None = None, terminal: bool | None = None
) -> int:
    """Run a command in a fresh lab kernel as if it ran here, and return its exit status.

    The folder it starts in is written through to the host; all else it writes is gone with the kernel.

    Args:
        argv: the command.
        memory: what the kernel may take.
        lifetime: seconds after which the kernel is ended.
        terminal: give the command a terminal of its own; when None, if this process has one.

    """
    here = Path.cwd()
    if terminal is None:
        terminal = os.isatty(0) and os.isatty(1)
    with start(memory=memory, lifetime=lifetime, writable=[] if here == Path("/") else [here]) as lab:
        return lab.run(argv, stdin=0, forward=True, terminal=terminal)


def enter(argv: Sequence[str] = (), *, memory: str = "3G") -> int:
    """Run the present command, or `argv`, in a lab kernel because this kernel cannot; return its status."""
    return once(argv or [sys.executable, *sys.orig_argv[1:]], memory=memory)
