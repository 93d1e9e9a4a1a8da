"""Who of several leads: who holds a Lease (coordination.k8s.io/v1), as in client-go's leaderelection.

Time is this process's own: another's word counts until it has said nothing new for a while, whatever the
clocks say. Two may believe that they lead for a moment; each write meets what was seen, or fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nncp.operator import api
from nncp.operator.program import exactly_now

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

LOG = logging.getLogger("nncp.election")
DURATION, DEADLINE, RETRY, ANSWER = 15.0, 10.0, 2.0, 4.0
"""Seconds: for which a word counts; after which a leader steps down that cannot renew it; between tries; for
one: a request that a busy server has put off for long is better asked anew."""


class Election:
    """One candidate.

    Args:
        server: the API server.
        namespace: of the Lease.
        name: of the Lease.
        identity: the candidate's; no two have the same.

    """

    def __init__(self, server: api.Api, namespace: str, name: str, identity: str) -> None:
        self.server = server
        self.resource = api.leases(namespace)
        self.name = name
        self.identity = identity
        self._known: object = None
        self._since = 0.0

    async def lead(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Wait until this one leads, work as long as it does, and return when it does not any more.

        Whoever is cancelled meanwhile lets the next one lead at once.
        """
        await self._wait()
        LOG.info("%s leads", self.identity)
        working = asyncio.create_task(work())
        try:
            await self._renew(working)
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
            with contextlib.suppress(api.Refusal, *api.AWAY):
                await self._release()

    async def _wait(self) -> None:
        while True:
            if await self._hold():
                return
            await asyncio.sleep(RETRY)

    async def _renew(self, working: asyncio.Task[None]) -> None:
        until = time.monotonic() + DEADLINE
        while time.monotonic() < until and not working.done():
            if await self._hold():
                until = time.monotonic() + DEADLINE
            await asyncio.wait([working], timeout=RETRY)
        LOG.warning("%s does not lead any more", self.identity)

    async def _hold(self) -> bool:
        """Return whether the Lease is this one's now."""
        try:
            async with asyncio.timeout(ANSWER):
                return await self._tried()
        except (api.Refusal, *api.AWAY) as error:
            LOG.info("the lease %s: %s", self.name, api.words(error))
            return False

    async def _tried(self) -> bool:
        path = self.resource.named(self.name)
        try:
            lease = await self.server.get(path)
        except api.Refusal as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
            made = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": self.name}}
            await self.server.create(self.resource, {**made, "spec": self._spec({})})
            return True
        spec = lease.get("spec") or {}
        holder, now = spec.get("holderIdentity"), time.monotonic()
        if (word := (holder, spec.get("renewTime"))) != self._known:
            self._known, self._since = word, now
        if holder and holder != self.identity and now - self._since < DURATION:
            return False
        await self.server.put(path, {**lease, "spec": self._spec(spec)})
        return True

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = exactly_now()
        is_new = before.get("holderIdentity") != self.identity
        return {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": int(DURATION),
            "acquireTime": now if is_new else before.get("acquireTime"),
            "renewTime": now,
            "leaseTransitions": before.get("leaseTransitions", 0) + is_new,
        }

    async def _release(self) -> None:
        """Give the Lease back, if it is this one's: nobody has to wait until its word counts no more."""
        path = self.resource.named(self.name)
        lease = await self.server.get(path)
        spec = lease.get("spec") or {}
        if spec.get("holderIdentity") == self.identity:
            await self.server.put(path, {**lease, "spec": {**spec, "holderIdentity": ""}})
