"""MAC VLANs: `type: mac-vlan`, section `mac-vlan` (drivers/net/macvlan.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Cost
from nncp.kinds.codec import U32, bit16, enum
from nncp.kinds.kind import Attr

if TYPE_CHECKING:
    from nncp.host import Value

MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8, "source": 16}
NO_PROMISC = 1


def _mode_cost(old: Value, new: Value) -> Cost:
    # macvlan_changelink() refuses a change to or from passthru, and takes the others in place.
    return Cost.NEW if "passthru" in {old, new} else Cost.LIVE


ATTRS = (
    Attr("mode", 1, enum(MODES, U32), cost=_mode_cost),
    Attr("promiscuous", 2, bit16(NO_PROMISC, inverse=True)),
)
