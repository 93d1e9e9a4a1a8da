"""Conditions as kubernetes-nmstate has them: which holds, why, and since when. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.document.lax import given
from nncp.operator.objects import Condition, Status
from nncp.operator.rollout import Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ENACTMENT = ("Available", "Failing", "Progressing", "Pending", "Aborted")
POLICY = ("Available", "Degraded", "Ignored", "Progressing")
DRIFTED = "Drifted"
"""Ours, beside those of an enactment: whether its node is no longer as it said."""
LONGEST = 1024
"""Characters of a message: kubectl prints it on one line, and each watcher gets it."""


class Said(Struct, frozen=True):
    """What is said of an object: the condition that holds, and why; of the others, that they do not hold."""

    holds: str
    reason: str
    message: str
    unknown: tuple[str, ...] = ()
    """Those of which nobody knows yet."""

    def status(self, name: str) -> Status:
        """Return the status of a condition, by its type."""
        return "True" if name == self.holds else "Unknown" if name in self.unknown else "False"


def of_node(phase: Phase, *, name: str, error: str = "") -> Said | None:
    """Return what a node says of its part in a policy; None when it has not looked at it yet.

    Args:
        phase: how far it is.
        name: the enactment's.
        error: why it failed.

    """
    match phase:
        case Phase.NEW:
            return None
        case Phase.PENDING:
            told = "Waiting for progressing nodes to finish"
            return Said("Pending", "MaxUnavailableLimitReached", told)
        case Phase.GOING:
            unknown = ("Available", "Failing")
            return Said("Progressing", "ConfigurationProgressing", "Applying desired state", unknown)
        case Phase.DONE:
            return Said("Available", "SuccessfullyConfigured", "successfully reconciled")
        case Phase.FAILED:
            return Said("Failing", "FailedToConfigure", error)
        case Phase.ABORTED:
            told = f'reconciliation of enactment "{name}" has aborted'
            return Said("Aborted", "ConfigurationAborted", told)


def phase_of(conditions: Iterable[Condition]) -> Phase:
    """Return how far a node says that it is."""
    by_type = {"Pending": Phase.PENDING, "Progressing": Phase.GOING, "Available": Phase.DONE}
    by_type |= {"Failing": Phase.FAILED, "Aborted": Phase.ABORTED}
    holding = [by_type[each.type] for each in conditions if each.status == "True" and each.type in by_type]
    # kubernetes-nmstate lets Failing and Progressing hold together while it tries again.
    return Phase.GOING if Phase.GOING in holding else next(iter(holding), Phase.NEW)


def message_of(conditions: Iterable[Condition], name: str) -> str:
    """Return what a condition says that holds; its name where it says nothing, "" where it does not hold."""
    holding = (each for each in conditions if (each.type, each.status) == (name, "True"))
    return next((given(each.message) or name for each in holding), "")


def stamped(
    said: Said | None, types: Sequence[str], before: Iterable[Condition], *, now: str
) -> list[Condition]:
    """Return an object's conditions, each with the time since when it is as it is.

    Args:
        said: what is said of it; None makes all unknown.
        types: of the object's conditions, in their order.
        before: those that it has; equal ones keep their times, so that nothing is written again.
        now: the time, as the API writes it (RFC 3339).

    """
    had = {each.type: each for each in before}
    return [_stamped(name, said, had, now) for name in types]


def _stamped(name: str, said: Said | None, had: Mapping[str, Condition], now: str) -> Condition:
    status: Status = said.status(name) if said else "Unknown"
    is_told = said is not None and status != "Unknown"
    reason = said.reason if said and is_told else ""
    message = _line(said.message) if said and is_told and status == "True" else ""
    old = had.get(name)
    if old and (old.status, given(old.reason) or "", given(old.message) or "") == (status, reason, message):
        return old
    since = given(old.last_transition_time) if old and old.status == status else None
    return Condition(
        type=name,
        status=status,
        reason=reason,
        message=message,
        last_heartbeat_time=now,
        last_transition_time=since or now,
    )


def _line(text: str) -> str:
    """Return a message on one line, cut where it is too long."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"
