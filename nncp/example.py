"""Documents in which a property stands, made of the YAML in the Structs' docstrings."""

from __future__ import annotations

import re
from inspect import cleandoc
from typing import TYPE_CHECKING, Any

from msgspec import inspect

from nncp.document import meaning
from nncp.document.lax import Form, LaxEnum, LaxInt
from nncp.document.source import load
from nncp.document.state import Interface
from nncp.topic import keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from msgspec import Struct

    from nncp.document.meaning import Type
    from nncp.topic import Topic

YAML = re.compile(r"[\w.-]+:\n")
ALWAYS = ("name", "type", "state")
"""What an example has of an interface, whatever it is about."""
FORMS = {
    "mac": "02:00:00:12:34:56", "ethernet-address": "02:00:00:12:34:56", "group-address": "01:80:c2:00:00:00",
    "link-name": "eth1", "alias": "uplink", "ipv4-list": "192.0.2.1", "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1", "ip": "192.0.2.1", "ip-network": "198.51.100.0/24",
    "ip-network-or-none": "198.51.100.0/24",
}  # fmt: skip
"""Of each form of text one that a document may have."""


def example_of(topic: Topic) -> dict[str, Any]:
    """Return a document in which a property stands; {} where there is nothing sensible to show."""
    if topic.is_type and topic.kind:
        return {"interfaces": [{"name": f"{topic.kind.type}0", "type": topic.kind.type, "state": "up"}]}
    document: dict[str, Any] = {}
    for above in topic.way:
        _lay(document, above, topic)
    if topic.words and _has(document, topic.words):
        return _in_mode(document, topic)
    if topic.holds:  # a mapping that nobody has written a sample of: its first key stands for it
        below = keys(topic, {})
        return example_of(below["interfaces"] if not topic.words else next(iter(below.values())))
    if (value := _value(topic)) is None:
        return {}
    _opened(document, topic.way[:-1])[topic.words[-1]] = value
    return _in_mode(document, topic)


def yaml_of(struct: type[Struct] | None) -> dict[str, Any]:
    """Return the sample in a Struct's docstring, {} where it has none."""
    text = cleandoc(struct.__doc__ or "").partition("\n\n")[2] if struct else ""
    if not YAML.match(text):
        return {}
    (node,) = load(text, file=struct.__name__ if struct else "")
    return dict(node.value)


def _lay(document: dict[str, Any], above: Topic, topic: Topic) -> None:
    """Put the sample of what lies on the way where it belongs, as far as the example needs it."""
    sample = yaml_of(above.holds)
    word = next(iter(sample), "")
    if word not in above.words:
        return
    at = len(above.words) - 1 - above.words[::-1].index(word)
    shows = _has(sample, topic.words[at:])
    # Its neighbours alone may be another mode's, as options of a bond are; of an item some are required.
    is_beside = above is topic.above and not above.is_list and not shows
    if above.holds is Interface and topic.words[1:] and (topic.holds or not shows):
        sample = {word: [{key: one[key] for key in ALWAYS} for one in sample[word]]}
    elif at and (is_beside or _has(document, topic.words)):
        return
    _opened(document, above.way[:at])[word] = sample[word]


def _opened(document: dict[str, Any], way: Sequence[Topic]) -> dict[str, Any]:
    """Return the mapping that a way leads to; of a list its first item."""
    found: Any = document
    for topic in way:
        found = found.setdefault(topic.words[-1], [{}] if topic.is_list else {})
        found = found[0] if isinstance(found, list) else found
    assert isinstance(found, dict)
    return found


def _has(data: Any, words: Sequence[str]) -> bool:
    """Whether a key is written, in whichever item of the lists on the way."""
    if isinstance(data, list):
        return any(_has(one, words) for one in data)
    return not words or (isinstance(data, dict) and words[0] in data and _has(data[words[0]], words[1:]))


def _in_mode(document: dict[str, Any], topic: Topic) -> dict[str, Any]:
    """Give a section a mode that knows all that stands in it."""
    section = document["interfaces"][0].get(topic.kind.section, {}) if topic.kind else {}
    attrs = (*topic.kind.attrs, *topic.kind.port_attrs) if topic.kind else ()
    written = set(_keys(section))
    known = [attr.only for attr in attrs if attr.only and attr.name in written]
    if known and section.get("mode") not in (both := frozenset.intersection(*known)):
        section["mode"] = min(both)
    return document


def _keys(data: Any) -> Iterator[str]:
    """Yield all keys within some data."""
    for key, inner in data.items() if isinstance(data, dict) else ():
        yield key
        yield from _keys(inner)
    for one in data if isinstance(data, list) else ():
        yield from _keys(one)


def _value(topic: Topic) -> Any:
    """Return a value that a property may have, None where nobody says one."""
    if not topic.struct or not topic.field or not topic.takes or topic.holds:
        return None
    told = meaning.sample(topic.struct, topic.field.name)
    usual = meaning.default(topic.struct, topic.field.name)
    inner = meaning.item(topic.takes)
    if told is None:
        told = _made(inner or topic.takes, usual)
    return [told] if inner and told is not None else told


def _made(kind: Type, usual: Any) -> Any:
    """Return a value of a type: of a switch and of words one that is not the usual."""
    lax: Any = kind.cls if isinstance(kind, inspect.CustomType) else None
    if lax is None:
        return None
    if lax.plain is bool:
        return not usual
    if issubclass(lax, LaxInt):
        return usual or max(lax.least or 0, 1)
    if issubclass(lax, LaxEnum):
        return next((word for word in lax.words.values() if word != usual), None)
    return FORMS.get(lax.form) if issubclass(lax, Form) else None
