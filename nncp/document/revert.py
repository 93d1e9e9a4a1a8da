"""The document that undoes another: what stands where that one says something else.

nmstate's meaning (rust/src/lib/revert), and the routes and links besides that go with others. Both states are
in their one form: see `nncp.document.tidy`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.delta import differs
from nncp.document.entries import (
    new_routes,
    new_rules,
    route_goes,
    route_order,
    rule_goes,
    with_family,
)
from nncp.document.state import MAIN_TABLE
from nncp.document.tidy import FAMILIES, by_name, entries, key_of, section_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    State = Mapping[str, Any]

AUTOMATIC = ("auto-dns", "auto-gateway", "auto-routes")


def reverse(desired: State, current: State) -> dict[str, Any]:
    """Return the state that leads from what `desired` makes of `current` back to `current`."""
    made: dict[str, Any] = {}
    for key in ("hostname", "dns-resolver"):
        if key in current and differs(key, desired, current):
            made[key] = current[key]
    if "ovs-db" in desired:
        made["ovs-db"] = _with_nulls(desired["ovs-db"], current.get("ovs-db") or {})
    if mappings := list(_mappings(desired, current)):
        made["ovn"] = {"bridge-mappings": mappings}
    bare = {name for name, _ in (*_leaving(desired, current), *_falling(desired, current))}
    bare |= set(_losing(desired, current))
    if routes := sorted(_routes_back(desired, current, bare), key=route_order):
        made["routes"] = {"config": routes}
    if rules := _rules_back(desired, current):
        made["route-rules"] = {"config": rules}
    if interfaces := list(_interfaces_back(desired, current)):
        made["interfaces"] = interfaces
    return made


def _with_nulls(desired: Any, current: Any) -> Any:
    """Return what stood where something else is asked for; null where nothing stood."""
    if not isinstance(desired, dict):
        return current
    had = current if isinstance(current, dict) else {}
    return {key: _with_nulls(value, had.get(key)) for key, value in desired.items()}


def _mappings(desired: State, current: State) -> Iterator[dict[str, Any]]:
    """Yield OVN's bridge mappings as they were, those that are new being absent."""
    stand, wanted = (section_of(one, "ovn").get("bridge-mappings") or () for one in (current, desired))
    have, asked = {entry["localnet"]: entry for entry in stand}, [entry["localnet"] for entry in wanted]
    yield from ({"localnet": name, "state": "absent"} for name in asked if name not in have)
    yield from (have[name] for name in sorted(asked) if name in have)


def _leaving(desired: State, current: State) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the interfaces that stand and lose their addresses: they go, become ports, or their base goes."""
    have = {str(one.get("name")): one for one in current["interfaces"]}
    absent = [str(one["name"]) for one in desired["interfaces"] if one["state"] == "absent"]
    pairs = (section_of(have[name], "veth").get("peer") for name in absent if name in have)
    gone = _with_above([*absent, *(str(peer) for peer in pairs if peer)], current)
    ports = {port for one in desired["interfaces"] for port in _ports(one)}
    ports |= {str(one["name"]) for one in desired["interfaces"] if one.get("controller")}
    for name, one in have.items():
        if name in gone or (name in ports and not one.get("controller")):
            yield name, one


def _falling(desired: State, current: State) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the interfaces that are up and go down: they are asked to, or rest on one that is."""
    down = _with_above((str(one["name"]) for one in desired["interfaces"] if one["state"] == "down"), current)
    for one in current["interfaces"]:
        if str(one.get("name")) in down and one.get("state") == "up":
            yield str(one["name"]), one


def _losing(desired: State, current: State) -> Iterator[str]:
    """Yield the interfaces that lose an address, with which the kernel takes routes."""
    have = by_name(current)
    for one in desired["interfaces"]:
        stands = have.get(key_of(one), {})
        for family in FAMILIES:
            had = section_of(stands, family).get("address") or []
            wanted = section_of(one, family)
            kept = wanted.get("address", had) if wanted.get("enabled", True) else []
            if any(address not in kept for address in had):
                yield str(one["name"])


def _with_above(names: Iterable[str], current: State) -> set[str]:
    """Return interfaces with all that rest on them."""
    above: dict[str | None, list[str]] = {}
    for one in current["interfaces"]:
        above.setdefault(_base(one), []).append(str(one.get("name")))
    found, waiting = set[str](), list(names)
    while waiting:
        found.add(name := waiting.pop())
        waiting += [other for other in above.get(name, ()) if other not in found]
    return found


def _base(interface: State) -> str | None:
    sections = (value for value in interface.values() if isinstance(value, dict))
    return next((str(section["base-iface"]) for section in sections if section.get("base-iface")), None)


def _ports(interface: State) -> Iterator[str]:
    if interface["state"] == "absent" or interface.get("type") == "vrf":
        return  # the ports of a VRF keep their addresses
    for section in ("bridge", "link-aggregation"):
        listed = section_of(interface, section).get("port")
        for port in listed if isinstance(listed, list) else ():
            yield str(port.get("name") if isinstance(port, dict) else port)


def _interfaces_back(desired: State, current: State) -> Iterator[dict[str, Any]]:
    have, asked = by_name(current), by_name(desired)
    leaving = dict(_leaving(desired, current))
    ports = {port for other in desired["interfaces"] for port in _ports(other)}
    for name, one in leaving.items():
        if key_of(one) not in asked:
            addresses = {family: _ip_back(section_of(one, family)) for family in FAMILIES if family in one}
            yield {**_about(one), **addresses} if name in ports else dict(one)
    for name, one in _falling(desired, current):
        if key_of(one) not in asked and name not in leaving:
            yield _about(one)
    for key, one in asked.items():
        if key not in have:
            if one["state"] != "absent":
                yield {**_about(one), "state": "absent"}
        elif one["state"] == "absent":
            yield dict(have[key])
        elif (back := _back(one, have[key], is_port=str(one["name"]) in leaving)) != dict(one):
            yield back


def _about(interface: State) -> dict[str, Any]:
    return {key: interface[key] for key in ("name", "type", "state") if key in interface}


def _back(desired: State, current: State, *, is_port: bool) -> dict[str, Any]:
    """Return what an interface had of all that is asked of it."""
    made = _about(current) | _had(desired, current)
    for family in FAMILIES:
        if family in current and (is_port or family in desired):
            made[family] = _ip_back(section_of(current, family))
    wanted, had = (section_of(section_of(one, "ethernet"), "sr-iov") for one in (desired, current))
    if wanted.get("total-vfs") and not had.get("total-vfs"):
        made["ethernet"] = {**made.get("ethernet", {}), "sr-iov": {"total-vfs": 0}}
    return made


def _had(desired: State, current: State) -> dict[str, Any]:
    found = {}
    for key, value in desired.items():
        if key in current:
            is_map = isinstance(value, dict) and isinstance(current[key], dict)
            found[key] = _had(value, current[key]) if is_map else current[key]
    return found


def _ip_back(section: State) -> dict[str, Any]:
    """Return an IP section; one that others configure asks them again, for all that they give by default."""
    if not (section.get("dhcp") or section.get("autoconf")):
        return dict(section)
    return {
        **section,
        "address": section.get("address", []),
        **{key: section.get(key, True) for key in AUTOMATIC},
    }


def _routes_back(desired: State, current: State, bare: set[str]) -> Iterator[dict[str, Any]]:
    goes = route_goes(desired)
    yield from ({**entry, "state": "absent"} for entry in new_routes(desired, current))
    for entry in entries(current, "routes"):
        if entry.get("next-hop-interface") in bare or goes(entry):
            yield entry


def _rules_back(desired: State, current: State) -> list[dict[str, Any]]:
    goes = rule_goes(desired)
    made = [_gone(rule) for rule in new_rules(desired, current)]
    made += [rule for rule in entries(current, "route-rules") if goes(rule)]
    return sorted(made, key=_rule_order)


def _gone(rule: State) -> dict[str, Any]:
    """Return the entry that takes a rule away; its family is said where no network says it."""
    says = rule.get("ip-from") or rule.get("ip-to")
    return {key: value for key, value in rule.items() if key != "family" or not says} | {"state": "absent"}


def _rule_order(rule: State) -> tuple[Any, ...]:
    family = with_family(rule)["family"]
    return (rule.get("state") != "absent", family == "ipv4", rule.get("route-table") or MAIN_TABLE, str(rule))
