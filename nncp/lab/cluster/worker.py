"""A node of the cluster: containerd and a kubelet in a whole machine, with the settings that a lab needs."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nncp.errors import Error, ErrorKind
from nncp.lab.cluster.addresses import SERVER, SERVICES, address, pods
from nncp.lab.cluster.control import CLEAN, IMAGES, KEYS, LOOK_EVERY, SILENT_S, log
from nncp.lab.cluster.runtime import PAUSE
from nncp.lab.nodes import DISKS, boot
from nncp.pace import Limit

if TYPE_CHECKING:
    from nncp.lab.nodes import Node

SCRIPT = Path(__file__).with_name("worker.sh")
NAMESPACE = "k8s.io"  # of containerd, where the kubelet's images are
OWN = (
    "/var/lib/kubelet",
    "/var/lib/containerd",
    "/var/lib/cni",
    "/opt/cni",
    "/var/log/pods",
    "/var/log/containers",
)
"""Folders that begin empty. containerd keeps layers of overlays, which do not lie on another overlay."""

CONTAINERD = f"""\
version = 2
oom_score = 0
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  disable_apparmor = true
  # Without CAP_SYS_RESOURCE no process may be made safer from the OOM killer than ours.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"""
START_S, START_IN_ALL = 20.0, 200.0  # of a quiet machine: since it last said something, and in all
# A service that ends is started again, as systemd would.
SERVICE = 'while :; do "$@" || :; sleep 1; done'


def boot_node(name: str, *, group: str) -> Node:
    """Boot a node's machine, with the disk that it had if it was there before."""
    return boot(name, disk=DISKS / "disks" / name, group=group, empty=OWN)


def kubelet() -> dict[str, Any]:
    """Return the kubelet's configuration (kubelet.config.k8s.io/v1beta1)."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(KEYS / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "staticPodPath": "/etc/kubernetes/manifests",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "enforceNodeAllocatable": [],
        # The disk is the machine's that the lab runs on: how full that is says nothing about a node.
        "localStorageCapacityIsolation": False,
        "evictionHard": {
            "imagefs.available": "0%",
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "resolvConf": "/etc/resolv.conf",
        "volumePluginDir": "/var/lib/kubelet/plugins",
        # A node that is turned off is to be noticed soon.
        "nodeStatusUpdateFrequency": "2s",
        "nodeLeaseDurationSeconds": SILENT_S - 2,
        "shutdownGracePeriod": "0s",
    }


def conflist(node: str) -> dict[str, Any]:
    """Return the CNI configuration of a node's Pods."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": pods(node)}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]}


def through_multus(network: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration by which Pods get more networks beside `network`, by their annotations."""
    multus = {
        "type": "multus",
        "kubeconfig": str(KEYS / "multus.kubeconfig"),
        "binDir": "/opt/cni/bin",
        "confDir": "/etc/cni/net.d",
        "cniDir": "/var/lib/cni/multus",
        "logFile": "/run/multus.log",
        "logLevel": "verbose",
        "capabilities": {"portMappings": True},
        "delegates": [network],
    }
    return {"cniVersion": "0.4.0", "name": "multus", "plugins": [multus]}


def routes(node: str, others: list[str]) -> str:
    """Return the lines for `ip -batch` that give a node its address, and the way to Services and Pods."""
    lines = [
        "link set enp1s0 up",
        f"address add {address(node)}/24 dev enp1s0",
        f"route add {SERVICES} via {SERVER}",
        *(f"route add {pods(other)} via {address(other)}" for other in others),
    ]
    return "".join(f"{line}\n" for line in lines)


class Worker:
    """The services of a node."""

    def __init__(self, machine: Node, *, programs: Path, runtime: Path) -> None:
        """Name them.

        Args:
            machine: where they run.
            programs: the folder with the kubelet.
            runtime: the folder with containerd and the first images.

        """
        self.machine = machine
        self.programs = programs
        self.runtime = runtime

    def prepare(self) -> None:
        """Write the services' configuration, and set what the kernel has for this machine alone."""
        name = self.machine.name
        files = {
            "/etc/cni/net.d/00-multus.conflist": json.dumps(through_multus(conflist(name)), indent=2),
            "/etc/kubernetes/kubelet.json": json.dumps(kubelet(), indent=2),
            "/etc/containerd/config.toml": CONTAINERD,
        }
        script = SCRIPT.read_text(encoding="utf-8") + "".join(
            f'mkdir -p "{path.rpartition("/")[0]}"\ncat > {path} <<"END"\n{text}\nEND\n'
            for path, text in files.items()
        )
        self.machine.run("env", f"MULTUS={self.programs}/multus", "sh", "-eu", stdin=script)

    def start(self) -> None:
        """Start containerd with its first images, then the kubelet."""
        tree, name = self.runtime / "tree", self.machine.name
        path = f"PATH={tree}/usr/bin:{tree}/usr/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self._spawn("containerd", path, "containerd", "--config", "/etc/containerd/config.toml")
        self._wait_for_containerd()
        first = [self.runtime / f"{image}.tar" for image in ("pause", "busybox")]
        for archive in (*first, *sorted(IMAGES.iterdir())):
            self.load(archive)
        self._spawn(
            "kubelet",
            str(self.programs / "kubelet"),
            "--config=/etc/kubernetes/kubelet.json",
            f"--kubeconfig={KEYS}/{name}.kubeconfig",
            f"--hostname-override={name}",
            f"--node-ip={address(name)}",
        )

    def load(self, archive: Path) -> None:
        """Give the node an image, from an archive of `nncp.lab.cluster.oci`."""
        self.machine.run(
            str(self.runtime / "tree/usr/bin/ctr"), "-n", NAMESPACE, "images", "import", str(archive)
        )

    def _wait_for_containerd(self) -> None:
        socket = Path(f"/proc/{self.machine.pid}/root/run/containerd/containerd.sock")
        limit = Limit(START_S, in_all=START_IN_ALL)
        while not socket.exists():
            limit.sees(log(self._name("containerd")).stat().st_size)
            if limit.is_over():
                raise Error(
                    f"containerd on {self.machine.name} did not start {limit.story}", kind=ErrorKind.FAILED
                )
            time.sleep(LOOK_EVERY)

    def _name(self, service: str) -> str:
        return f"{self.machine.name}-{service}"

    def _spawn(self, service: str, *argv: str) -> None:
        with log(self._name(service)).open("ab") as output:
            process = self.machine.spawn(*CLEAN, "sh", "-c", SERVICE, service, "env", *argv, output=output)
        process.returncode = 0  # nobody waits for it: it ends with its machine
