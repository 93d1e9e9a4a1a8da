"""`launcher start` and `launcher prepare`: everything is checked on the node, then the Pod is entered."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from launcher import control, kvm, lifecycle, rootfs, sandbox, serving, storage
from launcher.domain import domain_xml
from launcher.guest import Guest, read_guest
from launcher.migration import credentials
from launcher.seed import Seed, read_seed
from nncp import netns
from nncp.errors import Error, ErrorKind, raise_all
from nncp.state_folder import StateFolder
from vmnet import init, namespace
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.manifest import INTERFACES
from vmnet.model import Bound, VirtualMachine
from vmnet.names import devices, plain_mac, pod_name
from vmnet.networks import bound_to
from vmnet.node import handler as handler_
from vmnet.node import readiness
from vmnet.plumbing import Binding
from vmnet.record import PODS, Nic, Record, Store, read_record

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator


HOSTNAME = 63
"""Characters of a hostname: Linux takes one more (uts_namespace, __NEW_UTS_LEN), a label of DNS so many."""


class Start(Struct, frozen=True):
    """What somebody asked for on the command line; `source` is empty for a start."""

    pod: str
    manifest: tuple[str, str]
    claims: Path
    images: Path
    qemu: Path | None = None
    source: str = ""
    credentials: Path = Path()
    lasting: bool = True
    pods: Path = PODS
    bindings: tuple[Binding, ...] = BINDINGS

    @property
    def folder(self) -> Path:
        """The Pod's folder on the node."""
        return self.pods / pod_name(self.pod)


class Checked(Struct, frozen=True):
    """What was asked for, and everything that can be known beforehand holds."""

    record: Record
    vm: VirtualMachine
    guest: Guest
    seed: Seed | None


def check(asked: Start) -> Checked:
    """Read the manifest and the record, or raise all that is wrong with them at once."""
    vm = read_texts([asked.manifest], bindings=asked.bindings).vm()
    record = read_record(asked.folder / "pod.json")
    found: list[Error] = [
        *mismatches(vm, record),
        *(immovable(vm, record, asked.source) if asked.source else ()),
    ]
    if not namespace.is_there(Path(record.netns), record.netns_key):
        message = f"{record.netns} is not the network namespace that vmnet made for Pod {record.name}"
        found.append(
            Error(message, kind=ErrorKind.FAILED, hint=f"vmnet detach {record.name}, then attach it")
        )
    macs = {f"eth{i}": nic.mac for i, nic in enumerate(record.interfaces)}
    guest = _kept(found, lambda: read_guest(vm))
    seed = _kept(found, lambda: read_seed(vm.node, text=asked.manifest[1], macs=macs))
    if guest is not None:
        found += storage.missing(guest, vm.node, claims=asked.claims, images=asked.images)
        if not found:
            found += storage.unwritable(guest, vm.node, claims=asked.claims, user=record.owner)
        if asked.source and not found:
            found += storage.unshared(guest, vm.node, claims=asked.claims, images=asked.images)
    raise_all(found)
    assert guest is not None
    return Checked(record, vm, guest, seed)


def mismatches(vm: VirtualMachine, record: Record) -> Iterator[Error]:
    """Yield what the Pod was attached for and the manifest does not say, or the other way round."""
    hint = f"vmnet detach {record.name}, then attach it for this VM"
    if record.state != "attached":
        yield Error(
            f"Pod {record.name} is {record.state}",
            kind=ErrorKind.FAILED,
            hint=f"vmnet attach {record.name} again",
        )
        return
    if record.vm != f"{vm.namespace}/{vm.name}":
        message = f"Pod {record.name} was attached for VM {record.vm}, not for {vm.namespace}/{vm.name}"
        yield Error(message, kind=ErrorKind.USAGE, hint=hint)
        return
    attached = {nic.name: nic for nic in record.interfaces}
    for bound in vm.nics:
        if not _is_as_attached(bound, attached.pop(bound.interface.name, None), record):
            where = (*INTERFACES, bound.index, "name")
            message = (
                f"Pod {record.name} was not attached for interface {bound.interface.name} ({bound.binding})"
            )
            yield vm.node.error(message, *where, hint=hint)
    for name in attached:
        yield Error(
            f"Pod {record.name} has interface {name}, which the VM does not", kind=ErrorKind.FAILED, hint=hint
        )


def _is_as_attached(bound: Bound, nic: Nic | None, record: Record) -> bool:
    """Whether an interface of the manifest is the one that the Pod was made for."""
    mac = plain_mac(bound.interface.mac_address)
    pod = devices(bound.network.name, primary=bound.network.is_primary).pod
    how = next((one.bound for one in record.attachments if one.interface == pod), {})
    return nic is not None and how == bound_to(bound) and mac in {"", nic.mac}


def immovable(vm: VirtualMachine, record: Record, source: str) -> Iterator[Error]:
    """Yield why a guest so bound cannot be taken in, at each interface."""
    if record.address and (":" in record.address) != (":" in source):
        message = (
            f"Pod {record.name} has the address {record.address}, and its guest is to come from {source}"
        )
        yield Error(message, kind=ErrorKind.USAGE, hint="both are of one family")
    if not record.address:
        yield Error(f"Pod {record.name} has no address of its own to migrate to", kind=ErrorKind.FAILED)
    own = {
        nic.address.partition("/")[0]: f"the guest's own, of interface {nic.name}"
        for nic in record.interfaces
    }
    own[record.address] = "this Pod's own"
    if source in own:
        hint = "vmnet attach and launcher status say which address the source's Pod has"
        yield Error(f"{source} is {own[source]}, not another Pod's", kind=ErrorKind.USAGE, hint=hint)
    for bound in vm.nics:
        nic = next((one for one in record.interfaces if one.name == bound.interface.name), None)
        if nic is not None and nic.migration.refusal:
            yield vm.node.error(nic.migration.refusal, *INTERFACES, bound.index, "name", subject=vm.name)


def _kept(found: list[Error], read: Callable[[], Any]) -> Any:
    """Read something; keep its errors for later."""
    try:
        return read()
    except Error as error:
        found += _alone(error)
        return None


def _alone(error: Error) -> Iterator[Error]:
    """The errors that travel with one, each by itself, so that they can join others."""
    for one in list(error):
        one.others = ()
        yield one


def begin(asked: Start, *, say: Callable[[str], None], ready: Callable[[dict[str, Any]], None]) -> None:
    """Start a Pod's launcher. Return once it is ready, or, when it is not to last, once the Pod has ended.

    Args:
        asked: what is asked for.
        say: told of what takes long.
        ready: given the Pod's status once the guest has started, or the target waits for it.

    """
    with Store(asked.pods).held(asked.pod):  # a Pod that has a launcher is not detached
        checked = check(asked)
        listener = control.listen(asked.folder)
    readiness.check_bridges(checked.vm, checked.record)
    with netns.entered(checked.record.netns):
        readiness.check_rules(checked.record)
    if asked.source:
        _wait_for_ports(checked, say)
    say("trying KVM")
    has_kvm = kvm.works()
    _own_folder(asked, checked.record.owner)
    with _or_no_secret(asked):
        half = _credentials(asked, checked) if asked.source else None
        job = _job(asked, checked, has_kvm=has_kvm, half=half)
        say(f"starting libvirt and the guest ({'KVM' if has_kvm else 'TCG'})")
        entered, reader = _enter(asked, checked, job, listener)
        with _or_end(entered.init):
            init.remember(asked.folder, entered.init)
            status = _answer(reader, _log(asked))
            if asked.source:
                status["credentials"] = str(asked.credentials)
            else:
                _wait_for_ports(checked, say)  # a guest takes longer to boot than STP to listen
    ready(status)
    if not asked.lasting:
        os.waitpid(entered.mover, 0)  # which ends with the Pod


def _enter(
    asked: Start, checked: Checked, job: lifecycle.Job, listener: socket.socket
) -> tuple[sandbox.Entered, int]:
    """Start the Pod's processes; return them, and where the launcher says how it went."""
    reader, writer = os.pipe()
    entered = sandbox.enter(
        _sandbox(asked, checked, has_kvm=job.accelerator == "kvm"),
        lambda handler: serving.serve(job, listener, handler, writer),
        lambda launcher: handler_.serve(checked.record, launcher),
        keep=(listener.fileno(), writer),
        log=_log(asked),
        lasting=asked.lasting,
    )
    os.close(writer)
    listener.close()
    return entered, reader


def _log(asked: Start) -> Path:
    return asked.folder / "launcher.err"


def _own_folder(asked: Start, user: int) -> None:
    """Make the folder that is the launcher's own, seen in its Pod; the Pod's folder itself is root's.

    Afresh: what another that a guest had taken over left there may be anything.
    """
    folder = asked.folder / rootfs.OWN
    with StateFolder.make(asked.folder, option="--run-dir") as files:
        files.remove(rootfs.OWN)
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, user, user)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _credentials(asked: Start, checked: Checked) -> credentials.Half:
    """Return the target's half of this migration's credentials; the source's is a file from now on."""
    target, source = credentials.issue(to=checked.record.address)
    source.save(asked.credentials)
    return target


def _wait_for_ports(checked: Checked, say: Callable[[str], None]) -> None:
    say("waiting for the node's ports to forward")
    readiness.wait_forwarding(checked.vm, checked.record)


@contextlib.contextmanager
def _or_no_secret(asked: Start) -> Iterator[None]:
    """Take a target's secret away again when what follows fails or is interrupted."""
    try:
        yield
    except BaseException:
        if asked.source:
            asked.credentials.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _or_end(process: int) -> Iterator[None]:
    """End the Pod again when what follows fails or is interrupted."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
        raise


def _job(asked: Start, checked: Checked, *, has_kvm: bool, half: credentials.Half | None) -> lifecycle.Job:
    accelerator = "kvm" if has_kvm else "tcg"
    xml = domain_xml(
        checked.guest,
        [nic.domain for nic in checked.record.interfaces],
        accelerator=accelerator,
        caches=storage.caches(checked.guest, claims=asked.claims, images=asked.images),
    )
    return lifecycle.Job(
        record=checked.record,
        domain_xml=xml,
        domain=checked.guest.name,
        accelerator=accelerator,
        seed=checked.seed,
        source=asked.source,
        half=half,
    )


def _sandbox(asked: Start, checked: Checked, *, has_kvm: bool) -> rootfs.Sandbox:
    return rootfs.Sandbox(
        netns=checked.record.netns,
        hostname=checked.record.name[:HOSTNAME].rstrip("-."),
        folder=asked.folder,
        user=checked.record.owner,
        shown=tuple(storage.shown(checked.guest, claims=asked.claims, images=asked.images)),
        qemu=asked.qemu,
        kvm=has_kvm,
    )


def _answer(reader: int, log: Path) -> dict[str, Any]:
    """Wait for the launcher's word."""
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.readline()
    if not said:
        raise Error("the launcher ended before it was ready", kind=ErrorKind.FAILED, hint=f"see {log}")
    return control.told(said, "the launcher")
