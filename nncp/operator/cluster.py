"""The controller, once per cluster: it sees policies, nodes and enactments, and writes what is decided.

    python -m nncp.operator.cluster

What is to be written is decided in `nncp.operator.reconcile`, anew after every change, from all that it saw.
Nothing is kept here that would be missed: whoever takes over sees the same and decides the same.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import to_builtins
from msgspec.structs import replace

from nncp.operator import adoption, api, program, reading
from nncp.operator.election import Election
from nncp.operator.metrics import ClusterNumbers, served
from nncp.operator.objects import GROUP, node_as_owner
from nncp.operator.parts import Memory
from nncp.operator.reconcile import writes
from nncp.operator.seen import Seen
from nncp.operator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping

    from nncp.operator.reconcile import Write
    from nncp.operator.seen import Policy
    from nncp.operator.selection import Node

LOG = logging.getLogger("nncp.controller")
TOGETHER = 0.02
"""Seconds that changes are gathered for before it is decided anew."""
TOLD_EVERY = 1.0
"""Seconds between two writes of a policy's status that say the same with other numbers."""
AGAIN, LATER = 1.0, 60.0
"""Seconds after which a write is tried again that was not answered, and one that was refused for good."""
HEARD = 40.0
"""Seconds for which an agent's word counts that it is there (as a kubelet's: node-monitor-grace-period)."""
SIDE_BY_SIDE = 16
NAMESPACE = "bridgehead"


class Leases:
    """When the nodes' agents were heard of last, by this process's own clock.

    What a Lease says of the time is not compared with it: clocks differ, and jump.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.store: Store[str] = Store(self._read, changed)
        self.heard: dict[str, float] = {}
        self.changed = changed

    def _read(self, body: Mapping[str, Any]) -> str:
        name, now = body["metadata"]["name"], time.monotonic()
        if now - self.heard.get(name, -HEARD) >= HEARD:
            self.changed()  # it is back, and says what it said
        self.heard[name] = now
        return str((body.get("spec") or {}).get("holderIdentity"))

    def are_fresh(self) -> dict[str, float]:
        """Return for how long the word of each agent still counts."""
        now = time.monotonic()
        left = {name: self.heard[name] + HEARD - now for name in self.store.known}
        return {name: seconds for name, seconds in left.items() if seconds > 0}


class Ages:
    """For how long policies have been seen, by this process's own clock, by their uids."""

    def __init__(self) -> None:
        self.since: dict[str, float] = {}

    def of(self, uids: Iterable[str]) -> dict[str, float]:
        """Return the ages in seconds of those that there are."""
        now = time.monotonic()
        self.since = {uid: self.since.get(uid, now) for uid in uids}
        return {uid: now - since for uid, since in self.since.items()}


class Controller:
    """What has been seen, and what is written because of it.

    Args:
        server: the API server.
        namespace: in which the agents' Leases are.
        numbers: what it counts.
        ready: a file that is there once it is written down which policies wait for adoption: those that come
            later do not.

    """

    def __init__(
        self, server: api.Api, namespace: str, numbers: ClusterNumbers, ready: Path | None = None
    ) -> None:
        self.server = server
        self.changed = asyncio.Event()
        self.alarm = program.Alarm(self.changed)
        self.policies = Store(reading.policy, self.changed.set)
        self.nodes = Store(reading.node, self.changed.set)
        self.enactments = Store(reading.enactment, self.changed.set)
        self.leases = Leases(self.changed.set)
        self.memory = Memory()
        self.numbers = numbers
        numbers.look_at(self.policies.known, self.enactments.known)
        self.refused: dict[str, str] = {}
        self.told: dict[str, float] = {}
        self.agents = api.leases(namespace)
        self.namespace = namespace
        self.ready = ready
        self.markers = Store(adoption.waiting, self._marked)
        self.ages = Ages()
        self.unlisted = {"everything"}

    def watches(self) -> list[Coroutine[Any, Any, None]]:
        """Return what watches, for ever."""
        found: list[tuple[str, api.Resource, Store[Any]]] = [
            ("policies", api.POLICY, self.policies),
            ("nodes", api.NODE, self.nodes),
            ("enactments", api.ENACTMENT, self.enactments),
            ("leases", self.agents, self.leases.store),
            ("adoption", api.markers(self.namespace), self.markers),
        ]
        self.unlisted = {name for name, *_ in found}
        return [self.server.watch(resource, store, self._listed(name)) for name, resource, store in found]

    def _listed(self, name: str) -> Callable[[], None]:
        def listed() -> None:
            self.unlisted.discard(name)
            self.changed.set()

        return listed

    def seen(self) -> Seen:
        """Return all that it sees, as it is now: it goes on while somebody decides."""
        fresh = self.leases.are_fresh()
        if fresh:
            self.alarm.within(min(fresh.values()))
        nodes = {name: _with_agent(node, fresh) for name, node in self.nodes.known.items()}
        policies = dict(self.policies.known)
        waiting = dict(self.markers.known.get(adoption.MARKER, {}))
        return Seen(
            policies,
            nodes,
            dict(self.enactments.known),
            dict(self.refused),
            waiting,
            self._outlived(policies.values()),
        )

    def _outlived(self, policies: Collection[Policy]) -> frozenset[str]:
        """Return the policies that commands have left behind, and look again when the next one is old."""
        ages = self.ages.of(each.uid for each in policies if each.plan_of)
        left = [adoption.OUTLIVED - age for age in ages.values() if age < adoption.OUTLIVED]
        if left:
            self.alarm.within(min(left))
        return frozenset(each.name for each in adoption.outlived(policies, ages))

    async def run(self) -> None:
        """Decide and write, after every change; who leads anew begins with all that there is."""
        self.changed.set()
        while True:
            await self.changed.wait()
            await asyncio.sleep(TOGETHER)
            self.changed.clear()
            if self.unlisted:
                continue  # what is not seen yet must not be taken for gone
            if not await self._is_marked():
                continue
            found = await self._decided()
            gate = asyncio.Semaphore(SIDE_BY_SIDE)
            await asyncio.gather(*(self._send(write, gate) for write in found if self._is_due(write)))

    def _marked(self) -> None:
        """Say so to the kubelet."""
        self.changed.set()
        if self.ready:
            self.ready.touch()

    async def _is_marked(self) -> bool:
        """Write down what waits for adoption, where no controller has started yet; return whether it is done.

        Until then nothing is asked of any node.
        """
        if self.markers.known:
            return True
        found = adoption.marker(self.namespace, adoption.found_first(self.seen()))
        try:
            self.markers.take(await self.server.create(api.markers(self.namespace), found))
        except (api.Refusal, *api.AWAY) as error:
            LOG.warning("what waits for adoption is not written down: %s", api.words(error))
            self.alarm.within(AGAIN)
            return False
        LOG.info("the first start in this cluster: %d policies wait for adoption", len(found["data"]))
        return True

    async def _decided(self) -> list[Write]:
        """Return what is to be written; a decision ends before another begins, also when nobody waits."""
        with self.numbers.decisions.time():
            deciding = asyncio.create_task(
                asyncio.to_thread(writes, self.seen(), self.memory, now=program.now())
            )
            try:
                return await asyncio.shield(deciding)
            finally:
                await asyncio.wait([deciding])

    def _is_due(self, write: Write) -> bool:
        """Whether a write is made now: a policy's status is not written for each node that it counts."""
        if write.verb != "status":
            return True
        policy, now = self.policies.known.get(write.name), time.monotonic()
        wait = self.told.get(write.name, 0.0) + TOLD_EVERY - now
        if policy and wait > 0 and _holds(write.body) == _holds(to_builtins(policy.status)):
            self.alarm.within(wait)
            return False
        self.told[write.name] = now
        return True

    async def _send(self, write: Write, gate: asyncio.Semaphore) -> None:
        """Make one write, and take what it has led to: the watch tells it later."""
        async with gate:
            try:
                await self._write(write)
            except api.Refusal as error:
                self._note(write, error)
            except api.AWAY as error:
                LOG.warning("%s of %s: %s", write.verb, write.name, api.words(error))
                self.alarm.within(AGAIN)

    def _note(self, write: Write, error: api.Refusal) -> None:
        LOG.info("%s of %s: %s", write.verb, write.name, error)
        if error.is_overtaken or not error.is_lasting:
            self.alarm.within(AGAIN)
        elif write.verb == "status":
            self.alarm.within(LATER)
        else:
            self.refused[write.name] = str(error)
            asyncio.get_running_loop().call_later(LATER, self._forget, write.name)
            self.changed.set()

    def _forget(self, name: str) -> None:
        """Try again what was refused: quotas and admission policies change."""
        self.refused.pop(name, None)
        self.changed.set()

    async def _write(self, write: Write) -> None:
        path, server = api.ENACTMENT.named(write.name), self.server
        match write.verb:
            case "create":
                self.enactments.take(await server.create(api.ENACTMENT, _enactment(write)))
            case "spec":
                change = {"op": "add", "path": "/spec", "value": write.whole()}
                self.enactments.take(await server.patch(path, write.version, change))
            case "set":
                changes = (
                    {"op": "add", "path": f"/spec/{key}", "value": value} for key, value in write.body.items()
                )
                self.enactments.take(await server.patch(path, write.version, *changes))
            case "withdraw":
                await server.delete(api.POLICY.named(write.name), write.version)
                self.policies.drop(write.name, int(write.version))
            case "delete":
                await server.delete(path, write.version)
                self.enactments.drop(write.name, int(write.version))
            case _:
                change = {"op": "add", "path": "/status", "value": write.body}
                status = api.POLICY.named(write.name, "status")
                self.policies.take(await server.patch(status, write.version, change))


def _with_agent(node: Node, fresh: Mapping[str, float]) -> Node:
    return replace(node, is_ready=node.is_ready and node.name in fresh)


def _holds(status: Mapping[str, Any]) -> tuple[object, ...]:
    """Return which condition of a policy holds, and for which generation."""
    conditions = status.get("conditions") or ()
    return status.get("observedGeneration"), *((each["type"], each["status"]) for each in conditions)


def _enactment(write: Write) -> dict[str, Any]:
    """Return an enactment, which goes with its node."""
    node = write.node
    labels = {"nmstate.io/policy": write.body["policyName"], "nmstate.io/node": node.name}
    return {
        "apiVersion": f"{GROUP}/v1beta1",
        "kind": "NodeNetworkConfigurationEnactment",
        "metadata": {
            "name": write.name,
            "labels": labels,
            "ownerReferences": [node_as_owner(node.name, node.uid)],
        },
        "spec": write.whole(),
    }


async def _lead(election: Election, controller: Controller) -> None:
    """Work whenever this one leads: an API server that was away is nothing to begin anew for."""
    while True:
        await election.lead(controller.run)


async def _run(numbers: ClusterNumbers, address: str, port: int) -> None:
    """Run the controller until it is ended."""
    namespace = os.environ.get("POD_NAMESPACE", NAMESPACE)
    identity = os.environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}"
    ready = Path(os.environ["READY"]) if "READY" in os.environ else None
    if ready:
        ready.unlink(missing_ok=True)
    async with await api.Api.connect(numbers.written) as server, served(numbers.registry, address, port):
        controller = Controller(server, namespace, numbers, ready)
        leading = _lead(Election(server, namespace, "controller", identity), controller)
        await program.until_asked_to_end([*controller.watches(), leading])


@click.command()
@click.option("--metrics-port", default=8089, show_default=True, help="For Prometheus; 0 for none.")
@click.option("--metrics-address", default="0.0.0.0", show_default=True, help="At which it may ask.")  # noqa: S104  a Pod's own
def main(metrics_port: int, metrics_address: str) -> None:
    """Decide what each node is asked for, once per cluster."""
    program.run(_run(ClusterNumbers(), metrics_address, metrics_port))


if __name__ == "__main__":
    main()
