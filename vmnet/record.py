"""What is known about one launcher Pod, in /run/bridgehead/pods/NAME/pod.json.

Written before each step as well as after it, so that an attach or a detach that was killed is finished by the
next one; and read by the launcher, which finds here what its guest's domain and DHCP server need.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from vmnet.names import Devices, pod_name
from vmnet.plumbing import Gate, Migration, PodLink, Service

if TYPE_CHECKING:
    from collections.abc import Iterator

PODS = Path("/run/bridgehead/pods")


class Attachment(Struct, frozen=True, rename="kebab"):
    """One network of the Pod as CNI knows it.

    `conf` is the configuration that ADD was given, which DEL must be given again. `result` is None from
    before ADD until it is through: whoever finds that finishes by DEL.
    """

    network: str
    interface: str
    conf: dict[str, Any]
    mac: str = ""
    result: dict[str, Any] | None = None
    link: PodLink | None = None


class Nic(Struct, frozen=True, rename="kebab"):
    """One interface of the VM in its Pod: what its binding wanted, as far as a launcher has to know it.

    `address` is what the guest is told to be its own; empty when nobody tells it one.
    """

    name: str
    network: str
    binding: str
    mac: str
    devices: Devices
    link: PodLink
    domain: str
    services: tuple[Service, ...] = ()
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
    """A launcher Pod, between the start of its attach and the end of its detach."""

    name: str
    namespace: str
    vm: str
    uid: str
    netns: str
    owner: int = 0
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


def read_record(path: str | Path) -> Record:
    """Read a record, or raise an `Error` when there is none or it is not one."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Record)
    except FileNotFoundError:
        hint = "run vmnet attach first"
        raise Error(f"there is no Pod record at {path}", kind=ErrorKind.FAILED, hint=hint) from None
    except msgspec.DecodeError as error:
        raise Error(f"{path} is not a Pod record: {error}", kind=ErrorKind.FAILED) from error


class Store:
    """The records of one node's Pods, one folder each."""

    def __init__(self, folder: Path = PODS) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Return the file of a Pod's record."""
        return self.folder / pod_name(name) / "pod.json"

    def find(self, name: str) -> Record | None:
        """Return a Pod's record, or None."""
        return read_record(self.path(name)) if self.path(name).exists() else None

    def write(self, record: Record) -> Record:
        """Put a record down for good: in full, or not at all."""
        path = self.path(record.name)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".new")
        text = msgspec.json.format(msgspec.json.encode(record))
        with fresh.open("wb") as file:
            file.write(text + b"\n")
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        return record

    def drop(self, name: str) -> None:
        """Forget a Pod."""
        folder = self.path(name).parent
        for file in folder.glob("pod.*"):
            file.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a launcher keeps its own files there
            folder.rmdir()

    @contextlib.contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Hold a Pod for one attach or detach at a time; a killed holder lets go."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f".{pod_name(name)}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
