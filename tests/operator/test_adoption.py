"""Policies that were there before the operator, and those that a command has left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from nncp.document.lax import given
from nncp.operator.adoption import OUTLIVED, found_first, marker, only_planned, outlived, waiting
from nncp.operator.parts import Memory
from nncp.operator.rollout import Phase
from tests.operator.test_reconcile import DUMMY, Cluster

if TYPE_CHECKING:
    from nncp.operator.seen import Seen


class First(Cluster):
    """A cluster in which policies wait."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: dict[str, str] = {}
        self.left: frozenset[str] = frozenset()

    def seen(self) -> Seen:
        return replace(super().seen(), waiting=self.waits, outlived=self.left)

    def said(self, name: str) -> tuple[str, str, str]:
        (one,) = (
            each for each in given(self.policies[name].status.conditions) or () if each.status == "True"
        )
        return one.type, str(one.reason), str(one.message)

    def start(self) -> None:
        self.waits = waiting(marker("bridgehead", found_first(self.seen())))


def test_what_was_there_at_the_first_start_is_planned_until_it_is_adopted() -> None:
    one = First()
    one.policy("p", DUMMY)
    one.start()
    one.settle()
    assert one.went == []
    told = "found at the first start: planned, not applied, until `nncp adopt p`; 3 nodes would change"
    assert one.said("p") == ("Ignored", "AwaitsAdoption", told)
    one.memory = Memory()  # another controller
    assert one.step() == []
    one.waits = {}
    one.settle()
    assert one.said("p")[0] == "Available"
    assert sorted(one.went) == ["n0.p", "n1.p", "n2.p"]
    assert {each.is_plan for each in one.enactments.values()} == {False}


def test_an_edit_waits_too_and_what_is_made_again_does_not() -> None:
    one = First()
    one.policy("p", DUMMY)
    one.start()
    one.policy("p", DUMMY | {"mtu": 1400})
    one.settle()
    assert one.said("p")[0] == "Ignored"
    del one.policies["p"]
    one.settle()
    assert one.enactments == {}
    one.policy("p", DUMMY)
    one.settle()
    assert one.said("p")[0] == "Available"


def test_what_nodes_have_by_this_operator_does_not_wait_when_its_marker_is_lost() -> None:
    one = First()
    one.policy("old", DUMMY)
    one.settle()
    one.policy("new", {**DUMMY, "name": "d1"})
    one.policy("plan", DUMMY, mode="Plan")
    one.start()
    assert one.waits == {"new": one.policies["new"].uid}


def test_who_waits_contradicts_nobody_and_is_refused_once_it_is_adopted() -> None:
    one = First()
    one.policy("p", DUMMY | {"mtu": 1400})
    one.start()
    one.policy("q", DUMMY | {"mtu": 1300}, created="2")
    one.settle()
    assert (one.said("p")[0], one.said("q")[0]) == ("Ignored", "Available")
    one.waits = {}
    one.settle()
    assert (one.said("p")[0], one.said("q")[0]) == ("Degraded", "Available")
    assert {each.phase for each in one.enactments.values() if each.policy == "q"} == {Phase.DONE}


def test_only_policies_that_wait_are_changed_by_it() -> None:
    one = First()
    one.policy("p", DUMMY)
    assert only_planned(one.seen()) == one.seen()


def test_what_a_command_has_left_behind_is_withdrawn_and_its_nodes_asked_nothing_any_more() -> None:
    one = First()
    one.policy("plan-p-x", DUMMY, mode="Plan")
    one.policies["plan-p-x"] = mine = replace(one.policies["plan-p-x"], plan_of="p")
    one.settle()
    assert {each.policy for each in one.enactments.values()} == {"plan-p-x"}
    assert outlived([mine], {mine.uid: OUTLIVED - 1}) == outlived([mine], {}) == []
    assert outlived([mine], {mine.uid: OUTLIVED}) == [mine]
    applies = replace(mine, spec=replace(mine.spec, mode="Apply"))  # type: ignore[type-var]
    assert outlived([applies], {mine.uid: OUTLIVED}) == []
    one.left = frozenset({"plan-p-x", "gone"})
    one.settle()
    assert one.policies == one.enactments == {}
