"""The part of one document that differs from another.

This is about what is written, of a host or not; what a host has to be told is a plan's to say. nmstate's
meaning (rust/src/lib/query_apply). Both states are in their one form: see `nncp.document.tidy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.entries import (
    new_routes,
    new_rules,
    route_goes,
    route_order,
    rule_goes,
    rule_stays,
)
from nncp.document.rule import next_priorities
from nncp.document.state import SAME_TYPE
from nncp.document.tidy import FAMILIES, by_name, entries, section_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    State = Mapping[str, Any]

WHOLE = ("description", "hostname", "dns-resolver", "ovs-db", "ovn")
"""What is compared as a whole, and not by its entries."""


def difference(desired: State, current: State) -> dict[str, Any]:
    """Return the part of `desired` that differs from `current`, as a state: empty when none does."""
    made: dict[str, Any] = {}
    for key in WHOLE:
        if differs(key, desired, current):
            made[key] = desired[key]
    if rules := _rules(desired, current):
        made["route-rules"] = {"config": rules}
    if routes := sorted(_routes(desired, current), key=route_order):
        made["routes"] = {"config": routes}
    have = by_name(current)
    found = (_interface(one, have.get(key)) for key, one in by_name(desired).items())
    if interfaces := [one for one in found if one is not None]:
        made["interfaces"] = interfaces
    return made


def differs(key: str, desired: State, current: State) -> bool:
    """Whether something of the whole host's is another one than it is."""
    if key not in desired:
        return False
    wanted, have = desired[key], {} if current.get(key) is None else current[key]
    if key == "dns-resolver" and (wanted or {}).get("config") == {}:
        return bool(have.get("config"))  # it empties the resolver
    return part_of(wanted, have) is not None or (key == "ovs-db" and _deletes(wanted, have))


def _deletes(desired: Any, current: Any) -> bool:
    """Whether a null takes something away, as it does of Open vSwitch's maps alone."""
    if not isinstance(desired, dict) or not isinstance(current, dict):
        return desired is None and current is not None
    return any(_deletes(value, current.get(key)) for key, value in desired.items())


def _interface(desired: State, current: State | None) -> dict[str, Any] | None:
    if desired["state"] == "absent":
        return dict(desired) if current else None
    if current is None:
        return dict(desired)
    part: dict[str, Any] | None = part_of(desired, current)
    if part is None:
        return None
    about = {key: desired.get(key, current.get(key)) for key in ("name", "type", "state")}
    made = {key: value for key, value in about.items() if value is not None} | part
    if isinstance(part.get("vlan"), dict):
        # Alone neither says which VLAN it is.
        both = {**section_of(current, "vlan"), **desired["vlan"]}
        made["vlan"] = {key: both[key] for key in ("base-iface", "id") if key in both} | part["vlan"]
    for family in FAMILIES:
        if "address" in section_of(part, family) and "enabled" in desired[family]:
            made[family] = {"enabled": desired[family]["enabled"], **part[family]}
    if part.get("identifier") == "mac-address" and "mac-address" in current:
        # The name is a profile's from then on, and the link is found by the address.
        made |= {"mac-address": current["mac-address"], "profile-name": desired["name"]}
    return made


def part_of(desired: Any, current: Any) -> Any:
    """Return what of a value differs, None when nothing does; a list differs as a whole."""
    if isinstance(desired, list) and isinstance(current, list):
        return None if _same_list(desired, current) else desired
    if not isinstance(desired, dict) or not isinstance(current, dict):
        same = desired == current or {str(desired), str(current)} <= SAME_TYPE
        return None if same else desired
    parts = {}
    for key, value in desired.items():
        if value is None or (key not in current and key in {"dhcp", "autoconf"} and value is False):
            continue  # it asks for nothing
        part = part_of(value, current[key]) if key in current else value
        if part is not None:
            parts[key] = part
    return parts or None


def _same_list(desired: list[Any], current: list[Any]) -> bool:
    """Whether the entries are the same ones, and nothing that is said of one differs."""
    return len(desired) == len(current) and all(
        part_of(one, other) is None for one, other in zip(desired, current, strict=True)
    )


def _routes(desired: State, current: State) -> Iterator[dict[str, Any]]:
    """Yield the entries that take a route away or put one there."""
    goes = route_goes(desired)
    yield from ({**entry, "state": "absent"} for entry in entries(current, "routes") if goes(entry))
    yield from new_routes(desired, current)


def _rules(desired: State, current: State) -> list[dict[str, Any]]:
    """Return the rules that go or come; those that come with family and priority, while one is left."""
    have, asked = entries(current, "route-rules"), entries(desired, "route-rules")
    goes, stays = rule_goes(desired), rule_stays(desired)
    made = [{**rule, "state": "absent"} for rule in have if goes(rule) and not stays(rule)]
    free = next_priorities(int(rule.get("priority") or 0) for rule in (*have, *asked))
    for rule in new_rules(desired, current):
        entry = {key: value for key, value in rule.items() if value != ""}
        priority = None if "priority" in entry else next(free, None)
        made.append(entry if priority is None else {"priority": priority, **entry})
    return made
