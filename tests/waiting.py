"""Waiting for an event, with a limit behind it that follows the machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY = 0.05


def until(look: Callable[[], Any], *, seconds: float = 20.0, what: object = "") -> Any:
    """Return what `look` finds as soon as it is true; fail when it finds the same falsehood for too long.

    Args:
        look: called again and again; another false answer than before counts as progress.
        seconds: of a quiet machine, since the last progress.
        what: said when it never comes, beside the last answer; when it is a function, what that returns.

    """
    limit = Limit(seconds, in_all=10 * seconds)
    while not (found := look()):
        limit.sees(found)
        if limit.is_over():
            told = what() if callable(what) else what
            raise AssertionError(f"still {found!r} {limit.story}: {told or look}")
        time.sleep(LOOK_EVERY)
    return found


def is_gone(pid: int | str) -> bool:
    """Whether a process has ended; process 1 may take its time to hear of an orphan's end."""
    try:
        return " Z " in Path("/proc", str(pid), "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return True
