"""What documents put on a host's bridges, so that what others put there is known to be theirs.

A port list lists the document's ports. Kept in the state folder: the ports that documents ever listed, and
the VLANs of bridges themselves that documents' VLAN links made us add.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.carried import ids_of, tagged_of
from nncp.errors import Error
from nncp.kinds.ports import guests_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nncp.host import Host, Op, Row

TOLD = 8
"""So many names of guests' ports are told."""


class Listed(Struct, frozen=True):
    """What documents applied in one network namespace have listed.

    Args:
        ports: names of links, of whichever controller.
        vlans: a bridge, and a VLAN that it carries itself only for VLAN links above it.

    """

    ports: tuple[str, ...] = ()
    vlans: tuple[tuple[str, int], ...] = ()

    def known_to(self, host: Host) -> Host:
        """Return `host` with this knowledge."""
        return host.where(listed=self.ports, carried=self.vlans)

    def same(self, *_: object) -> Listed:
        """Return what is known once rows that no document asked for hold."""
        return self

    def after(self, now: Host, want: Iterable[Row]) -> Listed:
        """Return what is known once documents that want these rows of a host hold."""
        want = list(want)
        ports = {row.name for row in want if row.key[0] == "port" and not row.absent}
        vlans = set(self.vlans)
        for row in want:
            if row.key[0] == "vlans" and ("port", row.name) not in now and row.name not in ports:
                vids = ids_of(row.attrs["vids"])
                added = tagged_of(row.attrs["vids"]) - ids_of(
                    now.attr("vlans", row.name, name="vids", default=())
                )
                vlans = {(name, vid) for name, vid in vlans if name != row.name or vid in vids}
                vlans |= {(row.name, vid) for vid in added}
        return Listed(tuple(sorted({*self.ports, *ports})), tuple(sorted(vlans)))


def bereft(now: Host, ops: Iterable[Op]) -> Iterator[Error]:
    """Yield what is wrong with deleting bridges, for good or to make them again: guests' ports on them."""
    for op in ops:
        guests = guests_of(op.key[1], now) if op.verb == "remove" and op.key[0] == "link" else []
        if guests:
            more = f" and {len(guests) - TOLD} more" if len(guests) > TOLD else ""
            yield Error(
                f"{op.key[1]} would be deleted, and it carries {ports_told(guests)}: "
                f"{', '.join(guests[:TOLD])}{more}",
                subject=op.key[1],
                hint="move the guests and Pods away first, or use --force to cut them off",
            )


def kept_on(bridge: str, guests: Sequence[str]) -> str:
    """Return that guests' ports stay, as a plan says it."""
    return f"keeps {ports_told(guests)} on {bridge}"


def ports_told(guests: Sequence[str]) -> str:
    """Return a number of guests' ports in words."""
    return f"{len(guests)} port{'s' if len(guests) > 1 else ''} of Pods and guests"
