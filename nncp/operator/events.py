"""What people are told of as it happens: events of Kubernetes, at most two of a node for an attempt.

What has happened follows from a status that was accepted and the one before it. Events say nothing that the
conditions do not say; one that is lost is missed by nobody, so none is ever tried again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.document.lax import given
from nncp.operator import api
from nncp.operator.conditions import DRIFTED, message_of, phase_of
from nncp.operator.objects import GROUP
from nncp.operator.program import exactly_now
from nncp.operator.rollout import Phase

if TYPE_CHECKING:
    from nncp.operator.objects import EnactmentStatus

LOG = logging.getLogger("nncp.events")
CONTROLLER = f"{GROUP}/agent"
LONGEST = 1000
"""Bytes of a note (events.k8s.io/v1, validation: less than 1 kB)."""
BURST, ONE_MORE = 20, 30.0
"""So many at once, and one more after so many seconds: all that a node may add to what etcd keeps."""
WAITING = 20
"""Events that wait while the API server is slow; more are lost."""


class Event(Struct, frozen=True):
    """Something that has happened.

    Args:
        reason: in one word; kubernetes-nmstate's where it has one.
        action: what was being done.
        note: one line for people.
        is_bad: whether somebody should look at it.

    """

    reason: str
    action: str
    note: str
    is_bad: bool = False


def happened(before: EnactmentStatus, after: EnactmentStatus) -> Event | None:
    """Return what has happened between two statuses of an enactment, if it is to be told."""
    was, now = _phase(before), _phase(after)
    has_ended = given(after.ended) != given(before.ended)
    match now:
        case Phase.GOING if was is not now:
            return Event("ConfigurationProgressing", "Apply", _said(after, "Progressing"))
        case Phase.DONE if has_ended:
            return Event("SuccessfullyConfigured", "Apply", _said(after, "Available"))
        case Phase.FAILED if has_ended:
            return Event("ReconcileFailed", "Rollback", _said(after, "Failing"), is_bad=True)
        case Phase.FAILED if was is not now or given(before.asked) != given(after.asked):
            return Event("ReconcileFailed", "Plan", _said(after, "Failing"), is_bad=True)
        case Phase.ABORTED if was is not now:
            return Event("ReconcileFailed", "Abort", _said(after, "Aborted"), is_bad=True)
    drifted = _said(after, DRIFTED)
    if drifted and not _said(before, DRIFTED):
        return Event("ConfigurationDrifted", "Compare", drifted, is_bad=True)
    return None


def _phase(status: EnactmentStatus) -> Phase:
    return phase_of(given(status.conditions) or [])


def _said(status: EnactmentStatus, name: str) -> str:
    """Return what a condition says that holds."""
    return message_of(given(status.conditions) or [], name)


def body(event: Event, *, node: str, name: str, uid: str, now: str) -> dict[str, Any]:
    """Return an event of an enactment as the API has it.

    Args:
        event: what has happened.
        node: where.
        name: of the enactment.
        uid: likewise.
        now: the time, as the API writes it.

    """
    regarding = {"apiVersion": f"{GROUP}/v1beta1", "kind": "NodeNetworkConfigurationEnactment"}
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{name[:50].rstrip('.-')}-", "namespace": "default"},
        "regarding": {**regarding, "name": name, "uid": uid},
        "eventTime": now,
        "reportingController": CONTROLLER,
        "reportingInstance": node[:128],
        "type": "Warning" if event.is_bad else "Normal",
        "reason": event.reason,
        "action": event.action,
        "note": event.note.encode()[:LONGEST].decode(errors="ignore"),
    }


class Allowance:
    """How many may still be told.

    Args:
        now: the time, in seconds of any clock that does not jump.

    """

    def __init__(self, now: float) -> None:
        self._left = float(BURST)
        self._since = now

    def take(self, now: float) -> bool:
        """Take one; return whether there was one."""
        self._left = min(BURST, self._left + (now - self._since) / ONE_MORE)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Events:
    """What an agent tells.

    Args:
        server: the API server.
        node: the agent's.

    """

    def __init__(self, server: api.Api, node: str) -> None:
        self.server = server
        self.node = node
        self._allowance = Allowance(time.monotonic())
        self._waiting: asyncio.Queue[dict[str, Any]] = asyncio.Queue(WAITING)

    def note(self, event: Event | None, name: str, uid: str) -> None:
        """Tell an event of an enactment in a while, if there is one and not too many were told."""
        if event is None or self._waiting.full() or not self._allowance.take(time.monotonic()):
            return
        told = body(event, node=self.node, name=name, uid=uid, now=exactly_now())
        self._waiting.put_nowait(told)

    async def run(self) -> None:
        """Tell them, for ever."""
        while True:
            event = await self._waiting.get()
            try:
                await self.server.create(api.EVENT, event)
            except (api.Refusal, *api.AWAY) as error:
                LOG.info("an event is lost: %s", api.words(error))
