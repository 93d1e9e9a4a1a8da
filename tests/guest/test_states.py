"""The coordination of a migration as a pure machine: events in, actions out."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.migration.facts import Arrival, Facts, Timing, downtime, refusals
from launcher.migration.states import Action, Event, Phase, Step, step

TCG = Facts(
    qemu=(10, 0, 2),
    accelerator="tcg",
    host_uuid="a",
    vm="default/vm",
    macs={"nic-add1": "02:00:00:00:00:05"},
    mtus={"nic-add1": 1500},
    addresses={"nic-add1": "10.0.0.5/24"},
)


def walk(phase: Phase, *events: Event) -> tuple[Phase, list[Action]]:
    def onward(before: tuple[Phase, list[Action]], event: Event) -> tuple[Phase, list[Action]]:
        led = step(before[0], event)
        return led.phase, [*before[1], *led.actions]

    return reduce(onward, events, (phase, []))


def test_the_target_opens_at_the_sources_stop_and_announces_again_when_the_guest_runs() -> None:
    assert walk(Phase.WAITING, Event.HEARD_STOPPED, Event.RESUME) == (
        Phase.RUNNING,
        [
            *(Action.DECOY, Action.OPEN, Action.ANNOUNCE),
            *(Action.OPEN, Action.ANNOUNCE, Action.GIVE_WAY, Action.SAY_ARRIVED, Action.LIFT),
        ],
    )


def test_a_source_that_resumes_announces_again_and_says_so() -> None:
    assert walk(Phase.RUNNING, Event.LEAVE, Event.STOP, Event.RESUME, Event.FAILED) == (
        Phase.RUNNING,
        [Action.SAY_STOPPED, Action.ANNOUNCE, Action.GIVE_WAY, Action.SAY_BACK],
    )


def test_the_order_of_libvirts_and_qemus_word_of_a_failure_does_not_matter() -> None:
    first = walk(Phase.RUNNING, Event.LEAVE, Event.STOP, Event.RESUME, Event.FAILED)
    assert walk(Phase.RUNNING, Event.LEAVE, Event.STOP, Event.FAILED, Event.RESUME) == first


@pytest.mark.parametrize("event", [Event.HEARD_BACK, Event.LOST])
def test_a_target_whose_guest_will_not_come_is_silent_and_closed(event: Event) -> None:
    phase, actions = walk(Phase.WAITING, Event.HEARD_STOPPED, event)
    assert phase is Phase.ABANDONED
    assert actions[-3:] == [Action.MUTE, Action.CLOSE, Action.LIFT]


def test_a_lost_word_only_costs_time() -> None:
    phase, actions = walk(Phase.WAITING, Event.RESUME)
    assert phase is Phase.RUNNING
    assert actions[:2] == [Action.OPEN, Action.ANNOUNCE]


def test_words_of_a_migration_that_is_over_are_not_heard() -> None:
    for late in (Event.HEARD_BACK, Event.HEARD_STOPPED, Event.EXPIRED):
        assert step(Phase.RUNNING, late) == Step(Phase.RUNNING)


def test_a_pause_that_no_migration_asked_for_says_nothing() -> None:
    assert walk(Phase.RUNNING, Event.STOP, Event.RESUME) == (Phase.RUNNING, [])


def test_a_migration_that_fails_before_stop_leaves_nothing_to_announce() -> None:
    assert walk(Phase.RUNNING, Event.LEAVE, Event.FAILED) == (Phase.RUNNING, [Action.SAY_BACK])


def test_a_source_ends_only_when_libvirt_says_that_its_guest_has_gone() -> None:
    phase, actions = walk(Phase.RUNNING, Event.LEAVE, Event.STOP, Event.LOST)
    assert (phase, Action.END in actions) == (Phase.PAUSED, False)
    assert walk(phase, Event.MOVED) == (Phase.GONE, [Action.END])


@given(st.lists(st.sampled_from(list(Event))))
def test_the_guest_is_where_its_qemu_runs(events: list[Event]) -> None:
    """Whatever came before: a RESUME in a Pod that took a guest in leaves its gate open."""
    is_open = False
    phase = Phase.WAITING
    for event in [*events, Event.RESUME]:
        led = step(phase, event)
        phase = led.phase
        for action in led.actions:
            is_open = {Action.OPEN: True, Action.CLOSE: False}.get(action, is_open)
    assert is_open or phase in {Phase.GONE, Phase.ENDED}


@given(st.lists(st.sampled_from(list(Event))))
def test_an_abandoned_target_has_its_gate_closed(events: list[Event]) -> None:
    phase, is_open = Phase.WAITING, False
    for event in events:
        led = step(phase, event)
        phase = led.phase
        for action in led.actions:
            is_open = {Action.OPEN: True, Action.CLOSE: False}.get(action, is_open)
        if phase in {Phase.ABANDONED, Phase.WAITING}:
            assert not is_open


def other(**changes: object) -> Facts:
    fields = {
        "qemu": (10, 0, 2),
        "accelerator": "tcg",
        "host_uuid": "b",
        "vm": "default/vm",
        "macs": {"nic-add1": "02:00:00:00:00:05"},
        "mtus": {"nic-add1": 1500},
        "addresses": {"nic-add1": "10.0.0.5/24"},
    }
    return Facts(**(fields | changes))  # type: ignore[arg-type]  # a table of cases


def test_two_fit_pods_do_not_refuse() -> None:
    assert list(refusals(TCG, other())) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (other(accelerator="kvm"), "runs with tcg, the target Pod has kvm"),
        (other(qemu=(7, 2, 22)), "QEMU 7.2.22 corrupts a TCG guest's memory"),
        (other(host_uuid="a"), "the same Pod"),
        (
            other(addresses={"nic-add1": "10.0.0.6/24"}),
            "network nic-add1 gives the guest 10.0.0.5/24 in the source Pod and 10.0.0.6/24 in the target's",
        ),
        (other(addresses={}), "network nic-add1 gives the guest 10.0.0.5/24 in the source Pod and none"),
        (other(mtus={"nic-add1": 1400}), "network nic-add1 has MTU 1500 in the source Pod and 1400"),
        (other(mtus={}), "network nic-add1 has MTU 1500 in the source Pod and None"),
        (other(vm="default/other"), "the target Pod waits for VM default/other, and the guest is default/vm"),
        (other(macs={}), "the source Pod has interface nic-add1, which the target Pod has not"),
        (
            other(macs={"nic-add1": "02:00:00:00:00:05", "more": "02:00:00:00:00:06"}),
            "the target Pod has interface more, which the source Pod has not",
        ),
        (
            other(macs={"nic-add1": "02:00:00:00:00:07"}),
            "interface nic-add1 has MAC 02:00:00:00:00:05 in the source Pod and 02:00:00:00:00:07 in the",
        ),
    ],
)
def test_a_refusal_names_its_reason(target: Facts, words: str) -> None:
    assert any(words in said for said in refusals(TCG, target))


def test_an_older_qemu_is_no_trouble_under_kvm() -> None:
    source = Facts(qemu=(7, 2, 22), accelerator="kvm", host_uuid="a")
    assert list(refusals(source, Facts(qemu=(7, 2, 22), accelerator="kvm", host_uuid="b"))) == []


def test_downtime_is_by_one_clock_where_there_is_one() -> None:
    left = Timing(stopped=10.0, boot_id="x")
    arrived = Arrival(resumed=10.0861, boot_id="x", downtime_ms=95)
    assert downtime(left, arrived) == {"downtime_ms": 86.1, "downtime_by": "clock"}
    elsewhere = Arrival(resumed=99.0, boot_id="y", downtime_ms=95)
    assert downtime(left, elsewhere) == {"downtime_ms": 95, "downtime_by": "libvirt"}
    assert downtime(left, None)["downtime_ms"] is None
