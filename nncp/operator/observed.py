"""What a NodeNetworkState tells of a node: the state, less what is Pods', what only moves, and secrets. Pure.

Pods come and go by the second: their links, with all that hangs on them, would have every node written anew
each time.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import json

from nncp.document.tidy import entries
from nncp.operator.protocol import Shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    State = Mapping[str, Any]

LARGEST = 1_000_000
"""Bytes of JSON: an object has 1.5 MB at most (etcd, --max-request-bytes), with what else is in it."""
PODS = re.compile(r"veth[0-9a-f]{6,}|cali[0-9a-f]+|lxc[0-9a-f_]+|(azv|gke|eni|vnet)[0-9a-f]{6,}")
"""How CNI plugins call a Pod's link on the node's side (containernetworking: pkg/ip/link_linux.go)."""
GUESTS = frozenset({"veth", "tun", "tap", "mac-vtap"})
MOVING = frozenset({"gc-timer", "hello-timer", "valid-life-time", "preferred-life-time"})
SECRET = frozenset(
    {"mka-cak", "password", "private-key", "private-key-password", "psk", "pin", "secret", "xauthpassword"}
)


def seen(state: State, ours: Collection[str] = ()) -> dict[str, Any]:
    """Return the part of a node's state that others may see, and that is the node's own.

    Args:
        state: as `nncp show` tells it.
        ours: interfaces that documents in force are about: they are the node's, whatever they look like.

    """
    pods = _pods(state, ours)
    made: dict[str, Any] = _still({key: value for key, value in state.items() if key != "interfaces"})
    for section in ("routes", "route-rules"):
        if isinstance(made.get(section), dict):
            made[section] = {word: _kept(config, pods) for word, config in made[section].items()}
    macs = {one.get("mac-address") for one in _interfaces(state) if one["name"] in pods}
    left = [one for one in _interfaces(state) if one["name"] not in pods]
    own = {one["name"]: one.get("mac-address") for one in left}
    made["interfaces"] = [_interface(_still(one), pods, macs, own) for one in left]
    return made


def _interfaces(state: State) -> list[dict[str, Any]]:
    return [one for one in state.get("interfaces") or () if isinstance(one, dict) and "name" in one]


def _pods(state: State, ours: Collection[str]) -> set[str]:
    """Return the links that are Pods' or guests', with all that rests on them."""
    found = {one["name"] for one in _interfaces(state) if one["name"] not in ours and _is_pods(one)}
    above: dict[str, list[str]] = {}
    for one in _interfaces(state):
        for base in _bases(one):
            above.setdefault(base, []).append(one["name"])
    waiting = list(found)
    while waiting:
        new = [name for name in above.get(waiting.pop(), ()) if name not in found and name not in ours]
        found.update(new)
        waiting += new
    return found


def _is_pods(interface: State) -> bool:
    """Whether a link is the near end of one whose other end is elsewhere: a port that nobody has listed.

    Or one that is routed to, which only its name tells from a card.
    """
    if interface.get("type") not in GUESTS or (interface.get("veth") or {}).get("peer"):
        return False
    return bool(interface.get("controller")) or bool(PODS.fullmatch(interface["name"]))


def _bases(interface: State) -> Iterator[str]:
    for section in interface.values():
        if isinstance(section, dict) and isinstance(section.get("base-iface"), str):
            yield section["base-iface"]


def _kept(config: Any, pods: Collection[str]) -> Any:
    if not isinstance(config, list):
        return config
    return [entry for entry in config if entry.get("next-hop-interface", entry.get("iif")) not in pods]


def _interface(
    interface: dict[str, Any],
    pods: Collection[str],
    macs: Collection[str | None],
    own: Mapping[str, str | None],
) -> dict[str, Any]:
    made = {
        key: _ports(value, pods) if isinstance(value, dict) else value for key, value in interface.items()
    }
    if made.get("type") == "linux-bridge" and made.get("mac-address") in macs:
        # A bridge that was given no address has the lowest of its ports' (br_stp_recalculate_bridge_id).
        ports = [_name(port) for port in (made.get("bridge") or {}).get("port") or ()]
        lowest = min((mac for port in ports if (mac := own.get(port))), default=None)
        made = {key: value for key, value in made.items() if key != "mac-address"}
        made |= {"mac-address": lowest} if lowest else {}
    return made


def _ports(section: dict[str, Any], pods: Collection[str]) -> dict[str, Any]:
    if not isinstance(section.get("port"), list):
        return section
    return {**section, "port": [port for port in section["port"] if _name(port) not in pods]}


def _name(port: Any) -> str:
    return str(port.get("name", "")) if isinstance(port, dict) else str(port)


def _still(value: Any) -> Any:
    """Return a value without what moves by itself, and without secrets."""
    if isinstance(value, dict):
        return {key: _still(inner) for key, inner in value.items() if key not in MOVING | SECRET}
    return [_still(inner) for inner in value] if isinstance(value, list) else value


def within(state: dict[str, Any], largest: int = LARGEST) -> Shown:
    """Return a state within a size, and what was left out of it for that.

    Routes that are in the kernel go first, since most are nobody's document; then those that are; then the
    interfaces whose names come last.
    """
    made, told = dict(state), list[str]()
    for section, word in (("routes", "running"), ("routes", "config"), ("route-rules", "config")):
        if _size(made) <= largest:
            break
        if count := len(entries({section: {"config": (made.get(section) or {}).get(word)}}, section)):
            made[section] = {**made[section], word: []}
            told.append(f"{section}.{word} ({count})")
    if _size(made) > largest:
        every = made["interfaces"]
        made["interfaces"] = _fitting(every, largest - _size({**made, "interfaces": []}))
        told.append(f"interfaces ({len(every) - len(made['interfaces'])} of {len(every)})")
    return Shown(made, f"left out: {', '.join(told)}" if told else "")


def _fitting(interfaces: list[Any], room: int) -> list[Any]:
    kept: list[Any] = []
    for one in interfaces:
        room -= _size(one) + 1
        if room < 0:
            break
        kept.append(one)
    return kept


def _size(value: Any) -> int:
    return len(json.encode(value))
