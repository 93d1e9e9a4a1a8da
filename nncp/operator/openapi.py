"""What a cluster's API server knows of a document: its structure, and which keys there are.

Two things pull against each other. A structure that lists its properties drops what it does not know, without
a word for a client that is not strict; and a template may stand where a number, a list or a mapping should.
So every mapping lists its properties, for `kubectl explain`, and keeps unknown ones; what a template may
stand for has no type; and unknown keys are refused, by their paths and whoever sends them, by expressions
over the whole document.

Both are made from the JSON Schema of the Structs (nncp.document.schema): structural schemas as
apiextensions.k8s.io/v1 has them, and CEL as ValidatingAdmissionPolicies have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema: TypeAlias = "Mapping[str, Any]"
KEEP = "x-kubernetes-preserve-unknown-fields"
NUMBER = "x-kubernetes-int-or-string"


def document(schema: Schema) -> dict[str, Any]:
    """Return a document's JSON Schema with one form of interface, which has the properties of all of them.

    Args:
        schema: of `nncp.document.schema.schema_of`.

    """
    state = _followed(schema, schema["$defs"])
    interfaces = state["properties"]["interfaces"]
    merged: dict[str, Any] = {}
    for form in _forms(interfaces["items"], schema["$defs"]):
        merged |= form["properties"]
    merged["type"] = interfaces["items"]["properties"]["type"]
    item = {"description": "An interface; its type says which of these it has.", "properties": merged}
    properties = state["properties"] | {"interfaces": interfaces | {"items": item}}
    return {"description": state["description"], "properties": properties, "$defs": schema["$defs"]}


def _forms(item: Schema, defs: Schema) -> Iterator[dict[str, Any]]:
    """Yield the properties that interfaces have by their types."""
    for each in item["else"]["allOf"]:
        yield _followed(each["then"], defs)


def typed(schema: Schema) -> dict[str, Any]:
    """Return the structural schema of what no template stands in: values have their types, keys are kept."""
    return _typed(schema, schema.get("$defs", {}))


def _typed(schema: Schema, defs: Schema) -> dict[str, Any]:
    plain = _followed(schema, defs)
    said = _said(schema, plain)
    if is_document(plain):
        return said | _lax(plain, defs)
    if "properties" in plain:
        inner = {name: _typed(each, defs) for name, each in plain["properties"].items()}
        required = {"required": plain["required"]} if plain.get("required") else {}
        return said | {"type": "object", "properties": inner, KEEP: True} | required
    if isinstance(plain.get("additionalProperties"), dict):
        return said | {"type": "object", "additionalProperties": _typed(plain["additionalProperties"], defs)}
    if "items" in plain:
        inner = _typed(plain["items"], defs)
        return said | {"type": "array", "items": inner, "x-kubernetes-list-type": "atomic"}
    if "enum" in plain:
        return said | {"type": "string", "enum": plain["enum"]}
    return said | ({"type": plain["type"]} if isinstance(plain.get("type"), str) else {KEEP: True})


def is_document(schema: Schema) -> bool:
    """Whether a schema is that of a document, in which templates stand."""
    return "interfaces" in schema.get("properties", ())


def _lax(schema: Schema, defs: Schema) -> dict[str, Any]:
    """Return the structural schema of a part of a document: what a template may stand for has no type."""
    plain = _followed(schema, defs)
    said, properties = _said(schema, plain), plain.get("properties")
    anything = said | {KEEP: True, "nullable": True}
    if properties is not None:
        return anything | {"properties": {name: _lax(each, defs) for name, each in properties.items()}}
    if "items" in plain:
        return anything | {"items": _lax(plain["items"], defs)}
    types = _types(plain) | {"string"}
    if types == {"string"}:
        return said | {"type": "string", "nullable": True}
    return said | {NUMBER: True, "nullable": True} if types == {"integer", "string"} else anything


def _said(schema: Schema, plain: Schema) -> dict[str, Any]:
    """Return the description of a property: its own, or its mapping's."""
    said: str = schema.get("description") or plain.get("description") or ""
    return {"description": " ".join(said.partition("\n\n")[0].split())} if said else {}


def _types(schema: Schema) -> set[str]:
    """Return which JSON types a value may have; "any" where it may be more than a number or text."""
    if "enum" in schema:
        return {_type(value) for value in schema["enum"]}
    if "anyOf" in schema:
        return {name for each in schema["anyOf"] for name in _types(each)}
    said = schema.get("type", "any")
    return {said} if isinstance(said, str) else set(said)


def _type(value: object) -> str:
    names = {bool: "boolean", int: "integer", str: "string"}
    return names.get(type(value), "any")


def _followed(schema: Schema, defs: Schema) -> dict[str, Any]:
    """Return a schema without references, and without the null that unsets a property."""
    if "anyOf" in schema:
        rest = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return _followed(rest[0], defs) if len(rest) == 1 else {**schema, "anyOf": rest}
    if "$ref" in schema:
        return _followed(defs[schema["$ref"].rpartition("/")[2]], defs)
    return dict(schema)


def unknown(schema: Schema, *, value: str, path: str) -> list[str]:
    """Return CEL expressions of a text each: paths of keys that are not known, each with a blank behind it.

    All of them together have seen the whole value; the API server bounds what each may cost.

    Args:
        schema: of a mapping, its `$defs` beside it.
        value: the CEL expression of the value.
        path: where it stands, for people.

    """
    defs = schema["$defs"]
    properties = schema["properties"]
    own = _keys(value, _text(path), properties)
    inner = [_below(value, _text(path), name, each, defs, depth=0) for name, each in properties.items()]
    return [f"{_is(value, 'map')} ? {one} : ''" for one in (own, *filter(None, inner))]


def _text(words: str) -> str:
    return f"'{words}'"


def _is(value: str, kind: str) -> str:
    return f"type({value}) == {kind}"


def _keys(value: str, path: str, names: Schema) -> str:
    """Return the expression of the paths of a mapping's unknown keys."""
    known = ", ".join(_text(name) for name in names)
    return f"{value}.filter(k, !(k in [{known}])).map(k, {path} + '.' + k + ' ').join('')"


def _below(value: str, path: str, name: str, schema: Schema, defs: Schema, *, depth: int) -> str:
    """Return the expression for what a property holds, "" when that has no keys."""
    inner = _value(f"{value}['{name}']", f"{path} + '.{name}'", schema, defs, depth=depth)
    return f"('{name}' in {value} ? {inner} : '')" if inner else ""


def _value(value: str, path: str, schema: Schema, defs: Schema, *, depth: int) -> str:
    plain = _followed(schema, defs)
    properties, items = plain.get("properties"), plain.get("items")
    if properties is not None:
        parts = [
            _keys(value, path, properties),
            *(_below(value, path, name, each, defs, depth=depth) for name, each in properties.items()),
        ]
        return f"({_is(value, 'map')} ? {' + '.join(filter(None, parts))} : '')"
    if isinstance(plain.get("additionalProperties"), dict):
        key, entry = f"k{depth}", f"v{depth}"
        inner = _value(entry, f"{path} + '.' + {key}", plain["additionalProperties"], defs, depth=depth + 1)
        every = f"{value}.transformList({key}, {entry}, {inner}).join('')"
        return f"({_is(value, 'map')} ? {every} : '')" if inner else ""
    if items is not None:
        number, entry = f"i{depth}", f"e{depth}"
        at = f"{path} + '[' + string({number}) + ']'"
        inner = _value(entry, at, items, defs, depth=depth + 1)
        if inner:
            inner = _unless_absent(entry, _followed(items, defs)) + inner
            every = f"{value}.transformList({number}, {entry}, {inner}).join('')"
            return f"({_is(value, 'list')} ? {every} : '')"
    return ""


def _unless_absent(entry: str, schema: Schema) -> str:
    """Return the expression's beginning for an interface, of which nothing is read when it is absent."""
    if "profile-name" not in schema.get("properties", ()):
        return ""
    return f"{_is(entry, 'map')} && 'state' in {entry} && {entry}['state'] == 'absent' ? '' : "
