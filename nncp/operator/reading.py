"""Objects of the API as the decisions see them. Pure.

What cannot be read is not gone: a policy stays with what is wrong with it, and its nodes as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import MsgspecError, convert

from nncp.document.lax import given
from nncp.document.spec import PolicySpec
from nncp.operator.adoption import PLAN_OF
from nncp.operator.conditions import DRIFTED, message_of, phase_of
from nncp.operator.objects import EnactmentSpec, EnactmentStatus, PolicyStatus
from nncp.operator.seen import Enactment, Policy
from nncp.operator.selection import Node
from nncp.operator.text import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    Object = Mapping[str, Any]

BAD = (MsgspecError, RecursionError, TypeError, ValueError, KeyError, AttributeError)
"""What reading raises of what somebody else has written, or another version of this program."""


def policy(body: Object) -> Policy:
    """Return a policy."""
    metadata = body["metadata"]
    spec, error = None, ""
    try:
        spec = convert(body.get("spec") or {}, PolicySpec)
    except BAD as wrong:
        error = str(wrong) or "it is nested too deeply"
    return Policy(
        metadata["name"],
        metadata["uid"],
        metadata["generation"],
        metadata["resourceVersion"],
        metadata["creationTimestamp"],
        spec,
        error,
        _status(body, PolicyStatus),
        plan_of=(metadata.get("labels") or {}).get(PLAN_OF, ""),
    )


def node(body: Object) -> Node:
    """Return a node."""
    metadata, status = body["metadata"], body.get("status") or {}
    ready = [each["status"] for each in status.get("conditions") or () if each["type"] == "Ready"]
    return Node(
        metadata["name"],
        labels=metadata.get("labels") or {},
        annotations=metadata.get("annotations") or {},
        is_ready=ready == ["True"],
        uid=metadata["uid"],
    )


def enactment(body: Object) -> Enactment:
    """Return an enactment; of one that is not ours, its name and version."""
    name, version = body["metadata"]["name"], body["metadata"]["resourceVersion"]
    try:
        spec = convert(body.get("spec") or {}, EnactmentSpec)
        text = text_of(spec.policy_name, given(spec.desired_state), given(spec.capture))
    except BAD:
        return Enactment(name, version=version)
    status: EnactmentStatus = _status(body, EnactmentStatus)
    conditions = given(status.conditions) or []
    return Enactment(
        name,
        spec.node_name,
        spec.policy_name,
        version,
        text,
        asked=given(spec.asked) or "",
        go=given(spec.go) or "",
        aborted=bool(given(spec.aborted)),
        reverts=bool(given(spec.revert)),
        is_plan=given(spec.mode) == "Plan",
        on_delete=given(spec.on_delete) or "Keep",
        answers=given(status.asked) or "",
        attempt=given(status.attempt) or 0,
        ended=given(status.ended) or "",
        said=phase_of(conditions),
        error=message_of(conditions, "Failing"),
        changes=len(given(status.diff) or ()),
        flaps=tuple(given(status.flaps) or ()),
        is_drifted=bool(message_of(conditions, DRIFTED)),
    )


def _status(body: Object, kind: type[Any]) -> Any:
    """Return a status: of one that somebody else has written, nothing."""
    try:
        return convert(body.get("status") or {}, kind)
    except BAD:
        return kind()
