"""What a rollout costs: writes, lists, watch events and bytes, time, memory.

python bench/operator 10x1 10x10 100x1 100x10 500x1 500x10
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from nncp.lab.cluster.addresses import CONTROL
from nncp.lab.cluster.handle import Handle

ROOT = Path(__file__).parents[2]
INTERFACES = 20
STEADY_S = 20
PARTS = ("namespace", "crds", "admission", "tokens", "rbac")


def deploy(cluster: Handle) -> None:
    """Have all of deploy/ there but what runs."""
    files = (str(ROOT / "deploy" / f"{part}.yaml") for part in PARTS)
    cluster.kubectl("apply", *(word for file in files for word in ("-f", file)))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")


def measured(
    cluster: Handle, nodes: int, policies: int, *, interfaces: int = INTERFACES, seconds: int = STEADY_S
) -> dict[str, Any]:
    """Return what was counted; nothing happens for so many seconds of it."""
    argv = ["env", f"PYTHONPATH={os.environ.get('PYTHONPATH') or ROOT}", "NO_PROXY=*", "setpriv"]
    argv += ["--pdeathsig", "KILL", sys.executable, str(Path(__file__).with_name("inside.py"))]
    argv = cluster.argv(CONTROL, *argv, str(nodes), str(policies), str(interfaces), str(seconds))
    ended = subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def main() -> None:
    """Measure and print."""
    for size in sys.argv[1:] or ["10x1"]:
        nodes, policies = (int(number) for number in size.split("x"))
        with Handle(f"bench-{os.getpid()}") as cluster:
            deploy(cluster)
            print(json.dumps({"size": size, **measured(cluster, nodes, policies)}), flush=True)


if __name__ == "__main__":
    main()
