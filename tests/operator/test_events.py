"""What is told as it happens, and no more than that."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from nncp.operator.conditions import ENACTMENT, Said, of_node, stamped
from nncp.operator.events import BURST, LONGEST, ONE_MORE, Allowance, Event, body, happened
from nncp.operator.objects import EnactmentStatus
from nncp.operator.rollout import Phase

NOW = "2026-01-01T00:00:00Z"


def status(phase: Phase, ended: str = "", asked: str = "a") -> EnactmentStatus:
    conditions = stamped(of_node(phase, name="n.p", error="no"), ENACTMENT, [], now=NOW)
    return EnactmentStatus(conditions=conditions, asked=asked, ended=ended or UNSET)


def drifted(one: EnactmentStatus, note: str) -> EnactmentStatus:
    said = stamped(Said("Drifted", "ConfigurationDrifted", note), ("Drifted",), [], now=NOW)
    assert isinstance(one.conditions, list)
    return replace(one, conditions=[*one.conditions, *said])


def told(*statuses: EnactmentStatus) -> list[str]:
    pairs = zip((EnactmentStatus(), *statuses), statuses, strict=False)
    found = (happened(before, after) for before, after in pairs)
    return [f"{each.action} {each.reason}" for each in found if each]


PENDING, GOING = status(Phase.PENDING), status(Phase.GOING)
START, DONE = "Apply ConfigurationProgressing", "Apply SuccessfullyConfigured"


@pytest.mark.parametrize(
    ("statuses", "events"),
    [
        ([PENDING, GOING, status(Phase.DONE, "a.0")], [START, DONE]),
        ([PENDING, status(Phase.DONE, "a.0")], [DONE]),  # words of which only the newest was written
        ([PENDING, GOING, status(Phase.FAILED, "a.0")], [START, "Rollback ReconcileFailed"]),
        ([PENDING, status(Phase.ABORTED)], ["Abort ReconcileFailed"]),
        ([status(Phase.DONE)], []),  # nothing had to change
        ([status(Phase.DONE, "a.0"), status(Phase.DONE, "a.0", asked="b")], [DONE]),
        ([status(Phase.FAILED)], ["Plan ReconcileFailed"]),
        ([status(Phase.FAILED), status(Phase.FAILED, asked="b")], ["Plan ReconcileFailed"] * 2),
        ([status(Phase.FAILED), status(Phase.FAILED)], ["Plan ReconcileFailed"]),
    ],
)
def test_two_events_tell_of_an_attempt_and_none_of_what_did_not_happen(
    statuses: list[EnactmentStatus], events: list[str]
) -> None:
    assert told(*statuses) == events


def test_drift_is_told_once_as_long_as_it_lasts() -> None:
    done = status(Phase.DONE)
    assert told(done, drifted(done, "~ eth1"), drifted(done, "~ eth2"), done) == [
        "Compare ConfigurationDrifted"
    ]


def test_an_event_is_what_the_api_takes_whatever_a_condition_says() -> None:
    made = body(Event("R", "A", "é" * 4000), node="n" * 200, name="n" * 49 + "..p", uid="u", now=NOW)
    assert len(made["note"].encode()) == LONGEST
    assert made["metadata"]["generateName"] == "n" * 49 + "-"
    assert len(made["reportingInstance"]) == 128
    assert made["regarding"]["name"] == "n" * 49 + "..p"


def test_a_node_tells_so_many_at_once_and_one_more_now_and_then() -> None:
    one = Allowance(0.0)
    assert [one.take(0.0) for _ in range(BURST + 2)] == [True] * BURST + [False] * 2
    assert [one.take(ONE_MORE), one.take(ONE_MORE)] == [True, False]
    assert sum(one.take(1e6) for _ in range(100)) == BURST
