"""The leaves of every interface, and the addresses among them."""

from __future__ import annotations

from typing import Any

from tests.leaves.leaf import (
    Document,
    Leaf,
    documents,
    of,
    of_addresses,
    of_link,
    of_sysctl,
)


def _eth1(**rest: Any) -> Document:
    return documents(of("eth1", "ethernet", **rest))


def ipv4(**entry: Any) -> Document:
    return _eth1(ipv4={"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24, **entry}]})


def _ipv6(**entry: Any) -> Document:
    return _eth1(ipv6={"enabled": True, "address": [{"ip": "2001:db8::1", "prefix-length": 64, **entry}]})


EVERY_INTERFACE = {
    "name": Leaf(
        ("ä.1",),
        lambda v: documents(of(v, "dummy")),
        lambda ns: [link["ifname"] for link in ns.json("ip", "-j", "link", "show", "type", "dummy")],
        lambda v: [v],
    ),
    "type": Leaf(
        ("dummy", "bond"),
        lambda v: documents(of("x", v, **({"link-aggregation": {"mode": 0}} if v == "bond" else {}))),
        of_link("x", "linkinfo", "info_kind"),
    ),
    "state": Leaf(
        ("up", "down"),
        lambda value: documents({"name": "eth1", "type": "ethernet", "state": value}),
        lambda ns: "UP" in of_link("eth1", "flags")(ns),
        lambda value: value == "up",
    ),
    "description": Leaf(
        ("", "0", "ä: 'quoted'", "two\nlines", "x" * 255),
        lambda value: _eth1(description=value),
        of_link("eth1", "ifalias"),
        lambda value: value or None,
    ),
    "mac-address": Leaf(
        ("02:00:00:AA:BB:CC", "02:00:00:00:00:00"),
        lambda value: _eth1(**{"mac-address": value}),
        of_link("eth1", "address"),
        str.lower,
    ),
    "copy-mac-from": Leaf(
        ("eth2",),
        lambda value: documents(of("br0", "linux-bridge", **{"copy-mac-from": value})),
        lambda ns: of_link("br0", "address")(ns) == of_link("eth2", "address")(ns),
        lambda _: True,
    ),
    "mtu": Leaf(
        (68, 1280, "0x2328"), lambda v: _eth1(mtu=v), of_link("eth1", "mtu"), lambda v: int(str(v), 0)
    ),
    "controller": Leaf(
        ("br0", ""),
        lambda value: documents(of("br0", "linux-bridge"), of("eth1", "ethernet", controller=value)),
        of_link("eth1", "master"),
        lambda value: value or None,
    ),
    "ipv4.enabled": Leaf(
        (True, False, "yes", "0"),
        lambda value: _eth1(ipv4={"enabled": value, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]}),
        of_addresses("eth1", "local"),
        lambda value: ["192.0.2.1"] if value in {True, "yes"} else [],
    ),
    "ipv4.address[].ip": Leaf(
        ("192.0.2.9",), lambda v: ipv4(ip=v), of_addresses("eth1", "local"), lambda v: [v]
    ),
    "ipv4.address[].prefix-length": Leaf(
        (0, 31, "32"),
        lambda v: ipv4(**{"prefix-length": v}),
        of_addresses("eth1", "prefixlen"),
        lambda v: [int(v)],
    ),
    "ipv6.enabled": Leaf(
        (True, False, "n"),
        lambda value: _eth1(ipv6={"enabled": value}),
        of_sysctl("net.ipv6.conf.eth1.disable_ipv6"),
        lambda value: "0" if value is True else "1",
    ),
    "ipv6.autoconf": Leaf(
        (False, "no"),
        lambda value: _eth1(ipv6={"enabled": True, "autoconf": value}),
        of_sysctl("net.ipv6.conf.eth1.accept_ra"),
        lambda _: "0",
    ),
    "ipv6.addr-gen-mode": Leaf(
        ("none", "random", "eui64"),
        lambda value: _eth1(ipv6={"enabled": True, "addr-gen-mode": value}),
        of_link("eth1", "inet6_addr_gen_mode"),
    ),
    "ipv6.address[].ip": Leaf(
        ("2001:DB8:0::9",), lambda v: _ipv6(ip=v), of_addresses("eth1", "local"), lambda _: ["2001:db8::9"]
    ),
    "ipv6.address[].prefix-length": Leaf(
        (1, 127, "128"),
        lambda v: _ipv6(**{"prefix-length": v}),
        of_addresses("eth1", "prefixlen"),
        lambda v: [int(v)],
    ),
    "veth.peer": Leaf(
        ("v9",), lambda value: documents(of("v0", "veth", veth={"peer": value})), of_link("v0", "link")
    ),
}
