"""What a NodeNetworkConfigurationPolicy says beside its state: to which nodes, how many at a time, and so on.

kubernetes-nmstate's fields, and ours, which are all optional.
"""

# No `from __future__ import annotations` here: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from msgspec import UNSET, Struct, UnsetType

Strings = dict[str, str]


SHARE = "([0-9]|[1-9][0-9]|100)%"
"""A share of the matching nodes, as a regular expression of Python's and of CEL's."""


class Camel(
    Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """A mapping of the API: its keys are in camel case, `meaning` has a sentence for each."""

    meaning: ClassVar[Mapping[str, str]] = {}


class Requirement(Camel, frozen=True):
    """A requirement on a node's label (core/v1, NodeSelectorRequirement)."""

    meaning: ClassVar[Mapping[str, str]] = {
        "key": "The label.",
        "operator": "How it is compared.",
        "values": "With what; none for Exists and DoesNotExist, one whole number for Gt and Lt.",
    }

    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    values: list[str] | UnsetType = UNSET


class Term(Camel, frozen=True):
    """Requirements that all have to hold (core/v1, NodeSelectorTerm)."""

    meaning: ClassVar[Mapping[str, str]] = {"match_expressions": "Requirements on labels; all hold."}

    match_expressions: list[Requirement]


class Value(Camel, frozen=True):
    """Where the value of one name comes from, for each node."""

    meaning: ClassVar[Mapping[str, str]] = {
        "nodes": "The value by the node's name.",
        "label": "The node's label that has it, for nodes that are not named.",
        "annotation": "The node's annotation that has it, for nodes that have none of the above.",
        "default": "The value of every other node; without it such a node refuses the policy.",
    }

    nodes: Strings | UnsetType = UNSET
    label: str | UnsetType = UNSET
    annotation: str | UnsetType = UNSET
    default: str | UnsetType = UNSET


class PolicySpec(Camel, frozen=True):
    """What a NodeNetworkConfigurationPolicy asks for."""

    meaning: ClassVar[Mapping[str, str]] = {
        "node_selector": "Labels of the nodes that it is for; without any, it is for all.",
        "node_selector_terms": "Of these, one has to match a node too.",
        "capture": "What is to be looked for on each node, by the names that desiredState refers to.",
        "desired_state": "The state that the nodes are to have, in nmstate's words.",
        "max_unavailable": "How many matching nodes, or which part of them, may change at the same time.",
        "mode": "Plan changes nothing: each node says what it would do.",
        "paused": "No node begins to change while it is.",
        "priority": "Of two policies of a node that do not rest on each other, the higher one goes first.",
        "on_delete": "Whether nodes keep what it made when it is deleted, or go back to what was before.",
        "drift": "What is done about a node that is no longer as it asks: nothing, a word, or a repair.",
        "probes": "What has to answer after the change, or the node goes back: apiServer, ping:gw, "
        "tcp:HOST:PORT, dns:NAME, exec:FILE.",
        "values": "What `{{ values.NAME }}` stands for on each node.",
    }

    node_selector: Strings | UnsetType = UNSET
    node_selector_terms: list[Term] | UnsetType = UNSET
    capture: Strings | UnsetType = UNSET
    desired_state: Any = UNSET
    max_unavailable: Any = UNSET  # a number or a share: see crds.py
    mode: Literal["Apply", "Plan"] | UnsetType = UNSET
    paused: bool | UnsetType = UNSET
    priority: int | UnsetType = UNSET
    on_delete: Literal["Keep", "Revert"] | UnsetType = UNSET
    drift: Literal["Ignore", "Report", "Repair"] | UnsetType = UNSET
    probes: list[str] | UnsetType = UNSET
    values: dict[str, Value] | UnsetType = UNSET


WORDS: tuple[str, ...] = PolicySpec.__struct_encode_fields__
"""The keys of a spec."""
