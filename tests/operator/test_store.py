"""What has been seen: watches, lists and answers to writes overtake each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nncp.operator import reading
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment
from nncp.operator.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence


def body(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "resourceVersion": str(version)}}


class Seen:
    """A store, and how often it said that something has changed."""

    def __init__(self) -> None:
        self.changes = 0
        self.store: Store[str] = Store(lambda body: str(body["metadata"]["resourceVersion"]), self._changed)

    def _changed(self) -> None:
        self.changes += 1


def test_an_older_word_never_takes_the_place_of_a_newer_one_also_when_that_has_gone() -> None:
    seen = Seen()
    seen.store.take(body("a", 5))
    seen.store.take(body("a", 4))
    assert seen.store.known == {"a": "5"}
    seen.store.gone(body("a", 7))
    seen.store.take(body("a", 6))  # the answer to a write that was made before
    assert seen.store.known == {}
    seen.store.take(body("a", 8))
    assert seen.store.known == {"a": "8"}


def test_what_says_nothing_new_changes_nothing() -> None:
    seen = Seen()
    seen.store = Store(lambda _: "same", seen._changed)
    for version in range(5):
        seen.store.take(body("a", version))
    assert seen.changes == 1


def test_what_a_list_does_not_hold_has_gone_unless_it_came_later() -> None:
    seen = Seen()
    for name, version in (("a", 1), ("b", 2), ("c", 9)):
        seen.store.take(body(name, version))
    seen.store.listed(body("a", 1))
    seen.store.keep({"a"}, 8)
    assert seen.store.known == {"a": "1", "c": "9"}


def test_what_had_gone_before_a_list_does_not_come_back_by_a_late_word() -> None:
    seen = Seen()
    seen.store.gone(body("b", 9))  # told by a watch that is ahead of the list
    seen.store.listed(body("old", 1))
    seen.store.keep({"old"}, 8)
    for name, version in (("a", 7), ("b", 8)):
        seen.store.take(body(name, version))
    assert seen.store.known == {"old": "1"}
    seen.store.take(body("old", 2))
    seen.store.take(body("a", 10))
    assert seen.store.known == {"old": "2", "a": "10"}


EVENTS = st.lists(st.tuples(st.sampled_from("ab"), st.booleans()), max_size=8)


@given(EVENTS, st.data())
def test_in_whatever_order_words_come_the_last_one_counts(
    events: Sequence[tuple[str, bool]], data: st.DataObject
) -> None:
    words = [(name, version, is_there) for version, (name, is_there) in enumerate(events, start=1)]
    seen = Seen()
    for name, version, is_there in data.draw(st.permutations(words)):
        (seen.store.take if is_there else seen.store.gone)(body(name, version))
    last = {name: (version, is_there) for name, version, is_there in words}
    assert seen.store.known == {name: str(version) for name, (version, is_there) in last.items() if is_there}


METADATA = {"name": "n1.p", "resourceVersion": "7", "uid": "u", "generation": 2, "creationTimestamp": "t"}


@pytest.mark.parametrize(
    "spec", [{"unknown": 1}, {"maxUnavailable": 1, "nodeSelector": 3}, {"priority": "x"}, [1], "text"]
)
def test_a_policy_that_cannot_be_read_says_why(spec: Any) -> None:
    found = reading.policy({"metadata": METADATA, "spec": spec})
    assert found.spec is None
    assert found.error
    assert found.uid == "u"


@pytest.mark.parametrize("spec", [None, {}, {"nodeName": 3}, {"nodeName": "n1"}, [], "text"])
def test_an_enactment_of_another_program_is_known_by_its_name_only(spec: Any) -> None:
    found = reading.enactment({"metadata": METADATA, "spec": spec, "status": {"conditions": "none"}})
    assert (found.name, found.version, found.node, found.phase) == ("n1.p", "7", "", Phase.NEW)


def test_a_status_that_somebody_else_has_written_counts_as_none() -> None:
    spec = {"nodeName": "n1", "policyName": "p", "policyGeneration": 1, "asked": "x", "go": "x.0"}
    found = reading.enactment({"metadata": METADATA, "spec": spec, "status": {"ended": 3}})
    assert found.phase is Phase.GOING


def test_an_attempt_is_one_at_what_is_asked_now() -> None:
    part = Enactment("n1.p", "n1", "p", asked="y", answers="x", attempt=3, said=Phase.DONE, ended="x.3")
    assert (part.token, part.phase) == ("y.0", Phase.NEW)
    assert replace(part, answers="y").token == "y.3"
    # Somebody says that it goes on, and nobody has let it go.
    assert replace(part, answers="y", said=Phase.GOING).phase is Phase.NEW


def test_the_same_question_is_the_same_text_in_whatever_order_it_was_stored() -> None:
    states = [{"interfaces": [{"name": "a", "mtu": 1}]}, {"interfaces": [{"mtu": 1, "name": "a"}]}]
    specs = [
        {"nodeName": "n1", "policyName": "p", "policyGeneration": 1, "desiredState": state}
        for state in states
    ]
    one, other = (reading.enactment({"metadata": METADATA, "spec": spec}) for spec in specs)
    assert one.text == other.text
