"""Control groups of the lab's machines, in whichever hierarchies this kernel has them.

A machine that runs a kubelet needs a root of its own, in which it hands out what Pods may take. That is a
cgroup namespace over a group of ours: version 2 alone (cgroups(7)), or the hierarchies of version 1 with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT = Path("/sys/fs/cgroup")
OURS = "bridgehead-"
"""What the names of all groups of ours begin with."""
LEAF = "init"
"""Where a machine's own processes are: a group of version 2 that hands controllers down holds none itself."""
NEEDED = ("cpu", "memory", "pids")
"""Controllers that a kubelet does not start without."""
HANDED = Path("/run/bridgehead/controllers")
"""Which of them groups below the root of version 2 did not have before any of ours: they go with the last."""
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

    def controllers(self) -> list[str]:
        """Return which controllers its groups can have."""
        if self.is_unified:
            return (self.path / "cgroup.controllers").read_text(encoding="ascii").split()
        return self.options.split(",")


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
            if each.path.name == each.options and "," in each.options:  # each is known by its own name too
                lines += [f"ln -s {each.options} {ROOT}/{name}" for name in each.options.split(",")]
    return "\n".join(lines)


class Group(Struct, frozen=True):
    """A group of ours, by name, in every hierarchy."""

    name: str

    @property
    def folders(self) -> list[Path]:
        """The group in each hierarchy."""
        return [hierarchy.path / self.name for hierarchy in hierarchies()]

    def make(self) -> None:
        """Make it, with what its processes need before they may join; what was left of the name goes first.

        Raises:
            Error: there are no control groups here, or they lack what a kubelet needs.

        """
        self.remove()
        found = hierarchies()
        try:
            for hierarchy in found:
                _make(hierarchy, self.name)
            lacking = [name for name in NEEDED if not any(_has(each, self.name, name) for each in found)]
        except OSError as error:
            lacking = [f"write access ({error.strerror})"]
        if lacking:
            self.remove()
            raise Error(
                f"this machine's control groups lack {', '.join(lacking)}",
                kind=ErrorKind.UNSUPPORTED,
                hint="a kubelet needs them; a lab kernel has its own",
            )

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
        """Kill what is in it, and remove it; what is gone already is gone.

        Raises:
            Error: something in it does not end.

        """
        limit = Limit(GONE_S)
        while left := [folder for folder in self.folders if not _removed(folder)]:
            limit.sees(left)
            if limit.is_over():
                told = f"control group {left[0]} was not empty {limit.story}"
                raise Error(told, kind=ErrorKind.FAILED, hint="its processes were killed and have not ended")
            for pid in {pid for folder in left for pid in _pids(folder)}:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        _hand_back()


def left(prefix: str) -> list[Group]:
    """Return the groups whose names begin with `prefix`."""
    names = {path.name for each in hierarchies() for path in each.path.glob(f"{prefix}*") if path.is_dir()}
    return [Group(name) for name in sorted(names)]


def _make(hierarchy: Hierarchy, name: str) -> None:
    folder = hierarchy.path / name
    if hierarchy.is_unified:
        _hand_down(hierarchy)
        (folder / LEAF).mkdir(parents=True, exist_ok=True)
        return
    folder.mkdir(exist_ok=True)
    for knob in ("cpuset.cpus", "cpuset.mems"):  # empty ones take no process
        if (folder / knob).exists():
            (folder / knob).write_bytes((hierarchy.path / knob).read_bytes())


def _has(hierarchy: Hierarchy, name: str, controller: str) -> bool:
    """Whether a group has a controller, in a hierarchy."""
    return controller in Hierarchy(hierarchy.path / name, hierarchy.options).controllers()


def _hand_down(hierarchy: Hierarchy) -> None:
    """Have the groups below the root of version 2 get the controllers that a kubelet needs."""
    knob = hierarchy.path / "cgroup.subtree_control"
    on = knob.read_text(encoding="ascii").split()
    new = [name for name in NEEDED if name in hierarchy.controllers() and name not in on]
    for name in new:
        with contextlib.suppress(OSError):  # `make` looks at what came of it
            knob.write_text(f"+{name}", encoding="ascii")
    if new:
        HANDED.parent.mkdir(parents=True, exist_ok=True)
        with HANDED.open("a", encoding="ascii") as file:
            file.write("".join(f"{name}\n" for name in new))


def _hand_back() -> None:
    """Leave the root of version 2 as it was before the first group of ours, once there is none."""
    if not HANDED.exists() or left(OURS):
        return
    for hierarchy in (each for each in hierarchies() if each.is_unified):
        for name in HANDED.read_text(encoding="ascii").split():
            with contextlib.suppress(OSError):  # somebody else's groups have it meanwhile
                (hierarchy.path / "cgroup.subtree_control").write_text(f"-{name}", encoding="ascii")
    HANDED.unlink()


def _removed(folder: Path) -> bool:
    """Remove a group and what is in it, as far as that is empty; return whether it is gone."""
    for path in _deepest_first(folder):
        with contextlib.suppress(OSError):
            path.rmdir()
    return not folder.exists()


def _pids(folder: Path) -> Iterator[int]:
    """Yield what runs in a group or below it."""
    for path in _deepest_first(folder):
        with contextlib.suppress(OSError):  # it goes while we look; a threaded one does not say
            words = (path / "cgroup.procs").read_text(encoding="ascii").split()
            yield from (int(word) for word in words if word != "0")  # 0 is in another PID namespace


def _deepest_first(folder: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(folder, topdown=False):
        yield Path(path)
