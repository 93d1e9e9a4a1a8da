"""What networks ask of their bridges, to be checked between the nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.errors import raise_all
from vmnet.cni.conf import BRIDGES, read_conf
from vmnet.preflight.verdict import Ask

if TYPE_CHECKING:
    from vmnet.nad import Nad


def asks(nad: Nad, mtu: int) -> list[Ask]:
    """Return what a network asks of its bridge between the nodes: one question a VLAN."""
    found = []
    for index, plugin in enumerate(nad.plugins):
        if plugin["type"] in BRIDGES:
            conf, faults = read_conf(plugin)
            raise_all(e for f in faults for e in nad.errors(f.below(*nad.path(index)).error(nad.conf)))
            found += [Ask(conf.bridge, vlan, mtu or conf.mtu) for vlan in sorted(conf.wanted) or [0]]
    return found
