"""What goes wrong while a policy is rolled out, on a real API server: each test sees that it hit its phase."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nncp.lab.cluster.control import ADMIN
from tests.cluster.documents import ROOT, policy, veth
from tests.cluster.outside import network
from tests.cluster.programs import BLOCKING, NODES, kill, slots, started
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nncp.lab.cluster.handle import Handle
    from tests.cluster.programs import Operator

pytestmark = pytest.mark.slow

STORM = """
import asyncio, sys
from nncp.operator import api

async def storm() -> None:
    async with await api.Api.connect() as server:
        for number in range(10**9):
            found = await server.get(api.ENACTMENT.path)
            for name in (each["metadata"]["name"] for each in found["items"]):
                label = {"op": "add", "path": "/metadata/labels/storm", "value": str(number)}
                status = {"op": "add", "path": "/status/features", "value": [str(number)]}
                for path, change in ((api.ENACTMENT.named(name), label), (api.ENACTMENT.named(name, "status"), status)):
                    try:
                        await server.patch(path, "", change)
                    except api.Refusal as error:
                        print(error, flush=True)
                    else:
                        print("took", flush=True)

asyncio.run(storm())
"""


def begin(operator: Operator, **spec: Any) -> None:
    """Let a rollout begin that goes from node to node, and stops in the middle of its first one."""
    for node in NODES:
        operator.probe(node, "wait", BLOCKING)
    operator.apply(policy("one", desired=veth(), probes=["exec:wait"], maxUnavailable=1, **spec))
    operator.await_probed("node-1")
    assert operator.told("nnce") == {"node-1.one": "Progressing", "node-2.one": "Pending"}


@pytest.fixture
def soon(scene: Operator) -> Iterator[Operator]:
    """An operator whose node-1 waits for probes no longer than it has to."""
    scene.kill("node-1", "engine")
    scene.start("node-1", "engine", "--probe-limit", "3")
    yield scene
    scene.kill("node-1", "engine")
    scene.start("node-1", "engine")


def test_a_node_that_a_policy_cuts_off_goes_back_alone_and_tells_when_it_can(soon: Operator) -> None:
    scene = soon
    before = network(scene.cluster, "node-1")
    since, begun = scene.now("nnce"), [scene.begun(node) for node in NODES]
    elsewhere = {"enabled": True, "address": [{"ip": "198.51.100.7", "prefix-length": 24}]}
    uplink = {"name": "enp1s0", "state": "up", "ipv4": elsewhere}
    scene.apply(policy("one", desired={"interfaces": [uplink]}, maxUnavailable=1, onDelete="Revert"))
    scene.await_all("nnce", **{"node-1.one": "Failing", "node-2.one": "Aborted"})
    assert "apiServer" in scene.said("node-1.one")
    words = "1/2 nodes failed to configure, 1 node aborted configuration; node-1: "
    until(lambda: scene.await_policy("one", "Degraded")["message"].startswith(words), what=scene.log)
    assert scene.steps("node-1.one", since) == ["Pending", "Progressing", "Failing"]
    assert [scene.begun(node) for node in NODES] == [begun[0] + 1, begun[1]]
    assert network(scene.cluster, "node-1") ^ before == set()


def test_an_edit_in_the_middle_of_a_rollout_waits_for_what_goes_on_and_takes_its_place(
    scene: Operator,
) -> None:
    since, begun = scene.now("nnce"), [scene.begun(node) for node in NODES]
    begin(scene)
    scene.patch("one", desiredState=veth(1300), probes=[])
    until(lambda: scene.items("nnce")["node-2.one"]["spec"]["policyGeneration"] == 2, what=scene.log)
    scene.await_policy("one", "Progressing")
    assert scene.begun("node-2") == begun[1]
    scene.let("node-1")
    scene.await_policy("one", "Available")
    assert [scene.link(node)["mtu"] for node in NODES] == [1300, 1300]
    assert [scene.begun(node) for node in NODES] == [begun[0] + 2, begun[1] + 1]
    assert slots(scene.history("nnce", since)) == 1


def test_a_rollout_that_is_paused_ends_what_goes_on_and_begins_nothing(scene: Operator) -> None:
    begin(scene)
    begun = scene.begun("node-2")
    scene.patch("one", paused=True)
    scene.let(*NODES)
    scene.await_all("nnce", **{"node-1.one": "Available", "node-2.one": "Pending"})
    told = scene.await_policy("one", "Progressing")
    assert told["message"] == "Policy is progressing 1/2 nodes finished, 1 pending"
    assert scene.begun("node-2") == begun
    scene.patch("one", paused=False)
    scene.await_policy("one", "Available")
    assert scene.begun("node-2") == begun + 1


def test_a_policy_that_is_deleted_in_the_middle_of_a_rollout_is_taken_back(scene: Operator) -> None:
    begin(scene, onDelete="Revert")
    begun = [scene.begun(node) for node in NODES]
    scene.cluster.kubectl("delete", "nncp", "one")
    assert scene.link("node-1")["mtu"] == 1400
    scene.let("node-1")
    until(lambda: scene.items("nnce") == {}, seconds=60, what=scene.what("nnce"))
    assert [scene.link(node) for node in NODES] == [{}, {}]
    assert [scene.begun(node) for node in NODES] == [begun[0] + 1, begun[1]]


@pytest.mark.deviates("silent-holds-its-slot")
def test_a_node_that_falls_silent_stops_a_rollout_until_it_tells_how_its_part_ended(scene: Operator) -> None:
    begin(scene)
    begun = scene.begun("node-2")
    scene.cluster.command("cut", "node-1")
    try:
        scene.let(*NODES)
        until(lambda: scene.log_of("node-1", "engine").read_text().rstrip().endswith("ends: done"))
        told = scene.await_policy("one", "Degraded")
        assert told["message"].startswith("1/2 nodes failed to configure")
        assert scene.told("nnce") == {"node-1.one": "Progressing", "node-2.one": "Pending"}
        assert scene.begun("node-2") == begun
    finally:
        scene.cluster.command("mend", "node-1")
    scene.await_policy("one", "Available")
    assert scene.begun("node-2") == begun + 1


def test_a_node_that_is_away_before_a_rollout_is_left_out_and_taken_when_it_is_back(scene: Operator) -> None:
    scene.cluster.command("cut", "node-1")
    try:
        scene.apply(policy("one", desired=veth(), maxUnavailable=1))
        told = scene.await_policy("one", "Available")
        assert told["message"] == "1/1 nodes successfully configured, 1 node ignored due to NotReady state"
        assert [bool(scene.link(node)) for node in NODES] == [False, True]
    finally:
        scene.cluster.command("mend", "node-1")
    scene.await_all("nnce", "Available")
    assert [scene.link(node)["mtu"] for node in NODES] == [1400, 1400]


def test_two_controllers_at_once_break_no_slot(scene: Operator, tmp_path: Path) -> None:
    scene.cluster.kubectl("create", "namespace", "others")
    agents = [lease(node) for node in NODES]
    other = started(
        scene.cluster, "control-plane", "cluster", tmp_path / "log", namespace="others", options=[]
    )
    try:
        for each in agents:
            scene.apply(each)
        until(lambda: "leads" in (tmp_path / "log").read_text(), what=scene.log)
        since = scene.now("nnce")
        scene.apply(policy("one", desired=veth(1300), maxUnavailable=1))
        for mtu in (1301, 1302, 1303):
            scene.await_policy("one", "Available")
            scene.patch("one", desiredState=veth(mtu))
        scene.await_policy("one", "Available")
        assert [scene.link(node)["mtu"] for node in NODES] == [1303, 1303]
        assert slots(scene.history("nnce", since)) == 1
        assert other.poll() is None
    finally:
        kill(other)
        scene.cluster.kubectl("delete", "namespace", "others", "--wait=false")
    assert "Traceback" not in (tmp_path / "log").read_text()


def lease(node: str) -> dict[str, Any]:
    """What says in another namespace too that a node's agent is there."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node, "namespace": "others"},
        "spec": {"holderIdentity": node},
    }


def test_somebody_who_writes_to_enactments_all_the_time_only_delays_a_rollout(
    scene: Operator, tmp_path: Path
) -> None:
    since = scene.now("nnce")
    with storming(scene.cluster, tmp_path / "storm") as running:
        scene.apply(policy("one", desired=veth(1300), maxUnavailable=1))
        for mtu in (1301, 1302):
            scene.await_policy("one", "Available")
            scene.patch("one", desiredState=veth(mtu))
        scene.await_policy("one", "Available")
        running.kill()
    assert (tmp_path / "storm").read_text().count("took") > 10
    logs = (scene.log_of("control-plane", "cluster"), *(scene.log_of(node, "node") for node in NODES))
    assert any("the object has been modified" in log.read_text() for log in logs)
    assert [scene.link(node)["mtu"] for node in NODES] == [1302, 1302]
    assert slots(scene.history("nnce", since)) == 1


def storming(cluster: Handle, log: Path) -> subprocess.Popen[bytes]:
    argv = [
        "env",
        f"PYTHONPATH={ROOT}",
        f"KUBECONFIG={ADMIN}",
        "NO_PROXY=*",
        "setpriv",
        "--pdeathsig",
        "KILL",
    ]
    with log.open("wb") as output:
        return subprocess.Popen(
            cluster.argv("control-plane", *argv, sys.executable, "-c", STORM), stdout=output, stderr=output
        )


def test_a_node_that_loses_its_power_in_the_middle_makes_its_part_anew(standing: Operator) -> None:
    begin(standing)
    begun = [standing.begun(node) for node in NODES]
    standing.kill_node("node-1")
    standing.cluster.command("off", "node-1")
    standing.let(*NODES)
    told = standing.await_policy("one", "Degraded")
    assert told["message"].startswith("1/2 nodes failed to configure")
    standing.cluster.command("on", "node-1")
    assert standing.link("node-1") == {}
    standing.start_node("node-1")
    standing.await_policy("one", "Available")
    assert [standing.link(node)["mtu"] for node in NODES] == [1400, 1400]
    assert [standing.begun(node) for node in NODES] == [begun[0] + 1, begun[1] + 1]
    standing.clear()
    assert [standing.link(node) for node in NODES] == [{}, {}]


def test_a_node_that_is_deleted_in_the_middle_leaves_its_slot_to_others(standing: Operator) -> None:
    begin(standing)
    standing.cluster.kubectl("delete", "node", "node-1")
    standing.await_probed("node-2")
    standing.let(*NODES)
    told = standing.await_policy("one", "Available")
    assert told["message"] == "1/1 nodes successfully configured"
    assert standing.told("nnce") == {"node-2.one": "Available"}
    standing.kill_node("node-1")
    standing.cluster.command("on", "node-1")
    standing.start_node("node-1")
    standing.await_all("nnce", **{"node-1.one": "Available", "node-2.one": "Available"})
    until(lambda: "v0" in str(standing.items("nns").get("node-1")), what=standing.log)
    standing.clear()
    assert [standing.link(node) for node in NODES] == [{}, {}]
