"""The cluster from inside of its room: makes the machines, connects them, turns them off and on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp import lab
from nncp.errors import Error, ErrorKind
from nncp.lab import nodes, switch
from nncp.lab.cluster import program, runtime
from nncp.lab.cluster.addresses import CONTROL, KUBERNETES, NODES, SERVER, address, number, pods
from nncp.lab.cluster.control import ADMIN, ControlPlane, programs
from nncp.lab.cluster.worker import Worker, boot_node, routes
from nncp.lab.nodes import Node, Rack, boot, cable

if TYPE_CHECKING:
    from collections.abc import Callable

UNIT = "/etc/systemd/system/nncp-restore.service"
READY = "300s"  # kubectl's own limit; nothing here takes so long but on a machine that stands still
API = "kube-apiserver"


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
        self.control.start(*programs())
        say("boots node-1 and node-2")
        cable(ends=((self.rack["prober"], "eth0"), (self.rack["tor"], "prober")))
        for name in NODES:
            self.boot(name)
        self.switch_on()
        self.rack.write()
        self.control.wait()
        say("the API server is ready; waits for the nodes")
        self.wait_for(*NODES)
        self.kubectl("wait", "--for=create", "serviceaccount/default", f"--timeout={READY}")

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
        """Run what the unit of `nncp install-unit` runs at a start, if it is installed there."""
        for line in machine.read(UNIT).splitlines():
            if line.startswith("ExecStart="):
                machine.run("sh", "-c", f"{line.removeprefix('ExecStart=')} || :")

    def switch_on(self) -> None:
        """Give the switch its bonds and VLANs, where this kernel has them; else its NICs stay as they are."""
        if not lab.missing():
            switch.configure(self.rack["tor"])

    def wait_for(self, *names: str) -> None:
        """Wait until nodes are there and ready."""
        for name in names:  # one at a time: several that are not there yet are refused at once
            self.kubectl("wait", "--for=create", f"node/{name}", f"--timeout={READY}")
        self.kubectl(
            "wait", "--for=condition=Ready", *(f"node/{name}" for name in names), f"--timeout={READY}"
        )

    def turn_off(self, name: str) -> None:
        """Take the power from a node, or end the API server."""
        if name == API:
            self.control.stop(API)
        else:
            nodes.stop(self.node(name))

    def turn_on(self, name: str) -> None:
        """Turn on what was turned off, and return when the cluster has it again."""
        if name == API:
            self.control.start(API)
            self.control.wait()
            return
        self.turn_off(name)
        self.boot(name)
        self.switch_on()
        self.rack.write()
        self.wait_for(name)

    def link(self, name: str, *, up: bool) -> None:
        """Cut a node off from the API server, at the switch of the management network; or mend that."""
        self.node(name)
        self.rack[CONTROL].run("ip", "link", "set", f"to-{name}", "up" if up else "down")

    def node(self, name: str) -> Node:
        """Return the machine of a node.

        Raises:
            Error: it is none.

        """
        if name not in NODES:
            raise Error(f"{name} is no node", kind=ErrorKind.USAGE, hint=f"there are {', '.join(NODES)}")
        return self.rack[name]


MACHINES = f"""\
link add machines type bridge
address add {SERVER}/24 dev machines
link set machines up
address add {KUBERNETES}/32 dev lo
"""


def kubectl(executable: object, *words: str) -> list[str]:
    """Return the command of kubectl, as the administrator."""
    return [str(executable), f"--kubeconfig={ADMIN}", *words]
