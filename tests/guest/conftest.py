"""A node for launcher Pods: a room of its own, gone with the process that holds it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp import lab
from nncp.lab.ended import first_child
from nncp.pace import Limit, communicate
from vmnet.names import OWNER
from vmnet.rack import images

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SCENARIO = ROOT / "vmnet" / "rack" / "scenario"
GUEST = "172.17.33.250"

# The shell is process 1 and reaps what loses its parent.
HOLD = """
mount -t tmpfs run /run; mount -t tmpfs lib /var/lib; mount -t sysfs sys /sys; mkdir /run/netns
ip link set lo up
for bridge in br1 pods; do
    ip link add $bridge type bridge
    test ! -e /proc/sys/net/bridge || echo 0 > /proc/sys/net/bridge/bridge-nf-call-iptables
    echo 1 > /proc/sys/net/ipv6/conf/$bridge/disable_ipv6
    ip link set $bridge up
done
ip address add 172.17.33.1/24 dev br1
echo up
exec >/dev/null
sleep infinity & wait
"""
CONFLIST = {
    "cniVersion": "0.4.0",
    "name": "pods",
    "plugins": [
        {
            "type": "bridge",
            "bridge": "pods",
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "ranges": [[{"subnet": "10.244.0.0/16", "gateway": "10.244.0.1"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        }
    ],
}


class Pod:
    """A launcher Pod on the node."""

    def __init__(self, node: Node, name: str) -> None:
        self.node = node
        self.name = name
        self.record = json.loads(
            node.run("vmnet.cli", "attach", name, str(node.vm), str(node.nad), "-o", "json")
        )
        self.address: str = self.record["network-status"][0]["ips"][0]
        self.folder = Path("/run/bridgehead/pods", name, "launcher")
        self.credentials = node.vm.with_name(f"{name}.json")

    def start(self) -> Any:
        return self._begin("start")

    def prepare(self, source: Pod) -> Any:
        return self._begin("prepare", "--from", source.address, "--credentials", str(self.credentials))

    def _begin(self, *words: str) -> Any:
        return json.loads(
            self.node.run("launcher", *words, "--pod", self.name, *self.node.storage, "-o", "json")
        )

    def migrate(self, to: Pod, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = ("migrate", "--pod", self.name, "--credentials", str(to.credentials), "-o", "json")
        return self.node.call("launcher", *argv, check=check)

    def status(self) -> Any:
        return json.loads(self.node.run("launcher", "status", "--pod", self.name, "-o", "json"))

    def log(self) -> list[dict[str, Any]]:
        text = self.node.read(self.folder / "launcher.log")
        return [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def wait(self, event: str) -> dict[str, Any]:
        """Return the first event of this kind in the Pod's log, once it is there."""
        limit = Limit(60, in_all=300)
        while True:
            said = self.log()
            for found in said:
                if found["event"] == event:
                    return found
            limit.sees(len(said))
            assert not limit.is_over(), f"no {event} {limit.story} in {said}"
            time.sleep(0.005)

    def processes(self) -> dict[int, str]:
        """The Pod's processes by this test's pids: what runs in its network namespace."""
        inode = self.node.inode(f"/run/netns/{self.name}")
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            try:
                if (path / "ns" / "net").stat().st_ino == inode:
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return {pid: command for pid, command in found.items() if command}

    def ended(self) -> bool:
        limit = Limit(15)
        while self.processes() and not limit.is_over():
            time.sleep(0.05)
        return not self.processes()


class Node:
    """A machine without a machine: its own network, files under /run, and processes."""

    def __init__(self, folder: Path, *, tiny: Path, qemu: Path) -> None:
        self.holder = subprocess.Popen(
            [
                "unshare",
                "--net",
                "--mount",
                "--pid",
                "--fork",
                "--kill-child",
                "--mount-proc",
                "sh",
                "-ec",
                HOLD,
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "up\n"
        self.first = first_child(self.holder.pid)
        self.vm = folder / "vm.yaml"
        shutil.copy(SCENARIO / "vm-tiny.yaml", self.vm)
        self.nad = folder / "nad.yaml"
        self.nad.write_text(
            (SCENARIO / "nad.yaml")
            .read_text()
            .replace('"macspoofchk": false,', '"macspoofchk": false')
            .replace('      "vlan": 33\n', "")
        )
        claim = folder / "claims" / "vm-disk"
        claim.mkdir(parents=True)
        shutil.copy(tiny / "disk.img", claim)
        shutil.chown(claim / "disk.img", OWNER, OWNER)
        (folder / "images").mkdir()
        (folder / "images" / "tiny").symlink_to(tiny)
        self.storage = ["--claims", str(folder / "claims"), "--images", str(folder / "images")]
        self.storage += ["--qemu", str(qemu / "tree"), str(self.vm)]
        self.command = [
            "nsenter",
            f"--target={self.first}",
            "--net",
            "--mount",
            "--pid",
            f"--wdns={ROOT}",
            "--",
        ]
        conf = folder / "net.d"
        conf.mkdir()
        (conf / "pods.conflist").write_text(json.dumps(CONFLIST))
        self.conf = conf

    def call(self, module: str, *argv: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        words = [*argv, "--cni-conf-dir", str(self.conf)] if argv[:1] == ("attach",) else [*argv]
        command = [*self.command, sys.executable, "-m", module, *words]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as process:
            try:
                out, errors = communicate(process, Limit(180))
            finally:
                process.kill()
        if check:
            assert process.returncode == 0, f"{argv}: {out}{errors}"
        return subprocess.CompletedProcess(command, process.returncode, out, errors)

    def run(self, module: str, *argv: str) -> str:
        return self.call(module, *argv).stdout

    def spawn(self, module: str, *argv: str) -> subprocess.Popen[str]:
        command = [*self.command, sys.executable, "-m", module, *argv]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def read(self, path: Path) -> str:
        seen = Path(f"/proc/{self.first}/root{path}")
        return seen.read_text() if seen.exists() else ""

    def inode(self, path: str) -> int:
        return Path(f"/proc/{self.first}/root{path}").stat().st_ino

    def wait_for_guest(self) -> None:
        """Return when the guest answers; as long as its consoles grow it is on its way."""
        limit = Limit(60, in_all=300)
        ping = [*self.command, "ping", "-c", "1", "-W", "1", GUEST]
        while subprocess.run(ping, capture_output=True, check=False).returncode:
            pods = Path(f"/proc/{self.first}/root/run/bridgehead/pods")
            limit.sees(sum(path.stat().st_size for path in pods.glob("*/launcher/console.log")))
            assert not limit.is_over(), f"the guest did not answer {limit.story}"

    def close(self) -> None:
        self.holder.kill()
        self.holder.wait()
        assert self.holder.stdout is not None
        self.holder.stdout.close()


def image(name: str) -> Path:
    """An image of the cache; a lab kernel has no way to fetch what it is built from."""
    found = images.find(name) if lab.inside() else images.ensure(name)
    assert found is not None, f"build it first: vmnet rack images {name}"
    return found


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    if os.geteuid() != 0:
        pytest.skip("needs root, to make namespaces")
    machine = Node(tmp_path, tiny=image("tiny"), qemu=image("qemu"))
    yield machine
    machine.close()


@pytest.fixture
def make_pod(node: Node) -> Callable[[str], Pod]:
    return lambda name: Pod(node, name)
