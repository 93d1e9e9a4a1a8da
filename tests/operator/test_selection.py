"""Which nodes a policy is for, and what its values are on each."""

from __future__ import annotations

import pytest
from msgspec import convert

from nncp.document.spec import PolicySpec
from nncp.errors import Error
from nncp.operator.selection import Node, matches, values

NODE = Node("node-1", labels={"role": "virt", "rack": "7", "empty": ""}, annotations={"gw": "192.0.2.1"})


def spec(**fields: object) -> PolicySpec:
    return convert(fields, PolicySpec)


def term(key: str, operator: str, *values: str) -> dict[str, object]:
    return {"key": key, "operator": operator, "values": list(values)}


@pytest.mark.parametrize(
    ("selector", "is_for_it"),
    [
        ({}, True),
        ({"role": "virt"}, True),
        ({"role": "virt", "rack": "8"}, False),
        ({"gone": ""}, False),
        ({"empty": ""}, True),
    ],
)
def test_all_labels_of_a_selector_are_equal(selector: dict[str, str], is_for_it: bool) -> None:
    assert matches(spec(nodeSelector=selector), NODE) == is_for_it


@pytest.mark.parametrize(
    ("requirement", "is_for_it"),
    [
        (term("role", "In", "db", "virt"), True),
        (term("role", "In"), False),
        (term("gone", "In", ""), False),
        (term("role", "NotIn", "virt"), False),
        (term("gone", "NotIn", "virt"), True),
        (term("empty", "Exists"), True),
        (term("gone", "Exists"), False),
        (term("gone", "DoesNotExist"), True),
        (term("role", "DoesNotExist"), False),
        (term("rack", "Gt", "6"), True),
        (term("rack", "Gt", "7"), False),
        (term("rack", "Lt", "10"), True),
        (term("role", "Lt", "10"), False),
        (term("rack", "Lt", "1", "10"), False),
        (term("gone", "Gt", "0"), False),
    ],
)
def test_a_requirement_is_met_as_kubernetes_does(requirement: dict[str, object], is_for_it: bool) -> None:
    assert matches(spec(nodeSelectorTerms=[{"matchExpressions": [requirement]}]), NODE) == is_for_it


def test_one_term_is_enough_and_each_of_its_requirements_holds() -> None:
    good, bad = term("role", "Exists"), term("gone", "Exists")
    for terms, is_for_it in (
        ([[bad], [good]], True),
        ([[good, bad]], False),
        ([[]], False),
        ([], True),
    ):
        wanted = [{"matchExpressions": expressions} for expressions in terms]
        assert matches(spec(nodeSelectorTerms=wanted), NODE) == is_for_it
    both = spec(nodeSelector={"rack": "8"}, nodeSelectorTerms=[{"matchExpressions": [good]}])
    assert not matches(both, NODE)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ({"nodes": {"node-1": "a"}, "label": "rack", "default": "z"}, "a"),
        ({"nodes": {"node-2": "a"}, "label": "rack", "annotation": "gw"}, "7"),
        ({"label": "gone", "annotation": "gw", "default": "z"}, "192.0.2.1"),
        ({"label": "empty", "default": "z"}, ""),
        ({"label": "gone", "default": "z"}, "z"),
    ],
)
def test_the_first_way_that_has_a_value_gives_it(value: dict[str, object], found: str) -> None:
    assert values(spec(values={"x": value}), NODE) == {"x": found}


def test_every_value_that_a_node_lacks_is_named_with_where_it_could_be_given() -> None:
    wanted = {
        "address": {"nodes": {"node-2": "a"}},
        "gw": {"label": "gateway", "annotation": "gateway"},
        "mtu": {"default": "1500"},
    }
    with pytest.raises(Error) as raised:
        values(spec(values=wanted), NODE)
    assert [(each.message, each.path, each.hint) for each in raised.value] == [
        ("node-1 has no value address", "spec.values.address", "give it by nodes.node-1"),
        (
            "node-1 has no value gw",
            "spec.values.gw",
            "give it by nodes.node-1 or its label gateway or its annotation gateway",
        ),
    ]
