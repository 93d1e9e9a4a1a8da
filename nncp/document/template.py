"""What a desired state refers to: `{{ capture.NAME.PATH }}` and `{{ values.NAME }}`.

A text that is one reference and nothing else becomes what it refers to, a list or a mapping too; others, with
text around them, become text. `{{ "{{" }}` is two braces.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from nncp.document.capture import CAPTURE, Path, Wrong, path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nncp.document.source import Step

VALUES = "values"
BRACES = re.compile(r"\{\{|\}\}")
QUOTED = re.compile(r'\{\{\s*"([^"]*)"\s*\}\}')

Piece: TypeAlias = "str | Path"


def pieces(text: str) -> list[Piece]:
    """Return a text's parts: what stands as it is, and the paths that it refers to.

    Raises:
        Wrong: a reference is not closed, or is none.

    """
    return list(_pieces(text))


def _pieces(text: str) -> Iterator[Piece]:
    at = 0
    while found := BRACES.search(text, at):
        start = found.start()
        if at < start:
            yield text[at:start]
        if found[0] == "}}":
            raise Wrong("no {{ stands before it", start)
        if quoted := QUOTED.match(text, start):
            yield quoted[1]
            at = quoted.end()
            continue
        closed = BRACES.search(text, start + 2)
        if closed is None:
            raise Wrong("the reference is not closed", start, "close it with }}")
        if closed[0] == "{{":
            raise Wrong("a reference stands in another one", closed.start())
        yield _reference(text[start + 2 : closed.start()], start + 2)
        at = closed.end()
    if at < len(text):
        yield text[at:]


def _reference(inner: str, at: int) -> Path:
    words = [(word[0], at + word.start()) for word in re.finditer(r"\S+", inner)]
    if not words:
        raise Wrong("the reference is empty", at, "{{ capture.NAME.interfaces.0.name }}, say")
    if len(words) > 1:
        raise Wrong("a reference has one path", words[1][1], "write a reference for each")
    path = path_of(*words[0])
    least = {CAPTURE: 3, VALUES: 2}.get(path.steps[0])
    if least is None:
        raise Wrong(f"only captures and values can be referred to, not {path}", path.at)
    if len(path.steps) < least:
        raise Wrong(f"a path has to follow {path}", path.at)
    return path


def filled(
    value: Any, referred: Callable[[Path], Any], failed: Callable[[tuple[Step, ...], Wrong], None]
) -> Any:
    """Return plain data with what its texts refer to.

    Args:
        value: the data.
        referred: returns what a path leads to; raises `Wrong`.
        failed: is told of what is wrong, with its path; the text stays as it is.

    """

    def fill(value: Any, path: tuple[Step, ...]) -> Any:
        if isinstance(value, dict):
            return {key: fill(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [fill(item, (*path, at)) for at, item in enumerate(value)]
        if not isinstance(value, str) or ("{{" not in value and "}}" not in value):
            return value
        try:
            return _text(value, referred)
        except Wrong as wrong:
            failed(path, wrong)
            return value

    return fill(value, ())


def _text(text: str, referred: Callable[[Path], Any]) -> Any:
    found = pieces(text)
    alone = pieces(text.strip())
    if len(alone) == 1 and isinstance(alone[0], Path):
        (path,) = (piece for piece in found if isinstance(piece, Path))  # with its place in the whole text
        return referred(path)
    return "".join(piece if isinstance(piece, str) else _scalar(piece, referred(piece)) for piece in found)


def _scalar(path: Path, value: Any) -> str:
    if isinstance(value, dict | list) or value is None:
        what = "nothing" if value is None else "a list" if isinstance(value, list) else "a mapping"
        raise Wrong(f"{path} is {what}, and text stands around it", path.at, "let it stand alone")
    return str(value).lower() if isinstance(value, bool) else str(value)
