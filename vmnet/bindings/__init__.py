"""The bindings: one file each, named in one tuple that whoever attaches a Pod hands in."""

from __future__ import annotations

from vmnet.bindings.bridge import BRIDGE
from vmnet.bindings.masquerade import MASQUERADE

BINDINGS = (BRIDGE, MASQUERADE)

__all__ = ["BINDINGS", "BRIDGE", "MASQUERADE"]
