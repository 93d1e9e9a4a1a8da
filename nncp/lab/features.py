"""What this kernel lacks, found out by trying: a module may be built in, loadable, or neither.

The trial runs in a network namespace that ends with it, and its outcome is kept for as long as the
machine stays up.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from nncp.lab import cache

# Loaded beforehand without its default devices: bonding would put a bond0 into the host's own namespace.
QUIETLY = "[ -e /sys/module/bonding ] || modprobe -q bonding max_bonds=0\n"
TRIALS = {
    "bonding": "ip link add t0 type bond",
    "8021q": "ip link add t1 type veth && ip link add link t1 name t2 type vlan id 2",
    "vlan_filtering": "ip link add t3 type bridge vlan_filtering 1",
    "vrf": "ip link add t4 type vrf table 10",
    "dummy": "ip link add t5 type dummy",
}


def inside() -> bool:
    """Whether this process runs in a lab kernel: only user-mode Linux has /proc/exitcode."""
    return Path("/proc/exitcode").exists()


def missing() -> list[str]:
    """Return which of bonding, 8021q, vlan_filtering, vrf and dummy this kernel lacks.

    Where no network namespace can be had at all (no privilege), everything is missing.
    """
    kept = cache.folder() / "features.json"
    key = [cache.boot_id(), inside()]
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if known.get("key") != key or known.get("tried") != list(TRIALS):
        known = {"key": key, "tried": list(TRIALS), "missing": _try_all()}
        if known["missing"] != list(TRIALS):  # perhaps only this user may not
            _replace(kept, json.dumps(known))
    names: list[str] = known["missing"]
    return names


def _try_all() -> list[str]:
    # sysfs shows the namespace in which it was mounted, hence the mount namespace and the new mount.
    lines = [f"({trial}) && echo {name}" for name, trial in TRIALS.items()]
    script = "exec 2>/dev/null\n" + QUIETLY + "mount -t sysfs t /sys\n" + "\n".join([*lines, "true"])
    as_root = [] if os.geteuid() == 0 else ["--map-root-user"]
    done = subprocess.run(
        ["unshare", *as_root, "--net", "--mount", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    return [name for name in TRIALS if name not in done.stdout.split()]


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(f".{os.getpid()}")  # two may find out at the same time
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)
