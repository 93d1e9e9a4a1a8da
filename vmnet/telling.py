"""Errors as a person reads them on a terminal: the sentence, the place with a caret, the path, the hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.errors import Error, Place


def told(error: Error) -> str:
    """Return all errors that travel together, a block each."""
    return "\n".join("\n".join(_block(each)) for each in error)


def _block(error: Error) -> Iterator[str]:
    yield f"error: {error.message}"
    about = f"  ({error.subject})" if error.subject else ""
    if error.where is not None:
        yield f"  --> {error.where}  {error.path}{about}"
        yield from _excerpt(error.where)
    elif error.path or about:
        yield f"  --> {error.path}{about}"
    if error.hint:
        yield f"  hint: {error.hint}"


def _excerpt(place: Place) -> Iterator[str]:
    if place.text.strip():
        indent = len(place.text) - len(place.text.lstrip())
        yield f"   | {place.text.strip()}"
        yield f"   | {' ' * (place.column - 1 - indent)}{'^' * place.width}"
