"""What the port list of a controller means, for every type of controller alike (nmstate: ifaces_ctrller).

A list lists the document's ports. What somebody else plugs into a bridge for a guest or a Pod, he takes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Attrs, Host


def port_rows(controller: str, ports: Mapping[str, Attrs] | None, host: Host) -> Iterator[Row]:
    """Yield the rows that a port list asks for.

    An absent list (None) leaves the ports as they are; a list replaces the whole: ports that it does not
    name are detached, unless they are guests', and those that it names are attached and brought up.
    """
    if ports is None:
        return
    kept = {*ports, *guests_of(controller, host)}
    for row in host.ports(controller):
        if row.name not in kept:
            yield Row(row.key, absent=True)
    for name, attrs in ports.items():
        yield Row(("port", name), {**attrs, "controller": controller})
        yield Row(("up", name))


def ports_of(controller: str, host: Host) -> list[str]:
    """Return the names of a controller's ports, sorted."""
    return sorted(row.name for row in host.ports(controller))


def guests_of(controller: str, host: Host) -> list[str]:
    """Return the names of a bridge's ports that belong to guests and Pods, sorted.

    They are taps, and veths whose other end is in another namespace, that no document ever listed.
    """
    if host.attr("link", controller, name="type") != "linux-bridge":
        return []
    return [
        name
        for name in ports_of(controller, host)
        if name not in host.listed and _leads_elsewhere(host.rows["link", name].attrs)
    ]


def _leads_elsewhere(link: Attrs) -> bool:
    return link["type"] == "tap" or (link["type"] == "veth" and bool(link.get("elsewhere")))
