from __future__ import annotations

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.errors import Error
from vmnet.names import (
    device_mac,
    devices,
    digest,
    guest_mac,
    host_veth,
    is_launcher_interface,
    plain_mac,
    pod_name,
)
from vmnet.valid import DOMAIN

KUBEVIRT = {
    "blue": "16477688c0e",
    "linux-bridge": "72ad293a5c9",
    "default": "37a8eec1ce1",
    "secondary": "c0f69e19ba2",
    "red": "b1f51a511f1",
    "nic-add1": "b6e7df19490",  # the slides' own
}


@pytest.mark.parametrize(("network", "x"), KUBEVIRT.items())
def test_hashes_are_kubevirts(network: str, x: str) -> None:
    assert digest(network) == x


def test_the_hash_is_what_sha256sum_says() -> None:
    said = subprocess.run(
        ["sha256sum"], input="linux-bridge", text=True, capture_output=True, check=True
    ).stdout
    assert digest("linux-bridge") == said[:11]


def test_secondary_devices_are_named_after_the_network() -> None:
    names = devices("linux-bridge", primary=False)
    assert (names.pod, names.bridge, names.nic, names.tap, names.alias) == (
        "pod72ad293a5c9",
        "k6t-72ad293a5c9",
        "72ad293a5c9-nic",
        "tap72ad293a5c9",
        "ua-linux-bridge",
    )


def test_primary_devices_are_named_after_eth0() -> None:
    names = devices("default", primary=True)
    assert (names.pod, names.bridge, names.nic, names.tap) == ("eth0", "k6t-eth0", "eth0-nic", "tap0")


@given(st.text(min_size=1))
def test_every_name_fits_the_kernel(network: str) -> None:
    names = devices(network, primary=False)
    assert all(len(name) <= 15 for name in (names.pod, names.bridge, names.nic, names.tap))
    assert is_launcher_interface(names.pod)
    assert len(host_veth(network, "net1")) <= 15


@given(st.text(), st.text(), st.text())
def test_derived_macs_are_local_unicast_and_of_different_kinds(a: str, b: str, c: str) -> None:
    guest, device = guest_mac(a, b, c), device_mac(a, b)
    for mac in (guest, device):
        assert int(mac[:2], 16) & 3 == 2
    assert guest[:2] != device[:2]
    assert guest_mac(a, b, c) == guest


def test_other_names_are_not_a_launchers() -> None:
    assert not any(
        map(is_launcher_interface, ("eth0", "net1", "podman0", "pod72ad293a5c", "pod72ad293a5c99"))
    )


def test_macs_are_written_as_the_kernel_writes_them() -> None:
    assert plain_mac("02-AB-cd-00-11-22") == "02:ab:cd:00:11:22"


@pytest.mark.parametrize("name", ["a", "virt-launcher-vm-x7f2k", "a.b-c.1", "a" * 253])
def test_a_pod_has_a_name_of_kubernetes(name: str) -> None:
    assert pod_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "/etc",
        "-a",
        "a-",
        "a..b",
        "a.",
        "A",
        "a b",
        "a\n",
        "a\0",
        "\u00e9",
        "a" * 254,
    ],
)
def test_what_would_be_another_folder_is_no_name_of_a_pod(name: str) -> None:
    with pytest.raises(Error, match="is not the name of a Pod"):
        pod_name(name)


@pytest.mark.parametrize(
    "name", ["local", "_tcp.example", "a" * 63, ".".join(["a" * 61] * 4)[:253].rstrip(".")]
)
def test_a_domain_can_be_searched(name: str) -> None:
    assert DOMAIN.allows(name)


@pytest.mark.parametrize(
    "name", ["", ".", "a.", "a..b", "-a", "a-", "A", "\u00e9", "a" * 64, "a." * 127 + "a"]
)
def test_what_dns_cannot_look_up_is_no_domain(name: str) -> None:
    assert not DOMAIN.allows(name)
