"""An API server and agents that are made up, for the controller's decisions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec import convert
from msgspec.structs import replace

from nncp.document.spec import PolicySpec
from nncp.operator import reading
from nncp.operator.objects import PolicyStatus
from nncp.operator.parts import Memory
from nncp.operator.reconcile import Write, writes
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment, Policy, Seen
from nncp.operator.selection import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NOW = "2026-01-01T00:00:00Z"
DUMMY = {"name": "d0", "type": "dummy", "state": "up"}
BOND = {
    "name": "bond0",
    "type": "bond",
    "state": "up",
    "link-aggregation": {"mode": "active-backup", "port": ["eth1"]},
}
VLAN = {"name": "bond0.3", "type": "vlan", "state": "up", "vlan": {"base-iface": "bond0", "id": 3}}
ON = [{"matchExpressions": [{"key": "off", "operator": "DoesNotExist"}]}]


class Cluster:
    """An API server, and agents that do at once what they are asked, if `fails` does not say otherwise."""

    def __init__(self, nodes: int = 3) -> None:
        self.nodes = {f"n{number}": Node(f"n{number}") for number in range(nodes)}
        self.policies: dict[str, Policy] = {}
        self.specs: dict[str, dict[str, Any]] = {}
        self.enactments: dict[str, Enactment] = {}
        self.fails: Callable[[str, str], bool] = lambda *_: False
        self.changes: Callable[[str, str], bool] = lambda *_: True
        self.refused: dict[str, str] = {}
        self.written: Counter[tuple[str, str]] = Counter()
        self.went: list[str] = []
        self.most = 0
        self.memory = Memory()
        self.count = 0

    def policy(self, name: str, *interfaces: dict[str, Any], created: str = "1", **spec: Any) -> None:
        spec["desiredState"] = {"interfaces": list(interfaces)}
        old = self.policies.get(name)
        self.count += 1
        status = old.status if old else PolicyStatus()
        uid, generation = (old.uid, old.generation + 1) if old else (f"uid-{self.count}", 1)
        read = convert(spec, PolicySpec)
        self.policies[name] = Policy(name, uid, generation, str(self.count), created, read, status=status)

    def seen(self) -> Seen:
        return Seen(self.policies, self.nodes, self.enactments, self.refused)

    def step(self) -> list[Write]:
        found = writes(self.seen(), self.memory, now=NOW)
        assert len({(write.verb, write.name) for write in found}) == len(found)
        for write in found:
            self.write(write)
        return found

    def write(self, write: Write) -> None:
        """Take a write as the API server does: what it does not say goes, what it has not met is refused."""
        self.written[write.verb, write.name] += 1
        self.count += 1
        if write.verb == "withdraw":
            del self.policies[write.name]
            return
        if write.verb == "status":
            policy = self.policies[write.name]
            assert write.version == policy.version
            status = convert(write.body, PolicyStatus)
            self.policies[write.name] = replace(policy, status=status, version=str(self.count))
            return
        there = self.enactments.get(write.name)
        assert (there is None) == (write.verb == "create")
        assert there is None or there.version == write.version
        if write.verb == "delete":
            del self.enactments[write.name]
            return
        old = self.specs[write.name] if write.verb == "set" else {}
        self.specs[write.name] = spec = {**old, **write.whole()}
        if write.verb == "set" and spec.get("go", "") != old.get("go", ""):
            self.went.append(write.name)
        fresh = reading.enactment(
            {"metadata": {"name": write.name, "resourceVersion": str(self.count)}, "spec": spec}
        )
        if there:
            said = {name: getattr(there, name) for name in ("answers", "attempt", "ended", "said", "error")}
            fresh = replace(fresh, **said)
        self.enactments[write.name] = fresh

    def agent(self, name: str) -> None:
        """Let one node go on with one enactment."""
        there = self.enactments[name]
        if there.node in self.nodes and self.nodes[there.node].is_ready:
            self.count += 1
            fresh = self.answered(there)
            self.enactments[name] = replace(fresh, version=str(self.count)) if fresh != there else there

    def answered(self, there: Enactment) -> Enactment:
        if there.aborted:
            return replace(there, answers=there.asked, said=Phase.ABORTED)
        if there.holds_slot and there.go == there.token:
            fails = self.fails(there.node, there.policy)
            ended = replace(there, answers=there.asked, ended=there.go)
            return replace(ended, said=Phase.FAILED if fails else Phase.DONE, error="no" if fails else "")
        if there.holds_slot:
            there = replace(there, ended=there.go)
        if there.answers == there.asked:
            return there
        said = Phase.PENDING if self.changes(there.node, there.policy) else Phase.DONE
        return replace(there, answers=there.asked, attempt=0, said=said, error="")

    def settle(self) -> None:
        """Go on until nothing happens any more."""
        for _ in range(300):
            found = self.step()
            self.most = max(self.most, len(self.holders()))
            before = dict(self.enactments)
            for name in list(self.enactments):
                self.agent(name)
            if not found and before == self.enactments:
                return
        raise AssertionError("it does not come to rest")

    def holders(self) -> list[str]:
        return [each.name for each in self.enactments.values() if each.holds_slot]

    def phase(self, name: str) -> Phase:
        return self.enactments[name].phase

    def phases(self) -> set[Phase]:
        return {each.phase for each in self.enactments.values()}

    def told(self, name: str) -> tuple[str, str]:
        conditions = self.policies[name].status.conditions
        assert isinstance(conditions, list)
        (holds,) = (each for each in conditions if each.status == "True")
        return holds.type, str(holds.message)

    def ready(self, names: Iterable[str], *, is_ready: bool) -> None:
        for name in names:
            self.nodes[name] = replace(self.nodes[name], is_ready=is_ready)

    def until_gone(self, *names: str) -> None:
        """Go on until enactments are let go, and no further."""
        while not set(names) <= set(self.went):
            self.step()
            for each in list(self.enactments.values()):
                if not each.holds_slot:
                    self.agent(each.name)
