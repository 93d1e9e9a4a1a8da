"""The bridge binding: the guest takes the Pod link's place on its segment, MAC, addresses and all.

    interfaces:
    - name: nic-add1
      bridge: {}

The veth that the CNI plugin made is renamed from podX to X-nic and becomes a port of k6t-X beside the guest's
tapX. A dummy takes the name podX, the MAC and the addresses, and stays down: whoever looks into the Pod
finds the interface it was promised, and nothing answers for it but the guest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nncp.host import Row
from vmnet import dhcp
from vmnet.domain_interface import ethernet
from vmnet.plumbing import Binding, Gate, Migration, Plumbing
from vmnet.rows import pod_bridge, port, silent, sysctl, tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.plumbing import Site


POD_NETWORK = (
    "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network"
)
"""KubeVirt's own words (4.2): the Pod's address is the guest's, and another Pod has another."""


def plumb(site: Site) -> Plumbing:
    """Return what connects the guest to the Pod link's own segment."""
    lease = _lease(site)
    names = site.devices
    return Plumbing(
        rows=(*_bridge(site), *_nic(site), *tap(site), *_dummy(site)),
        devices=names,
        domain=ethernet(site),
        services=() if lease is None else (dhcp.service(lease),),
        gate=Gate(nic=names.nic, tap=names.tap, mac=site.mac),
        migration=Migration(refusal=POD_NETWORK if site.network.is_primary else ""),
        address="" if lease is None else lease.address,
    )


def _bridge(site: Site) -> Iterator[Row]:
    name = site.devices.bridge
    yield pod_bridge(site, mac=site.device_mac)
    yield from silent(name)
    if _v4(site):
        # The DHCP server's own address: link-local and a /32, so that it is in nobody's way.
        yield Row(("address", name, f"{_server(site)}/32"), needs=(("link", name),))
        # The dummy's address is the guest's: the Pod's kernel must not answer ARP for it, or the guest's
        # duplicate address detection finds a duplicate (RFC 5227; ip-sysctl.rst, arp_ignore).
        yield sysctl("net/ipv4/conf/all/arp_ignore", "1")


def _nic(site: Site) -> Iterator[Row]:
    """The veth under its new name: a MAC of our own, no addresses, and learning off.

    With learning on, an answer that comes back through the uplink could move the guest's MAC off its tap.
    """
    names, link = site.devices, site.link
    key = ("link", names.nic)
    yield Row(key, {"type": "veth", "mac": site.device_mac, "mtu": link.mtu}, was=names.pod)
    for address in link.addresses:
        yield Row(("address", names.nic, address), absent=True)
    yield port(names.nic, names.bridge, learning=False)
    yield from silent(names.nic)


def _dummy(site: Site) -> Iterator[Row]:
    names, link = site.devices, site.link
    key = ("link", names.pod)
    attrs = {"type": "dummy", "mac": link.mac, "mtu": link.mtu}
    yield Row(key, attrs, needs=(("link", names.nic),))
    yield Row(("up", names.pod), absent=True)
    for address in link.addresses:
        yield Row(("address", names.pod, address), needs=(key,))


def _v4(site: Site) -> str:
    return next((address for address in site.link.addresses if ":" not in address), "")


def _server(site: Site) -> str:
    """KubeVirt's server address: 169.254.75.10 for the first interface, counting on from there."""
    return f"169.254.75.{10 + site.index}"


def _lease(site: Site) -> dhcp.Lease | None:
    """The guest's lease, when IPAM gave the Pod an IPv4 address; a pure layer-2 network has none."""
    address = _v4(site)
    if not address:
        return None
    options = site.interface.dhcp_options
    return dhcp.Lease(
        interface=site.devices.bridge,
        server=_server(site),
        address=address,
        gateway=_gateway(site),
        mac=site.mac,
        mtu=site.link.mtu,
        hostname=site.hostname,
        nameservers=site.resolver.nameservers,
        searches=site.resolver.searches,
        routes=tuple(route for route in site.link.routes if ":" not in route.destination),
        **({} if options is None else options.lease()),
    )


def _gateway(site: Site) -> str:
    defaults = (r.gateway for r in site.link.routes if r.destination == "0.0.0.0/0")
    return next(defaults, "")


BRIDGE = Binding(name="bridge", plumb=plumb, takes_place=True)
