"""Rows that every binding needs: a bridge of the Pod's own, a tap on it, a link that never speaks IPv6."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.host import Value
    from vmnet.plumbing import Site


def sysctl(path: str, value: str, *, of: str = "") -> Row:
    """Return a sysctl row; `of` names the link that must be there for it."""
    return Row(("sysctl", path), {"value": value}, needs=(("link", of),) if of else ())


def silent(name: str) -> Iterator[Row]:
    """Yield `name` up, with IPv6 off beforehand.

    A link that goes up with IPv6 on sends neighbour solicitations and MLD reports at once, from its own MAC
    or, worse, from the guest's: they teach the switch a wrong port minutes before the guest is there.
    """
    off = sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "1", of=name)
    yield off
    yield Row(("up", name), needs=(("link", name), off.key))


def pod_bridge(site: Site, *, mac: str) -> Row:
    """Return the bridge between the Pod's link and the guest's tap.

    No snooping: there is no querier behind it, and one port each way leaves nothing to spare. KubeVirt turns
    its transmit checksums off as well, for the sake of a DHCP server that answers through it by UDP; ours
    sends none (`vmnet.dhcp.Server`).
    """
    attrs: Mapping[str, Value] = {
        "type": "linux-bridge",
        "mac": mac,
        "mtu": site.link.mtu,
        "multicast-snooping": False,
        "stp.enabled": False,
    }
    return Row(("link", site.devices.bridge), attrs)


def tap(site: Site, **more: Value) -> Iterator[Row]:
    """Yield the guest's tap, a silent port of the Pod's bridge, of the Pod link's MTU.

    `more` is said of the port.
    """
    names = site.devices
    attrs: dict[str, Value] = {
        "type": "tap",
        "mtu": site.link.mtu,
        "owner": site.owner,
        "group": site.group,
    }
    if site.tap_queues > 1:
        attrs["multi-queue"] = True
    yield Row(("link", names.tap), attrs)
    yield port(names.tap, names.bridge, **more)
    yield from silent(names.tap)


def port(name: str, controller: str, **attrs: Value) -> Row:
    """Return the membership of `name` in `controller`."""
    needs = (("link", name), ("link", controller))
    return Row(("port", name), {"controller": controller, **attrs}, needs=needs)
