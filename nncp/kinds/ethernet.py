"""Network cards and whatever else was there before us: `type: ethernet` and `type: loopback`.

interfaces:
- name: eth1
  type: ethernet
  mtu: 9000
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.kinds.kind import Fault, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.host import Host


def _check(config: Any, name: str, host: Host) -> Iterator[Fault]:  # noqa: ARG001  (a Kind's shape)
    if ("link", name) not in host:
        found = ", ".join(sorted(row.name for row in host.table("link") if row.name != "lo")) or "none but lo"
        yield Fault((), f"there is no interface {name}", f"this host has {found}")


ETHERNET = Kind(type="ethernet", link="", check=_check, virtual=False)
LOOPBACK = Kind(type="loopback", link="", check=_check, virtual=False)
