"""What a node does next for an enactment: each case, and walks on which all that can restart does."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from nncp.document.lax import given as known
from nncp.operator.conditions import phase_of
from nncp.operator.enact import DRIFTED, LARGEST_DIFF, Do, Duty, Heard, Later, Tell, bounded, next_step
from nncp.operator.objects import EnactmentSpec, EnactmentStatus
from nncp.operator.outcomes import Ledger
from nncp.operator.protocol import Apply, Ask, Outcome, Plan, Planned, Refused, Revert, RevertPlan
from nncp.operator.protocol import Phase as How
from nncp.operator.rollout import Phase

NOW, LATER, MUCH_LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:00:05Z", "2026-01-01T01:00:00Z"
DIFFERS = Planned(True, ("~ eth1 mtu: 1500 → 1400", "Plan: 1 to change."), ("eth1",))
SAME = Planned(False, desired={"interfaces": []}, taken={"gw": {"routes": {}}})
NOTHING, UNDRIFTED = Heard(), Heard("a", drift=SAME)
DONE = Outcome("a.0", How.DONE, desired={"interfaces": []})


def enactment(status: EnactmentStatus | None = None, **asked: Any) -> Duty:
    spec = EnactmentSpec(node_name="n", policy_name="p", policy_generation=1, **({"asked": "a"} | asked))
    return Duty("n.p", spec, status or EnactmentStatus())


def told(one: Duty, heard: Heard, now: str = NOW) -> Duty:
    step = next_step(one, heard, now=now)
    assert isinstance(step, Tell), step
    return replace(one, status=step.status)


def asks(one: Duty, heard: Heard = NOTHING, now: str = NOW) -> Any:
    step = next_step(one, heard, now=now)
    assert isinstance(step, Do), step
    return step.request


def rests(one: Duty, heard: Heard = UNDRIFTED, now: str = LATER) -> bool:
    return isinstance(next_step(one, heard, now=now), Later)


def pending(**asked: Any) -> Duty:
    return told(enactment(**asked), Heard("a", DIFFERS))


def going(**asked: Any) -> Duty:
    return told(_let_go(pending(**asked), "a.0"), Heard("a", DIFFERS))


def done(**asked: Any) -> Duty:
    return told(going(**asked), Heard("a", DIFFERS, None, "a.0", DONE))


def _let_go(one: Duty, attempt: str, **more: Any) -> Duty:
    return replace(one, spec=replace(one.spec, go=attempt, **more))


def phase(one: Duty) -> Phase:
    return phase_of(known(one.status.conditions) or [])


def drifted(one: Duty) -> str:
    return next((each.status for each in known(one.status.conditions) or [] if each.type == DRIFTED), "")


def test_what_is_asked_is_looked_at_first_and_put_in_force_where_it_is_so_already() -> None:
    assert isinstance(asks(enactment()), Plan)
    assert asks(enactment()).adopt
    assert not asks(enactment(mode="Plan")).adopt


def test_nothing_is_asked_before_the_controller_says_what() -> None:
    assert next_step(enactment(asked=UNSET), Heard(), now=NOW) == Later()


def test_what_was_done_for_a_former_object_of_the_name_is_not_done_for_this_one() -> None:
    former, one = replace(going(), uid="00000001-"), replace(going(), uid="00000002-")
    heard = Heard("a", DIFFERS, None, former.attempt_here, replace(DONE, attempt=former.attempt_here))
    assert phase(told(former, heard)) is Phase.DONE
    assert asks(one, heard).attempt == "a.0.00000002"


def test_what_already_is_so_is_available_at_once_with_the_state_as_it_was_meant() -> None:
    one = told(enactment(), Heard("a", SAME))
    assert phase(one) is Phase.DONE
    assert one.status.desired_state == {"interfaces": []}
    assert set(known(one.status.captured_states) or {}) == {"gw"}
    assert one.status.asked == "a"
    assert rests(one)


def test_what_would_change_waits_with_its_diff() -> None:
    one = pending()
    assert (phase(one), one.status.diff, one.status.flaps) == (Phase.PENDING, list(DIFFERS.lines), ["eth1"])
    assert one.status.attempt is UNSET
    assert rests(one)


def test_what_is_refused_fails_in_one_line() -> None:
    one = told(enactment(), Heard("a", Refused("spec.x: no")))
    assert phase(one) is Phase.FAILED
    assert any(each.message == "spec.x: no" for each in known(one.status.conditions) or [])
    assert rests(one)


def test_an_old_look_says_nothing_of_what_is_asked_now() -> None:
    assert isinstance(asks(enactment(), Heard("b", SAME)), Plan)


def test_progressing_is_told_before_anything_is_applied_and_the_end_in_one_write() -> None:
    one = going(probes=["ping:gw"])
    assert phase(one) is Phase.GOING
    request = asks(one)
    assert isinstance(request, Apply)
    assert (request.attempt, request.probes) == ("a.0", ["ping:gw"])
    one = told(one, Heard("a", DIFFERS, None, "a.0", DONE))
    assert (phase(one), one.status.ended, one.status.diff) == (Phase.DONE, "a.0", UNSET)
    assert rests(one)


def test_an_attempt_that_failed_says_why() -> None:
    one = told(going(), Heard("a", None, None, "a.0", Outcome("a.0", How.FAILED, "probe ping:gw")))
    assert (phase(one), one.status.ended) == (Phase.FAILED, "a.0")
    assert rests(one)


@pytest.mark.parametrize("how", [How.NEVER, How.CUT, How.BEGUN])
def test_an_attempt_that_nobody_has_ended_is_asked_for_again(how: How) -> None:
    assert isinstance(asks(going(), Heard("a", None, None, "a.0", Outcome("a.0", how))), Apply)


def test_an_attempt_of_another_digest_is_waited_for_and_its_end_told_with_what_comes_of_the_new_one() -> None:
    one = going()
    one = replace(one, spec=replace(one.spec, asked="b"))
    request = asks(one)
    assert isinstance(request, Ask)
    assert (request.attempt, request.wait) == ("a.0", True)
    ended = Heard("a", DIFFERS, None, "a.0", DONE)
    assert isinstance(asks(one, ended), Plan)
    one = told(one, replace(ended, asked="b", look=DIFFERS))
    assert (phase(one), one.status.ended, one.status.asked) == (Phase.PENDING, "a.0", "b")
    assert rests(one)


def test_one_that_was_aborted_says_so_and_nothing_else() -> None:
    one = told(replace(pending(), spec=replace(pending().spec, aborted=True)), Heard())
    assert phase(one) is Phase.ABORTED
    assert rests(one, Heard())


def test_what_was_aborted_once_and_is_asked_again_is_looked_at_anew() -> None:
    one = told(replace(pending(), spec=replace(pending().spec, aborted=True)), Heard())
    one = replace(one, spec=replace(one.spec, aborted=UNSET))
    assert isinstance(asks(one), Plan)
    assert phase(told(one, Heard("a", SAME))) is Phase.DONE


def test_a_policy_that_only_plans_is_never_applied() -> None:
    one = pending(mode="Plan")
    assert [each.message for each in known(one.status.conditions) or [] if each.status == "True"] == [
        "Plan: 1 to change."
    ]
    one = _let_go(one, "a.0")
    one = told(one, Heard("a", DIFFERS, None, "a.0", Outcome("a.0", How.NEVER)))
    assert (phase(one), one.status.ended) == (Phase.PENDING, "a.0")
    assert rests(one)


def test_a_revert_is_planned_let_go_and_made_like_an_apply() -> None:
    assert isinstance(asks(enactment(revert=True)), RevertPlan)
    assert isinstance(asks(going(revert=True)), Revert)
    assert rests(done(revert=True), Heard())


def test_drift_is_told_once_and_told_to_be_over() -> None:
    one = done(drift="Report")
    assert isinstance(asks(one), Plan)
    assert not asks(one).adopt
    one = told(one, Heard("a", None, DIFFERS))
    assert (phase(one), drifted(one)) == (Phase.DONE, "True")
    assert rests(one, Heard("a", None, DIFFERS))
    one = told(one, Heard("a", None, SAME))
    assert drifted(one) == "False"
    assert rests(one)


def test_drift_that_cannot_be_compared_is_told_too() -> None:
    assert (
        drifted(told(done(drift="Repair"), Heard("a", None, Refused("eth1 is gone")), MUCH_LATER)) == "True"
    )


def test_drift_is_ignored_where_it_is_to_be() -> None:
    assert rests(done(drift="Ignore"), Heard())


def test_a_repair_asks_to_be_let_go_again_but_not_at_once() -> None:
    one = told(done(drift="Repair"), Heard("a", None, DIFFERS), LATER)
    assert (phase(one), drifted(one)) == (Phase.DONE, "True")
    step = next_step(one, Heard("a", None, DIFFERS), now=LATER)
    assert isinstance(step, Later)
    assert step.seconds
    one = told(one, Heard("a", None, DIFFERS), MUCH_LATER)
    assert (phase(one), one.status.attempt) == (Phase.PENDING, 1)
    assert rests(one, Heard("a", None, DIFFERS), MUCH_LATER)
    one = told(_let_go(one, "a.1"), Heard(), MUCH_LATER)
    assert asks(one).attempt == "a.1"


def test_a_status_that_was_lost_asks_for_an_attempt_that_was_not_made() -> None:
    one = _let_go(enactment(), "a.0")
    one = told(one, Heard("a", DIFFERS, None, "a.0", Outcome("a.0", How.CUT)))
    assert (one.status.ended, one.status.attempt) == ("a.0", 1)


def test_progressing_without_having_been_let_go_is_looked_at_anew() -> None:
    one = going()
    assert isinstance(asks(replace(one, spec=replace(one.spec, go=UNSET))), Plan)


def test_a_long_diff_keeps_its_summary_and_says_what_is_missing() -> None:
    lines = [f"+ eth1.{n} vlan" for n in range(4000)] + ["Plan: 4000 to add."]
    cut = known(bounded(lines))
    assert cut is not None
    assert (cut[0], cut[-1]) == (lines[0], lines[-1])
    assert "lines more" in cut[-2]
    assert len("\n".join(cut).encode()) <= LARGEST_DIFF
    assert bounded(["a", "b"]) == ["a", "b"]


class World:
    """A controller, an API server, a node's agent and engine, of which each part may go away at any step."""

    def __init__(self) -> None:
        self.spec = EnactmentSpec(node_name="n", policy_name="p", policy_generation=1)
        self.status = EnactmentStatus()  # as the API server has it
        self.queued: EnactmentStatus | None = None
        self.heard = Heard()
        self.ledger = Ledger()
        self.running: Apply | None = None
        self.state = ""  # the digest that the node is like
        self.fails: set[str] = set()
        self.held: Counter[str] = Counter()
        self.begun: Counter[str] = Counter()
        self.kills = 0
        self.refused = False

    # The controller.
    def ask(self, digest: str, mode: str = "Apply") -> None:
        if digest != self.spec.asked:
            self.spec = replace(self.spec, asked=digest, mode=mode, aborted=UNSET)

    def let_go(self) -> None:
        told = self.status
        is_waiting = told.asked == self.spec.asked and phase_of(known(told.conditions) or []) is Phase.PENDING
        is_out = known(self.spec.go) not in {None, known(told.ended)}
        if is_waiting and not is_out and self.spec.mode != "Plan" and not known(self.spec.aborted):
            self.spec = replace(self.spec, go=f"{self.spec.asked}.{known(told.attempt) or 0}")

    def abort(self) -> None:
        if known(self.spec.go) in {None, known(self.status.ended)}:
            self.spec = replace(self.spec, aborted=True)

    # What goes wrong.
    def restart_agent(self) -> None:
        self.heard, self.queued = Heard(), None

    def restart_engine(self) -> None:
        self.kills += 1
        self.running, self.ledger = None, self.ledger.after_a_start()

    def drift(self) -> None:
        self.state = ""
        self.heard = replace(self.heard, drift=None)

    # The engine.
    def end(self) -> None:
        if self.running is None:
            return
        attempt = self.running.attempt
        digest = attempt.rpartition(".")[0]
        failed = digest in self.fails
        if not failed:
            self.held[attempt] += self.state != digest
            self.state = digest
        outcome = Outcome(attempt, How.FAILED if failed else How.DONE, "no" if failed else "")
        self.ledger = self.ledger.ended("p", outcome)
        self.running = None

    def answer(self, request: Any) -> Any:
        if isinstance(request, Plan):
            return None if self.running else Planned(self.state != self.spec.asked, ("x", "y"))
        known_of = self.ledger.of("p", request.attempt)
        if isinstance(request, Apply) and known_of.phase in {How.NEVER, How.CUT} and not self.running:
            self.running = request
            self.begun[request.attempt] += 1
            self.ledger = self.ledger.begun("p", request.attempt)
        return None if known_of.phase in {How.NEVER, How.CUT, How.BEGUN} and self.running else known_of

    # The agent.
    def accept(self) -> None:
        if self.queued is not None:
            assert self.queued != self.status, "written twice"
            self.status, self.queued = self.queued, None

    def step(self, now: str = MUCH_LATER) -> bool:
        one = Duty("n.p", self.spec, self.queued or self.status)
        step = next_step(one, self.heard, now=now)
        if isinstance(step, Tell):
            assert step.status != one.status
            self.queued = step.status if step.status != self.status else None
            return True
        if isinstance(step, Later) or (answer := self.answer(step.request)) is None:
            return False
        self.heard = self.heard.with_answer(one.asked, step, answer)
        return True

    def settle(self) -> None:
        """Let nothing go wrong any more, until nobody does anything."""
        for _ in range(200):
            moved = self.step()
            self.accept()
            before = self.spec
            self.let_go()
            if not (moved or self.running or before != self.spec):
                return
            self.end()
        raise AssertionError("they never come to rest")


MOVES = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from("abc"), st.sampled_from(["Apply", "Apply", "Plan"])),
    st.tuples(st.sampled_from([*("step",) * 6, *("accept",) * 3, *("let_go",) * 3, *("end",) * 2])),
    st.tuples(st.sampled_from(["abort", "restart_agent", "restart_engine", "drift"])),
)


@settings(max_examples=300)
@given(st.lists(MOVES, max_size=60), st.sampled_from(["Ignore", "Report", "Repair"]), st.booleans())
def test_whatever_restarts_an_attempt_holds_once_and_its_end_is_told(
    moves: list[tuple[str, ...]], drift: Any, fails: bool
) -> None:
    world = World()
    world.spec = replace(world.spec, drift=drift)
    world.fails = {"b"} if fails else set()
    for name, *arguments in moves:
        getattr(world, name)(*arguments)
    world.settle()
    one = Duty("n.p", world.spec, world.status)
    assert one.go == "", "an end was not told"
    assert all(count <= 1 for count in world.held.values()), world.held
    assert sum(world.begun.values()) <= len(world.begun) + world.kills
    if known(world.spec.asked) is None:
        return
    assert world.status.asked == world.spec.asked
    if known(world.spec.aborted):
        assert one.phase is Phase.ABORTED
    elif world.spec.mode == "Plan":
        assert one.phase in {Phase.PENDING, Phase.DONE, Phase.GOING}
    else:
        assert one.phase in {Phase.DONE, Phase.FAILED}
    world.restart_agent()
    world.restart_engine()
    before = world.status
    world.settle()
    assert world.status == before, "a restart alone has written something"


def test_what_only_asks_for_another_policys_plan_captures_under_that_ones_name() -> None:
    one = enactment(mode="Plan", plan_of="wanted")
    assert asks(one).document.name == "wanted"
    assert asks(enactment(mode="Plan")).document.name == one.spec.policy_name
