"""Any value at any place of a manifest, and any file behind its paths: read, or told at its place."""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from launcher import storage
from launcher.guest import read_guest
from launcher.seed import read_seed
from nncp.document.source import load
from nncp.errors import Error
from tests.vmnet.hostile import CONFIG, NAD, SPEC, TEXTS, VM, document, nad, paths, place, read_all, told
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.manifest import read_vm

if TYPE_CHECKING:
    from pathlib import Path

# Anything anywhere

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(10**30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def everything() -> Any:
    """A VM in which every field that is read is there."""
    value = document(VM)
    spec = value["spec"]["template"]["spec"]
    value["metadata"]["namespace"] = "default"
    spec |= {"hostname": "x", "dnsConfig": {"nameservers": ["10.0.0.1"], "searches": ["a.b"]}}
    domain = spec["domain"]
    domain["firmware"]["uuid"] = "00000000-0000-4000-8000-000000000001"
    domain |= {
        "cpu": {"cores": 1, "sockets": 1, "threads": 1},
        "machine": {"type": "q35"},
        "resources": {"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    domain["devices"] |= {"rng": {}, "networkInterfaceMultiqueue": True}
    domain["devices"]["disks"][0] |= {"bootOrder": 1, "cache": "none", "serial": "x"}
    domain["devices"]["interfaces"][0] |= {
        "ports": [{"name": "web", "port": 80}],
        "dhcpOptions": {"ntpServers": ["10.0.0.1"], "privateOptions": [{"option": 224, "value": "x"}]},
        "bootOrder": 2,
        "acpiIndex": 1,
    }
    spec["networks"][0]["pod"] = {"vmNetworkCIDR": "10.0.2.0/24", "vmIPv6NetworkCIDR": "fd10:0:2::/120"}
    return value


WHOLE = everything()


def test_a_vm_with_every_field_is_read() -> None:
    vm, guest, seed = read_all(WHOLE)
    assert (vm.hostname, vm.dns.searches, guest.rng, guest.disks[0].serial) == ("x", ("a.b",), True, "x")
    assert seed is not None


@given(path=st.sampled_from([p for p in paths(WHOLE) if p]), value=ANYTHING)
@example(path=("spec", "template", "spec", "dnsConfig", "nameservers"), value=5)
@example(path=("spec", "template", "spec", "volumes"), value=5)
@example(path=("spec", "template", "spec", "domain", "memory", "guest"), value="1" * 5000)
def test_whatever_stands_anywhere_in_a_vm_is_read_or_told(path: tuple[Any, ...], value: Any) -> None:
    spoiled = place(WHOLE, path, value)
    text = json.dumps(spoiled)
    try:
        (node,) = load(text, file="vm.json")
    except Error:
        return
    with contextlib.suppress(Error):
        seed = read_seed(node, text=text, macs={"eth0": ""})
        assert seed is None or seed.files()
    try:
        vm = read_vm(node, bindings=BINDINGS)
        read_guest(vm)
    except Error as error:
        told(error)


NETWORK_DATA: dict[str, Any] = {
    "version": 2,
    "ethernets": {
        "eth1": {
            "addresses": ["10.0.0.2/24"],
            "gateway4": "10.0.0.1",
            "dhcp4": True,
            "match": {"macaddress": "x"},
        },
    },
}  # fmt: skip -- a document


@given(path=st.sampled_from(list(paths(NETWORK_DATA))), value=ANYTHING)
def test_whatever_stands_anywhere_in_network_data_is_read_or_told(path: tuple[Any, ...], value: Any) -> None:
    data = json.dumps(place(NETWORK_DATA, path, value) if path else value)
    where = (*SPEC, "volumes", 1, "cloudInitNoCloud", "networkData")
    text = json.dumps(place(document(VM), where, data))
    (node,) = load(text, file="vm.json")
    with contextlib.suppress(Error):
        read_seed(node, text=text, macs={"eth0": "", "eth1": "02:00:00:00:00:01"})


@given(data=st.data())
def test_whatever_stands_anywhere_in_a_nad_is_read_or_told(data: st.DataObject) -> None:
    value = document(NAD)
    path = data.draw(st.sampled_from([p for p in paths(value) if p]))
    spoiled = place(value, path, data.draw(ANYTHING))
    with contextlib.suppress(Error):
        read_texts([("nad.json", json.dumps(spoiled))], bindings=BINDINGS)
    config = CONFIG | {"ipam": {"type": "static"}, "plugins": [dict(CONFIG)]}
    path = data.draw(st.sampled_from([p for p in paths(config) if p]))
    with contextlib.suppress(Error):
        nad(place(config, path, data.draw(ANYTHING)))


@pytest.mark.parametrize(
    ("path", "value", "at"),
    [
        (("metadata", "name"), 5, "metadata.name"),
        (("metadata",), [], "metadata"),
        (SPEC, "x", "spec.template.spec"),
        ((*SPEC, "networks"), {}, "spec.template.spec.networks"),
        ((*SPEC, "hostname"), ["x"], "spec.template.spec.hostname"),
        ((*SPEC, "hostname"), "a.b", "spec.template.spec.hostname"),
        ((*SPEC, "domain"), 5, "spec.template.spec.domain"),
        ((*SPEC, "dnsConfig", "nameservers"), 5, "spec.template.spec.dnsConfig.nameservers"),
        ((*SPEC, "dnsConfig", "nameservers"), [5], "spec.template.spec.dnsConfig.nameservers[0]"),
        ((*SPEC, "dnsConfig", "nameservers"), ["fe80::1%;x"], "spec.template.spec.dnsConfig.nameservers[0]"),
        ((*SPEC, "dnsConfig", "searches"), ["a b"], "spec.template.spec.dnsConfig.searches[0]"),
        (
            (*SPEC, "networks", 0, "pod", "vmNetworkCIDR"),
            5,
            "spec.template.spec.networks[0].pod.vmNetworkCIDR",
        ),
        ((*SPEC, "domain", "devices", "rng"), [], "spec.template.spec.domain.devices.rng"),
        ((*SPEC, "domain", "devices", "disks"), {}, "spec.template.spec.domain.devices.disks"),
        ((*SPEC, "domain", "devices", "disks", 0), 5, "spec.template.spec.domain.devices.disks[0]"),
        ((*SPEC, "domain", "firmware", "kernelBoot"), "x", "spec.template.spec.domain.firmware.kernelBoot"),
        ((*SPEC, "domain", "memory", "guest"), [], "spec.template.spec.domain.memory.guest"),
        ((*SPEC, "volumes", 0, "name"), 5, "spec.template.spec.volumes[0].name"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_at_its_place_once(
    path: tuple[Any, ...], value: Any, at: str
) -> None:
    with pytest.raises(Error) as caught:
        read_all(place(WHOLE, path, value))
    assert [error.path for error in caught.value].count(at) == 1, [str(e) for e in caught.value]


# Files


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    claims, images = tmp_path / "claims", tmp_path / "images"
    (claims / "vm-disk").mkdir(parents=True)
    (claims / "vm-disk" / "disk.img").write_bytes(bytes(4096))
    (images / "tiny").mkdir(parents=True)
    for name in ("vmlinuz-6", "initrd"):
        (images / "tiny" / name).touch()
    (images / "tiny" / "vmlinuz").symlink_to("vmlinuz-6")
    (tmp_path / "secret").touch()
    return claims, images


def missing(folders: tuple[Path, Path]) -> list[tuple[str, str]]:
    (node,) = load(VM, file="vm.yaml")
    guest = read_guest(read_vm(node, bindings=BINDINGS))
    found = storage.missing(guest, node, claims=folders[0], images=folders[1])
    return [(error.path.rpartition(".")[2], error.message) for error in found]


def test_a_link_to_a_file_beside_it_is_that_file(folders: tuple[Path, Path]) -> None:
    assert missing(folders) == []


@pytest.mark.parametrize("target", ["../../secret", "/etc/shadow", "../other/x", "loop"])
def test_a_link_that_leads_out_of_its_image_or_claim_is_refused(
    folders: tuple[Path, Path], target: str
) -> None:
    claims, images = folders
    (images / "other").mkdir()
    (images / "other" / "x").touch()
    for path in (images / "tiny" / "vmlinuz", images / "tiny" / "initrd", claims / "vm-disk" / "disk.img"):
        path.unlink()
        path.symlink_to(path.name if target == "loop" else target)
    found = missing(folders)
    assert [key for key, _ in found] == ["claimName", "kernelPath", "initrdPath"]
    assert all("leads out of" in said or "not" in said for _, said in found)


def test_what_is_no_file_is_refused(folders: tuple[Path, Path]) -> None:
    """QEMU would wait for ever at a pipe."""
    path = folders[1] / "tiny" / "initrd"
    path.unlink()
    os.mkfifo(path)
    assert missing(folders) == [("initrdPath", "initrd is not a file")]


def test_a_folder_of_images_may_be_a_link_itself(folders: tuple[Path, Path]) -> None:
    claims, images = folders
    (images / "tiny").rename(claims.parent / "built")
    (images / "tiny").symlink_to(claims.parent / "built")
    assert missing(folders) == []
