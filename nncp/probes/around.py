"""Probes around one change: before it, and after it."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from nncp.errors import Error, ErrorKind, raise_all
from nncp.pace import MOST
from nncp.probes.keeper import asked
from nncp.probes.written import KINDS, Probe
from nncp.tables.rtmsg import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BEFORE = 2.0
"""Seconds of a quiet machine for the one attempt before a change."""


class Failed(Struct, frozen=True):
    """A probe that failed, and why."""

    probe: Probe
    why: str


class Probes:
    """Probes around one change.

    `ping:gw` asks the next hops of the default routes in the main table. Of one family's, one that answers is
    enough (kubernetes-nmstate asks only the first that it finds, of whichever family). Each family is asked
    by itself, since one's gateway says nothing of the other's: where one answered before, one must answer
    after. The probe fails before only when no family has one that answers.
    """

    def __init__(
        self,
        probes: Sequence[Probe],
        limit: float | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Make them.

        Args:
            probes: what is asked; without any nothing is waited for.
            limit: seconds that each has after the change; when None, its kind's, of a quiet machine.
            told: hears of each that failed before the change already.

        """
        self.limit = limit
        self.told = told
        self.probes = tuple(probes)
        self._parts = [part for probe in probes for part in _parts(probe)]

    def before(self) -> list[Failed]:
        """Ask each once; return those that failed, which are left out from then on.

        Raises:
            Error: an echo may not be sent (`PRIVILEGE`), with one for each probe that would.

        """
        limit = BEFORE if self.limit is None else min(BEFORE, self.limit)
        failed = self._failed([limit] * len(self._parts), again=False)
        self._parts = [part for part in self._parts if part not in failed]
        stay = {part.text for part in self._parts}
        out = [probe for probe in self.probes if probe.text not in stay]
        self.probes = tuple(probe for probe in self.probes if probe.text in stay)
        gone = _whole(out, failed)
        for one in gone:
            self.told(f"probe {one.probe.text} failed before the change already, and is left out: {one.why}")
        return gone

    def after(self, pulse: Callable[[], None]) -> None:
        """Ask all others, each until it succeeds or its limit is over; `pulse` says that it goes on.

        Raises:
            Error: some failed (`FAILED`), with one for each; or as `before` raises it.

        """
        seconds = [KINDS[part.kind].seconds if self.limit is None else self.limit for part in self._parts]
        failed = _whole(self.probes, self._failed(seconds, again=True, pulse=pulse))
        if failed:
            message = f"{len(failed)} of {len(self.probes)} probes failed after the change"
            raise Error(message, kind=ErrorKind.FAILED, others=tuple(_error(one) for one in failed))

    def _failed(
        self, seconds: Sequence[float], *, again: bool, pulse: Callable[[], None] = lambda: None
    ) -> dict[Probe, str]:
        """Return the parts that failed, and why."""
        _see_the_right([probe for probe in self.probes if probe.kind == "ping"])
        if not self._parts:
            return {}
        # What somebody asks for is kept; what nobody does follows the machine.
        most = 1.0 if again and self.limit is not None else MOST
        return asked(self._parts, seconds, most=most, again=again, pulse=pulse)


def _parts(probe: Probe) -> list[Probe]:
    return [replace(probe, family=word) for word in FAMILIES] if probe.is_gateway else [probe]


def _whole(probes: Sequence[Probe], failed: dict[Probe, str]) -> list[Failed]:
    """Return those of `probes` of which a part has failed, with all that is wrong with them."""
    whys = [(probe, [failed[part] for part in _parts(probe) if part in failed]) for probe in probes]
    return [Failed(probe, "; ".join(why)) for probe, why in whys if why]


def _error(failed: Failed) -> Error:
    probe = failed.probe
    hint = KINDS[probe.kind].look_at.format(probe.target)
    return Error(f"probe {probe.text}: {failed.why}", kind=ErrorKind.FAILED, hint=hint)


def _see_the_right(probes: Sequence[Probe]) -> None:
    """Raise `Error` (`PRIVILEGE`) for each of these, if this process may not send an echo."""
    try:
        if probes:
            socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        what = "an echo may not be sent without CAP_NET_RAW"
        raise_all(
            Error(f"probe {probe.text}: {what}", kind=ErrorKind.PRIVILEGE, hint="run it as root")
            for probe in probes
        )
