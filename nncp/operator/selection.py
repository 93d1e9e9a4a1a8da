"""Which nodes a policy is for, and what its values are on each. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from msgspec import UNSET, Struct

from nncp.document.lax import given
from nncp.errors import Error, raise_all

if TYPE_CHECKING:
    from nncp.document.spec import PolicySpec, Requirement, Value


CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


class Node(Struct, frozen=True):
    """What the cluster says of a node."""

    name: str
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    is_ready: bool = True
    """Whether its kubelet and its agent are heard of."""
    uid: str = ""

    @property
    def is_control_plane(self) -> bool:
        """Whether the API server, or a part of it, runs there."""
        return CONTROL_PLANE in self.labels


def matches(spec: PolicySpec, node: Node) -> bool:
    """Whether a policy is for a node: all labels of its nodeSelector, and one of its terms where it has any.

    A term without requirements matches nothing (core/v1, NodeSelectorTerm).
    """
    wanted = given(spec.node_selector) or {}
    if any(node.labels.get(key) != value for key, value in wanted.items()):
        return False
    terms = given(spec.node_selector_terms) or []
    if not terms:
        return True
    return any(
        term.match_expressions and all(_meets(each, node) for each in term.match_expressions)
        for term in terms
    )


def _meets(requirement: Requirement, node: Node) -> bool:
    """Whether a node meets a requirement (apimachinery, pkg/labels/selector.go, Requirement.Matches)."""
    has, wanted = requirement.key in node.labels, given(requirement.values) or []
    value = node.labels.get(requirement.key, "")
    match requirement.operator:
        case "In":
            return has and value in wanted
        case "NotIn":
            return not has or value not in wanted
        case "Exists":
            return has
        case "DoesNotExist":
            return not has
        case "Gt" | "Lt":
            return has and _compares(requirement.operator, value, wanted)


def _compares(operator: str, value: str, wanted: list[str]) -> bool:
    try:
        left, (right,) = int(value), map(int, wanted)
    except ValueError:
        return False
    return left > right if operator == "Gt" else left < right


def values(spec: PolicySpec, node: Node) -> dict[str, str]:
    """Return what `{{ values.NAME }}` stands for on a node.

    Raises:
        Error: of each value that the node does not have.

    """
    names = given(spec.values) or {}
    found = {name: _value(value, node) for name, value in names.items()}
    raise_all(
        Error(f"{node.name} has no value {name}", path=f"spec.values.{name}", hint=_where(names[name], node))
        for name, value in found.items()
        if value is None
    )
    return {name: value for name, value in found.items() if value is not None}


def _value(value: Value, node: Node) -> str | None:
    """Return a value: the node's own, its label's, its annotation's, or everybody's; the first there is."""
    ways = (
        (given(value.nodes) or {}).get(node.name),
        node.labels.get(given(value.label) or ""),
        node.annotations.get(given(value.annotation) or ""),
        given(value.default),
    )
    return next((found for found in ways if found is not None), None)


def _where(value: Value, node: Node) -> str:
    """Say where it could be given."""
    ways = [f"nodes.{node.name}"] if value.nodes is not UNSET or value.default is UNSET else []
    ways += [f"its label {value.label}"] if value.label is not UNSET else []
    ways += [f"its annotation {value.annotation}"] if value.annotation is not UNSET else []
    return f"give it by {' or '.join(ways)}"
