"""The masquerade binding: the guest stands behind the Pod, which translates for it.

    interfaces:
    - name: default
      masquerade: {}
      ports: [{port: 80}]        # without ports, everything is forwarded

eth0 stays as the Pod network made it. k6t-eth0 is a bridge with one port, the guest's tap, and holds the
guest's gateway; nft translates both ways. The Pod's address may change in a migration, the guest's never
does.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from nncp.host import Row
from vmnet import nft
from vmnet.domain_interface import ethernet
from vmnet.lease import Lease, service
from vmnet.plumbing import Binding, Migration, Plumbing
from vmnet.rows import pod_bridge, silent, sysctl, tap

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vmnet.plumbing import Site

RESERVED_MAC = "02:00:00:00:00:00"
"""k6t-eth0's own, the same in every Pod: the guest's neighbour cache stays right when it moves."""

V4_DEFAULT = "10.0.2.0/24"
V6_DEFAULT = "fd10:0:2::/120"


def plumb(site: Site) -> Plumbing:
    """Return what puts the guest behind the Pod's own address."""
    # The bridge has no other port: what it learnt of a guest that sends from ever new MACs would serve for
    # nothing and fill the node's memory (net/bridge/br_fdb.c has no limit of its own). KubeVirt's learns.
    rows = (*_bridge(site), *_translation(site), *tap(site, learning=False))
    offered = lease(site)
    return Plumbing(
        rows=rows,
        devices=site.devices,
        domain=ethernet(site),
        nft=_rules(site),
        services=() if offered is None else (service(offered),),
        migration=Migration(exempt=True),
        address="" if offered is None else offered.address,
    )


def _rules(site: Site) -> str:
    names, nats = site.devices, tuple(_nats(site))
    translation = (
        nft.masquerade(nat, uplink=names.pod, bridge=names.bridge, ports=site.interface.ports) for nat in nats
    )
    return "".join((*translation, nft.masquerade_guard(names.bridge, nats)))


def _bridge(site: Site) -> Iterator[Row]:
    """The guest's gateway, of each family that the Pod has. IPv6 on it is heard by the guest only."""
    name = site.devices.bridge
    key = ("link", name)
    yield pod_bridge(site, mac=RESERVED_MAC)
    if site.link.address(4):
        gateway, _, length = _v4(site)
        yield Row(("address", name, f"{gateway}/{length}"), needs=(key,))
    if site.link.address(6):
        gateway, _, length = _v6(site)
        yield sysctl(f"net/ipv6/conf/{name}/disable_ipv6", "0", of=name)
        yield Row(("address", name, f"{gateway}/{length}"), needs=(key,))
        yield Row(("up", name), needs=(key,))
    else:
        yield from silent(name)


def _translation(site: Site) -> Iterator[Row]:
    name = site.devices.bridge
    if site.link.address(4):
        yield sysctl("net/ipv4/ip_forward", "1")
        # What a process in the Pod sends to 127.0.0.1 is sent on to the guest: without it that is a martian.
        yield sysctl(f"net/ipv4/conf/{name}/route_localnet", "1", of=name)
    if site.link.address(6):
        yield sysctl("net/ipv6/conf/all/forwarding", "1")


def _nats(site: Site) -> Iterator[nft.Nat]:
    if site.link.address(4):
        gateway, guest, _ = _v4(site)
        yield nft.v4(guest=guest, gateway=gateway)
    if site.link.address(6):
        gateway, guest, _ = _v6(site)
        yield nft.v6(guest=guest, gateway=gateway)


def lease(site: Site) -> Lease | None:
    """Return the guest's lease; behind a Pod that has no IPv4 there is none, as in KubeVirt."""
    if not site.link.address(4):
        return None
    gateway, guest, length = _v4(site)
    options = site.interface.dhcp_options
    return Lease(
        interface=site.devices.bridge,
        server=gateway,
        address=f"{guest}/{length}",
        gateway=gateway,
        mtu=site.link.mtu,
        hostname=site.hostname,
        nameservers=site.resolver.nameservers,
        searches=site.resolver.searches,
        **({} if options is None else options.lease()),
    )


def _v4(site: Site) -> tuple[str, str, int]:
    pod = site.network.pod
    return _pair((pod.vm_network_cidr if pod else "") or V4_DEFAULT)


def _v6(site: Site) -> tuple[str, str, int]:
    pod = site.network.pod
    return _pair((pod.vm_ipv6_network_cidr if pod else "") or V6_DEFAULT)


def _pair(cidr: str) -> tuple[str, str, int]:
    """The gateway and the guest, the first two hosts of the guest's network, and its prefix length."""
    network = ipaddress.ip_network(cidr, strict=False)
    return str(network[1]), str(network[2]), network.prefixlen


MASQUERADE = Binding(
    name="masquerade",
    plumb=plumb,
    reserved_mac=RESERVED_MAC,
    primary_only="Masquerade interface only implemented with pod network",
)
