"""What makes up a leaf: the document that asks for it, and what an outsider sees of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.kernel.outside import Namespace

Document = dict[str, Any]


class Leaf(NamedTuple):
    """What to write, and where to look for it.

    `sees` maps a value to what `look` then shows, which is the value itself where it is not said.
    """

    values: tuple[Any, ...]
    document: Callable[[Any], Document]
    look: Callable[[Namespace], Any]
    sees: Callable[[Any], Any] = lambda value: value


def of(name: str, type_name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": type_name, "state": "up", **rest}


def documents(*interfaces: Mapping[str, Any]) -> Document:
    return {"interfaces": list(interfaces)}


def nested(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: nested(rest, value) if rest else value}


# --- what an outsider sees


def of_link(name: str, *path: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = ns.json("ip", "-d", "-j", "link", "show", name)
        for step in path:
            found = found.get(step) if found else None
        return found

    return look


def of_sysfs(path: str) -> Callable[[Namespace], Any]:
    return lambda ns: ns.run("cat", f"/sys/class/net/{path}").stdout.strip()


def first_word(path: str) -> Callable[[Namespace], Any]:
    """Return the word before the number: `802.3ad 4`."""
    return lambda ns: of_sysfs(path)(ns).split(" ")[0]


def of_flag(name: str, flag: str) -> Callable[[Namespace], Any]:
    return lambda ns: flag in (of_link(name, "linkinfo", "info_data", "flags")(ns) or ())


def of_addresses(name: str, field: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = ns.json("ip", "-j", "addr", "show", name)
        return [entry[field] for entry in found["addr_info"] if entry["scope"] == "global"]

    return look


def of_routes(field: str, *, table: str = "all") -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        routes = [
            route
            for version in ("-4", "-6")
            for route in ns.json(
                "ip", "-d", "-j", version, "route", "show", "table", table, "proto", "static"
            )
        ]
        return routes[0].get(field) if routes else None

    return look


def of_vlans(name: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = (entry["vlans"] for entry in ns.json("bridge", "-j", "vlan") if entry["ifname"] == name)
        return [
            (entry["vlan"], entry.get("vlanEnd", entry["vlan"]), "PVID" in entry.get("flags", ()))
            for entry in found
        ]

    return look


def of_sysctl(path: str) -> Callable[[Namespace], Any]:
    return lambda ns: ns.run("sysctl", "-n", path).stdout.strip()


def as_bit(value: Any) -> str:
    return "1" if value in {True, "yes", "on"} else "0"
