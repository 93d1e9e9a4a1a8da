"""What each policy asks of each node that it is for, or why it asks nothing anywhere. Pure.

What is wrong with a policy on one node is wrong with all of it: no node is asked for anything then, and each
stays as it is. Of two that contradict each other on a node, the one that is in force there stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from nncp.document.lax import given
from nncp.errors import Error
from nncp.operator import selection
from nncp.operator.selection import Node
from nncp.operator.text import digest, text_of
from nncp.operator.together import Meant, contradictions, meant

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.operator.seen import Policy, Seen


LARGEST = 1_000_000
"""Bytes of what a node is asked for: etcd takes 1.5 MB for an object, and its status is told beside it."""


class Part(Struct, frozen=True):
    """What a policy asks of one node, or what is wrong with it there.

    Args:
        node: the node.
        name: of the enactment.
        meant: what is asked; None where something is wrong.
        asked: a digest of it.
        errors: what is wrong.

    """

    node: Node
    name: str
    meant: Meant | None = None
    asked: str = ""
    errors: tuple[Error, ...] = ()


Nodes: TypeAlias = Mapping[str, Part]
"""The parts of one policy, by the nodes' names."""
Refusal: TypeAlias = tuple[tuple[Error, ...], str]
"""What is wrong, and with which policy that is in force."""


class Found(Struct, frozen=True):
    """What all policies ask for.

    Args:
        parts: of each policy that can be read, by its name.
        told: by a policy's name, what contradicts it and is refused for that.

    """

    parts: Mapping[str, Nodes]
    told: Mapping[str, tuple[str, ...]] = {}

    def wrong(self, name: str) -> list[Part]:
        """Return the parts of a policy in which something is wrong."""
        return [part for part in self.parts[name].values() if part.errors]


class Memory:
    """What was found out of texts once, as long as somebody asks for them.

    What was not asked for between two calls of `forget` goes.
    """

    def __init__(self) -> None:
        self.known: dict[object, object] = {}
        self.used: dict[object, object] = {}

    def of(self, key: object, find: Callable[[], object]) -> object:
        """Return what is known by a key, or what `find` finds."""
        if key not in self.used:
            self.used[key] = self.known[key] if key in self.known else find()
        return self.used[key]

    def forget(self) -> None:
        """Forget what nobody has asked for since the last time."""
        self.known, self.used = self.used, {}

    def meant(self, name: str, text: bytes, values: Mapping[str, str], priority: int = 0) -> Meant | Error:
        """Return what a text means, or what is wrong with it."""
        key = (text, priority, *sorted(values.items()))
        found = self.of(key, lambda: _tried(name, text, values, priority))
        assert isinstance(found, Meant | Error)
        return found

    def contradictions(self, one: Meant, other: Meant) -> tuple[Error, ...]:
        """Return what one policy says differently from another."""
        if one.about.isdisjoint(other.about):
            return ()
        found = self.of((one.text, other.text), lambda: tuple(contradictions(one, other)))
        assert isinstance(found, tuple)
        return found


def _tried(name: str, text: bytes, values: Mapping[str, str], priority: int) -> Meant | Error:
    try:
        return meant(name, text, values, priority)
    except Error as error:
        return error
    except RecursionError:
        return Error("it is nested too deeply", path="spec.desiredState")


def parts(seen: Seen, memory: Memory) -> Found:
    """Return what all policies ask of all nodes."""
    found = {name: _parts(policy, seen, memory) for name, policy in seen.policies.items() if policy.spec}
    return _without_contradictions(_without_clashes(found), seen, memory)


def _parts(policy: Policy, seen: Seen, memory: Memory) -> dict[str, Part]:
    """Return a policy's parts: control planes last, so that a bad one meets workers first."""
    assert policy.spec is not None
    nodes = sorted(seen.nodes.values(), key=lambda node: (node.is_control_plane, node.name))
    text = text_of(policy.name, given(policy.spec.desired_state) or {}, given(policy.spec.capture))
    return {
        node.name: _part(policy, text, node, seen.refused, memory)
        for node in nodes
        if selection.matches(policy.spec, node)
    }


def _part(policy: Policy, text: bytes, node: Node, refused: Mapping[str, str], memory: Memory) -> Part:
    assert policy.spec is not None
    name = f"{node.name}.{policy.name}"
    try:
        values = selection.values(policy.spec, node)
        found = memory.meant(policy.name, text, values, given(policy.spec.priority) or 0)
        if isinstance(found, Error):
            raise found
    except Error as error:
        return Part(node, name, errors=tuple(error))
    # To be adopted is to be asked anew, with the same generation.
    wait = ("waits",) if policy.waits else ()
    asked = digest(policy.uid, policy.generation, found.text, *wait)
    if wrong := _not_stored(name, found.text, refused):
        return Part(node, name, errors=(wrong,))
    return Part(node, name, found, asked)


def _not_stored(name: str, text: bytes, refused: Mapping[str, str]) -> Error | None:
    """Return why the API server does not take an enactment, or would not."""
    if name in refused:
        return Error(f"the API server refuses {name}: {refused[name]}")
    if len(text) > LARGEST:
        told = f"{name} would ask for {len(text)} bytes, and the API server stores {LARGEST} of them"
        return Error(told, path="spec.desiredState", hint="write it into several policies")
    return None


def _without_clashes(found: Mapping[str, Nodes]) -> dict[str, Nodes]:
    """Return parts of which no two have one name: NODE.POLICY can be read in two ways."""
    owner: dict[str, tuple[str, str]] = {}
    made: dict[str, Nodes] = {}
    for policy in sorted(found):
        own = dict(found[policy])
        for node, part in own.items():
            other = owner.setdefault(part.name, (policy, node))
            if other != (policy, node):
                told = f"{part.name} is the name of the enactment of {other[0]} on {other[1]} too"
                hint = "give the policy another name"
                own[node] = Part(part.node, part.name, errors=(Error(told, path="metadata.name", hint=hint),))
        made[policy] = own
    return made


def _without_contradictions(found: Mapping[str, Nodes], seen: Seen, memory: Memory) -> Found:
    """Return parts of which no two contradict each other.

    A policy that is refused leaves in force what its nodes hold, which may contradict the next one: so it is
    looked at again until nothing new is refused.
    """
    whole = {name for name in found if not seen.policies[name].is_plan}
    whole -= {name for name in whole if any(part.errors for part in found[name].values())}
    by_node = _by_node(found)
    held = _held(seen, found, memory)
    refused: dict[str, dict[str, tuple[Error, ...]]] = {}
    told: dict[str, dict[str, None]] = {}
    while wrong := _wrong(by_node, held, whole - refused.keys(), seen, memory):
        # The oldest first: what it would have refused may stand then.
        name = min(wrong, key=lambda name: (seen.policies[name].created, name))
        refused[name] = {node: errors for node, (errors, _) in wrong[name].items()}
        for errors, other in wrong[name].values():
            told.setdefault(other, {})[f"policy {name} contradicts it: {errors[0].message}"] = None
    made = {name: _with_errors(own, refused.get(name, {})) for name, own in found.items()}
    return Found(made, {name: tuple(lines) for name, lines in told.items()})


def _with_errors(own: Nodes, errors: Mapping[str, tuple[Error, ...]]) -> Nodes:
    return {
        node: Part(part.node, part.name, errors=errors[node]) if node in errors else part
        for node, part in own.items()
    }


def _by_node(found: Mapping[str, Nodes]) -> dict[str, list[tuple[str, Part]]]:
    made: dict[str, list[tuple[str, Part]]] = {}
    for policy, own in found.items():
        for node, part in own.items():
            made.setdefault(node, []).append((policy, part))
    return made


def _held(seen: Seen, found: Mapping[str, Nodes], memory: Memory) -> dict[str, dict[str, Meant]]:
    """Return what nodes hold by policies that ask for something else by now, or are wrong."""
    made: dict[str, dict[str, Meant]] = {}
    for each in seen.enactments.values():
        part = found.get(each.policy, {}).get(each.node)
        is_other = each.policy in seen.policies and not (part and part.asked == each.asked)
        if is_other and each.is_named and not each.is_plan and not each.reverts:
            old = memory.meant(each.policy, each.text, {})
            if isinstance(old, Meant):
                made.setdefault(each.node, {})[each.policy] = old
    return made


def _wrong(
    by_node: Mapping[str, list[tuple[str, Part]]],
    held: Mapping[str, Mapping[str, Meant]],
    whole: set[str],
    seen: Seen,
    memory: Memory,
) -> dict[str, dict[str, Refusal]]:
    """Return which policies contradict what is in force: by node their errors, and which policy that is.

    Args:
        by_node: what policies ask of each node.
        held: what nodes hold by policies that ask for something else now.
        whole: policies with which nothing is wrong.
        seen: all that the controller sees.
        memory: what is known of texts.

    """
    wrong: dict[str, dict[str, Refusal]] = {}
    for node, candidates in by_node.items():
        ranked = sorted(
            ((_rank(name, part, seen), part) for name, part in candidates if name in whole),
            key=lambda each: each[0],
        )
        accepted = {name: old for name, old in held.get(node, {}).items() if name not in whole}
        for (*_, name), part in ranked:
            assert part.meant is not None
            refusal = _refusal(part.meant, accepted, memory)
            if refusal:
                wrong.setdefault(name, {})[node] = refusal
            else:
                accepted[name] = part.meant
    return wrong


def _refusal(one: Meant, accepted: Mapping[str, Meant], memory: Memory) -> Refusal | None:
    found = ((memory.contradictions(one, theirs), other) for other, theirs in accepted.items())
    return next((refusal for refusal in found if refusal[0]), None)


def _rank(name: str, part: Part, seen: Seen) -> tuple[bool, bool, str, str]:
    """Return whose word counts first on a node: what is in force, then what was there, then the older one."""
    there = seen.enactments.get(part.name)
    return there is None or there.asked != part.asked, there is None, seen.policies[name].created, name
