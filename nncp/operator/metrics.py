"""What Prometheus reads of the controller and of each agent.

The gauges of kubernetes-nmstate have its names. A number of this process alone is counted where something
happens; what follows from what is seen is looked at when somebody asks for it, so it is never out of date.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter as Count
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from nncp.document.lax import given
from nncp.operator.conditions import DRIFTED, message_of
from nncp.operator.protocol import Apply, Outcome, Plan, Refused, Revert, RevertPlan
from nncp.operator.protocol import Phase as How
from nncp.operator.rollout import Phase

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping

    from nncp.operator.enact import Duty
    from nncp.operator.protocol import Answered, Asked
    from nncp.operator.seen import Enactment, Policy

LOG = logging.getLogger("nncp.metrics")
SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800)
"""From a plan of a few links to a rollout that somebody has paused."""


@contextlib.asynccontextmanager
async def served(registry: CollectorRegistry, address: str, port: int) -> AsyncIterator[None]:
    """Serve /metrics as long as it is not left; where that cannot be, say so and go on without it.

    Args:
        registry: what is told.
        address: at which somebody may ask; on the host's network others could by any but the loopback.
        port: likewise; 0 for none.

    """

    async def tell(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")

    application = web.Application()
    application.router.add_get("/metrics", tell)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        if port:
            await web.TCPSite(runner, address, port).start()
    except OSError as error:
        LOG.warning("nobody can ask for metrics: %s", error.strerror or error)
    try:
        yield
    finally:
        await runner.cleanup()


class Numbers:
    """What both programs count: their writes to the API server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._writes = Counter(
            "bridgehead_api_writes", "Writes to the API server.", ("verb", "result"), registry=self.registry
        )

    def written(self, method: str, result: str) -> None:
        """Count a write, by its method and the answer's status."""
        self._writes.labels(method.lower(), result).inc()

    def _seconds(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(name, about, labels, registry=self.registry, buckets=SECONDS)


class NodeNumbers(Numbers):
    """What a node's agent counts.

    Args:
        node: the node's name.

    """

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node = node
        self._plans = self._seconds("bridgehead_plan_seconds", "Time until the engine has planned.")
        self._applies = self._seconds(
            "bridgehead_apply_seconds",
            "Time that the engine took for an attempt, by how it ended; a failed one with its rollback.",
            "outcome",
        )
        self._waits = self._seconds("bridgehead_slot_wait_seconds", "Time from Pending to the go.")
        self._drifted = Gauge(
            "bridgehead_drifted_policies",
            "Policies whose state the node no longer has.",
            registry=self.registry,
        )
        self._interfaces = Gauge(
            "kubernetes_nmstate_network_interfaces", "Interfaces.", ("type", "node"), registry=self.registry
        )
        self._routes = Gauge(
            "kubernetes_nmstate_routes", "Routes.", ("node", "ip_stack", "type"), registry=self.registry
        )
        self._pending: dict[str, float] = {}

    def answered(self, request: Asked, answer: Answered, seconds: float) -> None:
        """Count an answer of the engine's, after so many seconds."""
        match request, answer:
            case ((Plan() | RevertPlan()), _):
                self._plans.observe(seconds)
            case ((Apply() | Revert()), Outcome(phase=How.DONE | How.FAILED as phase)):
                self._applies.labels(phase.value).observe(answer.seconds)
            case ((Apply() | Revert()), Refused()):
                self._applies.labels("refused").observe(seconds)

    def sees(self, duties: Iterable[Duty]) -> None:
        """Take how far the node is with each of its enactments by now."""
        duties = list(duties)
        now = time.monotonic()
        pending = {each.name for each in duties if each.phase is Phase.PENDING and not each.may_change}
        gone = {each.name for each in duties if each.may_change}
        for name in self._pending.keys() & gone:
            self._waits.observe(now - self._pending[name])
        self._pending = {name: self._pending.get(name, now) for name in pending}
        self._drifted.set(
            sum(bool(message_of(given(each.status.conditions) or [], DRIFTED)) for each in duties)
        )

    def shown(self, state: Mapping[str, Any]) -> None:
        """Take what the node's network is now."""
        self._interfaces.clear()
        self._routes.clear()
        kinds = Count(str(each.get("type")) for each in state.get("interfaces") or ())
        for kind, number in kinds.items():
            self._interfaces.labels(kind, self.node).set(number)
        routes = state.get("routes") or {}
        fixed = [_route(each) for each in routes.get("config") or ()]
        told = Count((_stack(each), _route(each) in fixed) for each in routes.get("running") or ())
        for (stack, is_static), number in told.items():
            self._routes.labels(self.node, stack, "static" if is_static else "dynamic").set(number)


def _route(route: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("destination", "next-hop-interface", "next-hop-address", "table-id", "metric")
    return tuple(route.get(name) for name in names)


def _stack(route: Mapping[str, Any]) -> str:
    return "ipv6" if ":" in str(route.get("destination")) else "ipv4"


class ClusterNumbers(Numbers):
    """What the controller counts, and what follows from what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.decisions = self._seconds("bridgehead_decision_seconds", "Time to decide what is written.")

    def look_at(self, policies: Mapping[str, Policy], enactments: Mapping[str, Enactment]) -> None:
        """Tell what follows from these, by name, whatever they hold when somebody asks."""
        self.registry.register(_Sees(policies, enactments))


class _Sees(Collector):
    def __init__(self, policies: Mapping[str, Policy], enactments: Mapping[str, Enactment]) -> None:
        self.policies = policies
        self.enactments = enactments

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield what is seen now."""
        ours = [each for each in self.enactments.values() if each.is_named]
        yield _family(
            "kubernetes_nmstate_policies_status",
            "Policies by the condition that holds.",
            ("status",),
            ((_holding(each),) for each in self.policies.values()),
        )
        yield _family(
            "kubernetes_nmstate_enactments_status",
            "Enactments by the condition that holds.",
            ("node", "status"),
            ((each.node, each.phase.value) for each in ours),
        )
        slots = ((each.policy,) for each in ours if each.holds_slot)
        yield _family("bridgehead_slots", "Nodes that a policy lets change now.", ("policy",), slots)
        drifted = ((each.policy,) for each in ours if each.is_drifted)
        yield _family("bridgehead_drifted_nodes", "Nodes no longer as asked.", ("policy",), drifted)


def _holding(policy: Policy) -> str:
    conditions = given(policy.status.conditions) or []
    return next((each.type for each in conditions if each.status == "True"), "Unknown")


def _family(
    name: str, about: str, labels: tuple[str, ...], found: Iterable[tuple[str, ...]]
) -> GaugeMetricFamily:
    """Return how often each has been found."""
    family = GaugeMetricFamily(name, about, labels=labels)
    for values, number in sorted(Count(found).items()):
        family.add_metric(values, number)
    return family
