"""A launcher Pod's network: what Multus, the CNI plugins and virt-handler do for it in a cluster.

    record ─▶ namespace ─▶ CNI: Pod network, then each NAD ─▶ bindings ─▶ rows ─▶ nft ─▶ record

Each step may be killed and the whole started again: the record says what was begun, the planner does only
what is not there, nft replaces whole tables, and an ADD without a result is undone by DEL before it is
repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

import nncp
from nncp import netns
from nncp.errors import Error, ErrorKind, together
from vmnet.cni import runtime
from vmnet.cni.conf import BRIDGES, OURS, host_faults, read_conf
from vmnet.names import PRIMARY, devices, plain_mac
from vmnet.node import plumb
from vmnet.plumbing import PodLink, Route
from vmnet.record import Attachment, NetworkStatus, Record, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.host import Host
    from vmnet.model import Bound, VirtualMachine
    from vmnet.nad import Nad
    from vmnet.plumbing import Binding

NETNS = Path("/run/netns")


class Environment(Struct, frozen=True):
    """Where a Pod is attached: the node's folders, and who may open its taps."""

    store: Store
    conf_dir: Path = Path("/etc/cni/net.d")
    paths: tuple[str, ...] = runtime.PATHS
    nncp_state: Path = Path("/var/lib/nncp")
    resolv_conf: Path = Path("/etc/resolv.conf")
    owner: int = 0


class Planned(Struct, frozen=True):
    """One network to attach: for CNI, and as Multus would report it."""

    network: str
    interface: str
    conf: dict[str, Any]
    mac: str = ""


def attach(
    name: str,
    vm: VirtualMachine,
    nads: Sequence[Nad],
    *,
    environment: Environment,
    bindings: Sequence[Binding],
) -> Record:
    """Attach a launcher Pod to its VM's networks, or finish an attach that was cut short.

    Raises:
        Error: every fault of the manifests, before anything is touched; or what failed, after it was undone.

    """
    planned = list(plan_networks(vm, nads, environment, bindings))
    store = environment.store
    with store.locked(name):
        known = store.find(name)
        _refuse_other(known, vm, name, planned)
        record = _begin(name, vm, known, environment)
        try:
            record = _networks(record, planned, environment)
            record = _plumb(record, vm, environment, bindings)
        except BaseException as error:
            if known is None:
                _undo(record, environment, error)
            raise
        return store.write(structs.replace(record, state="attached"))


def detach(name: str, *, environment: Environment) -> None:
    """Take a launcher Pod's network away; what is gone already is done.

    Raises:
        Error: a CNI plugin could not let go; everything else was taken away, and the next detach asks it
        again.

    """
    store = environment.store
    with store.locked(name):
        record = store.find(name)
        if record is None:
            _drop_namespace(NETNS / name)
        else:
            _take_away(store.write(structs.replace(record, state="detaching")), environment)


def _undo(record: Record, environment: Environment, error: BaseException) -> None:
    """Take back a first attach that failed; what cannot be taken back is told with the failure."""
    try:
        _take_away(record, environment)
    except Error as further:
        if not isinstance(error, Error):
            raise
        error.others += (further,)


def _take_away(record: Record, environment: Environment) -> None:
    record = environment.store.find(record.name) or record
    alive = _is_namespace(Path(record.netns))
    stuck: list[Attachment] = []
    errors: list[Error] = []
    for attachment in reversed(record.attachments):
        call = _call(record, attachment, environment, netns_path=record.netns if alive else "")
        found = runtime.delete(attachment.conf, call, attachment.result)
        if attachment.result is None:  # a plugin that is not installed has left nothing
            found = [error for error in found if error.kind is not ErrorKind.UNSUPPORTED]
        errors += found
        stuck += [attachment] if found else []
    _drop_namespace(Path(record.netns))
    if errors:
        environment.store.write(structs.replace(record, attachments=tuple(reversed(stuck)), interfaces=()))
    else:
        environment.store.drop(record.name)
    failed = together(errors)
    if failed is not None:
        raise failed


def plan_networks(
    vm: VirtualMachine, nads: Sequence[Nad], environment: Environment, bindings: Sequence[Binding]
) -> Iterator[Planned]:
    """Yield the networks of a VM's Pod, the Pod network first; raises every fault of the NADs at once."""
    by_name = {nad.full_name: nad for nad in nads}
    nncp.raise_all(_nad_errors(vm, by_name))
    primary = next((nic for nic in vm.nics if nic.network.is_primary), None)
    mac = _requested(primary, bindings)
    if primary is not None and primary.network.multus is not None:
        nad = by_name[_nad_name(vm, primary)]
        yield Planned(nad.full_name, PRIMARY, _conf(nad), mac)
    else:
        conf = runtime.find_conf(environment.conf_dir)
        yield Planned(str(conf.get("name", "")), PRIMARY, conf, mac)
    for nic in vm.nics:
        if not nic.network.is_primary:
            nad = by_name[_nad_name(vm, nic)]
            names = devices(nic.network.name, primary=False)
            yield Planned(nad.full_name, names.pod, _conf(nad), plumb.mac_of(vm, nic))


def _requested(nic: Bound | None, bindings: Iterable[Binding]) -> str:
    """The MAC to ask of the Pod network: the guest's only where the guest takes eth0's place."""
    taking = {binding.name for binding in bindings if binding.takes_place}
    return plain_mac(nic.interface.mac_address) if nic is not None and nic.binding in taking else ""


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


def _refuse_other(known: Record | None, vm: VirtualMachine, name: str, planned: Sequence[Planned]) -> None:
    """Refuse to go on with a Pod that was begun for something else: nothing changes under a guest."""
    if known is None:
        return
    if known.vm != f"{vm.namespace}/{vm.name}":
        message = f"Pod {name} belongs to VM {known.vm}, not to {vm.namespace}/{vm.name}"
        raise Error(message, kind=ErrorKind.USAGE, hint=f"vmnet detach {name}")
    wanted = {one.interface: (one.conf, one.mac) for one in planned}
    for attachment in known.attachments:
        if wanted.get(attachment.interface) != (attachment.conf, attachment.mac):
            message = f"Pod {name} was attached to {attachment.network} in another way than is asked now"
            raise Error(message, kind=ErrorKind.USAGE, hint=f"vmnet detach {name}")


def _begin(name: str, vm: VirtualMachine, known: Record | None, environment: Environment) -> Record:
    """Return the record to go on with: the known one while its namespace lives, else a fresh one."""
    path = NETNS / name
    if known is not None and _is_namespace(path) and known.state != "detaching":
        return known
    if known is not None:
        _take_away(known, environment)
    record = Record(
        name=name,
        namespace=vm.namespace,
        vm=f"{vm.namespace}/{vm.name}",
        uid=str(uuid.uuid4()),
        netns=str(path),
    )
    environment.store.write(record)
    _make_namespace(path)
    return record


def _make_namespace(path: Path) -> None:
    _drop_namespace(path)
    done = subprocess.run(["ip", "netns", "add", path.name], capture_output=True, text=True, check=False)
    if done.returncode:
        kind = ErrorKind.FAILED if os.geteuid() == 0 else ErrorKind.PRIVILEGE
        message = f"network namespace {path.name} could not be made: {done.stderr.strip()}"
        raise Error(message, kind=kind, hint="" if os.geteuid() == 0 else "run it as root")


def _drop_namespace(path: Path) -> None:
    """Remove a namespace's name, and the plain file that an interrupted `ip netns add` leaves."""
    if _is_namespace(path):
        subprocess.run(["ip", "netns", "delete", path.name], capture_output=True, check=False)
    else:
        path.unlink(missing_ok=True)


def _is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted at `path`: all of them live on one file system of the kernel's own."""
    return path.exists() and path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev


def _networks(record: Record, planned: Sequence[Planned], environment: Environment) -> Record:
    """Attach each network that is not attached yet, in order."""
    for one in planned:
        done = next((a for a in record.attachments if a.interface == one.interface), None)
        if done is not None and done.result is not None:
            continue
        if done is not None:
            runtime.delete(done.conf, _call(record, done, environment), None)
        else:
            done = Attachment(network=one.network, interface=one.interface, conf=one.conf, mac=one.mac)
            record = structs.replace(record, attachments=(*record.attachments, done))
            environment.store.write(record)
        record = _attach_one(record, done, environment)
    return record


def _attach_one(record: Record, attachment: Attachment, environment: Environment) -> Record:
    result = runtime.add(attachment.conf, _call(record, attachment, environment))
    with netns.entered(record.netns):
        link = _link(attachment, result, nncp.snapshot())
    done = structs.replace(attachment, result=result, link=link)
    others = tuple(a for a in record.attachments if a.interface != attachment.interface)
    record = structs.replace(record, attachments=(*others, done))
    return environment.store.write(record)


def _link(attachment: Attachment, result: Mapping[str, Any], host: Host) -> PodLink:
    """What the plugins left: the kernel's word for the device, theirs for addresses and routes."""
    row = host.get("link", attachment.interface)
    if row is None:
        message = f"CNI made no interface {attachment.interface} for network {attachment.network}"
        raise Error(message, kind=ErrorKind.FAILED)
    node = [i["name"] for i in result.get("interfaces") or () if not i.get("sandbox")]
    bridge = str(attachment.conf["plugins"][0].get("bridge", ""))
    return PodLink(
        name=attachment.interface,
        mac=row.attrs["mac"],
        mtu=row.attrs["mtu"],
        addresses=tuple(runtime.addresses(result)),
        routes=tuple(Route(destination, gateway) for destination, gateway in runtime.routes(result)),
        node_bridge=bridge,
        node_port=next((name for name in node if name != bridge), ""),
    )


def _call(
    record: Record, attachment: Attachment, environment: Environment, *, netns_path: str | None = None
) -> runtime.Call:
    own = (sys.executable, "-P", "-m", "vmnet.cni")
    secondary = attachment.interface != PRIMARY
    return runtime.Call(
        container=record.uid,
        netns=record.netns if netns_path is None else netns_path,
        interface=attachment.interface,
        args={
            "K8S_POD_NAMESPACE": record.namespace,
            "K8S_POD_NAME": record.name,
            "K8S_POD_INFRA_CONTAINER_ID": record.uid,
            "K8S_POD_UID": record.uid,
        },
        mac=attachment.mac,
        paths=environment.paths,
        own=dict.fromkeys(OURS, own) if secondary else {},
    )


def _plumb(
    record: Record, vm: VirtualMachine, environment: Environment, bindings: Sequence[Binding]
) -> Record:
    links = {a.interface: a for a in record.attachments}
    attached = [
        (nic, links[devices(nic.network.name, primary=nic.network.is_primary).pod]) for nic in vm.nics
    ]
    pod = plumb.Pod(
        uid=record.uid,
        netns=record.netns,
        owner=environment.owner,
        resolver=plumb.resolver(vm, environment.resolv_conf),
    )
    done = plumb.plumb(pod, vm, attached, bindings, state_dir=environment.nncp_state)
    status = tuple(_status(attachment) for attachment in record.attachments)
    return structs.replace(record, interfaces=done, network_status=status)


def _status(attachment: Attachment) -> NetworkStatus:
    link = attachment.link
    assert link is not None
    return NetworkStatus(
        name=attachment.network,
        interface=attachment.interface,
        ips=tuple(address.partition("/")[0] for address in link.addresses),
        mac=link.mac,
        mtu=link.mtu,
        default=attachment.interface == PRIMARY,
        dns=dict((attachment.result or {}).get("dns") or {}),
    )
