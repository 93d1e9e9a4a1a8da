"""Values as a person reads them in a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.kinds.codec import readable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ONCE = frozenset(
    {
        "type",
        "index",
        "controller",
        "tx-queues",
        "rx-queues",
        "peer-index",
        "scope",
        "protocol",
        "borrowed",
        "untold",
        "beside",
        "flags",
        "peer-kept",
        "unknown",
    }
)
"""Attributes that a line of a plan says otherwise, or that nobody asked for."""


def value(given: Any) -> str:
    """Return one value in words."""
    if isinstance(given, bool):
        return "on" if given else "off"
    return "none" if given is None or given == "" else str(readable(given))


def in_brackets(attrs: Mapping[str, Any]) -> str:
    """Return the attributes that are worth a word, in brackets, or ""."""
    said = [
        f"{name}: {value(given)}"
        for name, given in attrs.items()
        if name not in ONCE and not name.startswith("attribute ") and given is not None and given != ""
    ]
    return f" ({', '.join(said)})" if said else ""


def ranges(vids: Iterable[tuple[int, int, str]]) -> str:
    """Return VLAN ranges in words."""
    said = [
        f"{first if first == last else f'{first}-{last}'}{f' ({word})' if word else ''}"
        for first, last, word in vids
    ]
    return ", ".join(said) or "none"
