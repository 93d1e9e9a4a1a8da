"""What documents put on a host's bridges, so that what others put there is known to be theirs.

A port list lists the document's ports. Kept in the state folder: the ports that documents ever listed, the
VLANs of bridges themselves that documents' VLAN links made us add, and what bridges were given that they do
not tell while another bridge's values are in force.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp.carried import ids_of, tagged_of
from nncp.errors import Error, ErrorKind
from nncp.host import Row, untold
from nncp.kinds.linux_bridge import BORROWED, LINUX_BRIDGE
from nncp.kinds.ports import guests_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nncp.host import Host, Op

TOLD = 8
"""So many names of guests' ports are told."""


class Listed(Struct, frozen=True):
    """What documents applied in one network namespace have listed.

    Args:
        ports: names of links, of whichever controller.
        vlans: a bridge, and a VLAN that it carries itself only for VLAN links above it.
        own: a bridge, its index (0: that of the one that the apply has made), an option of BORROWED, and the
            value that it was given last.

    """

    ports: tuple[str, ...] = ()
    vlans: tuple[tuple[str, int], ...] = ()
    own: tuple[tuple[str, int, str, int | float], ...] = ()

    def known_to(self, host: Host) -> Host:
        """Return `host` with this knowledge."""
        lending = [row for row in host.table("link") if untold(row.attrs)]
        found = host.with_rows(self._with_own(row) for row in lending) if lending else host
        return found.where(listed=self.ports, carried=self.vlans)

    def _with_own(self, row: Row) -> Row:
        """Return a bridge with the values of its own as they were given, and not as it tells them."""
        hidden = untold(row.attrs)
        attrs = {name: value for name, value in row.attrs.items() if name != "borrowed"}
        of_it = {(row.name, row.attrs["index"]), (row.name, 0)}
        given = {option: value for name, index, option, value in self.own if (name, index) in of_it}
        attrs |= {option: value for option, value in given.items() if option in hidden}
        return Row(row.key, {**attrs, "untold": hidden})

    def without(self, before: Listed, after: Listed | None) -> Listed:
        """Return this knowledge without what an apply added to it, and with what it took from it.

        Args:
            before: what was known before the apply.
            after: what was known by it; None when that was not noted.

        """
        if after is None:
            return before

        def less(name: str) -> tuple[Any, ...]:
            mine, former, latter = (set(getattr(one, name)) for one in (self, before, after))
            return tuple(sorted((mine - (latter - former)) | (former - latter)))

        return Listed(*map(less, Listed.__struct_fields__))

    def same(self, now: Host, want: Iterable[Row]) -> Listed:
        """Return what is known once rows that no document asked for hold."""
        return structs.replace(self, own=self._given(now, list(want)))

    def _given(self, now: Host, want: Sequence[Row]) -> tuple[tuple[str, int, str, int | float], ...]:
        indexes = {row.name: row.attrs["index"] for row in now.table("link") if _is_bridge(row)}
        found = {
            (name, option): value
            for name, index, option, value in self.own
            if name in indexes and index in {0, indexes[name]}
        }
        for row in want:
            given = {option: row.attrs[option] for option in BORROWED if row.attrs.get(option) is not None}
            found |= {(row.name, option): value for option, value in given.items()}
        return tuple(
            (name, indexes.get(name, 0), option, found[name, option]) for name, option in sorted(found)
        )

    def after(self, now: Host, want: Iterable[Row]) -> Listed:
        """Return what is known once documents that want these rows of a host hold."""
        want = list(want)
        ports = {row.name for row in want if row.key[0] == "port" and not row.absent}
        vlans = set(self.vlans)
        for row in want:
            if row.key[0] == "vlans" and row.name not in ports:
                vids = ids_of(row.attrs["vids"])
                added = tagged_of(row.attrs["vids"]) - ids_of(
                    now.attr("vlans", row.name, name="vids", default=())
                )
                vlans = {(name, vid) for name, vid in vlans if name != row.name or vid in vids}
                vlans |= {(row.name, vid) for vid in added}
        return Listed(tuple(sorted({*self.ports, *ports})), tuple(sorted(vlans)), self._given(now, want))


def bereft(now: Host, ops: Iterable[Op], *, kind: ErrorKind = ErrorKind.DOCUMENT) -> Iterator[Error]:
    """Yield what is wrong with deleting bridges, for good or to make them again: guests' ports on them."""
    for op in ops:
        guests = guests_of(op.key[1], now) if op.verb == "remove" and op.key[0] == "link" else []
        if guests:
            more = f" and {len(guests) - TOLD} more" if len(guests) > TOLD else ""
            yield Error(
                f"{op.key[1]} would be deleted, and it carries {ports_told(guests)}: "
                f"{', '.join(guests[:TOLD])}{more}",
                kind=kind,
                subject=op.key[1],
                hint="move the guests and Pods away first, or use --force to cut them off",
            )


def _is_bridge(row: Row) -> bool:
    return bool(row.attrs["type"] == LINUX_BRIDGE.type)


def kept_on(bridge: str, guests: Sequence[str]) -> str:
    """Return that guests' ports stay, as a plan says it."""
    return f"keeps {ports_told(guests)} on {bridge}"


def ports_told(guests: Sequence[str]) -> str:
    """Return a number of guests' ports in words."""
    return f"{len(guests)} port{'s' if len(guests) > 1 else ''} of Pods and guests"
