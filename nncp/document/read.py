"""A node to a State: decode, and when that is refused, tell all that is wrong at once.

What is wrong is cut out and the rest decoded again, so that the rules see all that can be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from nncp.document.complaints import Complaint, did_you_mean, shown
from nncp.document.lax import read_lax
from nncp.document.part import Left, Part, Path
from nncp.document.policy import Policy, with_port_vlans
from nncp.document.rules import rules
from nncp.document.schema import complaints_of, refusal, struct_schema
from nncp.document.state import INTERFACE_TYPES, Documented, Interface, State, absent, form
from nncp.document.together import Partly, together
from nncp.errors import Error, ErrorKind, raise_all

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

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


def read_partly(
    node: Node, kinds: Mapping[str, Documented], *, types: Mapping[str, str] | None = None
) -> Partly:
    """Return all that can be read of a document, for whoever wants to find more errors; see `read_state`."""
    return read_together([Policy(node)], kinds, types=types)


def read_together(
    policies: Sequence[Policy], kinds: Mapping[str, Documented], *, types: Mapping[str, str] | None = None
) -> Partly:
    """Return all that can be read of documents that are one desired state; see `read_state`."""
    found = together([_part(policy, kinds, types or {}) for policy in policies])
    # A rule may miss what was wrong and has been cut out: that has been told.
    errors = [*found.errors, *(error for error in rules(found) if not found.tells_of(error))]
    errors = [error for error in errors if not any(policy.excuses(error) for policy in policies)]
    return msgspec.structs.replace(found, errors=by_place(errors))


def _part(policy: Policy, kinds: Mapping[str, Documented], types: Mapping[str, str]) -> Part:
    node, errors = policy.state, list[Error]()
    if not isinstance(node.value, dict):
        errors.append(node.error(f"a document must be a mapping, got {shown(node.value)}"))
        return Part(node, State(), {}, errors)
    left = Left()
    rest = {key: value for key, value in node.value.items() if key != "interfaces"}
    state = _decoded(node.replaced(rest), State, errors, left) or State()
    interfaces = {}
    for at, part in enumerate(_items(node, errors)):
        interface = _interface(part, kinds, types, errors, left)
        if interface is not None:
            interfaces[at] = with_port_vlans(interface) if policy.is_manifest else interface
    return Part(node, state, interfaces, errors, left)


def by_place(errors: Iterable[Error]) -> list[Error]:
    """Return errors in the order in which a reader of the file meets them."""

    def place(error: Error) -> tuple[str, int, int]:
        return (error.where.file, error.where.line, error.where.column) if error.where else ("", 0, 0)

    return sorted(errors, key=place)


def _items(node: Node, errors: list[Error]) -> Iterator[Node]:
    """Yield the interfaces as they are written."""
    interfaces = node.value.get("interfaces")
    interfaces = [] if interfaces is None else interfaces
    if not isinstance(interfaces, list):
        message = f"interfaces must be a list, got {shown(interfaces)}"
        errors.append(node.error(message, "interfaces", hint="start each item with '- '"))
        return
    for at in range(len(interfaces)):
        yield node.at("interfaces", at)


def _interface(
    node: Node, kinds: Mapping[str, Documented], types: Mapping[str, str], errors: list[Error], left: Left
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
        and data.get("state") not in ("absent", "ignore")  # it may be a list by now, say
    ):
        errors.append(_unknown_type(node, name, kinds))
        return None
    return _decoded(node, form_of(data, kinds, types), errors, left)


def form_of(
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


def _decoded(node: Node, struct: type[S], errors: list[Error], left: Left) -> S | None:
    """Return a node as a Struct, without what is wrong with it; None when nothing sensible remains."""
    rest, kept, prefix = node, Left(), () if struct is State else node.path[-2:]
    for _ in range(ROUNDS):
        try:
            read = msgspec.convert(rest.value, struct, dec_hook=read_lax)
        except msgspec.ValidationError as error:
            # What is wrong once the errors are cut out is their consequence, and told by them.
            found = complaints_of(node, struct_schema(struct)) if rest is node else []
            found = found or [refusal(rest, error)]
        else:
            left |= {(*prefix, *path): items for path, items in kept.items()}
            return read
        if rest is node:
            errors += [complaint.error for complaint in found]
        value, kept = _without(rest.value, found, kept)
        rest = rest.replaced(value)
    return None


def _without(value: Any, found: Iterable[Complaint], left: Left) -> tuple[Any, Left]:
    """Return a value without the keys and items that complaints are about, or that lack a key.

    With it comes, by the path of each list, which of the items that were written are left.
    """
    wrong = {complaint.steps if _has(value, complaint.steps) else complaint.steps[:-1] for complaint in found}
    now = Left()

    def kept(value: Any, steps: Path, path: Path) -> Any:
        if isinstance(value, dict):
            return {
                key: kept(item, (*steps, key), (*path, key))
                for key, item in value.items()
                if (*steps, key) not in wrong
            }
        if not isinstance(value, list):
            return value
        stay = [at for at in range(len(value)) if (*steps, at) not in wrong]
        before = left.get(steps)
        if before or len(stay) < len(value):
            now[path] = tuple(before[at] if before else at for at in stay)
        return [kept(value[at], (*steps, at), (*path, number)) for number, at in enumerate(stay)]

    return kept(value, (), ()), now


def _has(value: Any, steps: tuple[Step, ...]) -> bool:
    for step in steps:
        if isinstance(value, dict) and step not in value:
            return False
        value = value[step]
    return True
