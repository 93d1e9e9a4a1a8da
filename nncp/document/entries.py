"""Entries of routes and rules, by what they say: which of them an absent one means, and which are one route.

Networks are in their one form: see `nncp.document.tidy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.meant import Listed, Wildcards
from nncp.document.rule import compared, family_of
from nncp.document.state import MAIN_TABLE, V6_METRIC
from nncp.document.tidy import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Entry = Mapping[str, Any]
    State = Mapping[str, Any]


def is_v6(text: str) -> bool:
    """Whether an address or network is IPv6."""
    return ":" in text


def _said(entry: Entry) -> dict[str, Any]:
    """Return what an entry of routes says, as one that means all that have it."""
    said = {key: value for key, value in entry.items() if key != "state" and value is not None}
    return {**said, "table-id": table_of(entry)} if "table-id" in said else said


def table_of(route: Entry) -> int:
    """Return the number of a route's table, which is the main one by default."""
    return route.get("table-id") or MAIN_TABLE


def _metric(route: Entry) -> int:
    metric = route.get("metric")
    if metric not in {None, -1, 0}:
        return int(metric)
    return V6_METRIC if is_v6(str(route.get("destination"))) else 0


def parted(found: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the entries that take away, and those that ask for something."""
    listed = list(found)
    absent = [entry for entry in listed if entry.get("state") == "absent"]
    return absent, [entry for entry in listed if entry.get("state") != "absent"]


def route_key(route: Entry) -> tuple[Any, ...]:
    """Return what two entries have in common that are one route: the metric counts, as in the kernel."""
    gateway = route.get("next-hop-address")
    none = {None, "", "::", "0.0.0.0"}  # noqa: S104  (how nmstate shows a route without one)
    words = ("destination", "next-hop-interface", "route-type", "cwnd", "source")
    said = tuple(route.get(word) or None for word in words)
    hop = (None if gateway in none else gateway, route.get("weight") or 1)
    return (*said, *hop, table_of(route), _metric(route))


def route_goes(desired: State) -> Callable[[Entry], bool]:
    """Return what tells of a route whether a state takes it away."""
    absent, new = parted(entries(desired, "routes"))
    stay, means = {route_key(entry) for entry in new}, Wildcards(map(_said, absent))
    return lambda entry: (
        route_key(entry) not in stay and means.first({**entry, "table-id": table_of(entry)}) is not None
    )


def new_routes(desired: State, current: State) -> list[dict[str, Any]]:
    """Return the routes that a state asks for and that do not stand, each once."""
    known = {route_key(entry) for entry in entries(current, "routes")}
    new = {route_key(entry): entry for entry in reversed(parted(entries(desired, "routes"))[1])}
    return [entry for key, entry in reversed(new.items()) if key not in known]


def rule_goes(desired: State) -> Callable[[Entry], bool]:
    """Return what tells of a rule whether an absent entry of a state means it."""
    means = Wildcards(map(_rule_said, parted(entries(desired, "route-rules"))[0]))
    return lambda rule: means.first(_rule_full(rule)) is not None


def rule_stays(desired: State) -> Callable[[Entry], bool]:
    """Return what tells of a rule whether a state asks for it."""
    means = Wildcards(map(_rule_said, parted(entries(desired, "route-rules"))[1]))
    return lambda rule: means.first(_rule_full(rule)) is not None


def new_rules(desired: State, current: State) -> list[dict[str, Any]]:
    """Return the rules that a state asks for and that do not stand, each once; see `with_family`."""
    have = Listed(map(_rule_full, entries(current, "route-rules")))
    new = [with_family(entry) for entry in parted(entries(desired, "route-rules"))[1]]
    # One that names no priority is content with any that has its words.
    named = Listed(map(_rule_full, (entry for entry in new if "priority" in entry)))
    found = {
        repr(sorted(entry.items())): entry
        for entry in new
        if not have.has(entry) and ("priority" in entry or not named.has(entry))
    }
    return list(found.values())


def _rule_said(entry: Entry) -> dict[str, Any]:
    """Return what an entry says of rules; an absent one may mean both families, and any table by 0."""
    said = {key: value for key, value in with_family(entry).items() if key != "state"}
    if not any(entry.get(key) for key in ("family", "ip-from", "ip-to")):
        del said["family"]
    if not said.get("route-table"):
        said.pop("route-table", None)
    return said


def _rule_full(rule: Entry) -> dict[str, Any]:
    return {"ip-from": "", "ip-to": "", **with_family(rule)}


def route_order(route: Entry) -> tuple[Any, ...]:
    """Order routes as nmstate writes them: those that go first, then IPv6, by interface and destination."""
    return (
        route.get("state") != "absent",
        not is_v6(str(route.get("destination"))),
        str(route.get("next-hop-interface", "lo")),
        str(route.get("destination", "")),
        str(route.get("next-hop-address", "")),
        table_of(route),
        _metric(route),
    )


def with_family(rule: Entry) -> dict[str, Any]:
    """Return a rule with the family that its networks are of, and without a priority that names none."""
    made = {key: value for key, value in rule.items() if value is not None}
    networks = {key: str(made[key]) for key in ("ip-from", "ip-to") if key in made}
    if made.get("priority") == -1:
        del made["priority"]
    family = made.get("family") or family_of(*networks.values())
    return {"family": family, **made, **{key: compared(value) for key, value in networks.items()}}
