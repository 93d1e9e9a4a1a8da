"""A program that applies rows in its network namespace, in one of the ways in which a library is called.

    python applies.py STATE_DIR SILENCE WAY STOPS

The rows: no IPv4 address and another MTU for eth1. With STOPS the one who writes stops itself after its
second write, so that whoever started this can look at it.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import deadly

import nncp
from nncp.errors import Error
from nncp.host import Row

if TYPE_CHECKING:
    from collections.abc import Callable

MANY = 5000


def main(state_dir: str, silence: str, way: str, stops: str) -> int:
    codes = multiprocessing.get_context("fork").SimpleQueue()

    def applied() -> None:
        codes.put(apply(Path(state_dir), float(silence), stops=bool(stops)))

    if way == "with 5,000 open descriptors":
        _open_many()
        applied()
    elif way == "in a thread":
        beside = threading.Event()
        threading.Thread(target=beside.wait, daemon=True).start()
        thread = threading.Thread(target=applied)
        thread.start()
        thread.join()
    elif way == "under multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=applied, daemon=True)
        process.start()
        process.join()
    else:
        applied()
    return int(codes.get()) if not codes.empty() else 1


def apply(state_dir: Path, silence: float, *, stops: bool) -> int:
    if stops:
        deadly.on_every_write(stopping(os.getpid(), after=2))
    rows = [row for row in nncp.snapshot() if row.key[:2] == ("address", "eth1")]
    want = [*(Row(row.key, absent=True) for row in rows), Row(("link", "eth1"), {"mtu": 1400})]
    try:
        nncp.apply_rows(want, state_dir=state_dir, silence=silence)
    except Error as error:
        print("; ".join(one.message for one in error), flush=True)
        return error.kind.exit_code
    return 0


def stopping(caller: int, *, after: int) -> Callable[[], None]:
    """Return what stops whoever else than `caller` writes."""
    done = [0]

    def counted() -> None:
        done[0] += os.getpid() != caller
        if done[0] == after:
            print(f"stopped {os.getpid()} of {caller}", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)

    return counted


def _open_many() -> None:
    """Hold descriptors that an exec(2) would hand on."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (MANY + 100, max(hard, MANY + 100)))
    null = os.open(os.devnull, os.O_RDONLY)
    for _ in range(MANY):
        os.set_inheritable(os.dup(null), True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
