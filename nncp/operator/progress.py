"""`nncp status --cluster`, `nncp rollout watch` and `nncp adopt`."""

from __future__ import annotations

import asyncio
import contextlib
from http import HTTPStatus
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind, raise_all
from nncp.operator import administrator, api
from nncp.operator.adoption import MARKER, PLAN_OF, WAITS, waiting
from nncp.operator.views import PolicyView, view, views

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nncp.operator.store import Object

HEARD = 10.0
"""Seconds in which a controller that runs has seen that a policy is adopted."""


async def status(server: api.Api) -> list[PolicyView]:
    """Return all policies with their nodes, but for those that only ask for somebody's plan."""
    policies = await administrator.listed(server, api.POLICY)
    enactments = await administrator.listed(server, api.ENACTMENT)
    lasting = (each for each in policies if PLAN_OF not in (each["metadata"].get("labels") or {}))
    return views(lasting, enactments)


async def watch(
    server: api.Api, name: str, seconds: float | None, tell: Callable[[PolicyView], None]
) -> PolicyView:
    """Tell of a policy after every change, until it has come to an end; return it as it is then.

    Raises:
        Error: there is no such policy, or none any more, or it has not come to an end in time.

    """
    only = api.Resource(api.POLICY.path, {"fieldSelector": f"metadata.name={name}"})
    parts = api.Resource(api.ENACTMENT.path, {"labelSelector": f"nmstate.io/policy={name}"})
    is_found = False
    async with (
        administrator.within(seconds, f"policy {name} has not come to an end"),
        administrator.Sight(server, only, parts) as sight,
    ):
        async for policies, enactments in sight.changes():
            if not policies:
                raise Error(f"policy {name} was removed", kind=ErrorKind.FAILED) if is_found else none(name)
            is_found = True
            seen = view(policies[0], enactments)
            tell(seen)
            if seen.has_ended:
                return seen
    raise AssertionError(name)


def none(name: str) -> Error:
    """Return that there is no such policy."""
    return Error(f"there is no policy {name}", kind=ErrorKind.USAGE, hint="kubectl get nncp lists them")


async def adopt(server: api.Api, namespace: str, names: Sequence[str], *, everything: bool) -> list[str]:
    """Have policies applied that were there before the operator; return which ones.

    Args:
        server: the API server.
        namespace: the operator's.
        names: of policies that wait for it.
        everything: all that wait, in place of names.

    Raises:
        Error: one of them does not wait, and none is adopted.

    """
    path = api.markers(namespace).named(MARKER)
    body = await _marker(server, path, namespace)
    uids = {
        each["metadata"]["name"]: each["metadata"]["uid"]
        for each in await administrator.listed(server, api.POLICY)
    }
    written = waiting(body)
    waits = [name for name, uid in sorted(written.items()) if uids.get(name) == uid]
    chosen = waits if everything else list(dict.fromkeys(names))
    raise_all(_wrong(chosen, waits, uids))
    if chosen:
        changes = [{"op": "remove", "path": f"/data/{name}"} for name in chosen]
        await server.patch(path, body["metadata"]["resourceVersion"], *changes)
        await _taken(server, frozenset(chosen))
    return chosen


async def _taken(server: api.Api, names: frozenset[str]) -> None:
    """Wait until nobody says any more that policies wait: who watches them next would take it for their end.

    Where no controller runs, one will say so when it does.
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HEARD), administrator.Sight(server, api.POLICY) as sight:
            async for (policies,) in sight.changes():
                words = {each["metadata"]["name"]: view(each, ()).word for each in policies}
                if not any(name in names and word.reason == WAITS for name, word in words.items()):
                    return


async def _marker(server: api.Api, path: str, namespace: str) -> Object:
    try:
        return await server.get(path)
    except api.Refusal as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        told = f"no controller has started in the namespace {namespace} yet"
        raise Error(told, kind=ErrorKind.UNSUPPORTED, hint=f"{administrator.DEPLOY} starts one") from None


def _wrong(chosen: Sequence[str], waits: Sequence[str], uids: dict[str, str]) -> Iterator[Error]:
    for name in chosen:
        if name not in uids:
            yield none(name)
        elif name not in waits:
            hint = f"these do: {', '.join(waits)}" if waits else "no policy does"
            yield Error(f"policy {name} does not wait to be adopted", kind=ErrorKind.USAGE, hint=hint)
