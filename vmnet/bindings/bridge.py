"""The bridge binding: the guest takes the Pod link's place on its segment, MAC, addresses and all.

    interfaces:
    - name: nic-add1
      bridge: {}

The veth that the CNI plugin made is renamed from podX to X-nic and becomes a port of k6t-X beside the guest's
tapX. A dummy takes the name podX, the MAC and the addresses, and stays down: whoever looks into the Pod
finds the interface it was promised, and nothing answers for it but the guest.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from nncp.host import Row
from vmnet import nft
from vmnet.domain_interface import ethernet
from vmnet.lease import Lease, service
from vmnet.plumbing import Binding, Gate, Migration, Plumbing
from vmnet.rows import pod_bridge, port, silent, sysctl, tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.plumbing import Route, Site


POD_NETWORK = (
    "cannot migrate VMI which does not use masquerade or a migratable plugin to connect to the pod network"
)
"""KubeVirt's own words (4.2): the Pod's address is the guest's, and another Pod has another."""


_DEFAULT = "0.0.0.0/0"


def plumb(site: Site) -> Plumbing:
    """Return what connects the guest to the Pod link's own segment."""
    offered = lease(site)
    names = site.devices
    return Plumbing(
        rows=(*_bridge(site), *_nic(site), *tap(site), *_dummy(site)),
        devices=names,
        domain=ethernet(site),
        nft=nft.bridge_guard(site, guest=site.link.address(4).partition("/")[0], server=_server(site)),
        services=() if offered is None else (service(offered),),
        gate=Gate(nic=names.nic, tap=names.tap, mac=site.mac),
        migration=Migration(refusal=POD_NETWORK if site.network.is_primary else ""),
        address="" if offered is None else offered.address,
    )


def _bridge(site: Site) -> Iterator[Row]:
    name = site.devices.bridge
    yield pod_bridge(site, mac=site.device_mac)
    yield from silent(name)
    if site.link.address(4):
        # The DHCP server's own address: link-local and a /32, so that it is in nobody's way.
        yield Row(("address", name, f"{_server(site)}/32"), needs=(("link", name),))
        # The dummy's address is the guest's: the Pod's kernel must not answer ARP for it, or the guest's
        # duplicate address detection finds a duplicate (RFC 5227; ip-sysctl.rst, arp_ignore).
        yield sysctl("net/ipv4/conf/all/arp_ignore", "1")
        # And it takes in what the guest says from that address, when it asks for its lease again.
        yield sysctl(f"net/ipv4/conf/{name}/accept_local", "1", of=name)
        for where, of in (("all", ""), (name, name)):
            yield sysctl(f"net/ipv4/conf/{where}/rp_filter", "0", of=of)


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


def _server(site: Site) -> str:
    """The server's address: KubeVirt's for the first ten interfaces, and counting on from there.

    KubeVirt writes the index behind 169.254.75.1, so its eleventh is 169.254.75.110; its 101st has none.
    """
    return str(ipaddress.IPv4Address("169.254.75.10") + site.index)


def lease(site: Site) -> Lease | None:
    """Return the guest's lease, when IPAM gave the Pod an IPv4 address; a pure layer-2 network has none."""
    address = site.link.address(4)
    if not address:
        return None
    options = site.interface.dhcp_options
    routes = tuple(_routes(site, address))
    return Lease(
        interface=site.devices.bridge,
        server=_server(site),
        address=address,
        gateway=next((route.gateway for route in routes if route.destination == _DEFAULT), ""),
        mac=site.mac,
        mtu=site.link.mtu,
        hostname=site.hostname,
        nameservers=site.resolver.nameservers,
        searches=site.resolver.searches,
        routes=routes,
        **({} if options is None else options.lease()),
    )


def _routes(site: Site, address: str) -> Iterator[Route]:
    """Yield the Pod link's routes that DHCP can hand on: of IPv4, by a gateway of IPv4 if any.

    One to the guest's own subnet is its address's affair, as in KubeVirt (netpod/discoverbridge.go).
    """
    own = ipaddress.IPv4Interface(address).ip
    for route in site.link.routes:
        if ":" in route.destination + route.gateway:
            continue
        if route.destination == _DEFAULT or own not in ipaddress.IPv4Network(route.destination, strict=False):
            yield route


BRIDGE = Binding(name="bridge", plumb=plumb, takes_place=True)
