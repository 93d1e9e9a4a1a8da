"""The leaves of the published schema: how each is asked for, and where an outsider sees that it was done.

`SEEN` says for a leaf which values to write in which document, and what ip, bridge, sysctl or /sys shows then.
Whatever is not there stands in `nncp.document.unsupported`, and is refused by name, or in `MOOT`, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.kernel.outside import Namespace

Document = dict[str, Any]
QUERY = "shown, ignored when applied"


class Leaf(NamedTuple):
    """What to write, and where to look for it.

    `sees` maps a value to what `look` then shows, which is the value itself where it is not said.
    """

    values: tuple[Any, ...]
    document: Callable[[Any], Document]
    look: Callable[[Namespace], Any]
    sees: Callable[[Any], Any] = lambda value: value


def leaves(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return each leaf of a document's schema: its dotted path from an interface, or from the document."""
    root = schema["$defs"]
    document = {**root["State"], "properties": {**root["State"]["properties"]}}
    interfaces = document["properties"].pop("interfaces")["items"]
    found = dict(_below(document, "", root))
    for form in interfaces["else"]["allOf"]:
        found.update(_below(form["then"], "", root))
    return found


def _below(schema: Mapping[str, Any], path: str, root: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if "$ref" in schema:
        schema = root[schema["$ref"].rpartition("/")[2]]
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if branches:
        for branch in branches:
            yield from _below(branch, path, root)
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from _below(inner, f"{path}.{name}" if path else name, root)
    elif schema.get("items"):
        yield from _below(schema["items"], f"{path}[]", root)
    else:
        yield path, schema


def _of(name: str, type_name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": type_name, "state": "up", **rest}


def _documents(*interfaces: Mapping[str, Any]) -> Document:
    return {"interfaces": list(interfaces)}


def _nested(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


# --- what an outsider sees


def _link(name: str, *path: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = ns.json("ip", "-d", "-j", "link", "show", name)
        for step in path:
            found = found.get(step) if found else None
        return found

    return look


def _sys(path: str) -> Callable[[Namespace], Any]:
    return lambda ns: ns.run("cat", f"/sys/class/net/{path}").stdout.strip()


def _first(path: str) -> Callable[[Namespace], Any]:
    """Return the word before the number: `802.3ad 4`."""
    return lambda ns: _sys(path)(ns).split(" ")[0]


def _flag(name: str, flag: str) -> Callable[[Namespace], Any]:
    return lambda ns: flag in (_link(name, "linkinfo", "info_data", "flags")(ns) or ())


def _addresses(name: str, field: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = ns.json("ip", "-j", "addr", "show", name)
        return [entry[field] for entry in found["addr_info"] if entry["scope"] == "global"]

    return look


def _routes(field: str, *, table: str = "all") -> Callable[[Namespace], Any]:
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


def _vlans(name: str) -> Callable[[Namespace], Any]:
    def look(ns: Namespace) -> Any:
        (found,) = (entry["vlans"] for entry in ns.json("bridge", "-j", "vlan") if entry["ifname"] == name)
        return [
            (entry["vlan"], entry.get("vlanEnd", entry["vlan"]), "PVID" in entry.get("flags", ()))
            for entry in found
        ]

    return look


def _sysctl(path: str) -> Callable[[Namespace], Any]:
    return lambda ns: ns.run("sysctl", "-n", path).stdout.strip()


# --- the documents


def _bond(path: str, mode: str, value: Any) -> Document:
    section: dict[str, Any] = {"mode": mode, "port": ["eth1", "eth2"]}
    section |= _nested(path.removeprefix("link-aggregation."), value)
    return _documents(_of("bond0", "bond", **{"link-aggregation": section}))


def _bond_option(
    word: str,
    values: tuple[Any, ...],
    mode: str = "active-backup",
    *,
    sees: Callable[[Any], Any] = str,
    file: str = "",
    beside: Mapping[str, Any] | None = None,
) -> tuple[str, Leaf]:
    def document(value: Any) -> Document:
        return _bond("link-aggregation.options", mode, {**(beside or {}), word: value})

    look = _first(f"bond0/bonding/{file or word}")
    return f"link-aggregation.options.{word}", Leaf(values, document, look, sees)


def _as_bit(value: Any) -> str:
    return "1" if value in {True, "yes", "on"} else "0"


ARP = {"arp_interval": 100, "arp_ip_target": "192.0.2.9"}
EVERY_BOND_OPTION = dict(
    [
        _bond_option("ad_actor_sys_prio", (1, 65535), "802.3ad"),
        _bond_option("ad_actor_system", ("02:00:00:00:00:09",), "802.3ad"),
        _bond_option("ad_select", ("stable", "bandwidth", "count"), "802.3ad"),
        _bond_option("ad_user_port_key", (0, 1023), "802.3ad"),
        _bond_option(
            "all_slaves_active",
            ("dropped", "delivered"),
            sees=lambda value: "1" if value == "delivered" else "0",
        ),
        _bond_option("arp_all_targets", ("any", "all")),
        _bond_option("arp_interval", (0, 250), beside={"arp_ip_target": "192.0.2.9"}),
        _bond_option("arp_validate", ("none", "active", "all"), beside=ARP),
        _bond_option("downdelay", (0, 200), beside={"miimon": 100}),
        _bond_option("updelay", (0, 200), beside={"miimon": 100}),
        _bond_option("fail_over_mac", ("none", "active", "follow")),
        _bond_option("lacp_rate", ("slow", "fast"), "802.3ad"),
        _bond_option("lp_interval", (1, 2**31 - 1)),
        _bond_option("miimon", (0, "0x64", 2**31 - 1), sees=lambda value: str(int(str(value), 0))),
        _bond_option("min_links", (0, 2)),
        _bond_option("num_grat_arp", (0, 255)),
        _bond_option("num_unsol_na", (0, 255)),
        _bond_option("packets_per_slave", (0, 1, 65535), "balance-rr"),
        _bond_option("primary_reselect", ("always", "better", "failure")),
        _bond_option("resend_igmp", (0, 255)),
        _bond_option("tlb_dynamic_lb", (False, True, "no"), "balance-tlb", sees=_as_bit),
        _bond_option(
            "xmit_hash_policy",
            ("layer2", "layer3+4", "layer2+3", "encap2+3", "encap3+4", "vlan+srcmac"),
            "balance-xor",
        ),
    ]
)
EVERY_BOND_OPTION |= {
    "link-aggregation.options.arp_ip_target": Leaf(
        ("", "192.0.2.9", "192.0.2.9, 192.0.2.3"),
        lambda value: _bond(
            "link-aggregation.options",
            "active-backup",
            {"arp_ip_target": value, "arp_interval": 100 if value else 0},
        ),
        _sys("bond0/bonding/arp_ip_target"),
        lambda value: value.replace(",", ""),
    ),
    "link-aggregation.options.arp_missed_max": Leaf(
        (1, 255),
        lambda value: _bond("link-aggregation.options.arp_missed_max", "active-backup", value),
        _link("bond0", "linkinfo", "info_data", "arp_missed_max"),
    ),
    "link-aggregation.options.lacp_active": Leaf(
        ("off", "on"),
        lambda value: _bond("link-aggregation.options.lacp_active", "802.3ad", value),
        _link("bond0", "linkinfo", "info_data", "ad_lacp_active"),
    ),
    "link-aggregation.options.peer_notif_delay": Leaf(
        (0, 300),
        lambda value: _bond(
            "link-aggregation.options", "active-backup", {"miimon": 100, "peer_notif_delay": value}
        ),
        _link("bond0", "linkinfo", "info_data", "peer_notify_delay"),
    ),
    "link-aggregation.options.primary": Leaf(
        ("", "eth2"),
        lambda value: _bond("link-aggregation.options.primary", "active-backup", value),
        _sys("bond0/bonding/primary"),
    ),
    "link-aggregation.options.use_carrier": Leaf(
        (True, "on"),
        lambda value: _bond("link-aggregation.options.use_carrier", "active-backup", value),
        lambda ns: _link("bond0", "linkinfo", "info_data", "use_carrier")(ns) in {None, 1},
        lambda _: True,
    ),
    "link-aggregation.mode": Leaf(
        ("balance-rr", 1, "2", "802.3ad"),
        lambda value: _bond("link-aggregation.mode", "", value),
        _first("bond0/bonding/mode"),
        lambda value: {1: "active-backup", "2": "balance-xor"}.get(value, value),
    ),
    "link-aggregation.ports-config[].priority": Leaf(
        (0, -5, 7),
        lambda value: _bond(
            "link-aggregation.ports-config",
            "active-backup",
            [{"name": "eth1", "priority": value}, {"name": "eth2"}],
        ),
        _link("eth1", "linkinfo", "info_slave_data", "prio"),
    ),
    "link-aggregation.ports-config[].queue-id": Leaf(
        (0, 3),
        lambda value: _bond(
            "link-aggregation.ports-config",
            "active-backup",
            [{"name": "eth1", "queue-id": value}, {"name": "eth2"}],
        ),
        _link("eth1", "linkinfo", "info_slave_data", "queue_id"),
    ),
}
for _word in ("port[]", "ports[]", "ports-config[].name"):
    EVERY_BOND_OPTION[f"link-aggregation.{_word}"] = Leaf(
        ("eth1", "eth2"),
        lambda value, word=_word: _documents(
            _of(
                "bond0",
                "bond",
                **{
                    "link-aggregation": {
                        "mode": "active-backup",
                        word.partition("[")[0]: [{"name": value} if "." in word else value],
                    }
                },
            )
        ),
        _sys("bond0/bonding/slaves"),
    )


def _bridge(path: str, value: Any, **more: Any) -> Document:
    section = {"port": [{"name": "eth1"}], **_nested(path.removeprefix("bridge."), value), **more}
    return _documents(_of("br0", "linux-bridge", bridge=section))


def _bridge_option(
    word: str, file: str, values: tuple[Any, ...], sees: Callable[[Any], Any] = str, **more: Any
) -> tuple[str, Leaf]:
    path = f"bridge.options.{word}"
    return path, Leaf(values, lambda value: _bridge(path, value, **more), _sys(f"br0/bridge/{file}"), sees)


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
        _bridge_option("multicast-querier", "multicast_querier", (False, True, "off"), _as_bit),
        _bridge_option("multicast-querier-interval", "multicast_querier_interval", (0, 20000)),
        _bridge_option("multicast-query-interval", "multicast_query_interval", (100, 12345)),
        _bridge_option("multicast-query-response-interval", "multicast_query_response_interval", (0, 500)),
        _bridge_option("multicast-query-use-ifaddr", "multicast_query_use_ifaddr", (False, True), _as_bit),
        _bridge_option(
            "multicast-router",
            "multicast_router",
            ("disabled", "auto", "enabled", 0, False),
            lambda value: str({"auto": 1, "enabled": 2}.get(value, 0)),
        ),
        _bridge_option("multicast-snooping", "multicast_snooping", (False, True), _as_bit),
        _bridge_option("multicast-startup-query-count", "multicast_startup_query_count", (0, 4)),
        _bridge_option("multicast-startup-query-interval", "multicast_startup_query_interval", (100, 3125)),
        _bridge_option("stp.enabled", "stp_state", (False, True, 0), _as_bit),
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
        lambda value: _bridge("bridge.port", [{"name": "eth1", **_nested(word, value)}]),
        _sys(f"eth1/brport/{file}"),
        sees,
    )


def _port_vlan(path: str, values: tuple[Any, ...], vlan: Callable[[Any], Any], sees: Any) -> tuple[str, Leaf]:
    return f"bridge.port[].vlan.{path}", Leaf(
        values,
        lambda value: _bridge("bridge.port", [{"name": "eth1", "vlan": vlan(value)}]),
        _vlans("eth1"),
        sees,
    )


def _trunk(*tags: Any, **more: Any) -> dict[str, Any]:
    return {"mode": "trunk", "trunk-tags": list(tags), **more}


EVERY_PORT = dict(
    [
        _port("name", "bridge/ifindex", ("eth1",), str),
        _port("stp-hairpin-mode", "hairpin_mode", (False, True, "no"), _as_bit),
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


def _vlan(path: str, value: Any) -> Document:
    section = {"base-iface": "eth1", "id": 5, **_nested(path.removeprefix("vlan."), value)}
    return _documents(_of("v", "vlan", vlan=section))


def _vlan_leaf(word: str, values: tuple[Any, ...], look: Any, sees: Any = lambda v: v) -> tuple[str, Leaf]:
    return f"vlan.{word}", Leaf(values, lambda value: _vlan(f"vlan.{word}", value), look, sees)


OF_VLAN = ("linkinfo", "info_data")
EVERY_VLAN = dict(
    [
        _vlan_leaf("base-iface", ("eth1", "eth2"), _link("v", "link")),
        _vlan_leaf("id", (0, 4094, "7"), _link("v", *OF_VLAN, "id"), int),
        _vlan_leaf("protocol", ("802.1q", "802.1ad"), _link("v", *OF_VLAN, "protocol"), str.lower),
        _vlan_leaf("loose-binding", (False, True), _flag("v", "LOOSE_BINDING")),
        _vlan_leaf("reorder-headers", (False, True), _flag("v", "REORDER_HDR")),
        _vlan_leaf(
            "registration-protocol",
            ("none", "gvrp", "mvrp"),
            lambda ns: (_flag("v", "GVRP")(ns), _flag("v", "MVRP")(ns)),
            lambda value: (value == "gvrp", value == "mvrp"),
        ),
    ]
)
EVERY_VLAN["vlan.protocol"] = EVERY_VLAN["vlan.protocol"]._replace(
    look=lambda ns: _link("v", *OF_VLAN, "protocol")(ns).lower()
)


def _mac_vlan(word: str, value: Any, mode: str = "bridge") -> Document:
    return _documents(_of("m", "mac-vlan", **{"mac-vlan": {"base-iface": "eth1", "mode": mode, word: value}}))


EVERY_MAC_VLAN = {
    "mac-vlan.base-iface": Leaf(("eth1", "eth2"), lambda v: _mac_vlan("base-iface", v), _link("m", "link")),
    "mac-vlan.mode": Leaf(
        ("private", "vepa", "bridge", "passthru", "source"),
        lambda value: _mac_vlan("mode", value),
        _link("m", "linkinfo", "info_data", "mode"),
    ),
    **{
        f"mac-vlan.{word}": Leaf(
            (False, True, "off"),
            lambda value, word=word: _mac_vlan(word, value, "passthru"),
            lambda ns: not _link("m", "linkinfo", "info_data", "nopromisc")(ns),
            lambda value: value is True,
        )
        for word in ("promiscuous", "accept-all-mac")
    },
}


def _eth1(**rest: Any) -> Document:
    return _documents(_of("eth1", "ethernet", **rest))


def _ipv4(**entry: Any) -> Document:
    return _eth1(ipv4={"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24, **entry}]})


def _ipv6(**entry: Any) -> Document:
    return _eth1(ipv6={"enabled": True, "address": [{"ip": "2001:db8::1", "prefix-length": 64, **entry}]})


EVERY_INTERFACE = {
    "name": Leaf(
        ("ä.1",),
        lambda v: _documents(_of(v, "dummy")),
        lambda ns: [link["ifname"] for link in ns.json("ip", "-j", "link", "show", "type", "dummy")],
        lambda v: [v],
    ),
    "type": Leaf(
        ("dummy", "bond"),
        lambda v: _documents(_of("x", v, **({"link-aggregation": {"mode": 0}} if v == "bond" else {}))),
        _link("x", "linkinfo", "info_kind"),
    ),
    "state": Leaf(
        ("up", "down"),
        lambda value: _documents({"name": "eth1", "type": "ethernet", "state": value}),
        lambda ns: "UP" in _link("eth1", "flags")(ns),
        lambda value: value == "up",
    ),
    "description": Leaf(
        ("", "0", "ä: 'quoted'", "two\nlines", "x" * 255),
        lambda value: _eth1(description=value),
        _link("eth1", "ifalias"),
        lambda value: value or None,
    ),
    "mac-address": Leaf(
        ("02:00:00:AA:BB:CC", "02:00:00:00:00:00"),
        lambda value: _eth1(**{"mac-address": value}),
        _link("eth1", "address"),
        str.lower,
    ),
    "copy-mac-from": Leaf(
        ("eth2",),
        lambda value: _documents(_of("br0", "linux-bridge", **{"copy-mac-from": value})),
        lambda ns: _link("br0", "address")(ns) == _link("eth2", "address")(ns),
        lambda _: True,
    ),
    "mtu": Leaf((68, 1280, "0x2328"), lambda v: _eth1(mtu=v), _link("eth1", "mtu"), lambda v: int(str(v), 0)),
    "controller": Leaf(
        ("br0", ""),
        lambda value: _documents(_of("br0", "linux-bridge"), _of("eth1", "ethernet", controller=value)),
        _link("eth1", "master"),
        lambda value: value or None,
    ),
    "ipv4.enabled": Leaf(
        (True, False, "yes", "0"),
        lambda value: _eth1(ipv4={"enabled": value, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]}),
        _addresses("eth1", "local"),
        lambda value: ["192.0.2.1"] if value in {True, "yes"} else [],
    ),
    "ipv4.address[].ip": Leaf(
        ("192.0.2.9",), lambda v: _ipv4(ip=v), _addresses("eth1", "local"), lambda v: [v]
    ),
    "ipv4.address[].prefix-length": Leaf(
        (0, 31, "32"),
        lambda v: _ipv4(**{"prefix-length": v}),
        _addresses("eth1", "prefixlen"),
        lambda v: [int(v)],
    ),
    "ipv6.enabled": Leaf(
        (True, False, "n"),
        lambda value: _eth1(ipv6={"enabled": value}),
        _sysctl("net.ipv6.conf.eth1.disable_ipv6"),
        lambda value: "0" if value is True else "1",
    ),
    "ipv6.autoconf": Leaf(
        (False, "no"),
        lambda value: _eth1(ipv6={"enabled": True, "autoconf": value}),
        _sysctl("net.ipv6.conf.eth1.accept_ra"),
        lambda _: "0",
    ),
    "ipv6.address[].ip": Leaf(
        ("2001:DB8:0::9",), lambda v: _ipv6(ip=v), _addresses("eth1", "local"), lambda _: ["2001:db8::9"]
    ),
    "ipv6.address[].prefix-length": Leaf(
        (1, 127, "128"),
        lambda v: _ipv6(**{"prefix-length": v}),
        _addresses("eth1", "prefixlen"),
        lambda v: [int(v)],
    ),
    "veth.peer": Leaf(
        ("v9",), lambda value: _documents(_of("v0", "veth", veth={"peer": value})), _link("v0", "link")
    ),
}


def _route(**entry: Any) -> Document:
    hop = {} if "route-type" in entry else {"next-hop-interface": "eth1", "next-hop-address": "192.0.2.254"}
    return {**_ipv4(), "routes": {"config": [{"destination": "198.51.100.0/24", **hop, **entry}]}}


EVERY_ROUTE = {
    "routes.config[].destination": Leaf(
        ("0.0.0.0/0", "10.1.2.3/8", "203.0.113.7"),
        lambda value: _route(destination=value),
        _routes("dst"),
        lambda value: {"0.0.0.0/0": "default", "10.1.2.3/8": "10.0.0.0/8"}.get(value, value),
    ),
    "routes.config[].next-hop-interface": Leaf(
        ("eth1",), lambda v: _route(**{"next-hop-interface": v}), _routes("dev")
    ),
    "routes.config[].next-hop-address": Leaf(
        ("192.0.2.7", "0.0.0.0"),
        lambda value: _route(**{"next-hop-address": value}),
        _routes("gateway"),
        lambda value: value if value != "0.0.0.0" else None,
    ),
    "routes.config[].metric": Leaf(
        (-1, 0, 7, 2**32 - 1), lambda v: _route(metric=v), _routes("metric"), lambda v: v if v > 0 else None
    ),
    "routes.config[].table-id": Leaf(
        (0, 50, 70000),
        lambda value: _route(**{"table-id": value}),
        _routes("table"),
        lambda value: str(value) if value else "main",
    ),
    "routes.config[].weight": Leaf(
        (1, 256),
        lambda value: {
            **_ipv4(),
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
        lambda ns: sorted((hop["gateway"], hop["weight"]) for hop in _routes("nexthops")(ns)),
        lambda value: [("192.0.2.8", value), ("192.0.2.9", 2)],
    ),
    "routes.config[].route-type": Leaf(
        ("blackhole", "unreachable", 8),
        lambda value: _route(**{"route-type": value}),
        _routes("type"),
        lambda value: "prohibit" if value == 8 else value,
    ),
    "routes.config[].cwnd": Leaf(
        (1, 20), lambda v: _route(cwnd=v), _routes("metrics"), lambda v: [{"cwnd": v}]
    ),
    "routes.config[].source": Leaf(("192.0.2.1",), lambda v: _route(source=v), _routes("prefsrc")),
}

SEEN: Mapping[str, Leaf] = {
    **EVERY_INTERFACE,
    **EVERY_BOND_OPTION,
    **EVERY_BRIDGE_OPTION,
    **EVERY_PORT,
    **{path.replace(".port[]", ".ports[]", 1): leaf for path, leaf in EVERY_PORT.items()},
    **EVERY_VLAN,
    **EVERY_MAC_VLAN,
    **EVERY_ROUTE,
}

OF_A_LEASE = "only DHCP and advertisements have it, which are refused"
MOOT: Mapping[str, str] = {
    "description": "of a document: a remark",
    "profile-name": "a kernel has no profiles",
    "pci-address": "of an identifier, which is refused",
    "alt-names[].state": "of a name, which is refused",
    "routes.config[].state": "a word for absence, tried by tests/kernel/test_routes.py",
    **{
        f"{family}.{word}": OF_A_LEASE
        for family in ("ipv4", "ipv6")
        for word in (
            *("auto-dns", "auto-gateway", "auto-routes", "auto-route-table-id", "auto-route-metric"),
            *("dhcp-send-hostname", "dhcp-custom-hostname", "dhcp-client-id", "dhcp-duid"),
        )
    },
    **{
        f"{family}.allow-extra-address": "exactly the listed addresses fit both"
        for family in ("ipv4", "ipv6")
    },
    **{
        f"{family}.address[].valid-life-time": "shown; an address with one is left as it is"
        for family in ("ipv4", "ipv6")
    },
    **{
        f"ethernet.{word}": "left to the card, and the plan says so"
        for word in ("auto-negotiation", "speed", "duplex")
    },
}
"""What is read and asks for nothing, with the reason."""
