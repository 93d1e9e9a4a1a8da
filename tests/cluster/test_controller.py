"""The controller on a real API server, with agents that are made up: they say at once what they are asked to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import to_builtins

from nncp.operator import reading
from nncp.operator.conditions import ENACTMENT, of_node, stamped
from nncp.operator.objects import EnactmentStatus
from nncp.operator.rollout import Phase
from tests.cluster.documents import ROOT, policy
from tests.cluster.programs import NODES, kill, started
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nncp.lab.cluster.handle import Handle
    from nncp.operator.seen import Enactment

pytestmark = pytest.mark.slow

DUMMY = {"name": "d0", "type": "dummy", "state": "up", "mtu": "{{ values.mtu }}"}
VALUES = {"mtu": {"nodes": {"node-1": "1400"}, "default": "1300"}}
KINDS = ("crds.yaml", "admission.yaml")
NAMESPACE = "made-up"


class Running:
    """A controller in the control plane's machine; it ends with this process."""

    def __init__(self, cluster: Handle, log: Path) -> None:
        self.log = log
        self.process = started(cluster, "control-plane", "cluster", log, namespace=NAMESPACE, options=[])

    def end(self) -> None:
        kill(self.process)


@pytest.fixture(scope="module")
def api(cluster: Handle) -> Iterator[Handle]:
    for file in KINDS:
        cluster.kubectl("apply", "-f", str(ROOT / "deploy" / file))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "configmap", "adoption", "-n", NAMESPACE)  # as if one had started before
    yield cluster
    cluster.kubectl("delete", "namespace", NAMESPACE)


@pytest.fixture
def controller(api: Handle, tmp_path: Path) -> Iterator[Running]:
    running = Running(api, tmp_path / "log")
    yield running
    running.end()
    for kind in ("nncp", "nnce"):
        api.kubectl("delete", kind, "--all")
    api.kubectl("delete", "leases", "--all", "-n", NAMESPACE)
    assert "Traceback" not in running.log.read_text()


def heard(api: Handle, *nodes: str) -> None:
    """Say that agents are there."""
    items = [
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"holderIdentity": name},
        }
        for name in nodes
    ]
    api.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))


def listed(api: Handle, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(api.kubectl("get", kind, "-o", "json"))["items"]
    return sorted(found, key=lambda each: str(each["metadata"]["name"]))


def parts(api: Handle) -> dict[str, Enactment]:
    return {each["metadata"]["name"]: reading.enactment(each) for each in listed(api, "nnce")}


def apply(api: Handle, document: dict[str, Any]) -> None:
    api.kubectl("apply", "-f", "-", stdin=json.dumps(document))


def told(api: Handle) -> list[str]:
    """The condition of each policy that holds."""
    found = [each.get("status", {}).get("conditions", []) for each in listed(api, "nncp")]
    return [each["type"] for conditions in found for each in conditions if each["status"] == "True"]


def say(api: Handle, name: str, phase: Phase, *, ends: bool = False) -> None:
    """Say for a node how far it is."""
    part = parts(api)[name]
    conditions = stamped(of_node(phase, name=name, error="no"), ENACTMENT, [], now="2026-01-01T00:00:00Z")
    status = to_builtins(EnactmentStatus(conditions=conditions, asked=part.asked))
    status |= {"ended": part.go} if ends else {}
    patch = json.dumps({"status": status})
    api.kubectl("patch", "nnce", name, "--subresource=status", "--type=merge", "-p", patch)


def going(api: Handle) -> list[str]:
    return [name for name, part in parts(api).items() if part.holds_slot]


def versions(api: Handle) -> dict[str, str]:
    return {
        each["metadata"]["name"]: each["metadata"]["resourceVersion"]
        for kind in ("nncp", "nnce")
        for each in listed(api, kind)
    }


def test_a_policy_goes_from_node_to_node_and_who_takes_over_writes_nothing(
    api: Handle, controller: Running
) -> None:
    heard(api, *NODES)
    apply(api, policy("one", desired={"interfaces": [DUMMY]}, values=VALUES, maxUnavailable=1))
    until(lambda: sorted(parts(api)) == ["node-1.one", "node-2.one"], what=controller.log.read_text)
    made = listed(api, "nnce")
    assert [each["spec"]["desiredState"]["interfaces"][0]["mtu"] for each in made] == ["1400", "1300"]
    assert made[0]["metadata"]["labels"] == {"nmstate.io/policy": "one", "nmstate.io/node": "node-1"}
    assert made[0]["metadata"]["ownerReferences"][0]["name"] == "node-1"
    until(lambda: told(api) == ["Progressing"])
    say(api, "node-2.one", Phase.PENDING)
    assert going(api) == []  # node-1 has not looked at it yet
    say(api, "node-1.one", Phase.PENDING)
    until(lambda: going(api) == ["node-1.one"])
    say(api, "node-1.one", Phase.DONE, ends=True)
    until(lambda: going(api) == ["node-2.one"])
    say(api, "node-2.one", Phase.DONE, ends=True)
    until(lambda: told(api) == ["Available"])

    before = versions(api)
    again = Running(api, controller.log)  # it waits until the first one is gone
    try:
        controller.end()
        heard(api, *NODES)
        apply(api, policy("two", desired={"interfaces": []}, nodeSelector={"no": "where"}))
        until(lambda: told(api) == ["Available", "Ignored"], what=controller.log.read_text)
        assert {name: version for name, version in versions(api).items() if name != "two"} == before
        api.kubectl("delete", "nncp", "one")
        until(lambda: parts(api) == {})
    finally:
        again.end()


def test_what_an_edit_does_not_say_any_more_goes_and_what_the_server_refuses_is_told(
    api: Handle, controller: Running
) -> None:
    heard(api, *NODES)
    interface = {**DUMMY, "mtu": 1400}
    apply(api, policy("p", desired={"interfaces": [interface]}, probes=["ping:gw"]))
    until(lambda: len(parts(api)) == len(NODES), what=controller.log.read_text)
    apply(api, policy("p", desired={"interfaces": [interface]}))
    until(lambda: not any("probes" in each["spec"] for each in listed(api, "nnce")))
    long = policy("p" * 63, desired={"interfaces": [interface]})
    api.kubectl("label", "node", "node-1", f"for={'x' * 3}", "--overwrite")
    apply(api, long | {"spec": {**long["spec"], "nodeSelector": {"for": "xxx"}}})
    until(lambda: len(parts(api)) == len(NODES) + 1)


def test_an_api_server_that_is_away_for_a_while_delays_a_policy_and_what_went_meanwhile_is_missed(
    api: Handle, controller: Running
) -> None:
    heard(api, *NODES)
    apply(api, policy("p", desired={"interfaces": [{**DUMMY, "mtu": 1400}]}))
    until(lambda: len(parts(api)) == len(NODES), what=controller.log.read_text)
    api.command("off", "kube-apiserver")
    api.command("on", "kube-apiserver")
    heard(api, *NODES)
    for name in parts(api):
        say(api, name, Phase.PENDING)
    until(lambda: going(api) != [], seconds=60, what=controller.log.read_text)
