"""The leaves of what rests on a link: VLANs and mac-vlans."""

from __future__ import annotations

from typing import Any

from tests.leaves.leaf import (
    Document,
    Leaf,
    documents,
    nested,
    of,
    of_flag,
    of_link,
)


def _vlan(path: str, value: Any) -> Document:
    section = {"base-iface": "eth1", "id": 5, **nested(path.removeprefix("vlan."), value)}
    return documents(of("v", "vlan", vlan=section))


def _vlan_leaf(word: str, values: tuple[Any, ...], look: Any, sees: Any = lambda v: v) -> tuple[str, Leaf]:
    return f"vlan.{word}", Leaf(values, lambda value: _vlan(f"vlan.{word}", value), look, sees)


OF_VLAN = ("linkinfo", "info_data")
EVERY_VLAN = dict(
    [
        _vlan_leaf("base-iface", ("eth1", "eth2"), of_link("v", "link")),
        _vlan_leaf("id", (0, 4094, "7"), of_link("v", *OF_VLAN, "id"), int),
        _vlan_leaf("protocol", ("802.1q", "802.1ad"), of_link("v", *OF_VLAN, "protocol"), str.lower),
        _vlan_leaf("loose-binding", (False, True), of_flag("v", "LOOSE_BINDING")),
        _vlan_leaf("reorder-headers", (False, True), of_flag("v", "REORDER_HDR")),
        _vlan_leaf(
            "registration-protocol",
            ("none", "gvrp", "mvrp"),
            lambda ns: (of_flag("v", "GVRP")(ns), of_flag("v", "MVRP")(ns)),
            lambda value: (value == "gvrp", value == "mvrp"),
        ),
    ]
)
EVERY_VLAN["vlan.protocol"] = EVERY_VLAN["vlan.protocol"]._replace(
    look=lambda ns: of_link("v", *OF_VLAN, "protocol")(ns).lower()
)


def _mac_vlan(word: str, value: Any, mode: str = "bridge") -> Document:
    return documents(of("m", "mac-vlan", **{"mac-vlan": {"base-iface": "eth1", "mode": mode, word: value}}))


EVERY_MAC_VLAN = {
    "mac-vlan.base-iface": Leaf(("eth1", "eth2"), lambda v: _mac_vlan("base-iface", v), of_link("m", "link")),
    "mac-vlan.mode": Leaf(
        ("private", "vepa", "bridge", "passthru", "source"),
        lambda value: _mac_vlan("mode", value),
        of_link("m", "linkinfo", "info_data", "mode"),
    ),
    **{
        f"mac-vlan.{word}": Leaf(
            (False, True, "off"),
            lambda value, word=word: _mac_vlan(word, value, "passthru"),
            lambda ns: not of_link("m", "linkinfo", "info_data", "nopromisc")(ns),
            lambda value: value is True,
        )
        for word in ("promiscuous", "accept-all-mac")
    },
}


def _vrf(**config: Any) -> Document:
    return documents(of("red", "vrf", vrf={"route-table-id": 100, **config}))


EVERY_VRF = {
    "vrf.route-table-id": Leaf(
        (1, 100, "0x1388", 2**32 - 1),
        lambda value: _vrf(**{"route-table-id": value}),
        of_link("red", *OF_VLAN, "table"),
        lambda value: int(str(value), 0),
    ),
    **{
        f"vrf.{word}[]": Leaf(
            ("eth1", "eth2"),
            lambda value, word=word: _vrf(**{word: [value]}),
            lambda ns: [
                link["ifname"] for link in ns.json("ip", "-j", "link") if link.get("master") == "red"
            ],
            lambda value: [value],
        )
        for word in ("port", "ports")
    },
}
