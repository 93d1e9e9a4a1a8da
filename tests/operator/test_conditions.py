"""Conditions: which holds, why, and since when; equal ones are written once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.operator.conditions import ENACTMENT, LONGEST, Said, of_node, phase_of, stamped
from nncp.operator.objects import Condition
from nncp.operator.rollout import Phase

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"

# kubernetes-nmstate, pkg/enactmentstatus/conditions: Available, Failing, Progressing, Pending, Aborted.
TABLE = {
    Phase.PENDING: ("FFFTF", "MaxUnavailableLimitReached", "Waiting for progressing nodes to finish"),
    Phase.GOING: ("UUTFF", "ConfigurationProgressing", "Applying desired state"),
    Phase.DONE: ("TFFFF", "SuccessfullyConfigured", "successfully reconciled"),
    Phase.FAILED: ("FTFFF", "FailedToConfigure", "why"),
    Phase.ABORTED: ("FFFFT", "ConfigurationAborted", 'reconciliation of enactment "n.p" has aborted'),
}


def made(
    phase: Phase, *, before: list[Condition] | None = None, now: str = NOW, error: str = "why"
) -> list[Condition]:
    return stamped(of_node(phase, name="n.p", error=error), ENACTMENT, before or [], now=now)


@pytest.mark.parametrize("phase", TABLE)
def test_a_node_says_it_in_kubernetes_nmstates_words(phase: Phase) -> None:
    statuses, reason, message = TABLE[phase]
    found = made(phase)
    assert "".join(each.status[0] for each in found) == statuses
    (holds,) = (each for each in found if each.status == "True")
    assert (holds.reason, holds.message) == (reason, message)
    assert phase_of(found) is phase


def test_of_what_nobody_has_looked_at_nothing_is_known() -> None:
    found = made(Phase.NEW)
    assert {each.status for each in found} == {"Unknown"}
    assert phase_of(found) is Phase.NEW
    assert phase_of([]) is Phase.NEW


def test_a_node_of_kubernetes_nmstate_that_tries_again_is_still_at_it() -> None:
    found = [Condition(type=name, status="True") for name in ("Failing", "Progressing")]
    assert phase_of(found) is Phase.GOING


@given(st.sampled_from(Phase))
def test_what_is_said_twice_is_the_same(phase: Phase) -> None:
    first = made(phase)
    assert made(phase, before=first, now=LATER) == first


def test_a_condition_that_stays_keeps_its_time_though_its_message_changes() -> None:
    first = made(Phase.FAILED)
    second = {each.type: each for each in made(Phase.FAILED, before=first, now=LATER, error="another")}
    assert second["Failing"].last_transition_time == NOW
    assert second["Failing"].last_heartbeat_time == LATER
    third = {each.type: each for each in made(Phase.DONE, before=list(second.values()), now=LATER)}
    assert third["Failing"].last_transition_time == LATER
    assert third["Pending"].last_transition_time == NOW


def test_a_message_is_one_line_of_bounded_length() -> None:
    said = Said("Failing", "FailedToConfigure", "one\n  two\t" + "x" * 5000)
    (failing,) = (each for each in stamped(said, ENACTMENT, [], now=NOW) if each.type == "Failing")
    assert str(failing.message).startswith("one two x")
    assert len(str(failing.message)) == LONGEST
