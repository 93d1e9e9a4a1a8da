"""What a plan takes and that is read only then: to be sent back as it was, now or by a rollback.

A snapshot holds what documents can say. Before the first write, each table is asked for what else the links
have that go, leave their controller or go down (`nncp.tables.table.Table.taken`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp import sysctl, wire
from nncp.kinds.kind import Tie
from nncp.netlink.channel import Refusal
from nncp.tables.link import EXTENT, LinkMessage
from nncp.tables.table import Taken, references

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nncp.host import Host, Op, Row
    from nncp.netlink.channel import Channel
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Table


class Look:
    """A narrow look at a namespace, beside the snapshot `host` of it."""

    def __init__(self, channel: Channel, kinds: Kinds, host: Host) -> None:
        self.channel = channel
        self.kinds = kinds
        self.host = host
        self.names = {row.attrs["index"]: row.name for row in host.table("link")}
        self._links: dict[str, LinkMessage | None] = {}
        self._settings: dict[str, Mapping[str, str]] = {}

    def dump(self, kind: int, body: bytes) -> list[bytes]:
        """Return the bodies of the messages that answer a dump; nothing where the kernel knows no such."""
        try:
            return self.channel.dump(kind, body)
        except Refusal:
            return []

    def link(self, name: str) -> LinkMessage | None:
        """Return one link as it is now, or None where it has gone."""
        if name not in self._links:
            self._links[name] = self._ask(self.host.attr("link", name, name="index"))
        return self._links[name]

    def _ask(self, index: int | None) -> LinkMessage | None:
        body = wire.IFINFO.pack(0, 0, index or 0, 0, 0) + EXTENT
        try:
            data = self.channel.ask(wire.RTM_GETLINK, body) if index else b""
            return LinkMessage(data, self.kinds, whole=True) if data else None
        except Refusal:
            return None

    def elsewhere(self) -> list[tuple[int, str, str]]:
        """Return what rests on links of this namespace from others: the link's index, the type, the name."""
        from nncp.netlink.elsewhere import resting_elsewhere  # noqa: PLC0415  (ctypes, which few commands need)

        return resting_elsewhere()

    def settings(self, folder: str) -> Mapping[str, str]:
        """Return the sysctls of a folder that may be read and written, by their last part."""
        if folder not in self._settings:
            self._settings[folder] = sysctl.values(folder)
        return self._settings[folder]


def taken(host: Host, ops: Sequence[Op], kinds: Kinds) -> Taken:
    """Return what a plan takes from `host`."""
    found: dict[str, set[str]] = {"link": set(), "port": set(), "up": set()}
    for op in ops:
        if op.key[0] in found and op.key in host and op.verb in {"remove", "create"}:
            found[op.key[0]].add(op.key[1])
    links, ports = frozenset(found["link"]), frozenset(found["port"])
    members = {
        row.name for row in host.table("port") if row.name in links or row.attrs["controller"] in links
    }
    return Taken(links, ports | members, links | found["up"], _moved(host, ops, kinds) - links)


def _moved(host: Host, ops: Sequence[Op], kinds: Kinds) -> frozenset[str]:
    """Return the links whose MAC address may change: it is written, or follows a port's or a base's."""
    todo = [op.key[1] for op in ops if op.key[0] == "port" or (op.key[0] == "link" and "mac" in op.attrs)]
    todo += [op.attrs.get("controller", op.old.get("controller", "")) for op in ops if op.key[0] == "port"]
    found = {name for name in todo if ("link", name) in host}
    if not found:
        return frozenset()
    above: dict[str, list[str]] = {}
    for row in host.table("link"):
        for attr, base in references(row.key, row.attrs, kinds):
            if attr.tie is Tie.RESTS:
                above.setdefault(base, []).append(row.name)
    todo = list(found)
    while todo:
        name = todo.pop()
        controller = host.attr("port", name, name="controller")
        follow = {*above.get(name, ()), *([controller] if controller else ())} - found
        found |= follow
        todo += follow
    return frozenset(found)


def with_taken(channel: Channel, host: Host, ops: Sequence[Op], kinds: Kinds) -> Host:
    """Return `host` with what a plan takes and a snapshot leaves out; the same where it takes nothing."""
    what = taken(host, ops, kinds)
    return _with(channel, host, what, kinds, kinds.tables.values()) if what else host


def with_mentioned(channel: Channel, host: Host, want: Iterable[Row], kinds: Kinds) -> Host:
    """Return `host` with the rows that a snapshot leaves out and that `want` mentions."""
    found = [row for row in want if kinds.tables[row.key[0]].apart]
    tables = {row.key[0]: kinds.tables[row.key[0]] for row in found}
    names = frozenset(link for row in found for link in tables[row.key[0]].links(row.key, row.attrs))
    return _with(channel, host, Taken(names, names, names), kinds, tables.values()) if names else host


def _with(channel: Channel, host: Host, what: Taken, kinds: Kinds, tables: Iterable[Table]) -> Host:
    look = Look(channel, kinds, host)
    rows = [row for table in tables for row in table.taken(look, what)]
    return host.with_rows(rows) if rows else host
