"""A ring of two links (net/hsr/hsr_netlink.c): two attributes whose values are links."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from msgspec import UNSET

from nncp.document.lax import LaxInt, Maybe
from nncp.document.section import Section
from nncp.host import Cost
from nncp.kinds.codec import LINK, U8
from nncp.kinds.flat import nested
from nncp.kinds.kind import Attr, Kind, Tie

WORDS = ("port1", "port2", "multicast-spec")


class Spec(LaxInt, ge=0, le=255):
    """The last byte of the address that supervision frames go to."""


class HsrConfig(Section, frozen=True):
    """A ring.

    interfaces:
    - name: hsr0
      type: hsr
      hsr:
        port1: eth1
        port2: eth2
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "port1": "The one link of the ring.",
        "port2": "The other link of the ring.",
        "multicast_spec": "The last byte of the address that supervision frames go to.",
    }
    defaults: ClassVar[Mapping[str, int]] = {"multicast_spec": 0}

    port1: Maybe[str] = UNSET
    port2: Maybe[str] = UNSET
    multicast_spec: Maybe[Spec] = UNSET


HSR = Kind(
    type="hsr",
    link="hsr",
    section="hsr",
    config=HsrConfig,
    attrs=(
        Attr("port1", 1, LINK, cost=Cost.NEW, tie=Tie.RESTS),
        Attr("port2", 2, LINK, cost=Cost.NEW, tie=Tie.RESTS),
        Attr("multicast-spec", 3, U8, create=True),
    ),
    read_only=frozenset({4, 5, 6, 7}),  # what it is addressed by, its count, and version and protocol
    show=lambda host, name: nested(host.rows["link", name].attrs, WORDS),
)
