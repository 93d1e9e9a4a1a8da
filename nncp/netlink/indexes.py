"""The index of every link: of those that are there, and of those that a plan is about to make.

A new link is given its index by us, so that everything that refers to it can be packed in the same batch. The
kernel counts up from the last index that it gave out itself and never looks at ours (net/core/dev.c,
dev_index_reserve), so ours are drawn at random far above: an index that we chose is nobody's else, and if the
link cannot be made, whatever was to follow on it finds no link and not a stranger's.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.host import Op
    from nncp.tables.kinds import Kinds

LOWEST, HIGHEST = 1 << 24, (1 << 31) - 1
AT_ONCE = 4096
"""Bytes that the kernel is asked for at once: each time costs a system call."""


class Gone(KeyError):
    """There is no link of this name."""


class Indexes:
    """Names to indexes, kept up to date with what is encoded.

    Args:
        kinds: the interface types.
        indexes: the index of each link by name, at the start.
        namespaces: open descriptors of the network namespaces that `peer-netns` names.
        drawn: the index of each link that a plan makes, from `draw`, where it was recorded before.

    """

    def __init__(
        self,
        kinds: Kinds,
        indexes: dict[str, int],
        namespaces: Mapping[str, int],
        drawn: Mapping[str, int] | None = None,
    ) -> None:
        self.kinds = kinds
        self.namespaces = namespaces
        self._drawn = drawn or {}
        self._indexes = indexes
        self._taken = set(indexes.values())

    def __getitem__(self, name: str) -> int:
        """Return a link's index; KeyError when there is none of that name."""
        try:
            return self._indexes[name]
        except KeyError:
            raise Gone(name) from None

    def new(self, name: str, former: int | None = None) -> int:
        """Return the index that a new link is to get: its former one, or one that is nobody's."""
        index = former if former and former not in self._taken else self._drawn.get(name) or self._draw()
        self._taken.add(index)
        self._indexes[name] = index
        return index

    def forget(self, name: str) -> int:
        """Return the index of a link that goes."""
        index = self[name]
        del self._indexes[name]
        self._taken.discard(index)
        return index

    def rename(self, old: str, new: str) -> None:
        """Take note of a link's new name."""
        self._indexes[new] = self._indexes.pop(old)

    def _draw(self) -> int:
        return next(number for number in _numbers() if number not in self._taken)


def draw(ops: Iterable[Op], indexes: Mapping[str, int]) -> dict[str, int]:
    """Return an index for every link that `ops` make; `indexes` are taken."""
    drawn: dict[str, int] = {}
    taken, numbers = set(indexes.values()), _numbers()
    for op in ops:
        if op.verb == "create" and op.key[0] == "link" and not op.implied:
            ends = [op.key[1], *([op.attrs["peer"]] if op.attrs.get("peer") else [])]
            for name in ends:
                drawn[name] = next(number for number in numbers if number not in taken)
                taken.add(drawn[name])
    return drawn


def _numbers() -> Iterator[int]:
    while True:
        for number in memoryview(os.urandom(AT_ONCE)).cast("I"):
            if number & HIGHEST >= LOWEST:
                yield number & HIGHEST
