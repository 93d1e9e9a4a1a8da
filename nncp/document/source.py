"""YAML 1.2 and JSON text to plain data, with the place of every key and value.

libyaml parses; the meaning of a plain scalar is YAML 1.2's core schema, not libyaml's own 1.1: `yes`,
`off` and `52:54:00:12:34:56` are text, `0o17` is 15 and `017` is 17 (YAML 1.2.2, section 10.3.2).
Data is built from the event stream, which is several times cheaper than a node tree. The tree is composed
from the same text by the same parser only when somebody asks for a place, that is, when an error is told.
"""

from __future__ import annotations

import re
from itertools import pairwise, takewhile
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from yaml import MappingNode, ScalarNode, SequenceNode, YAMLError
from yaml._yaml import CParser
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from nncp.document.values import Reader
from nncp.errors import Error, Place, raise_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml import Mark
    from yaml import Node as Tree

__all__ = ["Node", "Step", "Text", "decoded", "load", "path_text"]

Step: TypeAlias = "str | int"

# What libyaml counts as a line break, so that our lines are numbered as its marks are.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
PLAIN_KEY = re.compile(r"[\w-]+")
# JSON escapes characters beyond U+FFFF as two surrogates, which YAML does not know (RFC 8259, section 7).
SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


class Text:
    """A file's text: finds places in it, and composes its node trees when the first one is asked for."""

    __slots__ = ("_lines", "_trees", "content", "file")

    def __init__(self, content: str, *, file: str) -> None:
        self.content = content
        self.file = file
        self._lines: list[str] | None = None
        self._trees: list[Tree | None] | None = None

    @property
    def lines(self) -> list[str]:
        """The lines without their ends."""
        if self._lines is None:
            self._lines = LINE_BREAK.split(self.content)
        return self._lines

    @property
    def trees(self) -> list[Tree | None]:
        """The node tree of each document in the stream."""
        if self._trees is None:
            self._trees = list(_compose(self.content))
        return self._trees

    def place(self, line: int, column: int, *, width: int = 1) -> Place:
        """Return the place of a 0-based line and column."""
        text = self.lines[line] if line < len(self.lines) else ""
        return Place(self.file, line + 1, column + 1, text, max(1, width))

    def place_at(self, index: int) -> Place:
        """Return the place of a character, counted from the start of the text."""
        before = LINE_BREAK.split(self.content[:index])
        return self.place(len(before) - 1, len(before[-1]))

    def place_of(self, tree: Tree) -> Place:
        """Return the place of a scalar, or of the start of a mapping or list."""
        start, end = tree.start_mark, tree.end_mark
        if not isinstance(tree, ScalarNode):
            return self.place(start.line, start.column)
        last = end.column if end.line == start.line else len(self.lines[start.line])
        return self.place(start.line, start.column, width=last - start.column)


class Node:
    """One document, or a part of one: plain data that knows where in its file it was written."""

    __slots__ = ("_index", "_text", "path", "subject", "value")

    def __init__(
        self, value: Any, *, text: Text, index: int, path: tuple[Step, ...] = (), subject: str = ""
    ) -> None:
        self.value = value
        self.path = path
        self.subject = subject  # the interface that this is a part of
        self._text = text
        self._index = index

    def __repr__(self) -> str:
        return f"Node({self.value!r}, file={self.file!r}, path={path_text(*self.path)!r})"

    @property
    def file(self) -> str:
        """The name of the file, as errors print it."""
        return self._text.file

    def at(self, *path: Step) -> Node:
        """Return a part of this node; KeyError, IndexError or TypeError when it is not there."""
        value = self.value
        for step in path:
            value = value[step]
        return self._like(value, path=self.path + path, subject=self._subject(path))

    def replaced(self, value: Any) -> Node:
        """Return this node with another value, which keeps the places of the text it came from."""
        return self._like(value, path=self.path, subject=self.subject)

    def _like(self, value: Any, *, path: tuple[Step, ...], subject: str) -> Node:
        return Node(value, text=self._text, index=self._index, path=path, subject=subject)

    def place(self, *path: Step) -> Place:
        """Return where the value at `path` stands; of what was not written, the nearest thing around it."""
        return self._place(path, key=False)

    def key_place(self, *path: Step) -> Place:
        """Return where the key at `path` stands; for a list's item, the item."""
        return self._place(path, key=True)

    def error(self, message: str, *path: Step, key: bool = False, subject: str = "", hint: str = "") -> Error:
        """Return an error about the value (or, `key`, the key) at `path`."""
        return Error(
            message,
            path=path_text(*self.path, *path),
            subject=subject or self._subject(path),
            hint=hint,
            where=self._place(path, key=key),
        )

    def _place(self, path: tuple[Step, ...], *, key: bool) -> Place:
        tree = self._text.trees[self._index]
        if tree is None:  # an empty document
            return self._text.place(0, 0)
        key_tree = tree
        for step in self.path + path:
            found = _step(tree, step)
            if found is None:  # not written: what should hold it is the nearest thing that was
                return self._text.place_of(key_tree)
            key_tree, tree = found
        # A value that was left out has no text of its own to point at, but its key has.
        empty = tree.start_mark.index == tree.end_mark.index
        return self._text.place_of(key_tree if key or empty else tree)

    def _subject(self, path: tuple[Step, ...]) -> str:
        """Return the name of the interface that `path` leads into."""
        value = self.value
        for step, after in pairwise(path):
            value = value.get(step) if isinstance(value, dict) else None
            if (
                step == "interfaces"
                and isinstance(value, list)
                and isinstance(after, int)
                and after < len(value)
            ):
                interface = value[after]
                name = interface.get("name") if isinstance(interface, dict) else None
                return name if isinstance(name, str) else ""
        return self.subject


def load(text: str, *, file: str) -> list[Node]:
    """Read a stream of YAML 1.2 or JSON documents.

    Raises:
        Error: with all that is wrong with the text; the parser stops at the first break of the grammar.

    """
    source = Text(_without_surrogates(text.removeprefix("\ufeff")), file=file)
    reader = Reader()
    broken: list[Error] = []
    try:
        reader.read(CParser(source.content))
    except (YAMLError, UnicodeEncodeError) as error:
        broken = list(_broken(source, error))
    raise_all([*_misread(source, reader), *broken])
    return [Node(value, text=source, index=index) for index, value in enumerate(reader.documents)]


def decoded(raw: bytes, *, file: str) -> str:
    """Return the text of a file, or raise an Error that names the first byte that is not UTF-8."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        text = Text(raw[: error.start].decode("utf-8"), file=file)
        place = text.place_at(error.start)
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise Error(message, where=place, hint="save the file as UTF-8") from None


def path_text(*path: Step) -> str:
    """Return a path as a user would write it: `interfaces[1].vlan.id`."""
    out = ""
    for step in path:
        if isinstance(step, int):
            out += f"[{step}]"
        elif PLAIN_KEY.fullmatch(step):
            out += f".{step}" if out else step
        else:
            out += f'["{step}"]'
    return out


class _Composer(CParser):
    """libyaml's composer without resolution: the trees serve places, the values come from the events."""

    def resolve(self, _kind: type[Tree], _value: str | None, _implicit: object) -> str:
        return ""

    def descend_resolver(self, _node: Tree, _index: object) -> None:
        return

    def ascend_resolver(self) -> None:
        return


def _compose(content: str) -> Iterator[Tree | None]:
    composer = _Composer(content)
    while composer.check_node():
        yield composer.get_node()


def _step(tree: Tree, step: Step) -> tuple[Tree, Tree] | None:
    """Return the key and the value one step down, a list's item being its own key."""
    if isinstance(tree, MappingNode):
        return next(((key, value) for key, value in tree.value if key.value == step), None)
    if isinstance(tree, SequenceNode) and isinstance(step, int) and step < len(tree.value):
        return tree.value[step], tree.value[step]
    return None


def _without_surrogates(text: str) -> str:
    if not text.lstrip().startswith(("{", "[")) or "\\u" not in text:
        return text

    def joined(match: re.Match[str]) -> str:
        high, low = int(match[2], 16) - 0xD800, int(match[3], 16) - 0xDC00
        return f"{match[1]}\\U{0x10000 + (high << 10) + low:08x}"

    return SURROGATES.sub(joined, text)


def _misread(source: Text, reader: Reader) -> Iterator[Error]:
    """Yield the reader's findings as errors with their places."""
    for found in reader.findings:
        line = found.mark.line
        first = "" if found.first is None else f", first on line {found.first.line + 1}"
        place = source.place(line, found.mark.column + found.skip, width=found.width)
        yield Error(f"{found.message}{first}", path=path_text(*found.path), hint=found.hint, where=place)


SYNTAX_HINTS = {
    "mapping values are not allowed in this context": "quote text that holds ': ', or mend the indentation",
    "could not find expected ':'": "a key needs a colon and a space after it",
    "did not find expected key": "keys of one mapping stand in one column",
    "did not find expected '-' indicator": "items of one list stand in one column",
    "found character that cannot start any token": "quote a value that starts with this character",
    "found unexpected end of stream": "a quote or a bracket is not closed",
    "exceeded maximum nesting depth": "a thousand levels are the most that can be read",
}


def _broken(source: Text, error: YAMLError | UnicodeEncodeError) -> Iterator[Error]:
    """Yield what stopped the parser: every tab that indents, else the one sentence it has."""
    mark = _mark(source, error)
    if mark is None:
        yield _not_yaml(source, error)
        return
    suspects = [*_tabs(source, mark.line, mark.column)] or [*_no_break_spaces(source, mark.line)]
    yield from suspects
    if not suspects:
        problem = getattr(error, "problem", None) or "it cannot be read"
        context = getattr(error, "context", None)
        message = problem if isinstance(error, ComposerError) else f"not YAML: {problem}"
        yield Error(
            f"{message} {context}" if context else message,
            hint=SYNTAX_HINTS.get(problem, ""),
            where=source.place(mark.line, mark.column),
        )


def _mark(source: Text, error: Exception) -> Mark | None:
    """Return where the parser's trouble is; what was opened and never closed is better shown at its start."""
    problem = getattr(error, "problem_mark", None)
    context = getattr(error, "context_mark", None)
    is_key = getattr(error, "context", None) == "while scanning a simple key"
    if context is not None and (is_key or problem is None or problem.index >= len(source.content.rstrip())):
        return cast("Mark", context)
    return cast("Mark | None", problem)


def _not_yaml(source: Text, error: YAMLError | UnicodeEncodeError) -> Error:
    """Return an error about a character that YAML does not allow anywhere."""
    if isinstance(error, UnicodeEncodeError):
        return Error("half a surrogate pair is not a character", where=source.place_at(error.start))
    character = getattr(error, "character", None)
    if not isinstance(error, ReaderError) or not isinstance(character, int):
        return Error(f"not YAML: {error}", where=source.place(0, 0))
    place = source.place_at(max(0, source.content.find(chr(character))))
    return Error(f"the control character U+{character:04X} is not allowed in YAML", where=place)


def _tabs(source: Text, line: int, column: int) -> Iterator[Error]:
    """Yield the tab that stopped the parser, and the tabs that start later lines."""
    if not any(text.startswith("\t", column) for text in source.lines[line : line + 1]):
        return
    for number, text in enumerate(source.lines[line:], start=line):
        if number == line or text.startswith("\t"):
            start = column if number == line else 0
            width = len(list(takewhile("\t".__eq__, text[start:])))
            place = source.place(number, start, width=width)
            yield Error("a tab cannot indent YAML", where=place, hint="indent with spaces")


def _no_break_spaces(source: Text, line: int) -> Iterator[Error]:
    """Yield no-break spaces in the indentation near the break: they look like spaces and are not."""
    for number in range(max(0, line - 1), min(line + 1, len(source.lines))):
        text = source.lines[number]
        indentation = text[: len(text) - len(text.lstrip())]
        if "\xa0" in indentation:
            place = source.place(number, indentation.index("\xa0"), width=indentation.count("\xa0"))
            message = "a no-break space (U+00A0) cannot indent YAML"
            yield Error(message, where=place, hint="type a space in its place")
