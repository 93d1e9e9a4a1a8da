"""YAML 1.2 and JSON text to plain data, with the place of every key and value.

Data is read at once; where something stands is found only when somebody asks for it, that is, when an error
is told. JSON is read as what it is, since most of it comes from programs, and to YAML's reader only what is
wrong with it is left: it has the places.
"""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any, TypeAlias

from nncp.errors import Error, Place

__all__ = ["Node", "Step", "Text", "decoded", "load", "path_text"]

Step: TypeAlias = "str | int"
Tree: TypeAlias = Any
"""yaml.Node, whose stubs do not know its `id`."""

# What libyaml counts as a line break, so that our lines are numbered as its marks are.
LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
PLAIN_KEY = re.compile(r"[\w-]+")
# How many lists and mappings may stand in each other: the deepest property of a document is the ninth.
DEEPEST = 64
# How many characters a number may have: int() refuses more digits than 4300, and str() what has that many.
LONGEST_NUMBER = 1000
# What JSON allows and YAML does not: characters that are not printed, halves of surrogate pairs. Beyond ASCII
# there are more, which YAML's reader knows.
NO_YAML = re.compile(r"[^\t\n\r -~]|\\u[dD]")
# A longer key needs a question mark in YAML (YAML 1.2.2, section 7.4).
LONGEST_KEY = 1000


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
            from nncp.document import stream  # noqa: PLC0415

            self._trees = list(stream.composed(self.content))
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
        if tree.id != "scalar":
            return self.place(start.line, start.column)
        last = end.column if end.line == start.line else len(self.lines[start.line])
        return self.place(start.line, start.column, width=last - start.column)

    def place_in(self, tree: Tree, at: int) -> Place:
        """Return the place of a character of a scalar, or of the scalar where it is written otherwise.

        What folding changes is blanks alone (YAML 1.2.2, section 8.1.3): the others are counted.
        """
        if tree.id != "scalar":
            return self.place_of(tree)
        start, raw = tree.start_mark.index, self.content[tree.start_mark.index : tree.end_mark.index]
        offset = len(raw.partition("\n")[0]) if tree.style in {"|", ">"} else int(bool(tree.style))
        signs = [number for number in range(offset, len(raw)) if not raw[number].isspace()]
        before = len("".join(tree.value[:at].split()))
        same = zip("".join(tree.value[: at + 1].split()), signs, strict=False)
        if before >= len(signs) or any(raw[number] != sign for sign, number in same):
            return self.place_of(tree)
        return self.place_at(start + signs[before])


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

    def wrong(self, message: str, *path: Step, at: int, hint: str = "") -> Error:
        """Return an error about one character of the text at `path`, counted from 0."""
        error = self.error(message, *path, hint=hint)
        tree = self._trees(path)[1]
        if tree is not None:
            error.where = self._text.place_in(tree, at)
        return error

    def _place(self, path: tuple[Step, ...], *, key: bool) -> Place:
        key_tree, tree = self._trees(path)
        if key_tree is None:  # an empty document
            return self._text.place(0, 0)
        if tree is None:
            return self._text.place_of(key_tree)
        # A value that was left out has no text of its own to point at, but its key has.
        empty = tree.start_mark.index == tree.end_mark.index
        return self._text.place_of(key_tree if key or empty else tree)

    def _trees(self, path: tuple[Step, ...]) -> tuple[Tree | None, Tree | None]:
        """Return the trees of a key and its value; of what is not written, what should hold it and None."""
        trees = self._text.trees
        tree: Tree = trees[self._index] if self._index < len(trees) else None
        key_tree = tree
        for step in self.path + path if tree is not None else ():
            found = _step(tree, step)
            if found is None:
                # What a text refers to is not written: the reference is.
                return tree if tree.id == "scalar" and tree.value else key_tree, None
            key_tree, tree = found
        return key_tree, tree

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
    """Read a stream of YAML 1.2 documents, or a JSON document.

    Raises:
        Error: with all that is wrong with the text; the parser stops at the first break of the grammar.

    """
    content = text.removeprefix("\ufeff")
    source = Text(content, file=file)
    try:
        documents = [_json(content)]
    except (ValueError, RecursionError):
        from nncp.document import stream  # noqa: PLC0415  (it takes as long as all else here)

        source, documents = stream.read(content, file=file)
    return [Node(value, text=source, index=index) for index, value in enumerate(documents)]


def _json(text: str) -> Any:
    """Return what a JSON text says, where YAML's reader would say the same.

    Raises:
        ValueError: it would not, or the text is no JSON.
        RecursionError: it is too deep.

    """
    if not text.lstrip().startswith(("{", "[")) or NO_YAML.search(text):
        raise ValueError
    value = json.loads(
        text,
        object_pairs_hook=_mapping,
        parse_int=lambda word: int(_short(word)),
        parse_float=lambda word: float(_short(word)),
        parse_constant=_no_constant,
    )
    if _depth(value) > DEEPEST:
        raise RecursionError
    return value


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs) or any(len(key) > LONGEST_KEY for key in found):
        raise ValueError
    return found


def _short(word: str) -> str:
    if len(word) > LONGEST_NUMBER:
        raise ValueError
    return word


def _no_constant(word: str) -> Any:
    raise ValueError(word)


def _depth(value: Any) -> int:
    if not isinstance(value, dict | list) or not value:
        return int(isinstance(value, dict | list))
    return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value))


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


def _step(tree: Tree, step: Step) -> tuple[Tree, Tree] | None:
    """Return the key and the value one step down, a list's item being its own key."""
    if tree.id == "mapping":
        return next(((key, value) for key, value in tree.value if key.value == step), None)
    if tree.id == "sequence" and isinstance(step, int) and step < len(tree.value):
        return tree.value[step], tree.value[step]
    return None
