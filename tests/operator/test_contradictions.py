"""What policies of one node are to each other: which stays in force, and which waits for which."""

from __future__ import annotations

import pytest

from nncp.operator.rollout import Phase
from nncp.operator.selection import Node
from tests.operator.made_up import BOND, DUMMY, VLAN, Cluster


@pytest.mark.deviates("order-by-need")
def test_the_bond_comes_before_the_vlan_above_it_on_each_node_whatever_their_names() -> None:
    cluster = Cluster(nodes=2)
    order: list[tuple[str, str]] = []
    cluster.fails = lambda node, name: bool(order.append((node, name)))
    cluster.policy("a-vlan", VLAN, maxUnavailable="100%")
    cluster.policy("z-bond", BOND, maxUnavailable="100%")
    cluster.settle()
    for node in cluster.nodes:
        assert [name for where, name in order if where == node] == ["z-bond", "a-vlan"]
    assert cluster.told("a-vlan")[0] == cluster.told("z-bond")[0] == "Available"


def test_where_the_bond_fails_the_vlan_waits() -> None:
    cluster = Cluster(nodes=1)
    cluster.fails = lambda _, name: name == "z-bond"
    cluster.policy("a-vlan", VLAN)
    cluster.policy("z-bond", BOND)
    cluster.settle()
    assert cluster.phase("n0.a-vlan") is Phase.PENDING
    assert (
        cluster.told("a-vlan")[1]
        == "Policy is progressing 0/1 nodes finished, 1 pending; it waits for z-bond"
    )


def test_of_two_that_contradict_each_other_the_applied_one_stays_and_both_name_the_other() -> None:
    cluster = Cluster(nodes=2)
    cluster.policy("z", {**DUMMY, "mtu": 1500}, created="2")
    cluster.settle()
    cluster.policy("a", {**DUMMY, "mtu": 1400}, created="1")
    cluster.settle()
    kind, message = cluster.told("z")
    assert kind == "Available"
    assert "policy a contradicts it: mtu of d0 is 1400" in message
    kind, message = cluster.told("a")
    assert kind == "Degraded"
    assert "mtu of d0 is 1400, and 1500 in policy z" in message
    assert "n0.a" not in cluster.enactments
    del cluster.policies["z"]
    cluster.settle()
    assert cluster.told("a") == ("Available", "2/2 nodes successfully configured")


def test_of_two_new_ones_the_older_stays() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy("a", {**DUMMY, "mtu": 1500}, created="2")
    cluster.policy("z", {**DUMMY, "mtu": 1400}, created="1")
    cluster.settle()
    assert cluster.told("z")[0] == "Available"
    assert cluster.told("a")[0] == "Degraded"


def test_an_edit_that_contradicts_another_leaves_in_force_what_was_there() -> None:
    cluster = Cluster(nodes=1)
    other = {**DUMMY, "name": "d1"}
    cluster.policy("a", {**DUMMY, "mtu": 1500})
    cluster.policy("b", {**other, "mtu": 1500})
    cluster.settle()
    cluster.policy("a", {**DUMMY, "mtu": 1500}, {**other, "mtu": 1400})
    cluster.settle()
    assert cluster.told("a")[0] == "Degraded"
    assert cluster.enactments["n0.a"].phase is Phase.DONE
    cluster.policy("c", {**DUMMY, "mtu": 1400})  # a's word of before counts
    cluster.settle()
    assert "policy a" in cluster.told("c")[1]
    assert "n0.c" not in cluster.enactments


def test_two_policies_that_agree_are_changed_together() -> None:
    cluster = Cluster(nodes=2)
    for mtu in (1500, 1400):
        for name in ("a", "b"):
            cluster.policy(name, {**DUMMY, "mtu": mtu})
        cluster.settle()
        assert {cluster.told(name)[0] for name in ("a", "b")} == {"Available"}


def test_what_refuses_a_policy_does_not_count_once_it_is_refused_itself() -> None:
    cluster = Cluster(nodes=1)
    cluster.policy("a", {**DUMMY, "mtu": 1500}, created="1")
    cluster.policy("b", {**DUMMY, "mtu": 1400}, {**DUMMY, "name": "d1", "mtu": 1400}, created="2")
    cluster.policy("c", {**DUMMY, "name": "d1", "mtu": 1500}, created="3")
    cluster.settle()
    assert [cluster.told(name)[0] for name in "abc"] == ["Available", "Degraded", "Available"]


def test_a_name_that_can_be_read_in_two_ways_is_refused() -> None:
    cluster = Cluster(nodes=0)
    cluster.nodes = {name: Node(name) for name in ("a", "a.b")}
    cluster.policy("b.c", DUMMY, created="1")
    cluster.policy("c", {**DUMMY, "name": "d1"}, created="2")
    cluster.settle()
    assert cluster.told("b.c")[0] == "Available"
    assert "a.b.c is the name of the enactment of b.c on a too (metadata.name)" in cluster.told("c")[1]


def test_what_is_only_planned_or_on_its_way_back_is_in_nobodys_way() -> None:
    cluster = Cluster(nodes=1)
    for mtu in (1400, 1300):
        cluster.policy("plan", {**DUMMY, "mtu": mtu}, mode="Plan")
        cluster.step()
    cluster.policy("back", {**DUMMY, "name": "d1", "mtu": 1400}, onDelete="Revert")
    cluster.settle()
    cluster.fails = lambda *_: True
    del cluster.policies["back"]
    cluster.settle()
    cluster.fails = lambda *_: False
    cluster.policy("back", {**DUMMY, "name": "d2"}, {"name": "{{ values.x }}"})  # nothing on any node
    cluster.policy("new", {**DUMMY, "mtu": 1500}, {**DUMMY, "name": "d1", "mtu": 1500})
    cluster.settle()
    assert cluster.told("new")[0] == "Available"
