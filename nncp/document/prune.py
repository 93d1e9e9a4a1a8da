"""What a document says no more that it said when it was applied before: what `--prune` takes away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.delta import FIRST_PRIORITY
from nncp.document.entries import parted, route_key, with_family
from nncp.document.tidy import entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    State = Mapping[str, Any]


def pruned(before: State, kept: Sequence[State]) -> dict[str, Any]:
    """Return the state in which all is absent that `before` asked for, and none of `kept` does.

    A card cannot be absent: it loses its configuration. All states are in their one form.
    """
    made: dict[str, Any] = {}
    named = {interface["name"] for state in kept for interface in state["interfaces"]}
    gone = [
        {key: interface[key] for key in ("name", "type") if key in interface} | {"state": "absent"}
        for interface in before["interfaces"]
        if interface["name"] not in named and interface["state"] not in {"absent", "ignore"}
    ]
    for section, known in (("routes", route_key), ("route-rules", _rule_key)):
        stay = {known(entry) for state in kept for entry in parted(entries(state, section))[1]}
        found = [entry for entry in parted(entries(before, section))[1] if known(entry) not in stay]
        if found:
            made[section] = {"config": [{**entry, "state": "absent"} for entry in found]}
    return {**made, "interfaces": gone} if gone else made


def _rule_key(rule: State) -> tuple[Any, ...]:
    said = with_family(rule)
    # One without a priority got one from there on, which no document says.
    said["priority"] = said.get("priority", FIRST_PRIORITY)
    return tuple(sorted((key, str(value)) for key, value in said.items() if key != "state"))
