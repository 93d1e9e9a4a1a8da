"""What a rollout to ten nodes costs a real API server, by what that counts; and who tells of it."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.test_api import ROOT

if TYPE_CHECKING:
    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

NODES = 10
ENACTMENTS, POLICIES = "nodenetworkconfigurationenactments", "nodenetworkconfigurationpolicies"


@pytest.fixture(scope="module")
def counted(cluster: Handle) -> dict[str, Any]:
    """As the benchmark has it: the agents are real, and have real tokens; their engines change nothing."""
    place = ROOT / "bench" / "operator" / "__main__.py"
    found = importlib.util.spec_from_file_location("bench_operator", place)
    assert found
    assert found.loader
    bench = importlib.util.module_from_spec(found)
    found.loader.exec_module(bench)
    bench.deploy(cluster)
    made: dict[str, Any] = bench.measured(cluster, NODES, 1, interfaces=2, seconds=1)
    return made


def per_node(writes: dict[str, int]) -> float:
    return sum(number for what, number in writes.items() if what.startswith(ENACTMENTS)) / NODES


def test_a_rollout_is_so_many_writes_a_node_and_none_of_them_to_the_policy(counted: dict[str, Any]) -> None:
    writes = counted["rollout"]["writes"]
    assert per_node(writes) <= 6
    assert writes["events"] <= 2 * NODES
    assert not [what for what in writes if "refused" in what]
    assert writes[f"{POLICIES}/status"] < NODES
    assert counted["rollout"]["lists"] == 0


def test_what_changes_nothing_is_written_to_each_node_and_answered(counted: dict[str, Any]) -> None:
    assert per_node(counted["same"]["writes"]) <= 2
    assert "events" not in counted["same"]["writes"]


def test_nobody_lists_or_writes_when_nothing_happens(counted: dict[str, Any]) -> None:
    assert (counted["steady"]["writes"], counted["steady"]["lists"]) == ({}, 0)


def test_what_starts_again_lists_once_and_writes_nothing(counted: dict[str, Any]) -> None:
    assert counted["controller"]["writes"] == counted["agents"]["writes"] == {}
    assert counted["agents"]["lists"] == NODES


def test_people_are_told_when_a_node_starts_and_how_it_ends(cluster: Handle, counted: dict[str, Any]) -> None:
    found = json.loads(cluster.kubectl("get", "events.events.k8s.io", "-n", "default", "-o", "json"))["items"]
    told: dict[str, list[str]] = {}
    for each in sorted(found, key=lambda each: str(each["eventTime"])):
        if each["reportingController"] == "nmstate.io/agent":
            told.setdefault(each["regarding"]["name"], []).append(each["reason"])
    course = ["ConfigurationProgressing", "SuccessfullyConfigured"]
    assert told == {f"made-up-{number:03}.p0": course for number in range(NODES)}
    assert "SuccessfullyConfigured" in cluster.kubectl("describe", "nnce", "made-up-000.p0")
