"""One document as it could be read, and where in its text each property was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct, field

from nncp.document.source import Node, Step
from nncp.document.state import Interface, State
from nncp.errors import Error

if TYPE_CHECKING:
    from nncp.errors import Place


Path: TypeAlias = "tuple[Step, ...]"


class Left(dict[Path, tuple[int, ...]]):
    """By the path of a list that lost wrong items, which are left."""


class Part(Struct, frozen=True):
    """What could be read of one document.

    Args:
        node: the document as it is written.
        state: all but the interfaces.
        interfaces: those that could be read, by their index in the document.
        errors: what is wrong with the rest.
        left: which items are left of lists that lost wrong ones.

    """

    node: Node
    state: State
    interfaces: dict[int, Interface]
    errors: list[Error]
    left: Left = field(default_factory=Left)

    def error(self, message: str, *path: Step, key: bool = False, subject: str = "", hint: str = "") -> Error:
        """Return an error about a property, by its path in what was read."""
        return self.node.error(message, *self.written(*path), key=key, subject=subject, hint=hint)

    def place(self, *path: Step) -> Place:
        """Return where a property stands in the text."""
        return self.node.place(*self.written(*path))

    def depth(self, *path: Step) -> int:
        """Return how many steps of a path are written in this document."""
        raw: Any = self.node.value
        for number, step in enumerate(self.written(*path)):
            raw = _below(raw, step)
            if raw is None:
                return number
        return len(path)

    def written(self, *path: Step) -> tuple[Step, ...]:
        """Return a path as it is written: with the other name of a key that has two, and all list items."""
        raw, read = self.node.value, self._read(path)
        out, kept = list[Step](), list[Step]()  # as they are written, and with the numbers of what is left
        for at, step in enumerate(path):
            word, number = step, step
            if at <= 1 and path[0] == "interfaces":
                pass  # an interface keeps its number, and has been found
            elif isinstance(step, int):
                items = self.left.get(tuple(kept), ())
                read = read[step] if isinstance(read, tuple) and step < len(read) else None
                word = items[step] if step < len(items) else step
            else:
                word, read = _spelled(read, step, raw)
                number = word
            out.append(word)
            kept.append(number)
            raw = _below(raw, word)
        return tuple(out)

    def _read(self, path: tuple[Step, ...]) -> Any:
        if path[:1] != ("interfaces",):
            return self.state
        return self.interfaces.get(path[1]) if len(path) > 1 and isinstance(path[1], int) else None


def _below(raw: Any, step: Step) -> Any:
    if isinstance(raw, dict):
        return raw.get(step)
    return raw[step] if isinstance(raw, list) and isinstance(step, int) and step < len(raw) else None


def _spelled(read: Any, step: str, raw: Any) -> tuple[str, Any]:
    """Return which of its names a key has in the text, and what was read of it."""
    if not isinstance(read, Struct):
        return step, None
    words = dict(zip(read.__struct_fields__, read.__struct_encode_fields__, strict=True))
    name = next((name for name, word in words.items() if word == step), None)
    if name is None:
        return step, None
    others = (words[second] for second, first in getattr(read, "aliases", {}).items() if first == name)
    found = step
    if isinstance(raw, dict) and step not in raw:
        found = next((other for other in others if other in raw), step)
    return found, getattr(read, name)
