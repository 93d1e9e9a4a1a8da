"""Entries of routes and rules, by what they say: which of them an absent one means, and which are one route.

Networks are in their one form: see `nncp.document.tidy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.tidy import MAIN_TABLE, is_v6

if TYPE_CHECKING:
    from collections.abc import Mapping

    Entry = Mapping[str, Any]

V6_METRIC = 1024
"""What the kernel gives an IPv6 route without one (net/ipv6/route.c, IP6_RT_PRIO_USER)."""


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


def is_same_route(one: Entry, other: Entry) -> bool:
    """Whether two entries are one route: the metric counts, as in the kernel."""
    keys = {*one, *other} - {"metric", "table-id", "state"}
    same = all(_hop(one.get(key)) == _hop(other.get(key)) for key in keys)
    return same and _metric(one) == _metric(other) and table_of(one) == table_of(other)


def _hop(value: Any) -> Any:
    """Return a value, None for what nmstate shows as the address of no gateway."""
    return None if value in {"", "::", "0.0.0.0"} else value  # noqa: S104


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
