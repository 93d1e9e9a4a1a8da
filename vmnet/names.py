"""KubeVirt's device names, and the addresses that belong to devices of ours.

A network's devices are named after its name in the VM, not after its NetworkAttachmentDefinition: the
names are then the same in every Pod that the VM will ever have, and a migration rewrites nothing.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

from nncp.errors import Error, ErrorKind

PRIMARY = "eth0"
"""The Pod network's device (every container runtime calls it that)."""

QEMU_USER = 64055
"""Debian's libvirt-qemu, a number that it gives to nobody else on any machine (base-passwd, README)."""

_POD_INTERFACE = re.compile(r"pod[0-9a-f]{11}\Z")


_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\Z")
_DOMAIN_LABEL = re.compile(r"[_a-z0-9](?:[-_a-z0-9]{0,61}[a-z0-9])?\Z")


def is_label(text: str) -> bool:
    """Whether `text` is a label of RFC 1123, as Kubernetes has it: what a Pod's hostname must be."""
    return len(text) <= 63 and re.match(rf"{_LABEL}\Z", text) is not None


def is_subdomain(text: str) -> bool:
    """Whether `text` is a subdomain of RFC 1123, as Kubernetes has it: what an object's name must be."""
    return len(text) <= 253 and _SUBDOMAIN.match(text) is not None


def is_port_name(text: str) -> bool:
    """Whether `text` may name a port: a service name of RFC 6335 (5.1), in small letters as in Kubernetes."""
    return len(text) <= 15 and re.match(r"(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*\Z", text) is not None


def is_domain(text: str) -> bool:
    """Whether DNS could look up names in `text`: labels of up to 63, 253 in all (RFC 1035, 2.3.4).

    Small letters only; an underscore may lead a label (`_tcp`), as KubeVirt allows in what is searched.
    """
    return len(text) <= 253 and all(_DOMAIN_LABEL.match(label) for label in text.split("."))


def pod_name(name: str) -> str:
    """Return a Pod's name, which becomes a folder's; raise an `Error` when Kubernetes would not have it.

    It is a DNS subdomain of RFC 1123, of at most 253 characters.
    """
    if not is_subdomain(name):
        message = f"{name!r} is not the name of a Pod"
        hint = "small letters, digits, - and . between them, at most 253 characters"
        raise Error(message, kind=ErrorKind.USAGE, hint=hint)
    return name


class Devices(Struct, frozen=True):
    """The devices of one VM interface inside its Pod, and its alias in the domain XML."""

    pod: str
    bridge: str
    nic: str
    tap: str
    alias: str


def digest(network: str) -> str:
    """Return KubeVirt's 11 hex digits for a network: the most that keep `k6t-X` within IFNAMSIZ - 1."""
    return hashlib.sha256(network.encode()).hexdigest()[:11]


def devices(network: str, *, primary: bool) -> Devices:
    """Return the device names of a VM network; `primary` is the one on the Pod's own eth0."""
    alias = f"ua-{network}"
    if primary:
        return Devices(pod=PRIMARY, bridge="k6t-eth0", nic="eth0-nic", tap="tap0", alias=alias)
    x = digest(network)
    return Devices(pod=f"pod{x}", bridge=f"k6t-{x}", nic=f"{x}-nic", tap=f"tap{x}", alias=alias)


def is_launcher_interface(name: str) -> bool:
    """Whether a CNI interface name is one that KubeVirt gives to a VM's secondary network."""
    return _POD_INTERFACE.match(name) is not None


def guest_mac(namespace: str, vm: str, network: str) -> str:
    """Return the MAC of a VM interface that names none: a function of the VM, so that every Pod agrees."""
    return _mac("02", f"{namespace}/{vm}/{network}")


def device_mac(pod_uid: str, network: str) -> str:
    """Return the MAC of `X-nic` and `k6t-X` in one Pod: never a guest's, never in a MAC pool's 02 range."""
    return _mac("06", f"{pod_uid}/{network}")


def host_veth(container: str, interface: str) -> str:
    """Return the name of the node's end of a Pod's veth: derived, so that it is found again after a crash."""
    return "veth" + hashlib.sha256(f"{container}/{interface}".encode()).hexdigest()[:8]


def plain_mac(text: str) -> str:
    """Return a MAC as the kernel writes it: lower case, colons."""
    return text.lower().replace("-", ":")


def mac_bytes(text: str) -> bytes:
    """Return the six octets of a MAC."""
    return bytes.fromhex(text.replace(":", ""))


def _mac(first: str, seed: str) -> str:
    tail = hashlib.sha256(seed.encode()).hexdigest()[:10]
    return ":".join((first, *(tail[i : i + 2] for i in range(0, 10, 2))))
