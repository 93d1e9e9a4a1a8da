"""Agents and engines on the nodes of a real cluster, with the controller: from a policy to links and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster.documents import policy, veth
from tests.cluster.programs import BLOCKING, FAILING, NODES
from tests.waiting import until

if TYPE_CHECKING:
    from tests.cluster.programs import Operator

pytestmark = pytest.mark.slow


@pytest.mark.deviates("nothing-is-done-twice")
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

    counted = operator.numbers("control-plane", 8089)
    assert counted["kubernetes_nmstate_policies_status Available"] == 1
    assert counted["kubernetes_nmstate_enactments_status node-1 Available"] == 1
    assert counted["bridgehead_api_writes_total 201 post"] >= 2
    assert counted["bridgehead_decision_seconds_count"] > 0
    counted = operator.numbers("node-1", 8090)
    assert (
        counted["bridgehead_apply_seconds_count done"] == counted["bridgehead_slot_wait_seconds_count"] == 1
    )
    assert counted["kubernetes_nmstate_network_interfaces node-1 veth"] > 0  # its state is told since above
    told = {f"{node}.one": ["Progressing", "Successfully"] for node in NODES}
    until(lambda: operator.events() == told, what=operator.events)

    before = operator.versions()
    for node in NODES:
        operator.kill_node(node)
        operator.start_node(node)
    operator.await_ready()
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
    until(lambda: operator.numbers("node-1", 8090)["bridgehead_drifted_policies"] == 1)
    until(lambda: operator.numbers("control-plane", 8089).get("bridgehead_drifted_nodes one") == 2)
    until(lambda: operator.events()["node-1.one"][2:] == ["Drifted"], what=operator.events)
    operator.apply(policy("one", desired=veth("{{ values.mtu }}"), values=values, drift="Repair"))
    operator.await_all("nnce", "Available")
    assert [operator.link(node)["mtu"] for node in NODES] == [1400, 1300]


def test_an_apply_goes_on_without_the_api_server_and_the_agent_and_is_made_again_without_the_engine(
    operator: Operator,
) -> None:
    for node in NODES:
        operator.probe(node, "wait", BLOCKING)
    operator.apply(policy("one", desired=veth(), probes=["exec:wait"], maxUnavailable=2, onDelete="Revert"))
    operator.await_probed(*NODES)
    operator.cluster.command("off", "kube-apiserver")
    for machine, part in (("node-1", "node"), ("node-2", "engine")):
        operator.kill(machine, part)
        operator.start(machine, part)
    for node in NODES:
        operator.let(node)
        until(lambda node=node: "ends: done" in operator.log_of(node, "engine").read_text())
    operator.cluster.command("on", "kube-apiserver")
    operator.await_all("nncp", one="Available")
    for each in operator.items("nnce").values():
        assert each["status"]["ended"] == each["spec"]["go"] == f"{each['spec']['asked']}.0"
    assert operator.begun("node-2") == 2
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
    (aborted,) = operator.told("nnce").keys() - {failed}
    told = {failed: ["Progressing", "ReconcileFailed"], aborted: ["ReconcileFailed"]}
    until(lambda: operator.events() == told, what=operator.events)
    node = failed.removesuffix(".one")
    assert operator.numbers(node, 8090)["bridgehead_apply_seconds_count failed"] == 1
    assert [operator.link(node) for node in NODES] == [{}, {}]
