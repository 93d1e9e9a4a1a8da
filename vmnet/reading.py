"""From a document's plain data to a Struct, with every error at once and each at its place."""

from __future__ import annotations

import copy
import difflib
import re
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.document.source import Node
    from nncp.errors import Error

T = TypeVar("T")
Path: TypeAlias = "tuple[str | int, ...]"
"""Keys and indices from the top of a document."""

_WHERE = re.compile(r"(.*?)(?: - at `\$(.*)`)?\Z", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`")


class Fault(Struct, frozen=True):
    """One thing that is wrong, before it has a place: what, and where below the thing that is read."""

    message: str
    path: Path = ()
    hint: str = ""
    key: bool = False
    """Whether the key is at fault rather than the value."""

    def below(self, *under: str | int) -> Fault:
        """Return this fault as seen from further up in the document."""
        return Fault(self.message, (*under, *self.path), self.hint, self.key)

    def is_within(self, other: Fault) -> bool:
        """Whether this is about a part of what the other is about."""
        return self.path[: len(other.path)] == other.path

    def error(self, node: Node, *, subject: str = "") -> Error:
        """Return the error a user sees, at its place in the document that `node` is."""
        return node.error(self.message, *self.path, key=self.key, hint=self.hint, subject=subject)


def read(value: Any, type_: type[T], *, known: tuple[str, ...] = ()) -> tuple[T | None, list[Fault]]:
    """Convert `value` and list everything that stands in the way.

    msgspec stops at the first fault, so the fault is taken out of a copy and it is asked again. `known` are
    further names to propose for a misspelt key. The first answer is None when nothing sensible is left.
    """
    rest = copy.deepcopy(value)
    faults: list[Fault] = []
    tries = 0
    for _ in range(100):
        try:
            return msgspec.convert(rest, type_), faults
        except msgspec.ValidationError as error:
            fault = _fault(str(error), type_, known, rest)
            if faults and faults[-1].path == fault.path:  # what was put there does not fit either
                tries += 1
            else:
                tries = 0
                faults.append(fault)
            if not _cut(rest, fault.path, tries):
                return None, faults
    return None, faults


def _fault(text: str, type_: Any, known: tuple[str, ...], value: Any) -> Fault:
    found = _WHERE.match(text)
    message, where = (found[1], found[2] or "") if found else (text, "")
    path = list(_steps(where.partition("[...]")[0], value))  # below that is a key of any name, not told
    if unknown := _UNKNOWN.match(message):
        key = unknown[1]
        names = [*_names(type_, path), *known]
        close = difflib.get_close_matches(key, names, 1, 0.6)
        hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(sorted(names))}"
        return Fault(f"unknown field {key}", (*path, key), hint, key=True)
    return Fault(message[:1].lower() + message[1:].replace("`", ""), tuple(path))


def _steps(where: str, value: Any) -> Iterator[str | int]:
    """Yield the keys and indices of msgspec's path into `value`: a key may have dots and brackets itself."""
    while where:
        if where[0] == "[":
            number, _, where = where[1:].partition("]")
            step: str | int = int(number)
        else:
            rest = where[1:]
            keys: list[str] = [key for key in value if f"{rest}.".startswith((f"{key}.", f"{key}["))]
            step = max(keys, key=len)
            where = rest.removeprefix(step)
        value = value[step]
        yield step


def _names(type_: Any, path: list[str | int]) -> list[str]:
    """The field names of the Struct that a path leads to."""
    info = msgspec.inspect.type_info(type_)
    for step in path:
        info = _inner(info, step)
    info = _plain(info)
    return (
        [field.encode_name for field in info.fields] if isinstance(info, msgspec.inspect.StructType) else []
    )


def _inner(info: msgspec.inspect.Type, step: str | int) -> msgspec.inspect.Type:
    info = _plain(info)
    if isinstance(info, msgspec.inspect.StructType):
        return next((f.type for f in info.fields if f.encode_name == step), msgspec.inspect.AnyType())
    if isinstance(info, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        return info.item_type
    return msgspec.inspect.AnyType()


def _plain(info: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """The Struct or list of an optional type."""
    if isinstance(info, msgspec.inspect.UnionType):
        return next((t for t in info.types if not isinstance(t, msgspec.inspect.NoneType)), info)
    return info


FILLERS: tuple[Any, ...] = ({}, "", 0)
"""One of these fits into any list that there is."""


def _cut(value: Any, path: Path, tries: int) -> bool:
    """Take what is at `path` out of `value`; a list's element is emptied, so others keep their index."""
    if not path or tries == len(FILLERS):
        return False
    *way, last = path
    for step in way:
        value = value[step]
    if isinstance(last, int):
        value[last] = copy.copy(FILLERS[tries])
    else:
        del value[last]
    return True
