"""Entries of routes and rules, by what they say: which of them an absent one means, and which are one route.

Networks are in their one form: see `nncp.document.tidy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.state import MAIN_TABLE, V6_METRIC
from nncp.document.tidy import entries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Entry = Mapping[str, Any]
    State = Mapping[str, Any]


def is_v6(text: str) -> bool:
    """Whether an address or network is IPv6."""
    return ":" in text


def is_meant(wildcard: Entry, have: Entry) -> bool:
    """Whether an absent entry means an entry: all that it says is so."""
    full = {**have, "table-id": table_of(have)}
    said = {key: value for key, value in wildcard.items() if key != "state" and value is not None}
    if "table-id" in said:
        said["table-id"] = table_of(wildcard)
    return all(full.get(key) == value for key, value in said.items())


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
    stay = {route_key(entry) for entry in new}
    return lambda entry: route_key(entry) not in stay and any(is_meant(one, entry) for one in absent)


def new_routes(desired: State, current: State) -> list[dict[str, Any]]:
    """Return the routes that a state asks for and that do not stand."""
    stand = {route_key(entry) for entry in entries(current, "routes")}
    return [entry for entry in parted(entries(desired, "routes"))[1] if route_key(entry) not in stand]


def new_rules(desired: State, current: State) -> list[dict[str, Any]]:
    """Return the rules that a state asks for and that do not stand."""
    have = [with_family(rule) for rule in entries(current, "route-rules")]
    new = parted(entries(desired, "route-rules"))[1]
    return [entry for entry in new if not any(is_meant(with_family(entry), rule) for rule in have)]


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
    network = str(rule.get("ip-from") or rule.get("ip-to") or "")
    family = rule.get("family") or ("ipv6" if is_v6(network) else "ipv4")
    made = {key: value for key, value in rule.items() if value is not None}
    if made.get("priority") == -1:
        del made["priority"]
    return {"family": family, **made}
