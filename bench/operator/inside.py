"""One rollout after another on a lab cluster, with nodes that are made up: what that costs its API server.

It runs in the cluster's control plane, see `bench/operator/__main__.py`. The nodes' agents are the real ones,
all of them in this process, each with a token that is bound to a Pod on its node, and with an engine that
does all that it is asked at once and touches nothing. The controller is a process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes.aio import client, config

from nncp.lab import ended
from nncp.lab.cluster.control import ADMIN, HOME
from nncp.operator import api
from nncp.operator.line import Line
from nncp.operator.node import Agent
from nncp.operator.protocol import Apply, Ask, Outcome, Phase, Plan, Planned, Refused, Show, Shown
from nncp.operator.rollout import Phase as Told
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

NAMESPACE = "bridgehead"
LABEL = {"bench": "made-up"}
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
ACCOUNTS = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts"
GROUPS = {"nmstate.io": "", "coordination.k8s.io": "", "": "nodes", "events.k8s.io": "events"}
APPLY_S = 0.2
"""How long an apply takes: else nobody would be told that it goes on."""
APART_S = 0.02
"""Between the starts of two agents: nodes do not start theirs in one moment."""
QUIET_S = 1.5
"""Longer than any write is put off, see TOLD_EVERY and AGAIN of the controller."""
LIMIT_S = 1200.0
SAMPLE = re.compile(r"^(apiserver_\w+)\{(.*)\} (\S+)$")
COUNTED = ("apiserver_request_total", "apiserver_watch_events_total", "apiserver_watch_events_sizes_sum")
APART = {"leases", "nodes"}
"""What others write too, and what an agent writes whatever is rolled out."""


class Engine(Line):
    """An engine that keeps in mind what it was asked for, and touches nothing."""

    def __init__(self) -> None:
        super().__init__(Path("nowhere"))
        self.holds: dict[str, Any] = {}
        self.ended: dict[str, Outcome] = {}
        self.changed = asyncio.Event()
        self.asked: Counter[str] = Counter()

    async def ask(self, request: Any) -> Any:
        """Answer at once."""
        self.asked[type(request).__name__] += 1
        match request:
            case Plan(document=document):
                return self._planned(document.name, document.desired)
            case Apply(attempt=attempt, document=document):
                await asyncio.sleep(APPLY_S)
                self.holds[document.name] = document.desired
                self.ended[attempt] = Outcome(attempt, Phase.DONE, desired=document.desired)
                self.changed.set()
                return self.ended[attempt]
            case Ask(attempt=attempt):
                return self.ended.get(attempt, Outcome(attempt, Phase.NEVER))
            case Show():
                return Shown({"interfaces": [{"name": "eth0", "type": "ethernet", "state": "up"}]})
        return Refused("nothing is known of it")

    def _planned(self, name: str, desired: Any) -> Planned:
        if self.holds.get(name) == desired:
            return Planned(False, ("Plan: nothing to change.",), desired=desired)
        lines = [f"+ {each['name']}" for each in desired["interfaces"]]
        return Planned(True, (*lines, f"Plan: {len(lines)} to add."), desired=desired)

    async def changes(self) -> AsyncIterator[None]:
        """Tell of each apply, as the kernel tells the engine."""
        while True:
            self.changed.clear()
            yield
            await self.changed.wait()


class Timed(Agent):
    """An agent that notes when its node was told to be as it was asked."""

    done: dict[tuple[str, int], float]

    def _changed(self) -> None:
        super()._changed()
        for name, seen in self.store.known.items():
            if seen and seen.duty.phase is Told.DONE:
                self.done.setdefault((name, seen.duty.spec.policy_generation), time.monotonic())


class Cluster:
    """The API server, as its administrator sees it."""

    def __init__(self, server: api.Api, made: client.Configuration) -> None:
        self.server = server
        self.made = made

    async def metrics(self) -> Counter[tuple[str, ...]]:
        """Return what the API server counts of what is ours."""
        text = (await self.server._read("GET", "/metrics")).decode()  # noqa: SLF001
        found: Counter[tuple[str, ...]] = Counter()
        for line in text.splitlines():
            sample = SAMPLE.match(line) if line.startswith(COUNTED) else None
            if not sample:
                continue
            labels = dict(re.findall(r'(\w+)="([^"]*)"', sample[2]))
            group, resource = labels.get("group", ""), labels.get("resource", "")
            if group in GROUPS and resource and (not GROUPS[group] or resource == GROUPS[group]):
                key = (sample[1], resource, labels.get("subresource", ""), labels.get("verb", ""))
                found[*key, labels.get("code", "")] += float(sample[3])  # type: ignore[assignment]
        return found

    async def quiet(self) -> Counter[tuple[str, ...]]:
        """Wait until nobody writes, and return what was counted until then."""
        before = await self.metrics()
        since = time.monotonic()
        while time.monotonic() < since + QUIET_S:
            await asyncio.sleep(0.5)
            now = await self.metrics()
            if writes(now) != writes(before):
                since, before = time.monotonic(), now
        return before

    async def token(self, account: str, **bound: Any) -> str:
        """Return a token of an account, bound to an object or to none."""
        spec = {"audiences": [], "expirationSeconds": 7200} | bound
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        resource = api.Resource(f"{ACCOUNTS}/{account}/token")
        found = await self.server.create(resource, body)
        return str(found["status"]["token"])

    def account(self, token: str) -> api.Api:
        """Return a connection by a token."""
        made = client.Configuration()
        made.host, made.ssl_ca_cert = self.made.host, self.made.ssl_ca_cert
        made.api_key["BearerToken"] = f"Bearer {token}"
        return api.Api(client.ApiClient(made))

    def kubeconfig(self, token: str, path: Path) -> None:
        """Write what a program reads to connect by a token."""
        one = {"server": self.made.host, "certificate-authority": self.made.ssl_ca_cert}
        said = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": one}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        }
        path.write_text(json.dumps(said), encoding="utf-8")

    async def node(self, name: str) -> str:
        """Make a node with an agent's Pod that nobody runs, and return the token of that."""
        status = {"conditions": [{"type": "Ready", "status": "True"}]}
        about = {"name": name, "labels": {**LABEL, "kubernetes.io/hostname": name}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": about, "status": status}
        await self.server.create(api.NODE, node)
        spec = {
            "nodeName": name,
            "serviceAccountName": "agent",
            "automountServiceAccountToken": False,
            "containers": [{"name": "agent", "image": "none"}],
        }
        about = {"name": f"agent-{name}", "namespace": NAMESPACE}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": spec}
        made = await self.server.create(api.Resource(PODS), pod)
        uid = made["metadata"]["uid"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": about["name"], "uid": uid}
        return await self.token("agent", boundObjectRef=bound)


class Controller:
    """The controller's process."""

    def __init__(self, kubeconfig: Path, log: Path) -> None:
        self.kubeconfig = kubeconfig
        self.log = log
        self.again: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and wait until it leads."""
        led = self._led()
        env = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "POD_NAMESPACE": NAMESPACE}
        words = ("setpriv", "--pdeathsig", "KILL", sys.executable, "-m", "nncp.operator.cluster")
        with self.log.open("ab") as output:
            self.process = await asyncio.create_subprocess_exec(*words, env=env, stdout=output, stderr=output)
        self.again = asyncio.create_task(self._again())
        await holds(lambda: self._led() > led)

    async def _again(self) -> None:
        """Start it again when it ends, as a kubelet does."""
        await self.process.wait()
        sys.stderr.write("the controller has ended, and is started again\n")
        await self.start()

    def _led(self) -> int:
        return self.log.read_text().count(" leads\n") if self.log.exists() else 0

    async def end(self) -> None:
        """End it as a kubelet does."""
        if self.again:
            self.again.cancel()
        self.process.send_signal(signal.SIGTERM)
        await self.process.wait()

    def memory(self) -> dict[str, int]:
        """Return what it has used in MiB: now, and at most."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = dict(re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text))
        return {"now": int(found["VmRSS"]) >> 10, "peak": int(found["VmHWM"]) >> 10}


class Agents:
    """Those of all nodes."""

    def __init__(self, cluster: Cluster, tokens: dict[str, str], folder: Path) -> None:
        self.cluster = cluster
        self.tokens = tokens
        self.folder = folder
        self.engines = {node: Engine() for node in tokens}
        self.done: dict[tuple[str, int], float] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Let them run until it is left, from when all are ready."""
        async with contextlib.AsyncExitStack() as stack:
            agents = []
            for node, token in self.tokens.items():
                server = await stack.enter_async_context(self.cluster.account(token))
                one = Timed(server, self.engines[node], node, NAMESPACE, self.folder / node)
                one.done = self.done
                agents.append(one)
            tasks = []
            try:
                for one in agents:
                    tasks.append(asyncio.create_task(one.run()))
                    await asyncio.sleep(APART_S)
                await holds(lambda: all(not one.unready for one in agents))
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    def applies(self) -> int:
        """Return how often engines were asked for one."""
        return sum(engine.asked["Apply"] for engine in self.engines.values())


async def holds(look: Callable[[], object]) -> None:
    """Wait until something holds that nobody tells of."""
    async with asyncio.timeout(LIMIT_S):
        while not look():  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def writes(found: Counter[tuple[str, ...]]) -> dict[str, int]:
    """Return the writes that were taken, by what was written."""
    made: Counter[str] = Counter()
    for (name, resource, part, verb, code), number in found.items():
        is_write = verb in {"POST", "PUT", "PATCH", "APPLY", "DELETE", "DELETECOLLECTION"}
        if name == "apiserver_request_total" and is_write and resource not in APART:
            is_taken = code.startswith("2")
            made[f"{resource}{part and '/'}{part}{'' if is_taken else ' refused'}"] += int(number)
    return {what: number for what, number in sorted(made.items()) if number}


def lists(found: Counter[tuple[str, ...]]) -> int:
    """Return how many lists were asked for."""
    return sum(
        int(number)
        for (name, _, _, verb, _), number in found.items()
        if name == "apiserver_request_total" and verb == "LIST"
    )


def told(found: Counter[tuple[str, ...]]) -> dict[str, Any]:
    """Return what was counted, in words."""
    ours = "nodenetworkconfiguration"
    return {
        "writes": writes(found),
        "lists": lists(found),
        "watch events": _sum(found, "apiserver_watch_events_total", ours),
        "watch bytes": _sum(found, "apiserver_watch_events_sizes_sum", ours),
    }


def _sum(found: Counter[tuple[str, ...]], name: str, prefix: str) -> dict[str, int]:
    made: Counter[str] = Counter()
    for (metric, resource, *_), number in found.items():
        if metric == name and resource.startswith(prefix) and number:
            made[resource.removeprefix(prefix)] += int(number)
    return dict(made)


def policy(name: str, interfaces: int) -> dict[str, Any]:
    """Return a policy of its own interfaces for all nodes that are made up."""
    links = [
        {"name": f"{name}d{number}", "type": "dummy", "state": "up", "mtu": 1400}
        for number in range(interfaces)
    ]
    return {
        "apiVersion": "nmstate.io/v1",
        "kind": "NodeNetworkConfigurationPolicy",
        "metadata": {"name": name},
        "spec": {"nodeSelector": LABEL, "desiredState": {"interfaces": links}},
    }


class Bench:
    """One size: so many nodes and policies."""

    def __init__(self, cluster: Cluster, controller: Controller, agents: Agents) -> None:
        self.cluster = cluster
        self.controller = controller
        self.agents = agents
        self.found: dict[str, Any] = {}
        self.before: Counter[tuple[str, ...]] = Counter()

    async def counted(self, name: str, work: Awaitable[Any]) -> None:
        """Do something and note what that has cost until nobody writes any more."""
        start = time.monotonic()
        await work
        took = time.monotonic() - start
        before, self.before = self.before, await self.cluster.quiet()
        found = self.before.copy()
        found.subtract(before)
        self.found[name] = {**told(found), "seconds": round(took, 2)}
        sys.stderr.write(f"{name}: {json.dumps(self.found[name])} {self.controller.memory()}\n")

    async def run(self, policies: int, interfaces: int, seconds: float) -> None:
        """Measure everything; nothing happens for so many seconds."""
        nodes = len(self.agents.tokens)
        names = [f"p{number}" for number in range(policies)]
        async with self.agents.running():
            self.before = await self.cluster.quiet()
            start = time.monotonic()
            await self.counted("rollout", self._roll_out(names, interfaces))
            spans = sorted(at - start for at in self.agents.done.values())
            self.found["rollout"] |= {"p50": _share(spans, 0.5), "p99": _share(spans, 0.99)}
            self.found["rollout"]["controller"] = self.controller.memory()
            await self.counted("steady", asyncio.sleep(seconds))
            await self.counted("same", self._touch(names))
            await self.controller.end()
            await self.counted("controller", self.controller.start())
            self.found["controller"]["controller"] = self.controller.memory()
        async with self.agents.running():
            await self.counted("agents", asyncio.sleep(0))
        assert self.agents.applies() == nodes * policies, self.agents.applies()

    async def _roll_out(self, names: Iterable[str], interfaces: int) -> None:
        start = len(self.agents.done)
        wanted = start + len(list(names)) * len(self.agents.tokens)
        for name in names:
            await self.cluster.server.create(api.POLICY, policy(name, interfaces))
        await holds(lambda: len(self.agents.done) >= wanted)
        await self._are_available(names)

    async def _touch(self, names: Iterable[str]) -> None:
        for name in names:
            change = {"op": "add", "path": "/spec/priority", "value": 7}
            await self.cluster.server.patch(api.POLICY.named(name), "", change)
        await self._are_available(names)

    async def _are_available(self, names: Iterable[str]) -> None:
        left = set(names)
        async with asyncio.timeout(LIMIT_S):
            while left:
                await asyncio.sleep(0.2)
                found = [await self.cluster.server.get(api.POLICY.named(name)) for name in left]
                left -= {each["metadata"]["name"] for each in found if _is_available(each)}


def _is_available(body: api.Object) -> bool:
    status = body.get("status") or {}
    now = status.get("observedGeneration") == body["metadata"]["generation"]
    return now and any(
        each["type"] == "Available" and each["status"] == "True" for each in status.get("conditions", ())
    )


def _share(spans: list[float], share: float) -> float:
    return round(spans[min(int(len(spans) * share), len(spans) - 1)], 2)


def _let_nodes_be() -> None:
    """End who says of nodes that nobody runs that they are not ready."""
    note = HOME / "kube-controller-manager.pid"
    pid = ended.running(note.read_text(encoding="ascii"))
    if pid:
        ended.kill(pid, Limit(10.0))


async def run(nodes: int, policies: int, interfaces: int, seconds: float, folder: Path) -> dict[str, Any]:
    """Make nodes, and return what rollouts to them have cost."""
    _let_nodes_be()
    made = client.Configuration()
    await config.load_kube_config(str(ADMIN), client_configuration=made)
    async with api.Api(client.ApiClient(made)) as server:
        cluster = Cluster(server, made)
        gate = asyncio.Semaphore(16)

        async def node(name: str) -> tuple[str, str]:
            async with gate:
                return name, await cluster.node(name)

        tokens = dict(await asyncio.gather(*(node(f"made-up-{number:03}") for number in range(nodes))))
        cluster.kubeconfig(await cluster.token("controller"), folder / "kubeconfig")
        controller = Controller(folder / "kubeconfig", folder / "controller.log")
        await controller.start()
        bench = Bench(cluster, controller, Agents(cluster, tokens, folder))
        try:
            await bench.run(policies, interfaces, seconds)
        finally:
            await controller.end()
            sys.stderr.write(controller.log.read_text())
        return bench.found


def main() -> None:
    """Measure and print, as JSON."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("nncp.events").setLevel(logging.INFO)
    nodes, policies, interfaces, seconds = (int(word) for word in sys.argv[1:])
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(asyncio.run(run(nodes, policies, interfaces, seconds, Path(folder)))))


if __name__ == "__main__":
    main()
