"""Between a section and a row's attributes: nested mappings become dotted names, and back.

bridge: {options: {stp: {enabled: true}}}   <->   {"stp.enabled": True}
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, to_builtins

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Value


def flat(section: Any, prefix: str = "") -> dict[str, Value]:
    """Return what a section sets, by dotted name: neither absent nor null properties, nor lists."""
    return dict(_pairs(to_builtins(section), prefix)) if isinstance(section, Struct) else {}


def _pairs(section: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    for name, value in section.items():
        if isinstance(value, dict):
            yield from _pairs(value, f"{prefix}{name}.")
        elif value is not None and not isinstance(value, list):
            yield f"{prefix}{name}", value


def nested(attrs: Mapping[str, Value], names: Iterable[str]) -> dict[str, Any]:
    """Return those of `attrs` that `names` lists, as nested mappings."""
    found: dict[str, Any] = {}
    for name in names:
        if attrs.get(name) is None:
            continue
        *parents, last = name.split(".")
        place = found
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = attrs[name]
    return found


def is_given(value: Any) -> bool:
    """Whether a document mentions a property with a value: neither absent nor null."""
    return value is not UNSET and value is not None
