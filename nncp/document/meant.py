"""Which entries of a list an absent one means: those of which all is so that it says (nmstate: is_match)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Entry = Mapping[str, Any]
    Words = tuple[str, ...]


class Wildcards:
    """Entries that each mean all that have what it says; found by what they say, not one after another."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._first: dict[Words, dict[Words, int]] = {}
        for number, said in enumerate(entries):
            words = tuple(sorted(said))
            self._first.setdefault(words, {}).setdefault(_values(said, words), number)

    def first(self, entry: Entry) -> int | None:
        """Return the number of the first one that means an entry, None where none does."""
        found = (known.get(_values(entry, words)) for words, known in self._first.items())
        return min((number for number in found if number is not None), default=None)


class Listed:
    """Entries of a list, of which those that a wildcard means are found by what it says."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)
        self._known: dict[Words, set[Words]] = {}

    def has(self, wildcard: Entry) -> bool:
        """Whether one is among them that a wildcard means."""
        words = tuple(sorted(wildcard))
        if words not in self._known:
            self._known[words] = {_values(entry, words) for entry in self._entries}
        return _values(wildcard, words) in self._known[words]


def _values(entry: Entry, words: Words) -> Words:
    # As text, since what nothing here makes stays as it is written: a list, say, which no set holds.
    return tuple(repr(entry.get(word)) for word in words)
