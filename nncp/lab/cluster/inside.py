"""The cluster from inside of its room: makes the machines, connects them, turns them off and on."""

from __future__ import annotations

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from nncp import lab
from nncp.errors import Error, ErrorKind
from nncp.lab import cache, nodes, switch
from nncp.lab.cgroups import Group
from nncp.lab.cluster import oci, program, runtime
from nncp.lab.cluster.addresses import CONTROL, KUBERNETES, NODES, SERVER, address, number, pods
from nncp.lab.cluster.control import ADMIN, HOME, IMAGES, LOGS, LOOK_EVERY, ControlPlane
from nncp.lab.cluster.worker import Worker, boot_node, routes
from nncp.lab.nodes import Node, Rack, boot, cable
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

MULTUS = Path(__file__).with_name("multus.yaml")
MAC = "02:00:0a:63:00:01"
UNIT = "/etc/systemd/system/nncp-restore.service"
API = "kube-apiserver"
LATER = ("kube-controller-manager", "kube-scheduler")
"""What ends when the API server does not answer soon."""
WAIT_S, WAIT_IN_ALL = 60.0, 600.0  # of a quiet machine: since any program last said something, and in all


class Cluster:
    """The machines of the cluster whose room this process is in."""

    def __init__(self, rack: Rack, *, group: str) -> None:
        """Take the machines.

        Args:
            rack: the machines that stand.
            group: what the names of the nodes' control groups begin with.

        """
        self.rack = rack
        self.group = group
        self.programs = program.folder()
        self.runtime = runtime.folder()

    @property
    def control(self) -> ControlPlane:
        """The control plane."""
        return ControlPlane(self.rack[CONTROL], self.programs)

    def worker(self, name: str) -> Worker:
        """Return a node's services."""
        return Worker(self.rack[name], programs=self.programs, runtime=self.runtime)

    def kubectl(self, *words: str, stdin: str = "") -> str:
        """Run kubectl and return what it printed."""
        return self.rack[CONTROL].run(*kubectl(self.programs / "kubectl", *words), stdin=stdin)

    def furnish(self, say: Callable[[str], None]) -> None:
        """Make all of it, and return when the nodes are ready and Pods can be made."""
        nodes.prepare()
        say("boots the control plane and the switch")
        for name in (CONTROL, "tor", "prober"):
            self.rack.nodes[name] = boot(name)
        self.rack[CONTROL].run("ip", "-batch", "-", stdin=MACHINES)
        self.control.prepare()
        self.control.start("etcd", API)
        say("boots node-1 and node-2")
        cable(ends=((self.rack["prober"], "eth0"), (self.rack["tor"], "prober")))
        for name in NODES:
            self.boot(name)
        self.switch_on()
        self.control.wait()
        say("the API server is ready; waits for the nodes")
        self.control.start(*LATER)
        self.kubectl("apply", "-f", str(MULTUS))
        self.wait_for(*(f"node/{name}" for name in NODES))
        self.wait_for("serviceaccount/default", condition="")
        self.rack.write()

    def boot(self, name: str) -> None:
        """Turn a node on: its machine, its cables, what it restores at a start, its services."""
        machine = boot_node(name, group=f"{self.group}{name}")
        self.rack.nodes[name] = machine
        for port in (0, 1):
            cable(ends=((machine, f"ens1f{port}"), (self.rack["tor"], f"n{number(name)}p{port}")))
        cable(ends=((machine, "enp1s0"), (self.rack[CONTROL], f"to-{name}")))
        plug = f"link set to-{name} master machines\nlink set to-{name} up\n"
        self.rack[CONTROL].run("ip", "-batch", "-", stdin=plug)
        others = [other for other in NODES if other != name]
        machine.run("ip", "-batch", "-", stdin=routes(name, others))
        self.rack[CONTROL].run("ip", "route", "replace", pods(name), "via", address(name))
        worker = self.worker(name)
        worker.prepare()
        self.restore(machine)
        worker.start()

    @staticmethod
    def restore(machine: Node) -> None:
        """Run what the unit of `nncp install-unit` runs at a start, if it is installed; the start goes on."""
        for line in machine.read(UNIT).splitlines():
            if line.startswith("ExecStart="):
                command = line.removeprefix("ExecStart=")
                machine.run("sh", "-c", f"{command} >/run/nncp-restore.log 2>&1 || :")

    def switch_on(self) -> None:
        """Give the switch its bonds and VLANs, where this kernel has them; else its NICs stay as they are."""
        if not lab.missing():
            switch.configure(self.rack["tor"])

    def wait_for(self, *what: str, condition: str = "Ready") -> None:
        """Wait until objects are there, and have a condition.

        Raises:
            Error: they do not, though the machine had time enough.

        """
        for each in what:
            self.wait_until(partial(self._is, each, condition), each)

    def wait_until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds.

        Raises:
            Error: it does not, though the machine had time enough.

        """
        limit = Limit(WAIT_S, in_all=WAIT_IN_ALL)
        while not holds():
            limit.sees([path.stat().st_size for path in sorted(LOGS.iterdir())])
            if limit.is_over():
                raise Error(f"{what} is not there {limit.story}", kind=ErrorKind.FAILED)
            time.sleep(LOOK_EVERY)

    def _is(self, what: str, condition: str) -> bool:
        """Whether an object is there and has a condition; it is waited for a while."""
        try:
            self.kubectl("wait", "--for=create", what, "--timeout=10s")
            if condition:
                self.kubectl("wait", f"--for=condition={condition}", what, "--timeout=10s")
        except Error:
            return False
        return True

    def alone(self) -> AbstractContextManager[None]:
        """Keep others off while machines are turned off and on."""
        return cache.locked(HOME / "lock")

    def turn_off(self, name: str) -> None:
        """Take the power from a node, with its links at the switches, or end the API server."""
        if name == API:
            self.control.stop(API)
            return
        self.must_be_node(name)
        if self.rack.nodes.pop(name, None):
            self.rack.write()
        Group(f"{self.group}{name}").remove()
        ends = {"tor": [f"n{number(name)}p{port}" for port in (0, 1)], CONTROL: [f"to-{name}"]}
        for switch_name, links in ends.items():
            for link in links:  # each goes by itself, a moment after the last that held its peer's namespace
                self.rack[switch_name].run("sh", "-c", f"ip link delete {link} 2>/dev/null || :")

    def turn_on(self, name: str) -> None:
        """Turn on what was turned off, or is to be turned off first; return when the cluster has it again.

        A node comes up without an API server too; then nobody can say that it is ready.
        """
        self.turn_off(name)
        if name == API:
            self.control.start(API)
            self.control.wait()
            self.control.start(*(each for each in LATER if not self.control.runs(each)))
            return
        is_asked = self.control.runs(API)
        before = self.renewed(name) if is_asked else ""
        self.boot(name)
        self.rack.write()
        self.switch_on()
        if not is_asked:
            return
        # What the API server says of the node may be of the time before it was turned off.
        self.wait_until(lambda: self.renewed(name) != before, f"a word of {name}'s kubelet")
        self.wait_for(f"node/{name}")

    def load(self, archives: Sequence[Path]) -> list[str]:
        """Give images to all nodes, also to those that come up later; return what Pods call them.

        Raises:
            Error: one is no archive of an image.

        """
        names = [oci.name_of(archive) for archive in archives]
        for archive, name in zip(archives, names, strict=True):
            kept = IMAGES / f"{quote(name, safe='')}.tar"
            draft = HOME / "image.new"
            shutil.copyfile(archive, draft)  # a node sees other files than whoever has it
            draft.rename(kept)
            for node in (each for each in NODES if each in self.rack.nodes):
                self.worker(node).load(kept)
        return names

    def renewed(self, name: str) -> str:
        """Return when a node's kubelet last said that it is there, "" when it never has."""
        where = ("--namespace=kube-node-lease", "--ignore-not-found", "--output=jsonpath={.spec.renewTime}")
        return self.kubectl("get", "lease", name, *where)

    def link(self, name: str, *, up: bool) -> None:
        """Cut a node off from the API server, at the switch of the management network; or mend that."""
        self.must_be_node(name)
        if name not in self.rack.nodes:
            raise Error(f"{name} is off", kind=ErrorKind.FAILED, hint=f"nncp lab cluster on {name}")
        self.rack[CONTROL].run("ip", "link", "set", f"to-{name}", "up" if up else "down")

    @staticmethod
    def must_be_node(name: str) -> None:
        """Refuse by name what is no node."""
        if name not in NODES:
            raise Error(f"{name} is no node", kind=ErrorKind.USAGE, hint=f"there are {', '.join(NODES)}")


# Its own MAC address: one that a bridge takes from its ports changes as nodes come and go, and the others
# would not reach it until they ask again.
MACHINES = f"""\
link add machines address {MAC} type bridge
address add {SERVER}/24 dev machines
link set machines up
address add {KUBERNETES}/32 dev lo
"""


# A user's own preferences, cached discoveries of other clusters and proxies do not belong here.
ENVIRONMENT = ("env", "KUBERC=off", "NO_PROXY=*", "no_proxy=*")


def as_admin(programs: Path, *command: str) -> list[str]:
    """Return a command with what its kubectl and nncp need to be the administrator's."""
    path = f"{Path(sys.executable).parent}:{programs}:{os.environ['PATH']}"
    return [*ENVIRONMENT, f"KUBECONFIG={ADMIN}", "KUBECACHEDIR=/run/kubectl", f"PATH={path}", *command]


def kubectl(executable: object, *words: str) -> list[str]:
    """Return the command of kubectl, as the administrator."""
    return [*ENVIRONMENT, str(executable), f"--kubeconfig={ADMIN}", "--cache-dir=/run/kubectl", *words]
