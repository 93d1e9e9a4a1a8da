"""`nncp plan --cluster`: what nodes would change for a policy, as they say themselves.

A policy that only plans is made under a name of its own, and removed whatever happens; the controller removes
it when nobody else does.
"""

from __future__ import annotations

import asyncio
import secrets
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.desired import checked
from nncp.document.policy import read_policies
from nncp.document.source import load
from nncp.errors import Error, ErrorKind, raise_all
from nncp.operator import administrator, api
from nncp.operator.adoption import PLAN_OF
from nncp.operator.answers import Plan
from nncp.operator.objects import GROUP
from nncp.operator.views import PLANNED, PolicyView, view

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LONGEST = 45
"""Characters of a policy's name that the generated one begins with: a name has 63 at most."""
TIDY = 10.0
"""Seconds for removing a policy at the end."""


class Asked(Struct, frozen=True):
    """A policy that asks what another one would do.

    Args:
        of: the other one's name.
        name: its own.
        spec: what it asks for.

    """

    of: str
    name: str
    spec: dict[str, Any]

    @property
    def body(self) -> dict[str, Any]:
        """The object."""
        about = {"name": self.name, "labels": {PLAN_OF: self.of}}
        kind = {"apiVersion": f"{GROUP}/v1", "kind": "NodeNetworkConfigurationPolicy"}
        return {**kind, "metadata": about, "spec": {**self.spec, "mode": "Plan"}}


def asked(texts: Iterable[tuple[str, str]]) -> list[Asked]:
    """Return what asks for the plans of all policies in texts, each with its file's name.

    Raises:
        Error: with all that is wrong with them, which would be wrong on every node.

    """
    texts = list(texts)
    for _ in checked(texts):
        pass
    nodes = [node for file, text in texts for node in load(text, file=file) if node.value is not None]
    raise_all(
        node.error("a state without a manifest says not for which nodes it is", hint="give a policy")
        for node in nodes
        if not all(policy.is_manifest for policy in read_policies([node]))
    )
    return [_asked(manifest) for node in nodes for manifest in _manifests(node.value)]


def _manifests(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if value.get("kind") != "List":
        yield value
        return
    for item in value["items"]:
        yield from _manifests(item)


def _asked(manifest: dict[str, Any]) -> Asked:
    of = manifest["metadata"]["name"]
    return Asked(of, f"plan-{of[:LONGEST].rstrip('.-')}-{secrets.token_hex(4)}", manifest["spec"])


async def planned(server: api.Api, found: Sequence[Asked], seconds: float) -> list[Plan]:
    """Return what the nodes say, of those that answer in time.

    Raises:
        Error: nobody looks at policies, or the nodes were not asked since something is wrong.

    """
    return list(await asyncio.gather(*(_planned(server, each, seconds) for each in found)))


async def _planned(server: api.Api, one: Asked, seconds: float) -> Plan:
    await administrator.listed(server, api.Resource(api.POLICY.path, {"limit": "1"}))
    try:
        await server.create(api.POLICY, one.body)
        seen = await _answered(server, one.name, seconds)
    finally:
        # A request that was given up may have been heard: so it is removed whatever became of it.
        await asyncio.shield(_removed(server, one.name))
    if seen.word.holds == "Degraded" and seen.word.reason != PLANNED:
        raise Error(seen.word.message, subject=one.of)
    return Plan(one.of, seen)


async def _answered(server: api.Api, name: str, seconds: float) -> PolicyView:
    """Wait until all nodes have answered, or as long as somebody wants to wait."""
    only = api.Resource(api.POLICY.path, {"fieldSelector": f"metadata.name={name}"})
    parts = api.Resource(api.ENACTMENT.path, {"labelSelector": f"nmstate.io/policy={name}"})
    seen = PolicyView(name)
    is_found = False
    try:
        async with asyncio.timeout(seconds), administrator.Sight(server, only, parts) as sight:
            async for policies, enactments in sight.changes():
                if not policies and is_found:
                    told = f"the policy {name} was removed before all nodes had answered"
                    raise Error(told, kind=ErrorKind.FAILED)
                is_found = bool(policies)
                seen = view(policies[0], enactments) if policies else seen
                if _is_answered(seen):
                    break
    except TimeoutError:
        if not seen.word.holds:
            told = f"no controller has looked at the policy for {seconds:g} s"
            hint = f"does it run? kubectl get pods -n bridgehead; {administrator.DEPLOY} brings it"
            raise Error(told, kind=ErrorKind.UNSUPPORTED, hint=hint) from None
    return seen


def _is_answered(seen: PolicyView) -> bool:
    """Whether all nodes have answered, also as it is seen here: each object is watched by itself."""
    if seen.word.reason == PLANNED:
        return bool(seen.nodes) and all(each.word.holds for each in seen.nodes)
    return seen.word.holds not in {"", "Progressing"}


async def _removed(server: api.Api, name: str) -> None:
    async with asyncio.timeout(TIDY):
        try:
            await server.delete(api.POLICY.named(name))
        except api.Refusal as error:
            if error.status != HTTPStatus.NOT_FOUND:
                raise
