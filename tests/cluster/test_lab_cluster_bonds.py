"""The lab's cluster in a kernel that has all of networking: its nodes' NICs lead to the rack's switch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.lab import switch
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.lab.cluster.handle import Handle

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NODES = ("node-1", "node-2")
ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "policies" / "vm-bridge"
NNCP = (sys.executable, "-P", "-m", "nncp")


def passes(cluster: Handle, machine: str, bond: str) -> bool:
    return switch.read_bond(cluster.on(machine, "cat", f"/proc/net/bonding/{bond}")).passes


def answers(cluster: Handle, address: str) -> bool:
    """Whether an address answers node-1; one that has come back with another MAC does not at once."""
    return " 0% packet loss" in cluster.on("node-1", "sh", "-c", f"ping -c 1 -W 2 {address} || :")


def test_policies_make_bonds_whose_partner_is_the_switch_also_after_a_power_cycle(
    cluster: Handle, pod: Callable[..., str]
) -> None:
    for node in NODES:
        cluster.on(node, *NNCP, "apply", str(POLICIES / f"{node}.yaml"))
    for node in NODES:
        until(lambda node=node: passes(cluster, node, "bond0"), seconds=switch.LACP_S)
        until(lambda node=node: passes(cluster, "tor", f"to-{node}"), seconds=switch.LACP_S)
    until(lambda: answers(cluster, "172.16.1.22"), seconds=switch.STP_S)
    pod("beside", "node-1")

    cluster.on("node-2", *NNCP, "install-unit")
    cluster.command("on", "node-2")
    until(lambda: passes(cluster, "node-2", "bond0"), seconds=switch.LACP_S)
    until(lambda: answers(cluster, "172.16.1.22"), seconds=switch.STP_S)


def says(cluster: Handle, *argv: str) -> str:
    """What a command prints that README names."""
    env = {**os.environ, "BRIDGEHEAD_CLUSTER": cluster.name}
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}{done.stdout}{done.stderr}"
    return done.stdout


def blocks(chapter: str) -> list[str]:
    """The commands of a chapter, block by block."""
    text = (
        (ROOT / "README.md")
        .read_text(encoding="utf-8")
        .partition(f"\n## {chapter}\n")[2]
        .partition("\n## ")[0]
    )
    return [part.partition("```")[0] for part in text.split("```sh\n")[1:]]


def test_readmes_commands_do_what_it_says(cluster: Handle) -> None:
    lines = blocks("A cluster in this machine")[0].splitlines()
    assert lines[0].split("#")[0].strip().endswith(" up")
    assert lines[-1].split("#")[0].strip().endswith(" down")
    for line in lines[1:-1]:
        says(cluster, "sh", "-ec", line)
