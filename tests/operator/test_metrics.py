"""Numbers for Prometheus, as it reads them."""

from __future__ import annotations

import asyncio
import socket
import urllib.request
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from nncp.operator.conditions import ENACTMENT, POLICY, Said, of_node, stamped
from nncp.operator.enact import Duty
from nncp.operator.metrics import ClusterNumbers, NodeNumbers, served
from nncp.operator.objects import EnactmentSpec, EnactmentStatus, PolicyStatus
from nncp.operator.protocol import Apply, Document, Outcome, Plan, Planned, Refused
from nncp.operator.protocol import Phase as How
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment, Policy

if TYPE_CHECKING:
    import pytest

NOW = "2026-01-01T00:00:00Z"


def samples(registry: CollectorRegistry) -> dict[str, float]:
    """All but what has no number yet, by name and labels; of times, only how many there were."""
    found = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for one in family.samples:
            if one.value and not one.name.endswith(("_bucket", "_created")):
                found[" ".join([one.name, *one.labels.values()])] = one.value
    return found


def duty(phase: Phase, **spec: str) -> Duty:
    conditions = stamped(of_node(phase, name="n.p"), ENACTMENT, [], now=NOW)
    conditions += stamped(Said("Drifted", "", ""), ("Drifted",), [], now=NOW) if phase is Phase.DONE else []
    made = EnactmentSpec(node_name="n", policy_name="p", policy_generation=1, asked="a", **spec)
    return Duty("n.p", made, EnactmentStatus(asked="a", conditions=conditions))


def test_an_agent_counts_what_its_engine_has_done_and_how_long_it_waited_to_be_let_go() -> None:
    one = NodeNumbers("n")
    document = Document("p")
    one.answered(Plan(document=document), Planned(True), 0.1)
    one.answered(Apply(attempt="a.0", document=document), Outcome("a.0", How.DONE, seconds=2.5), 9.0)
    one.answered(Apply(attempt="a.1", document=document), Outcome("a.1", How.FAILED, seconds=4.0), 9.0)
    one.answered(Apply(attempt="a.1", document=document), Outcome("a.1", How.BEGUN), 9.0)
    one.answered(Apply(attempt="a.2", document=document), Refused("no"), 0.5)
    one.written("PATCH", "409")
    one.sees([duty(Phase.PENDING)])
    one.sees([duty(Phase.PENDING, go="a.0")])
    one.sees([duty(Phase.GOING, go="a.0")])
    one.sees([duty(Phase.DONE)])
    found = samples(one.registry)
    assert found.pop("bridgehead_slot_wait_seconds_sum") > 0
    assert found == {
        "bridgehead_api_writes_total 409 patch": 1,
        "bridgehead_plan_seconds_count": 1,
        "bridgehead_plan_seconds_sum": 0.1,
        "bridgehead_apply_seconds_count done": 1,
        "bridgehead_apply_seconds_sum done": 2.5,
        "bridgehead_apply_seconds_count failed": 1,
        "bridgehead_apply_seconds_sum failed": 4.0,
        "bridgehead_apply_seconds_count refused": 1,
        "bridgehead_apply_seconds_sum refused": 0.5,
        "bridgehead_slot_wait_seconds_count": 1,
        "bridgehead_drifted_policies": 1,
    }


def test_an_agent_tells_its_nodes_interfaces_and_routes() -> None:
    one = NodeNumbers("n")
    static = {"destination": "0.0.0.0/0", "next-hop-interface": "eth0", "next-hop-address": "10.0.0.1"}
    running = [static, {"destination": "10.0.0.0/24"}, {"destination": "fe80::/64"}]
    interfaces = [{"name": "eth0", "type": "ethernet"}, {"name": "v0", "type": "veth"}]
    one.shown({"interfaces": [*interfaces, {"name": "v1", "type": "veth"}], "routes": None})
    one.shown({"interfaces": interfaces, "routes": {"config": [static], "running": running}})
    assert samples(one.registry) == {
        "kubernetes_nmstate_network_interfaces n ethernet": 1,
        "kubernetes_nmstate_network_interfaces n veth": 1,
        "kubernetes_nmstate_routes ipv4 n static": 1,
        "kubernetes_nmstate_routes ipv4 n dynamic": 1,
        "kubernetes_nmstate_routes ipv6 n dynamic": 1,
    }


def test_the_controller_tells_what_it_sees_when_it_is_asked() -> None:
    one = ClusterNumbers()
    policies: dict[str, Policy] = {}
    enactments: dict[str, Enactment] = {}
    one.look_at(policies, enactments)
    assert samples(one.registry) == {}
    conditions = stamped(Said("Degraded", "", ""), POLICY, [], now=NOW)
    policies["p"] = Policy("p", "u", 1, "1", NOW, None, status=PolicyStatus(conditions=conditions))
    policies["q"] = Policy("q", "v", 1, "1", NOW, None)
    for node in ("n", "m"):
        enactments[node] = Enactment(
            f"{node}.p", node, "p", asked="a", answers="a", said=Phase.DONE, is_drifted=True
        )
    enactments["go"] = Enactment("n.q", "n", "q", asked="a", answers="a", go="a.0")
    enactments["foreign"] = Enactment("foreign")
    assert samples(one.registry) == {
        "kubernetes_nmstate_policies_status Degraded": 1,
        "kubernetes_nmstate_policies_status Unknown": 1,
        "kubernetes_nmstate_enactments_status n Available": 1,
        "kubernetes_nmstate_enactments_status m Available": 1,
        "kubernetes_nmstate_enactments_status n Progressing": 1,
        "bridgehead_slots q": 1,
        "bridgehead_drifted_nodes p": 2,
    }


def test_an_occupied_port_is_told_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    numbers = NodeNumbers("n")
    numbers.written("POST", "201")

    def asked(port: int) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return answer.read().decode()

    async def course() -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        async with (
            served(numbers.registry, "127.0.0.1", port),
            served(numbers.registry, "127.0.0.1", port),
            served(numbers.registry, "127.0.0.1", 0),
        ):
            return await asyncio.to_thread(asked, port)

    assert 'bridgehead_api_writes_total{result="201",verb="post"} 1.0' in asyncio.run(course())
    assert caplog.text.count("nobody can ask for metrics") == 1
