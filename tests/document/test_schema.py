"""The schema that the Structs make, and its agreement with the decoder that msgspec makes of them."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import inspect

from nncp.desired import WRITTEN
from nncp.document.emit import dump
from nncp.document.lax import read_lax
from nncp.document.meaning import default, fields, held, plain, sample, struct_in
from nncp.document.schema import complaints_of, errors_of, schema_of, struct_schema
from nncp.document.source import load
from nncp.document.state import Documented, State, form

SENTENCE = re.compile(r"""[A-Z0-9""'][^\n]{8,}[^ .]\.""")
GOOD = """\
interfaces:
- name: bond0.33
  type: vlan
  mtu: "0x5dc"
  vlan: {base-iface: bond0, id: '33', loose-binding: off}
- name: br1
  type: linux-bridge
  ipv4: {enabled: yes, address: [{ip: 172.16.1.21, prefix-length: 24}]}
  bridge: {port: [{name: bond0, vlan: {mode: trunk, trunk-tags: [{id-range: {min: 2, max: 4094}}]}}]}
- name: gone
  state: absent
  mtu: big
"""


def test_the_schema_is_valid_json_schema_and_takes_good_documents(kinds: Mapping[str, Documented]) -> None:
    schema = schema_of(kinds)
    jsonschema.Draft202012Validator.check_schema(schema)
    (node,) = load(GOOD, file="x")
    assert errors_of(node, schema) == []
    jsonschema.validate(node.value, json.loads(json.dumps(schema)))


def test_the_schema_of_the_whole_finds_what_reading_finds(kinds: Mapping[str, Documented]) -> None:
    (node,) = load(GOOD.replace("id: '33'", "id: 5000").replace("name: bond0, vlan", "vlan"), file="x")
    errors = errors_of(node, schema_of(kinds))
    assert [(error.message, error.path, error.subject) for error in errors] == [
        ("vlan.id must be at most 4094, got 5000", "interfaces[0].vlan.id", "bond0.33"),
        ("bridge.port[0].name is missing", "interfaces[1].bridge.port[0].name", "br1"),
    ]


def test_the_schema_knows_the_types_that_are_handed_in(kinds: Mapping[str, Documented]) -> None:
    items = schema_of(kinds)["$defs"]["State"]["properties"]["interfaces"]["items"]
    assert {"bond", "vlan", "ovs-bridge"} <= set(items["properties"]["type"]["enum"])
    assert len(items["else"]["allOf"]) == len(kinds)
    assert schema_of(kinds)["$defs"]["VlanConfig"]["properties"]["id"]["anyOf"][0]["maximum"] == 4094


JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 70000),
    st.floats(allow_nan=False),
    st.sampled_from(
        ["", "0x10", "0xg", "-1", "+5", "on", "ON", "oN", "802.1q", "4", "10.0.0.1", "2001:db8::1", "up"]
    ),
    st.lists(st.integers(), max_size=1),
    st.dictionaries(st.sampled_from(["id", "name", "enabled", "odd"]), st.integers(), max_size=1),
)
INTERFACE: dict[str, Any] = {
    "name": "bond0.33",
    "type": "vlan",
    "state": "up",
    "mtu": 1500,
    "mac-address": "02:00:00:12:34:56",
    "accept-all-mac-addresses": False,
    "ipv4": {"enabled": True, "address": [{"ip": "172.16.1.21", "prefix-length": 24}]},
    "ipv6": {"autoconf": False, "address": [{"ip": "2001:db8::1", "prefix-length": 64}], "token": "::1"},
    "alt-names": [{"name": "x", "state": "absent"}],
    "vlan": {"base-iface": "bond0", "id": 33, "protocol": "802.1q", "loose-binding": True},
}


def paths(value: Any, start: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [start, *(path for step, inner in steps for path in paths(inner, (*start, step)))]


def changed(value: Any, path: tuple[Any, ...], junk: Any) -> Any:
    if not path:
        return junk
    copy = value.copy()
    copy[path[0]] = changed(value[path[0]], path[1:], junk)
    return copy


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.sampled_from(paths(INTERFACE)[1:]), junk=JUNK)
def test_what_the_decoder_refuses_the_schema_explains_and_nothing_else(
    kinds: Mapping[str, Documented], path: tuple[Any, ...], junk: Any
) -> None:
    struct = form("vlan", kinds["vlan"])
    (node,) = load(dump(changed(INTERFACE, path, junk)), file="x")
    told = complaints_of(node, struct_schema(struct))
    try:
        msgspec.convert(node.value, struct, dec_hook=read_lax)
    except msgspec.ValidationError:
        assert told
    else:
        assert not told


@pytest.mark.parametrize("key", ["port", "ports"])
def test_both_names_of_a_property_are_in_the_schema(kinds: Mapping[str, Documented], key: str) -> None:
    assert key in schema_of(kinds)["$defs"]["BondConfig"]["properties"]


def described(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every property of a schema with its path, but for what only chooses a branch."""
    for key, inner in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if key == "properties":
            yield from ((f"{path}.{name}", each) for name, each in inner.items())
        if isinstance(inner, dict | list) and key not in {"if", "enum"}:
            yield from described(inner, f"{path}.{key}")


def test_every_property_has_a_sentence() -> None:
    found = dict(described(schema_of(WRITTEN)))
    said = {path: each.get("description", "") for path, each in found.items()}
    assert len(said) > 400
    assert {path for path, text in said.items() if not SENTENCE.fullmatch(text)} == set()


def test_every_leaf_has_a_sentence_of_its_own_and_no_sentence_is_of_nothing() -> None:
    structs = held([State, *(form(name, kind) for name, kind in WRITTEN.items())])
    for struct in structs:
        leaves = {field.name for field in fields(struct) if struct_in(field.type) is None}
        aliases = getattr(struct, "aliases", {})
        own = {name for each in struct.__mro__ for name in vars(each).get("meaning", {})}
        assert (struct, leaves - own) == (struct, leaves & aliases.keys())
        for each in ("meaning", "defaults", "samples"):
            said = set(vars(struct).get(each, {}))
            assert (struct, each, said - set(struct.__struct_fields__)) == (struct, each, set())


def test_what_is_known_of_something_new_can_be_said_in_a_document() -> None:
    for struct in held([State, *(form(name, kind) for name, kind in WRITTEN.items())]):
        for field in fields(struct):
            kind = plain(field.type)
            for value in (default(struct, field.name), sample(struct, field.name)):
                if value is not None and isinstance(kind, inspect.CustomType):
                    assert kind.cls.read(value) == value, (struct, field.name)


def test_only_what_is_shown_is_marked_as_read_only() -> None:
    schema = schema_of(WRITTEN)["$defs"]
    marked = {name for name, each in schema["Interface"]["properties"].items() if each.get("readOnly")}
    assert marked == {"driver", "min-mtu", "max-mtu", "permanent-mac-address"}


ROOT = Path(__file__).parents[2]


def states(file: Path) -> list[Any]:
    """The nmstate states in a file, bare or in policies; a VM's manifest has none, and a template is none yet."""
    values = [node.value for node in load(file.read_text(), file=file.name)]
    found = [value.get("spec", {}).get("desiredState", value) for value in values]
    return [state for state in found if "interfaces" in state and "{{" not in str(state)]


STATES = {
    f"{file.relative_to(ROOT)}:{number}": state
    for folder in ("policies", "tests/vmnet", "vmnet/rack/scenario", "nncp/lab")
    for file in sorted((ROOT / folder).rglob("*.yaml"))
    for number, state in enumerate(states(file))
}


def test_the_schema_takes_the_documents_of_this_repository() -> None:
    schema = json.loads(json.dumps(schema_of(WRITTEN)))
    jsonschema.Draft202012Validator.check_schema(schema)
    assert {"policies/vm-bridge/node-1.yaml:0", "nncp/lab/switch.yaml:0"} <= STATES.keys()
    check = jsonschema.Draft202012Validator(schema)
    for name, state in STATES.items():
        assert (name, [error.message for error in check.iter_errors(state)]) == (name, [])
        assert not check.is_valid({**state, "interfaces": [{"name": "d0", "type": "dummy", "mtu": -1}]})
