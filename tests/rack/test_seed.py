from __future__ import annotations

import base64
import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from launcher.seed import Seed, firmware_uuid, read_seed, write_seed
from nncp.document.source import load
from nncp.errors import Error
from vmnet.rack import acts

if TYPE_CHECKING:
    from pathlib import Path

MACS = {"eth0": "02:00:00:00:00:10", "eth1": "02:00:00:00:00:11"}
HEAD = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata: {name: vm}
spec:
  template:
    spec:
      volumes:
      - name: rootdisk
        persistentVolumeClaim: {claimName: vm-disk}
      - name: cloudinitdisk
        cloudInitNoCloud:
"""
CLOUD = "spec.template.spec.volumes[1].cloudInitNoCloud"


def vm(*lines: str) -> str:
    return HEAD + "".join(f"          {line}\n" for line in lines)


def network(*lines: str) -> str:
    return vm("networkData: |", *(f"  {line}" for line in ("version: 2", "ethernets:", *lines)))


def read(text: str, macs: dict[str, str] = MACS) -> Seed | None:
    return read_seed(load(text, file="vm.yaml")[0], text=text, macs=macs)


def faults(text: str, macs: dict[str, str] = MACS) -> list[Error]:
    with pytest.raises(Error) as caught:
        read(text, macs)
    return list(caught.value)


def test_the_scenarios_seed_names_its_machine_and_passes_its_network_on() -> None:
    text = acts.manifest("tiny").read_text(encoding="utf-8")
    seed = read(text)
    assert seed is not None
    data = seed.files()
    meta = json.loads(data["meta-data"])
    assert meta["local-hostname"] == "vm"
    assert meta["instance-id"] == firmware_uuid({"metadata": {"name": "vm"}})
    assert load(data["network-config"].decode(), file="x")[0].value == {
        "version": 2,
        "ethernets": {"eth1": {"addresses": ["172.17.33.250/24"]}},
    }


def test_a_vm_without_a_seed_has_none() -> None:
    assert read(HEAD.partition("      - name: cloudinitdisk")[0]) is None


def test_a_stated_firmware_uuid_is_the_instance() -> None:
    domain = {"firmware": {"uuid": "5d307ca9-b3ef-428c-8861-06e72d69f223"}}
    manifest = {"metadata": {"name": "vm"}, "spec": {"template": {"spec": {"domain": domain}}}}
    assert firmware_uuid(manifest) == "5d307ca9-b3ef-428c-8861-06e72d69f223"


def test_a_nic_that_the_vm_does_not_have_is_told_at_its_line() -> None:
    (fault,) = faults(network("  eth7:", "    addresses: [172.17.33.250/24]"))
    assert fault.message == "the VM has no NIC eth7"
    assert fault.where is not None
    assert (str(fault.where), fault.where.text.strip()) == ("vm.yaml:15:15", "eth7:")
    assert fault.path == f"{CLOUD}.networkData: ethernets.eth7"
    assert "eth0 (02:00:00:00:00:10), eth1" in fault.hint


def test_every_fault_of_the_network_data_comes_at_once() -> None:
    text = network(
        "  eth0: {gateway4: nowhere, dhcp4: perhaps}",
        "  eth1:",
        "    addresses:",
        "    - 172.17.33.250/33",
        "    - 172.17.33.251",
        "  eth2: {}",
    )
    assert [fault.message for fault in faults(text)] == [
        "gateway4 must be an IPv4 address, got nowhere",
        "dhcp4 must be true or false, got perhaps",
        "172.17.33.250/33 is not an address with its prefix length",
        "172.17.33.251 has no prefix length",
        "the VM has no NIC eth2",
    ]


def test_a_mac_that_no_nic_has_is_told_when_all_macs_are_known() -> None:
    text = network("  any:", "    match: {macaddress: '02:00:00:00:00:99'}", "    addresses: [10.0.0.1/24]")
    assert faults(text)[0].message == "the VM has no NIC with the MAC 02:00:00:00:00:99"
    assert read(text, {"eth0": "", "eth1": ""}) is not None


def test_a_matched_nic_may_have_any_name() -> None:
    text = network("  any:", "    match: {macaddress: '02:00:00:00:00:11'}", "    set-name: eth1")
    assert read(text) is not None


@pytest.mark.parametrize(
    ("lines", "message", "hint"),
    [
        (("version: 3",), "networkData needs version: 2", ""),
        (("version: 2", "ethernet: {}"), "unknown field ethernet", "ethernets"),
        (("- version: 2",), "networkData must be a mapping", ""),
    ],
)
def test_what_is_no_network_config_is_told(lines: tuple[str, ...], message: str, hint: str) -> None:
    (fault,) = faults(vm("networkData: |", *(f"  {line}" for line in lines)))
    assert fault.message == message
    assert hint in fault.hint


def test_broken_yaml_in_the_network_data_is_told_at_its_line() -> None:
    (fault,) = faults(vm("networkData: |", "  version: 2", "  version: 2"))
    assert fault.where is not None
    assert fault.where.line == 14


def test_version_1_is_cloud_inits_own_business() -> None:
    assert read(vm("networkData: |", "  version: 1", "  config: []")) is not None


@pytest.mark.parametrize(("key", "word"), [("userData", "userdata"), ("networkData", "networkdata")])
def test_more_than_2048_bytes_are_refused_in_kubevirts_words(key: str, word: str) -> None:
    (fault,) = faults(vm(f"{key}: |", "  version: 2", "  # " + "x" * 2048))
    assert fault.message.startswith(f"cloudInitNoCloud {word} exceeds 2048 byte limit")
    assert "SecretRef for larger data." in fault.hint
    assert fault.where is not None
    assert fault.where.line == 12


def test_base64_is_read_and_measured_as_what_it_holds() -> None:
    encoded = base64.b64encode(b"version: 2\n").decode()
    seed = read(vm(f"networkDataBase64: {encoded}"))
    assert seed is not None
    assert seed.network_data == "version: 2\n"
    (fault,) = faults(vm("networkDataBase64: '%%%'"))
    assert fault.message == "networkDataBase64 is not base64 of UTF-8 text"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("userData: a", "userDataBase64: YQ=="), "cloudInitNoCloud must have only one userdata source set"),
        (("secretRef: {name: s}",), "secretRef needs a cluster that keeps the secret"),
        (("userdata: a",), "unknown field userdata"),
    ],
)
def test_a_volume_that_cannot_be_meant_is_told(lines: tuple[str, ...], message: str) -> None:
    assert faults(vm(*lines))[0].message == message


def test_a_config_drive_is_refused_by_name() -> None:
    (fault,) = faults(vm().replace("cloudInitNoCloud:", "cloudInitConfigDrive: {userData: a}"))
    assert fault.message == "cloudInitConfigDrive is not supported here"


def files_of(path: Path) -> dict[str, Any]:
    import pycdlib

    iso = pycdlib.PyCdlib()
    iso.open(str(path))
    found = {}
    for child in iso.list_children(joliet_path="/"):
        if not child.is_dir():
            name, data = child.file_identifier().decode("utf-16-be"), io.BytesIO()
            iso.get_file_from_iso_fp(data, joliet_path=f"/{name}")
            found[name] = data.getvalue()
    iso.close()
    return found


def test_the_iso_holds_the_files_and_is_labelled_cidata(tmp_path: Path) -> None:
    seed = Seed("id", "vm", user_data="#cloud-config\n", network_data="version: 2\n")
    write_seed(seed, tmp_path / "seed.iso")
    assert (tmp_path / "seed.iso").read_bytes()[32808 : 32808 + 32].decode().strip() == "cidata"
    assert files_of(tmp_path / "seed.iso") == seed.files()
    assert [path.name for path in tmp_path.iterdir()] == ["seed.iso"]


def test_a_seed_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / ".seed.iso.staging").touch(mode=0o644)
    write_seed(Seed("id", "vm", user_data="#cloud-config\npassword: x\n"), tmp_path / "seed.iso")
    assert (tmp_path / "seed.iso").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["seed.iso"]


def test_a_link_in_the_place_of_a_seed_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    (tmp_path / ".seed.iso.staging").symlink_to("theirs")
    with pytest.raises(OSError, match="symbolic links"):
        write_seed(Seed("id", "vm"), tmp_path / "seed.iso")
    assert (tmp_path / "theirs").stat().st_size == 0
