"""nmpolicy's captures: a line of text to what it takes out of a state.

    capture   := [ "capture." NAME "|" ] ( condition | path ":=" value | path )
    condition := both ( "or" both )*          both := one ( "and" one )*
    one       := path compares value | path "in" choice | "(" condition ")"
    compares  := "==" | "!=" | "<" | "<=" | ">" | ">=" | "glob"
    choice    := "(" value ( "," value )* ")" | path
    value     := path | "quoted" | word | null
    path      := step ( "." step )+

A word with a dot in it is a path, and any line of other words is the whole state, as in nmstate
(rust/src/lib/policy/token.rs). Beyond nmstate's are all comparisons but ==, `and`, `or`, brackets, and lists
in the middle of a path: `interfaces.name` of a capture is the list of its names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from nncp.document.source import LONGEST_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Both", "Capture", "Comparison", "Condition", "Either", "Path", "Word", "Wrong", "capture_of"]

TOKEN = re.compile(r'\s*(?:(==|!=|<=|>=|:=|[<>|(),])|"([^"]*)"|([^\s=!|":<>(),]+))')
ORDERS = ("<", "<=", ">", ">=")
COMPARES = ("==", "!=", *ORDERS, "glob", "in")
WORDS = ("and", "or", "glob", "in")
"""Words that mean something between others; quoted, they are values."""
DEEPEST = 16
"""How many brackets may stand in each other."""
CAPTURE = "capture"


class Wrong(Exception):
    """What is wrong with a line, and at which of its characters, counted from 0: an Error without a file."""

    def __init__(self, message: str, at: int, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.at = at
        self.hint = hint


class Path(Struct, frozen=True):
    """A way into a state, and where it begins in its line."""

    steps: tuple[str, ...]
    at: int

    def place(self, step: int) -> int:
        """Return where one of the steps begins in the line."""
        return self.at + sum(len(word) + 1 for word in self.steps[:step])

    def beyond(self, count: int) -> Path:
        """Return the path without its first steps."""
        return Path(self.steps[count:], self.place(count))

    def __str__(self) -> str:
        return ".".join(self.steps)


class Word(Struct, frozen=True):
    """A value as it is written: `text` is None for null; what is not quoted may be a number or a boolean."""

    text: str | None
    at: int
    quoted: bool = False


Value: TypeAlias = "Path | Word"


class Comparison(Struct, frozen=True):
    """What one property of an entry is compared with: several values only for `in`."""

    path: Path
    compares: str
    values: tuple[Value, ...]


class Both(Struct, frozen=True):
    """Conditions of which all have to hold."""

    parts: tuple[Condition, ...]


class Either(Struct, frozen=True):
    """Conditions of which one has to hold."""

    parts: tuple[Condition, ...]


Condition: TypeAlias = "Comparison | Both | Either"


class Capture(Struct, frozen=True):
    """What a line takes: of another capture, where `source` names one, or else of the state.

    Args:
        source: the name of the capture that is taken from, "" for the state, with its place in the line.
        path: what is looked into; None for all of it.
        condition: what entries of the list at the path's start have to fulfil.
        replacement: what the property at the path is given in each of them.

    """

    source: str = ""
    source_at: int = 0
    path: Path | None = None
    condition: Condition | None = None
    replacement: Value | None = None

    def named(self) -> Iterator[tuple[str, int]]:
        """Yield the captures that it needs, each with its place in the line."""
        if self.source:
            yield self.source, self.source_at
        for value in (*([self.replacement] if self.replacement else []), *_values(self.condition)):
            if isinstance(value, Path) and value.steps[0] == CAPTURE:
                yield value.steps[1], value.place(1)


class _Token(Struct, frozen=True):
    """A sign, or a value, and where it begins: a quoted one behind its quote."""

    sign: str
    value: Value | None
    at: int

    @property
    def word(self) -> str:
        """The word that it is between others, or its sign."""
        value = self.value
        is_word = isinstance(value, Word) and not value.quoted and value.text in WORDS
        return self.sign or (str(value.text) if is_word and isinstance(value, Word) else "")


def capture_of(line: str) -> Capture:
    """Return what a line means.

    Raises:
        Wrong: it means nothing.

    """
    tokens = list(_tokens(line))
    pipe = next((number for number, token in enumerate(tokens) if token.sign == "|"), None)
    head, rest = ([], tokens) if pipe is None else (tokens[:pipe], tokens[pipe + 1 :])
    if pipe is not None and not rest:
        raise Wrong("nothing follows the |", tokens[pipe].at, "write what is taken of the capture")
    if pipe is not None and not isinstance(rest[0].value, Path) and rest[0].sign != "(":
        raise Wrong("a path has to follow the |", rest[0].at)
    reader = _Reader(rest)
    condition = replacement = path = None
    if any(token.word in (*COMPARES, ":=") for token in rest):
        if reader.sees(":=", 1):
            path, replacement = reader.replacement()
        else:
            condition = reader.condition()
            path = next(_comparisons(condition)).path
        reader.ends()
    elif rest and isinstance(rest[0].value, Path):
        path = rest[0].value
        reader.take()
        reader.ends()
    elif odd := next((token for token in rest if isinstance(token.value, Path)), None):
        raise Wrong(f"nothing is compared with {odd.value}", odd.at, f"one of {' '.join(COMPARES)}")
    return _sourced(Capture("", 0, path, condition, replacement), head, piped=pipe is not None)


def path_of(text: str, at: int) -> Path:
    """Return a path as it is written; `Wrong` where a step of it is empty."""
    path = Path(tuple(text.split(".")), at)
    for number, step in enumerate(path.steps):
        if not step:
            raise Wrong(f"a step of {text} is empty", path.place(number), "quote it if it is no path")
        _check_length(step, path.place(number))
    return path


def _tokens(line: str) -> Iterator[_Token]:
    at, seen = 0, set[str]()
    while line[at:].strip():
        found = TOKEN.match(line, at)
        if found is None:
            raise _no_token(line, at + len(line[at:]) - len(line[at:].lstrip()))
        sign, quoted, word = found.groups()
        at = found.end()
        if sign:
            if sign in {"|", ":="} and sign in seen:
                raise Wrong(f"a second {sign}", found.start(1), "make two captures of it")
            seen.add(sign)
            yield _Token(sign, None, found.start(1))
        elif quoted is not None:
            yield _Token("", Word(quoted, found.start(2), quoted=True), found.start(2))
        else:
            yield _Token("", _value(word, found.start(3)), found.start(3))


def _value(word: str, at: int) -> Value:
    if "." in word:
        return path_of(word, at)
    _check_length(word, at)
    return Word(None if word.lower() == "null" else word, at)


def _check_length(word: str, at: int) -> None:
    if len(word) > LONGEST_NUMBER and word.removeprefix("-").isdecimal():
        raise Wrong(f"a number of more than {LONGEST_NUMBER} characters", at)


def _no_token(line: str, at: int) -> Wrong:
    sign, after = line[at], line[at + 1 : at + 2]
    if sign == '"':
        return Wrong("the quote is not closed", at)
    whole = {":": ":=", "!": "!="}.get(sign, "==")
    if not after:
        return Wrong(f"{sign} is no comparison", at, f"write {whole}")
    hint = "quote what has a colon in it" if sign == ":" else f"write {whole}"
    return Wrong(f"{sign}{after} is no comparison", at + 1, hint)


class _Reader:
    """Reads tokens one after the other."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.next = 0

    def sees(self, word: str, ahead: int = 0) -> bool:
        """Whether a token, the next one by default, is this word or sign."""
        at = self.next + ahead
        return at < len(self.tokens) and self.tokens[at].word == word

    def take(self) -> _Token:
        """Return the next token and go on."""
        self.next += 1
        return self.tokens[self.next - 1]

    def ends(self) -> None:
        """Raise when something is left."""
        if self.next == len(self.tokens):
            return
        token, before = self.tokens[self.next], self.tokens[self.next - 1]
        if token.value is not None and before.value is not None:
            raise Wrong("two values stand side by side", before.at, "quote what has blanks in it")
        raise Wrong(f"{token.word or token.value} is one too many", token.at, "join conditions by and, or")

    def condition(self, depth: int = 0) -> Condition:
        """Read conditions joined by `or`."""
        parts = [self._both(depth)]
        while self.sees("or"):
            self.take()
            parts.append(self._both(depth))
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self.sees("and"):
            self.take()
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _one(self, depth: int) -> Condition:
        if self.sees("("):
            opened = self.take()
            if depth == DEEPEST:
                raise Wrong(f"more than {DEEPEST} brackets stand in each other", opened.at)
            found = self.condition(depth + 1)
            if not self.sees(")"):
                raise Wrong("the bracket is not closed", opened.at)
            self.take()
            return found
        path, token = self._path(), self._compares()
        if token.word == "in":
            return Comparison(path, "in", tuple(self._choice(token)))
        return Comparison(path, token.word, (self._value(token),))

    def replacement(self) -> tuple[Path, Value]:
        """Read a path, `:=` and a value."""
        path = self._path()
        return path, self._value(self.take())

    def _path(self) -> Path:
        if self.next == len(self.tokens):
            raise Wrong("a path is missing at the end", self.tokens[-1].at)
        token = self.take()
        if not isinstance(token.value, Path):
            said = token.word or (token.value and token.value.text) or "null"
            raise Wrong(
                f"a path has to stand here, not {said}", token.at, "a path has a dot: interfaces.name"
            )
        return token.value

    def _compares(self) -> _Token:
        if self.next < len(self.tokens) and self.tokens[self.next].word in COMPARES:
            return self.take()
        raise Wrong("no comparison follows", self.tokens[self.next - 1].at, f"one of {' '.join(COMPARES)}")

    def _value(self, after: _Token) -> Value:
        if self.next == len(self.tokens) or self.tokens[self.next].value is None:
            raise Wrong(f"no value follows {after.word}", after.at)
        token = self.take()
        if self.next < len(self.tokens) and self.tokens[self.next].value and not self.tokens[self.next].word:
            raise Wrong("two values stand side by side", token.at, "quote what has blanks in it")
        return token.value  # type: ignore[return-value]  # it has one

    def _choice(self, after: _Token) -> Iterator[Value]:
        if not self.sees("("):
            value = self._value(after)
            if not isinstance(value, Path):
                raise Wrong("in wants values in brackets, or a path to a list", value.at, 'in ("a", "b")')
            yield value
            return
        opened = self.take()
        while True:
            yield self._value(opened)
            if self.sees(")"):
                self.take()
                return
            if not self.sees(","):
                raise Wrong("the bracket is not closed", opened.at)
            self.take()


def _comparisons(condition: Condition | None) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    elif condition is not None:
        for part in condition.parts:
            yield from _comparisons(part)


def _values(condition: Condition | None) -> Iterator[Value]:
    for test in _comparisons(condition):
        yield from test.values


def _sourced(capture: Capture, head: list[_Token], *, piped: bool) -> Capture:
    """Return a capture with what it is taken from, named before a pipe or at the start of its paths."""
    for value in _values(capture.condition):
        _check_source(value)
    _check_source(capture.replacement)
    tests = list(_comparisons(capture.condition))
    paths = [test.path for test in tests] or ([capture.path] if capture.path else [])
    sources = [path for path in paths if path.steps[0] == CAPTURE]
    if piped:
        before = head[0].value if len(head) == 1 else None
        if not isinstance(before, Path) or len(before.steps) != 2 or before.steps[0] != CAPTURE:
            at = head[0].at if head else 0
            raise Wrong("before the | stands capture and a capture's name", at, "capture.NAME | ...")
        if sources:
            raise Wrong("the | names already what is taken from", sources[0].at, "begin with interfaces, say")
        return replace(capture, source=before.steps[1], source_at=before.place(1))
    for path in sources:
        _check_source(path)
    if not sources:
        return capture
    name = sources[0].steps[1]
    for path in paths:
        if path.steps[:2] != (CAPTURE, name):
            message = f"{path} is not of capture {name} as what stands before it"
            raise Wrong(message, path.at, f"capture.{name} | ..., and leave it out behind")
    return replace(
        capture,
        source=name,
        source_at=sources[0].place(1),
        path=capture.path and capture.path.beyond(2),
        condition=_beyond(capture.condition),
    )


def _check_source(value: Value | None) -> None:
    if isinstance(value, Path) and value.steps[0] == CAPTURE and len(value.steps) < 3:
        raise Wrong("no path follows the capture's name", value.at, "capture.NAME.interfaces.0.name, say")


def _beyond(condition: Condition | None) -> Condition | None:
    """Return a condition without the capture's name at the start of its paths."""
    if isinstance(condition, Comparison):
        return replace(condition, path=condition.path.beyond(2))
    if condition is None:
        return None
    return replace(condition, parts=tuple(filter(None, map(_beyond, condition.parts))))
