"""Reading a VirtualMachine manifest: every error at once, in KubeVirt's words.

The words are those of its admission webhooks (pkg/network/admitter), so that what is known of them holds
here. What is not supported is refused by name, never dropped.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from nncp.errors import raise_all
from vmnet.dhcp_fields import dhcp_faults, read_dns
from vmnet.model import (
    CIDR_KEYS,
    Bound,
    Dns,
    Interface,
    Network,
    Port,
    VirtualMachine,
)
from vmnet.names import hostname, plain_mac
from vmnet.reading import Fault, Path, read
from vmnet.shape import Manifest
from vmnet.valid import INTERFACE, LABEL, NAMESPACED, PORT_NAME, SUBDOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.document.source import Node
    from nncp.errors import Error
    from vmnet.plumbing import Binding

DEVICES: Path = ("spec", "template", "spec", "domain", "devices")
SPEC: Path = ("spec", "template", "spec")
INTERFACES: Path = (*DEVICES, "interfaces")

MODELS = ("e1000", "e1000e", "igb", "ne2k_pci", "pcnet", "rtl8139", "virtio")
BINDING_FIELDS = ("bridge", "masquerade", "sriov", "slirp", "macvtap", "passt", "passtBinding", "binding")
"""Every key by which KubeVirt lets an interface say how it is bound; each binding of ours adds its own."""

DISCONTINUED = {
    "slirp": "Slirp interface support has been discontinued since v1.3",
    "macvtap": "Macvtap network binding has been discontinued since v1.3",
    "passt": "Passt network binding has been discontinued since v1.3",
}

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}\Z")
_LONG_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){6,}\Z")
_PCI = re.compile(r"[0-9a-fA-F]{4}:[0-9a-fA-F]{2}:[01][0-9a-fA-F]\.[0-7]\Z")


def read_vm(node: Node, *, bindings: Sequence[Binding]) -> VirtualMachine:
    """Read a VirtualMachine, or raise every error that its networks have.

    Args:
        node: the document.
        bindings: the bindings there are; any other is refused by name.

    """
    faults: list[Fault] = [*_wants(node, "kubevirt.io/v1", "VirtualMachine")]
    raise_all(_errors(node, faults))
    shape, misshapen = read(node.value, Manifest)
    shape = shape or Manifest()
    faults = [*misshapen]
    faults += [fault for fault in _name_faults(shape) if not any(map(fault.is_within, misshapen))]
    spec = _get(node.value, *SPEC)
    networks, found = _many(spec, ("networks",), Network)
    faults += [fault.below(*SPEC) for fault in found]
    bound, found = _interfaces(_get(spec, "domain", "devices"), bindings)
    faults += [fault.below(*DEVICES) for fault in found]
    dns, found = read_dns(spec)
    faults += [fault.below(*SPEC) for fault in found]
    faults += _network_faults(networks)
    faults += _interface_faults(bound, networks, bindings)
    if not misshapen:
        faults += _match_faults([i for i, _ in bound], networks)
    raise_all(_errors(node, faults))
    return _vm(node, shape, bound, {network.name: network for network in networks}, dns)


def _errors(node: Node, faults: Iterable[Fault]) -> Iterator[Error]:
    name = _get(node.value, "metadata").get("name")
    subject = name if isinstance(name, str) else ""
    return (fault.error(node, subject=subject) for fault in faults)


def _vm(
    node: Node,
    shape: Manifest,
    bound: list[tuple[Interface, str]],
    networks: Mapping[str, Network],
    dns: Dns,
) -> VirtualMachine:
    nics = tuple(
        Bound(interface=interface, network=networks[interface.name], binding=binding, index=index)
        for index, (interface, binding) in enumerate(bound)
    )
    spec = shape.pod
    return VirtualMachine(
        name=shape.metadata.name,
        namespace=shape.metadata.namespace or "default",
        nics=nics,
        hostname=hostname(shape.metadata.name, spec.hostname or ""),
        node=node,
        subdomain=spec.subdomain or "",
        dns=dns,
        queues=_queues(_get(node.value, *SPEC, "domain")),
    )


def _queues(domain: Mapping[str, Any]) -> int:
    """One queue a vCPU when the VM asks for it; KubeVirt stops at what a tap can have."""
    if _get(domain, "devices").get("networkInterfaceMultiqueue") is not True:
        return 1
    cpu = _get(domain, "cpu")
    count = 1
    for part in ("cores", "sockets", "threads"):
        value = cpu.get(part)
        count *= value if isinstance(value, int) and value > 0 else 1
    return min(count, 256)


def _wants(node: Node, version: str, kind: str) -> Iterator[Fault]:
    value = node.value
    if not isinstance(value, dict) or value.get("kind") != kind:
        yield Fault(f"not a {kind}", ("kind",))
        return
    if value.get("apiVersion") != version:
        yield Fault(f"apiVersion must be {version}, got {value.get('apiVersion')}", ("apiVersion",))


def _name_faults(shape: Manifest) -> Iterator[Fault]:
    """What is wrong with what the VM is called: it names files, an instance and a domain."""
    meta, spec = shape.metadata, shape.pod
    if not meta.name:
        yield Fault("a VirtualMachine needs metadata.name", ("metadata",))
    elif not SUBDOMAIN.allows(meta.name):
        message = f"{meta.name!r} is not the name of a VirtualMachine"
        yield Fault(message, ("metadata", "name"), SUBDOMAIN.words)
    if meta.namespace and not LABEL.allows(meta.namespace):
        message = f"{meta.namespace!r} is not the name of a namespace"
        yield Fault(message, ("metadata", "namespace"), LABEL.words)
    for key, label in (("hostname", spec.hostname), ("subdomain", spec.subdomain)):
        if label and not LABEL.allows(label):
            message = f"spec.{key} does not conform to the kubernetes DNS_LABEL rules"
            yield Fault(message, (*SPEC, key), LABEL.words)


def _get(value: Any, *path: str | int) -> dict[str, Any]:
    """The mapping at `path`, empty when it is not there."""
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _many(value: Mapping[str, Any], where: Path, type_: type[Any]) -> tuple[list[Any], list[Fault]]:
    """Read the list under the last key of `where`, each element by itself."""
    elements = value.get(str(where[-1])) or []
    if not isinstance(elements, list):
        return [], []  # its shape has been told
    good, faults = [], []
    for index, element in enumerate(elements):
        got, found = read(element, type_)
        good.append(type_() if got is None else got)
        faults += [fault.below(*where, index) for fault in found]
    return good, faults


def _interfaces(
    devices: Mapping[str, Any], bindings: Sequence[Binding]
) -> tuple[list[tuple[Interface, str]], list[Fault]]:
    """Read the interfaces, the binding of each apart: its key is the binding's own affair."""
    elements = devices.get("interfaces") or []
    if not isinstance(elements, list):
        return [], []  # its shape has been told
    fields = tuple(dict.fromkeys((*BINDING_FIELDS, *(binding.name for binding in bindings))))
    found: list[tuple[Interface, str]] = []
    faults: list[Fault] = []
    for index, element in enumerate(elements):
        keys = [key for key in fields if isinstance(element, dict) and element.get(key) is not None]
        rest = {key: v for key, v in element.items() if key not in fields} if keys else element
        got, wrong = read(rest, Interface, known=fields)
        interface = Interface() if got is None else got
        wrong += _binding_faults(interface, keys, element, [binding.name for binding in bindings])
        faults += [fault.below("interfaces", index) for fault in wrong]
        found.append((interface, keys[0] if keys else ""))
    return found, faults


def _binding_faults(
    interface: Interface, keys: list[str], element: Any, known: Sequence[str]
) -> Iterator[Fault]:
    if len(keys) != 1:
        ways = " or ".join(f"{name}: {{}}" for name in known)
        hint = f"keep one of {', '.join(keys)}" if keys else f"say {ways}"
        message = f"logical {interface.name} interface must have exactly one binding method or binding plugin"
        yield Fault(message, tuple(keys[1:2]), hint, key=True)
    for key in keys:
        if key in DISCONTINUED:
            yield Fault(DISCONTINUED[key], (key,), key=True)
        elif key == "binding":
            plugin = _get(element, "binding").get("name")
            yield Fault(f"network binding plugin {plugin} is not supported here", (key, "name"))
        elif element[key] != {}:
            yield Fault(f"{key} takes no options", (key,))


def _network_faults(networks: list[Network]) -> Iterator[Fault]:
    seen: Counter[str] = Counter()
    for index, network in enumerate(networks):
        where: Path = (*SPEC, "networks", index)
        seen[network.name] += 1
        if seen[network.name] == 2:
            message = (
                f'Network with name "{network.name}" already exists, every network must have a unique name'
            )
            yield Fault(message, (*where, "name"))
        yield from (fault.below(*where) for fault in _one_network(network))
    yield from _default_faults(networks)


def _one_network(network: Network) -> Iterator[Fault]:
    if network.pod is None and network.multus is None:
        yield Fault("should have a network type", hint="say pod: {} or multus: {networkName: ...}")
    if network.pod is not None and network.multus is not None:
        yield Fault("should have only one network type", ("multus",), key=True)
    if not INTERFACE.allows(network.name):
        yield Fault(f"{network.name!r} is not the name of a network", ("name",), INTERFACE.words)
    if network.multus is not None and not network.multus.network_name:
        yield Fault("CNI delegating plugin must have a networkName", ("multus",), key=True)
    elif network.multus is not None and not NAMESPACED.allows(network.multus.network_name):
        message = f"{network.multus.network_name!r} is not the name of a NetworkAttachmentDefinition"
        yield Fault(message, ("multus", "networkName"), NAMESPACED.words)
    if network.pod is not None:
        for field, key in CIDR_KEYS.items():
            yield from _cidr_faults(getattr(network.pod, field), ("pod", key), 6 if "6" in key else 4)


def _cidr_faults(text: str, path: Path, version: int) -> Iterator[Fault]:
    if not text:
        return
    try:
        if "%" in text:  # Python takes any text for the zone of an address
            raise ValueError(text)  # noqa: TRY301
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        yield Fault(f"{text} is not a network", path)
        return
    if network.version != version:
        yield Fault(f"{text} is not an IPv{version} network", path)
    elif network.num_addresses < 4:
        yield Fault("VM CIDR subnet is too small, at least 2 host addresses are required", path)


def _default_faults(networks: list[Network]) -> Iterator[Fault]:
    pods = [i for i, network in enumerate(networks) if network.pod is not None]
    defaults = [i for i, network in enumerate(networks) if network.multus and network.multus.default]
    for i in pods[1:]:
        path = (*SPEC, "networks", i)
        yield Fault("more than one interface is connected to a pod network", path)
    for i in defaults[1:]:
        yield Fault("Multus CNI should only have one default network", (*SPEC, "networks", i, "multus"))
    if pods and defaults:
        message = "Pod network cannot be defined when Multus default network is defined"
        yield Fault(message, (*SPEC, "networks", pods[0]))


def _match_faults(interfaces: list[Interface], networks: list[Network]) -> Iterator[Fault]:
    names = Counter(interface.name for interface in interfaces)
    seen: set[str] = set()
    for index, interface in enumerate(interfaces):
        path: Path = (*DEVICES, "interfaces", index, "name")
        if interface.name not in {network.name for network in networks}:
            known = ", ".join(network.name for network in networks) or "there is none"
            dotted = f"spec.domain.devices.interfaces[{index}].name"
            yield Fault(f"{dotted} '{interface.name}' not found", path, f"networks: {known}")
        elif interface.name in seen:
            yield Fault("Only one interface can be connected to one specific network", path)
        seen.add(interface.name)
    for index, network in enumerate(networks):
        if network.name not in names:
            message = f"spec.networks[{index}].name '{network.name}' not found"
            yield Fault(
                message, (*SPEC, "networks", index, "name"), "add an interface of this name, or drop it"
            )


def _interface_faults(
    bound: list[tuple[Interface, str]], networks: list[Network], bindings: Sequence[Binding]
) -> Iterator[Fault]:
    known = {binding.name: binding for binding in bindings}
    by_name = {network.name: network for network in networks}
    macs: dict[str, str] = {}
    orders: set[int] = set()
    for index, (interface, name) in enumerate(bound):
        where: Path = (*DEVICES, "interfaces", index)
        found = [*_one_interface(interface), *_use_faults(name, by_name.get(interface.name), known)]
        found += _shared_faults(
            interface, macs, orders, reserved=known[name].reserved_mac if name in known else ""
        )
        yield from (fault.below(*where) for fault in found)


def _use_faults(name: str, network: Network | None, known: Mapping[str, Binding]) -> Iterator[Fault]:
    """What is wrong with this binding on this network."""
    if name and name not in known and name not in DISCONTINUED and name != "binding":
        names = ", ".join(known)
        yield Fault(f"binding {name} is not supported here", (name,), f"supported: {names}", key=True)
    elif name in known and network is not None and not network.is_primary and known[name].primary_only:
        yield Fault(known[name].primary_only, (name,), key=True)


def _shared_faults(
    interface: Interface, macs: dict[str, str], orders: set[int], *, reserved: str
) -> Iterator[Fault]:
    """What interfaces of one VM must not have in common with each other, or with the Pod's own bridge."""
    mac = plain_mac(interface.mac_address)
    if mac and mac in macs:
        message = f"duplicate MAC address {mac} found on interfaces: {macs[mac]}, {interface.name}"
        yield Fault(message, ("macAddress",))
    if mac and mac == reserved:
        message = "The requested MAC address is reserved for the in-pod bridge. Please choose another one"
        yield Fault(message, ("macAddress",))
    macs.setdefault(mac, interface.name)
    order = interface.boot_order
    if order is not None and order in orders:
        yield Fault(f"Boot order for {interface.name} already set for a different device", ("bootOrder",))
    if order is not None:
        orders.add(order)


def _one_interface(interface: Interface) -> Iterator[Fault]:
    name = interface.name
    if not INTERFACE.allows(name):
        words = "alphabetical characters, numbers, dashes (-) or underscores (_)"
        yield Fault(f"Network interface name can only contain {words}", ("name",), INTERFACE.words)
    if interface.model and interface.model not in MODELS:
        message = f"interface {name} uses model {interface.model} that is not supported"
        yield Fault(message, ("model",), f"supported: {', '.join(MODELS)}")
    yield from _mac_faults(interface)
    if interface.pci_address and not _PCI.match(interface.pci_address):
        yield Fault(f"interface {name} has malformed PCI address ({interface.pci_address})", ("pciAddress",))
    if interface.state == "absent":
        yield Fault(f"logical {name} interface state absent is not supported here", ("state",))
    elif interface.state not in {"", "up", "down"}:
        message = f"logical {name} interface state value is unsupported: {interface.state}"
        yield Fault(message, ("state",), "up or down")
    if interface.boot_order is not None and interface.boot_order < 1:
        yield Fault("bootOrder must be at least 1", ("bootOrder",))
    if interface.acpi_index is not None and not 1 <= interface.acpi_index <= 16383:
        yield Fault("acpiIndex must be 1 to 16383", ("acpiIndex",))
    yield from _port_faults(interface.ports)
    if interface.dhcp_options is not None:
        yield from (fault.below("dhcpOptions") for fault in dhcp_faults(interface.dhcp_options))


def _mac_faults(interface: Interface) -> Iterator[Fault]:
    text = interface.mac_address
    if not text:
        return
    if _LONG_MAC.match(text):
        yield Fault(f"interface {interface.name} has MAC address ({text}) that is too long", ("macAddress",))
    elif not _MAC.match(text):
        yield Fault(f"interface {interface.name} has malformed MAC address ({text})", ("macAddress",))
    elif int(text[:2], 16) & 1:
        message = f"interface {interface.name} has malformed MAC address ({text})"
        yield Fault(message, ("macAddress",), "the first octet is odd: that is a group address")


def _port_faults(ports: tuple[Port, ...]) -> Iterator[Fault]:
    names: set[str] = set()
    for index, port in enumerate(ports):
        where: Path = ("ports", index)
        if port.port == 0:
            yield Fault("Port field is mandatory", where)
        elif not 0 < port.port < 65536:
            yield Fault("Port field must be in range 0 < x < 65536", (*where, "port"))
        if port.protocol not in {"", "TCP", "UDP"}:
            yield Fault("Unknown protocol, only TCP or UDP allowed", (*where, "protocol"))
        if port.name and not PORT_NAME.allows(port.name):
            yield Fault(f"Invalid name of the port: {port.name}", (*where, "name"), PORT_NAME.words)
        if port.name and port.name in names:
            yield Fault(f"Duplicate name of the port: {port.name}", (*where, "name"))
        names.add(port.name)
