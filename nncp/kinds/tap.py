"""Taps: `type: tap`, what a hypervisor opens; not in nmstate's words (drivers/net/tun.c)."""

from __future__ import annotations

from nncp.kinds.codec import BOOL8, U32
from nncp.kinds.kind import Attr, Kind

TAP = Kind(
    type="tap",
    link="tun",
    attrs=(
        Attr("owner", 1, U32, create=True),
        Attr("group", 2, U32, create=True),
        Attr("multi-queue", 7, BOOL8, create=True),
    ),
)
