"""The leaves of the published schema: how each is asked for, and where an outsider sees that it was done.

`SEEN` says for a leaf which values to write in which document, and what ip, bridge, sysctl or /sys shows then.
Whatever is not there stands in `nncp.document.unsupported`, and is refused by name, or in `MOOT`, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.document.ethtool import Coalesce, Pause, Ring
from tests.leaves.address import EVERY_INTERFACE
from tests.leaves.bond import EVERY_BOND_OPTION
from tests.leaves.bridge import EVERY_BRIDGE_OPTION, EVERY_PORT
from tests.leaves.route import EVERY_ROUTE
from tests.leaves.rule import EVERY_RULE
from tests.leaves.stacked import EVERY_MAC_VLAN, EVERY_VLAN, EVERY_VRF
from tests.leaves.walk import leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.leaves.leaf import Leaf

__all__ = ["MOOT", "SEEN", "leaves"]

SEEN: Mapping[str, Leaf] = {
    **EVERY_INTERFACE,
    **EVERY_BOND_OPTION,
    **EVERY_BRIDGE_OPTION,
    **EVERY_PORT,
    **{path.replace(".port[]", ".ports[]", 1): leaf for path, leaf in EVERY_PORT.items()},
    **EVERY_VLAN,
    **EVERY_MAC_VLAN,
    **EVERY_VRF,
    **EVERY_ROUTE,
    **EVERY_RULE,
}

OF_A_LEASE = "only DHCP and advertisements have it, which are refused"
OF_A_DRIVER = "left to the driver, and the plan says so"
MOOT: Mapping[str, str] = {
    "description": "of a document: a remark",
    "profile-name": "a kernel has no profiles",
    "pci-address": "of an identifier, which is refused",
    "alt-names[].state": "of a name, which is refused",
    "route-rules.config[].state": "a word for absence, tried by tests/kernel/test_rules.py",
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
        f"{family}.address[].{word}": "shown; an address with one is left as it is"
        for family in ("ipv4", "ipv6")
        for word in ("valid-life-time", "valid-left", "valid-lft")
    },
    **{
        f"ethernet.{word}": "left to the card, and the plan says so"
        for word in ("auto-negotiation", "speed", "duplex")
    },
    "ethtool.feature": OF_A_DRIVER,
    **{
        f"ethtool.{section.__name__.lower()}.{leaf}": OF_A_DRIVER
        for section in (Pause, Coalesce, Ring)
        for leaf in section.__struct_encode_fields__
    },
}
"""What is read and asks for nothing, with the reason."""
