"""The networks that a VM's Pod is attached to: what CNI is asked for, by its NADs and as this node stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

import nncp
from vmnet.cni import runtime
from vmnet.cni.conf import BRIDGES, host_faults, read_conf
from vmnet.names import PRIMARY, devices, plain_mac
from vmnet.node import plumb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nncp.errors import Error
    from nncp.host import Host
    from vmnet.model import Bound, VirtualMachine
    from vmnet.nad import Nad
    from vmnet.plumbing import Binding


class Planned(Struct, frozen=True):
    """One network to attach: for CNI, and as Multus would report it.

    `bound` is how a guest is to be bound to it; empty for a Pod network that no guest is bound to.
    """

    network: str
    interface: str
    conf: dict[str, Any]
    mac: str = ""
    bound: dict[str, Any] = {}


def plan_networks(
    vm: VirtualMachine, nads: Sequence[Nad], conf_dir: Path, bindings: Sequence[Binding]
) -> Iterator[Planned]:
    """Yield the networks of a VM's Pod, the Pod network first; raises every fault of the NADs at once.

    Args:
        vm: the VirtualMachine.
        nads: the NetworkAttachmentDefinitions that there are.
        conf_dir: where the configuration of the Pod network is.
        bindings: the bindings there are.

    """
    by_name = {nad.full_name: nad for nad in nads}
    nncp.raise_all(_nad_errors(vm, by_name))
    primary = next((nic for nic in vm.nics if nic.network.is_primary), None)
    mac = _requested(primary, bindings)
    if primary is not None and primary.network.multus is not None:
        nad = by_name[_nad_name(vm, primary)]
        yield Planned(nad.full_name, PRIMARY, _conf(nad), mac, bound_to(primary))
    else:
        conf = runtime.find_conf(conf_dir)
        yield Planned(str(conf.get("name", "")), PRIMARY, conf, mac, bound_to(primary))
    for nic in vm.nics:
        if not nic.network.is_primary:
            nad = by_name[_nad_name(vm, nic)]
            names = devices(nic.network.name, primary=False)
            yield Planned(nad.full_name, names.pod, _conf(nad), plumb.mac_of(vm, nic), bound_to(nic))


def _requested(nic: Bound | None, bindings: Iterable[Binding]) -> str:
    """The MAC to ask of the Pod network: the guest's only where the guest takes eth0's place."""
    taking = {binding.name for binding in bindings if binding.takes_place}
    return plain_mac(nic.interface.mac_address) if nic is not None and nic.binding in taking else ""


def bound_to(nic: Bound | None) -> dict[str, Any]:
    """What decides which devices a Pod has, and their addresses: what is there is not made into another."""
    if nic is None:
        return {}
    network: dict[str, Any] = msgspec.to_builtins(nic.network)
    return {"binding": nic.binding, "network": network}


def _conf(nad: Nad) -> dict[str, Any]:
    name = nad.plugins[0]["name"]
    return {"cniVersion": nad.cni_version, "name": name, "plugins": [dict(p) for p in nad.plugins]}


def _nad_name(vm: VirtualMachine, nic: Bound) -> str:
    assert nic.network.multus is not None
    wanted = nic.network.multus.network_name
    return wanted if "/" in wanted else f"{vm.namespace}/{wanted}"


def _nad_errors(vm: VirtualMachine, by_name: Mapping[str, Nad]) -> Iterator[Error]:
    """What is wrong with the VM's networks as this node stands: no such NAD, a bad one, an unfit bridge."""
    host = nncp.snapshot()
    for nic in vm.nics:
        if nic.network.multus is None:
            continue
        name = _nad_name(vm, nic)
        nad = by_name.get(name)
        if nad is None:
            yield _no_nad(vm, nic, name, by_name)
        else:
            yield from _conf_errors(nad, host)


def _no_nad(vm: VirtualMachine, nic: Bound, name: str, known: Iterable[str]) -> Error:
    names = [n["name"] for n in vm.node.value["spec"]["template"]["spec"]["networks"]]
    path = ("spec", "template", "spec", "networks", names.index(nic.network.name), "multus", "networkName")
    hint = f"given: {', '.join(known)}" if known else "none was given"
    return vm.node.error(f'NetworkAttachmentDefinition "{name}" not found', *path, subject=vm.name, hint=hint)


def _conf_errors(nad: Nad, host: Host) -> Iterator[Error]:
    for index, plugin in enumerate(nad.plugins):
        if plugin["type"] in BRIDGES:
            conf, faults = read_conf(plugin)
            faults += [] if faults else host_faults(conf, host)
            for fault in faults:
                yield from nad.errors(fault.below(*nad.path(index)).error(nad.conf, subject=nad.name))
