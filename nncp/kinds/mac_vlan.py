"""MAC VLANs: `type: mac-vlan`, section `mac-vlan` (drivers/net/macvlan.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import LaxBool, LaxEnum, Maybe
from nncp.document.section import Section
from nncp.host import Cost, Host, Value
from nncp.kinds.codec import U32, bit16, enum
from nncp.kinds.flat import is_given, nested
from nncp.kinds.kind import Attr, Fault, Kind, as_read

MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}
NO_PROMISC = 1


def _mode_cost(old: Value, new: Value) -> Cost:
    # macvlan_changelink() refuses a change to or from passthru, and takes the others in place.
    return Cost.NEW if "passthru" in {old, new} else Cost.LIVE


ATTRS = (
    Attr("mode", 1, enum(MODES, U32), cost=_mode_cost),
    Attr("promiscuous", 2, bit16(NO_PROMISC, inverse=True)),
)


class MacVlanMode(LaxEnum, words=MODES):
    """Who talks to whom among the links above one device."""

    __slots__ = ()


class MacVlanConfig(Section, frozen=True):
    """A link with a MAC address of its own on another link.

    interfaces:
    - name: mac0
      type: mac-vlan
      mac-vlan:
        base-iface: eth1
        mode: vepa
        promiscuous: true
    """

    aliases: ClassVar[Mapping[str, str]] = {"accept_all_mac": "promiscuous"}
    meaning: ClassVar[Mapping[str, str]] = {
        "base_iface": "The interface that the link is on.",
        "mode": (
            "Who of the links above one interface talks to whom: nobody (private), by the switch (vepa),"
            " directly (bridge), one link that has it alone (passthru), or whom a list of addresses names"
            " (source)."
        ),
        "promiscuous": "Whether the link makes the one below promiscuous; false is for passthru only.",
    }
    defaults: ClassVar[Mapping[str, Any]] = {
        "promiscuous": True,
    }

    base_iface: Maybe[str] = UNSET
    mode: Maybe[MacVlanMode] = UNSET
    promiscuous: Maybe[LaxBool] = UNSET
    accept_all_mac: Maybe[LaxBool] = UNSET


def _check(section: MacVlanConfig, name: str, host: Host) -> Iterator[Fault]:
    have = host.attr("link", name, name="type") == "mac-vlan"
    if not have:
        if not is_given(section.base_iface):
            yield Fault(
                (),
                f"mac-vlan.base-iface is missing: {name} does not exist yet",
                "name the interface below it",
                of_host=True,
            )
        if not is_given(section.mode):
            yield Fault(
                (),
                f"mac-vlan.mode is missing: {name} does not exist yet",
                f"use one of {', '.join(MODES)}",
                of_host=True,
            )
    mode = section.mode if is_given(section.mode) else host.attr("link", name, name="mode") if have else None
    if section.promiscuous is False and mode != "passthru":
        message = "promiscuous: false is possible in mode passthru only"
        yield Fault(("promiscuous",), message, of_host=not is_given(section.mode))


def _show(host: Host, name: str) -> Mapping[str, Any]:
    return nested(host.rows["link", name].attrs, ("base-iface", "mode", "promiscuous"))


MAC_VLAN = Kind(
    type="mac-vlan",
    link="macvlan",
    section="mac-vlan",
    config=MacVlanConfig,
    attrs=ATTRS,
    sent_back=as_read(7, 9, of="mac-vlan"),  # bc-queue-len, bc-cutoff
    read_only=frozenset({6, 8}),  # macaddr-count, bc-queue-len-used
    check=_check,
    show=_show,
)
