"""The leaves of rules that choose a routing table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.leaves.leaf import Leaf

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.kernel.outside import Namespace
    from tests.leaves.leaf import Document

PRIORITY = 1700


def _rule(**entry: Any) -> Document:
    return {
        "interfaces": [],
        "route-rules": {"config": [{"family": "ipv4", "priority": PRIORITY, "route-table": 70, **entry}]},
    }


def of_rule(word: str, priority: int = PRIORITY, family: str = "-4") -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = [one for one in ns.json("ip", family, "-j", "rule") if one["priority"] == priority]
        return found.get(word)

    return look


def _network(word: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        size = of_rule(f"{word}len")(ns)
        return f"{of_rule(word)(ns)}{f'/{size}' if size is not None else ''}"

    return look


EVERY_RULE = {
    "route-rules.config[].family": Leaf(
        ("ipv4", "ipv6"),
        lambda value: _rule(family=value),
        lambda ns: "ipv4" if any(r["priority"] == PRIORITY for r in ns.json("ip", "-j", "rule")) else "ipv6",
    ),
    "route-rules.config[].ip-from": Leaf(
        ("192.0.2.0/24", "198.51.100.7/24", "", "0.0.0.0/0"),
        lambda value: _rule(**{"ip-from": value}),
        _network("src"),
        lambda value: {"198.51.100.7/24": "198.51.100.0/24", "": "all", "0.0.0.0/0": "all"}.get(value, value),
    ),
    "route-rules.config[].ip-to": Leaf(
        ("192.0.2.0/24",), lambda value: _rule(**{"ip-to": value}), _network("dst")
    ),
    "route-rules.config[].priority": Leaf(
        (0, 1, 32765, 4000000000),
        lambda value: _rule(priority=value),
        lambda ns: sorted(r["priority"] for r in ns.json("ip", "-j", "rule") if r.get("table") == "70"),
        lambda value: [value],
    ),
    "route-rules.config[].route-table": Leaf(
        (0, 50, 70000),
        lambda value: _rule(**{"route-table": value}),
        of_rule("table"),
        lambda value: str(value) if value else "main",
    ),
    "route-rules.config[].fwmark": Leaf(
        (16, "0x20"), lambda v: _rule(fwmark=v), of_rule("fwmark"), lambda v: "0x10" if v == 16 else v
    ),
    "route-rules.config[].fwmask": Leaf(
        (240, "0xff"),
        lambda v: _rule(fwmark=16, fwmask=v),
        of_rule("fwmask"),
        lambda v: "0xf0" if v == 240 else v,
    ),
    "route-rules.config[].action": Leaf(
        ("blackhole", "unreachable", 8),
        lambda value: _rule(action=value, **{"route-table": 254}),
        of_rule("action"),
        lambda value: "prohibit" if value == 8 else value,
    ),
    "route-rules.config[].iif": Leaf(("eth1", "none0"), lambda v: _rule(iif=v), of_rule("iif")),
    **{
        f"route-rules.config[].{word}": Leaf(
            (0, 24), lambda v, word=word: _rule(**{word: v}), of_rule("suppress_prefixlen")
        )
        for word in ("suppress-prefix-length", "suppress_prefixlength")
    },
}
