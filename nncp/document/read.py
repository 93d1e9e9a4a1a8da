"""A node to a State: decode, and when that is refused, tell all that is wrong at once.

What is wrong is cut out and the rest decoded again, so that the rules see all that can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from nncp.document.complaints import Complaint, did_you_mean, shown
from nncp.document.lax import read_lax
from nncp.document.rules import rules
from nncp.document.schema import complaints_of, refusal, struct_schema
from nncp.document.state import INTERFACE_TYPES, Documented, Interface, State, absent, form
from nncp.errors import Error, ErrorKind, raise_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.document.source import Node, Step

# Cutting out a wrong value may leave its item without a key that it needs, and so on upwards, one a round.
ROUNDS = 50

S = TypeVar("S", bound=Struct)


def read_state(
    node: Node, kinds: Mapping[str, Documented], *, types: Mapping[str, str] | None = None
) -> State:
    """Return the State that a document describes.

    Args:
        node: the document.
        kinds: the interface types, by name.
        types: the types of the host's interfaces, by name, for interfaces that do not say their type.

    Raises:
        Error: with all errors of the document in the order of their places.

    """
    found = read_partly(node, kinds, types=types)
    raise_all(found.errors)
    return msgspec.structs.replace(found.state, interfaces=tuple(found.interfaces.values()))


class Partly(Struct, frozen=True):
    """What could be read of a document, and what is wrong with the rest of it.

    Args:
        state: all but the interfaces.
        interfaces: those that could be read, by their index in the document.
        errors: in the order of their places.

    """

    state: State
    interfaces: dict[int, Interface]
    errors: list[Error]

    def tells_of(self, path: str) -> bool:
        """Whether an error below `path` has been found: what is missing there may have been cut out."""
        return any(error.path.startswith((f"{path}.", f"{path}[")) for error in self.errors)


def read_partly(
    node: Node, kinds: Mapping[str, Documented], *, types: Mapping[str, str] | None = None
) -> Partly:
    """Return all that can be read of a document, for whoever wants to find more errors; see `read_state`."""
    if not isinstance(node.value, dict):
        raise node.error(f"a document must be a mapping, got {shown(node.value)}")
    errors: list[Error] = []
    rest = {key: value for key, value in node.value.items() if key != "interfaces"}
    state = _decoded(node.replaced(rest), State, errors) or State()
    interfaces = {
        at: interface
        for at, part in enumerate(_items(node, errors))
        if (interface := _interface(part, kinds, types or {}, errors)) is not None
    }
    # A rule may miss what was wrong and has been cut out: that has been told.
    told = [f"{error.path}." for error in errors]
    errors += [
        error
        for error in rules(node, state, interfaces)
        if not any(path.startswith((f"{error.path}.", f"{error.path}[")) for path in told)
    ]
    return Partly(state, interfaces, by_place(errors))


def by_place(errors: Iterable[Error]) -> list[Error]:
    """Return errors in the order in which a reader of the file meets them."""

    def place(error: Error) -> tuple[str, int, int]:
        return (error.where.file, error.where.line, error.where.column) if error.where else ("", 0, 0)

    return sorted(errors, key=place)


def _items(node: Node, errors: list[Error]) -> Iterator[Node]:
    """Yield the interfaces as they are written."""
    interfaces = node.value.get("interfaces") or []
    if not isinstance(interfaces, list):
        message = f"interfaces must be a list, got {shown(interfaces)}"
        errors.append(node.error(message, "interfaces", hint="start each item with '- '"))
        return
    for at in range(len(interfaces)):
        yield node.at("interfaces", at)


def _interface(
    node: Node, kinds: Mapping[str, Documented], types: Mapping[str, str], errors: list[Error]
) -> Interface | None:
    if not isinstance(node.value, dict):
        errors.append(node.error(f"an interface must be a mapping, got {shown(node.value)}"))
        return None
    node = node.replaced(absent(node.value))
    data = node.value
    name = data.get("type")
    if (
        isinstance(name, str)
        and name not in {*kinds, "unknown"}
        and data.get("state") not in {"absent", "ignore"}
    ):
        errors.append(_unknown_type(node, name, kinds))
        return None
    return _decoded(node, _form(data, kinds, types), errors)


def _form(
    data: Mapping[str, Any], kinds: Mapping[str, Documented], types: Mapping[str, str]
) -> type[Interface]:
    """Return the Struct of an interface: by the type it says, that it has, or that its section belongs to."""
    name = data.get("type")
    if not isinstance(name, str) or name == "unknown":
        name = types.get(str(data.get("name")))
    if name is None:
        name = next((name for name, kind in kinds.items() if kind.section and kind.section in data), None)
    return form(name, kinds[name]) if name is not None and name in kinds else Interface


def _unknown_type(node: Node, name: str, kinds: Mapping[str, Documented]) -> Error:
    if name in INTERFACE_TYPES:
        error = node.error(f"type: {name} is not supported yet", "type")
        error.kind = ErrorKind.UNSUPPORTED
        return error
    message = f"type must be one of {', '.join(sorted(kinds))}, got '{name}'"
    return node.error(message, "type", hint=did_you_mean(name, [*kinds, *INTERFACE_TYPES]))


def _decoded(node: Node, struct: type[S], errors: list[Error]) -> S | None:
    """Return a node as a Struct, without what is wrong with it; None when nothing sensible remains."""
    rest = node
    for _ in range(ROUNDS):
        try:
            return msgspec.convert(rest.value, struct, dec_hook=read_lax)
        except msgspec.ValidationError as error:
            # What is wrong once the errors are cut out is their consequence, and told by them.
            found = complaints_of(node, struct_schema(struct)) if rest is node else []
            found = found or [refusal(rest, error)]
        if rest is node:
            errors += [complaint.error for complaint in found]
        rest = rest.replaced(_without(rest.value, found))
    return None


def _without(value: Any, found: Iterable[Complaint]) -> Any:
    """Return a value without the keys and items that complaints are about, or that lack a key."""
    wrong = {complaint.steps if _has(value, complaint.steps) else complaint.steps[:-1] for complaint in found}

    def kept(value: Any, steps: tuple[Step, ...]) -> Any:
        if isinstance(value, dict):
            return {
                key: kept(item, (*steps, key)) for key, item in value.items() if (*steps, key) not in wrong
            }
        if isinstance(value, list):
            return [kept(item, (*steps, at)) for at, item in enumerate(value) if (*steps, at) not in wrong]
        return value

    return kept(value, ())


def _has(value: Any, steps: tuple[Step, ...]) -> bool:
    for step in steps:
        if isinstance(value, dict) and step not in value:
            return False
        value = value[step]
    return True
