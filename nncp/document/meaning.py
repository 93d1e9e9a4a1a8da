"""What the properties of a document mean, in sentences: those that stand beside the fields of its Structs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import Struct, inspect

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

Type: TypeAlias = inspect.Type
Field: TypeAlias = inspect.Field


def describe(schemas: Mapping[str, Any], structs: Iterable[type[Struct]]) -> None:
    """Give the properties in the schemas of Structs, and of all that these hold, their sentences."""
    for struct in held(structs):
        # msgspec calls Structs of one name by their modules.
        name = struct.__name__ if struct.__name__ in schemas else f"{struct.__module__}.{struct.__qualname__}"
        for field in fields(struct):
            if sentence := meaning(struct, field):
                schemas[name]["properties"][field.encode_name]["description"] = sentence


def held(structs: Iterable[type[Struct]]) -> list[type[Struct]]:
    """Return Structs and all that they hold, each once."""
    found = dict.fromkeys(structs)
    waiting = list(found)
    while waiting:
        inner = [struct_in(field.type) for field in fields(waiting.pop())]
        waiting += [struct for struct in inner if struct is not None and struct not in found]
        found |= dict.fromkeys(waiting)
    return list(found)


@cache
def fields(struct: type[Struct]) -> tuple[Field, ...]:
    """Return the fields of a Struct."""
    told = inspect.type_info(struct)
    assert isinstance(told, inspect.StructType)
    return told.fields


def meaning(struct: type[Struct], field: Field) -> str:
    """Return the sentence of a property; of a mapping without one that of its Struct, or else ""."""
    first, inner = first_name(struct, field.name), struct_in(field.type)
    if first != field.name:
        return f"The same as {word(struct, first)}."
    return next(_said(struct, "meaning", field.name), summary(inner) if inner else "")


def summary(struct: type[Struct]) -> str:
    """Return the first sentence of a Struct's docstring."""
    return (struct.__doc__ or "").strip().partition("\n")[0]


def default(struct: type[Struct], name: str) -> Any:
    """Return what something new has of a property that nobody says, None where that is not known."""
    return next(_said(struct, "defaults", name), None)


def sample(struct: type[Struct], name: str) -> Any:
    """Return the value for an example that stands beside a field, None where there is none."""
    return next(_said(struct, "samples", name), None)


def first_name(struct: type[Struct], name: str) -> str:
    """Return the name of the field that holds what is written under a property's second name."""
    aliases: Mapping[str, str] = getattr(struct, "aliases", {})
    return aliases.get(name, name)


def word(struct: type[Struct], name: str) -> str:
    """Return a field's name in a document."""
    return dict(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))[name]


def plain(kind: Type) -> Type:
    """Return a type without the null that unsets a property."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    (rest,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
    return rest


def item(kind: Type) -> Type | None:
    """Return the type of a list's items, None of what is no list."""
    kind = plain(kind)
    return plain(kind.item_type) if isinstance(kind, inspect.CollectionType) else None


def struct_in(kind: Type) -> type[Struct] | None:
    """Return the Struct that a property holds, by itself or in a list."""
    found = item(kind) or plain(kind)
    return found.cls if isinstance(found, inspect.StructType) else None


def _said(struct: type[Struct], what: str, name: str) -> Iterator[Any]:
    """Yield what a Struct and those that it is made of say of a field, its own word first."""
    for each in struct.__mro__:
        said: Mapping[str, Any] = vars(each).get(what, {})
        if name in said:
            yield said[name]
