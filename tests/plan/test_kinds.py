"""An interface type is one file: whatever else is needed derives from its Kind."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from msgspec import UNSET

from nncp.compile import compile_state
from nncp.document.lax import LaxBool, LaxInt, Maybe
from nncp.document.read import read_partly
from nncp.document.schema import schema_of
from nncp.document.section import Section
from nncp.document.source import load
from nncp.host import Cost, Host, Row
from nncp.kinds.codec import BOOL8, U32
from nncp.kinds.flat import nested
from nncp.kinds.kind import Attr, Kind
from nncp.known import KINDS
from nncp.plan import plan
from nncp.show import show_state
from nncp.tables.kinds import Kinds


class Speed(LaxInt, ge=1, le=9):
    """How fast the toy is."""


class ToyConfig(Section, frozen=True):
    """A toy.

    interfaces:
    - name: toy0
      type: toy
      toy:
        base-iface: eth0
        speed: 3
    """

    base_iface: Maybe[str] = UNSET
    speed: Maybe[Speed] = UNSET
    loud: Maybe[LaxBool] = UNSET


TOY = Kind(
    type="toy",
    link="toykind",
    section="toy",
    config=ToyConfig,
    attrs=(Attr("speed", 1, U32, cost=Cost.NEW), Attr("loud", 2, BOOL8, cost=Cost.DOWN)),
    show=lambda host, name: nested(host.rows["link", name].attrs, ("base-iface", "speed", "loud")),
)
WITH_TOY = Kinds.of([*KINDS.by_type.values(), TOY], KINDS.tables.values())
HOST = Host([Row(("link", "eth0"), {"type": "ethernet"})])


def wish(section: dict[str, Any], host: Host = HOST) -> list[Row]:
    text = json.dumps({"interfaces": [{"name": "toy0", "type": "toy", "toy": section}]})
    found = read_partly(load(text, file="toy.yaml")[0], WITH_TOY.by_type)
    assert not found.errors
    compiled = compile_state(found.state, found.interfaces, host, WITH_TOY)
    assert not compiled.faults
    return list(compiled.rows.values())


def test_a_new_kind_has_a_schema() -> None:
    assert "ToyConfig" in json.dumps(schema_of(WITH_TOY.by_type))


def test_a_new_kind_is_decoded_and_refused_with_its_own_bounds() -> None:
    text = "interfaces:\n- {name: toy0, type: toy, toy: {speed: 10}}\n"
    (error,) = read_partly(load(text, file="toy.yaml")[0], WITH_TOY.by_type).errors
    assert error.message == "toy.speed must be at most 9, got 10"
    assert (error.where and error.where.line, error.where and error.where.column) == (2, 40)


def test_a_new_kind_is_planned_after_what_it_rests_on() -> None:
    ops = plan(HOST, wish({"base-iface": "eth0", "speed": "0x3"}), WITH_TOY)
    assert [(op.verb, *op.key) for op in ops] == [("create", "link", "toy0"), ("create", "up", "toy0")]
    assert ops[0].attrs["speed"] == 3


@pytest.mark.parametrize(
    ("section", "verbs"),
    [
        ({"speed": 4}, ["remove link", "create link", "create up"]),
        ({"loud": "yes"}, ["remove up", "change link", "create up"]),
    ],
)
def test_a_new_kind_is_changed_at_the_cost_it_says(section: dict[str, Any], verbs: list[str]) -> None:
    toy = Row(("link", "toy0"), {"type": "toy", "base-iface": "eth0", "speed": 3, "loud": False})
    host = Host([*HOST, toy, Row(("up", "toy0"))])
    ops = plan(host, wish(section, host), WITH_TOY)
    assert [f"{op.verb} {op.key[0]}" for op in ops if not op.implied] == verbs


def test_a_new_kind_is_shown() -> None:
    toy = Row(("link", "toy0"), {"type": "toy", "base-iface": "eth0", "speed": 3})
    shown = show_state(Host([*HOST, toy]), WITH_TOY, ["toy0"])
    assert shown["interfaces"][0]["toy"] == {"base-iface": "eth0", "speed": 3}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS.by_type.values() if kind.config], ids=lambda kind: kind.type
)
def test_the_sample_in_a_kinds_docstring_is_a_sound_document(kind: Kind) -> None:
    assert kind.config is not None
    sample = "interfaces:" + (kind.config.__doc__ or "").partition("interfaces:")[2]
    (node,) = load("\n".join(line.removeprefix("    ") for line in sample.splitlines()), file=kind.type)
    found = read_partly(node, KINDS.by_type)
    assert [error.message for error in found.errors] == []
    assert [interface.type for interface in found.interfaces.values()] == [kind.type]


@pytest.mark.parametrize("kind", KINDS.by_type.values(), ids=lambda kind: kind.type)
def test_every_setting_of_a_section_is_an_attribute(kind: Kind) -> None:
    if kind.config is None:
        return
    told = {word for words in kind.as_it_is.values() for word in words}
    known = {attr.name for attr in kind.attrs} | {"base-iface", "sr-iov"} | told
    options = getattr(kind.config, "__annotations__", {})
    fields = [
        field
        for field in msgspec.structs.fields(kind.config)
        if field.name not in {"options", "port", "ports"}
    ]
    named = {field.encode_name for field in fields} - {"ports-config", *getattr(kind.config, "aliases", {})}
    assert {name for name in named if name.replace("-", "_") not in kind.config.aliases} <= known, options
