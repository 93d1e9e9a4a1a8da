"""Network cards and whatever else was there before us: `type: ethernet` and `type: loopback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.kinds.card import AS_IT_IS, EthernetConfig
from nncp.kinds.kind import Fault, Kind
from nncp.kinds.veth import VethConfig

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Host, Value


def _settings(config: EthernetConfig, name: str, host: Host) -> Mapping[str, Value]:  # noqa: ARG001
    return {}


def _check(config: Any, name: str, host: Host) -> Iterator[Fault]:  # noqa: ARG001  (a Kind's shape)
    if ("link", name) not in host:
        found = ", ".join(sorted(row.name for row in host.table("link") if row.name != "lo")) or "none but lo"
        yield Fault((), f"there is no interface {name}", f"this host has {found}", of_host=True)


ETHERNET = Kind(
    type="ethernet",
    link="",
    section="ethernet",
    config=EthernetConfig,
    also={"veth": VethConfig},
    as_it_is=AS_IT_IS,
    settings=_settings,
    check=_check,
    virtual=False,
)
LOOPBACK = Kind(type="loopback", link="", check=_check, virtual=False)
