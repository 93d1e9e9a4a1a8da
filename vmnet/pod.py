"""A launcher Pod's network: what Multus, the CNI plugins and virt-handler do for it in a cluster.

    record ─▶ namespace ─▶ CNI: Pod network, then each NAD ─▶ bindings ─▶ rows ─▶ nft ─▶ record

Each step may be killed and the whole started again: the record says what was begun, the planner does only
what is not there, nft replaces whole tables, and an ADD without a result is undone by DEL before it is
repeated. The plugin of an attach that was killed holds the Pod's folder until it ends, so that its ADD is
over before that DEL. Only what is known to be ours is taken away, and nothing from under a guest.
"""

from __future__ import annotations

import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

import nncp
from nncp import netns
from nncp.errors import Error, ErrorKind, together
from nncp.journal import Journal
from vmnet import init, namespace
from vmnet.cni import runtime
from vmnet.cni.conf import OURS
from vmnet.cni.given import read_given
from vmnet.names import OWNER, PRIMARY, Devices, beside, devices
from vmnet.networks import plan_networks
from vmnet.node import plumb
from vmnet.plumbing import PodLink, Route
from vmnet.record import Attachment, NetworkStatus, PodFolder, Record, Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nncp.host import Host
    from vmnet.model import VirtualMachine
    from vmnet.nad import Nad
    from vmnet.networks import Planned
    from vmnet.plumbing import Binding

QUIET = 30.0
"""Seconds of a quiet machine that a killed apply's supervisor may take to put the Pod's namespace back."""


class Environment(Struct, frozen=True):
    """Where a Pod is attached: the node's folders, and who may open its taps."""

    store: Store
    conf_dir: Path = Path("/etc/cni/net.d")
    paths: tuple[str, ...] = runtime.PATHS
    resolv_conf: Path = Path("/etc/resolv.conf")
    owner: int = OWNER


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
    planned = list(plan_networks(vm, nads, environment.conf_dir, bindings))
    with environment.store.held(name) as folder:
        known = folder.record()
        if known is not None:
            _refuse_other(known, vm, planned, owner=environment.owner)
        if folder.has_launcher():
            return _served(name, known)
        return _attach(name, vm, planned, known, Work(folder, environment), bindings)


def detach(name: str, *, environment: Environment, force: bool = False) -> str:
    """Take a launcher Pod's network away, and return what there is to say of it; what is gone is done.

    Args:
        name: the Pod's.
        environment: the node.
        force: from under a running guest too, with the links that others have put there, and without asking
            again what a CNI plugin could not let go.

    Raises:
        Error: it was refused, and nothing was touched; or a CNI plugin could not let go: everything else was
            taken away, and the next detach asks it again.

    """
    with environment.store.held(name) as folder:
        record = folder.record()
        if record is None:
            return _unknown(name)
        path = Path(record.netns)
        if not force:
            nncp.raise_all(_holding(record, folder))
            _wait_for_last(folder.path)
        elsewhere = namespace.is_taken(path) and not namespace.is_there(path, record.netns_key)
        folder.make_room()
        record = folder.write(structs.replace(record, state="detaching"))
        try:
            _take_away(record, Work(folder, environment))
        except Error as error:
            if force and not namespace.is_there(path, record.netns_key):
                folder.drop()  # only what a plugin could not let go is given up
            else:
                error.hint = error.hint or f"vmnet detach {name} asks again; with --force it is given up"
            raise
        folder.drop()
    return f"network namespace {name} was made by somebody else since, and stays" if elsewhere else ""


class Work(Struct, frozen=True):
    """One attach or detach: the Pod's folder, which it holds, and the node."""

    folder: PodFolder
    environment: Environment


def _served(name: str, known: Record | None) -> Record:
    """A guest's Pod is as it was when the guest started: nothing is done in it."""
    if known is not None and known.state == "attached":
        if namespace.is_there(Path(known.netns), known.netns_key):
            return known
        raise Error(
            f"the network namespace of Pod {name} has lost its name, and a guest runs there",
            kind=ErrorKind.FAILED,
            hint=f"launcher stop --pod {name}, then vmnet detach {name}",
        )
    message = f"a guest runs in Pod {name}, which is {known.state if known else 'not attached'}"
    raise Error(message, kind=ErrorKind.USAGE, hint=f"launcher stop --pod {name}")


def _attach(
    name: str,
    vm: VirtualMachine,
    planned: Sequence[Planned],
    known: Record | None,
    work: Work,
    bindings: Sequence[Binding],
) -> Record:
    record = _begun(name, vm, known, work)
    try:
        record = _named(record, work)
        record = _networks(record, planned, work)
        record = _plumb(record, vm, work, bindings)
    except BaseException as error:
        if known is None:
            _undo(record, work, error)
        raise
    return work.folder.write(structs.replace(record, state="attached"))


def _unknown(name: str) -> str:
    """Say that there is no such Pod; a namespace that has its name is nobody's that we know."""
    if namespace.is_taken(namespace.NAMES / name):
        message = f"there is no Pod {name}, and vmnet did not make the network namespace of that name"
        raise Error(message, kind=ErrorKind.USAGE, hint=f"if nobody needs it: ip netns delete {name}")
    return f"there is no Pod {name}"


def _holding(record: Record, folder: PodFolder) -> Iterator[Error]:
    """Yield what speaks against taking a Pod away."""
    name = record.name
    if folder.has_launcher():
        hint = f"launcher stop --pod {name}; vmnet detach {name} --force takes its network away all the same"
        yield Error(f"a guest runs in Pod {name}", kind=ErrorKind.USAGE, hint=hint)
    if not namespace.is_there(Path(record.netns), record.netns_key):
        return
    others = namespace.strangers(Path(record.netns), _links(record))
    if others:
        yield Error(
            f"the network namespace of Pod {name} has links that vmnet did not make: {', '.join(others)}",
            kind=ErrorKind.USAGE,
            hint=f"move them out: ip -n {name} link set LINK netns 1; with --force a card falls back to the"
            " node, and every other one goes",
        )


def _wait_for_last(folder: Path) -> None:
    """Return when nothing of the Pod runs: a launcher that has said its last word takes a moment to end."""
    if not init.has_ended(folder):
        hint = f"launcher stop --pod {folder.name} ends them"
        raise Error(f"Pod {folder.name} still has processes", kind=ErrorKind.FAILED, hint=hint)


def _links(record: Record) -> set[str]:
    """The names that links of ours have in a Pod: the plugins', and the devices beside them."""
    names = {a.interface for a in record.attachments}
    named: list[Devices] = [nic.devices for nic in record.interfaces]
    named += [beside(name) for name in names]
    for attachment in record.attachments:
        made = (attachment.result or {}).get("interfaces") or ()
        names |= {str(i.get("name")) for i in made if i.get("sandbox")}
    return names | {name for d in named for name in (d.pod, d.bridge, d.nic, d.tap)}


def _undo(record: Record, work: Work, error: BaseException) -> None:
    """Take back a first attach that failed; what cannot be taken back is told with the failure."""
    try:
        _take_away(record, work)
        work.folder.drop()
    except Error as further:
        if not isinstance(error, Error):
            raise
        error.others += (further,)


def _take_away(record: Record, work: Work) -> None:
    """Ask the plugins to let go, last first, and end the namespace; raise what they could not do."""
    record = work.folder.record() or record
    path = Path(record.netns)
    alive = namespace.is_there(path, record.netns_key)
    if alive:
        _wait_until_quiet(path, work.folder.nncp_state)
    stuck: list[Attachment] = []
    errors: list[Error] = []
    for attachment in reversed(record.attachments):
        call = _call(record, attachment, work, netns_path=record.netns if alive else "")
        found = runtime.delete(attachment.conf, call, attachment.result)
        if attachment.result is None:  # a plugin that is not installed has left nothing
            found = [error for error in found if error.kind is not ErrorKind.UNSUPPORTED]
        errors += found
        stuck += [attachment] if found else []
    namespace.remove(path, record.netns_key)
    if errors:
        work.folder.write(structs.replace(record, attachments=tuple(reversed(stuck)), interfaces=()))
    failed = together(errors)
    if failed is not None:
        raise failed


def _wait_until_quiet(path: Path, state: Path) -> None:
    """Return when no supervisor of a killed apply writes in the Pod's namespace, or its journal, any more."""
    with netns.entered(path), Journal(state).locked(patience=QUIET):
        pass


def _refuse_other(known: Record, vm: VirtualMachine, planned: Sequence[Planned], *, owner: int) -> None:
    """Refuse to go on with a Pod that was begun for something else: nothing changes under a guest."""
    name, hint = known.name, f"vmnet detach {known.name}"
    if known.vm != f"{vm.namespace}/{vm.name}":
        message = f"Pod {name} belongs to VM {known.vm}, not to {vm.namespace}/{vm.name}"
        raise Error(message, kind=ErrorKind.USAGE, hint=hint)
    if known.owner != owner:
        message = f"the taps of Pod {name} belong to user {known.owner}, not to {owner}"
        raise Error(message, kind=ErrorKind.USAGE, hint=hint)
    wanted = {one.interface: (one.conf, one.mac, one.bound) for one in planned}
    for attachment in known.attachments:
        if wanted.get(attachment.interface) != (attachment.conf, attachment.mac, attachment.bound):
            message = f"Pod {name} was attached to {attachment.network} in another way than is asked now"
            raise Error(message, kind=ErrorKind.USAGE, hint=hint)


def _begun(name: str, vm: VirtualMachine, known: Record | None, work: Work) -> Record:
    """Return the record to go on with: the known one while its namespace lives, else a fresh one."""
    path = namespace.NAMES / name
    if known is not None and namespace.is_there(path, known.netns_key) and known.state != "detaching":
        _refuse_lost(known)
        return known
    if known is None or not namespace.is_there(path, known.netns_key):
        namespace.clear(path, begun=known is not None)
    if known is not None:
        _take_away(known, work)
    return Record(
        name=name,
        namespace=vm.namespace,
        vm=f"{vm.namespace}/{vm.name}",
        uid=str(uuid.uuid4()),
        netns=str(path),
        owner=work.environment.owner,
    )


def _named(record: Record, work: Work) -> Record:
    """Give a Pod its namespace, unless it has it: what that is known by is written down before its name."""
    if record.netns_key:
        return record
    with namespace.fresh() as made:
        record = work.folder.write(structs.replace(record, netns_key=made.key))
        made.name(Path(record.netns))
    return record


def _refuse_lost(record: Record) -> None:
    """Refuse to go on with a Pod of which somebody has deleted what a plugin made."""
    with netns.entered(record.netns):
        there = {link.attrs["index"] for link in nncp.snapshot().table("link")}
    for attachment in record.attachments:
        if attachment.index and attachment.index not in there:
            raise Error(
                f"somebody has deleted {attachment.interface}, the link of Pod {record.name} to network"
                f" {attachment.network}",
                kind=ErrorKind.FAILED,
                hint=f"vmnet detach {record.name}, then attach it again",
            )


def _networks(record: Record, planned: Sequence[Planned], work: Work) -> Record:
    """Attach each network that is not attached yet, in order."""
    for one in planned:
        done = next((a for a in record.attachments if a.interface == one.interface), None)
        if done is not None and done.result is not None:
            continue
        if done is not None:
            runtime.delete(done.conf, _call(record, done, work), None)
        else:
            done = Attachment(one.network, one.interface, one.conf, mac=one.mac, bound=one.bound)
            record = structs.replace(record, attachments=(*record.attachments, done))
            work.folder.write(record)
        record = _attach_one(record, done, work)
    return record


def _attach_one(record: Record, attachment: Attachment, work: Work) -> Record:
    result = runtime.add(attachment.conf, _call(record, attachment, work))
    with netns.entered(record.netns):
        host = nncp.snapshot()
    link, index = _link(attachment, result, host), host.attr("link", attachment.interface, name="index")
    done = structs.replace(attachment, result=result, link=link, index=index)
    others = tuple(a for a in record.attachments if a.interface != attachment.interface)
    return work.folder.write(structs.replace(record, attachments=(*others, done)))


def _link(attachment: Attachment, result: Mapping[str, Any], host: Host) -> PodLink:
    """What the plugins left: the kernel's word for the device, theirs for addresses and routes."""
    row = host.get("link", attachment.interface)
    if row is None:
        message = f"CNI made no interface {attachment.interface} for network {attachment.network}"
        raise Error(message, kind=ErrorKind.FAILED)
    node = [i["name"] for i in result.get("interfaces") or () if not i.get("sandbox")]
    bridge = str(attachment.conf["plugins"][0].get("bridge", ""))
    given, _ = read_given(result)
    return PodLink(
        name=attachment.interface,
        mac=row.attrs["mac"],
        mtu=row.attrs["mtu"],
        addresses=tuple(ip.address for ip in given.ips or ()),
        routes=tuple(Route(path.dst, path.gw or "") for path in given.paths),
        node_bridge=bridge,
        node_port=next((name for name in node if name != bridge), ""),
    )


def _call(
    record: Record, attachment: Attachment, work: Work, *, netns_path: str | None = None
) -> runtime.Call:
    own = (sys.executable, "-P", "-m", "vmnet.cni")
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
        paths=work.environment.paths,
        holds=(work.folder.lock,),
        own=dict.fromkeys(OURS, own),
        environment={"BRIDGEHEAD_RUN": str(work.environment.store.folder.parent.absolute())},
    )


def _plumb(record: Record, vm: VirtualMachine, work: Work, bindings: Sequence[Binding]) -> Record:
    links = {a.interface: a for a in record.attachments}
    attached = [
        (nic, links[devices(nic.network.name, primary=nic.network.is_primary).pod]) for nic in vm.nics
    ]
    pod = plumb.Pod(
        uid=record.uid,
        netns=record.netns,
        owner=record.owner,
        resolver=plumb.resolver(vm, work.environment.resolv_conf),
    )
    done = plumb.plumb(pod, vm, attached, bindings, state_dir=work.folder.nncp_state)
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
