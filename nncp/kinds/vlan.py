"""VLAN sub-interfaces: `type: vlan`, section `vlan` (net/8021q/vlan_netlink.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import LaxBool, LaxEnum, Maybe, VlanId, VlanProtocol
from nncp.document.section import Section
from nncp.host import Cost, Host, Row
from nncp.kinds.codec import BE16, U16, bits, enum
from nncp.kinds.flat import is_given, nested
from nncp.kinds.kind import Attr, Fault, Kind, as_read

REORDER_HDR, GVRP, LOOSE_BINDING, MVRP, BRIDGE_BINDING = 1, 2, 4, 8, 16
BOTH = "gvrp and mvrp"
"""What no document can ask for, and `ip` can."""
PROTOCOLS = {"none": 0, "gvrp": GVRP, "mvrp": MVRP, BOTH: GVRP | MVRP}

ATTRS = (
    # The kernel answers 0 to a changed id or protocol and ignores it (vlan_changelink).
    Attr("id", 1, U16, cost=Cost.NEW),
    Attr("protocol", 5, enum({"802.1q": 0x8100, "802.1ad": 0x88A8}, BE16), cost=Cost.NEW),
    # The flags are left out of a dump when none of them is set (vlan_fill_info).
    Attr("reorder-headers", 2, bits({True: REORDER_HDR, False: 0}, REORDER_HDR), unset=False),
    Attr("registration-protocol", 2, bits(PROTOCOLS, GVRP | MVRP), unset="none"),
    Attr("loose-binding", 2, bits({True: LOOSE_BINDING, False: 0}, LOOSE_BINDING), unset=False),
    Attr("bridge-binding", 2, bits({True: BRIDGE_BINDING, False: 0}, BRIDGE_BINDING), unset=False),
)


class RegistrationProtocol(LaxEnum, words=("gvrp", "mvrp", "none")):
    """How the VLAN is announced to the switch."""

    __slots__ = ()


class VlanConfig(Section, frozen=True):
    """An 802.1Q or 802.1ad sub-interface.

    interfaces:
    - name: bond0.33
      type: vlan
      vlan:
        base-iface: bond0
        id: 33
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "base_iface": "The interface that the VLAN is on.",
        "id": "The VLAN's number; 0 tags priorities only.",
        "protocol": "The tag: a customer's VLAN (802.1q) or a provider's (802.1ad).",
        "registration_protocol": "By which protocol the VLAN is announced to the switch, if by any.",
        "reorder_headers": (
            "Whether received frames lose their tag, so that the link is like one without VLANs."
        ),
        "loose_binding": "Whether the VLAN's link may be up while the one below is down.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "protocol": "802.1q",
        "registration_protocol": "none",
        "reorder_headers": True,
        "loose_binding": False,
    }

    base_iface: Maybe[str] = UNSET
    id: Maybe[VlanId] = UNSET
    protocol: Maybe[VlanProtocol] = UNSET
    registration_protocol: Maybe[RegistrationProtocol] = UNSET
    reorder_headers: Maybe[LaxBool] = UNSET
    loose_binding: Maybe[LaxBool] = UNSET


def _rows(vlan: VlanConfig, name: str, host: Host) -> Iterator[Row]:
    """Yield that the link below is up: a VLAN over one that is down cannot be (vlan_dev_open)."""
    base = vlan.base_iface if is_given(vlan.base_iface) else host.attr("link", name, name="base-iface")
    if base:
        yield Row(("up", str(base)))


def _check(vlan: VlanConfig, name: str, host: Host) -> Iterator[Fault]:
    if host.attr("link", name, name="type") == "vlan":
        return
    if not is_given(vlan.base_iface):
        yield Fault(
            (),
            f"vlan.base-iface is missing: {name} does not exist yet",
            "name the interface below it",
            of_host=True,
        )
    if not is_given(vlan.id):
        yield Fault(
            (),
            f"vlan.id is missing: {name} does not exist yet",
            "give it the VLAN's number, 1 to 4094",
            of_host=True,
        )


def _show(host: Host, name: str) -> Mapping[str, Any]:
    attrs = host.rows["link", name].attrs
    words = ("base-iface", "id", "protocol", "registration-protocol", "reorder-headers", "loose-binding")
    said = {name: value for name, value in attrs.items() if value != BOTH}
    return nested(said, words)


def _up_with_base(attrs: Mapping[str, Any]) -> bool:
    # vlan_dev_open() answers ENETDOWN over a link that is down, and goes down with it (net/8021q/vlan.c).
    return not attrs.get("loose-binding")


VLAN = Kind(
    type="vlan",
    link="vlan",
    mtu=(0, 65535),
    up_with_base=_up_with_base,
    section="vlan",
    config=VlanConfig,
    attrs=ATTRS,
    sent_back=as_read(3, 4, of="vlan"),  # egress-qos, ingress-qos
    rows=_rows,
    check=_check,
    show=_show,
)
