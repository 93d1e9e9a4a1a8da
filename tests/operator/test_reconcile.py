"""The controller's decisions against agents that are made up: who is asked what, when, and in how many writes."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import convert
from msgspec.structs import replace

from nncp.document.spec import PolicySpec
from nncp.operator import reading
from nncp.operator.objects import PolicyStatus
from nncp.operator.parts import Memory
from nncp.operator.reconcile import Write, writes
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment, Policy, Seen
from nncp.operator.selection import CONTROL_PLANE, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOW = "2026-01-01T00:00:00Z"
DUMMY = {"name": "d0", "type": "dummy", "state": "up"}
BOND = {
    "name": "bond0",
    "type": "bond",
    "state": "up",
    "link-aggregation": {"mode": "active-backup", "port": ["eth1"]},
}
VLAN = {"name": "bond0.3", "type": "vlan", "state": "up", "vlan": {"base-iface": "bond0", "id": 3}}
ON = [{"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]}]


class Cluster:
    """An API server, and agents that do at once what they are asked, if `fails` does not say otherwise."""

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = {f"n{number}": Node(f"n{number}") for number in range(nodes)}
        self.policies: dict[str, Policy] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.enactments: dict[str, Enactment] = {}
        self.fails: Callable[[str, str], bool] = lambda *_: False
        self.changes: Callable[[str, str], bool] = lambda *_: True
        self.refused: dict[str, str] = {}
        self.written: Counter[tuple[str, str]] = Counter()
        self.went: list[str] = []
        self.most = 0
        self.memory = Memory()
        self.count = 0

    def policy(self, name: str, *interfaces: dict[str, Any], created: str = "1", **spec: Any) -> None:
        spec["desiredState"] = {"interfaces": list(interfaces)}
        old = self.policies.get(name)
        self.count += 1
        status = old.status if old else PolicyStatus()
        uid, generation = (old.uid, old.generation + 1) if old else (f"uid-{self.count}", 1)
        read = convert(spec, PolicySpec)
        self.policies[name] = Policy(name, uid, generation, str(self.count), created, read, status=status)

    def seen(self) -> Seen:
        return Seen(self.policies, self.nodes, self.enactments, self.refused)

    def step(self) -> list[Write]:
        found = writes(self.seen(), self.memory, now=NOW)
        assert len({(write.verb, write.name) for write in found}) == len(found)
        for write in found:
            self.write(write)
        return found

    def write(self, write: Write) -> None:
        """Take a write as the API server does: what it does not say goes, what it has not met is refused."""
        self.written[write.verb, write.name] += 1
        self.count += 1
        if write.verb == "status":
            policy = self.policies[write.name]
            assert write.version == policy.version
            status = convert(write.body, PolicyStatus)
            self.policies[write.name] = replace(policy, status=status, version=str(self.count))
            return
        there = self.enactments.get(write.name)
        assert (there is None) == (write.verb == "create")
        assert there is None or there.version == write.version
        if write.verb == "delete":
            del self.enactments[write.name]
            return
        old = self.specs[write.name] if write.verb == "set" else {}
        self.specs[write.name] = spec = {**old, **write.whole()}
        if write.verb == "set" and spec.get("go", "") != old.get("go", ""):
            self.went.append(write.name)
        fresh = reading.enactment(
            {"metadata": {"name": write.name, "resourceVersion": str(self.count)}, "spec": spec}
        )
        if there:
            said = {name: getattr(there, name) for name in ("answers", "attempt", "ended", "said", "error")}
            fresh = replace(fresh, **said)
        self.enactments[write.name] = fresh

    def agent(self, name: str) -> None:
        """Let one node go on with one enactment."""
        there = self.enactments[name]
        if there.node in self.nodes and self.nodes[there.node].is_ready:
            self.count += 1
            fresh = self.answered(there)
            self.enactments[name] = replace(fresh, version=str(self.count)) if fresh != there else there

    def answered(self, there: Enactment) -> Enactment:
        if there.aborted:
            return replace(there, answers=there.asked, said=Phase.ABORTED)
        if there.holds_slot and there.go == there.token:
            fails = self.fails(there.node, there.policy)
            ended = replace(there, answers=there.asked, ended=there.go)
            return replace(ended, said=Phase.FAILED if fails else Phase.DONE, error="no" if fails else "")
        if there.holds_slot:
            there = replace(there, ended=there.go)
        if there.answers == there.asked:
            return there
        said = Phase.PENDING if self.changes(there.node, there.policy) else Phase.DONE
        return replace(there, answers=there.asked, attempt=0, said=said, error="")

    def settle(self) -> None:
        """Go on until nothing happens any more."""
        for _ in range(300):
            found = self.step()
            self.most = max(self.most, len(self.holders()))
            before = dict(self.enactments)
            for name in list(self.enactments):
                self.agent(name)
            if not found and before == self.enactments:
                return
        raise AssertionError("it does not come to rest")

    def holders(self) -> list[str]:
        return [each.name for each in self.enactments.values() if each.holds_slot]

    def phase(self, name: str) -> Phase:
        return self.enactments[name].phase

    def phases(self) -> set[Phase]:
        return {each.phase for each in self.enactments.values()}

    def told(self, name: str) -> tuple[str, str]:
        conditions = self.policies[name].status.conditions
        assert isinstance(conditions, list)
        (holds,) = (each for each in conditions if each.status == "True")
        return holds.type, str(holds.message)

    def ready(self, names: Iterable[str], *, is_ready: bool) -> None:
        for name in names:
            self.nodes[name] = replace(self.nodes[name], is_ready=is_ready)

    def until_gone(self, *names: str) -> None:
        """Go on until enactments are let go, and no further."""
        while not set(names) <= set(self.went):
            self.step()
            for each in list(self.enactments.values()):
                if not each.holds_slot:
                    self.agent(each.name)


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


def test_a_node_that_falls_silent_after_it_was_let_go_stops_the_rest_until_it_is_back() -> None:
    cluster = Cluster(nodes=3)
    cluster.policy("p", DUMMY, maxUnavailable=1)
    cluster.until_gone("n0.p")
    cluster.ready(["n0"], is_ready=False)
    cluster.settle()
    assert cluster.went == ["n0.p"]
    assert cluster.told("p")[0] == "Degraded"
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


def test_a_name_that_can_be_read_in_two_ways_is_refused() -> None:
    cluster = Cluster(nodes=0)
    cluster.nodes = {name: Node(name) for name in ("a", "a.b")}
    cluster.policy("b.c", DUMMY, created="1")
    cluster.policy("c", {**DUMMY, "name": "d1"}, created="2")
    cluster.settle()
    assert cluster.told("b.c")[0] == "Available"
    assert "a.b.c is the name of the enactment of b.c on a too (metadata.name)" in cluster.told("c")[1]


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


@pytest.mark.deviates("limit-means-something")
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
