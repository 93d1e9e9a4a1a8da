"""Taps: what a hypervisor opens, `tun` in nmstate's words, which only shows them (drivers/net/tun.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.kinds.codec import BOOL8, U32, enum
from nncp.kinds.kind import Attr, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping


def _cannot_be_made(attrs: Mapping[str, Any]) -> str:
    # A descriptor belongs to the very device; without TUNSETPERSIST the device is there only for as long.
    if attrs.get("carrier") or attrs.get("queues") or attrs.get("persistent") is False:
        return "a process holds it open"
    return ""


TAP = Kind(
    type="tap",
    shown_as="tun",
    link="tun",
    attrs=(
        Attr("owner", 1, U32, create=True),
        Attr("group", 2, U32, create=True),
        Attr("layer", 3, enum({"tun": 1, "tap": 2}), create=True),
        Attr("packet-information", 4, BOOL8, create=True),
        Attr("virtio-header", 5, BOOL8, create=True),
        Attr("persistent", 6, BOOL8, create=True),
        Attr("multi-queue", 7, BOOL8, create=True),
        Attr("queues", 8, U32, create=True),
    ),
    read_only=frozenset({9}),  # num-disabled-queues
    mtu=(68, 65521),
    cannot_be_made=_cannot_be_made,
)
