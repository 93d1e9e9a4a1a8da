"""The API's kinds: made from the Structs, complete, and no larger than an API server takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nncp.desired import WRITTEN
from nncp.document.schema import schema_of
from nncp.operator import crds, openapi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEPLOY = Path(__file__).parents[2] / "deploy"
LARGEST = 200_000  # bytes of a CRD as JSON


@pytest.mark.parametrize("file", crds.MANIFESTS)
def test_what_deploy_holds_is_what_the_structs_give(file: str) -> None:
    assert (DEPLOY / file).read_text(encoding="utf-8") == crds.text(file), "make manifests"


def test_a_kind_fits_into_an_api_server() -> None:
    for manifest in yaml.safe_load_all(crds.text("crds.yaml")):
        assert len(json.dumps(manifest)) <= LARGEST


def spec() -> dict[str, Any]:
    schema = crds.policy()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]
    return found


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node of a structural schema with its path."""
    yield path, schema
    for name, each in schema.get("properties", {}).items():
        yield from nodes(each, f"{path}/{name}")
    for word in ("items", "additionalProperties"):
        if isinstance(schema.get(word), dict):
            yield from nodes(schema[word], f"{path}[]")


def test_no_key_is_dropped_and_nothing_is_filled_in() -> None:
    for path, each in nodes(spec()):
        assert "default" not in each, path
        if "properties" in each:
            assert each[openapi.KEEP], path
        if each.get("type") == "array":
            assert each["x-kubernetes-list-type"] == "atomic", path


def test_where_a_template_may_stand_for_more_than_text_there_is_no_type() -> None:
    state = spec()["properties"]["desiredState"]
    types = {
        path: each.get("type", "number" if openapi.NUMBER in each else "") for path, each in nodes(state)
    }
    assert types["/interfaces"] == types["/interfaces[]"] == types["/interfaces[]/bridge"] == ""
    assert types["/interfaces[]/ipv4/enabled"] == ""  # true, "yes" or a template
    assert types["/interfaces[]/mtu"] == types["/interfaces[]/vlan/id"] == "number"
    assert types["/interfaces[]/name"] == "string"
    assert set(types.values()) == {"", "number", "string"}


def test_every_property_of_a_document_is_explained() -> None:
    found = {path.rpartition("/")[2]: each for path, each in nodes(spec()["properties"]["desiredState"])}
    schema = schema_of(WRITTEN)
    for name, definition in schema["$defs"].items():
        for key, each in definition.get("properties", {}).items():
            assert key in found, f"{name}.{key}"
            assert not each.get("description") or found[key].get("description"), f"{name}.{key}"


@pytest.mark.parametrize("make", [crds.policy, crds.enactment, crds.state])
def test_each_field_has_a_sentence(make: Callable[[], dict[str, Any]]) -> None:
    schema = make()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    for part in {"spec", "status"} & schema.keys():
        for path, each in nodes(schema[part], part):
            if "/desiredState/" not in path and not path.endswith("[]"):
                assert each.get("description"), path
