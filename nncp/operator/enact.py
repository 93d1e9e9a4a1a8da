"""What a node does next for one enactment, and what it tells. Pure: the same question has the same answer.

    look at what is asked ─▶ Available, Failing, or Pending ─▶ let go ─▶ Progressing ─▶ Available or Failing

What was told already is the enactment's status, and how an attempt has ended the engine knows for good: so
whatever restarts, nothing is applied or written again that already is so.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import UNSET, Struct, json
from msgspec.structs import replace

from nncp.document.lax import given
from nncp.operator.conditions import DRIFTED, ENACTMENT, Said, of_node, phase_of, stamped
from nncp.operator.objects import CapturedState, Condition, EnactmentSpec, EnactmentStatus, MetaInfo
from nncp.operator.protocol import (
    Apply,
    Ask,
    Document,
    Outcome,
    Plan,
    Planned,
    Refused,
    Revert,
    RevertPlan,
)
from nncp.operator.protocol import Phase as How
from nncp.operator.rollout import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from msgspec import UnsetType

    from nncp.operator.protocol import Answered

LARGEST_DIFF = 16 << 10
"""Bytes of a diff: each watcher gets it."""
LARGEST_STATE = 256 << 10
"""Bytes of a state that is told: an object has 1.5 MB at most, and this one holds what is asked too."""
SOONEST, LATEST = 10.0, 600.0
"""Seconds from the end of an attempt to the repair of what has drifted since; twice as long each time."""

Look: TypeAlias = Planned | Refused


class Heard(Struct, frozen=True):
    """What this process has heard of the engine about one enactment.

    Args:
        asked: the digest that the looks are of.
        look: at what is asked, before it was told of.
        drift: at what is in force, later; None when something may have changed since.
        attempt: the attempt that the outcome is of.
        outcome: how it has ended, or that nothing is known of it.

    """

    asked: str = ""
    look: Look | None = None
    drift: Look | None = None
    attempt: str = ""
    outcome: Outcome | Refused | None = None

    def with_answer(self, asked: str, do: Do, answer: Answered) -> Heard:
        """Return what is known with an answer of the engine's.

        Args:
            asked: the digest of what is asked.
            do: what the engine was asked.
            answer: what it answered.

        """
        of = self if self.asked == asked else Heard(asked, attempt=self.attempt, outcome=self.outcome)
        if do.what == "outcome" and isinstance(answer, Outcome | Refused):
            return replace(of, attempt=do.attempt, outcome=answer, drift=None)
        return replace(of, **{do.what: answer})


class Tell(Struct, frozen=True):
    """The status is to be this one."""

    status: EnactmentStatus


class Do(Struct, frozen=True):
    """The engine is to be asked this; what it answers belongs to `what` of `Heard`."""

    request: Plan | Apply | RevertPlan | Revert | Ask
    what: str

    @property
    def attempt(self) -> str:
        """The attempt that it is about; "" where it is about none."""
        return self.request.attempt if isinstance(self.request, Apply | Revert | Ask) else ""


class Later(Struct, frozen=True):
    """Nothing is to be done for so many seconds, unless something changes."""

    seconds: float | None = None


Step: TypeAlias = Tell | Do | Later


class Duty(Struct, frozen=True):
    """An enactment as its node sees it.

    Args:
        name: the object's.
        spec: what is asked.
        status: what was told last, accepted or not yet.
        version: of this program.
        uid: the object's: another one of its name has another.

    """

    name: str
    spec: EnactmentSpec
    status: EnactmentStatus = EnactmentStatus()
    version: str = ""
    uid: str = ""

    @property
    def asked(self) -> str:
        """The digest of what is asked; "" where nothing is yet."""
        return given(self.spec.asked) or ""

    @property
    def phase(self) -> Phase:
        """How far the node has told that it is with what is asked."""
        if not self.asked or given(self.status.asked) != self.asked:
            return Phase.NEW
        return phase_of(given(self.status.conditions) or [])

    @property
    def attempt(self) -> int:
        """How often the node has asked anew to be let go."""
        return given(self.status.attempt) or 0 if self.phase is not Phase.NEW else 0

    @property
    def next_attempt(self) -> int:
        """The number that no attempt at what is asked has had, as far as the object says."""
        told = (given(self.spec.go) or "", given(self.status.ended) or "")
        numbers = [each.rpartition(".")[2] for each in told if each.rpartition(".")[0] == self.asked]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)

    @property
    def go(self) -> str:
        """The attempt that was let go and whose end is not told yet; "" when there is none."""
        go = given(self.spec.go) or ""
        return "" if go == given(self.status.ended) else go

    @property
    def attempt_here(self) -> str:
        """What the engine knows the attempt by that was let go.

        An enactment that was made anew asks for the same, and counts from 0: what was done for the former
        one may long be undone.
        """
        return f"{self.go}.{self.uid[:8]}" if self.uid else self.go

    @property
    def may_change(self) -> bool:
        """Whether what was let go is what is asked now."""
        return (
            self.phase is not Phase.NEW
            and self.go == f"{self.asked}.{self.attempt}"
            and not given(self.spec.aborted)
            and given(self.spec.mode) != "Plan"
        )

    @property
    def document(self) -> Document:
        """The document, as the engine takes it."""
        # What a policy has captured is known by its name.
        name = given(self.spec.plan_of) or self.spec.policy_name
        return Document(name, given(self.spec.desired_state), given(self.spec.capture) or {})


def next_step(one: Duty, heard: Heard, *, now: str) -> Step:
    """Return what is to be done next.

    Args:
        one: the enactment.
        heard: what was heard of the engine about it.
        now: the time, as the API writes it.

    """
    if not one.asked:
        return Later()
    if one.may_change:
        return _attempt(one, heard, now)
    if one.go and (step := _former(one, heard)):
        return step
    ended = one.go
    if given(one.spec.aborted):
        return _told(one, _status(one, Phase.ABORTED, now, ended=ended))
    # What was asked once, and then not, may be asked again: it is not aborted any more, nor let go.
    if one.phase in {Phase.NEW, Phase.ABORTED} or (one.phase is Phase.GOING and not one.go):
        return _first(one, heard, now, ended)
    if ended:
        return _told(one, replace(one.status, ended=ended))
    return _drift(one, heard, now)


def _former(one: Duty, heard: Heard) -> Step | None:
    """Return what is to be done about an attempt at something else, None once it does not go on."""
    known = heard.outcome if heard.attempt == one.attempt_here else None
    if isinstance(known, Outcome) and known.phase is not How.BEGUN:
        return None
    return Do(Ask(attempt=one.attempt_here, name=one.spec.policy_name, wait=True), "outcome")


def _first(one: Duty, heard: Heard, now: str, ended: str) -> Step:
    """Look at what is asked, and tell what comes of it."""
    look = heard.look if heard.asked == one.asked else None
    if look is None:
        if given(one.spec.revert):
            return Do(RevertPlan(name=one.spec.policy_name), "look")
        adopt = given(one.spec.mode) != "Plan"
        return Do(Plan(document=one.document, settled=True, adopt=adopt), "look")
    if isinstance(look, Refused):
        return _told(one, _status(one, Phase.FAILED, now, error=look.error, ended=ended))
    if not look.differ:
        return _told(one, _done(one, look, now, ended))
    return _told(one, _pending(one, look, now, ended))


def _attempt(one: Duty, heard: Heard, now: str) -> Step:
    """Make the attempt that was let go, and tell how it ends."""
    known = heard.outcome if heard.attempt == one.attempt_here else None
    if isinstance(known, Outcome) and known.phase is How.DONE:
        return _told(one, _done(one, known, now, one.go))
    if isinstance(known, Outcome) and known.phase is How.FAILED:
        return _told(one, _status(one, Phase.FAILED, now, error=known.error, ended=one.go))
    if isinstance(known, Refused):
        return _told(one, _status(one, Phase.FAILED, now, error=known.error, ended=one.go))
    if one.phase is not Phase.GOING:
        return _told(one, _status(one, Phase.GOING, now))
    # The engine makes an attempt once, and answers how that has ended when it is asked again.
    probes = given(one.spec.probes)
    if given(one.spec.revert):
        return Do(Revert(attempt=one.attempt_here, name=one.spec.policy_name, probes=probes), "outcome")
    return Do(Apply(attempt=one.attempt_here, document=one.document, probes=probes), "outcome")


def _drift(one: Duty, heard: Heard, now: str) -> Step:
    """See whether the node still is as it was told to be."""
    wanted = given(one.spec.drift) or "Report"
    is_ours = one.phase is Phase.DONE and given(one.spec.mode) != "Plan" and not given(one.spec.revert)
    if not is_ours or wanted == "Ignore":
        return Later()
    look = heard.drift if heard.asked == one.asked else None
    if look is None:
        return Do(Plan(document=one.document, settled=True), "drift")
    if isinstance(look, Planned) and look.differ and wanted == "Repair":
        wait = min(SOONEST * 2 ** min(one.attempt, 10), LATEST) - _age(one, now)
        if wait > 0:
            return _told(one, _drifted(one, look, now), otherwise=Later(wait))
        attempt = one.attempt + 1
        return _told(one, replace(_pending(one, look, now, given(one.status.ended) or ""), attempt=attempt))
    return _told(one, _drifted(one, look, now))


def _age(one: Duty, now: str) -> float:
    """Return for how many seconds the node has been as it was asked to be, as far as its status says."""
    conditions = given(one.status.conditions) or []
    since = next((given(each.last_transition_time) for each in conditions if each.type == "Available"), None)
    if not since:
        return LATEST
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()


def _told(one: Duty, status: EnactmentStatus, otherwise: Later | None = None) -> Step:
    """Tell a status, unless it is told already."""
    return Tell(status) if status != one.status else otherwise or Later()


def _status(one: Duty, phase: Phase, now: str, *, error: str = "", ended: str = "") -> EnactmentStatus:
    """Return the status at a phase; what was told of an earlier digest goes."""
    said = of_node(phase, name=one.name, error=error)
    return EnactmentStatus(
        conditions=stamped(said, ENACTMENT, given(one.status.conditions) or [], now=now),
        policy_generation=one.spec.policy_generation,
        asked=one.asked,
        attempt=one.attempt or UNSET,
        ended=ended or one.status.ended,
    )


def _pending(one: Duty, look: Planned, now: str, ended: str) -> EnactmentStatus:
    status = _status(one, Phase.PENDING, now, ended=ended)
    if given(one.spec.mode) == "Plan":
        said = Said("Pending", "ConfigurationPlanned", look.lines[-1] if look.lines else "")
        conditions = stamped(said, ENACTMENT, given(one.status.conditions) or [], now=now)
        status = replace(status, conditions=conditions)
    attempt = max(one.attempt, one.next_attempt) or UNSET
    return replace(status, attempt=attempt, diff=bounded(look.lines), flaps=list(look.flaps) or UNSET)


def _done(one: Duty, known: Planned | Outcome, now: str, ended: str) -> EnactmentStatus:
    """Return the status of what is so, with the state as it was meant."""
    status = _status(one, Phase.DONE, now, ended=ended)
    about = MetaInfo(version=one.version, time=now)
    if known.desired is None or len(json.encode(known.desired)) > LARGEST_STATE:
        return status
    return replace(
        status,
        desired_state=known.desired,
        desired_state_meta_info=about,
        captured_states=_captured(known.taken, about),
    )


def _captured(taken: Mapping[str, Any], about: MetaInfo) -> dict[str, CapturedState] | UnsetType:
    if not taken or len(json.encode(taken)) > LARGEST_STATE:
        return UNSET
    return {name: CapturedState(state=state, meta_info=about) for name, state in taken.items()}


def _drifted(one: Duty, look: Look, now: str) -> EnactmentStatus:
    """Return the status that says whether the node has drifted, beside what it says already."""
    before = given(one.status.conditions) or []
    has = any(each.type == DRIFTED for each in before)
    if isinstance(look, Planned) and not look.differ:
        return one.status if not has else _with(one, before, Said("", "", ""), now)
    reason = "CannotBeCompared" if isinstance(look, Refused) else "ConfigurationDrifted"
    text = (
        look.error if isinstance(look, Refused) else "; ".join(" ".join(line.split()) for line in look.lines)
    )
    return _with(one, before, Said(DRIFTED, reason, text), now)


def _with(one: Duty, before: Sequence[Condition], said: Said, now: str) -> EnactmentStatus:
    """Return the status with what is said of drift beside what is said besides."""
    drifted = stamped(said, (DRIFTED,), before, now=now)
    return replace(one.status, conditions=[*(each for each in before if each.type != DRIFTED), *drifted])


def bounded(lines: Sequence[str], largest: int = LARGEST_DIFF) -> list[str] | UnsetType:
    """Return a diff's lines; when they are too long, as many as fit, a word on the rest, and the summary."""
    if sum(len(line.encode()) + 1 for line in lines) <= largest:
        return list(lines) or UNSET
    *body, summary = lines
    room = largest - len(summary.encode()) - 100
    kept: list[str] = []
    for line in body:
        room -= len(line.encode()) + 1
        if room < 0:
            break
        kept.append(line)
    return [*kept, f"… and {len(body) - len(kept)} lines more", summary]
