"""Virtual Ethernet pairs: `type: veth`, section `veth` (drivers/net/veth.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import LinkName, Maybe
from nncp.document.section import Section
from nncp.host import Host, Row
from nncp.kinds.card import AS_IT_IS, EthernetConfig
from nncp.kinds.codec import TEXT
from nncp.kinds.flat import is_given
from nncp.kinds.kind import Attr, Fault, Kind, Tie


class VethConfig(Section, frozen=True, forbid_unknown_fields=False):
    """A pair of links: what enters one leaves the other.

    interfaces:
    - name: veth1
      type: veth
      veth:
        peer: veth1.ep
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "peer": "The name of the other end, which comes and goes with this one.",
    }

    peer: Maybe[LinkName] = UNSET


def _rows(veth: VethConfig, name: str, host: Host) -> Iterator[Row]:
    """Yield the other end, which comes and goes with this one."""
    if is_given(veth.peer) and host.attr("link", name, name="peer") != veth.peer:
        yield Row(("link", str(veth.peer)), {"type": "veth", "peer": name})
        yield Row(("up", str(veth.peer)))


def _check(veth: VethConfig, name: str, host: Host) -> Iterator[Fault]:
    if veth.peer == name:
        yield Fault(("peer",), f"{name} cannot be its own other end", "give the other end a name of its own")
    if host.attr("link", name, name="type") not in {"veth", "ethernet"} and not is_given(veth.peer):
        yield Fault(
            (),
            f"veth.peer is missing: {name} does not exist yet",
            "name the other end, as in `veth: {peer: veth1.ep}`",
            of_host=True,
        )


def _show(host: Host, name: str) -> Mapping[str, Any]:
    peer = host.attr("link", name, name="peer")
    return {"peer": peer} if peer else {}


VETH = Kind(
    type="veth",
    link="veth",
    section="veth",
    config=VethConfig,
    also={"ethernet": EthernetConfig},
    as_it_is=AS_IT_IS,
    below="peer",
    # Number 0: packed together, as the nest VETH_INFO_PEER, when the pair is made.
    attrs=(
        Attr("peer", 0, TEXT, create=True, tie=Tie.PAIR),
        Attr("peer-netns", 0, TEXT, create=True),
        Attr("peer-mac", 0, TEXT, create=True),
        Attr("peer-mtu", 0, TEXT, create=True),
    ),
    rows=_rows,
    check=_check,
    show=_show,
)
