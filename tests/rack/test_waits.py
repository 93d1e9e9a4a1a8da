"""Waiting for links and guests that come slowly, on a clock that is turned by hand."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from nncp.errors import Error
from nncp.lab import switch
from vmnet.rack import acts
from vmnet.rack.demo import Demo

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.clock import Clock

BOND = """\
Bonding Mode: IEEE 802.3ad Dynamic link aggregation
\tPartner Mac Address: {partner}
Slave Interface: ens1f0
MII Status: up
    port state: {state}
    port state: {state}
"""


class Node:
    """A node of which only files are read, each as it is at its time."""

    name = "node-1"

    def __init__(self, seen: Callable[[str], str]) -> None:
        self.read = seen


def lacp(state: int) -> str:
    return BOND.format(partner="02:00:00:00:00:01", state=state)


def node(seen: Callable[[str], str]) -> Any:
    return Node(seen)


def test_lacp_that_gets_on_is_waited_for(clock: Clock) -> None:
    """A step each half minute, as with lost LACPDUs at the slow rate: longer in all than one step may take."""
    states = [0b1, 0b101, 0b1101, 0b111101]
    one = node(lambda _: lacp(states[min(int(clock.passed / 30), 3)]))
    assert 90 <= switch.wait_for_lacp([(one, "bond0")]) < 91


def test_lacp_that_stands_still_is_given_up_with_what_was_waited(clock: Clock) -> None:
    with pytest.raises(Error, match=r"no LACP partner in 35 s: bond0 on node-1: ens1f0 1/1"):
        switch.wait_for_lacp([(node(lambda _: lacp(1)), "bond0")])


def test_lacp_on_a_slow_machine_may_stand_still_for_longer(clock: Clock) -> None:
    clock.slow = 4.0
    one = node(lambda _: lacp(0b111101 if clock.passed > 130 else 1))
    assert switch.wait_for_lacp([(one, "bond0")]) > 130


def test_a_port_whose_states_last_their_time_is_waited_for_and_one_that_is_held_is_not(clock: Clock) -> None:
    states = ["1", "2", "3"]
    one = node(lambda _: states[min(int(clock.passed / 30), 2)])
    assert 60 <= switch.wait_for_forwarding(one, "bond0") < 61
    with pytest.raises(Error, match=r"bond0 on node-1 did not forward in 45 s \(state 4\)"):
        switch.wait_for_forwarding(node(lambda _: "4"), "bond0")


def test_partners_are_those_at_the_other_end_of_the_cable() -> None:
    def seen(mac: str, partner: str) -> Any:
        return node(
            lambda path: f"{mac}\n" if path.endswith("address") else BOND.format(partner=partner, state=61)
        )

    left, right, other = (f"02:00:00:00:00:0{number}" for number in (1, 2, 3))
    assert not switch.strangers([(seen(left, right), "bond0"), (seen(right, left), "to-node-1")])
    (said,) = switch.strangers([(seen(left, other), "bond0"), (seen(right, left), "to-node-1")])
    assert said == f"the LACP partner of bond0 on node-1 is {other}, not node-1's to-node-1"


def test_a_guest_whose_console_grows_is_waited_for(clock: Clock) -> None:
    text = [""]

    def seen(path: str) -> str:
        if path.endswith("launcher.log"):
            return ""
        text[0] += "." if int(clock.passed) % 100 == 0 else ""
        return text[0] + ("guest up:" if clock.passed > 400 else "")

    acts.wait_until_booted(acts.Pod("pod", node(seen), "", "tiny"))
    assert clock.passed > 400


@pytest.mark.parametrize(
    ("log", "words"),
    [("", "the guest did not finish its start in 180 s"), ('{"event": "ended"}', "the guest's Pod ended")],
)
def test_a_guest_that_says_nothing_more_or_has_ended_is_not(clock: Clock, log: str, words: str) -> None:
    one = node(lambda path: log if path.endswith("launcher.log") else "")
    with pytest.raises(Error, match=words):
        acts.wait_until_booted(acts.Pod("pod", one, "", "tiny"))


@pytest.mark.parametrize(
    ("said", "sound"),
    [
        (["sound 1", "sound 1", "sound 1", "sound 2"], True),
        (["sound 1"], False),
        (["sound 1", "unsound in round 2: memory"], False),
        (["unsound in round 1: disk"], False),
    ],
)
def test_a_guest_is_sound_when_its_count_goes_on(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, said: list[str], *, sound: bool
) -> None:
    answers = itertools.chain(said, itertools.repeat(said[-1]))
    monkeypatch.setattr(acts, "verdict", lambda _: next(answers))
    if sound:
        Demo.sound({"prober": None})  # type: ignore[arg-type]  # nobody is asked
    else:
        with pytest.raises(Error, match="not sound"):
            Demo.sound({"prober": None})  # type: ignore[arg-type]


def test_a_refusal_for_another_reason_is_none() -> None:
    Demo.refused("node-1's link to the switch (bond0) does not carry VLAN 33")
    for reason in (
        "node-1 could not be asked: no answer in 40 s",
        "node-2's link to the switch does not carry VLAN 33",
    ):
        with pytest.raises(Error, match="refused, but not for the link"):
            Demo.refused(reason)
