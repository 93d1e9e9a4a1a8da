"""The cluster's demo: one policy for all nodes, and what becomes of it whatever happens.

It tells on standard error what it is about, and on standard output what came of it. It does what an
administrator does, by kubectl; what the nodes hold then is looked at by the kernel's own files and by ip.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.lab import switch
from nncp.lab.cluster.addresses import NODES
from nncp.lab.cluster.inside import Cluster
from nncp.lab.nodes import Rack
from nncp.pace import Limit
from nncp.render import render_error

if TYPE_CHECKING:
    from collections.abc import Callable

CHECKOUT = Path(__file__).parents[3]
DEPLOY = CHECKOUT / "deploy"
POLICY = CHECKOUT / "policies" / "vm-bridge" / "cluster.yaml"
NAMESPACE = "bridgehead"
ADDRESSES = {"node-1": "172.16.1.21", "node-2": "172.16.1.22"}
SOON_S, IN_ALL = 60.0, 600.0
"""Seconds of a quiet machine: since anything changed that is waited for, and in all."""
LOOK_EVERY = 0.2
API = "kube-apiserver"

WHAT_IF: dict[str, Any] = {
    "mode": "Plan",
    "desiredState": {
        "interfaces": [
            {
                "name": "bond0",
                "type": "bond",
                "state": "up",
                "link-aggregation": {"mode": "active-backup", "port": ["ens1f0", "ens1f1"]},
            }
        ]
    },
}
DETOUR = {"node-1": f"{ADDRESSES['node-2']}/32", "node-2": "172.16.40.0/24"}
"""Where each node is to go by a router that is not there: on node-1 that leads away from its neighbour."""
STORAGE: dict[str, Any] = {
    "onDelete": "Revert",
    "probes": [f"ping:{ADDRESSES['node-2']}"],
    "values": {"network": {"nodes": DETOUR}},
    "desiredState": {
        "routes": {
            "config": [
                {
                    "destination": "{{ values.network }}",
                    "next-hop-address": "10.99.0.250",
                    "next-hop-interface": "enp1s0",
                }
            ]
        }
    },
}


class Told(Struct, frozen=True):
    """What one act has shown."""

    heading: str
    lines: list[str]


class Demo:
    """The course of the demo: what it has shown so far."""

    def __init__(self, cluster: Cluster, image: Path) -> None:
        self.cluster = cluster
        self.image = image
        self.began = time.monotonic()
        self.told: list[Told] = []

    def say(self, text: str) -> None:
        """Tell what is going on now."""
        click.echo(f"[{time.monotonic() - self.began:6.1f} s] {text}", err=True)

    def run(self) -> None:
        """All acts in their order."""
        self.cluster.furnish(self.say)
        acts = (
            self.deploy,
            self.one_policy,
            self.what_if,
            self.repair,
            self.failing_node,
            self.revert,
            self.power_cycle,
        )
        for act in acts:
            self.told.append(act())

    def deploy(self) -> Told:
        """Start the operator."""
        self.say("gives the nodes the image, and applies deploy/")
        began = time.monotonic()
        self.cluster.load([self.image])
        self.cluster.kubectl("apply", "-k", str(DEPLOY))
        self.until(self._is_rolled_out, "the agents and the controllers")
        seconds = time.monotonic() - began
        return Told(
            "Operator",
            [f"kubectl apply -k deploy/: an agent on each node and two controllers, {seconds:.0f} s"],
        )

    def _is_rolled_out(self) -> bool:
        pods = self.objects("pods", f"--namespace={NAMESPACE}")
        ready = [
            pod["metadata"]["name"]
            for pod in pods
            if any(each["type"] == "Ready" and each["status"] == "True" for each in _conditions(pod))
        ]
        return len(ready) == len(NODES) + 2

    def one_policy(self) -> Told:
        """Give all nodes their bond and their bridge by one policy."""
        self.say("applies policies/vm-bridge/cluster.yaml")
        began = time.monotonic()
        self.cluster.kubectl("apply", "-f", str(POLICY))
        self.until(lambda: self.holds("vm-bridge") == "Available", "vm-bridge")
        seconds = time.monotonic() - began
        self._bonds()
        lines = [f"{self.message('vm-bridge')}, {seconds:.1f} s, one node after the other"]
        for name in NODES:
            bond = switch.bond_of(self.cluster.rack[name], "bond0")
            lines.append(f"{name}: {ADDRESSES[name]} on br1; bond0 {bond.mode}, partner {bond.partner_mac}")
        return Told("One policy", lines)

    def _bonds(self) -> None:
        """Wait until LACP is up on both sides of all bonds, and nodes answer each other."""
        rack = self.cluster.rack
        switch.wait_for_lacp([(rack[name], "bond0") for name in NODES])
        switch.wait_for_lacp([(rack["tor"], f"to-{name}") for name in NODES])
        self.until(lambda: self._answers("node-1", ADDRESSES["node-2"]), "the bridge between the nodes")

    def _answers(self, node: str, address: str) -> bool:
        said = self.cluster.rack[node].run("sh", "-c", f"ping -c 1 -W 2 {address} || :")
        return " 0% packet loss" in said

    def what_if(self) -> Told:
        """Ask what a change would do."""
        self.say("asks what another bond mode would do: mode Plan")
        self.apply("what-if", WHAT_IF)
        self.until(lambda: self.holds("what-if") in {"Available", "Degraded"}, "what-if")
        said = self.message("what-if")
        diff = self.enactment("node-1", "what-if")["status"]["diff"]
        self.cluster.kubectl("delete", "nncp", "what-if")
        if switch.bond_of(self.cluster.rack["node-1"], "bond0").mode != "802.3ad":
            raise Error("a policy that only plans has changed node-1", kind=ErrorKind.FAILED)
        return Told("What if", [said, *(f"node-1: {line}" for line in diff)])

    def repair(self) -> Told:
        """Take an address away by hand, and see it come back."""
        self.say("node-2 loses its address, by hand; the policy says drift: Repair")
        self.cluster.kubectl(
            "patch", "nncp", "vm-bridge", "--type=merge", "-p", '{"spec":{"drift":"Repair"}}'
        )
        self.until(lambda: self.holds("vm-bridge") == "Available", "vm-bridge")
        node, address = self.cluster.rack["node-2"], f"{ADDRESSES['node-2']}/24"
        began = time.monotonic()
        node.run("ip", "address", "delete", address, "dev", "br1")
        self.until(lambda: address in node.run("ip", "-brief", "address", "show", "br1"), "the address")
        seconds = time.monotonic() - began
        return Told("Drift", [f"{address} taken off br1 of node-2 by hand: back after {seconds:.0f} s"])

    def failing_node(self) -> Told:
        """Let a probe fail on one node, while one may change and then while two may."""
        self.say("a policy that cuts node-1 off from node-2, as its probe tells")
        lines = []
        for limit in (1, 2):
            self.apply("storage", {**STORAGE, "maxUnavailable": limit})
            self.until(lambda: self._is_over("storage"), "storage")
            if (has := self._detours()) != list(NODES[1:limit]):
                raise Error(f"the route is on {has or 'no node'}", kind=ErrorKind.FAILED)
            lines.append(f"maxUnavailable {limit}: {self.message('storage')}")
        return Told("A bad node", lines)

    def _detours(self) -> list[str]:
        """Return the nodes that go where the policy says."""
        rack = self.cluster.rack
        return [name for name in NODES if rack[name].run("ip", "route", "show", DETOUR[name]).strip()]

    def _is_over(self, policy: str) -> bool:
        """Whether each node has come to an end with what the policy says now."""
        (generation,) = [
            each["metadata"]["generation"]
            for each in self.objects("nncp")
            if each["metadata"]["name"] == policy
        ]
        ended = [
            each["status"].get("policyGeneration") == generation
            and self._true(each) in {"Available", "Failing", "Aborted"}
            for each in self.objects("nnce")
            if each["spec"]["policyName"] == policy and "status" in each
        ]
        return len(ended) == len(NODES) and all(ended) and self.holds(policy) == "Degraded"

    def revert(self) -> Told:
        """Delete the policy; its nodes go back."""
        self.say("deletes that policy, which says onDelete: Revert")
        self.cluster.kubectl("delete", "nncp", "storage")
        self.until(lambda: not self._detours(), "the way back")
        self.until(
            lambda: all(each["spec"]["policyName"] != "storage" for each in self.objects("nnce")),
            "the end of it",
        )
        return Told(
            "Revert", ["the policy is deleted, and its route on node-2 with it: what was before is back"]
        )

    def power_cycle(self) -> Told:
        """Take the power from a node while the API server is away."""
        self.say("node-2 loses its power while the API server is away")
        by = self.cluster.kubectl("get", "nns", "node-2", "-o", "jsonpath={.status.restore}")
        self.cluster.turn_off(API)
        self.cluster.turn_on("node-2")
        began = time.monotonic()
        self._bonds()
        seconds = time.monotonic() - began
        self.cluster.turn_on(API)
        self.until(lambda: self.holds("vm-bridge") == "Available", "vm-bridge")
        what = "node-2 has bond, bridge and address again"
        when = f"{what} {seconds:.0f} s after its start, without an API server"
        return Told("Power cycle", [when, f"by what its NodeNetworkState says: {by}"])

    def apply(self, name: str, spec: dict[str, Any]) -> None:
        """Apply a policy."""
        body = {
            "apiVersion": "nmstate.io/v1",
            "kind": "NodeNetworkConfigurationPolicy",
            "metadata": {"name": name},
        }
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps({**body, "spec": spec}))

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds; raises `Error` with what the policies say when it does not."""
        limit = Limit(SOON_S, in_all=IN_ALL)
        while not self._try(holds):
            said = self._situation()
            limit.sees(said)
            if limit.is_over():
                told = f"{what} did not get there {limit.story}"
                raise Error(told, kind=ErrorKind.FAILED, hint=said)
            time.sleep(LOOK_EVERY)

    def _situation(self) -> str:
        """Return what the operator's objects say: as long as that changes, something goes on."""
        try:
            pods = self.cluster.kubectl("get", "pods", f"--namespace={NAMESPACE}", "--no-headers")
            return pods + self.cluster.kubectl("get", "nncp,nnce", "--no-headers")
        except Error as error:
            return error.message

    @staticmethod
    def _try(holds: Callable[[], bool]) -> bool:
        """Whether something holds; while an API server starts, nobody can say."""
        try:
            return holds()
        except Error:
            return False

    def objects(self, kind: str, *words: str) -> list[dict[str, Any]]:
        """Return all objects of a kind."""
        found: list[dict[str, Any]] = json.loads(self.cluster.kubectl("get", kind, *words, "-o", "json"))[
            "items"
        ]
        return found

    def enactment(self, node: str, policy: str) -> dict[str, Any]:
        """Return a node's part in a policy."""
        found: dict[str, Any] = json.loads(
            self.cluster.kubectl("get", "nnce", f"{node}.{policy}", "-o", "json")
        )
        return found

    def holds(self, policy: str) -> str:
        """Return which condition of a policy holds for the spec that it has now; "" when none does."""
        body = json.loads(self.cluster.kubectl("get", "nncp", policy, "-o", "json"))
        is_current = body.get("status", {}).get("observedGeneration") == body["metadata"]["generation"]
        return self._true(body) if is_current else ""

    @staticmethod
    def _true(body: dict[str, Any]) -> str:
        return next((each["type"] for each in _conditions(body) if each["status"] == "True"), "")

    def message(self, policy: str) -> str:
        """Return what a policy says of itself."""
        path = 'jsonpath={.status.conditions[?(@.status=="True")].message}'
        return self.cluster.kubectl("get", "nncp", policy, "-o", path)


def _conditions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an object's conditions: none while nobody has looked at it."""
    found: list[dict[str, Any]] = body.get("status", {}).get("conditions") or []
    return found


def show(group: str, image: Path) -> int:
    """Run the demo and return its exit code: 0 when everything was shown."""
    demo = Demo(Cluster(Rack({}), group=group), image)
    failed: Error | None = None
    try:
        demo.run()
    except Error as error:
        failed = error
    for told in demo.told:
        first, *rest = told.lines
        click.echo("\n".join([f"{told.heading + ':':<13}{first}", *(" " * 13 + line for line in rest)]))
    click.echo(f"{'Wall time:':<13}{time.monotonic() - demo.began:.0f} s")
    for one in failed or ():
        click.echo(render_error(one), err=True)
    return failed.kind.exit_code if failed else 0
