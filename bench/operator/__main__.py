"""What a rollout costs: writes, lists, watch events and bytes, time, memory.

python bench/operator 10x1 10x10 100x1 100x10 500x1 500x10
python bench/operator real

A size is so many nodes that are made up and so many policies; real are a lab cluster's own two nodes.
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
ENACTMENTS, POLICIES = "nodenetworkconfigurationenactments", "nodenetworkconfigurationpolicies"
INTERFACES = 20
STEADY_S = 20
ROUNDS = 5
PARTS = ("namespace", "crds", "admission", "tokens", "rbac", "flow")


def deploy(cluster: Handle) -> None:
    """Have all of deploy/ there but what runs."""
    files = (str(ROOT / "deploy" / f"{part}.yaml") for part in PARTS)
    cluster.kubectl("apply", *(word for file in files for word in ("-f", file)))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")


def measured(
    cluster: Handle, nodes: int, policies: int, *, interfaces: int = INTERFACES, seconds: int = STEADY_S
) -> dict[str, Any]:
    """Return what was counted; nothing happens for so many seconds of it."""
    told = inside(cluster, "inside.py", nodes, policies, interfaces, seconds)
    found: dict[str, Any] = json.loads(told)
    return found


def row(size: str, found: dict[str, Any]) -> str:
    """Return what was counted as a line of the table in bench/README.md."""
    nodes, policies = (int(number) for number in size.split("x"))
    parts, rollout, same = nodes * policies, found["rollout"], found["same"]

    def of(what: str, counted: dict[str, Any]) -> int:
        return sum(
            number
            for name, number in counted["writes"].items()
            if name.startswith(what) and "refused" not in name
        )

    again = sum(sum(found[what]["writes"].values()) for what in ("steady", "controller", "agents"))
    cells = [
        f"{nodes} x {policies}",
        f"{of(ENACTMENTS, rollout) / parts:.2f}",
        f"{of('events', rollout) / parts:.2f}",
        f"{of(POLICIES, rollout) - policies}",  # the bench has made them
        f"{of(ENACTMENTS, same) / parts:.2f}",
        f"{again}, {found['steady']['lists']}",
        f"{sum(rollout['watch events'].values())}",
        f"{sum(rollout['watch bytes'].values()) / 1e6:.1f}",
        f"{rollout['p50']:.1f}, {rollout['p99']:.1f}",
        f"{rollout['controller']['peak']}, {found['controller']['controller']['peak']}",
    ]
    return f"| {' | '.join(cells)} |"


def inside(cluster: Handle, name: str, *words: int) -> str:
    """Run one of the programs beside this one in the control plane, and return what it prints."""
    argv = ["env", f"PYTHONPATH={os.environ.get('PYTHONPATH') or ROOT}", "NO_PROXY=*", "setpriv"]
    argv += ["--pdeathsig", "KILL", sys.executable, str(Path(__file__).with_name(name)), *map(str, words)]
    argv = cluster.argv(CONTROL, *argv)
    return subprocess.run(
        argv, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL
    ).stdout


def two_nodes(cluster: Handle) -> None:
    """Print how long policies take on real nodes, and what the programs have used by then."""
    import real  # noqa: PLC0415  it lies beside this file, where only a script finds it

    with real.operator(cluster) as running:
        print(inside(cluster, "latency.py", ROUNDS), end="")
        print(json.dumps(running.memory()))


def main() -> None:
    """Measure and print."""
    for size in sys.argv[1:] or ["10x1"]:
        with Handle(f"bench-{os.getpid()}") as cluster:
            deploy(cluster)
            if size == "real":
                two_nodes(cluster)
                continue
            nodes, policies = (int(number) for number in size.split("x"))
            print(row(size, measured(cluster, nodes, policies)), flush=True)


if __name__ == "__main__":
    main()
