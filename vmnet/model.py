"""What a user writes about a VM's networks: the part of KubeVirt's VirtualMachine that vmnet reads.

The fields are KubeVirt's (kubevirt.io/v1, spec.template.spec); `vmnet.manifest` reads and checks them.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from nncp.document.source import Node

CIDR_KEYS = {"vm_network_cidr": "vmNetworkCIDR", "vm_ipv6_network_cidr": "vmIPv6NetworkCIDR"}


class Port(Struct, frozen=True, forbid_unknown_fields=True):
    """A port that masquerade forwards: `{name: web, protocol: TCP, port: 80}`."""

    port: int = 0
    name: str = ""
    protocol: str = "TCP"


class PrivateOption(Struct, frozen=True, forbid_unknown_fields=True):
    """A DHCP option of the site's own, 224 to 254."""

    option: int
    value: str


class DhcpOptions(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Further DHCP options: `{bootFileName: x, tftpServerName: y, ntpServers: [10.0.0.1]}`."""

    boot_file_name: str = ""
    tftp_server_name: str = ""
    ntp_servers: tuple[str, ...] = ()
    private_options: tuple[PrivateOption, ...] = ()

    def lease(self) -> dict[str, Any]:
        """Return these options as fields of a `lease.Lease`."""
        return {
            "boot_file": self.boot_file_name,
            "tftp_server": self.tftp_server_name,
            "ntp_servers": self.ntp_servers,
            "private": tuple((option.option, option.value) for option in self.private_options),
        }


class Interface(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """How a VM is connected (KubeVirt calls it the frontend).

    interfaces:
    - name: default
      masquerade: {}
    - name: nic-add1
      bridge: {}
      macAddress: 02:11:22:33:44:55
    """

    name: str = ""
    model: str = ""
    mac_address: str = ""
    ports: tuple[Port, ...] = ()
    state: str = ""
    boot_order: int | None = None
    pci_address: str = ""
    acpi_index: int | None = None
    tag: str = ""
    dhcp_options: DhcpOptions | None = None


class PodNetwork(Struct, frozen=True, rename=CIDR_KEYS, forbid_unknown_fields=True):
    """The Pod's own network; the ranges are the guest's behind masquerade."""

    vm_network_cidr: str = ""
    vm_ipv6_network_cidr: str = ""


class MultusNetwork(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """A network that a NetworkAttachmentDefinition describes, `[namespace/]name`."""

    network_name: str = ""
    default: bool = False


class Network(Struct, frozen=True, forbid_unknown_fields=True):
    """What a VM is connected to (KubeVirt calls it the backend).

    networks:
    - name: default
      pod: {}
    - name: nic-add1
      multus: {networkName: virt-bridge}
    """

    name: str = ""
    pod: PodNetwork | None = None
    multus: MultusNetwork | None = None

    @property
    def is_primary(self) -> bool:
        """Whether it is the network of the Pod's eth0."""
        return self.pod is not None or (self.multus is not None and self.multus.default)


class Dns(Struct, frozen=True, forbid_unknown_fields=True):
    """What a Pod's dnsConfig names; empty means what the node says. DHCP has no words for `options`."""

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[Any, ...] = ()


class Bound(Struct, frozen=True):
    """One interface with its network and the name of its binding: what an attach works through."""

    interface: Interface
    network: Network
    binding: str
    index: int


class VirtualMachine(Struct, frozen=True):
    """The networks of a `kubevirt.io/v1` VirtualMachine; `node` is the whole manifest."""

    name: str
    namespace: str
    nics: tuple[Bound, ...]
    hostname: str
    node: Node
    subdomain: str = ""
    dns: Dns = Dns()
    queues: int = 1
