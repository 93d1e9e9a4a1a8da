"""What is known about one launcher Pod, in /run/bridgehead/pods/NAME/pod.json.

Written before each step as well as after it, so that an attach or a detach that was killed is finished by the
next one; and read by the launcher, which finds here what its guest's domain and DHCP server need. The folder
is the Pod's own, of mode 0700, with all that is kept of it, and goes with it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit
from nncp.state_folder import StateFolder
from vmnet import init
from vmnet.names import OWNER, Devices, pod_name
from vmnet.plumbing import Gate, Migration, PodLink, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS = Path("/run/bridgehead/pods")
RECORD = "pod.json"
SOCKET = "launcher.sock"
"""Where a Pod's launcher listens for as long as it lives."""

VERSION = 2
"""Of what a record says; another is not guessed at."""

PATIENCE, IN_ALL, LOOK_EVERY = 60.0, 1200.0, 0.05
"""Seconds of a quiet machine to wait for another attach or detach of the same Pod: since its last write, and
in all; and between two looks."""


class Attachment(Struct, frozen=True, rename="kebab"):
    """One network of the Pod as CNI knows it.

    `conf` is the configuration that ADD was given, which DEL must be given again. `result` is None from
    before ADD until it is through: whoever finds that finishes by DEL. `index` is the interface's in the Pod:
    a binding may rename it, and the kernel gives it to no other. `bound` is how its guest is bound to it.
    """

    network: str
    interface: str
    conf: dict[str, Any]
    mac: str = ""
    bound: dict[str, Any] = {}
    result: dict[str, Any] | None = None
    link: PodLink | None = None
    index: int = 0


class Nic(Struct, frozen=True, rename="kebab"):
    """One interface of the VM in its Pod: what its binding wanted, as far as a launcher has to know it.

    `rules` are its nft tables, each as nft printed it once it was made. `address` is what the guest is told
    to be its own; empty when nobody tells it one.
    """

    name: str
    network: str
    binding: str
    mac: str
    devices: Devices
    link: PodLink
    domain: str
    services: tuple[Service, ...] = ()
    rules: dict[str, str] = {}
    gate: Gate | None = None
    migration: Migration = Migration()
    address: str = ""


class NetworkStatus(Struct, frozen=True, rename="kebab"):
    """A network as Multus reports it in k8s.v1.cni.cncf.io/network-status."""

    name: str
    interface: str
    ips: tuple[str, ...] = ()
    mac: str = ""
    mtu: int = 0
    default: bool = False
    dns: dict[str, Any] = {}


class Record(Struct, frozen=True, rename="kebab"):
    """A launcher Pod, between the start of its attach and the end of its detach.

    `netns_key` is what its network namespace is known by: a name is anybody's. `owner` is the user and group
    that its taps belong to.
    """

    name: str
    namespace: str
    vm: str
    uid: str
    netns: str
    owner: int = OWNER
    netns_key: str = ""
    version: int = VERSION
    state: Literal["attaching", "attached", "detaching"] = "attaching"
    attachments: tuple[Attachment, ...] = ()
    interfaces: tuple[Nic, ...] = ()
    network_status: tuple[NetworkStatus, ...] = ()

    @property
    def services(self) -> tuple[Service, ...]:
        """The programs that serve the Pod's guest."""
        return tuple(service for nic in self.interfaces for service in nic.services)

    @property
    def gates(self) -> tuple[Gate, ...]:
        """What shuts the guest's segments out while it runs elsewhere."""
        return tuple(nic.gate for nic in self.interfaces if nic.gate is not None)

    @property
    def address(self) -> str:
        """The Pod's own address, without its prefix length; empty when the Pod network gave none."""
        for status in self.network_status:
            if status.default and status.ips:
                return status.ips[0]
        return ""


class _Versioned(Struct):
    """As much of a record as every version has."""

    version: int = 0


def read_record(path: str | Path) -> Record:
    """Read a record, or raise an `Error` when there is none, or it is none of ours."""
    path = Path(path)
    with contextlib.ExitStack() as stack:
        folder = StateFolder.find(path.parent, option="--run-dir")
        data = stack.enter_context(folder).read(path.name) if folder is not None else None
    if data is None:
        name = path.parent.name
        hint = f"vmnet attach {name} makes one"
        raise Error(f"there is no Pod {name}: no {path}", kind=ErrorKind.FAILED, hint=hint)
    return _decoded(data, path)


def _decoded(data: bytes, path: Path) -> Record:
    try:
        version = msgspec.json.decode(data, type=_Versioned).version
        if version == VERSION:
            return msgspec.json.decode(data, type=Record)
    except (msgspec.MsgspecError, RecursionError) as error:
        message = f"{path} is not a Pod record: {error}"
        hint = f"end its guest, remove {path.parent}, and its network namespace if there is one"
        raise Error(message, kind=ErrorKind.FAILED, hint=hint) from error
    message = f"{path} is a Pod record of version {version}; this vmnet reads version {VERSION}"
    raise Error(message, kind=ErrorKind.FAILED, hint="detach the Pod with the vmnet that attached it")


def reach(path: str) -> None:
    """Connect to a launcher's socket and hang up; raises OSError when no launcher listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # others wait for it already (unix(7), EAGAIN)
            probe.connect(path)


class PodFolder:
    """A Pod's folder, open, and held for one attach or detach."""

    def __init__(self, files: StateFolder) -> None:
        self._files = files

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._files.path

    @property
    def lock(self) -> int:
        """The descriptor that holds it: whoever inherits that goes on holding it."""
        return self._files.descriptor

    @property
    def nncp_state(self) -> Path:
        """Where nncp keeps the journal of the Pod's namespace."""
        return self.path / "nncp"

    def record(self) -> Record | None:
        """Return the Pod's record, or None."""
        data = self._files.read(RECORD)
        return None if data is None else _decoded(data, self.path / RECORD)

    def write(self, record: Record) -> Record:
        """Put a record down for good: in full, or not at all."""
        self._files.write(RECORD, msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        return record

    def has_launcher(self) -> bool:
        """Whether a launcher lives in the Pod."""
        try:
            # By descriptor: the whole path may be longer than a socket's may be (unix(7), sun_path).
            reach(f"/proc/self/fd/{self._files.descriptor}/{SOCKET}")
        except OSError:
            return False
        return True

    def is_lived_in(self) -> bool:
        """Whether a launcher listens in the Pod, or anything of one still runs."""
        return self.has_launcher() or init.is_there(self.path)

    def make_room(self) -> None:
        """Remove what a launcher that has ended left: all Pods of a node share that room."""
        if not self.is_lived_in():
            for name in set(self._files.names()) - {"nncp", RECORD}:
                self._files.remove(name)

    def drop(self) -> None:
        """Forget the Pod, and what a launcher that has ended left there; one that lives keeps its files."""
        alive = self.is_lived_in()
        names = ("nncp", RECORD) if alive else sorted(self._files.names(), key=RECORD.__eq__)
        for name in names:  # the record last: while it is there, all this is done again
            self._files.remove(name)
        if not alive:
            with contextlib.suppress(FileNotFoundError):
                self.path.rmdir()


class Store:
    """The Pods of one node, a folder each."""

    def __init__(self, folder: Path = PODS) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def held(self, name: str) -> Iterator[PodFolder]:
        """Hold a Pod for one attach or detach at a time; a killed holder lets go.

        A folder without a record is gone afterwards: nothing is left of a Pod that is not there.

        Raises:
            Error: somebody else holds it and does not get further, or the folder is not ours alone.

        """
        pod_name(name)
        with self._opened(name) as files:
            folder = PodFolder(files)
            try:
                yield folder
            finally:
                if files.is_there() and not files.has(RECORD) and not folder.has_launcher():
                    folder.drop()

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[StateFolder]:
        limit = Limit(PATIENCE, in_all=IN_ALL)
        while True:
            parts = (self.folder.parent, self.folder.name, name)
            with StateFolder.make(*parts, option="--run-dir") as files:
                if files.lock():
                    yield files
                    return
                limit.sees(_last_write(files))
            if limit.is_over():
                message = f"somebody else attaches or detaches Pod {name}, and was not done {limit.story}"
                hint = f"wait for it, or end it: fuser {self.folder / name}"
                raise Error(message, kind=ErrorKind.FAILED, subject=name, hint=hint)
            time.sleep(LOOK_EVERY)


def _last_write(files: StateFolder) -> int:
    return os.fstat(files.descriptor).st_mtime_ns
