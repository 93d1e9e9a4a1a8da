"""What commands on a cluster say of policies and nodes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nncp.errors import Error, ErrorKind
from nncp.operator import answers
from nncp.operator.answers import Plan
from nncp.operator.views import PolicyView, view, views

WRONG = "interfaces[0].mtu"


def condition(name: str, reason: str = "Why", message: str = "so") -> dict[str, str]:
    return {"type": name, "status": "True", "reason": reason, "message": message}


def policy(
    *conditions: dict[str, str], name: str = "p", generation: int = 2, seen: int = 2
) -> dict[str, Any]:
    status = {"conditions": list(conditions), "observedGeneration": seen}
    return {"metadata": {"name": name, "generation": generation}, "status": status}


def part(
    node: str, *conditions: dict[str, str], generation: int = 2, asked: str = "a", **more: Any
) -> dict[str, Any]:
    spec = {"nodeName": node, "policyName": "p", "policyGeneration": generation, "asked": asked}
    return {
        "metadata": {"name": f"{node}.p"},
        "spec": spec,
        "status": {"conditions": list(conditions), "asked": "a", **more},
    }


def test_what_was_said_of_an_earlier_version_is_not_what_is_said_now() -> None:
    one = view(policy(condition("Available"), seen=1), [part("n1", condition("Available"), asked="b")])
    assert (one.word.holds, one.nodes[0].word.holds) == ("", "")
    assert not one.has_ended


@pytest.mark.parametrize(
    ("word", "nodes", "ended"),
    [
        (condition("Progressing"), (), False),
        (condition("Available"), (part("n1", condition("Available")),), True),
        (condition("Ignored"), (), True),
        (condition("Degraded"), (part("n1", condition("Failing")), part("n2", condition("Pending"))), False),
        (condition("Degraded"), (part("n1", condition("Failing")), part("n2", condition("Aborted"))), True),
        (condition("Degraded"), (part("n1", condition("Progressing"), generation=1),), True),  # of what was there before
        (condition("Degraded", "Planned"), (part("n1", condition("Pending")),), True),
    ],
)  # fmt: skip
def test_a_policy_has_ended_when_nobody_goes_on_and_nobody_waits(word: Any, nodes: Any, ended: bool) -> None:
    assert view(policy(word), nodes).has_ended == ended


def test_drift_and_a_plan_are_not_what_is_asked_for() -> None:
    both = [condition("Drifted"), condition("Available")]
    assert view(policy(condition("Available")), [part("n1", both[1])]).is_available
    drifted = view(policy(condition("Available")), [part("n1", *both)])
    assert not drifted.is_available
    assert not view(policy(condition("Available", "Planned")), []).is_available
    assert "Available,Drifted" in answers.status([drifted], "table")


def test_a_table_has_a_line_for_each_policy_and_each_node() -> None:
    found = views(
        [policy(name="q"), policy(condition("Available"))], [part("n2", condition("Available")), part("n1")]
    )
    assert answers.status(found, "table").splitlines() == [
        "POLICY  NODE  STATUS     REASON  MESSAGE",
        "p       -     Available  Why     so",
        "p       n1    -          -",
        "p       n2    Available  Why     so",
        "q       -     -          -",
    ]
    assert [each["policy"] for each in json.loads(answers.status(found, "json"))] == ["p", "q"]
    assert answers.status([], "table") == "There are no policies.\n"


def plan() -> Plan:
    lines = {"diff": ["+ d0   up", "Plan: 1 to add, 0 to change, 0 to remove."], "flaps": ["eth1"]}
    nodes = [
        part("n1", condition("Pending"), **lines),
        part("n2", condition("Failing", message=WRONG)),
        part("n3", condition("Pending"), **lines),
        part("n4", condition("Available")),
        part("n5", asked="b"),
    ]
    return Plan("p", view(policy(condition("Degraded", "Planned", "2 nodes would change")), nodes))


def test_what_nodes_answer_alike_is_told_once() -> None:
    assert answers.plans([plan()], "table").split("\n\n") == [
        "n1, n3:\n+ d0   up\nPlan: 1 to add, 0 to change, 0 to remove.",
        f"n2:\nrefuses: {WRONG}",
        "n4:\nNo changes.",
        "n5:\nhas not answered",
        "2 nodes would change\n",
    ]
    assert answers.plans([plan(), plan()], "table").count("policy p:\n") == 2
    assert plan().differ
    assert (plan().refusing, plan().silent) == (["n2"], ["n5"])


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_a_program_reads_what_each_node_answers(output: str) -> None:
    text = answers.plans([plan()], output)
    assert "refusal" in text
    if output == "json":
        (only,) = json.loads(text)
        assert [each["answer"] for each in only["nodes"]] == [
            "changes",
            "refusal",
            "changes",
            "nothing",
            "silence",
        ]
        assert only["nodes"][0]["flaps"] == ["eth1"]


def test_what_moves_a_cursor_reaches_no_terminal() -> None:
    node = part("n1", condition("Failing", message="\x1b[2J"))
    found = view(policy(condition("Available", message="\x1b[2J")), [node])
    for text in (answers.status([found], "table"), answers.plans([Plan("p", found)], "table")):
        assert "\x1b" not in text
    assert not any("\x1b" in answers.event_line(each) for each in answers.events(None, found))


def test_events_tell_what_is_new_only() -> None:
    first = view(policy(condition("Progressing")), [part("n1"), part("n2", condition("Pending"))])
    second = view(policy(condition("Progressing")), [part("n1", condition("Available"))])
    assert [answers.event_line(each) for each in answers.events(None, first)] == [
        "n1  Asked", "n2  Pending  so", "p  Progressing  so",
    ]  # fmt: skip
    assert [answers.event_line(each) for each in answers.events(first, second)] == [
        "n1  Available  so",
        "n2  Gone",
    ]
    assert answers.events(second, second) == []
    assert answers.event_line({**answers.events(None, PolicyView("p"))[0]}) == "p  Asked"


def test_a_plan_asks_under_a_name_of_its_own_for_what_the_policy_says() -> None:
    from nncp.operator import planning

    text = f"""
apiVersion: v1
kind: List
items:
- apiVersion: nmstate.io/v1
  kind: NodeNetworkConfigurationPolicy
  metadata: {{name: {"a" * 44}.b}}
  spec: {{maxUnavailable: 1, desiredState: {{interfaces: [{{name: d0, type: dummy}}]}}}}
"""
    one, two = (each for _ in "12" for each in planning.asked([("f", text)]))
    assert one.name != two.name
    assert one.name.startswith(f"plan-{'a' * 44}-")
    assert len(one.name) <= 63
    assert one.body["metadata"]["labels"] == {"nmstate.io/plan-of": f"{'a' * 44}.b"}
    assert (one.body["spec"]["mode"], one.body["spec"]["maxUnavailable"]) == ("Plan", 1)


def test_what_would_be_wrong_on_every_node_is_told_with_its_place_and_nobody_is_asked() -> None:
    from nncp.operator import planning

    bad = "apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata: {name: p}\nspec: {desiredState: {interface: []}}\n"
    with pytest.raises(Error, match="unknown key interface") as found:
        planning.asked([("f.yaml", bad)])
    assert str(found.value.where).startswith("f.yaml:4:")
    with pytest.raises(Error, match="not for which nodes"):
        planning.asked([("f.yaml", "interfaces: []")])


def test_a_refusal_of_the_api_server_has_an_exit_code_that_says_whose_turn_it_is() -> None:
    from nncp.operator import administrator, api

    kinds = {
        403: ErrorKind.PRIVILEGE,
        401: ErrorKind.PRIVILEGE,
        422: ErrorKind.DOCUMENT,
        500: ErrorKind.FAILED,
    }
    assert {status: administrator.refused(api.Refusal(status, "x")).kind for status in kinds} == kinds
