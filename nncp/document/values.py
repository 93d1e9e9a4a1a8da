"""Parser events to plain data, by YAML 1.2's core schema, noting all that a document may not hold.

Refused beyond the grammar: duplicate keys, keys that are not text, `<<` (a merge key to YAML 1.1 readers,
plain text to 1.2's: whichever is meant, somebody misreads it), tags outside the core schema, no-break spaces
outside quotes, anchors that are written twice, aliases of what is still open, and aliases that multiply.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct
from yaml import Mark
from yaml.composer import ComposerError
from yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from nncp.document.source import DEEPEST, LONGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from yaml._yaml import CParser

# The stubs make marks, tags and anchors of every event optional, as only those of a document's start are.
Event: TypeAlias = Any

# How many values aliases may stand for in one stream; a document that needs more writes them out.
ALIASED = 100_000

NO_KEY: Any = object()
CORE = "tag:yaml.org,2002:"
INT = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEX = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# What the other patterns match starts with one of these; all other text is text.
NUMBER_START = frozenset("+-.0123456789")
WORDS: Mapping[str, Any] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan"),
    **{f"{sign}{inf}": float(f"{sign}inf") for sign in ("", "+", "-") for inf in (".inf", ".Inf", ".INF")},
}  # fmt: skip
TAGGED: Mapping[str, tuple[type, ...]] = {
    f"{CORE}null": (type(None),),
    f"{CORE}bool": (bool,),
    f"{CORE}int": (int,),
    f"{CORE}float": (float, int),
}


def scalar(text: str) -> Any:
    """Return what a plain scalar means in YAML 1.2's core schema; a number that is too long is text."""
    if text in WORDS:
        return WORDS[text]
    if text[0] not in NUMBER_START or len(text) > LONGEST_NUMBER:
        return text
    if INT.fullmatch(text):
        return int(text)
    if OCTAL.fullmatch(text):
        return int(text, 0)
    if HEX.fullmatch(text):
        return int(text, 16)
    return float(text) if FLOAT.fullmatch(text) else text


def is_too_long(text: str) -> bool:
    """Whether a plain scalar is a number of more characters than a document may have in one."""
    return len(text) > LONGEST_NUMBER and any(kind.fullmatch(text) for kind in (INT, OCTAL, HEX, FLOAT))


class Finding(Struct, frozen=True):
    """Something that a document may not hold, at a parser's mark, `skip` characters further on."""

    message: str
    mark: Mark
    path: tuple[str | int, ...]
    hint: str = ""
    skip: int = 0
    width: int = 1
    first: Mark | None = None


class _Open:
    """A mapping or a list that is being read: its value, and for a mapping the key that waits for a value."""

    __slots__ = ("anchor", "before", "firsts", "key", "value")

    def __init__(self, value: Any, *, anchor: str | None = None, before: int = 0) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before  # how many values the stream held before this one
        self.key: Any = NO_KEY
        self.firsts: dict[Any, Mark] | None = {} if isinstance(value, dict) else None


class Reader:
    """Reads the events of one stream into `documents`, and what is wrong with them into `findings`."""

    __slots__ = ("_aliased", "_anchors", "_open", "_plain", "_seen", "_top", "documents", "findings")

    def __init__(self) -> None:
        self.documents: list[Any] = []
        self.findings: list[Finding] = []
        self._top = _Open(self.documents)
        self._open: list[_Open] = []
        self._plain: dict[str, Any] = {}  # most plain scalars of a document occur many times
        self._anchors: dict[str, tuple[Any, int] | None] = {}  # None: the value is still open
        self._seen = 0
        self._aliased = 0

    def read(self, parser: CParser) -> None:
        """Read all events of a parser, which raises YAMLError where the grammar breaks."""
        handlers = {
            ScalarEvent: self._scalar,
            MappingStartEvent: self._start,
            SequenceStartEvent: self._start,
            MappingEndEvent: self._end,
            SequenceEndEvent: self._end,
            AliasEvent: self._alias,
            DocumentStartEvent: self._document,
        }
        while (event := parser.get_event()) is not None:
            handler = handlers.get(event.__class__)
            if handler is not None:
                handler(event)

    def _document(self, _event: Event) -> None:
        self._anchors.clear()  # an anchor is known to its own document only

    def _scalar(self, event: Event) -> None:
        self._seen += 1
        text = event.value
        if event.tag is not None:
            value = self._tagged(event)
        elif event.style:  # quoted, or a block
            value = text
        else:
            value = self._plain.get(text, NO_KEY)
            if value is NO_KEY:
                value = self._plain[text] = scalar(text)
            if "\xa0" in text:
                self._no_break_space(event)
            if is_too_long(text):
                self._find(event, f"a number of more than {LONGEST_NUMBER} characters")
        if event.anchor is not None:
            self._anchor(event, (value, 1))
        self._take(value, event)

    def _start(self, event: Event) -> None:
        self._seen += 1
        value: Any = {} if event.__class__ is MappingStartEvent else []
        if event.tag is not None:
            self._check_tag(event, f"{CORE}{'seq' if isinstance(value, list) else 'map'}")
        if event.anchor is not None:
            self._anchor(event, None)
        top = self._top
        if top.firsts is None:
            top.value.append(value)
        elif top.key is NO_KEY:
            raise ComposerError(None, None, "a list or a mapping cannot be a key", event.start_mark)
        else:
            top.value[top.key] = value
        if len(self._open) == DEEPEST:
            self._find(event, f"more than {DEEPEST} lists and mappings stand in each other")
        self._open.append(top)
        self._top = _Open(value, anchor=event.anchor, before=self._seen - 1)

    def _end(self, _event: Event) -> None:
        ended = self._top
        if ended.anchor is not None:
            self._anchors[ended.anchor] = (ended.value, self._seen - ended.before)
        self._top = self._open.pop()
        self._top.key = NO_KEY

    def _take(self, value: Any, event: Event) -> None:
        """Put a value where the reading stands: into a list, under the waiting key, or as the next key."""
        top = self._top
        if top.firsts is None:
            top.value.append(value)
        elif top.key is NO_KEY:
            top.key = self._key(value, event, firsts=top.firsts)
        else:
            top.value[top.key] = value
            top.key = NO_KEY

    def _key(self, key: Any, event: Event, *, firsts: dict[Any, Mark]) -> Any:
        if not isinstance(key, str):
            written = event.value if isinstance(event, ScalarEvent) else f"*{event.anchor}"
            message = f"a key must be text, got {written or 'nothing'}"
            self._find(event, message, hint=f'quote it: "{written}"')
            return str(key)
        if key == "<<" and isinstance(event, ScalarEvent) and not event.style:
            self._find(event, "YAML 1.2 has no merge key <<", hint="write the keys out")
        elif key in firsts:
            self._find(event, f"duplicate key {key}", step=key, first=firsts[key])
        else:
            firsts[key] = event.start_mark
        return key

    def _alias(self, event: Event) -> None:
        value, size = self._anchored(event) or (None, 1)
        self._seen += size
        self._aliased += size
        if self._aliased > ALIASED >= self._aliased - size:
            self._find(event, f"aliases repeat more than {ALIASED} values", hint="write the values out")
        self._take(value, event)

    def _anchored(self, event: Event) -> tuple[Any, int] | None:
        anchored = self._anchors.get(event.anchor)
        if anchored is None:
            here = event.anchor in self._anchors
            why = "stands inside the value that it repeats" if here else "has no anchor before it"
            self._find(event, f"alias *{event.anchor} {why}")
        return anchored

    def _anchor(self, event: Event, anchored: tuple[Any, int] | None) -> None:
        if event.anchor in self._anchors:
            hint = "give each value an anchor of its own"
            self._find(event, f"anchor &{event.anchor} is written twice", hint=hint)
        self._anchors[event.anchor] = anchored

    def _tagged(self, event: Event) -> Any:
        if event.tag in {"!", f"{CORE}str"}:
            return event.value
        value = scalar(event.value)
        if event.tag not in TAGGED:
            self._check_tag(event, "")
        elif not isinstance(value, TAGGED[event.tag]):
            tag = event.tag.removeprefix(CORE)
            self._find(event, f"{event.value!r} is not what its tag !!{tag} says")
        return value

    def _check_tag(self, event: Event, known: str) -> None:
        if event.tag not in {"!", known}:
            tag = event.tag.replace(CORE, "!!")
            self._find(event, f"unknown tag {tag}", hint="write the value without a tag", width=len(tag))

    def _no_break_space(self, event: Event) -> None:
        message = "a no-break space (U+00A0) stands outside quotes"
        skip = event.value.index("\xa0")
        self._find(event, message, hint="type a space in its place, or quote the text", skip=skip)

    def _find(self, event: Event, message: str, *, width: int | None = None, **more: Any) -> None:
        """Note what is wrong with an event, at the path where the reading stands."""
        start, end = event.start_mark, event.end_mark
        if width is None:
            width = end.column - start.column if end.line == start.line and "skip" not in more else 1
        step = more.pop("step", None)
        path = [*self._path(), *([] if step is None else [step])]
        self.findings.append(Finding(message, start, tuple(path), width=width, **more))

    def _path(self) -> Iterator[str | int]:
        """Yield the steps from the document to the value that is being read."""
        for outer in self._open[1:]:
            yield len(outer.value) - 1 if outer.firsts is None else outer.key
        if self._open:
            top = self._top
            if top.firsts is None:
                yield len(top.value)
            elif top.key is not NO_KEY:
                yield top.key
