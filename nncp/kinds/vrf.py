"""VRFs: `type: vrf`, section `vrf` (drivers/net/vrf.c)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document import lax
from nncp.document.lax import Maybe
from nncp.document.section import Section
from nncp.host import Cost, Host, Row, Value
from nncp.kinds.codec import U32
from nncp.kinds.flat import is_given
from nncp.kinds.kind import Attr, Fault, Kind
from nncp.kinds.ports import port_rows, ports_of

ATTRS = (
    # There is no vrf_changelink(): another table is another VRF.
    Attr("route-table-id", 1, U32, cost=Cost.NEW),
)


class VrfConfig(Section, frozen=True):
    """A routing table of its own for some links, which keep their addresses.

    interfaces:
    - name: vrf0
      type: vrf
      vrf:
        port:
        - eth1
        route-table-id: 100
    """

    aliases: ClassVar[Mapping[str, str]] = {"ports": "port"}
    meaning: ClassVar[Mapping[str, str]] = {
        "port": "All links of the VRF; those that are not listed leave it.",
        "route_table_id": "The routing table of the VRF; 0 leaves it as it is.",
    }

    port: Maybe[tuple[str, ...]] = UNSET
    ports: Maybe[tuple[str, ...]] = UNSET
    route_table_id: Maybe[lax.U32] = UNSET


def _settings(config: VrfConfig, name: str, host: Host) -> Mapping[str, Value]:  # noqa: ARG001
    # 0 leaves the table as it is (nmstate: ifaces/vrf.rs).
    return {"route-table-id": config.route_table_id} if config.route_table_id else {}


def _rows(config: VrfConfig, name: str, host: Host) -> Iterator[Row]:
    listed: dict[str, Any] | None = None
    if is_given(config.port):
        listed = {port: {} for port in config.port or ()}
    return port_rows(name, listed, host)


def _check(config: VrfConfig, name: str, host: Host) -> Iterator[Fault]:
    if host.attr("link", name, name="type") != "vrf" and not config.route_table_id:
        message = f"vrf.route-table-id is missing: {name} does not exist yet"
        yield Fault((), message, "give it a routing table of its own, from 1 on", of_host=True)


def _show(host: Host, name: str) -> Mapping[str, Any]:
    return {
        "port": ports_of(name, host),
        "route-table-id": host.attr("link", name, name="route-table-id"),
    }


VRF = Kind(
    type="vrf",
    link="vrf",
    section="vrf",
    config=VrfConfig,
    attrs=ATTRS,
    port_read_only=frozenset({1}),  # the table
    # It takes a port down and up again, by which IPv6 addresses and all routes go (cycle_netdev).
    port_cost=Cost.DOWN,
    routed=True,
    among_ports=False,
    settings=_settings,
    rows=_rows,
    check=_check,
    show=_show,
)
