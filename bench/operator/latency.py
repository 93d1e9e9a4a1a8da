"""How long a policy takes on two nodes, beside what its engines take: in the control plane of a lab cluster.

See `bench/operator/__main__.py`. What is printed are JSON objects, a rollout each.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import aiohttp
from kubernetes.aio import client, config
from prometheus_client.parser import text_string_to_metric_families

from nncp.lab.cluster.addresses import NODES, address
from nncp.lab.cluster.control import ADMIN
from nncp.operator import api
from nncp.operator.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

PORT = 8090
WRITES = 50
LIMIT_S = 120.0


class Watched:
    """Policies, as a watch tells of them."""

    def __init__(self, server: api.Api) -> None:
        self.server = server
        self.changed = asyncio.Event()
        self.store: Store[api.Object] = Store(lambda body: body, self.changed.set)

    async def until(self, holds: Callable[[], bool]) -> float:
        """Wait until something holds, and return how long that took."""
        start = time.monotonic()
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                self.changed.clear()
                await self.changed.wait()
        return time.monotonic() - start

    def is_available(self, name: str) -> bool:
        """Whether a policy is."""
        conditions = (self.store.known.get(name, {}).get("status") or {}).get("conditions", ())
        return any(each["type"] == "Available" and each["status"] == "True" for each in conditions)

    async def latency(self, name: str) -> float:
        """Return how long it takes in the median until a watch tells of a write to a policy."""
        found = []
        for number in range(WRITES):
            change = {"op": "add", "path": "/metadata/annotations", "value": {"number": str(number)}}
            start = time.monotonic()
            writing = asyncio.create_task(self.server.patch(api.POLICY.named(name), "", change))
            await self.until(lambda number=number: self._number(name) == str(number))  # type: ignore[misc]
            found.append(time.monotonic() - start)
            await writing
        return statistics.median(found)

    def _number(self, name: str) -> str:
        return str((self.store.known[name]["metadata"].get("annotations") or {}).get("number"))


async def engines() -> dict[str, float]:
    """Return for how many seconds each engine has worked on attempts, and on plans."""
    found = {"apply": 0.0, "plan": 0.0, "applies": 0.0}
    async with aiohttp.ClientSession() as session:
        for node in NODES:
            async with session.get(f"http://{address(node)}:{PORT}/metrics") as answer:
                text = await answer.text()
            for family in text_string_to_metric_families(text):
                for one in family.samples:
                    found["apply"] += one.value if one.name == "bridgehead_apply_seconds_sum" else 0
                    found["applies"] += one.value if one.name == "bridgehead_apply_seconds_count" else 0
                    found["plan"] += one.value if one.name == "bridgehead_plan_seconds_sum" else 0
    return found


def policy(name: str, **spec: Any) -> dict[str, Any]:
    """Return a policy that makes a pair of links."""
    link = {"name": name, "type": "veth", "state": "up", "veth": {"peer": f"{name}p"}}
    return {
        "apiVersion": "nmstate.io/v1",
        "kind": "NodeNetworkConfigurationPolicy",
        "metadata": {"name": name},
        "spec": {"desiredState": {"interfaces": [link]}, **spec},
    }


async def run(rounds: int) -> None:
    """Measure and print."""
    made = client.Configuration()
    await config.load_kube_config(str(ADMIN), client_configuration=made)
    async with api.Api(client.ApiClient(made)) as server:
        seen = Watched(server)
        watching = asyncio.create_task(server.watch(api.POLICY, seen.store, lambda: None))
        await server.create(api.POLICY, policy("still", nodeSelector={"no": "node"}))
        await seen.until(lambda: "still" in seen.store.known)
        latency = await seen.latency("still")
        for number in range(rounds):
            name, before = f"v{number}", await engines()
            start = time.monotonic()
            await server.create(api.POLICY, policy(name))
            await seen.until(lambda name=name: seen.is_available(name))  # type: ignore[misc]
            took, after = time.monotonic() - start, await engines()
            spent = {what: round(after[what] - before[what], 3) for what in before}
            bound = spent["apply"] + 6 * latency + 1
            print(
                json.dumps(
                    {"took": round(took, 3), "latency": round(latency, 4), "bound": round(bound, 3), **spent}
                )
            )
        watching.cancel()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
