"""A network namespace, read and written through one netlink channel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nncp import sysctl
from nncp.host import Host, Op, Row
from nncp.netlink.carry import Carrier
from nncp.netlink.others import losing, mentioned, sources, with_others
from nncp.netlink.snapshot import indexes, snapshot
from nncp.netlink.taken import with_mentioned, with_taken
from nncp.pace import Limit
from nncp.plan import plan
from nncp.tables.link import has_mac

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nncp.errors import Error
    from nncp.netlink.channel import Channel
    from nncp.tables.kinds import Kinds


MOMENT = 0.3
"""Seconds of a quiet machine that the kernel may take until it has brought a VLAN up."""
LOOK_EVERY = 0.005


class Namespace:
    """One network namespace, for as long as one command works on it."""

    def __init__(self, channel: Channel, kinds: Kinds) -> None:
        self.channel = channel
        self.kinds = kinds

    def snapshot(self, want: Iterable[Row] = ()) -> Host:
        """Return the rows of the namespace, with the sysctls and the others' routes that `want` mentions."""
        want = list(want)
        host = self.with_sysctls(snapshot(self.channel, self.kinds), want)
        host = with_mentioned(self.channel, host, want, self.kinds)
        return with_others(self.channel, host, mentioned(want))

    @staticmethod
    def with_sysctls(host: Host, want: Iterable[Row]) -> Host:
        """Return `host` with the sysctls that `want` mentions and that a dump does not hold."""
        asked = [row.key for row in want if row.key[0] == "sysctl" and row.key not in host]
        read = [(key, sysctl.read(key[1])) for key in asked]
        found = [Row(key, {"value": value}) for key, value in read if value is not None]
        return host.with_rows(found) if found else host

    def plan(self, want: Sequence[Row]) -> list[Op]:
        """Return what is still between the namespace and `want`."""
        return plan(self.snapshot(want), want, self.kinds)

    def foresee(self, now: Host, want: Sequence[Row], *, undoing: bool = False) -> tuple[Host, list[Op]]:
        """Return `now` with the others' routes that a plan would take along, and the plan to `want`."""
        ops = plan(now, want, self.kinds, undoing=undoing)
        whole = with_others(self.channel, now, losing(now, ops), sources(now, ops))
        whole = with_taken(self.channel, whole, ops, self.kinds)
        return whole, ops if whole is now else plan(whole, want, self.kinds, undoing=undoing)

    def pin(self, bridges: Sequence[str]) -> None:
        """Set the MAC address that each bridge has, so that no port that comes or goes changes it.

        One that has lost its last port has none (br_stp_recalculate_bridge_id), and takes its next port's.
        """
        now, rows = self._with_macs(bridges)
        ops = [Op("change", row.key, {"mac": row.attrs["mac"]}, type=row.attrs["type"]) for row in rows]
        if ops:
            self.carry_out(ops, now, {})

    def pinned(self, bridges: Sequence[str]) -> list[str]:
        """Return those of `bridges` that have a MAC address, which `pin` has made their own."""
        return [row.name for row in self._with_macs(bridges)[1]]

    def _with_macs(self, bridges: Sequence[str]) -> tuple[Host, list[Row]]:
        now = snapshot(self.channel, self.kinds) if bridges else Host()
        rows = (now.get("link", name) for name in bridges)
        return now, [row for row in rows if row and has_mac(row.attrs)]

    def bring_back(self, rows: Sequence[Row]) -> None:
        """Make again those of `rows` that the kernel took by itself, where their links stand."""
        now = self.snapshot(rows) if rows else Host()
        ops = plan(now, [row for row in rows if ("link", row.name) in now], self.kinds)
        if ops:
            self.carry_out(ops, now, {})

    def lower(self, rows: Sequence[Row]) -> None:
        """Take down again what the kernel brings up by itself, a moment later; see `nncp.raised`."""
        waited, limit = {row.key for row in rows}, Limit(MOMENT)
        while waited and not limit.is_over():
            now = snapshot(self.channel, self.kinds)
            ops = [op for op in plan(now, rows, self.kinds) if not op.implied]
            waited -= {row.key for row in rows if row.key in now or ("link", row.name) not in now}
            if ops:
                self.carry_out(ops, now, {})
            elif waited:
                time.sleep(LOOK_EVERY)

    def carry_out(
        self,
        ops: Sequence[Op],
        now: Host,
        drawn: Mapping[str, int],
        *,
        written: Callable[[Op], None] = lambda _: None,
        refused: Callable[[Error], None] | None = None,
    ) -> None:
        """Carry out `ops`, which were planned on `now`; see `nncp.netlink.carry.Carrier`.

        Raises:
            Error: the first refusal, unless `refused` takes them all.

        """
        carrier = Carrier(self.channel, self.kinds, indexes(now), drawn=drawn, refused=refused)
        carrier.carry_out(ops, written)
