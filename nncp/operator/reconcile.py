"""What the controller writes, from all that it sees. Pure.

It is asked again after every change, and what it answers when nothing is left to do is nothing. An enactment
is made for each node that a policy is for, and looked at there, before any of them is let go. What was let
go keeps its slot until its node has told how that ended, whatever is asked of it meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct, json, to_builtins
from msgspec.structs import replace

from nncp.document.lax import given
from nncp.errors import together
from nncp.operator import rollout
from nncp.operator.adoption import only_planned, until_adopted
from nncp.operator.aggregate import TOLD, Answer, planned, summary
from nncp.operator.conditions import POLICY, Said, stamped
from nncp.operator.objects import EnactmentSpec, PolicyStatus
from nncp.operator.parts import Memory, parts
from nncp.operator.rollout import Phase
from nncp.operator.seen import Enactment, Seen
from nncp.operator.selection import Node
from nncp.operator.text import digest
from nncp.operator.together import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nncp.errors import Error
    from nncp.operator.parts import Found, Part
    from nncp.operator.seen import Policy
    from nncp.operator.together import Meant


class Write(Struct, frozen=True):
    """One write to the API server, which is to meet the object as it was seen.

    Args:
        verb: create, spec (of which the body is the whole), set (of which it is some keys) or delete of an
            enactment; status of a policy, or withdraw: its end.
        name: the object's.
        version: the version that was seen.
        body: see verb.
        node: for create, the node that it goes with.
        text: for create and spec, the document whose state is asked for; see `whole`.

    """

    verb: str
    name: str
    version: str = ""
    body: Mapping[str, Any] = {}
    node: Node = Node("")
    text: bytes = b""

    def whole(self) -> dict[str, Any]:
        """Return the body with the state that is asked for: of thousands it is too much to hold at once."""
        asked = {"desiredState": json.decode(self.text)["spec"]["desiredState"]} if self.text else {}
        return {**self.body, **asked}


def writes(seen: Seen, memory: Memory, *, now: str) -> list[Write]:
    """Return what is to be written now.

    Args:
        seen: all that the controller sees.
        memory: what it has found out before.
        now: the time, as the API writes it.

    """
    seen = only_planned(seen)
    found = parts(seen, memory)
    order = Order(seen, found)
    rounds = [Round(policy, seen, found, order) for policy in _oldest_first(seen)]
    leaving = _leaving(seen, found)
    made = [write for each in rounds for write in each.asks()]
    made += _withdrawn(seen)
    busy = _busy(seen)
    for each in rounds:
        made += each.turns(leaving.pop(each.policy.name, []), busy, now=now)
        busy = each.busy
    for group in leaving.values():
        made += _gone(group, seen, busy)
    memory.forget()
    return made


def _oldest_first(seen: Seen) -> list[Policy]:
    return sorted(seen.policies.values(), key=lambda policy: (policy.created, policy.name))


def _withdrawn(seen: Seen) -> Iterator[Write]:
    """Yield what removes policies that commands have left behind."""
    for policy in (seen.policies[name] for name in sorted(seen.outlived & seen.policies.keys())):
        yield Write("withdraw", policy.name, policy.version)


def _leaving(seen: Seen, found: Found) -> dict[str, list[Enactment]]:
    """Return the enactments that no policy asks for any more, by their policy's name.

    Those of a policy that cannot be read are asked for by whatever it says.
    """
    made: dict[str, list[Enactment]] = {}
    for each in seen.enactments.values():
        policy = seen.policies.get(each.policy)
        is_unread = policy is not None and policy.spec is None
        if each.is_named and not is_unread and each.node not in found.parts.get(each.policy, {}):
            made.setdefault(each.policy, []).append(each)
    return made


def _busy(seen: Seen) -> frozenset[str]:
    """Return the control planes that change, or are not ready: one at a time is what etcd bears."""
    changing = {each.node for each in seen.enactments.values() if each.holds_slot}
    return frozenset(
        node.name
        for node in seen.nodes.values()
        if node.is_control_plane and (node.name in changing or not node.is_ready)
    )


class Order:
    """In which order each node takes its policies."""

    def __init__(self, seen: Seen, found: Found) -> None:
        self.seen = seen
        self.found = found
        self._known: dict[str, list[Meant]] = {}

    def waits_for(self, node: str, name: str) -> list[str]:
        """Return the policies that make on a node what one rests on, and are not done there."""
        order = self._of(node)
        at = next((at for at, each in enumerate(order) if each.name == name), 0)
        before = (each.name for each in order[:at] if each.makes & order[at].wants)
        return [each for each in before if not self._is_done(node, each)]

    def _of(self, node: str) -> list[Meant]:
        if node not in self._known:
            parts = ((name, own.get(node)) for name, own in self.found.parts.items())
            self._known[node] = in_order(
                part.meant
                for name, part in parts
                if part and part.meant and not self.seen.policies[name].is_plan
            )
        return self._known[node]

    def _is_done(self, node: str, name: str) -> bool:
        part = self.found.parts[name][node]
        there = self.seen.enactments.get(part.name)
        return there is not None and there.asked == part.asked and there.phase is Phase.DONE


class Round:
    """One policy's turn.

    Args:
        policy: the policy.
        seen: all that the controller sees.
        found: what all policies ask for.
        order: of the policies of each node.

    """

    def __init__(self, policy: Policy, seen: Seen, found: Found, order: Order) -> None:
        self.policy = policy
        self.seen = seen
        self.found = found
        self.order = order
        self.own: list[Part] = list(found.parts.get(policy.name, {}).values())
        self.errors = [error for part in self.own for error in part.errors]
        self.current: dict[str, Enactment] = {}
        self.waits_for: list[str] = []
        self.busy: frozenset[str] = frozenset()

    @property
    def is_wrong(self) -> bool:
        """Whether something is wrong with it: no node is asked for anything then."""
        return bool(self.errors or self.policy.error)

    def asks(self) -> Iterator[Write]:
        """Yield what asks nodes for what the policy says by now."""
        for part in [] if self.is_wrong else self.own:
            there = self.seen.enactments.get(part.name)
            if there is not None and there.asked == part.asked:
                self.current[part.node.name] = there
                continue
            assert part.meant is not None
            self.current[part.node.name] = _asked(there, part)
            verb, version = ("spec", there.version) if there else ("create", "")
            spec = to_builtins(self._spec(part, there))
            yield Write(verb, part.name, version, spec, part.node, part.meant.text)

    def _spec(self, part: Part, there: Enactment | None) -> EnactmentSpec:
        assert self.policy.spec is not None
        spec = self.policy.spec
        made = EnactmentSpec(
            node_name=part.node.name,
            policy_name=self.policy.name,
            policy_generation=self.policy.generation,
            plan_of=(self.policy.is_plan and self.policy.plan_of) or UNSET,
            capture=spec.capture,
            mode=spec.mode,
            on_delete=spec.on_delete,
            drift=spec.drift,
            probes=spec.probes,
            asked=part.asked,
        )
        return replace(made, go=there.go) if there and there.holds_slot else made

    def turns(self, leaving: Sequence[Enactment], busy: frozenset[str], *, now: str) -> Iterator[Write]:
        """Yield what lets nodes go, what takes them back from a policy that is not for them, and the status.

        Args:
            leaving: the policy's enactments that it does not ask for any more.
            busy: control planes that change; `self.busy` has those of this policy too in the end.
            now: the time.

        """
        self.busy = busy
        turns = [] if self.is_wrong else list(map(self._turn, self.own))
        away, others = _taken_back(leaving, self.seen)
        if self.policy.spec is not None:
            yield from self._decided([*turns, *others], leaving)
        yield from away
        yield from self._status(turns, now=now)

    def _turn(self, part: Part) -> rollout.Enactment:
        there = self.current[part.node.name]
        return rollout.Enactment(part.node, there.phase, there.holds_slot)

    def _decided(self, turns: Sequence[rollout.Enactment], leaving: Iterable[Enactment]) -> Iterator[Write]:
        spec = self.policy.spec
        assert spec is not None
        limit, _ = rollout.most(given(spec.max_unavailable), len(self.own))
        pending = {turn.node.name for turn in turns if turn.phase is Phase.PENDING}
        waits_for = {node: self.order.waits_for(node, self.policy.name) for node in pending}
        blocked = {node for node, names in waits_for.items() if names}
        self.waits_for = sorted({name for names in waits_for.values() for name in names})
        paused = bool(given(spec.paused)) or self.policy.is_plan
        decided = rollout.decide(turns, limit, paused=paused, blocked=blocked, busy=self.busy)
        self.busy |= {node for node in decided.go if self.seen.nodes[node].is_control_plane}
        yield from _let({each.node: each for each in leaving} | self.current, decided.go)
        for each in (self.current[node] for node in decided.abort if node in self.current):
            yield Write("set", each.name, each.version, {"aborted": True})

    def _status(self, turns: Sequence[rollout.Enactment], *, now: str) -> Iterator[Write]:
        """Yield the write of the policy's status, unless it says that already."""
        before = given(self.policy.status.conditions) or []
        said = self._said(turns)
        fresh = PolicyStatus(
            conditions=stamped(said, POLICY, before, now=now), observed_generation=self.policy.generation
        )
        if fresh != self.policy.status:
            yield Write("status", self.policy.name, self.policy.version, to_builtins(fresh))

    def _said(self, turns: Sequence[rollout.Enactment]) -> Said:
        if self.policy.error:
            return Said("Degraded", "FailedToConfigure", f"the policy cannot be read: {self.policy.error}")
        if self.errors:
            return _wrong(self.own, self.errors)
        if self.policy.is_plan:
            there = self.current.items()
            answers = [Answer(node, each.phase, len(each.flaps), each.error) for node, each in there]
            said = planned(answers)
            return until_adopted(self.policy.name, said) if self.policy.waits else said
        said = summary(turns)
        return replace(said, message="; ".join([said.message, *self._remarks(turns)]))

    def _remarks(self, turns: Sequence[rollout.Enactment]) -> Iterator[str]:
        """Yield what else is to be said of a policy."""
        assert self.policy.spec is not None
        _, warning = rollout.most(given(self.policy.spec.max_unavailable), len(self.own))
        if warning:
            yield warning
        if given(self.policy.spec.paused):
            yield "it is paused: no node begins"
        if self.waits_for:
            yield f"it waits for {', '.join(self.waits_for)}"
        silent = [turn.node.name for turn in turns if turn.holds_slot and not turn.node.is_ready]
        if silent:
            yield f"{', '.join(silent[:TOLD])} not heard of since the change began there"
        first = next((each for each in self.current.values() if each.error), None)
        if first:
            yield f"{first.node}: {first.error}"
        drifted = sum(each.is_drifted for each in self.current.values())
        if drifted:
            yield f"{drifted} of them no longer as asked"
        yield from self.found.told.get(self.policy.name, ())


def _asked(there: Enactment | None, part: Part) -> Enactment:
    """Return an enactment as it is once its node is asked for something else."""
    fresh = Enactment(part.name, part.node.name, asked=part.asked)
    return replace(fresh, go=there.go, ended=there.ended) if there else fresh


def _let(there: Mapping[str, Enactment], nodes: Iterable[str]) -> Iterator[Write]:
    """Yield what tells nodes that they may change."""
    for each in (there[node] for node in nodes):
        yield Write("set", each.name, each.version, {"go": each.token})


def _gone(group: Sequence[Enactment], seen: Seen, busy: frozenset[str]) -> Iterator[Write]:
    """Yield what takes nodes back from a policy that is no more, in turns of its own."""
    away, turns = _taken_back(group, seen)
    yield from away
    limit, _ = rollout.most(None, len(group))
    decided = rollout.decide(turns, limit, busy=busy)
    yield from _let({each.node: each for each in group}, decided.go)


def _taken_back(leaving: Sequence[Enactment], seen: Seen) -> tuple[list[Write], list[rollout.Enactment]]:
    """Return what is written of enactments that no policy asks for any more, and whose turns they may be.

    An enactment goes when its node is as it is to stay: at once, or when it has gone back.
    """
    made: list[Write] = []
    turns: list[rollout.Enactment] = []
    for each in leaving:
        node = seen.nodes.get(each.node)
        is_back = each.reverts and each.phase is Phase.DONE
        if each.holds_slot and node:
            turns.append(rollout.Enactment(node, Phase.GOING, holds_slot=True))
        elif each.on_delete == "Keep" or each.is_plan or each.is_untouched or is_back or node is None:
            made.append(Write("delete", each.name, each.version))
        elif not each.reverts:
            asked = digest("revert", each.asked)
            made.append(
                Write("set", each.name, each.version, {"revert": True, "asked": asked, "aborted": False})
            )
        elif each.phase is Phase.PENDING:
            turns.append(rollout.Enactment(node, Phase.PENDING))
    return made, turns


def _wrong(own: Sequence[Part], errors: Sequence[Error]) -> Said:
    """Return what is said of a policy that means nothing somewhere: no node is asked for anything."""
    bad = sum(bool(part.errors) for part in own)
    first = together(errors[:1])
    assert first is not None
    place = f" ({first.path})" if first.path else ""
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    told = f"{bad}/{len(own)} nodes failed to configure: {first.message}{place}{more}"
    return Said("Degraded", "FailedToConfigure", told)
