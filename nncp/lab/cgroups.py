"""Control groups of the lab's machines, in whichever hierarchies this kernel has them.

A machine that runs a kubelet needs a root of its own, in which it hands out what Pods may take. That is a
cgroup namespace over a group of ours: version 2 alone (cgroups(7)), or the hierarchies of version 1 with it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path("/sys/fs/cgroup")
LEAF = "init"
"""Where a machine's own processes are: a group of version 2 that hands controllers down holds none itself."""
NEEDED = ("cpu", "memory", "pids")
"""Controllers that a kubelet does not start without."""
# Whatever the machine's own root can hand to its Pods.
HAND_DOWN = (
    "for name in $(cat {0}/cgroup.controllers); do echo +$name > {0}/cgroup.subtree_control || :; done"
)
GONE_S = 10.0  # of a quiet machine: for the last process of a group to be reaped
# What the kernel shows of a hierarchy of version 1 beside its controllers (kernel/cgroup/cgroup-v1.c).
FLAGS = ("rw", "ro", "xattr", "clone_children", "cpuset_v2_mode", "favordynmods", "noprefix")


class Hierarchy(Struct, frozen=True):
    """One hierarchy that is mounted here."""

    path: Path
    options: str
    """What mounts it again, of version 1: its controllers, or its name. Empty for version 2."""

    @property
    def is_unified(self) -> bool:
        """Whether it is the one of version 2."""
        return not self.options


def hierarchies(mounts: str | None = None) -> list[Hierarchy]:
    """Return what is mounted below /sys/fs/cgroup, from the text of /proc/self/mountinfo (proc(5))."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8") if mounts is None else mounts
    found = {}
    for line in text.splitlines():
        left, _, right = line.partition(" - ")
        path, (kind, _, options) = Path(left.split()[4]), right.split(" ", 2)
        if kind in {"cgroup", "cgroup2"} and path.is_relative_to(ROOT):
            found[path] = Hierarchy(path, _options(options) if kind == "cgroup" else "")
    return list(found.values())


def _options(shown: str) -> str:
    kept = [word for word in shown.split(",") if word not in FLAGS and not word.startswith("release_agent=")]
    return ",".join(["none", *kept] if any(word.startswith("name=") for word in kept) else kept)


def mounts(found: Sequence[Hierarchy]) -> str:
    """Return the shell lines that mount hierarchies again, as a new cgroup namespace sees them."""
    lines = [] if any(each.path == ROOT for each in found) else [f"mount -t tmpfs -o mode=755 cgroup {ROOT}"]
    for each in found:
        lines.append(f"mkdir -p {each.path}")
        if each.is_unified:
            lines += [f"mount -t cgroup2 cgroup {each.path}", HAND_DOWN.format(each.path)]
        else:
            lines.append(f"mount -t cgroup -o {each.options} cgroup {each.path}")
    return "\n".join(lines)


class Group(Struct, frozen=True):
    """A group of ours, by name, in every hierarchy."""

    name: str

    @property
    def folders(self) -> list[Path]:
        """The group in each hierarchy."""
        return [hierarchy.path / self.name for hierarchy in hierarchies()]

    def make(self) -> None:
        """Make it, with what its processes need before they may join."""
        for hierarchy in hierarchies():
            folder = hierarchy.path / self.name
            if hierarchy.is_unified:
                _hand_down(hierarchy.path)
            folder.mkdir(exist_ok=True)
            if hierarchy.is_unified:
                (folder / LEAF).mkdir(exist_ok=True)
            for knob in ("cpuset.cpus", "cpuset.mems"):  # empty ones of version 1 take no process
                if not hierarchy.is_unified and (folder / knob).exists():
                    (folder / knob).write_bytes((hierarchy.path / knob).read_bytes())

    @property
    def leaf(self) -> Path:
        """Where a process goes on to in version 2, from a namespace whose root the group is."""
        unified = (each.path for each in hierarchies() if each.is_unified)
        return next(unified, Path("/none")) / self.name / LEAF / "cgroup.procs"

    def roots(self) -> list[Path]:
        """Return the files that a process writes 0 to, to make a namespace whose root the group is."""
        return [folder / "cgroup.procs" for folder in self.folders]

    def members(self) -> list[Path]:
        """Return the files that a process writes 0 to, to be one of the machine's own."""
        found = hierarchies()
        return [each.path / self.name / (LEAF if each.is_unified else "") / "cgroup.procs" for each in found]

    def remove(self) -> None:
        """Remove it, as soon as its processes are gone; what is gone already is gone."""
        limit = Limit(GONE_S)
        while left := [folder for folder in self.folders if not _removed(folder)]:
            if limit.is_over():
                return  # the next of this name finds them
            limit.sees(left)
            time.sleep(0.02)


def _hand_down(root: Path) -> None:
    """Have the groups below the root of version 2 get the controllers that a kubelet needs."""
    knob = root / "cgroup.subtree_control"
    if not knob.exists():  # seen from inside of a group that holds processes
        return
    on, there = (
        knob.read_text(encoding="ascii").split(),
        (root / "cgroup.controllers").read_text("ascii").split(),
    )
    for name in NEEDED:
        if name in there and name not in on:
            with contextlib.suppress(OSError):  # the kubelet says so then
                knob.write_text(f"+{name}", encoding="ascii")


def _removed(folder: Path) -> bool:
    """Remove a group and what is in it, as far as that is empty; return whether it is gone."""
    for path in _deepest_first(folder):
        with contextlib.suppress(OSError):
            path.rmdir()
    return not folder.exists()


def _deepest_first(folder: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)


def left(prefix: str) -> list[Group]:
    """Return the groups whose names begin with `prefix`."""
    names = {path.name for each in hierarchies() for path in each.path.glob(f"{prefix}*") if path.is_dir()}
    return [Group(name) for name in sorted(names)]
