"""The links as a document leads to them: what each will be, rest on and have as ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.host import Key
from nncp.kinds.kind import Tie
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Row
    from nncp.tables.kinds import Kinds


MAX_NEST_DEV = 8
"""How many links can rest on each other (linux/netdevice.h; net/core/dev.c, __netdev_upper_dev_link)."""


class Stack(Struct, frozen=True):
    """Links of which every one rests on the next, or has it as a port: a circle, or the first too high.

    `by` is a row that makes one too high.
    """

    names: tuple[str, ...]
    by: Key = ()
    circle: bool = False


class Future:
    """The links of `host` once the rows `want` are there."""

    def __init__(self, want: Mapping[Key, Row], host: Host, kinds: Kinds) -> None:
        self.want = want
        self.host = host
        self.kinds = kinds
        self.coming: dict[str, list[str]] = {}
        for row in want.values():
            if row.key[0] == "port" and not row.absent:
                self.coming.setdefault(row.attrs["controller"], []).append(row.name)

    def attrs(self, name: str) -> Mapping[str, Any]:
        """Return what a link will have, as far as it is known; of another type it is another link."""
        row, have = self.want.get(("link", name)), self.host.get("link", name)
        asked = row.attrs if row else {}
        return {**have.attrs, **asked} if have and self._stays(name) else asked

    def base(self, name: str) -> str | None:
        """Return what a link will rest on, if anything."""
        return next(self._bases(name), None)

    def _bases(self, name: str) -> Iterator[str]:
        found = references(("link", name), self.attrs(name), self.kinds)
        return (other for attr, other in found if attr.tie is Tie.RESTS)

    def ports(self, controller: str) -> list[str]:
        """Return the ports that a controller will have."""
        stand = self.host.ports(controller) if self._stays(controller) else ()
        stay = [row.name for row in stand if row.key not in self.want]
        return [*stay, *self.coming.get(controller, ())]

    def _stays(self, name: str) -> bool:
        """Whether a link is not to go, nor to become one of another type."""
        row, kind = self.want.get(("link", name)), self.host.attr("link", name, name="type")
        return row is None or (not row.absent and row.attrs.get("type", kind) == kind)

    def impossible(self) -> Iterator[Stack]:
        """Yield each stack of links that a document makes and the kernel refuses: a circle, one too high.

        A tie that only names a link, as a tunnel's, is none.
        """
        changing = dict(self._changing())
        height: dict[str, int] = {}
        by: dict[str, Key] = {}
        for start in self._names() if changing else ():
            path: dict[str, Iterator[str]] = {} if start in height else {start: self._below(start)}
            while path:
                name = next(reversed(path))
                other = next(path[name], None)
                if other is None:
                    del path[name]
                    below = list(self._below(name))
                    height[name] = 1 + max((height.get(one, 0) for one in below), default=0)
                    causes = (changing.get(name), *(by.get(one) for one in below))
                    if cause := next(filter(None, causes), None):
                        by[name] = cause
                        if height[name] == MAX_NEST_DEV + 1:
                            yield Stack((name,), cause)
                elif other in path:
                    names = list(path)[list(path).index(other) :]
                    if not changing.keys().isdisjoint(names):
                        yield Stack(tuple(names), circle=True)
                elif other not in height:
                    path[other] = self._below(other)

    def _names(self) -> Iterator[str]:
        """Yield all names, those that are wanted first: they are told of first."""
        yield from (key[1] for key in self.want)
        yield from (row.name for row in self.host.table("link"))

    def _changing(self) -> Iterator[tuple[str, Key]]:
        """Yield the links that come to rest on another one, or get a port, each with the row that says so."""
        for key, row in self.want.items():
            if row.absent:
                continue
            if key[0] == "port" and self.host.attr(*key, name="controller") != row.attrs["controller"]:
                yield row.attrs["controller"], key
            elif key[0] == "link":
                for attr, other in references(key, row.attrs, self.kinds):
                    if attr.tie is Tie.RESTS and self.host.attr(*key, name=attr.name) != other:
                        yield row.name, key

    def _below(self, name: str) -> Iterator[str]:
        """Yield what a link will rest on, and its ports."""
        yield from self._bases(name)
        yield from self.ports(name)
