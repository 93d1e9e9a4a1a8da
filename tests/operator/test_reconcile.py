"""The controller's decisions against agents that are made up: who is asked what, when, and in how many writes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from nncp.operator.parts import Memory
from nncp.operator.reconcile import writes
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment
from nncp.operator.selection import CONTROL_PLANE, Node
from tests.operator.made_up import BOND, DUMMY, ON, VLAN, Cluster


def test_a_policy_reaches_every_node_in_batches_and_in_few_writes() -> None:
    cluster = Cluster(nodes=5)
    cluster.policy("p", DUMMY, maxUnavailable=2)
    cluster.settle()
    assert cluster.told("p") == ("Available", "5/5 nodes successfully configured")
    assert cluster.most == 2
    for node in cluster.nodes:
        mine = sum(count for (_, name), count in cluster.written.items() if name == f"{node}.p")
        assert mine == 2  # made, and let go
    assert cluster.step() == []


def test_what_changes_nothing_takes_one_write_of_ours_a_node_and_no_slot() -> None:
    cluster = Cluster(nodes=4)
    cluster.changes = lambda *_: False
    for _ in range(2):  # a generation that changes nothing, too
        cluster.written.clear()
        cluster.policy("p", DUMMY, maxUnavailable=1)
        cluster.settle()
        assert cluster.told("p")[0] == "Available"
        assert cluster.went == []
        assert [count for (verb, _), count in cluster.written.items() if verb != "status"] == [1] * 4


def test_after_a_failure_nobody_else_is_let_go() -> None:
    cluster = Cluster(nodes=4)
    cluster.fails = lambda node, _: node == "n0"
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.settle()
    assert cluster.went == ["n0.p"]
    told = "1/4 nodes failed to configure, 3 nodes aborted configuration; n0: no"
    assert cluster.told("p") == ("Degraded", told)
    cluster.fails = lambda *_: False
    cluster.policy("p", DUMMY, maxUnavailable=1)  # a stuck policy can be edited, and tried again
    cluster.settle()
    assert cluster.told("p") == ("Available", "4/4 nodes successfully configured")


@pytest.mark.deviates("silent-holds-its-slot")
def test_a_node_that_falls_silent_after_it_was_let_go_stops_the_rest_until_it_is_back() -> None:
    cluster = Cluster(nodes=3)
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.until_gone("n0.p")
    cluster.ready(["n0"], is_ready=False)
    cluster.settle()
    assert cluster.went == ["n0.p"]
    told = "1/3 nodes failed to configure; n0 not heard of since the change began there"
    assert cluster.told("p") == ("Degraded", told)
    cluster.policy("p", {**DUMMY, "mtu": 1400}, maxUnavailable=1)  # an edit is no way around it
    cluster.settle()
    assert cluster.went == ["n0.p"]
    cluster.ready(["n0"], is_ready=True)
    cluster.settle()
    assert cluster.told("p") == ("Available", "3/3 nodes successfully configured")


def test_a_node_that_is_let_go_holds_its_slot_when_the_policy_is_not_for_it_any_more() -> None:
    cluster = Cluster(nodes=3)
    cluster.nodes = {name: Node(name, labels={"on": "yes"}) for name in cluster.nodes}
    cluster.policy("p", DUMMY, maxUnavailable=1, nodeSelector={"on": "yes"})
    cluster.until_gone("n0.p")
    cluster.nodes["n0"] = Node("n0", is_ready=False)
    cluster.settle()
    assert cluster.went == ["n0.p"]
    cluster.ready(["n0"], is_ready=True)
    cluster.settle()
    assert cluster.went == ["n0.p", "n1.p", "n2.p"]
    assert "n0.p" not in cluster.enactments


def test_a_node_that_is_deleted_gives_its_slot_back() -> None:
    cluster = Cluster(nodes=3)
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.until_gone("n0.p")
    del cluster.nodes["n0"]
    cluster.settle()
    assert "n0.p" not in cluster.enactments
    assert cluster.told("p") == ("Available", "2/2 nodes successfully configured")


def test_an_edit_in_the_middle_starts_anew_and_the_old_word_holds_its_slot_until_its_end() -> None:
    cluster = Cluster(nodes=3)
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.until_gone("n0.p")
    old = cluster.enactments["n0.p"].go
    cluster.policy("p", {**DUMMY, "mtu": 1400}, maxUnavailable=1)
    cluster.step()
    assert cluster.enactments["n0.p"].go == old
    assert cluster.phase("n0.p") is Phase.NEW
    for name in ("n1.p", "n2.p"):
        cluster.agent(name)
        cluster.step()
    assert cluster.holders() == ["n0.p"]
    cluster.settle()
    assert cluster.told("p") == ("Available", "3/3 nodes successfully configured")


def test_what_an_edit_does_not_say_any_more_goes() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy("p", DUMMY, probes=["ping:gw"], drift="Repair")
    cluster.settle()
    cluster.policy("p", DUMMY)
    cluster.settle()
    assert not {"probes", "drift", "go", "aborted"} & cluster.specs["n0.p"].keys() - {"go"}


def test_a_policy_of_the_same_name_is_another_one() -> None:
    cluster = Cluster(nodes=1)
    cluster.fails = lambda *_: True
    cluster.policy("p", DUMMY)
    cluster.settle()
    del cluster.policies["p"]  # and nobody saw it
    cluster.fails = lambda *_: False
    cluster.policy("p", DUMMY)
    cluster.settle()
    assert cluster.told("p")[0] == "Available"


def test_an_attempt_that_the_node_asks_for_anew_takes_a_slot_again() -> None:
    cluster = Cluster(nodes=2)
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.settle()
    for name in ("n0.p", "n1.p"):
        drifted = replace(cluster.enactments[name], attempt=1, said=Phase.PENDING)
        cluster.enactments[name] = drifted
    cluster.went.clear()
    cluster.most = 0
    cluster.settle()
    assert cluster.went == ["n0.p", "n1.p"]
    assert cluster.most == 1
    assert all(each.go.endswith(".1") for each in cluster.enactments.values())


def test_what_is_wrong_for_one_node_changes_none() -> None:
    cluster = Cluster(nodes=2)
    address = {"ip": "{{ values.a }}", "prefix-length": 24}
    interface = {**DUMMY, "ipv4": {"enabled": True, "address": [address]}}
    cluster.policy("p", interface, values={"a": {"nodes": {"n0": "192.0.2.1"}}})
    cluster.settle()
    assert cluster.enactments == {}
    assert cluster.told("p")[1] == "1/2 nodes failed to configure: n1 has no value a (spec.values.a)"
    cluster.policy("p", interface, values={"a": {"nodes": {"n0": "192.0.2.1"}, "default": "192.0.2.9"}})
    cluster.settle()
    ips = [
        spec["desiredState"]["interfaces"][0]["ipv4"]["address"][0]["ip"] for spec in cluster.specs.values()
    ]
    assert ips == ["192.0.2.1", "192.0.2.9"]


def test_a_value_that_comes_from_a_label_follows_it() -> None:
    cluster = Cluster(nodes=1)
    cluster.nodes["n0"] = Node("n0", labels={"mtu": "1400"})
    cluster.policy("p", {**DUMMY, "mtu": "{{ values.mtu }}"}, values={"mtu": {"label": "mtu"}})
    cluster.settle()
    cluster.nodes["n0"] = Node("n0", labels={"mtu": "1300"})
    cluster.settle()
    assert cluster.specs["n0.p"]["desiredState"]["interfaces"][0]["mtu"] == "1300"
    assert cluster.went == ["n0.p", "n0.p"]


def test_what_the_api_server_does_not_take_is_told_and_nothing_changes_elsewhere() -> None:
    cluster = Cluster(nodes=2)
    cluster.refused["n1.p"] = "it is too large"
    cluster.policy("p", DUMMY)
    cluster.settle()
    assert cluster.went == []
    assert "the API server refuses n1.p: it is too large" in cluster.told("p")[1]
    cluster.refused.clear()
    cluster.settle()
    assert cluster.told("p")[0] == "Available"


def test_what_is_too_large_to_be_stored_is_refused_by_name() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy(
        "p", *({**DUMMY, "name": f"d{number}", "description": "x" * 200} for number in range(4000))
    )
    cluster.settle()
    kind, message = cluster.told("p")
    assert kind == "Degraded"
    assert "n0.p would ask for" in message
    assert cluster.enactments == {}


def test_a_policy_that_cannot_be_read_leaves_its_nodes_as_they_are() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy("p", DUMMY, onDelete="Revert")
    cluster.settle()
    bad = replace(cluster.policies["p"], spec=None, error="unknown field `x`")
    cluster.policies["p"] = bad
    before = dict(cluster.enactments)
    cluster.settle()
    assert cluster.enactments == before
    assert cluster.told("p") == ("Degraded", "the policy cannot be read: unknown field `x`")


@pytest.mark.parametrize("name", ["n0.p", "mine"])
def test_an_enactment_of_somebody_else_is_taken_over_where_it_has_the_name_and_left_alone_elsewhere(
    name: str,
) -> None:
    cluster = Cluster(nodes=1)
    cluster.enactments[name] = Enactment(name, version="7")
    cluster.specs[name] = {}
    cluster.policy("p", DUMMY)
    cluster.settle()
    assert cluster.told("p")[0] == "Available"
    assert (cluster.enactments[name].node == "n0") == (name == "n0.p")


def test_a_node_that_it_is_no_longer_for_loses_its_part_and_a_new_one_gets_it() -> None:
    cluster = Cluster(nodes=2)
    cluster.policy("p", DUMMY, nodeSelector={"role": "virt"})
    cluster.settle()
    assert cluster.told("p") == ("Ignored", "Policy does not match any node")
    cluster.nodes["n0"] = Node("n0", labels={"role": "virt"})
    cluster.settle()
    assert list(cluster.enactments) == ["n0.p"]
    cluster.nodes["n0"] = Node("n0")
    cluster.settle()
    assert cluster.enactments == {}
    assert cluster.told("p")[0] == "Ignored"


def test_nodes_go_back_in_turns_when_a_policy_that_says_so_is_deleted_and_then_their_parts_go() -> None:
    cluster = Cluster(nodes=4)
    cluster.policy("p", DUMMY, maxUnavailable="100%", onDelete="Revert")
    cluster.settle()
    cluster.went.clear()
    cluster.most = 0
    del cluster.policies["p"]
    cluster.step()
    assert all(each.reverts for each in cluster.enactments.values())
    cluster.settle()
    assert sorted(cluster.went) == [f"n{number}.p" for number in range(4)]
    assert cluster.most == 2
    assert cluster.enactments == {}


def test_a_part_of_which_its_node_has_said_nothing_goes_at_once() -> None:
    cluster = Cluster(nodes=2)
    cluster.policy("p", DUMMY, onDelete="Revert")
    cluster.step()
    cluster.agent("n0.p")
    del cluster.policies["p"]
    cluster.step()
    assert list(cluster.enactments) == ["n0.p"]
    cluster.settle()
    assert cluster.enactments == {}


def test_a_node_that_cannot_go_back_says_so_until_somebody_looks() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy("p", DUMMY, onDelete="Revert")
    cluster.settle()
    cluster.fails = lambda *_: True
    del cluster.policies["p"]
    cluster.settle()
    assert cluster.enactments["n0.p"].said is Phase.FAILED


@pytest.mark.deviates("one-control-plane")
def test_one_control_plane_at_a_time_whatever_the_policies_and_not_while_another_is_away() -> None:
    cluster = Cluster(nodes=4)
    for name in ("n0", "n1", "n2"):
        cluster.nodes[name] = Node(name, labels={CONTROL_PLANE: ""})
    for name in ("p", "q"):
        cluster.policy(name, {**DUMMY, "name": name}, maxUnavailable="100%")
    for _ in range(60):
        cluster.step()
        assert len({each.split(".")[0] for each in cluster.holders()} & {"n0", "n1", "n2"}) <= 1
        for name in list(cluster.enactments)[::-1]:
            cluster.agent(name)
    assert cluster.told("p")[0] == cluster.told("q")[0] == "Available"
    assert cluster.went[0] == "n3.p"  # workers first
    cluster.ready(["n2"], is_ready=False)
    cluster.went.clear()
    cluster.policy("p", {**DUMMY, "mtu": 1400}, maxUnavailable="100%")
    cluster.settle()
    assert cluster.went == ["n3.p"]


def test_a_control_plane_that_changes_for_one_policy_keeps_the_others_from_another() -> None:
    cluster = Cluster(nodes=2)
    cluster.nodes = {name: Node(name, labels={CONTROL_PLANE: "", "is": name}) for name in cluster.nodes}
    for name, node in (("p", "n0"), ("q", "n1")):
        cluster.policy(name, {**DUMMY, "name": name}, nodeSelector={"is": node})
    for each in range(20):
        cluster.step()
        assert len(cluster.holders()) <= 1
        for name in sorted(cluster.enactments):
            if not cluster.enactments[name].holds_slot or each % 3 == 0:
                cluster.agent(name)
    assert cluster.told("p")[0] == cluster.told("q")[0] == "Available"


def test_a_value_that_changes_while_its_node_changes_lets_nobody_else_go() -> None:
    cluster = Cluster(nodes=2)
    cluster.nodes = {name: Node(name, labels={"mtu": "1400"}) for name in cluster.nodes}
    spec = {"values": {"mtu": {"label": "mtu"}}, "maxUnavailable": 1}
    cluster.policy("p", {**DUMMY, "mtu": "{{ values.mtu }}"}, **spec)
    cluster.until_gone("n0.p")
    cluster.nodes["n0"] = Node("n0", labels={"mtu": "1300"}, is_ready=False)
    cluster.settle()
    assert cluster.went == ["n0.p"]
    cluster.ready(["n0"], is_ready=True)
    cluster.settle()
    assert cluster.told("p")[0] == "Available"


def test_what_was_only_planned_has_no_way_back_and_what_was_aborted_goes_too() -> None:
    cluster = Cluster(nodes=2)
    cluster.policy("p", DUMMY, mode="Plan", onDelete="Revert")
    cluster.settle()
    cluster.policies.clear()
    cluster.step()
    assert cluster.enactments == {}
    cluster.fails = lambda *_: True
    cluster.policy("q", DUMMY, maxUnavailable=1, onDelete="Revert")
    cluster.settle()
    assert cluster.phases() == {Phase.FAILED, Phase.ABORTED}
    cluster.policies.clear()
    cluster.fails = cluster.changes = lambda *_: False
    cluster.settle()
    assert cluster.enactments == {}


def test_a_stored_limit_that_makes_no_sense_counts_as_half_and_is_told() -> None:
    cluster = Cluster(nodes=4)
    cluster.policy("p", DUMMY, maxUnavailable="asdf")
    cluster.settle()
    assert cluster.most == 2
    kind, message = cluster.told("p")
    assert kind == "Available"
    assert "maxUnavailable 'asdf' is neither" in message


def test_a_policy_that_is_paused_lets_nobody_go() -> None:
    cluster = Cluster()
    cluster.policy("p", DUMMY, paused=True)
    cluster.settle()
    assert cluster.went == []
    assert cluster.phases() == {Phase.PENDING}
    assert cluster.told("p")[1].endswith("; it is paused: no node begins")


def test_a_policy_that_only_plans_says_what_would_happen_and_stands_in_nobodys_way() -> None:
    cluster = Cluster(nodes=3)
    cluster.changes = lambda node, _: node != "n2"
    cluster.policy("p", {**DUMMY, "mtu": 1400}, mode="Plan")
    cluster.policy("q", {**DUMMY, "mtu": 1500}, created="2")
    cluster.settle()
    assert cluster.told("q")[0] == "Available"
    assert cluster.told("p") == ("Available", "2 nodes would change")
    assert [name for name in cluster.went if name.endswith(".p")] == []
    flapping = replace(cluster.enactments["n0.p"], flaps=("eth1",))
    refusing = replace(cluster.enactments["n1.p"], said=Phase.FAILED, error="there is no eth2")
    cluster.enactments |= {"n0.p": flapping, "n1.p": refusing}
    cluster.settle()
    told = "1 node would change, 1 interface would flap; n1 refuses: there is no eth2"
    assert cluster.told("p") == ("Degraded", told)
    del cluster.policies["p"]
    cluster.settle()
    assert all(each.policy == "q" for each in cluster.enactments.values())


def test_a_controller_that_starts_anew_writes_nothing() -> None:
    cluster = Cluster(nodes=4)
    for name, interface in (("a", BOND), ("b", VLAN), ("c", DUMMY)):
        cluster.policy(name, interface)
    cluster.settle()
    assert writes(cluster.seen(), Memory(), now="2027-01-01T00:00:00Z") == []


def test_what_a_text_means_is_found_out_once_for_all_nodes() -> None:
    cluster = Cluster(nodes=20)
    cluster.policy("p", DUMMY)
    cluster.settle()
    assert len([key for key in cluster.memory.known if isinstance(key, tuple)]) == 1


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_whatever_happens_in_between_no_slot_is_lost_and_no_limit_broken(data: st.DataObject) -> None:
    cluster = Cluster(nodes=4)
    limit = data.draw(st.integers(1, 4))
    cluster.policy("p", DUMMY, maxUnavailable=limit)
    for _ in range(data.draw(st.integers(1, 25))):
        match data.draw(st.sampled_from(["step", "agent", "agent", "node", "edit", "label"])):
            case "step":
                cluster.step()
            case "agent" if cluster.enactments:
                cluster.agent(data.draw(st.sampled_from(sorted(cluster.enactments))))
            case "node":
                name = data.draw(st.sampled_from(sorted(cluster.nodes)))
                cluster.nodes[name] = replace(cluster.nodes[name], is_ready=not cluster.nodes[name].is_ready)
            case "label":
                name = data.draw(st.sampled_from(sorted(cluster.nodes)))
                labels = {} if cluster.nodes[name].labels else {"off": ""}
                cluster.nodes[name] = replace(cluster.nodes[name], labels=labels)
            case "edit":
                mtu = data.draw(st.integers(1280, 1500))
                cluster.policy("p", {**DUMMY, "mtu": mtu}, maxUnavailable=limit, nodeSelectorTerms=ON)
        assert len(cluster.holders()) <= limit
    cluster.nodes = {name: Node(name) for name in cluster.nodes}
    cluster.settle()
    assert cluster.phases() == {Phase.DONE}
    assert cluster.told("p") == ("Available", "4/4 nodes successfully configured")
    assert cluster.step() == []
