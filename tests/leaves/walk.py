"""Every leaf of a document's schema."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def leaves(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return each leaf of a document's schema: its dotted path from an interface, or from the document."""
    root = schema["$defs"]
    document = {**root["State"], "properties": {**root["State"]["properties"]}}
    interfaces = document["properties"].pop("interfaces")["items"]
    found = dict(_below(document, "", root))
    for form in interfaces["else"]["allOf"]:
        found.update(_below(form["then"], "", root))
    return found


def _below(schema: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "$ref" in schema:
        schema = root[schema["$ref"].rpartition("/")[2]]
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if branches:
        for branch in branches:
            yield from _below(branch, path, root)
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _below(inner, f"{path}.{name}" if path else name, root)
    elif schema.get("items"):
        yield from _below(schema["items"], f"{path}[]", root)
    else:
        yield path, schema
