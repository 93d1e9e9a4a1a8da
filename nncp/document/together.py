"""Several documents as one: a bond in one file and the bridge above it in another are one desired state.

Interfaces, routes and rules are numbered through. Of an interface that several documents are about, each says
what it has to say; where two say different things, both places are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, field

from nncp.document.complaints import label, shown
from nncp.document.lax import given
from nncp.document.part import Part
from nncp.document.source import path_text
from nncp.document.state import Interface, RouteRules, Routes, State
from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.document.source import Step
    from nncp.errors import Place

LISTS = {"routes": Routes, "route_rules": RouteRules}
"""The sections whose entries of all documents count."""
FREE = frozenset({"description", "interfaces", *LISTS})
"""What documents may say differently."""
HINT = "write all that concerns it in one place, or the same in both"


class Partly(Struct, frozen=True):
    """What could be read of documents, and what is wrong with the rest of them.

    Args:
        parts: each document.
        state: all but the interfaces.
        interfaces: those that could be read, numbered through.
        sources: by an interface's number, the documents that are about it, each with its index there.
        errors: in the order of their places.

    """

    parts: Sequence[Part]
    state: State
    interfaces: dict[int, Interface]
    sources: dict[int, list[tuple[Part, int]]]
    errors: list[Error] = field(default_factory=list)

    def error(self, message: str, *path: Step, key: bool = False, subject: str = "", hint: str = "") -> Error:
        """Return an error about a property, by its path in the whole."""
        part, path = self._home(path)
        return part.error(message, *path, key=key, subject=subject, hint=hint)

    def label(self, *path: Step) -> str:
        """Return a property as a sentence names it, by the names that were written."""
        part, path = self._home(path)
        return label(*part.written(*path))

    def place(self, *path: Step) -> Place:
        """Return where a property stands in its text."""
        part, path = self._home(path)
        return part.place(*path)

    def elsewhere(self, path: tuple[Step, ...], *, than: tuple[Step, ...]) -> str:
        """Return the place of `path` in brackets, where that is another document than the one of `than`."""
        is_same = self._home(path)[0] is self._home(than)[0]
        return "" if is_same else f" ({self.place(*path)})"

    def tells_of(self, error: Error) -> bool:
        """Whether an error at or below the same path has been found: what lacks there may be cut out."""
        below = (f"{error.path}.", f"{error.path}[")
        file = error.where and error.where.file
        return any(
            (other.path == error.path or other.path.startswith(below))
            and (other.where and other.where.file) == file
            for other in self.errors
        )

    def _home(self, path: tuple[Step, ...]) -> tuple[Part, tuple[Step, ...]]:
        """Return the document that a path leads into, and the path in it."""
        if path[:1] == ("interfaces",) and len(path) > 1 and isinstance(path[1], int):
            found = [(part, ("interfaces", at, *path[2:])) for part, at in self.sources.get(path[1], ())]
            # What several documents are about is told where most of it is written.
            return max(found, key=lambda home: home[0].depth(*home[1]), default=(self.parts[0], path))
        if len(path) > 2 and path[1] == "config" and isinstance(path[2], int):
            number = path[2]
            for part in self.parts:
                size = len(_entries(part.state, str(path[0]).replace("-", "_")))
                if number < size:
                    return part, (*path[:2], number, *path[3:])
                number -= size
        return next((part for part in self.parts if part.depth(*path)), self.parts[0]), path


def together(parts: Sequence[Part]) -> Partly:
    """Return documents as one, with what is wrong with each, and where two contradict each other."""
    interfaces: dict[int, Interface] = {}
    sources: dict[int, list[tuple[Part, int]]] = {}
    errors = [error for part in parts for error in part.errors]
    numbers: dict[object, int] = {}
    start = 0
    for part in parts:
        for at, interface in part.interfaces.items():
            number = numbers.setdefault((interface.scope, interface.name), start + at)
            home = sources.get(number, [])
            if home and home[-1][0] is not part:
                one = interfaces[number]
                interfaces[number], wrong = _merged(one, interface)
                errors += (_contradiction(path, home, (part, at), one, interface) for path in wrong)
                home.append((part, at))
            else:  # twice in one document is for the rules to tell
                interfaces[start + at] = interface
                sources[start + at] = [(part, at)]
        start += _size(part)
    errors += _contradictions(parts)
    return Partly(parts, _joined([part.state for part in parts]), interfaces, sources, errors)


def _size(part: Part) -> int:
    value = part.node.value
    found = value.get("interfaces") if isinstance(value, dict) else None
    return len(found) if isinstance(found, list) else 0


def _entries(state: State, section: str) -> tuple[Any, ...]:
    found = given(getattr(state, section, UNSET))
    return tuple((found and given(found.config)) or ()) if hasattr(found, "config") else ()


def _joined(states: Sequence[State]) -> State:
    if len(states) == 1:
        return states[0]
    found: dict[str, Any] = {}
    for name in State.__struct_fields__:
        found[name] = next((value for state in states if given(value := getattr(state, name))), UNSET)
    for name, section in LISTS.items():
        entries = tuple(entry for state in states for entry in _entries(state, name))
        found[name] = section(config=entries) if entries else UNSET
    return State(**{name: value for name, value in found.items() if value is not UNSET})


def _contradictions(parts: Sequence[Part]) -> Iterator[Error]:
    """Yield what two documents say differently of the host as a whole."""
    first: dict[str, Part] = {}
    for part in parts:
        for name, word in zip(State.__struct_fields__, State.__struct_encode_fields__, strict=True):
            value = given(getattr(part.state, name))
            if name in FREE or value is None:
                continue
            other = first.setdefault(name, part)
            if getattr(other.state, name) != value:
                place = other.place(word)
                yield part.error(f"{word} is another one than in {place}", word, key=True, hint=HINT)


def _merged(one: Interface, other: Interface) -> tuple[Interface, list[tuple[Step, ...]]]:
    """Return what two documents say of one interface, and the paths of what they say differently."""
    general, special = (one, other) if type(one) is Interface else (other, one)
    if type(general) not in {Interface, type(special)}:
        return one, [("type",)]
    wrong: list[tuple[Step, ...]] = []
    if (given(one.state) or "up") != (given(other.state) or "up"):
        wrong.append(("state",))
    return _both(special, general, (), wrong), wrong


def _both(one: Any, other: Struct, path: tuple[Step, ...], wrong: list[tuple[Step, ...]]) -> Any:
    """Return a Struct with what either of two has; note in `wrong` where they differ."""
    found = {}
    for name, word in zip(other.__struct_fields__, other.__struct_encode_fields__, strict=True):
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(mine, Struct) and isinstance(theirs, Struct):
            found[name] = _both(mine, theirs, (*path, word), wrong)
        elif mine is UNSET:
            found[name] = theirs
        elif theirs not in (UNSET, mine) and (*path, word) != ("state",):
            wrong.append((*path, word))
    return msgspec.structs.replace(one, **found)


def _contradiction(
    path: tuple[Step, ...],
    before: Iterable[tuple[Part, int]],
    here: tuple[Part, int],
    one: Interface,
    other: Interface,
) -> Error:
    (part, at), home = here, max(before, key=lambda home: home[0].depth("interfaces", home[1], *path))
    place = home[0].place("interfaces", home[1], *path)
    name, said = path_text(*path), _said(other, path)
    differs = f"is {said}, and {_said(one, path)} in {place}" if said else f"is another one than in {place}"
    return part.error(f"{name} of {other.name} {differs}", "interfaces", at, *path, hint=HINT)


def _said(interface: Interface, path: tuple[Step, ...]) -> str:
    """Return a value in words, or "" for one of several values."""
    found: Any = msgspec.to_builtins(interface)
    if path == ("state",):
        return str(given(interface.state) or "up")
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    return "" if isinstance(found, dict | list | tuple) else shown(found).strip("'")
