"""Agents and engines on the nodes of a real cluster, with the controller: from a policy to links and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp.lab.cluster.control import ADMIN
from tests.cluster.test_api import ROOT, policy
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

NODES = ("node-1", "node-2")
NAMESPACE = "agents"
BLOCKING = """#!/bin/sh
cd {folder}
[ -e looked ] || {{ touch looked; exit 0; }}
touch waiting
while [ ! -e go ]; do sleep 0.05; done
"""
FAILING = """#!/bin/sh
cd {folder}
[ -e looked ] || {{ touch looked; exit 0; }}
kill -9 $PPID  # whoever waits for it: a program that says no is asked again for a minute
"""


def veth(mtu: object = 1400) -> dict[str, Any]:
    link = {"name": "v0", "type": "veth", "state": "up", "mtu": mtu, "veth": {"peer": "w0"}}
    return {"interfaces": [link]}


def program(pid: int) -> int:
    """Return the id of the program that a process leads to: others have only led into its machine."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if words[0] == sys.executable.encode() and any(b"nncp" in word for word in words[1:4]):
        return pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return program(int(children[0]))


class Operator:
    """The controller, and on each node an agent and its engine; all end with this process."""

    def __init__(self, cluster: Handle, folder: Path, sockets: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.sockets = sockets
        self.running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        for node in NODES:
            (folder / node / "probes.d").mkdir(parents=True)
        self.start("control-plane", "cluster")
        for node in NODES:
            self.start(node, "engine")
            self.start(node, "node")

    def start(self, machine: str, part: str, *instead: str) -> None:
        """Start a part, by `instead` of its module if that is something."""
        argv = [
            "env",
            f"KUBECONFIG={ADMIN}",
            f"PYTHONPATH={ROOT}",
            f"POD_NAMESPACE={NAMESPACE}",
            "NO_PROXY=*",
        ]
        argv += [f"NODE_NAME={machine}", "setpriv", "--pdeathsig", "KILL", sys.executable]
        argv += instead or ["-m", f"nncp.operator.{part}", *self._options(machine, part)]
        with (self.folder / f"{machine}.{part}.log").open("ab") as log:
            self.running[machine, part] = subprocess.Popen(
                self.cluster.argv(machine, *argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _options(self, node: str, part: str) -> list[str]:
        at = ["--socket", str(self.sockets / node)]
        folder = self.folder / node
        match part:
            case "engine":
                dirs = ["--state-dir", str(folder / "state"), "--probes-dir", str(folder / "probes.d")]
                return [*at, *dirs, "--quiet", "0.2"]
            case "node":
                return [*at, "--ready", str(folder / "ready")]
        return []

    def kill(self, machine: str, part: str) -> None:
        """Kill the program itself, and not only what has led into its machine; return once it has gone."""
        running = self.running[machine, part]
        if running.poll() is None:
            os.kill(program(running.pid), signal.SIGKILL)
        running.wait()

    def end(self) -> None:
        for machine, part in self.running:
            self.kill(machine, part)

    def log(self) -> str:
        return "\n".join(f"{each.name}:\n{each.read_text()}" for each in sorted(self.folder.glob("*.log")))

    def probe(self, node: str, name: str, text: str) -> None:
        """Put a program on a node that knows whether it was there before a change."""
        folder = self.folder / node
        for mark in ("looked", "waiting", "go"):
            (folder / mark).unlink(missing_ok=True)
        program = folder / "probes.d" / name
        program.write_text(text.format(folder=folder))
        program.chmod(0o755)

    def apply(self, document: dict[str, Any]) -> None:
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(document))

    def items(self, kind: str) -> dict[str, dict[str, Any]]:
        found = json.loads(self.cluster.kubectl("get", kind, "-o", "json"))["items"]
        return {each["metadata"]["name"]: each for each in found}

    def await_all(self, kind: str, *told: str, **named: str) -> None:
        """Wait until each object's true conditions are these, of those that are named or of all."""
        until(
            lambda: self.told(kind) == (named or dict.fromkeys(self.told(kind), " ".join(told))),
            seconds=60,
            what=self.what(kind),
        )

    def what(self, kind: str) -> Any:
        return lambda: f"{self.told(kind)} {self.log()}"

    def told(self, kind: str) -> dict[str, str]:
        """The conditions of each object that hold."""
        return {
            name: " ".join(
                one["type"] for one in each.get("status", {}).get("conditions", ()) if one["status"] == "True"
            )
            for name, each in self.items(kind).items()
        }

    def link(self, node: str, name: str = "v0") -> dict[str, Any]:
        links = json.loads(self.cluster.on(node, "ip", "-d", "-j", "link"))
        return next((each for each in links if each["ifname"] == name), {})

    def versions(self) -> dict[str, str]:
        return {
            f"{kind}/{name}": each["metadata"]["resourceVersion"]
            for kind in ("nncp", "nnce", "nns")
            for name, each in self.items(kind).items()
        }


@pytest.fixture(scope="module")
def api(cluster: Handle) -> Handle:
    for file in ("crds.yaml", "admission.yaml"):
        cluster.kubectl("apply", "-f", str(ROOT / "deploy" / file))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "configmap", "adoption", "-n", NAMESPACE)  # as if one had started before
    return cluster


@pytest.fixture
def operator(api: Handle, tmp_path: Path, socket_folder: Path) -> Iterator[Operator]:
    running = Operator(api, tmp_path, socket_folder)
    try:
        until(
            lambda: all((tmp_path / node / "ready").exists() for node in NODES), seconds=60, what=running.log
        )
        yield running
    finally:
        running.end()
        for kind in ("nncp", "nnce", "nns"):
            api.kubectl("delete", kind, "--all")
        api.kubectl("delete", "leases", "--all", "-n", NAMESPACE)  # a controller that was killed leads on
        for node in NODES:
            api.on(node, "sh", "-c", "ip link del v0 2>/dev/null || :")
    assert "Traceback" not in running.log()


def test_a_policy_is_applied_everywhere_and_nothing_that_restarts_writes_again(operator: Operator) -> None:
    values = {"mtu": {"nodes": {"node-1": "1400"}, "default": "1300"}}
    operator.apply(policy("one", desired=veth("{{ values.mtu }}"), values=values, maxUnavailable=1))
    operator.await_all("nncp", one="Available")
    assert [operator.link(node)["mtu"] for node in NODES] == [1400, 1300]
    found = operator.items("nnce")
    assert operator.told("nnce") == {"node-1.one": "Available", "node-2.one": "Available"}
    assert found["node-1.one"]["status"]["desiredState"] == veth("1400")
    until(lambda: "v0" in json.dumps(operator.items("nns")["node-1"]["status"]), what=operator.log)
    assert operator.items("nns")["node-1"]["metadata"]["ownerReferences"][0]["kind"] == "Node"

    before = operator.versions()
    for node in NODES:
        for part in ("node", "engine"):
            operator.kill(node, part)
        (operator.folder / node / "ready").unlink()
        operator.start(node, "engine")
        operator.start(node, "node")
    until(lambda: all((operator.folder / node / "ready").exists() for node in NODES), what=operator.log)
    operator.apply(
        policy("two", desired={"interfaces": []}, nodeSelector={"kubernetes.io/hostname": "node-1"})
    )
    until(lambda: operator.told("nncp").get("two") == "Available", seconds=60, what=operator.what("nnce"))
    now = operator.versions()
    assert {name: now[name] for name in before} == before

    for node in NODES:
        operator.cluster.on(node, "ip", "link", "set", "v0", "mtu", "1200")
    drifted = "Available Drifted"
    operator.await_all("nnce", **{"node-1.one": drifted, "node-2.one": drifted, "node-1.two": "Available"})
    operator.apply(policy("one", desired=veth("{{ values.mtu }}"), values=values, drift="Repair"))
    operator.await_all("nnce", "Available")
    assert [operator.link(node)["mtu"] for node in NODES] == [1400, 1300]


def test_an_apply_goes_on_without_the_api_server_and_the_agent_and_is_made_again_without_the_engine(
    operator: Operator,
) -> None:
    for node in NODES:
        operator.probe(node, "wait", BLOCKING)
    operator.apply(policy("one", desired=veth(), probes=["exec:wait"], maxUnavailable=2, onDelete="Revert"))
    until(
        lambda: all((operator.folder / node / "waiting").exists() for node in NODES),
        seconds=60,
        what=operator.log,
    )
    operator.cluster.command("off", "kube-apiserver")
    for machine, part in (("node-1", "node"), ("node-2", "engine")):
        operator.kill(machine, part)
        operator.start(machine, part)
    for node in NODES:
        (operator.folder / node / "go").touch()
        until(lambda node=node: "ends: done" in (operator.folder / f"{node}.engine.log").read_text())
    operator.cluster.command("on", "kube-apiserver")
    operator.await_all("nncp", one="Available")
    for each in operator.items("nnce").values():
        assert each["status"]["ended"] == each["spec"]["go"] == f"{each['spec']['asked']}.0"
    assert (operator.folder / "node-2.engine.log").read_text().count("begins") == 2
    operator.cluster.kubectl("delete", "nncp", "one")
    until(lambda: operator.items("nnce") == {}, seconds=60, what=operator.what("nnce"))
    assert [operator.link(node) for node in NODES] == [{}, {}]


def test_a_node_that_fails_goes_back_and_the_other_is_not_tried(operator: Operator) -> None:
    for node in NODES:
        operator.probe(node, "bad", FAILING)
    operator.apply(policy("plan", desired=veth(), mode="Plan"))
    until(lambda: set(operator.told("nnce").values()) == {"Pending"}, seconds=60, what=operator.what("nnce"))
    (diff, _) = (each["status"]["diff"] for each in operator.items("nnce").values())
    assert diff[-1].startswith("Plan: ")
    operator.cluster.kubectl("delete", "nncp", "plan")
    operator.apply(policy("one", desired=veth(), probes=["exec:bad"], maxUnavailable=1))
    operator.await_all("nncp", one="Degraded")
    until(
        lambda: sorted(operator.told("nnce").values()) == ["Aborted", "Failing"], what=operator.what("nnce")
    )
    (failed,) = (name for name, told in operator.told("nnce").items() if told == "Failing")
    conditions = operator.items("nnce")[failed]["status"]["conditions"]
    assert "was ended" in next(one["message"] for one in conditions if one["type"] == "Failing")
    assert [operator.link(node) for node in NODES] == [{}, {}]
