from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from vmnet.preflight.verdict import Ask, Facts, Heard, Uplink, Way, judge, merge

ASK = Ask("br1", 33)
GOOD, LOST = Heard(arrived=True, vlan=33, copies=1), Heard(arrived=False)


def member(name: str, **uplink: object) -> Facts:
    return Facts(member=name, uplink=Uplink("bond0", mac="02:00:00:00:00:01", **uplink))  # type: ignore[arg-type]


ONE, TWO = member("node-1"), member("node-2")
PROBER = Facts(member="prober", node=False, uplink=Uplink("eth0"))
THREE = [ONE, TWO, PROBER]


def ways(
    members: list[Facts],
    *,
    lost: set[tuple[str, str]] = frozenset(),
    short: set[tuple[str, str]] = frozenset(),
) -> list[Way]:  # type: ignore[assignment]
    found = []
    for a, b in itertools.permutations([m.member for m in members], 2):
        good = GOOD if b != "prober" else Heard(arrived=True, vlan=0, copies=1)
        small = LOST if (a, b) in lost else good
        full = LOST if (a, b) in lost | short else good
        found.append(Way(a, b, small=small, full=full, over=LOST))
    return found


def both(a: str, *others: str) -> set[tuple[str, str]]:
    return {pair for b in others for pair in ((a, b), (b, a))}


LINK = "node-1's link to the switch (bond0)"

VERDICTS = [
    ("all is well", THREE, {}, []),
    ("two members, all well", THREE[:2], {}, []),
    (
        "blame with a third member",
        THREE,
        {"lost": both("node-1", "node-2", "prober")},
        [f"{LINK} does not carry VLAN 33"],
    ),
    (
        "no blame with two",
        THREE[:2],
        {"lost": both("node-1", "node-2")},
        [f"{LINK} or node-2's link to the switch (bond0) does not carry VLAN 33"],
    ),
    (
        "nobody hears it",
        THREE,
        {"lost": {("node-1", "node-2"), ("node-1", "prober")}},
        [f"{LINK} does not carry VLAN 33: node-1 hears the others, but nobody hears node-1"],
    ),
    (
        "it hears nobody",
        THREE,
        {"lost": {("node-2", "node-1"), ("prober", "node-1")}},
        [f"{LINK} does not carry VLAN 33: the others hear node-1, but node-1 hears nobody"],
    ),
    (
        "one way of two",
        THREE[:2],
        {"lost": {("node-1", "node-2")}},
        [f"{LINK} or node-2's link to the switch (bond0) does not carry VLAN 33 from node-1 to node-2"],
    ),
    (
        "one pair of three",
        THREE,
        {"lost": both("node-1", "node-2")},
        ["the links between node-1 and node-2 do not carry VLAN 33, though each reaches other members"],
    ),
    (
        "nothing at all",
        THREE,
        {"lost": both("node-1", "node-2", "prober") | both("node-2", "prober")},
        [
            (
                "no two members reach each other: "
                f"{LINK}, node-2's link to the switch (bond0), prober's link to the switch (eth0)"
                " do not all carry VLAN 33"
            )
        ],
    ),
    (
        "small frames only",
        THREE,
        {"short": both("node-1", "node-2", "prober")},
        [f"{LINK} does not carry frames of 1500 bytes on VLAN 33"],
    ),
]


@pytest.mark.parametrize(("name", "facts", "loss", "reasons"), VERDICTS, ids=[v[0] for v in VERDICTS])
def test_what_was_lost_names_the_link(
    name: str, facts: list[Facts], loss: dict[str, set[tuple[str, str]]], reasons: list[str]
) -> None:
    verdict = judge(ASK, facts, ways(facts, **loss))
    assert list(verdict.reasons) == reasons
    assert verdict.verdict == ("failed" if reasons else "ok")
    assert all(pair.ok for pair in verdict.pairs) == (not reasons)


FACTS = [
    (Facts(member="node-1", exists=False), "node-1 has no bridge br1"),
    (Facts(member="node-1", is_bridge=False), "br1 on node-1 is not a bridge"),
    (structs.replace(ONE, up=False), "bridge br1 on node-1 is down"),
    (structs.replace(ONE, filters=False), "bridge br1 on node-1 does not filter VLANs"),
    (Facts(member="node-1"), "bridge br1 on node-1 has no uplink"),
    (member("node-1", running=False), "node-1's uplink bond0 is down"),
    (member("node-1", partner=False), "node-1's uplink bond0 has no LACP partner"),
    (
        member("node-1", carries=False),
        "node-1's uplink bond0 does not carry VLAN 33: its port of br1 lacks it",
    ),
    (member("node-1", state="learning"), "node-1's uplink bond0 is learning in br1, not forwarding"),
    (Facts(member="node-1", trouble="no route to host"), "node-1 could not be asked: no route to host"),
]


@pytest.mark.parametrize(("facts", "reason"), FACTS, ids=[row[1] for row in FACTS])
def test_a_members_own_facts_come_before_any_frame(facts: Facts, reason: str) -> None:
    verdict = judge(ASK, [facts, TWO, PROBER], ways([TWO, PROBER]))
    assert verdict.reasons == (reason,)
    assert [pair.ok for pair in verdict.pairs] == [False, False, True]


def test_an_mtu_that_an_uplink_lacks_is_told_by_its_name() -> None:
    verdict = judge(Ask("br1", 33, 9000), THREE, [])
    assert verdict.reason == "node-1's uplink bond0 has MTU 1500, less than 9000"


def test_too_long_a_frame_that_passes_is_told() -> None:
    found = [structs.replace(way, over=GOOD) if way.sender == "node-1" else way for way in ways(THREE[:2])]
    verdict = judge(ASK, THREE[:2], found)
    assert verdict.reason == "frames of 1501 bytes pass from node-1 to node-2, more than their MTU of 1500"


def test_a_frame_in_another_vlan_and_a_second_copy_are_told() -> None:
    odd = Heard(arrived=True, vlan=34, copies=2)
    found = [structs.replace(way, small=odd) if way.sender == "node-1" else way for way in ways(THREE[:2])]
    assert judge(ASK, THREE[:2], found).reasons == (
        "frames from node-1 arrive 2 times at node-2: there is a loop, or a second path",
        "frames of VLAN 33 from node-1 arrive tagged 34 at node-2",
    )


def test_one_member_proves_nothing() -> None:
    assert judge(ASK, [ONE], []).verdict == "failed"


def test_several_verdicts_become_one() -> None:
    good, bad = judge(ASK, THREE, ways(THREE)), judge(ASK, [Facts(member="node-1", exists=False), TWO], [])
    both_of_them = merge([good, bad])
    assert (both_of_them.verdict, both_of_them.reason) == ("failed", "node-1 has no bridge br1")
    assert len(both_of_them.pairs) == 4


@given(st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"))))
def test_any_loss_whatever_gives_a_reason_and_no_loss_gives_none(lost: set[tuple[str, str]]) -> None:
    facts = [member(name) for name in "abcd"]
    real = {(a, b) for a, b in lost if a != b}
    verdict = judge(ASK, facts, ways(facts, lost=real))
    assert bool(verdict.reasons) == bool(real)
    assert all(pair.ok for pair in verdict.pairs) == (not real)
