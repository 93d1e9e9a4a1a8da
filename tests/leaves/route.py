"""The leaves of routes."""

from __future__ import annotations

from typing import Any

from tests.leaves.address import ipv4
from tests.leaves.leaf import (
    Document,
    Leaf,
    of_routes,
)


def _route(**entry: Any) -> Document:
    hop = {} if "route-type" in entry else {"next-hop-interface": "eth1", "next-hop-address": "192.0.2.254"}
    return {**ipv4(), "routes": {"config": [{"destination": "198.51.100.0/24", **hop, **entry}]}}


EVERY_ROUTE = {
    "routes.config[].destination": Leaf(
        ("0.0.0.0/0", "10.1.2.3/8", "203.0.113.7"),
        lambda value: _route(destination=value),
        of_routes("dst"),
        lambda value: {"0.0.0.0/0": "default", "10.1.2.3/8": "10.0.0.0/8"}.get(value, value),
    ),
    "routes.config[].next-hop-interface": Leaf(
        ("eth1",), lambda v: _route(**{"next-hop-interface": v}), of_routes("dev")
    ),
    "routes.config[].next-hop-address": Leaf(
        ("192.0.2.7", "0.0.0.0"),
        lambda value: _route(**{"next-hop-address": value}),
        of_routes("gateway"),
        lambda value: value if value != "0.0.0.0" else None,
    ),
    "routes.config[].metric": Leaf(
        (-1, 0, 7, 2**32 - 1), lambda v: _route(metric=v), of_routes("metric"), lambda v: v if v > 0 else None
    ),
    "routes.config[].table-id": Leaf(
        (0, 50, 70000),
        lambda value: _route(**{"table-id": value}),
        of_routes("table"),
        lambda value: str(value) if value else "main",
    ),
    "routes.config[].weight": Leaf(
        (1, 256),
        lambda value: {
            **ipv4(),
            "routes": {
                "config": [
                    {
                        "destination": "198.51.100.0/24",
                        "next-hop-interface": "eth1",
                        "next-hop-address": f"192.0.2.{n}",
                        "weight": value if n == 8 else 2,
                    }
                    for n in (8, 9)
                ]
            },
        },
        lambda ns: sorted((hop["gateway"], hop["weight"]) for hop in of_routes("nexthops")(ns)),
        lambda value: [("192.0.2.8", value), ("192.0.2.9", 2)],
    ),
    "routes.config[].route-type": Leaf(
        ("blackhole", "unreachable", 8),
        lambda value: _route(**{"route-type": value}),
        of_routes("type"),
        lambda value: "prohibit" if value == 8 else value,
    ),
    "routes.config[].cwnd": Leaf(
        (1, 20), lambda v: _route(cwnd=v), of_routes("metrics"), lambda v: [{"cwnd": v}]
    ),
    "routes.config[].source": Leaf(("192.0.2.1",), lambda v: _route(source=v), of_routes("prefsrc")),
}
