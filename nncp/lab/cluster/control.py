"""The control plane: etcd, API server, controllers and scheduler, in a machine of their own."""

from __future__ import annotations

import http.client
import ssl
import time
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab.cluster import keys
from nncp.lab.cluster.addresses import KUBERNETES, NODES, SERVER, SERVICES, URL
from nncp.lab.ended import kill, known_as, running
from nncp.lab.nodes import DISKS
from nncp.netns import entered
from nncp.pace import Limit, cpu_seconds

if TYPE_CHECKING:
    from pathlib import Path

    from nncp.lab.nodes import Node

HOME = DISKS / "cluster"
KEYS, LOGS = HOME / "keys", HOME / "log"
IMAGES = HOME / "images"
"""Archives of images that a node gets when it comes up, beside those that every node needs."""
ADMIN = KEYS / "admin.kubeconfig"
# Whatever proxy a user has set does not lead into the cluster.
CLEAN = ("env", "-i", "HOME=/run", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
READY_S, READY_IN_ALL = 30.0, 300.0  # of a quiet machine: since it last computed, and in all
STOP_S = 10.0
LOOK_EVERY = 0.1
ETCD = "http://127.0.0.1:2379"
SILENT_S = 10
"""A node that has not been heard of for so long is NotReady; 40 s in a cluster that nobody waits for."""


def programs() -> dict[str, list[str]]:
    """Return the arguments of each program, by its name, in the order in which they start."""
    return {
        # Nothing here outlives the room, so nothing need reach a disk.
        "etcd": [
            f"--data-dir={HOME}/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        "kube-apiserver": [
            f"--etcd-servers={ETCD}",
            "--bind-address=0.0.0.0",
            "--secure-port=443",
            f"--advertise-address={SERVER}",
            f"--service-cluster-ip-range={SERVICES}",
            f"--client-ca-file={KEYS}/ca.crt",
            f"--tls-cert-file={KEYS}/apiserver.crt",
            f"--tls-private-key-file={KEYS}/apiserver.key",
            f"--service-account-key-file={KEYS}/accounts.key",
            f"--service-account-signing-key-file={KEYS}/accounts.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--kubelet-client-certificate={KEYS}/admin.crt",
            f"--kubelet-client-key={KEYS}/admin.key",
            "--kubelet-preferred-address-types=InternalIP",
            # Webhooks and metrics reach the Pods behind a Service without a kube-proxy.
            "--enable-aggregator-routing=true",
        ],
        "kube-controller-manager": [
            f"--kubeconfig={KEYS}/controllers.kubeconfig",
            f"--service-account-private-key-file={KEYS}/accounts.key",
            f"--root-ca-file={KEYS}/ca.crt",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            # With the default, 20 a second, the first ServiceAccount comes five seconds later.
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            f"--flex-volume-plugin-dir={HOME}/volumes",  # else it makes one in /usr
            "--node-monitor-period=1s",
            f"--node-monitor-grace-period={SILENT_S}s",
        ],
        "kube-scheduler": [f"--kubeconfig={KEYS}/scheduler.kubeconfig", "--leader-elect=false"],
    }


class ControlPlane:
    """The programs in their machine."""

    def __init__(self, machine: Node, folder: Path) -> None:
        """Name them.

        Args:
            machine: where they run.
            folder: the programs' executables.

        """
        self.machine = machine
        self.folder = folder

    def prepare(self) -> None:
        """Make keys, and the addresses that the programs answer on."""
        HOME.mkdir()
        LOGS.mkdir()
        IMAGES.mkdir()
        keys.make(KEYS, server=URL, addresses=(SERVER, KUBERNETES, "127.0.0.1"), nodes=NODES)

    def start(self, *names: str) -> None:
        """Start programs, by name."""
        known = programs()
        for name in names:
            with log(name).open("ab") as output:
                process = self.machine.spawn(*CLEAN, str(self.folder / name), *known[name], output=output)
            process.returncode = 0  # nobody waits for it: it ends with the room
            _note(name).write_text(known_as(process.pid), encoding="ascii")

    def stop(self, name: str) -> None:
        """Kill a program, and return when it is gone; of one that is gone, nothing is left to do.

        Raises:
            Error: it does not end.

        """
        limit = Limit(STOP_S)
        pid = _pid(name)
        if pid and not kill(pid, limit):
            raise Error(f"{name} was killed and has not ended {limit.story}", kind=ErrorKind.FAILED)
        _note(name).unlink(missing_ok=True)

    @staticmethod
    def runs(name: str) -> bool:
        """Whether a program runs."""
        return bool(_pid(name))

    def wait(self) -> None:
        """Wait until the API server is ready.

        Raises:
            Error: it ended, or it does not get ready.

        """
        name = "kube-apiserver"
        limit = Limit(READY_S, in_all=READY_IN_ALL)
        context = ssl.create_default_context(cafile=str(KEYS / "ca.crt"))
        context.load_cert_chain(KEYS / "admin.crt", KEYS / "admin.key")
        with entered(f"/proc/{self.machine.pid}/ns/net"):
            while not _is_ready(context):
                limit.sees(cpu_seconds(_pid(name)))
                if limit.is_over() or not _pid(name):
                    last = log(name).read_text(encoding="utf-8", errors="replace").splitlines()[-1:]
                    told = f"the API server is not ready {limit.story}: {''.join(last)}"
                    raise Error(told, kind=ErrorKind.FAILED)
                time.sleep(LOOK_EVERY)


def log(name: str) -> Path:
    """Return the file with what a program has said."""
    return LOGS / f"{name}.log"


def _note(name: str) -> Path:
    return HOME / f"{name}.pid"


def _pid(name: str) -> int:
    """Return a program's process id, 0 of one that does not run."""
    try:
        return running(_note(name).read_text(encoding="ascii"))
    except FileNotFoundError:
        return 0


def _is_ready(context: ssl.SSLContext) -> bool:
    server = http.client.HTTPSConnection(SERVER, context=context, timeout=5)
    try:
        server.request("GET", "/readyz")
        return server.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        server.close()
