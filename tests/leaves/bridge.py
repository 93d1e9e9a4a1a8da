"""The leaves of a bridge and of its ports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.leaves.leaf import (
    Document,
    Leaf,
    as_bit,
    documents,
    nested,
    of,
    of_sysfs,
    of_vlans,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def _bridge(path: str, value: Any, **more: Any) -> Document:
    section = {"port": [{"name": "eth1"}], **nested(path.removeprefix("bridge."), value), **more}
    return documents(of("br0", "linux-bridge", bridge=section))


def _bridge_option(
    word: str, file: str, values: tuple[Any, ...], sees: Callable[[Any], Any] = str, **more: Any
) -> tuple[str, Leaf]:
    path = f"bridge.options.{word}"
    return path, Leaf(
        values, lambda value: _bridge(path, value, **more), of_sysfs(f"br0/bridge/{file}"), sees
    )


def _hundredfold(value: Any) -> str:
    return str(int(str(value), 0) * 100)


EVERY_BRIDGE_OPTION = dict(
    [
        _bridge_option("group-addr", "group_addr", ("01:80:c2:00:00:04", "01:80:C2:00:00:00"), str.lower),
        _bridge_option("group-forward-mask", "group_fwd_mask", (0, 8), hex),
        _bridge_option("group-fwd-mask", "group_fwd_mask", (0, 16), hex),
        _bridge_option("hash-max", "hash_max", (512, 4096)),
        _bridge_option("mac-ageing-time", "ageing_time", (0, 300, 42949672), _hundredfold),
        _bridge_option("multicast-last-member-count", "multicast_last_member_count", (0, 5)),
        _bridge_option("multicast-last-member-interval", "multicast_last_member_interval", (0, 300)),
        _bridge_option("multicast-membership-interval", "multicast_membership_interval", (0, 30000)),
        _bridge_option("multicast-querier", "multicast_querier", (False, True, "off"), as_bit),
        _bridge_option("multicast-querier-interval", "multicast_querier_interval", (0, 20000)),
        _bridge_option("multicast-query-interval", "multicast_query_interval", (100, 12345)),
        _bridge_option("multicast-query-response-interval", "multicast_query_response_interval", (0, 500)),
        _bridge_option("multicast-query-use-ifaddr", "multicast_query_use_ifaddr", (False, True), as_bit),
        _bridge_option(
            "multicast-router",
            "multicast_router",
            ("disabled", "auto", "enabled", 0, False),
            lambda value: str({"auto": 1, "enabled": 2}.get(value, 0)),
        ),
        _bridge_option("multicast-snooping", "multicast_snooping", (False, True), as_bit),
        _bridge_option("multicast-startup-query-count", "multicast_startup_query_count", (0, 4)),
        _bridge_option("multicast-startup-query-interval", "multicast_startup_query_interval", (100, 3125)),
        _bridge_option("stp.enabled", "stp_state", (False, True, 0), as_bit),
        _bridge_option("stp.forward-delay", "forward_delay", (2, 30), _hundredfold),
        _bridge_option("stp.hello-time", "hello_time", (1, 10), _hundredfold),
        _bridge_option("stp.max-age", "max_age", (6, 40), _hundredfold),
        _bridge_option("stp.priority", "priority", (0, 4096, 61440)),
        _bridge_option(
            "vlan-default-pvid",
            "default_pvid",
            (0, 7),
            port=[{"name": "eth1", "vlan": {"mode": "access", "tag": 9}}],
        ),
        _bridge_option(
            "vlan-protocol",
            "vlan_protocol",
            ("802.1q", "802.1ad", "802.1Q"),
            lambda value: "0x88a8" if value == "802.1ad" else "0x8100",
        ),
    ]
)


def _port(
    word: str, file: str, values: tuple[Any, ...], sees: Callable[[Any], Any] = str
) -> tuple[str, Leaf]:
    return f"bridge.port[].{word}", Leaf(
        values,
        lambda value: _bridge("bridge.port", [{"name": "eth1", **nested(word, value)}]),
        of_sysfs(f"eth1/brport/{file}"),
        sees,
    )


def _port_vlan(path: str, values: tuple[Any, ...], vlan: Callable[[Any], Any], sees: Any) -> tuple[str, Leaf]:
    return f"bridge.port[].vlan.{path}", Leaf(
        values,
        lambda value: _bridge("bridge.port", [{"name": "eth1", "vlan": vlan(value)}]),
        of_vlans("eth1"),
        sees,
    )


def _trunk(*tags: Any, **more: Any) -> dict[str, Any]:
    return {"mode": "trunk", "trunk-tags": list(tags), **more}


EVERY_PORT = dict(
    [
        _port("name", "bridge/ifindex", ("eth1",), str),
        _port("stp-hairpin-mode", "hairpin_mode", (False, True, "no"), as_bit),
        _port("stp-path-cost", "path_cost", (1, 65535)),
        _port("stp-priority", "priority", (0, 63)),
        _port_vlan(
            "mode",
            ("access", "trunk"),
            lambda value: _trunk({"id": 5}) if value == "trunk" else {"mode": "access", "tag": 5},
            lambda value: [(5, 5, True)] if value == "access" else [(1, 1, True), (5, 5, False)],
        ),
        _port_vlan(
            "tag", (1, 4094), lambda value: {"mode": "access", "tag": value}, lambda v: [(v, v, True)]
        ),
        _port_vlan(
            "enable-native",
            (False, True, "yes"),
            lambda value: _trunk({"id": 5}, **{"enable-native": value}, **({"tag": 3} if value else {})),
            lambda value: [(3, 3, True) if value else (1, 1, True), (5, 5, False)],
        ),
        _port_vlan(
            "trunk-tags[].id", (2, 4094), lambda v: _trunk({"id": v}), lambda v: [(1, 1, True), (v, v, False)]
        ),
        _port_vlan(
            "trunk-tags[].id-range.min",
            (2, 4093),
            lambda value: _trunk({"id-range": {"min": value, "max": 4094}}),
            lambda value: [(1, 1, True), *((n, n, False) for n in range(value, 4095))],
        ),
        _port_vlan(
            "trunk-tags[].id-range.max",
            (3, 9),
            lambda value: _trunk({"id-range": {"min": 3, "max": value}}),
            lambda value: [(1, 1, True), *((n, n, False) for n in range(3, value + 1))],
        ),
    ]
)
EVERY_PORT["bridge.port[].name"] = Leaf(
    ("eth1", "eth2"),
    lambda value: _bridge("bridge.port", [{"name": value}]),
    lambda ns: [link["ifname"] for link in ns.json("bridge", "-j", "link") if link.get("master") == "br0"],
    lambda value: [value],
)
