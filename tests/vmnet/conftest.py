"""Nodes to act on: a network and a mount namespace each, gone with the process that holds them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
mount -t tmpfs t /run; mkdir /run/netns; mount -t tmpfs t /var/lib
ip link set lo up; echo up; exec sleep inf
"""


class Node:
    """A machine without a machine: own network, own /run and /var/lib."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "up\n"

    @property
    def command(self) -> list[str]:
        return ["nsenter", "-t", str(self.process.pid), "--net", "--mount", f"--wdns={Path.cwd()}"]

    def run(
        self, *argv: str, check: bool = True, stdin: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.command, *argv],
            input=stdin,
            text=True,
            capture_output=True,
            env={**os.environ, **env},
            timeout=60,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.run("sh", "-ec", script, check=check).stdout

    def vmnet(self, *argv: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "vmnet.cli", *argv, check=check, stdin=stdin)

    def python(self, *argv: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.command, sys.executable, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, to make namespaces")
    machine = Node(tmp_path)
    yield machine
    machine.close()


POD_NETWORK = """
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true,
 "mtu": 1400, "ipam": {"type": "host-local", "dataDir": "/run/ipam", "routes": [{"dst": "0.0.0.0/0"}],
 "ranges": [[{"subnet": "10.244.1.0/24"}]]}}]}
"""


@pytest.fixture
def pod_network(node: Node) -> Node:
    """A node whose Pods get an address of 10.244.1.0/24 and MTU 1400, as on the slides."""
    if not Path("/usr/lib/cni/host-local").exists():
        pytest.skip("needs containernetworking-plugins")
    node.sh("mkdir -p /run/net.d")
    node.run("tee", "/run/net.d/10-pods.conflist", stdin=POD_NETWORK)
    return node


@pytest.fixture(scope="session")
def make_node() -> type[Node]:
    """Make a node that lives as long as its user wants."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")
    return Node
