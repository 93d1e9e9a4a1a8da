"""KubeVirt's device names, and the addresses that belong to devices of ours.

A network's devices are named after its name in the VM, not after its NetworkAttachmentDefinition: the
names are then the same in every Pod that the VM will ever have, and a migration rewrites nothing.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from vmnet.valid import SUBDOMAIN

PRIMARY = "eth0"
"""The Pod network's device (every container runtime calls it that)."""

OWNER = 64055
"""Who may open a guest's tap: Debian's fixed user and group id of libvirt-qemu (base-passwd), as which a QEMU
without privilege runs."""
NOBODY = 65534
"""The user of the node's handlers: one that owns nothing, neither the node's files nor a guest's."""

_POD_INTERFACE = re.compile(r"pod[0-9a-f]{11}\Z")


def pod_name(name: str) -> str:
    """Return a Pod's name, which becomes a folder's; raise an `Error` when Kubernetes would not have it."""
    if not SUBDOMAIN.allows(name):
        message = f"{name!r} is not the name of a Pod"
        raise Error(message, kind=ErrorKind.USAGE, hint=SUBDOMAIN.words)
    return name


def hostname(vm: str, wanted: str = "") -> str:
    """Return a guest's hostname: the wanted one, else as much of its VM's name as a label holds.

    As KubeVirt makes it (pkg/network/dns, SanitizeHostname).
    """
    return wanted or vm.partition(".")[0][:63].rstrip("-")


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
    return beside(PRIMARY if primary else f"pod{digest(network)}", alias=f"ua-{network}")


def beside(interface: str, *, alias: str = "") -> Devices:
    """Return the names of the devices that stand beside an interface of a Pod."""
    x = interface.removeprefix("pod")
    tap = "tap0" if interface == PRIMARY else f"tap{x}"
    return Devices(pod=interface, bridge=f"k6t-{x}", nic=f"{x}-nic", tap=tap, alias=alias)


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
