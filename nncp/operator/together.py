"""What the policies of one node are to each other: which contradict, and which comes first. Pure.

A policy is looked at as on a host of which nothing is known: what is wrong with it there is wrong everywhere,
and what it rests on and does not make itself has to come from another policy, or be there.
"""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

import msgspec
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
from nncp.operator.text import text_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nncp.document.together import Partly


class Meant(Struct, frozen=True):
    """A policy as it is meant on a node."""

    name: str
    text: bytes
    """It as a document, without templates: what it asks the node for."""
    priority: int = 0
    makes: frozenset[str] = frozenset()
    """The interfaces that are there because of it."""
    wants: frozenset[str] = frozenset()
    """Those that it rests on, or says something of, without making them."""
    about: frozenset[str] = frozenset()
    """The interfaces that it names, and the other sections that it has."""

    @property
    def desired(self) -> Any:
        """The state that the node is asked for."""
        return msgspec.json.decode(self.text)["spec"]["desiredState"]


def meant(name: str, text: bytes, values: Mapping[str, str], priority: int = 0) -> Meant:
    """Return a policy as it is meant on a node whose values are these.

    Args:
        name: the policy's.
        text: it as a document.
        values: what its templates call values.
        priority: see `in_order`.

    Raises:
        Error: with all that is wrong with it on any node.

    """
    read = _read(name, text)
    resolved = resolve(read, None, values=values)
    found = read_together([resolved.policy], WRITTEN)
    raise_all([*resolved.errors, *found.errors])
    makes, wants = _links(found)
    about = {f"{section}:" for section in resolved.policy.state.value if section != "interfaces"}
    rendered = text_of(name, resolved.policy.state.value, read.capture.value if read.capture else None)
    return Meant(name, rendered, priority, makes, wants, frozenset(about | makes | wants))


def _read(name: str, text: bytes) -> Policy:
    (read,) = read_policies(load(text.decode(), file=f"policy {name}"))
    return read


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
    if one.about.isdisjoint(other.about):
        return []
    found = read_together([_resolved(other), _resolved(one)], WRITTEN).errors
    for error in found:
        if error.where:
            error.where = structs.replace(error.where, text="")  # a line of JSON helps nobody
    return found


def _resolved(one: Meant) -> Policy:
    """Return a policy whose captures nobody has taken: what refers to them is not compared."""
    return resolve(_read(one.name, one.text), None).policy


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
