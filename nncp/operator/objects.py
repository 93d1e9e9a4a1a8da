"""The API's objects: kubernetes-nmstate's, by the same names, and with fields of ours that are all optional.

Their Structs say what is meant, and the CRDs come from them (nncp.operator.crds).
"""

# No `from __future__ import annotations` here: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import UNSET, UnsetType

from nncp.document.spec import Camel, Strings

# What programs write may hold fields of another version, or of kubernetes-nmstate's: not ours to refuse.
GROUP = "nmstate.io"
POLICIES = "nodenetworkconfigurationpolicies"
ENACTMENTS = "nodenetworkconfigurationenactments"
STATES = "nodenetworkstates"
Status = Literal["True", "False", "Unknown"]


def node_as_owner(name: str, uid: str) -> dict[str, str]:
    """Return the reference by which an object goes with its node (meta/v1, OwnerReference)."""
    return {"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}


class Condition(Camel, frozen=True, forbid_unknown_fields=False):
    """One condition of an object."""

    meaning: ClassVar[Mapping[str, str]] = {
        "type": "What it is about.",
        "status": "Whether it holds.",
        "reason": "Why, in one word.",
        "message": "Why, in one line for people.",
        "last_heartbeat_time": "When it was last looked at.",
        "last_transition_time": "When its status last changed.",
    }

    type: str
    status: Status
    reason: str | UnsetType = UNSET
    message: str | UnsetType = UNSET
    last_heartbeat_time: str | UnsetType = UNSET
    last_transition_time: str | UnsetType = UNSET


class PolicyStatus(Camel, frozen=True, forbid_unknown_fields=False):
    """How far the nodes are; the controller writes it."""

    meaning: ClassVar[Mapping[str, str]] = {
        "conditions": "One of Available, Degraded, Ignored and Progressing holds.",
        "observed_generation": "The generation of the spec that the conditions are about.",
    }

    conditions: list[Condition] | UnsetType = UNSET
    observed_generation: int | UnsetType = UNSET


class EnactmentSpec(Camel, frozen=True, forbid_unknown_fields=False):
    """What one node is asked for by one policy; the controller writes it."""

    meaning: ClassVar[Mapping[str, str]] = {
        "node_name": "The node.",
        "policy_name": "The policy.",
        "policy_generation": "The generation of the policy that this is.",
        "plan_of": "The policy that it is about, where it only asks what that one would do.",
        "desired_state": "The policy's state, with the node's values; captures are taken on the node.",
        "capture": "The policy's captures.",
        "mode": "As the policy has it.",
        "on_delete": "As the policy has it, for the time when there is no policy any more.",
        "drift": "As the policy has it.",
        "probes": "As the policy has them.",
        "asked": "A digest of all that is asked; the node says of which one it speaks.",
        "revert": "The node is to go back to what was before the policy.",
        "go": "The attempt that the node may make, as ASKED.ATTEMPT: until then it says what it would do. It "
        "stays until the node has told how it ended.",
        "aborted": "Whether the node will not change, since others failed.",
    }

    node_name: str
    policy_name: str
    policy_generation: int
    plan_of: str | UnsetType = UNSET
    desired_state: Any = UNSET
    capture: Strings | UnsetType = UNSET
    mode: Literal["Apply", "Plan"] | UnsetType = UNSET
    on_delete: Literal["Keep", "Revert"] | UnsetType = UNSET
    drift: Literal["Ignore", "Report", "Repair"] | UnsetType = UNSET
    probes: list[str] | UnsetType = UNSET
    asked: str | UnsetType = UNSET
    revert: bool | UnsetType = UNSET
    go: str | UnsetType = UNSET
    aborted: bool | UnsetType = UNSET


class MetaInfo(Camel, frozen=True, forbid_unknown_fields=False):
    """Which version of a state something is about, and when that was."""

    meaning: ClassVar[Mapping[str, str]] = {
        "version": "Of the program that made it.",
        "time": "When it was made.",
    }

    version: str | UnsetType = UNSET
    time: str | UnsetType = UNSET


class CapturedState(Camel, frozen=True, forbid_unknown_fields=False):
    """What a capture took on the node: it stays so."""

    meaning: ClassVar[Mapping[str, str]] = {"state": "What it took."}

    state: Any = UNSET
    meta_info: MetaInfo | UnsetType = UNSET


class EnactmentStatus(Camel, frozen=True, forbid_unknown_fields=False):
    """How far the node is; the node writes it."""

    meaning: ClassVar[Mapping[str, str]] = {
        "conditions": "Of Available, Failing, Progressing, Pending and Aborted one holds, or none yet.",
        "policy_generation": "The generation of the policy that the conditions are about.",
        "asked": "The digest that the conditions are about.",
        "attempt": "How often the node has asked to be let go with it since the first time.",
        "ended": "The attempt that has ended last, however it did.",
        "desired_state": "The state as it was applied: captures are filled in.",
        "captured_states": "What the captures took, by their names.",
        "diff": "What an apply would write, a line each, as nncp plan says it; cut off where it is too long.",
        "flaps": "Interfaces whose traffic an apply would interrupt.",
    }

    conditions: list[Condition] | UnsetType = UNSET
    policy_generation: int | UnsetType = UNSET
    asked: str | UnsetType = UNSET
    attempt: int | UnsetType = UNSET
    ended: str | UnsetType = UNSET
    desired_state: Any = UNSET
    desired_state_meta_info: MetaInfo | UnsetType = UNSET
    captured_states: dict[str, CapturedState] | UnsetType = UNSET
    diff: list[str] | UnsetType = UNSET
    flaps: list[str] | UnsetType = UNSET


class StateStatus(Camel, frozen=True, forbid_unknown_fields=False):
    """What a node's network is now; the node writes it."""

    meaning: ClassVar[Mapping[str, str]] = {
        "current_state": "The state, in nmstate's words.",
        "last_successful_update_time": "When it last changed.",
        "truncated": "What was left out, since the whole is too large for the API; empty when nothing was.",
        "restore": "What brings the network back at the node's start without an API server: a unit, a static "
        "Pod, or neither, and why.",
    }

    current_state: Any = UNSET
    last_successful_update_time: str | UnsetType = UNSET
    truncated: str | UnsetType = UNSET
    restore: str | UnsetType = UNSET
