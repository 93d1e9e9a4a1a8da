"""The leaves of a bond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.leaves.leaf import (
    Document,
    Leaf,
    as_bit,
    documents,
    first_word,
    nested,
    of,
    of_link,
    of_sysfs,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def _bond(path: str, mode: str, value: Any) -> Document:
    section: dict[str, Any] = {"mode": mode, "port": ["eth1", "eth2"]}
    section |= nested(path.removeprefix("link-aggregation."), value)
    return documents(of("bond0", "bond", **{"link-aggregation": section}))


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

    look = first_word(f"bond0/bonding/{file or word}")
    return f"link-aggregation.options.{word}", Leaf(values, document, look, sees)


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
        _bond_option("tlb_dynamic_lb", (False, True, "no"), "balance-tlb", sees=as_bit),
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
        of_sysfs("bond0/bonding/arp_ip_target"),
        lambda value: value.replace(",", ""),
    ),
    "link-aggregation.options.arp_missed_max": Leaf(
        (1, 255),
        lambda value: _bond("link-aggregation.options.arp_missed_max", "active-backup", value),
        of_link("bond0", "linkinfo", "info_data", "arp_missed_max"),
    ),
    "link-aggregation.options.lacp_active": Leaf(
        ("off", "on"),
        lambda value: _bond("link-aggregation.options.lacp_active", "802.3ad", value),
        of_link("bond0", "linkinfo", "info_data", "ad_lacp_active"),
    ),
    "link-aggregation.options.peer_notif_delay": Leaf(
        (0, 300),
        lambda value: _bond(
            "link-aggregation.options", "active-backup", {"miimon": 100, "peer_notif_delay": value}
        ),
        of_link("bond0", "linkinfo", "info_data", "peer_notify_delay"),
    ),
    "link-aggregation.options.primary": Leaf(
        ("", "eth2"),
        lambda value: _bond("link-aggregation.options.primary", "active-backup", value),
        of_sysfs("bond0/bonding/primary"),
    ),
    "link-aggregation.options.use_carrier": Leaf(
        (True, "on"),
        lambda value: _bond("link-aggregation.options.use_carrier", "active-backup", value),
        lambda ns: of_link("bond0", "linkinfo", "info_data", "use_carrier")(ns) in {None, 1},
        lambda _: True,
    ),
    "link-aggregation.mode": Leaf(
        ("balance-rr", 1, "2", "802.3ad"),
        lambda value: _bond("link-aggregation.mode", "", value),
        first_word("bond0/bonding/mode"),
        lambda value: {1: "active-backup", "2": "balance-xor"}.get(value, value),
    ),
    "link-aggregation.ports-config[].priority": Leaf(
        (0, -5, 7),
        lambda value: _bond(
            "link-aggregation.ports-config",
            "active-backup",
            [{"name": "eth1", "priority": value}, {"name": "eth2"}],
        ),
        of_link("eth1", "linkinfo", "info_slave_data", "prio"),
    ),
    "link-aggregation.ports-config[].queue-id": Leaf(
        (0, 3),
        lambda value: _bond(
            "link-aggregation.ports-config",
            "active-backup",
            [{"name": "eth1", "queue-id": value}, {"name": "eth2"}],
        ),
        of_link("eth1", "linkinfo", "info_slave_data", "queue_id"),
    ),
}
for _word in ("port[]", "ports[]", "ports-config[].name"):
    EVERY_BOND_OPTION[f"link-aggregation.{_word}"] = Leaf(
        ("eth1", "eth2"),
        lambda value, word=_word: documents(
            of(
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
        of_sysfs("bond0/bonding/slaves"),
    )
