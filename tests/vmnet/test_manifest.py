from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.document.source import load
from nncp.errors import Error
from tests.vmnet.hostile import paths
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts

HERE = Path(__file__).parent / "manifests"
VM = (HERE / "vm.yaml").read_text()


def errors(text: str) -> list[Error]:
    with pytest.raises(Error) as caught:
        read_texts([("vm.yaml", text)], bindings=BINDINGS)
    return list(caught.value)


def test_the_slides_vm_is_read() -> None:
    vm = read_texts([("vm.yaml", VM)], bindings=BINDINGS).vm()
    assert [(nic.interface.name, nic.binding, nic.network.is_primary) for nic in vm.nics] == [
        ("default", "masquerade", True),
        ("nic-add1", "bridge", False),
    ]
    assert (vm.name, vm.namespace, vm.hostname, vm.queues) == ("vm", "default", "vm", 1)


def test_multiqueue_follows_the_vcpus() -> None:
    text = VM.replace("domain:\n", "domain:\n        cpu: {cores: 2, sockets: 2}\n").replace(
        "devices:\n", "devices:\n          networkInterfaceMultiqueue: true\n"
    )
    assert read_texts([("vm.yaml", text)], bindings=BINDINGS).vm().queues == 4


# What is spoiled, the line that the error must stand on (by its text), and the message.
SPOILED = [
    (
        "bridge: {}",
        "bridge: {}\n            masquerade: {}",
        "masquerade: {}",
        "logical nic-add1 interface must have exactly one binding method or binding plugin",
    ),
    (
        "masquerade: {}",
        "model: virtio",
        "- name: default",
        "logical default interface must have exactly one binding method or binding plugin",
    ),
    (
        "networks:\n      - name: default",
        "networks:\n      - name: other",
        "- name: default",
        "spec.domain.devices.interfaces[0].name 'default' not found",
    ),
    ("masquerade: {}", "slirp: {}", "slirp: {}", "Slirp interface support has been discontinued since v1.3"),
    ("masquerade: {}", "sriov: {}", "sriov: {}", "binding sriov is not supported here"),
    ("masquerade: {}", "passtBinding: {}", "passtBinding", "binding passtBinding is not supported here"),
    (
        "masquerade: {}",
        "binding: {name: l2}",
        "binding: {name: l2}",
        "network binding plugin l2 is not supported here",
    ),
    (
        "            bridge: {}",
        "            masquerade: {}",
        "            masquerade: {}",
        "Masquerade interface only implemented with pod network",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            macAddress: 02:00:00:00:00:00",
        "macAddress",
        "The requested MAC address is reserved for the in-pod bridge. Please choose another one",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            macAddress: 02:00:zz",
        "macAddress",
        "interface nic-add1 has malformed MAC address (02:00:zz)",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            macAddress: 02:00:00:00:00:00:00:01",
        "macAddress",
        "interface nic-add1 has MAC address (02:00:00:00:00:00:00:01) that is too long",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            macAddress: 01:00:5e:00:00:01",
        "macAddress",
        "interface nic-add1 has malformed MAC address (01:00:5e:00:00:01)",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            model: ne2000",
        "model",
        "interface nic-add1 uses model ne2000 that is not supported",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            state: sideways",
        "state",
        "logical nic-add1 interface state value is unsupported: sideways",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            pciAddress: 00:01",
        "pciAddress",
        "interface nic-add1 has malformed PCI address (00:01)",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            ports: [{port: 70000}]",
        "ports",
        "Port field must be in range 0 < x < 65536",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            ports: [{name: web}]",
        "ports",
        "Port field is mandatory",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            ports: [{port: 80, protocol: SCTP}]",
        "ports",
        "Unknown protocol, only TCP or UDP allowed",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            dhcpOptions: {ntpServers: [pool.ntp.org]}",
        "ntpServers",
        "NTP servers must be a list of valid IPv4 addresses",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            dhcpOptions: {privateOptions: [{option: 12, value: x}]}",
        "privateOptions",
        "provided DHCPPrivateOptions are out of range, must be in range 224 to 254",
    ),
    (
        "bridge: {}",
        "bridge: {}\n            macAdress: 02:00:00:00:00:01",
        "macAdress",
        "unknown field macAdress",
    ),
    ("bridge: {}", "bridge: {}\n            bootOrder: first", "bootOrder", "expected int | null, got str"),
    ("        pod: {}", "        pods: {}", "pods: {}", "unknown field pods"),
    (
        "        pod: {}",
        "        pod: {}\n        multus: {networkName: x}",
        "multus: {networkName: x}",
        "should have only one network type",
    ),
    (
        "        pod: {}",
        "        pod: {vmNetworkCIDR: 10.0.2.0/31}",
        "vmNetworkCIDR",
        "VM CIDR subnet is too small, at least 2 host addresses are required",
    ),
    (
        "          networkName: virt-bridge",
        "          default: false",
        "multus:",
        "CNI delegating plugin must have a networkName",
    ),
    (
        "          networkName: virt-bridge",
        "          networkName: virt-bridge\n          default: true",
        "name: default",
        "Pod network cannot be defined when Multus default network is defined",
    ),
    (
        "      - name: nic-add1\n        multus",
        "      - name: default\n        multus",
        "- name: default",
        'Network with name "default" already exists, every network must have a unique name',
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            ports: [{port: 80, name: Web}]",
        "ports",
        "Invalid name of the port: Web",
    ),
    (
        "masquerade: {}",
        "masquerade: {}\n            dhcpOptions: {bootFileName: grün}",
        "bootFileName",
        "bootFileName must be at most 255 printable characters of ASCII",
    ),
    (
        "masquerade: {}",
        f"masquerade: {{}}\n            dhcpOptions: {{tftpServerName: {'t' * 256}}}",
        "tftpServerName",
        "tftpServerName must be at most 255 printable characters of ASCII",
    ),
    (
        "masquerade: {}",
        f"masquerade: {{}}\n            dhcpOptions: {{privateOptions: [{{option: 224, value: {'ä' * 128}}}]}}",
        "privateOptions",
        "the value of option 224 must be at most 255 octets of UTF-8",
    ),
    *(
        (
            "    spec:\n",
            f"    spec:\n      hostname: {hostname}\n",
            f"hostname: {hostname}",
            "spec.hostname does not conform to the kubernetes DNS_LABEL rules",
        )
        for hostname in ("Gast", "gäst", "a.b", "-a", "a" * 64)
    ),
    (
        "    spec:\n",
        "    spec:\n      subdomain: a.b\n",
        "subdomain: a.b",
        "spec.subdomain does not conform to the kubernetes DNS_LABEL rules",
    ),
    ("name: vm\n", "name: VM\n", "name: VM", "'VM' is not the name of a VirtualMachine"),
    *(
        ("    spec:\n", f"    spec:\n      dnsConfig: {config}\n", "dnsConfig", message)
        for config, message in (
            ("8.8.8.8", "expected object, got str"),
            ("{nameservers: 8.8.8.8}", "expected array, got str"),
            ("{nameservers: [8]}", "expected str, got int"),
            ("{nameserver: [8.8.8.8]}", "unknown field nameserver"),
            ("{nameservers: [1.2.3.c]}", "must be valid IP address: 1.2.3.c"),
            ("{nameservers: ['fe80::1%eth0']}", "must be valid IP address: fe80::1%eth0"),
            (
                "{nameservers: [1.2.3.4, 5.6.7.8, 9.8.0.1, 2.3.4.5]}",
                "must not have more than 3 nameservers: [1.2.3.4 5.6.7.8 9.8.0.1 2.3.4.5]",
            ),
            ("{searches: {a: b}}", "expected array, got object"),
            ("{searches: [a, b, c, d, e, f, g]}", "must not have more than 6 search paths"),
            ("{searches: ['foo,com']}", "'foo,com' is not a domain that can be searched"),
            (f"{{searches: [{'a' * 64}]}}", f"'{'a' * 64}' is not a domain that can be searched"),
            (
                f"{{searches: [{', '.join('.'.join('a' * 60 for _ in range(2)) for _ in range(3))}]}}",
                "must not have more than 256 characters (including spaces) in the search list",
            ),
        )
    ),
    (
        "v1\nkind",
        "v1alpha3\nkind",
        "apiVersion",
        "apiVersion must be kubevirt.io/v1, got kubevirt.io/v1alpha3",
    ),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), SPOILED, ids=[row[3][:60] for row in SPOILED])
def test_a_spoiled_vm_is_refused_in_kubevirts_words(old: str, new: str, line: str, message: str) -> None:
    text = VM.replace(old, new, 1)
    assert text != VM
    found = {error.message: error for error in errors(text)}
    assert message in found, list(found)
    where = found[message].where
    assert where is not None
    assert line in text.splitlines()[where.line - 1]
    assert found[message].path


def test_one_fault_is_told_once() -> None:
    (error,) = errors(VM.replace("    spec:\n", "    spec:\n      dnsConfig: {nameservers: [8]}\n", 1))
    assert error.path == "spec.template.spec.dnsConfig.nameservers[0]"


SAID = """\
      hostname: {hostname}
      dnsConfig:
        nameservers: [8.8.8.8, 'fd00::10']
        searches: [Example.COM., _tcp.example.com]
        options: [{{name: ndots, value: '5'}}]
"""


def test_what_a_guest_is_told_by_dhcp_is_read() -> None:
    vm = read_texts(
        [("vm.yaml", VM.replace("    spec:\n", "    spec:\n" + SAID.format(hostname="gast"), 1))],
        bindings=BINDINGS,
    ).vm()
    assert vm.hostname == "gast"
    assert vm.dns.nameservers == ("8.8.8.8", "fd00::10")
    assert vm.dns.searches == ("example.com", "_tcp.example.com")


NAMES = [("web.shop.example", "web"), ("a" * 70, "a" * 63), ("a" * 62 + "-b", "a" * 62)]


@pytest.mark.parametrize(("name", "hostname"), NAMES)
def test_a_guest_without_a_hostname_is_called_by_its_name_up_to_the_first_dot(
    name: str, hostname: str
) -> None:
    vm = read_texts([("vm.yaml", VM.replace("name: vm", f"name: {name}", 1))], bindings=BINDINGS).vm()
    assert vm.hostname == hostname


@pytest.mark.parametrize("name", ["http", "a-1", "8080-tcp", "a" * 15])
def test_a_port_may_be_called_as_kubernetes_allows(name: str) -> None:
    text = VM.replace(
        "masquerade: {}", f"masquerade: {{}}\n            ports: [{{port: 80, name: {name}, protocol: ''}}]"
    )
    vm = read_texts([("vm.yaml", text)], bindings=BINDINGS).vm()
    assert vm.nics[0].interface.ports[0].name == name


@pytest.mark.parametrize("name", ["'80'", "a--b", "-a", "a-", "a" * 16, "a_b"])
def test_a_port_is_not_called_otherwise(name: str) -> None:
    text = VM.replace("masquerade: {}", f"masquerade: {{}}\n            ports: [{{port: 80, name: {name}}}]")
    (error,) = errors(text)
    assert error.message.startswith("Invalid name of the port: ")


def test_every_error_is_told_at_once() -> None:
    text = VM.replace("bridge: {}", "bridge: {}\n            model: x\n            macAddress: y", 1)
    text = text.replace("        pod: {}", "        pods: {}")
    assert len(errors(text)) >= 4


def test_a_misspelt_key_gets_a_proposal() -> None:
    (error,) = errors(VM.replace("bridge: {}", "bridge: {}\n            macAdress: 02:00:00:00:00:01", 1))
    assert error.hint == "did you mean macAddress?"


def test_two_interfaces_of_one_mac_are_refused() -> None:
    mac = "\n            macAddress: 02:11:22:33:44:55"
    text = VM.replace("masquerade: {}", "masquerade: {}" + mac).replace("bridge: {}", "bridge: {}" + mac)
    (error,) = errors(text)
    assert error.message == "duplicate MAC address 02:11:22:33:44:55 found on interfaces: default, nic-add1"


OPTIONS = (
    "{bootFileName: x, tftpServerName: y, ntpServers: [10.0.0.1], privateOptions: [{option: 224, value: z}]}"
)

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(data=st.data())
def test_whatever_stands_anywhere_in_a_vm_is_read_or_told_as_an_error(data: st.DataObject) -> None:
    text = VM.replace("    spec:\n", "    spec:\n" + SAID.format(hostname="gast"), 1)
    text = text.replace("masquerade: {}", "masquerade: {}\n            dhcpOptions: " + OPTIONS, 1)
    document = load(text, file="vm.yaml")[0].value
    path = data.draw(st.sampled_from([p for p in paths(document) if p]))
    inner = document
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = data.draw(ANYTHING)
    with contextlib.suppress(Error):
        read_texts([("vm.json", json.dumps(document))], bindings=BINDINGS)


def test_what_stands_beside_a_wrong_element_of_a_list_is_told_too() -> None:
    text = VM.replace(
        "      networks:\n", "      dnsConfig: {nameservers: [false, x, 0, 1.1.1.1]}\n      networks:\n"
    )
    assert [error.message for error in errors(text)] == [
        "expected str, got bool",
        "expected str, got int",
    ]
