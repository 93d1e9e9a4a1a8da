"""Plumbing a network namespace that is there: from the networks that CNI attached to what the bindings want.

A node's handler does it for the Pods of a cluster, `vmnet.pod` for those that it makes itself. It may be
killed anywhere and run again: the planner does only what is not there, and nft replaces whole tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

import nncp
from nncp import netns
from nncp.errors import Error, ErrorKind
from vmnet import nft
from vmnet.names import device_mac, guest_mac, plain_mac
from vmnet.node.resolv_conf import read_resolv_conf
from vmnet.plumbing import Resolver, Site
from vmnet.record import Nic
from vmnet.rows import sysctl

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nncp.host import Row
    from vmnet.model import Bound, VirtualMachine
    from vmnet.plumbing import Binding, Plumbing, PodLink

_BRIDGE_FILTER = "net/bridge/bridge-nf-call-{}"


class Pod(Struct, frozen=True):
    """The Pod that is plumbed. `owner` is the user, and the group, that may open its taps."""

    uid: str
    netns: str
    owner: int = 0
    resolver: Resolver = Resolver()


class Attached(Protocol):
    """A network that CNI attached: its name, and what it left in the Pod."""

    @property
    def network(self) -> str: ...  # noqa: D102 -- as `[namespace/]name`
    @property
    def link(self) -> PodLink | None: ...  # noqa: D102


def plumb(
    pod: Pod,
    vm: VirtualMachine,
    attached: Sequence[tuple[Bound, Attached]],
    bindings: Sequence[Binding],
    *,
    state_dir: Path,
) -> tuple[Nic, ...]:
    """Lead a Pod's namespace to what the bindings want, and its nft tables with it.

    Args:
        pod: the namespace, and whose it is.
        vm: the VirtualMachine.
        attached: its interfaces, each with the network that CNI attached for it.
        bindings: the bindings there are.
        state_dir: where nncp keeps its journal.

    Raises:
        Error: what the bindings cannot do for these interfaces, before anything is touched; or what failed.

    """
    by_name = {binding.name: binding for binding in bindings}
    found: list[tuple[Bound, Attached, Site, Plumbing]] = []
    errors: list[Error] = []
    for nic, attachment in attached:
        assert attachment.link is not None
        binding = by_name[nic.binding]
        site = _site(pod, vm, nic, attachment.link, binding)
        try:
            found.append((nic, attachment, site, binding.plumb(site)))
        except Error as error:
            errors += (vm.node.error(one.message, *_place(nic), hint=one.hint) for one in error)
    nncp.raise_all(errors)
    rows = [nncp.Row(("up", "lo")), *(row for *_, plumbing in found for row in plumbing.rows)]
    with netns.entered(pod.netns):
        nncp.apply_rows([*_bridge_filter(), *rows], state_dir=state_dir)
        for *_, plumbing in found:
            if plumbing.nft:
                nft.run(plumbing.nft)
        return tuple(_nic(*one) for one in found)


def mac_of(vm: VirtualMachine, nic: Bound) -> str:
    """Return the MAC that the guest sees: its own wish, else one that follows from the VM's name."""
    return plain_mac(nic.interface.mac_address) or guest_mac(vm.namespace, vm.name, nic.network.name)


def resolver(vm: VirtualMachine, path: Path) -> Resolver:
    """Return the VM's own dnsConfig, else what the node's resolv.conf says that can be of use to a guest.

    With a subdomain the guest's own domain is searched first, as in KubeVirt (dns.DomainNameWithSubdomain).
    """
    node = Resolver() if vm.dns.nameservers else read_resolv_conf(path)
    searches = vm.dns.searches or node.searches
    longest = max((name for name in searches if ".svc." in name), key=len, default="")
    if vm.subdomain and longest and not longest.startswith(f"{vm.subdomain}."):
        searches = (f"{vm.subdomain}.{longest}", *searches)
    return Resolver(vm.dns.nameservers or node.nameservers, searches)


def _bridge_filter() -> Iterator[Row]:
    """A fresh namespace starts with bridged frames going through nft's ip tables: the guest's are its own."""
    for table in ("iptables", "ip6tables", "arptables"):
        path = _BRIDGE_FILTER.format(table)
        if (Path("/proc/sys") / path).exists():
            yield sysctl(path, "0")


def _place(nic: Bound) -> tuple[str | int, ...]:
    return ("spec", "template", "spec", "domain", "devices", "interfaces", nic.index)


def _site(pod: Pod, vm: VirtualMachine, nic: Bound, link: PodLink, binding: Binding) -> Site:
    takes_place = nic.network.is_primary and binding.takes_place
    return Site(
        interface=nic.interface,
        network=nic.network,
        index=nic.index,
        link=link,
        mac=plain_mac(nic.interface.mac_address) or (link.mac if takes_place else mac_of(vm, nic)),
        device_mac=device_mac(pod.uid, nic.network.name),
        hostname=vm.hostname,
        resolver=pod.resolver,
        owner=pod.owner,
        group=pod.owner,
        queues=vm.queues,
    )


def _nic(nic: Bound, attachment: Attached, site: Site, plumbing: Plumbing) -> Nic:
    return Nic(
        name=nic.interface.name,
        network=attachment.network,
        binding=nic.binding,
        mac=site.mac,
        devices=plumbing.devices,
        link=site.link,
        domain=plumbing.domain,
        services=plumbing.services,
        rules={table: _listed(table) for table in nft.tables(plumbing.nft)},
        gate=plumbing.gate,
        migration=plumbing.migration,
        address=plumbing.address,
    )


def _listed(table: str) -> str:
    said = nft.listed(table)
    if not said:
        raise Error(f"nft does not list table {table}, which it has just made", kind=ErrorKind.FAILED)
    return said
