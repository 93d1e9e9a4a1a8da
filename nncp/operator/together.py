"""What the policies of one node are to each other: which contradict, and which comes first. Pure.

A policy is looked at as on a host of which nothing is known: what is wrong with it there is wrong everywhere,
and what it rests on and does not make itself has to come from another policy, or be there.
"""

from __future__ import annotations

import json
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp.compile import compile_state
from nncp.desired import WRITTEN
from nncp.document.lax import given
from nncp.document.policy import Policy, read_policies
from nncp.document.read import read_together
from nncp.document.resolve import resolve
from nncp.document.source import load
from nncp.errors import Error, raise_all
from nncp.host import Host
from nncp.known import KINDS
from nncp.needs import needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nncp.document.together import Partly


class Meant(Struct, frozen=True):
    """A policy as it is meant on a node."""

    name: str
    policy: Policy
    priority: int = 0
    makes: frozenset[str] = frozenset()
    """The interfaces that are there because of it."""
    wants: frozenset[str] = frozenset()
    """Those that it rests on, or says something of, without making them."""


def meant(manifest: Mapping[str, Any], values: Mapping[str, Any]) -> Meant:
    """Return a policy as it is meant on a node whose values are these.

    Raises:
        Error: with all that is wrong with it on any node.

    """
    name = str(manifest["metadata"]["name"])
    (read,) = read_policies(load(json.dumps(manifest), file=f"policy {name}"))
    resolved = resolve(read, None, values=values)
    found = read_together([resolved.policy], WRITTEN)
    raise_all([*resolved.errors, *found.errors])
    makes, wants = _links(found)
    priority = int(manifest["spec"].get("priority") or 0)
    return Meant(name, resolved.policy, priority, makes, wants)


def _links(found: Partly) -> tuple[frozenset[str], frozenset[str]]:
    """Return the interfaces that a document makes, and those that it needs or names besides."""
    compiled = compile_state(found.state, found.interfaces, Host(), KINDS)
    rows = {key: row.attrs for key, row in compiled.rows.items()}
    makes = {key[1] for key, row in compiled.rows.items() if key[0] == "link" and not row.absent}
    wants = {need[1] for key in rows for need in needs(key, rows, KINDS) if need[0] == "link"}
    wants |= {interface.name for interface in found.interfaces.values()}
    wants |= {hop for route in _routes(found) if (hop := given(route.next_hop_interface))}
    return frozenset(makes), frozenset(wants - makes)


def _routes(found: Partly) -> Iterable[Any]:
    section = given(found.state.routes)
    return (given(section.config) or ()) if section else ()


def contradictions(one: Meant, other: Meant) -> list[Error]:
    """Return what two policies say differently, each with its path in `one` and its place in `other`."""
    found = read_together([other.policy, one.policy], WRITTEN).errors
    for error in found:
        if error.where:
            error.where = structs.replace(error.where, text="")  # a line of JSON helps nobody
    return found


def in_order(policies: Iterable[Meant]) -> list[Meant]:
    """Return policies in the order in which a node takes them.

    What makes an interface comes before what rests on it, whatever they are called; then the higher priority;
    then the name. Policies that rest on each other go by priority and name alone.
    """
    left = {each.name: each for each in sorted(policies, key=lambda each: (-each.priority, each.name))}
    waits_for = {
        each.name: {other.name for other in left.values() if other is not each and other.makes & each.wants}
        for each in left.values()
    }
    return [left[name] for name in _sorted(list(left), waits_for)]


def _sorted(names: Sequence[str], waits_for: Mapping[str, set[str]]) -> list[str]:
    sorter = TopologicalSorter(waits_for)
    try:
        sorter.prepare()
    except CycleError as error:
        ring = set(error.args[1])
        without = {name: waits_for[name] - (ring if name in ring else set()) for name in names}
        return _sorted(names, without)
    found: list[str] = []
    ready: set[str] = set()
    while len(found) < len(names):
        ready |= set(sorter.get_ready())
        first = next(name for name in names if name in ready)
        ready.remove(first)
        found.append(first)
        sorter.done(first)
    return found
