"""What a policy's conditions say, from what its enactments say: kubernetes-nmstate's words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.operator.conditions import Said
from nncp.operator.rollout import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncp.operator.rollout import Enactment


TOLD = 3
"""How many nodes' refusals are told one by one."""


class Answer(Struct, frozen=True):
    """What a node says of a policy that only plans."""

    node: str
    phase: Phase
    flaps: int = 0
    error: str = ""


def summary(enactments: Sequence[Enactment]) -> Said:
    """Return what is to be said of one generation of a policy.

    Args:
        enactments: one for each matching node.

    """
    if not enactments:
        return Said("Ignored", "NoMatchingNode", "Policy does not match any node")
    counts = {phase: sum(each.phase is phase for each in enactments) for phase in Phase}
    failed = sum(each.has_failed for each in enactments)
    away = sum(_is_away(each) for each in enactments)
    here = len(enactments) - away
    ignored = f", {_nodes(away)} ignored due to NotReady state" if away else ""
    if failed or counts[Phase.ABORTED]:
        aborted = f", {_nodes(counts[Phase.ABORTED])} aborted configuration" if counts[Phase.ABORTED] else ""
        told = f"{failed}/{here} nodes failed to configure{aborted}{ignored}"
        return Said("Degraded", "FailedToConfigure", told)
    done = sum(each.phase is Phase.DONE and not _is_away(each) for each in enactments)
    if done < here or not here:
        waiting = counts[Phase.PENDING] - sum(
            _is_away(each) and each.phase is Phase.PENDING for each in enactments
        )
        pending = f", {waiting} pending" if waiting else ""
        told = f"Policy is progressing {done}/{here} nodes finished{pending}{ignored}"
        return Said("Progressing", "ConfigurationProgressing", told, unknown=("Available", "Degraded"))
    told = f"{done}/{here} nodes successfully configured{ignored}"
    return Said("Available", "SuccessfullyConfigured", told)


def planned(answers: Sequence[Answer]) -> Said:
    """Return what is to be said of a policy that only plans.

    Args:
        answers: one for each matching node.

    """
    if not answers:
        return summary(())
    looked = sum(each.phase is not Phase.NEW for each in answers)
    if looked < len(answers):
        told = f"{looked}/{len(answers)} nodes have planned it"
        return Said("Progressing", "ConfigurationProgressing", told, unknown=("Available", "Degraded"))
    flaps = sum(each.flaps for each in answers)
    flapping = f", {flaps} interface{'s' * (flaps != 1)} would flap" if flaps else ""
    change = sum(each.phase is Phase.PENDING for each in answers)
    refusals = [f"; {each.node} refuses: {each.error}" for each in answers if each.phase is Phase.FAILED]
    more = f"; so do {_nodes(len(refusals) - TOLD)} more" if len(refusals) > TOLD else ""
    told = f"{_nodes(change)} would change{flapping}{''.join(refusals[:TOLD])}{more}"
    return Said("Degraded" if refusals else "Available", "Planned", told)


def _is_away(enactment: Enactment) -> bool:
    """Whether a node is left out of the count: it is not ready, and nothing of the policy's depends on it."""
    untouched = enactment.phase in {Phase.NEW, Phase.PENDING} and not enactment.holds_slot
    return untouched and not enactment.node.is_ready


def _nodes(count: int) -> str:
    return f"{count} node{'s' * (count != 1)}"
