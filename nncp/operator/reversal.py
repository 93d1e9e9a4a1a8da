"""The way back of a policy: what several changes have led away from, less what others ask for by now. Pure.

Each change is known by the state that undoes it (nncp.document.revert). What two of them say of one leaf is
the older one's to say: it stood before both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.document.entries import route_order
from nncp.document.tidy import entries, key_of, section_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    State = Mapping[str, Any]

LISTS = ("routes", "route-rules")
MAIN = 254
"""The main table (RT_TABLE_MAIN)."""
ABOUT = frozenset({"name", "type", "state"})


def merged(newer: State, older: State) -> dict[str, Any]:
    """Return the state that undoes two changes."""
    made = {key: value for key, value in {**newer, **older}.items() if key not in {"interfaces", *LISTS}}
    interfaces = _interfaces(newer, older)
    gone = {one.get("name") for one in interfaces if one.get("state") == "absent"}
    for section in LISTS:
        # What the newer change took from a link that the older one had made goes with that.
        config = [entry for entry in _entries(newer, older, section) if _can_be(entry, gone)]
        if config:
            made[section] = {"config": config}
    if interfaces:
        made["interfaces"] = interfaces
    return made


def _can_be(entry: State, gone: Collection[Any]) -> bool:
    return entry.get("state") == "absent" or entry.get("next-hop-interface") not in gone


def _entries(newer: State, older: State, section: str) -> list[dict[str, Any]]:
    last = {_known(entry): entry for entry in (*entries(newer, section), *entries(older, section))}
    found = list(last.values())
    return sorted(found, key=route_order) if section == "routes" else found


def _known(entry: State) -> str:
    """Return what a route or rule is known by, whether it comes or goes; a route is in the main table."""
    said = {"table-id": MAIN, **entry} if "destination" in entry else entry
    return str(sorted((key, str(value)) for key, value in said.items() if key != "state"))


def _interfaces(newer: State, older: State) -> list[dict[str, Any]]:
    found: dict[Any, dict[str, Any]] = {key_of(one): one for one in newer.get("interfaces", ())}
    for one in older.get("interfaces", ()):
        have = found.get(key_of(one))
        is_part = have is not None and "absent" not in {one.get("state"), have.get("state")}
        found[key_of(one)] = _over(one, have) if is_part else one
    return list(found.values())


def _over(one: Any, below: Any) -> Any:
    """Return a value with what another one says beside it; lists are whole."""
    if not isinstance(one, dict) or not isinstance(below, dict):
        return one
    return {**below, **{key: _over(value, below.get(key)) for key, value in one.items()}}


def without(back: State, others: Mapping[str, State]) -> tuple[dict[str, Any], list[str]]:
    """Return a way back without what other documents ask for, and a line for each thing that stays theirs.

    Args:
        back: the way back.
        others: the other documents that are in force, by their names.

    """
    made, told = dict(back), list[str]()
    for name, other in others.items():
        made, stays = _less(made, other)
        told += [f"{what} stays: {name} asks for it" for what in stays]
    return made, told


def _less(back: State, other: State) -> tuple[dict[str, Any], list[str]]:
    whole = [key for key in back if key not in {"interfaces", *LISTS} and key in other]
    made, stays = {key: value for key, value in back.items() if key not in whole}, whole
    for section in LISTS:
        asked = entries(other, section)
        kept = [entry for entry in entries(back, section) if not _is_theirs(entry, asked)]
        stays += [_words(entry) for entry in entries(back, section) if entry not in kept]
        made |= {section: {"config": kept}} if kept else {}
        if not kept:
            made.pop(section, None)
    interfaces = list[dict[str, Any]]()
    taken = set(used(other))
    said = {key_of(one): one for one in _listed(other)}
    by_name = {str(one.get("name")): one for one in said.values()}
    for one in _listed(back):
        left = _left(one, by_name.get(str(one["name"])), taken)
        stays += [str(one["name"])] if left != one else []
        interfaces += [left] if left is not None else []
    made = {**made, "interfaces": interfaces} if interfaces else made
    if not interfaces:
        made.pop("interfaces", None)
    return made, stays


def _listed(state: State) -> list[dict[str, Any]]:
    listed = state.get("interfaces")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def _left(one: dict[str, Any], theirs: State | None, used: set[str]) -> dict[str, Any] | None:
    """Return what is left of an interface's way back; None when nothing is."""
    if one.get("state") == "absent":
        return None if str(one["name"]) in used else one
    if theirs is None:
        return one
    if theirs.get("state") == "absent":
        return None
    left = {key: _leaves(value, theirs.get(key)) for key, value in one.items() if key not in ABOUT}
    rest = {key: value for key, value in left.items() if value not in (None, {}) or one[key] == value}
    about = {key: value for key, value in one.items() if key in ABOUT and key != "state"}
    return {**about, "state": "up", **rest} if rest else None


def _leaves(value: Any, theirs: Any) -> Any:
    """Return the leaves of a value of which another document says nothing; None where it says all."""
    if theirs is None:
        return value
    if not isinstance(value, dict) or not isinstance(theirs, dict):
        return None
    left = {key: _leaves(inner, theirs.get(key)) for key, inner in value.items()}
    return {key: inner for key, inner in left.items() if inner not in (None, {}) or value[key] == inner}


def _is_theirs(entry: State, asked: Sequence[State]) -> bool:
    """Whether a document asks for a route or rule: for all that it says of one."""
    return any(
        all(str(entry.get(key)) == str(value) for key, value in one.items() if key != "state")
        for one in asked
    )


def _words(entry: State) -> str:
    word = "route to" if "destination" in entry else "rule"
    return f"{word} {entry.get('destination') or entry.get('ip-from') or entry.get('ip-to') or ''}".strip()


def used(state: State) -> Iterator[str]:
    """Yield the interfaces that a document asks for, or that rest beneath what it asks for."""
    for one in _listed(state):
        if one.get("state") != "absent":
            yield str(one.get("name"))
            yield from _below(one)
    for route in entries(state, "routes"):
        if route.get("state") != "absent" and route.get("next-hop-interface"):
            yield str(route["next-hop-interface"])


def _below(interface: State) -> Iterable[str]:
    yield str(interface.get("controller") or "")
    for word, section in interface.items():
        if isinstance(section, dict):
            yield str(section.get("base-iface") or "")
            for port in section_of(interface, word).get("port") or ():
                yield str(port.get("name") if isinstance(port, dict) else port)
