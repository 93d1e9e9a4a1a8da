"""What jsonschema found, in plain sentences: `vlan.id must be at most 4094, got 5000`."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct

from nncp.document.lax import FORMS
from nncp.document.source import Step, path_text
from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from nncp.document.source import Node
    from nncp.errors import Place

# jsonschema.ValidationError, whose types allow every field to be unset, as none is after a validation.
Finding: TypeAlias = Any

NOUNS = {
    "object": "a mapping",
    "array": "a list",
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}
MEANS = {kind.form: kind.means for kind in FORMS}
FORMER = {"slaves": "port", "master": "controller"}
"""Words of nmstate 0.x, by which its documents on the web still go."""
# Whose items are what a document is about.
LISTS = ("interfaces", "config")
# How deep a key's home is looked for: bridge.port[].vlan.trunk-tags[].id-range.min
DEEPEST = 6


class Complaint(Struct, frozen=True):
    """An error, and the steps from the node to what it is about."""

    steps: tuple[Step, ...]
    error: Error


def complaints(node: Node, error: Finding, *, root: Mapping[str, Any]) -> Iterator[Complaint]:
    """Yield what one finding of jsonschema means, mostly one sentence."""
    steps = tuple(error.absolute_path)
    if error.validator == "anyOf":
        for inner in _nearest(error):
            yield from complaints(node, inner, root=root)
    elif error.validator == "additionalProperties":
        known = error.schema["properties"]
        for key in (key for key in error.instance if key not in known):
            yield _unknown_key(node, (*steps, key), known=known, root=root)
    elif error.validator == "required":
        for key in (key for key in error.validator_value if key not in error.instance):
            message = f"{label(*node.path, *steps, key)} is missing"
            yield Complaint((*steps, key), node.error(message, *steps, key, key=True))
    else:
        name = label(*node.path, *steps) or "a document"
        message = f"{name} must be {_expected(error)}, got {shown(error.instance)}"
        found = node.error(message, *steps, hint=_hint(error))
        if error.validator == "type" and error.validator_value == "string" and found.where:
            found.hint = quoted(error.instance, found.where) or found.hint
        yield Complaint(steps, found)


def label(*path: Step) -> str:
    """Return a path as a sentence names it: without the way to the interface, route or rule that it is in."""
    for at in range(len(path) - 2):
        if path[at] in LISTS and isinstance(path[at + 1], int):
            return path_text(*path[at + 2 :])
    if "desiredState" in path[:-1]:
        return path_text(*path[path.index("desiredState") + 1 :])
    return path_text(*path)


def shown(value: Any) -> str:
    """Return a value as a sentence quotes it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f"'{value}'" if len(value) <= 60 else f"'{value[:57]}...'"
        case list():
            return "a list"
        case dict():
            return "a mapping"
    return str(value)


def quoted(value: Any, where: Place) -> str:
    """Return the hint at a number or a boolean that was to be text, or ""."""
    said = (
        shown(value) if where.said.startswith(("&", "*", "!")) else where.said
    )  # an anchor, an alias, a tag
    return f"quote it: '{said}'" if isinstance(value, int | float) else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest of the known words, or ""."""
    from difflib import get_close_matches  # noqa: PLC0415  (nothing is misspelt mostly)

    near = get_close_matches(word, list(known), n=1)
    return f"did you mean {near[0]}?" if near else ""


def _nearest(error: Finding) -> list[Finding]:
    """Return the findings of the alternative that is meant: the one that went furthest, never null."""
    branches: dict[Any, list[Finding]] = {}
    for inner in error.context or ():
        if error.validator_value[inner.schema_path[0]] != {"type": "null"}:
            branches.setdefault(inner.schema_path[0], []).append(inner)
    return max(branches.values(), key=lambda found: max(len(inner.absolute_path) for inner in found))


def _unknown_key(
    node: Node, steps: tuple[Step, ...], *, known: Mapping[str, Any], root: Mapping[str, Any]
) -> Complaint:
    key = str(steps[-1])
    around = (*node.path, *steps[:-1])
    # Of an interface, a route or a rule itself the place says enough.
    holder = label(*around) if around[-2:-1] not in {(name,) for name in LISTS} else ""
    homes = [home or "the interface itself" for home in _homes(key, root)]
    hint = f"it belongs to {' or '.join(homes)}" if 0 < len(homes) <= 3 else did_you_mean(key, known)
    if FORMER.get(key) in known:
        hint = f"nmstate calls it {FORMER[key]} since 1.0"
    message = f"unknown key {key}" + (f" in {holder}" if holder else "")
    return Complaint(steps, node.error(message, *steps, key=True, hint=hint))


def _homes(key: str, root: Mapping[str, Any]) -> list[str]:
    """Return the paths of the nearest mappings that know a key: most unknown keys are indented wrongly."""
    level = list(_mappings("", root, root))
    for _ in range(DEEPEST):
        if found := [path for path, mapping in level if key in mapping["properties"]]:
            return found
        level = [
            inner
            for path, mapping in level
            for name, schema in mapping["properties"].items()
            for inner in _mappings(f"{path}.{name}" if path else name, schema, root)
        ]
    return []


def _mappings(path: str, schema: Any, root: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the mappings that a schema allows, with the path to each."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rpartition("/")[2]]
    for alternative in schema.get("anyOf", ()):
        yield from _mappings(path, alternative, root)
    if "items" in schema:
        yield from _mappings(f"{path}[]", schema["items"], root)
    if "properties" in schema:
        yield path, schema


def _expected(error: Finding) -> str:
    """Return what should have stood there."""
    word = EXPECTED.get(error.validator)
    return word(error.validator_value) if word else f"as the schema says ({error.message})"


def _types(value: Any) -> str:
    names = [value] if isinstance(value, str) else value
    # A lax integer may be spelled as text; the text is then still a number.
    return " or ".join(NOUNS[name] for name in names if name != "string" or "integer" not in names)


def _words(enum: list[Any]) -> str:
    words: dict[str, str] = {}  # the first of the spellings that differ in case only
    for word in enum:
        if isinstance(word, str) and not word.isdecimal():
            words.setdefault(word.lower(), word)
    return "".join(words.values()) if len(words) == 1 else f"one of {', '.join(words.values())}"


def _hint(error: Finding) -> str:
    hint = HINTS.get(error.validator)
    return hint(error.instance, error.validator_value, error.schema) if hint else ""


def _enum_hint(value: Any, enum: Any, _schema: Any) -> str:
    return did_you_mean(str(value), [word for word in enum if isinstance(word, str) and len(word) > 1])


def _type_hint(value: Any, wanted: Any, _schema: Any) -> str:
    if wanted == "object" and isinstance(value, str):
        return "put a colon and a space after each key"
    return "start each item with '- '" if wanted == "array" else ""


def _form_hint(text: Any, form: str, _schema: Any) -> str:
    address, slash, prefix = text.partition("/")
    if form in {"ipv4", "ipv6", "ip"} and slash and _version(address):
        return f"write the prefix as prefix-length: {prefix}" if form != "ip" else "write it without a prefix"
    other = {"ipv4": 6, "ipv6": 4}.get(form)
    if other is not None and _version(text) == other:
        return f"it is an IPv{other} address: put it under ipv{other}"
    if form == "ip-network" and text == "default":
        return "write 0.0.0.0/0 or ::/0"
    if form == "mac" and ("-" in text or "." in text):
        return "separate the bytes with colons"
    return ""


def _version(text: str) -> int | None:
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None


EXPECTED: Mapping[str, Callable[[Any], str]] = {
    "maximum": lambda value: f"at most {value}",
    "minimum": lambda value: f"at least {value}",
    "enum": lambda value: "true or false" if value[0] is True else _words(value),
    "format": lambda value: MEANS[value],
    "pattern": lambda _: "a whole number",
    "type": _types,
}
HINTS: Mapping[str, Callable[[Any, Any, Any], str]] = {
    "maximum": lambda _value, _limit, schema: schema.get("x-hint", ""),
    "enum": _enum_hint,
    "format": _form_hint,
    "type": _type_hint,
}
