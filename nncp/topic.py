"""What a path names in the schema of documents, by whichever of its words somebody writes.

`interfaces.bond.options.miimon`, `link-aggregation.options.miimon`, `interfaces[0].bond.options.miimon` are
one thing: lists have no numbers here, and a type's name is as good as its section's. All of it is looked up
in the Structs and in the interface types that are handed in.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.document.complaints import did_you_mean
from nncp.document.meaning import Field, Type, fields, first_name, item, plain, struct_in, summary, word
from nncp.document.meaning import meaning as sentence
from nncp.document.state import Interface, State, form
from nncp.errors import Error, ErrorKind
from nncp.kinds.kind import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

WORD = re.compile(r'\["([^"]+)"\]|\[[^\]]*\]|([^.\[\]\s]+)')
AROUND = ("spec", "desiredState", "desired")
"""What a policy has around a document, as errors name it."""
FEW = 3
"""So many places of a word make a hint; more would hide what is meant."""


class Topic(Struct, frozen=True):
    """What a path leads to: a document, one of its properties, or an interface type.

    Args:
        holds: the Struct of what is written there, or of each item of a list; None of a leaf.
        above: what it is a property of.
        struct: the Struct that it is a property of.
        field: its field in that one.
        kind: the interface type that is named, or in whose section it is.

    """

    holds: type[Struct] | None = State
    above: Topic | None = None
    struct: type[Struct] | None = None
    field: Field | None = None
    kind: Kind | None = None

    @property
    def way(self) -> tuple[Topic, ...]:
        """What lies on the way from a document to it, itself included."""
        return (*self.above.way, self) if self.above else ()

    @property
    def words(self) -> tuple[str, ...]:
        """The keys that lead to it, without the numbers of lists."""
        return tuple(one.field.encode_name for one in self.way if one.field)

    @property
    def path(self) -> str:
        """The path to it: lists of mappings have brackets, as far as it goes on behind them."""
        words = [f"{one.field.encode_name}{'[]' * one.is_list}" for one in self.way if one.field]
        return ".".join(words).removesuffix("" if self.is_type else "[]")

    @property
    def takes(self) -> Type | None:
        """What may be written there, besides null."""
        return plain(self.field.type) if self.field else None

    @property
    def is_list(self) -> bool:
        """Whether it is a list of mappings."""
        return bool(self.field and self.holds and item(self.field.type))

    @property
    def is_type(self) -> bool:
        """Whether it is an interface type, as a whole."""
        return self.kind is not None and len(self.way) == 1

    @property
    def meaning(self) -> str:
        """What it means, in a sentence, or "" where nobody says it."""
        if self.is_type and self.kind:
            return f"An interface of type {self.kind.type}, which has no section of its own."
        if self.struct and self.field:
            return sentence(self.struct, self.field)
        return summary(self.holds) if self.holds else ""


def topic_of(path: str, kinds: Mapping[str, Kind]) -> Topic:
    """Return what a path leads to.

    Args:
        path: as somebody writes it; "" is a document.
        kinds: the interface types that a document may name.

    Raises:
        Error: it leads nowhere; with a hint at what is meant.

    """
    topic, words = Topic(), [quoted or bare for quoted, bare in WORD.findall(path) if quoted or bare]
    while words and words[0] in AROUND:
        words = words[1:]
    while words:
        further = _ways(topic, kinds)
        # Of all keys only 802.1x has a point.
        count = next((count for count in (1, 2) if ".".join(words[:count]) in further), 0)
        if not count:
            raise _unknown(words[0], topic, further, kinds)
        topic, words = further[".".join(words[:count])], words[count:]
    return _section(topic) or topic


def keys(topic: Topic, kinds: Mapping[str, Kind]) -> dict[str, Topic]:
    """Return what may stand in a mapping, each once: of an interface all sections that types have."""
    found = {} if topic.holds is None else _properties(topic, topic.holds)
    if topic.holds is not Interface or topic.is_type:
        return found
    types = {name: _of_type(topic, name, kind) for name, kind in kinds.items()}
    sections = {
        section: _properties(types[name], types[name].holds or Interface)[section]
        for own in (False, True)  # a section is its own type's, whoever else may have it
        for name, kind in kinds.items()
        for section in ((kind.section,) if own else kind.also)
        if section
    }
    return {**found, **sections}


def everywhere(kinds: Mapping[str, Kind]) -> Iterator[Topic]:
    """Yield all that a path may lead to, each once, those above before what they hold."""
    waiting = [Topic()]
    while waiting:
        topic = waiting.pop(0)
        yield topic
        waiting += keys(topic, kinds).values()


def _properties(topic: Topic, struct: type[Struct], *, second: bool = False) -> dict[str, Topic]:
    """Return the properties of a Struct by their names, or by their second ones."""
    found = {field.name: field for field in fields(struct)}
    return {
        field.encode_name if second else word(struct, first): Topic(
            struct_in(found[first].type), topic, struct, found[first], topic.kind
        )
        for field in found.values()
        if ((first := first_name(struct, field.name)) != field.name) == second
    }


def _ways(topic: Topic, kinds: Mapping[str, Kind]) -> dict[str, Topic]:
    """Return what may follow a word: keys by either of their names, types, and what may be left out."""
    if topic.holds is None:
        return {}
    found = {**_properties(topic, topic.holds, second=True), **keys(topic, kinds)}
    if topic.holds is State:
        return {**_ways(found["interfaces"], kinds), **found}
    if section := _section(topic):
        return {**found, **_ways(section, kinds)}
    if topic.holds is Interface and not topic.is_type:
        return {**found, **{name: _of_type(topic, name, kind) for name, kind in kinds.items()}}
    return found


def _of_type(interfaces: Topic, name: str, kind: Kind) -> Topic:
    return Topic(form(name, kind), interfaces.above, interfaces.struct, interfaces.field, kind)


def _section(topic: Topic) -> Topic | None:
    """Return the section of an interface type, None of one without and of what is no type."""
    if not topic.is_type or not topic.kind or not topic.kind.section or not topic.holds:
        return None
    return _properties(topic, topic.holds)[topic.kind.section]


def _unknown(wrong: str, topic: Topic, further: Mapping[str, Topic], kinds: Mapping[str, Kind]) -> Error:
    where = (_section(topic) or topic).path
    message = f"unknown key {wrong}" + (f" in {where}" if where else "")
    if not further:
        message = f"{where} has no keys, hence no {wrong}"
    homes = [one.path for one in everywhere(kinds) if one.words[-1:] == (wrong,)]
    near = f"did you mean {' or '.join(homes)}?" if 0 < len(homes) <= FEW else did_you_mean(wrong, further)
    return Error(message, kind=ErrorKind.USAGE, hint=near)
