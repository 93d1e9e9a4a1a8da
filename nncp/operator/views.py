"""Policies and their nodes as an administrator sees them, from what the API says. Pure.

What a node said of an earlier version of a policy is not what it says now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.operator.conditions import DRIFTED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Object = Mapping[str, Any]

PLANNED = "Planned"
"""The reason of what is said of a policy that only plans."""
OPEN = frozenset({"", "Pending", "Progressing"})
"""What a node says that has not come to an end."""


class Word(Struct, frozen=True):
    """Which condition of an object holds, and why; nothing while none does."""

    holds: str = ""
    reason: str = ""
    message: str = ""


class NodeView(Struct, frozen=True):
    """A node's part in a policy.

    Args:
        node: the node.
        word: what it says of what it is asked now.
        diff: what it would write, a line each.
        flaps: interfaces whose traffic that would interrupt.
        has_drifted: whether it is no longer as it said.
        is_asked: whether it is asked for the version of the policy that there is.

    """

    node: str
    word: Word = Word()
    diff: tuple[str, ...] = ()
    flaps: tuple[str, ...] = ()
    has_drifted: bool = False
    is_asked: bool = True


class PolicyView(Struct, frozen=True):
    """A policy.

    Args:
        name: its name.
        word: what is said of the version that there is.
        nodes: its parts, by the nodes' names.

    """

    name: str
    word: Word = Word()
    nodes: tuple[NodeView, ...] = ()

    @property
    def is_available(self) -> bool:
        """Whether all is as it asks."""
        is_applied = self.word.holds == "Available" and self.word.reason != PLANNED
        return is_applied and not any(each.has_drifted for each in self.nodes)

    @property
    def has_ended(self) -> bool:
        """Whether nothing more happens by itself: nobody goes on, and nobody waits for a turn."""
        if self.word.holds in {"", "Progressing"}:
            return False
        is_open = any(each.is_asked and each.word.holds in OPEN for each in self.nodes)
        return not (is_open and self.word.holds == "Degraded" and self.word.reason != PLANNED)


def view(policy: Object, enactments: Iterable[Object]) -> PolicyView:
    """Return a policy with its nodes.

    Args:
        policy: the object.
        enactments: those of any policies.

    """
    name, generation = policy["metadata"]["name"], policy["metadata"]["generation"]
    status = policy.get("status") or {}
    is_current = status.get("observedGeneration") == generation
    own = (each for each in enactments if (each.get("spec") or {}).get("policyName") == name)
    nodes = sorted((_node(each, generation) for each in own), key=lambda each: each.node)
    return PolicyView(name, _word(status) if is_current else Word(), tuple(nodes))


def views(policies: Iterable[Object], enactments: Iterable[Object]) -> list[PolicyView]:
    """Return all policies, by their names."""
    by_policy: dict[str, list[Object]] = {}
    for each in enactments:
        by_policy.setdefault((each.get("spec") or {}).get("policyName", ""), []).append(each)
    found = (view(each, by_policy.get(each["metadata"]["name"], ())) for each in policies)
    return sorted(found, key=lambda each: each.name)


def _node(enactment: Object, generation: int) -> NodeView:
    spec, status = enactment["spec"], enactment.get("status") or {}
    is_told = bool(spec.get("asked")) and status.get("asked") == spec["asked"]
    diff, flaps = (tuple(status.get(key) or ()) if is_told else () for key in ("diff", "flaps"))
    return NodeView(
        spec.get("nodeName", ""),
        _word(status) if is_told else Word(),
        diff,
        flaps,
        is_told and _holds(status, DRIFTED) is not None,
        spec.get("policyGeneration") == generation,
    )


def _word(status: Object) -> Word:
    found = _holds(status)
    return Word(found["type"], found.get("reason", ""), found.get("message", "")) if found else Word()


def _holds(status: Object, name: str = "") -> Object | None:
    """Return the condition that holds, but for what is said of drift; or one that is named, if it holds."""
    return next(
        (
            each
            for each in status.get("conditions") or ()
            if each["status"] == "True" and (each["type"] == name if name else each["type"] != DRIFTED)
        ),
        None,
    )
