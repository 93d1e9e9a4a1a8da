"""How a lab kernel is started: its command line, its CPU, and that it ends with whoever started it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.lab import cache

if TYPE_CHECKING:
    from collections.abc import Iterable

HERE = Path(__file__).parent
PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h


def command(kernel: Path, *, folder: Path, memory: str, name: str, channel: int) -> list[str]:
    """Return the command line of a lab kernel whose second console is the descriptor `channel`.

    Values are quoted for the kernel's own parser, so a path may have spaces in it.
    """
    return [
        str(kernel),
        f"mem={memory}",
        "seccomp=on",  # near native; without it each system call costs two ptrace stops
        "rootfstype=hostfs",
        "ro",
        f'init="{HERE / "init.sh"}"',
        f'LAB_PYTHON="{sys.executable}"',
        f'LAB_AGENT="{HERE / "agent.py"}"',
        f'LAB_NAME="{name}"',
        "bonding.max_bonds=0",  # no bond0 that nobody asked for
        "panic=-1",  # a kernel that panics ends, instead of waiting for a person
        f"uml_dir={folder}/",
        "umid=uml",
        "con=null",
        "con0=null,fd:1",
        f"con1=fd:{channel}",
        "ssl=null",
    ]


def start(
    kernel: Path, *, folder: Path, memory: str, name: str, channel: int, cpu: int
) -> subprocess.Popen[bytes]:
    """Start a lab kernel on one CPU; its messages go to `console.log` in `folder`.

    Pinned, because each system call hands over between two processes, and to wake another, idle CPU for
    that makes everything three to six times slower.
    """
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the line above
            os.kill(os.getpid(), signal.SIGKILL)
        os.sched_setaffinity(0, {cpu})

    with (folder / "console.log").open("wb") as console:
        return subprocess.Popen(
            command(kernel, folder=folder, memory=memory, name=name, channel=channel),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            pass_fds=[channel],
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509  the keeper has one thread
        )


def take_cpu() -> tuple[int, int | None]:
    """Choose a CPU: one that no other lab kernel is on, and of these the idlest.

    Returns:
        the CPU, and the descriptor that keeps it taken (None when every CPU has its lab kernel already).

    """
    locks = cache.folder("cpus")
    order = sorted(idle_time(os.sched_getaffinity(0)).items(), key=lambda item: -item[1])
    for cpu, _ in order:
        claim = cache.claim(locks / str(cpu))
        if claim is not None:
            return cpu, claim
    return order[0][0], None


def idle_time(cpus: Iterable[int], *, seconds: float = 0.03) -> dict[int, int]:
    """Return how long each CPU idled during a short look, in clock ticks."""
    wanted = set(cpus)
    before = _idle(wanted)
    time.sleep(seconds if len(wanted) > 1 else 0)
    return {cpu: ticks - before[cpu] for cpu, ticks in _idle(wanted).items()}


def _idle(cpus: set[int]) -> dict[int, int]:
    idle: dict[int, int] = {}
    for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
        word, *ticks = line.split()
        if word[:3] == "cpu" and word[3:].isdecimal() and int(word[3:]) in cpus:
            idle[int(word[3:])] = int(ticks[3]) + int(ticks[4])
    return idle
