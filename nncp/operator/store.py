"""What has been seen of one kind of objects: the newest of each. Pure.

Watches, lists and the answers to writes overtake each other, so an older version never takes the place of a
newer one, also when the newer one has gone. A version is a number that grows (KEP-5504).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Generic, TypeAlias, TypeVar

Object: TypeAlias = Mapping[str, Any]
T = TypeVar("T")


class Store(Generic[T]):
    """The objects of one kind.

    Args:
        read: says what an object means.
        changed: called after anything new was seen.

    """

    def __init__(self, read: Callable[[Object], T], changed: Callable[[], None]) -> None:
        self.known: dict[str, T] = {}
        self._read = read
        self._changed = changed
        self._versions: dict[str, int] = {}
        """Also of those that have gone, until the next list."""
        self._listed = 0
        """What is older than that and was not on the list had gone by then."""

    def take(self, body: Object) -> None:
        """Take an object as it was seen, or as a write has left it."""
        name, version = _named(body)
        if version >= self._versions.get(name, self._listed):
            self.listed(body)

    def listed(self, body: Object) -> None:
        """Take an object as a list holds it, however old it is."""
        name, version = _named(body)
        if version < self._versions.get(name, 0):
            return
        self._versions[name] = version
        read = self._read(body)
        if self.known.get(name) != read:
            self.known[name] = read
            self._changed()

    def drop(self, name: str, version: int) -> None:
        """Forget an object that went with a version."""
        if version < self._versions.get(name, 0):
            return
        self._versions[name] = version
        if self.known.pop(name, None) is not None:
            self._changed()

    def gone(self, body: Object) -> None:
        """Forget an object as a watch tells of the last of it."""
        self.drop(*_named(body))

    def keep(self, names: Collection[str], version: int) -> None:
        """Forget what a whole list did not hold: it has gone, if it is not newer.

        Nobody tells of what has gone while nobody watched.

        Args:
            names: of the objects that the list held, which have been taken.
            version: of the list.

        """
        for name in self.known.keys() - set(names):
            self.drop(name, version)
        self._listed = version
        self._versions = {
            name: known for name, known in self._versions.items() if name in self.known or known > version
        }


def _named(body: Object) -> tuple[str, int]:
    return body["metadata"]["name"], int(body["metadata"]["resourceVersion"])
