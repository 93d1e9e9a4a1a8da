"""A stream of YAML documents, read by libyaml: its data, its node trees, and what is wrong with it.

libyaml parses; the meaning of a plain scalar is YAML 1.2's core schema, not libyaml's own 1.1: `yes`,
`off` and `52:54:00:12:34:56` are text, `0o17` is 15 and `017` is 17 (YAML 1.2.2, section 10.3.2).
Data is built from the event stream, which is several times cheaper than a node tree. The tree is composed
from the same text by the same parser only when somebody asks for a place.
"""

from __future__ import annotations

import re
from itertools import takewhile
from typing import TYPE_CHECKING, Any, cast

from yaml import YAMLError
from yaml._yaml import CParser
from yaml.composer import ComposerError
from yaml.reader import ReaderError

from nncp.document.source import Text, path_text
from nncp.document.values import Reader
from nncp.errors import Error, raise_all

if TYPE_CHECKING:
    from collections.abc import Iterator

    from yaml import Mark
    from yaml import Node as Tree

# JSON escapes characters beyond U+FFFF as two surrogates, which YAML does not know (RFC 8259, section 7).
SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


def read(text: str, *, file: str) -> tuple[Text, list[Any]]:
    """Return the text as the parser has it, and each document's data.

    Raises:
        Error: with all that is wrong with the text; the parser stops at the first break of the grammar.

    """
    source = Text(_without_surrogates(text), file=file)
    reader = Reader()
    broken: list[Error] = []
    try:
        reader.read(CParser(source.content))
    except (YAMLError, UnicodeEncodeError) as error:
        broken = list(_broken(source, error))
    raise_all([*_misread(source, reader), *broken])
    return source, reader.documents


class _Composer(CParser):
    """libyaml's composer without resolution: the trees serve places, the values come from the events."""

    def resolve(self, _kind: type[Tree], _value: str | None, _implicit: object) -> str:
        return ""

    def descend_resolver(self, _node: Tree, _index: object) -> None:
        return

    def ascend_resolver(self) -> None:
        return


def composed(content: str) -> Iterator[Tree | None]:
    """Yield the node tree of each document, None for an empty one, as far as the grammar holds."""
    composer = _Composer(content)
    try:
        while composer.check_node():
            yield composer.get_node()
    except YAMLError:  # JSON that YAML's grammar does not know as such
        return


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
