"""Who may change now: slots that are found and never counted, and who stops the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from nncp.operator.aggregate import summary
from nncp.operator.conditions import POLICY
from nncp.operator.rollout import Decision, Enactment, Phase, decide, most
from nncp.operator.selection import CONTROL_PLANE, Node

LETTERS = {"n": Phase.NEW, "p": Phase.PENDING, "g": Phase.GOING, "d": Phase.DONE, "f": Phase.FAILED}


def nodes(phases: str) -> list[Enactment]:
    """One node for each letter: new, pending, going, done, failed; a capital is silent, `*` behind it a control
    plane, `+` holds a slot."""
    found: list[Enactment] = []
    for letter in phases:
        if letter in "*+":
            last = found.pop()
            node = replace(last.node, labels={CONTROL_PLANE: ""}) if letter == "*" else last.node
            found.append(replace(last, node=node, holds_slot=last.holds_slot or letter == "+"))
        else:
            phase = LETTERS[letter.lower()]
            node = Node(f"n{len(found)}", is_ready=letter.islower())
            found.append(Enactment(node, phase, holds_slot=phase is Phase.GOING))
    return found


@pytest.mark.deviates("share-of-matching")
@pytest.mark.parametrize(
    ("wanted", "matching", "limit", "is_told"),
    [
        ("50%", 5, 3, False),
        ("0%", 5, 1, False),
        (0, 5, 1, False),
        ("asdf", 5, 3, True),
        ("42", 5, 3, True),
        ("101%", 5, 3, True),
        (-1, 5, 3, True),
        (True, 5, 3, True),
        (None, 5, 3, False),
        (None, 1, 1, False),
        (2, 5, 2, False),
        ("100%", 5, 5, False),
        ("10%", 1000, 100, False),
    ],
)
def test_how_many_may_change_at_the_same_time(wanted: Any, matching: int, limit: int, is_told: bool) -> None:
    number, told = most(wanted, matching)
    assert number == limit
    assert bool(told) == is_told
    assert not told or repr(wanted) in told


@pytest.mark.parametrize(
    ("phases", "limit", "go", "abort"),
    [
        ("pppp", 2, "n0 n1", ""),
        ("gppp", 2, "n1", ""),
        ("ggpp", 2, "", ""),
        ("dgpp", 2, "n2", ""),
        ("npp", 2, "", ""),  # each is looked at before any changes
        ("Npp", 2, "n1 n2", ""),  # but for one that is not ready
        ("fpp", 2, "n1 n2", ""),
        ("fpp", 1, "", "n1 n2"),
        ("ffp", 2, "", "n2"),
        ("Gpp", 1, "", ""),  # silent since it was let go: counts as failed until it says something
        ("dpp", 1, "n1", ""),
        ("Gpp", 2, "n1", ""),  # and holds its slot
        ("Gfp", 2, "", ""),
        ("Gffp", 2, "", "n3"),
        ("n+pp", 1, "", ""),  # let go with something before
        ("p+pp", 2, "n1", ""),
        ("P+pp", 1, "", ""),
        ("Ppp", 2, "n1 n2", ""),
        ("p*p*p", 3, "n0 n2", ""),  # one control plane at a time
        ("g*p*p", 3, "n2", ""),
        ("", 1, "", ""),
        ("dd", 1, "", ""),
    ],
)
def test_who_is_let_go(phases: str, limit: int, go: str, abort: str) -> None:
    expected = Decision(go=tuple(go.split()), abort=tuple(abort.split()))
    assert decide(nodes(phases), limit) == expected


def test_a_control_plane_that_is_busy_elsewhere_or_away_keeps_the_others_from_theirs() -> None:
    assert decide(nodes("p*p"), 2, busy=frozenset({"other"})).go == ("n1",)
    assert decide(nodes("p*p"), 2, busy=frozenset({"n0"})).go == ("n0", "n1")


def test_nobody_begins_while_it_is_paused_and_failures_still_stop_the_rest() -> None:
    assert decide(nodes("pp"), 2, paused=True) == Decision()
    assert decide(nodes("fp"), 1, paused=True) == Decision(abort=("n1",))


PHASES = st.text(st.sampled_from("npgdfNPGDF"), max_size=12)


@given(PHASES, st.integers(1, 12))
def test_never_more_than_the_limit_change_and_nobody_who_may_not(phases: str, limit: int) -> None:
    found = nodes(phases)
    decided = decide(found, limit)
    busy = sum(each.phase is Phase.GOING for each in found)
    assert not decided.go or busy + len(decided.go) <= limit
    assert not (decided.go and decided.abort)
    pending = {each.node.name for each in found if each.phase is Phase.PENDING}
    assert {*decided.go, *decided.abort} <= pending


@given(PHASES, st.integers(1, 12))
def test_a_rollout_in_which_nobody_fails_reaches_every_node(phases: str, limit: int) -> None:
    found = [Enactment(Node(each.node.name), Phase.PENDING) for each in nodes(phases)]
    for _ in found:
        decided = decide(found, limit)
        found = [
            Enactment(each.node, Phase.DONE if each.node.name in decided.go else each.phase) for each in found
        ]
    assert all(each.phase is Phase.DONE for each in found)


@pytest.mark.parametrize(
    ("phases", "holds", "message"),
    [
        ("", "Ignored", "Policy does not match any node"),
        ("nn", "Progressing", "Policy is progressing 0/2 nodes finished"),
        ("dgpp", "Progressing", "Policy is progressing 1/4 nodes finished, 2 pending"),
        (
            "dgN",
            "Progressing",
            "Policy is progressing 1/2 nodes finished, 1 node ignored due to NotReady state",
        ),
        ("ddPP", "Available", "2/2 nodes successfully configured, 2 nodes ignored due to NotReady state"),
        ("dd", "Available", "2/2 nodes successfully configured"),
        (
            "N",
            "Progressing",
            "Policy is progressing 0/0 nodes finished, 1 node ignored due to NotReady state",
        ),
        ("dfp", "Degraded", "1/3 nodes failed to configure"),
        ("dG", "Degraded", "1/2 nodes failed to configure"),
        ("dP+", "Degraded", "1/2 nodes failed to configure"),
    ],
)
def test_one_condition_holds_and_says_how_many(phases: str, holds: str, message: str) -> None:
    told = summary(nodes(phases))
    assert (told.holds, told.message) == (holds, message)
    statuses = {name: told.status(name) for name in POLICY}
    assert [name for name, status in statuses.items() if status == "True"] == [holds]
    unknown = [name for name, status in statuses.items() if status == "Unknown"]
    assert unknown == (["Available", "Degraded"] if holds == "Progressing" else [])


def test_what_was_aborted_is_said() -> None:
    stopped = [*nodes("f"), Enactment(Node("a"), Phase.ABORTED), Enactment(Node("b"), Phase.ABORTED)]
    assert summary(stopped).message == "1/3 nodes failed to configure, 2 nodes aborted configuration"
