"""Nodes to act on: a network and a mount namespace each, gone with the process that holds them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import leftovers
from tests.vmnet.cni_runtime import Runtime
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOLD = """
mount -t tmpfs t /run; mkdir /run/netns; mount -t tmpfs t /var/lib
ip link set lo up; echo up; exec sleep inf
"""


NODE = "BRIDGEHEAD_TEST_NODE"


class Node:
    """A machine without a machine: own network, own /run and /var/lib. What runs in it is known by NODE."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {**os.environ, NODE: f"{folder}/"}
        self.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", HOLD],
            env=self.env,
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
            env={**self.env, **env},
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def sh(self, script: str, *, check: bool = True) -> str:
        return self.run("sh", "-ec", script, check=check).stdout

    def vmnet(self, *argv: str, check: bool = True, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "-m", "vmnet.cli", *argv, check=check, stdin=stdin)

    def until(self, script: str) -> None:
        """Wait until a script succeeds here."""
        until(lambda: self.run("sh", "-ec", script, check=False).returncode == 0, what=script)

    def serve(self, namespace: str, port: int, word: str) -> None:
        """Serve a word on a TCP port of one of the node's namespaces, from now until the node's end."""
        self.sh(f"ip netns exec {namespace} python3 -c '{SERVER}' {port} {word} >/dev/null 2>&1 &")
        self.until(f"ip netns exec {namespace} ss -Hltn sport = :{port} | grep -q .")

    def spawn(self, *argv: str, **pipes: int) -> subprocess.Popen[str]:
        """Start a program here, in a session of its own."""
        return subprocess.Popen(
            [*self.command, *argv], env=self.env, text=True, start_new_session=True, **pipes
        )

    def python(self, *argv: str) -> subprocess.Popen[str]:
        """Start Python here, with pipes."""
        return self.spawn(sys.executable, *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def close(self) -> None:
        for process in leftovers.marked(f"{self.folder}/", name=NODE):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
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


SERVER = """
import socket, sys
s = socket.create_server(("", int(sys.argv[1])), reuse_port=True)
while True:
    c, _ = s.accept()
    c.sendall(sys.argv[2].encode())
    c.close()
"""
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


@pytest.fixture
def bridged(pod_network: Node) -> Node:
    """A node with br1: filtering, and VLAN 33 on its uplink."""
    pod_network.sh("""
        ip link add ens1f0 type dummy; ip link set ens1f0 up
        ip link add br1 type bridge vlan_filtering 1 mcast_snooping 0; ip link set br1 up
        ip link set ens1f0 master br1; bridge vlan add dev ens1f0 vid 2-4094
    """)
    return pod_network


@pytest.fixture(scope="session")
def make_node() -> type[Node]:
    """Make a node that lives as long as its user wants."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")
    return Node


@pytest.fixture
def runtime(node: Node) -> Runtime:
    node.sh("ip link add br1 type bridge; ip link set br1 up")
    return Runtime(node)


@pytest.fixture
def filtering(node: Node) -> Runtime:
    node.sh("""
        ip link add br1 type bridge vlan_filtering 1; ip link set br1 up
        ip link add up0 type dummy; ip link set up0 up master br1; bridge vlan add dev up0 vid 2-4094
    """)
    return Runtime(node)
