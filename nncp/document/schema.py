"""The JSON Schema of a document, generated from its Structs, and the list of all that breaks it.

msgspec decides whether a document is good and is quick about it; it stops at the first error. Only when
it has refused, jsonschema reads the same Structs' schema and lists every error (complaints.py words them).
"""

from __future__ import annotations

import operator
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from msgspec import Struct, json

from nncp.document.complaints import Complaint, complaints
from nncp.document.lax import FORMS, Form, lax_schema, whole
from nncp.document.state import INTERFACE_TYPES, Documented, Interface, State, form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from jsonschema import FormatChecker
    from jsonschema.protocols import Validator
    from msgspec import ValidationError

    from nncp.document.source import Node, Step
    from nncp.errors import Error

DIALECT = "https://json-schema.org/draft/2020-12/schema"
STEP = re.compile(r"\.([^.\[`]+)|\[(\d+)\]")


def schema_of(kinds: Mapping[str, Documented]) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a document in which these interface types are known."""
    from nncp.document.meaning import describe  # noqa: PLC0415  (only people want sentences)

    forms = {name: form(name, kind) for name, kind in kinds.items()}
    structs: list[type[Struct]] = [State, Interface, *forms.values()]
    refs, defs = json.schema_components(structs, schema_hook=lax_schema)
    describe(defs, structs)
    interface = defs["Interface"]["properties"]
    by_type = [{"if": _has("type", name), "then": ref} for name, ref in zip(forms, refs[2:], strict=True)]
    defs["State"]["properties"]["interfaces"]["items"] = {
        "type": "object",
        "properties": {
            "name": interface["name"],
            "type": {
                "enum": sorted({*INTERFACE_TYPES, "unknown", *kinds}),
                "description": interface["type"]["description"],
            },
        },
        "required": ["name"],
        # Of an absent interface nothing else is read (state.absent).
        "if": _has("state", "absent"),
        "else": {"allOf": by_type} if by_type else True,
    }
    if Interface not in forms.values():
        del defs["Interface"]
    return {"$schema": DIALECT, "title": "nmstate document", **refs[0], "$defs": defs}


@cache
def struct_schema(struct: type[Struct]) -> dict[str, Any]:
    """Return the JSON Schema of one Struct and of all that it holds."""
    (ref,), defs = json.schema_components([struct], schema_hook=lax_schema)
    return {**ref, "$defs": defs}


def errors_of(node: Node, schema: Mapping[str, Any]) -> list[Error]:
    """Return every error of a node by a schema, in the order of their places."""
    found = [complaint.error for complaint in complaints_of(node, schema)]
    return sorted(found, key=lambda error: (error.where.line, error.where.column) if error.where else (0, 0))


def complaints_of(node: Node, schema: Mapping[str, Any]) -> list[Complaint]:
    """Return every error of a node by a schema, each with its path as steps."""
    found: dict[tuple[tuple[Step, ...], str], Complaint] = {}
    for error in _validator(schema).iter_errors(node.value):
        for complaint in complaints(node, error, root=schema):
            found.setdefault((complaint.steps, complaint.error.message), complaint)
    return list(found.values())


def refusal(node: Node, error: ValidationError) -> Complaint:
    """Return msgspec's own refusal, for what a schema cannot say: two names of one property that disagree."""
    message, _, where = str(error).partition(" - at `")
    steps = tuple(int(number) if number else key for key, number in STEP.findall(where))
    return Complaint(steps, node.error(message, *steps, key=True))


def _has(key: str, word: str) -> dict[str, Any]:
    return {"properties": {key: {"const": word}}, "required": [key]}


def _validator(schema: Mapping[str, Any]) -> Validator:
    made: Validator = _validator_class()(schema, format_checker=_formats())
    return made


@cache
def _validator_class() -> Any:
    from jsonschema import Draft202012Validator, validators  # noqa: PLC0415  (90 ms that a good document saves)

    own = {
        "minimum": _bound(operator.lt, "less"),
        "maximum": _bound(operator.gt, "more"),
        "enum": _one_of,
    }
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer)
    return validators.extend(Draft202012Validator, own, type_checker=types)  # type: ignore[no-untyped-call]


def _is_integer(_checker: object, value: object) -> bool:
    return isinstance(value, int) and not isinstance(
        value, bool
    )  # to JSON Schema 1.0 is one, to us it is not


def _bound(breaks: Callable[[int, int], bool], word: str) -> Callable[..., Iterator[Any]]:
    """Return a check of a bound that also holds for numbers spelled as text."""
    from jsonschema import ValidationError  # noqa: PLC0415

    def check(_validator: object, limit: int, value: object, _schema: object) -> Iterator[Any]:
        number = whole(value)
        if number is not None and breaks(number, limit):
            yield ValidationError(f"{value} is {word} than {limit}")

    return check


def _one_of(_validator: object, options: list[Any], value: object, _schema: object) -> Iterator[Any]:
    """Yield a finding unless a value is one of the options, and of its type: 1.0 is no word for true."""
    from jsonschema import ValidationError  # noqa: PLC0415

    if not any(value == option and type(value) is type(option) for option in options):
        yield ValidationError(f"{value!r} is none of {options!r}")


@cache
def _formats() -> FormatChecker:
    from jsonschema import FormatChecker  # noqa: PLC0415

    checker = FormatChecker(formats=())
    for kind in FORMS:
        checker.checks(kind.form, raises=ValueError)(_format(kind))
    return checker


def _format(kind: type[Form]) -> Callable[[object], bool]:
    def check(value: object) -> bool:
        if isinstance(value, str):
            kind.read_text(value)
        return True

    return check
