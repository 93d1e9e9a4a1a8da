"""The agent, on every node: it sees the node's own enactments, has the engine do them, and tells how it went.

    NODE_NAME=… POD_NAMESPACE=… python -m nncp.operator.node --socket PATH

What is done next is decided in `nncp.operator.enact`. Nothing is kept here that would be missed: what was
told stands in the enactments, and what was done the engine knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import UNSET, Struct, convert, to_builtins
from msgspec.structs import replace

from nncp import __version__
from nncp.errors import Error, ErrorKind
from nncp.operator import api, program
from nncp.operator.enact import Do, Duty, Heard, Later, Tell, next_step
from nncp.operator.events import Events, happened
from nncp.operator.line import Line
from nncp.operator.metrics import NodeNumbers, served
from nncp.operator.objects import GROUP, EnactmentSpec, EnactmentStatus, StateStatus, node_as_owner
from nncp.operator.protocol import Apply, Refused, Revert, Show, Shown
from nncp.operator.reading import BAD
from nncp.operator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.operator.protocol import Answered, Asked
    from nncp.operator.store import Object

LOG = logging.getLogger("nncp.node")
RENEW = 13.0
"""Seconds between two words that this agent is there, at most: a controller waits for three of them."""
LASTS = 40
APART = 10.0
"""Seconds between two writes of the node's state that nobody has asked for."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
LATER = 60.0
"""Seconds after which a write is tried again that the API server has refused for good."""
TRIES = 5
"""So often is a plan asked for that failed by what others did, or was ended."""
SOCKET, READY = Path("/run/nncp/engine.sock"), Path("/run/nncp/ready")


class Seen(Struct, frozen=True):
    """An enactment as the API server has it."""

    version: str
    duty: Duty


def own(node: str, version: str) -> Callable[[Object], Seen | None]:
    """Return what reads an enactment of a node's; of one that is not ours, or cannot be read, None."""

    def read(body: Object) -> Seen | None:
        about = body["metadata"]
        try:
            spec = convert(body.get("spec") or {}, EnactmentSpec)
        except BAD:
            return None
        if spec.node_name != node or about["name"] != f"{node}.{spec.policy_name}":
            return None
        duty = Duty(about["name"], spec, _status(body), version, about.get("uid", ""))
        return Seen(about["resourceVersion"], duty)

    return read


def _status(body: Object) -> EnactmentStatus:
    try:
        return convert(body.get("status") or {}, EnactmentStatus)
    except BAD:
        return EnactmentStatus()


class Agent:
    """All that a node's agent does.

    Args:
        server: the API server.
        engine: the engine.
        node: the node's name.
        namespace: of the agents' Leases.
        ready: the file that is there once the agent is ready.
        numbers: what it counts.

    """

    def __init__(
        self,
        server: api.Api,
        engine: Line,
        node: str,
        namespace: str,
        ready: Path,
        numbers: NodeNumbers | None = None,
    ) -> None:
        self.server = server
        self.engine = engine
        self.node = node
        self.namespace = namespace
        self.ready = ready
        self.store = Store(own(node, __version__), self._changed)
        self.parts: dict[str, Part] = {}
        self.state = State(self)
        self.events = Events(server, node)
        self.numbers = numbers or NodeNumbers(node)
        self.tasks = asyncio.TaskGroup()
        self.unready = {"enactments", "engine", "lease"}

    async def run(self) -> None:
        """Do it for ever."""
        self.ready.unlink(missing_ok=True)
        mine = replace(api.ENACTMENT, query={"fieldSelector": f"spec.nodeName={self.node}"})
        told = replace(api.STATE, query={"fieldSelector": f"metadata.name={self.node}"}, is_bare=True)
        async with self.tasks as tasks:
            tasks.create_task(self.server.watch(told, self.state.there, self.state.is_seen))
            tasks.create_task(self.server.watch(mine, self.store, lambda: self.is_ready("enactments")))
            tasks.create_task(self.state.run())
            tasks.create_task(self.events.run())
            tasks.create_task(self._look())
            tasks.create_task(self._renew())

    def is_ready(self, what: str) -> None:
        """Say so to the kubelet, once all is there that an agent needs."""
        if what not in self.unready:
            return
        self.unready.remove(what)
        if not self.unready:
            LOG.info("ready")
            with contextlib.suppress(OSError):
                self.ready.touch()

    def _changed(self) -> None:
        """Begin to look after what is new, and tell the others that there is something new."""
        for name, seen in self.store.known.items():
            if seen is not None and name not in self.parts:
                self.parts[name] = part = Part(name, self)
                self.tasks.create_task(part.run())
        for part in self.parts.values():
            part.changed.set()
        self.numbers.sees(seen.duty for seen in self.store.known.values() if seen)

    async def _look(self) -> None:
        """Have all looked at anew whenever the node may have changed."""
        pause = FIRST_PAUSE
        while True:
            try:
                async for _ in self.engine.changes():
                    pause = FIRST_PAUSE
                    self.is_ready("engine")
                    self.state.changed.set()
                    for part in self.parts.values():
                        part.node_has_changed()
            except (OSError, TimeoutError, Error) as error:
                LOG.info("the engine is away: %s", api.words(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _renew(self) -> None:
        """Say now and then that this agent is there."""
        leases = api.leases(self.namespace)
        while True:
            now = program.exactly_now()
            spec = {"holderIdentity": self.node, "leaseDurationSeconds": LASTS, "renewTime": now}
            try:
                await self._said(leases, spec)
                self.is_ready("lease")
            except api.Refusal as error:
                LOG.warning("the lease is not renewed: %s", error)
            except api.AWAY as error:
                LOG.info("the lease is not renewed: %s", api.words(error))
            await api.rest(RENEW)

    async def _said(self, leases: api.Resource, spec: dict[str, Any]) -> None:
        try:
            change = {"op": "add", "path": "/spec", "value": spec}
            await self.server.patch(leases.named(self.node), "", change)
        except api.Refusal as error:
            if error.status != 404:
                raise
            about = {"name": self.node, "namespace": self.namespace}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": about, "spec": spec}
            await self.server.create(leases, body)

    async def ask(self, request: Asked, tries: int = 0) -> Answered | None:
        """Return what the engine answers; None when it is away, or says something of itself alone.

        Args:
            request: what is asked; it may be asked again.
            tries: how often it was answered in vain.

        """
        start = time.monotonic()
        try:
            answer = await self.engine.ask(request)
        except (OSError, TimeoutError, Error) as error:
            LOG.info("the engine is away: %s", api.words(error))
            return None
        self.numbers.answered(request, answer, time.monotonic() - start)
        return None if _passes(answer, request, tries) else answer


def _passes(answer: Answered, request: Asked, tries: int) -> bool:
    """Whether an answer says something of the engine alone, and another is to be waited for."""
    if not isinstance(answer, Refused):
        return False
    if answer.kind == ErrorKind.INTERRUPTED.value:
        return True
    is_made = isinstance(request, Apply | Revert)
    return not is_made and answer.kind in {ErrorKind.FAILED.value, ErrorKind.BUG.value} and tries < TRIES


class Part:
    """One enactment, from its first look to its end.

    Args:
        name: the object's.
        agent: whose it is.

    """

    def __init__(self, name: str, agent: Agent) -> None:
        self.name = name
        self.agent = agent
        self.uid = ""
        self.heard = Heard()
        self.tries = 0
        self.told: EnactmentStatus | None = None
        """What is to be told and is not accepted yet: the newest word, which takes the place of others."""
        self.changed = asyncio.Event()
        self.words = asyncio.Event()

    @property
    def seen(self) -> Seen | None:
        """The enactment as the API server has it; None when it has gone."""
        return self.agent.store.known.get(self.name)

    def node_has_changed(self) -> None:
        """Look at the node anew."""
        self.heard = replace(self.heard, drift=None)
        self.changed.set()

    async def run(self) -> None:
        """Do what is to be done, as long as the enactment is there."""
        writing = asyncio.create_task(self._write())
        try:
            while (seen := self.seen) is not None:
                self.changed.clear()
                self._see_whose(seen.duty.uid)
                duty = replace(seen.duty, status=self.told) if self.told else seen.duty
                await self._take(duty, next_step(duty, self.heard, now=program.now()))
        finally:
            writing.cancel()
            self.agent.parts.pop(self.name, None)

    def _see_whose(self, uid: str) -> None:
        """Forget what was heard, and was to be told, of a former object of the name."""
        if uid != self.uid:
            self.uid, self.heard, self.told = uid, Heard(), None

    async def _take(self, duty: Duty, step: Tell | Do | Later) -> None:
        match step:
            case Tell(status=status):
                self.told = status
                self.words.set()
            case Do(request=request):
                answer = await self.agent.ask(request, self.tries)
                if answer is None:
                    await self._wait(min(FIRST_PAUSE * 2**self.tries, LONGEST_PAUSE))
                    self.tries += 1
                    return  # what is asked may be something else by then
                self.tries = 0
                self.heard = self.heard.with_answer(duty.asked, step, answer)
                if step.attempt:
                    self.agent.state.asked.set()
            case Later(seconds=seconds):
                if not await self._wait(seconds):
                    self.heard = replace(self.heard, drift=None)

    async def _wait(self, seconds: float | None) -> bool:
        """Wait until something has changed, at most for so long; return whether it has."""
        try:
            async with asyncio.timeout(seconds):
                return await self.changed.wait()
        except TimeoutError:
            return False

    async def _write(self) -> None:
        """Write what is to be told until it is accepted, however long the API server is away."""
        pause, is_lean = FIRST_PAUSE, False
        while True:
            await self.words.wait()
            told, seen = self.told, self.seen
            if told is None or seen is None or told == seen.duty.status:
                self.told = None if told == self.told else self.told
                self.words.clear()
                pause, is_lean = FIRST_PAUSE, False
                self.changed.set()
                continue
            try:
                self.agent.store.take(await self._sent(seen.version, _lean(told) if is_lean else told))
                self.told = None if self.told is told else self.told
                self.agent.events.note(happened(seen.duty.status, told), self.name, seen.duty.uid)
            except api.Refusal as error:
                LOG.info("the status of %s: %s", self.name, error)
                if error.is_lasting and not is_lean:
                    is_lean = True
                    continue
                await self._after(error, pause)
            except api.AWAY as error:
                LOG.info("the status of %s: %s", self.name, api.words(error))
                await api.rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _sent(self, version: str, status: EnactmentStatus) -> Object:
        path = api.ENACTMENT.named(self.name, "status")
        value = to_builtins(status)
        return await self.agent.server.patch(path, version, {"op": "add", "path": "/status", "value": value})

    async def _after(self, error: api.Refusal, pause: float) -> None:
        """Wait until a write may be tried again: with what the object is by now, or some time later."""
        if not error.is_overtaken:
            await api.rest(LATER if error.is_lasting else pause)
            return
        try:
            self.agent.store.take(await self.agent.server.get(api.ENACTMENT.named(self.name)))
        except (api.Refusal, *api.AWAY):
            await asyncio.sleep(FIRST_PAUSE)  # the watch tells of it


def _lean(status: EnactmentStatus) -> EnactmentStatus:
    """Return a status without what may be too much of it."""
    return replace(status, desired_state=UNSET, captured_states=UNSET, diff=UNSET)


class State:
    """The node's NodeNetworkState."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.changed = asyncio.Event()
        self.asked = asyncio.Event()
        """Set after an apply: whoever has asked for it looks at the state next."""
        self.known: StateStatus | None = None
        self.there: Store[str] = Store(lambda body: str(body["metadata"]["uid"]), self.is_seen)

    def is_seen(self) -> None:
        """Write it again when the object has gone: deleted by somebody, or with its Node, which came back."""
        if not self.there.known and self.known is not None:
            self.known = None
            self.asked.set()

    async def run(self) -> None:
        """Write it whenever it is another one."""
        while True:
            await _first_of(self.changed, self.asked)
            self.changed.clear()
            self.asked.clear()
            shown = await self.agent.ask(Show())
            if isinstance(shown, Shown):
                self.agent.numbers.shown(shown.state)
                await self._until_told(shown)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(APART):
                    await self.asked.wait()

    async def _until_told(self, shown: Shown) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._tell(shown)
            except api.Refusal as error:
                LOG.warning("the node's state: %s", error)
                await api.rest(LATER if error.is_lasting else pause)
            except api.AWAY as error:
                LOG.info("the node's state: %s", api.words(error))
                await api.rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _tell(self, shown: Shown) -> None:
        """Write the state unless it is written already."""
        before = self.known or await self._had()
        fresh = StateStatus(
            current_state=dict(shown.state),
            last_successful_update_time=program.now(),
            truncated=shown.truncated or UNSET,
            restore=shown.restore or UNSET,
        )
        if fresh == replace(before, last_successful_update_time=fresh.last_successful_update_time):
            self.known = before
            return
        self.known = None
        change = {"op": "add", "path": "/status", "value": to_builtins(fresh)}
        await self.agent.server.patch(api.STATE.named(self.agent.node, "status"), "", change)
        self.known = fresh

    async def _had(self) -> StateStatus:
        """Return what the API server has of it; the object is made where there is none."""
        server, node = self.agent.server, self.agent.node
        try:
            body = await server.get(api.STATE.named(node))
        except api.Refusal as error:
            if error.status != 404:
                raise
            owner = await server.get(api.NODE.named(node))
            body = await server.create(api.STATE, _state(node, owner["metadata"]["uid"]))
        try:
            return convert(body.get("status") or {}, StateStatus)
        except BAD:
            return StateStatus()


def _state(node: str, uid: str) -> dict[str, Any]:
    """Return a NodeNetworkState, which goes with its node."""
    about = {"name": node, "ownerReferences": [node_as_owner(node, uid)]}
    return {"apiVersion": f"{GROUP}/v1beta1", "kind": "NodeNetworkState", "metadata": about}


async def _first_of(*events: asyncio.Event) -> None:
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _run(agent: Callable[[api.Api], Agent], numbers: NodeNumbers, address: str, port: int) -> None:
    """Run an agent until this process is asked to end."""
    async with await api.Api.connect(numbers.written) as server, served(numbers.registry, address, port):
        await program.until_asked_to_end([agent(server).run()])


@click.command()
@click.option("--socket", "path", type=click.Path(path_type=Path), default=SOCKET, show_default=True)
@click.option("--ready", type=click.Path(path_type=Path), default=READY, show_default=True)
@click.option("--node", envvar="NODE_NAME", required=True, help="The node's name.")
@click.option("--namespace", envvar="POD_NAMESPACE", required=True, help="Of the agents' Leases.")
@click.option("--metrics-port", default=8090, show_default=True, help="For Prometheus; 0 for none.")
@click.option("--metrics-address", default="127.0.0.1", show_default=True, help="At which it may ask.")
def main(path: Path, ready: Path, node: str, namespace: str, metrics_port: int, metrics_address: str) -> None:
    """Do what a node's enactments ask for, and tell how it went."""
    numbers = NodeNumbers(node)

    def agent(server: api.Api) -> Agent:
        return Agent(server, Line(path), node, namespace, ready, numbers)

    program.run(_run(agent, numbers, metrics_address, metrics_port))


if __name__ == "__main__":
    main()
