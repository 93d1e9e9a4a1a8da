"""The operator's programs on the machines of a cluster, started from this checkout instead of from an image."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from nncp.lab.cluster.addresses import SERVER
from nncp.lab.cluster.control import ADMIN
from tests.cluster.documents import ROOT
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nncp.lab.cluster.handle import Handle

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


PATHS = {
    "nnce": "/apis/nmstate.io/v1beta1/nodenetworkconfigurationenactments",
    "nns": "/apis/nmstate.io/v1beta1/nodenetworkstates",
}


def holding(item: Mapping[str, Any]) -> str:
    """The conditions of an object that hold."""
    conditions = item.get("status", {}).get("conditions", ())
    return " ".join(one["type"] for one in conditions if one["status"] == "True")


def slots(history: Iterable[Mapping[str, Any]]) -> int:
    """How many enactments at most were let go, and had not told how that ended, at the same time."""
    going: dict[str, bool] = {}
    most = 0
    for item in history:
        go = item["spec"].get("go")
        going[item["metadata"]["name"]] = bool(go) and go != item.get("status", {}).get("ended")
        most = max(most, sum(going.values()))
    return most


def program(pid: int) -> int:
    """Return the id of the program that a process leads to: others have only led into its machine."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    if words[0] == sys.executable.encode() and any(b"nncp" in word for word in words[1:4]):
        return pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    return program(int(children[0]))


def started(
    cluster: Handle, machine: str, part: str, log: Path, *, namespace: str, options: list[str], code: str = ""
) -> subprocess.Popen[bytes]:
    """Start a program of the operator's in a machine, or some code that is one; it ends with this process."""
    argv = ["env", f"PYTHONPATH={ROOT}", f"POD_NAMESPACE={namespace}", "NO_PROXY=*", f"NODE_NAME={machine}"]
    # The engine has no credentials, and is told where the API server is as a kubelet tells it.
    of_engine = [f"KUBERNETES_SERVICE_HOST={SERVER}", "KUBERNETES_SERVICE_PORT=443"]
    argv += of_engine if part == "engine" else [f"KUBECONFIG={ADMIN}"]
    argv += ["setpriv", "--pdeathsig", "KILL", sys.executable]
    argv += ["-c", code] if code else ["-m", f"nncp.operator.{part}", *options]
    with log.open("ab") as output:
        return subprocess.Popen(
            cluster.argv(machine, *argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )


def kill(running: subprocess.Popen[bytes]) -> None:
    """Kill the program itself, and not only what has led into its machine; return once it has gone."""
    if running.poll() is None:
        try:
            os.kill(program(running.pid), signal.SIGKILL)
        except (OSError, IndexError):  # its machine has gone, and it with that
            running.kill()
    running.wait()


class Operator:
    """The controller, and on each node an agent and its engine; all end with this process."""

    def __init__(self, cluster: Handle, folder: Path, sockets: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.sockets = sockets
        self.running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
        self.start("control-plane", "cluster")
        for node in NODES:
            (folder / node / "probes.d").mkdir(parents=True)
            self.start_node(node)

    def start_node(self, node: str) -> None:
        for part in ("engine", "node"):
            self.start(node, part)

    def start(self, machine: str, part: str, *more: str, code: str = "") -> None:
        self.running[machine, part] = started(
            self.cluster, machine, part, self.log_of(machine, part),
            namespace=NAMESPACE, options=[*self._options(machine, part), *more], code=code,
        )  # fmt: skip

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

    def await_ready(self, *nodes: str) -> None:
        """Wait until the nodes' agents are ready."""
        files = [self.folder / node / "ready" for node in nodes or NODES]
        until(lambda: all(file.exists() for file in files), seconds=60, what=self.log)

    def kill(self, machine: str, part: str) -> None:
        kill(self.running[machine, part])
        if part == "node":
            (self.folder / machine / "ready").unlink(missing_ok=True)

    def kill_node(self, node: str) -> None:
        for part in ("node", "engine"):
            self.kill(node, part)

    def start_what_has_ended(self) -> None:
        """Do as a kubelet does: a controller that was away for longer than it may lead ends by itself."""
        for (machine, part), running in list(self.running.items()):
            if running.poll() is not None:
                self.start(machine, part)

    def end(self) -> None:
        for running in self.running.values():
            kill(running)

    def log_of(self, machine: str, part: str) -> Path:
        return self.folder / f"{machine}.{part}.log"

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

    def await_probed(self, *nodes: str) -> None:
        """Wait until a change on each of the nodes is made, and waits for its probe."""
        files = [self.folder / node / "waiting" for node in nodes]
        until(lambda: all(file.exists() for file in files), seconds=60, what=self.what("nnce"))

    def let(self, *nodes: str) -> None:
        """Let the probe answer on the nodes."""
        for node in nodes:
            (self.folder / node / "go").touch()

    def apply(self, document: Mapping[str, Any], *words: str) -> None:
        self.cluster.kubectl("apply", *words, "-f", "-", stdin=json.dumps(document))

    def patch(self, policy: str, **spec: Any) -> None:
        change = json.dumps({"spec": spec})
        self.cluster.kubectl("patch", "nncp", policy, "--type=merge", "-p", change)

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

    def await_policy(self, name: str, told: str) -> dict[str, Any]:
        """Wait until a policy's condition that holds is this one, of its newest spec; return the condition."""

        def found() -> Any:
            self.start_what_has_ended()
            item = self.items("nncp")[name]
            status = item.get("status", {})
            if status.get("observedGeneration") != item["metadata"]["generation"]:
                return {}
            return next((one for one in status["conditions"] if one["status"] == "True"), {})

        until(lambda: found().get("type") == told, seconds=60, what=self.what("nnce"))
        condition: dict[str, Any] = found()
        return condition

    def what(self, kind: str) -> Any:
        return lambda: f"{self.told(kind)} {self.log()}"

    def told(self, kind: str) -> dict[str, str]:
        """The conditions of each object that hold."""
        self.start_what_has_ended()
        return {name: holding(each) for name, each in self.items(kind).items()}

    def said(self, enactment: str) -> str:
        """The message of the condition that holds."""
        conditions = self.items("nnce")[enactment]["status"]["conditions"]
        return next(str(one["message"]) for one in conditions if one["status"] == "True")

    def begun(self, node: str) -> int:
        """How often a node's engine has begun to make a change."""
        return self.log_of(node, "engine").read_text().count(" begins")

    def numbers(self, machine: str, port: int) -> dict[str, float]:
        """What Prometheus reads of a program, by names and labels, without the buckets."""
        ask = (
            f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{port}/metrics').read().decode())"
        )
        text = self.cluster.on(machine, sys.executable, "-c", ask)
        return {
            " ".join([one.name, *one.labels.values()]): one.value
            for family in text_string_to_metric_families(text)
            for one in family.samples
            if not one.name.endswith("_bucket")
        }

    def events(self) -> dict[str, list[str]]:
        """What was told of each enactment, in order."""
        found = json.loads(self.cluster.kubectl("get", "events.events.k8s.io", "-o", "json"))["items"]
        told: dict[str, list[str]] = {}
        for each in sorted(found, key=lambda each: str(each["eventTime"])):
            if each["reportingController"] == "nmstate.io/agent":
                reason = each["reason"].removeprefix("Configuration").removesuffix("Configured")
                told.setdefault(each["regarding"]["name"], []).append(reason)
        return told

    def link(self, node: str, name: str = "v0") -> dict[str, Any]:
        links = json.loads(self.cluster.on(node, "ip", "-d", "-j", "link"))
        return next((each for each in links if each["ifname"] == name), {})

    def versions(self) -> dict[str, str]:
        return {
            f"{kind}/{name}": each["metadata"]["resourceVersion"]
            for kind in ("nncp", "nnce", "nns")
            for name, each in self.items(kind).items()
        }

    def now(self, kind: str) -> str:
        """The version of all objects of a kind, from which `history` tells."""
        return str(
            json.loads(self.cluster.kubectl("get", "--raw", PATHS[kind]))["metadata"]["resourceVersion"]
        )

    def history(self, kind: str, since: str) -> list[dict[str, Any]]:
        """Each object that was written since a version, as it was then, in the order of the writes."""
        query = f"watch=true&resourceVersion={since}&timeoutSeconds=1"
        lines = self.cluster.kubectl("get", "--raw", f"{PATHS[kind]}?{query}").splitlines()
        events = [json.loads(line) for line in lines]
        assert all(event["type"] in {"ADDED", "MODIFIED", "DELETED"} for event in events)
        return [event["object"] for event in events]

    def steps(self, name: str, since: str) -> list[str]:
        """What held of an enactment since a version, one after the other."""
        told = [holding(each) for each in self.history("nnce", since) if each["metadata"]["name"] == name]
        return [now for before, now in zip(["", *told], told, strict=False) if now != before]

    def clear(self) -> None:
        """Take away what was asked of the nodes; each goes back to what it was.

        An edit asks anew for what has failed, so a policy that goes back already is not edited.
        """
        for name, item in self.items("nncp").items():
            if item["spec"].get("onDelete") != "Revert" or item["spec"].get("paused"):
                self.patch(name, onDelete="Revert", paused=False)
        self.cluster.kubectl("delete", "nncp", "--all")
        until(lambda: self.told("nnce") == {}, seconds=20, what=self.what("nnce"))
