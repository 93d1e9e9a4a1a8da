"""What the port list of a controller means, for every type of controller alike (nmstate: ifaces_ctrller)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Attrs, Host


def port_rows(controller: str, ports: Mapping[str, Attrs] | None, host: Host) -> Iterator[Row]:
    """Yield the rows that a port list asks for.

    An absent list (None) leaves the ports as they are; a list replaces the whole: ports that it does not
    name are detached, and those that it names are attached and brought up.
    """
    if ports is None:
        return
    for row in host.ports(controller):
        if row.name not in ports:
            yield Row(row.key, absent=True)
    for name, attrs in ports.items():
        yield Row(("port", name), {**attrs, "controller": controller})
        yield Row(("up", name))


def ports_of(controller: str, host: Host) -> list[str]:
    """Return the names of a controller's ports, sorted."""
    return sorted(row.name for row in host.ports(controller))
