"""How an agent's words get to the API server, whatever that says.

The server and the engine are stand-ins here: a real server's conflicts and refusals come when they like.
"""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nncp.operator import api
from nncp.operator.line import Line
from nncp.operator.node import Agent, own
from nncp.operator.objects import EnactmentStatus
from nncp.operator.protocol import Ask, Outcome, Phase, Plan, Planned, Show, Shown

DIFFERS = Planned(True, ("~ eth1", "Plan: 1 to change."), desired={"interfaces": []})


class Server(api.Api):
    """One enactment, and what the next writes are answered."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = list(refusals)
        spec = {"nodeName": "n", "policyName": "p", "policyGeneration": 1, "asked": "a", "desiredState": {}}
        self.body: dict[str, Any] = {
            "metadata": {"name": "n.p", "uid": "u", "resourceVersion": "1"},
            "spec": spec,
        }
        self.states: list[Any] = []
        self.tried = 0

    def changed(self, **spec: Any) -> dict[str, Any]:
        about = self.body["metadata"]
        about["resourceVersion"] = str(int(about["resourceVersion"]) + 1)
        self.body["spec"] |= spec
        return copy.deepcopy(self.body)

    async def get(self, path: str, query: Any = None) -> Any:  # noqa: ARG002
        if path.startswith(api.ENACTMENT.path):
            return copy.deepcopy(self.body)
        return {"metadata": {"name": "n", "uid": "u"}, "status": {}}

    async def patch(self, path: str, version: str, *changes: Any) -> Any:
        if path.startswith(api.STATE.path):
            self.states.append(changes[0]["value"])
            return {}
        self.tried += 1
        if self.refusals:
            raise self.refusals.pop(0)
        if version != self.body["metadata"]["resourceVersion"]:
            raise api.Refusal(409, "the object has been modified")
        self.body["status"] = copy.deepcopy(changes[0]["value"])
        return self.changed()


class Engine(Line):
    """An engine that has one answer to a plan, and makes all attempts."""

    def __init__(self, plan: Planned = DIFFERS, *, away: int = 0) -> None:
        super().__init__(Path("nowhere"))
        self.plan = plan
        self.away = away
        self.asked: list[Any] = []

    async def ask(self, request: Any) -> Any:
        if self.away:
            self.away -= 1
            raise ConnectionRefusedError
        self.asked.append(request)
        match request:
            case Plan():
                return self.plan
            case Show():
                return Shown({"interfaces": []})
            case Ask():
                return Outcome(request.attempt, Phase.NEVER)
        return Outcome(request.attempt, Phase.DONE, desired={"interfaces": []})


async def holds(look: Any) -> None:
    """Wait until something holds that nobody tells of."""
    while not look():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def run(agent: Agent, server: Server, until: Any) -> None:
    """Let the agent do what it does about the enactment until something holds."""
    async with asyncio.timeout(60), agent.tasks as tasks:
        agent.store.take(copy.deepcopy(server.body))
        await holds(until)
        assert list(agent.parts) == ["n.p"]
        agent.store.drop("n.p", 10_000)
        tasks.create_task(asyncio.sleep(0))
    assert agent.parts == {}


def agent(server: Server, engine: Engine) -> Agent:
    return Agent(server, engine, "n", "ns", Path("nowhere"))


def told(server: Server) -> str:
    conditions = server.body.get("status", {}).get("conditions", ())
    return " ".join(each["type"] for each in conditions if each["status"] == "True")


@pytest.mark.parametrize(
    "refusals",
    [
        [api.Refusal(409, "modified")],
        [aiohttp.ClientConnectionError(), TimeoutError(), api.Refusal(503, "not now")],
    ],
)
def test_a_word_is_said_until_it_is_taken(refusals: list[Exception]) -> None:
    server = Server(*refusals)
    asyncio.run(run(agent(server, Engine()), server, lambda: told(server) == "Pending"))
    assert server.body["status"]["asked"] == "a"
    assert server.tried == len(refusals) + 1


def test_a_word_on_an_object_that_has_changed_meanwhile_is_said_of_what_it_is_now() -> None:
    server, engine = Server(), Engine()
    one = agent(server, engine)

    async def course() -> None:
        async with asyncio.timeout(60), one.tasks:
            one.store.take(copy.deepcopy(server.body))
            server.changed(drift="Ignore")  # and the watch has not told of it yet
            await holds(lambda: told(server) == "Pending")
            one.store.take(server.changed(go="a.0"))
            server.changed(priority=1)
            await holds(lambda: told(server) == "Available")
            one.store.drop("n.p", 10_000)

    asyncio.run(course())
    assert server.body["status"]["ended"] == "a.0"
    assert server.tried > 3
    asked = [type(each).__name__ for each in engine.asked if not isinstance(each, Show)]
    assert asked == ["Plan", "Apply"]


def test_what_the_server_does_not_take_is_said_in_short() -> None:
    server = Server(api.Refusal(422, "too much"))
    asyncio.run(run(agent(server, Engine(Planned(False, desired={"x": 1}))), server, lambda: told(server)))
    assert told(server) == "Available"
    assert "desiredState" not in server.body["status"]


def test_an_engine_that_is_away_is_asked_again() -> None:
    server = Server()
    asyncio.run(run(agent(server, Engine(away=3)), server, lambda: told(server) == "Pending"))


def test_the_nodes_state_is_told_once() -> None:
    server = Server()
    one = agent(server, Engine())

    async def course() -> None:
        await one.state._until_told(Shown({"interfaces": []}))
        await one.state._until_told(Shown({"interfaces": []}))
        await one.state._until_told(Shown({"interfaces": [{"name": "eth1"}]}, "left out: routes"))
        for _ in range(2):
            await one.state._until_told(Shown({"interfaces": []}, restore="unit"))

    asyncio.run(course())
    assert [each["currentState"]["interfaces"] for each in server.states] == [[], [{"name": "eth1"}], []]
    assert server.states[1]["truncated"] == "left out: routes"
    assert server.states[2]["restore"] == "unit"


def test_only_the_nodes_own_enactments_are_its_business() -> None:
    read = own("n", "1")
    about = {"name": "n.p", "uid": "u", "resourceVersion": "1"}
    spec = {"nodeName": "n", "policyName": "p", "policyGeneration": 1}
    assert read({"metadata": about, "spec": spec}) is not None
    for other in ({"nodeName": "m"}, {"policyName": "q"}, {"policyGeneration": "x"}):
        assert read({"metadata": about, "spec": spec | other}) is None
    broken = read({"metadata": about, "spec": spec, "status": {"conditions": 7}})
    assert broken is not None
    assert broken.duty.status == EnactmentStatus()
