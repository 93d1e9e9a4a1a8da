"""A state in its one form, so that two of them can be compared: numbers as numbers, lists in one order.

What no Struct can hold, since nothing here is built for it, stays as it is written.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from nncp.document.lax import read_lax
from nncp.document.policy import with_port_vlans
from nncp.document.read import form_of
from nncp.document.state import USERSPACE_TYPES, State, absent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nncp.document.policy import Policy
    from nncp.document.state import Documented, Interface

S = TypeVar("S", bound=Struct)

FAMILIES = ("ipv4", "ipv6")
PORTS = (("link-aggregation", "port"), ("vrf", "port"), ("bridge", "port"))
"""Lists whose order means nothing."""
NETWORKS = frozenset({"destination", "ip-from", "ip-to"})
FOREVER = "forever"


def tidied(
    policy: Policy, kinds: Mapping[str, Documented], types: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return a state in its one form, with what a manifest means without saying it.

    Args:
        policy: the state.
        kinds: the interface types, by name.
        types: the types of interfaces that do not say theirs, by name; those of the state itself by default.

    """
    data = policy.state.value if isinstance(policy.state.value, dict) else {}
    known = types_of(data) if types is None else types
    rest = {key: value for key, value in data.items() if key != "interfaces"}
    made = _decoded(rest, State)
    meant = with_port_vlans if policy.is_manifest else None
    made["interfaces"] = [_interface(one, kinds, known, meant) for one in _interfaces(data)]
    for section in ("routes", "route-rules"):
        if made.get(section):
            made[section] = {**made[section], "config": list(map(_entry, entries(made, section)))}
    return made


def types_of(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the types that the interfaces of a state say, by name."""
    return {str(one.get("name")): str(one["type"]) for one in _interfaces(state) if "type" in one}


def _interfaces(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = state.get("interfaces")
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []


def section_of(state: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section, empty where there is none, or something else: what no Struct holds has any shape."""
    section = state.get(name)
    return section if isinstance(section, dict) else {}


def entries(state: Mapping[str, Any], section: str) -> list[dict[str, Any]]:
    """Return the entries of a list of the whole host's: its routes, or its rules."""
    part = state.get(section)
    listed = part.get("config") if isinstance(part, dict) else None
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def _decoded(
    data: Mapping[str, Any], struct: type[S], meant: Callable[[S], S] | None = None
) -> dict[str, Any]:
    try:
        read = msgspec.convert(data, struct, dec_hook=read_lax)
    except msgspec.ValidationError:
        return dict(data)
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(meant(read) if meant else read))
    return plain


def _interface(
    data: dict[str, Any],
    kinds: Mapping[str, Documented],
    types: Mapping[str, str],
    meant: Callable[[Interface], Interface] | None,
) -> dict[str, Any]:
    made = _decoded(absent(data), form_of(data, kinds, types), meant)
    made = {"name": data.get("name"), "type": types.get(str(data.get("name")), "unknown"), **made}
    # A null says nothing, nor does a type that is not known.
    made = {
        key: value for key, value in made.items() if value is not None and (key, value) != ("type", "unknown")
    }
    made["state"] = made.get("state") or "up"
    for section, key in PORTS:
        config = made.get(section)
        ports = config.get(key) if isinstance(config, dict) else None
        if isinstance(ports, list):
            made[section] = {**made[section], key: sorted(ports, key=_name)}
    for family in FAMILIES:
        if isinstance(made.get(family), dict):
            made[family] = _family(made[family])
    return made


def _name(port: Any) -> str:
    return str(port.get("name", "")) if isinstance(port, dict) else str(port)


def _family(section: dict[str, Any]) -> dict[str, Any]:
    """Return an IP section without the addresses that no document sets: the link's own, and leased ones."""
    listed = section.get("address")
    if not isinstance(listed, list):
        return section
    leased = bool(section.get("dhcp") or section.get("autoconf"))
    kept = [one for one in listed if not _is_link_local(one) and not (leased and _ends(one))]
    return {**section, "address": kept}


def _ends(entry: Any) -> bool:
    """Whether an address has a life time: whoever leased it renews it."""
    return isinstance(entry, dict) and entry.get("valid-life-time", FOREVER) != FOREVER


def _is_link_local(entry: Any) -> bool:
    try:
        address = ipaddress.ip_address(str(entry.get("ip")) if isinstance(entry, dict) else "")
    except ValueError:
        return False
    return address.version == 6 and address.is_link_local


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a route or rule with its networks as the kernel keeps them."""
    return {key: _network(value) if key in NETWORKS else value for key, value in entry.items()}


def _network(value: Any) -> Any:
    try:
        return str(ipaddress.ip_network(value, strict=False)) if value else value
    except ValueError:
        return value


def key_of(interface: Mapping[str, Any]) -> tuple[str, str]:
    """Return what an interface is known by: names of those that are no links are their own."""
    kind = str(interface.get("type"))
    return (kind if kind in USERSPACE_TYPES else "", str(interface.get("name")))


def by_name(state: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the interfaces of a state by what they are known by."""
    return {key_of(interface): interface for interface in state["interfaces"]}


def joined(states: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return states as one; what two say of one interface or list is put together."""
    made: dict[str, Any] = {"interfaces": []}
    for state in states:
        for key, value in state.items():
            if key != "interfaces":
                made[key] = _both(made[key], value) if key in made else value
    named: dict[tuple[str, str], Any] = {}
    for state in states:
        for known, interface in by_name(state).items():
            named[known] = _both(named[known], interface) if known in named else interface
    return {**made, "interfaces": list(named.values())}


def _both(one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        return {
            **one,
            **{key: _both(one[key], value) if key in one else value for key, value in other.items()},
        }
    return [*one, *other] if isinstance(one, list) and isinstance(other, list) else other
