"""Control groups of whole machines, in whichever hierarchies a kernel has mounted."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

from nncp.lab import cgroups
from nncp.lab.cgroups import Hierarchy, hierarchies
from tests import leftovers

UNIFIED = """\
24 30 0:22 / /proc rw,nosuid shared:13 - proc proc rw
29 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""
HYBRID = """\
33 24 0:28 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
34 33 0:29 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw
35 33 0:30 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,release_agent=/lib/agent,name=systemd
36 33 0:31 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:15 - cgroup cgroup rw,cpu,cpuacct
37 33 0:32 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory
38 24 0:31 /lxc /srv/of/another/cpu rw shared:15 - cgroup cgroup rw,cpu,cpuacct
"""


def test_version_2_alone_is_one_hierarchy() -> None:
    assert hierarchies(UNIFIED) == [Hierarchy(Path("/sys/fs/cgroup"), "")]
    assert hierarchies(UNIFIED)[0].is_unified


def test_hierarchies_of_version_1_are_mounted_again_by_their_controllers_or_their_name() -> None:
    assert [(each.path.name, each.options) for each in hierarchies(HYBRID)] == [
        ("unified", ""),
        ("systemd", "none,name=systemd"),
        ("cpu,cpuacct", "cpu,cpuacct"),
        ("memory", "memory"),
    ]


def test_the_lines_that_mount_them_again_begin_with_a_folder_where_they_have_none() -> None:
    lines = cgroups.mounts(hierarchies(HYBRID)).splitlines()
    assert lines[0] == "mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup"
    assert "mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd" in lines
    assert not any("tmpfs" in line for line in cgroups.mounts(hierarchies(UNIFIED)).splitlines())


def test_a_group_of_this_kernel_is_made_joined_and_removed_with_what_is_in_it() -> None:
    prefix = f"{cgroups.OURS}{leftovers.PREFIX}-{os.getpid()}."
    group = cgroups.Group(f"{prefix}x")
    group.make()
    try:
        assert [each.name for each in cgroups.left(prefix)] == [group.name]
        child = subprocess.Popen(["sleep", "1000"])
        for file in group.members():
            file.write_text(str(child.pid))
        joined = Path(f"/proc/{child.pid}/cgroup").read_text().splitlines()
        assert sum(group.name in line for line in joined) == len(group.folders)
        for folder in group.folders:
            (folder / "inner").mkdir()
        group.make()  # what is left of the name goes first, its processes too
        assert child.wait(60) == -signal.SIGKILL
        assert not any((folder / "inner").exists() for folder in group.folders)
    finally:
        group.remove()
    assert cgroups.left(prefix) == []
