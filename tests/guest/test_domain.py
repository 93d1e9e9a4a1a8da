"""A VirtualMachine as the domain that libvirt is given, and what is said of one that cannot be."""

from __future__ import annotations

from xml.etree.ElementTree import canonicalize, fromstring

import pytest

from launcher.domain import domain_xml
from launcher.guest import quantity, read_guest
from nncp.errors import Error
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts

VM = """\
apiVersion: kubevirt.io/v1
kind: VirtualMachine
metadata:
  name: vm
spec:
  template:
    spec:
      domain:
        firmware:
          uuid: 00000000-0000-4000-8000-000000000001
          kernelBoot:
            kernelArgs: console=ttyS0
            container:
              image: tiny
              kernelPath: /vmlinuz
              initrdPath: /initrd
        memory: {guest: 128Mi}
        devices:
          disks:
          - name: root
            disk: {bus: virtio}
          - name: seed
            disk: {bus: virtio}
          interfaces:
          - name: default
            masquerade: {}
          - name: nic-add1
            bridge: {}
      networks:
      - name: default
        pod: {}
      - name: nic-add1
        multus: {networkName: virt-bridge}
      volumes:
      - name: root
        persistentVolumeClaim: {claimName: vm-disk}
      - name: seed
        cloudInitNoCloud: {networkData: "version: 2"}
"""

NICS = [
    '<interface type="ethernet"><mac address="02:00:00:00:00:01"/></interface>',
    '<interface type="ethernet"><mac address="02:00:00:00:00:02"/></interface>',
]

DOMAIN = """\
<domain type="qemu">
  <name>default_vm</name>
  <uuid>00000000-0000-4000-8000-000000000001</uuid>
  <memory unit="B">134217728</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch="x86_64" machine="q35">hvm</type>
    <kernel>/run/bridgehead/images/tiny/vmlinuz</kernel>
    <initrd>/run/bridgehead/images/tiny/initrd</initrd>
    <cmdline>console=ttyS0</cmdline>
  </os>
  <features><acpi/><tcg><tb-cache unit="MiB">32</tb-cache></tcg></features>
  <clock offset="utc"><timer name="hpet" present="no"/></clock>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw" cache="none"/>
      <source file="/run/bridgehead/claims/vm-disk/disk.img"/>
      <target dev="vda" bus="virtio"/>
      <alias name="ua-root"/>
    </disk>
    <disk type="file" device="disk">
      <driver name="qemu" type="raw"/>
      <source file="/run/bridgehead/pod/seed.iso"/>
      <target dev="vdb" bus="virtio"/>
      <readonly/>
      <alias name="ua-seed"/>
    </disk>
    <controller type="usb" model="none"/>
    <interface type="ethernet"><mac address="02:00:00:00:00:01"/></interface>
    <interface type="ethernet"><mac address="02:00:00:00:00:02"/></interface>
    <serial type="file"><source path="/run/bridgehead/pod/console.log" append="on"/></serial>
    <memballoon model="none"/>
  </devices>
  <q:commandline xmlns:q="http://libvirt.org/schemas/domain/qemu/1.0">
    <q:arg value="-chardev"/>
    <q:arg value="socket,id=launcher,path=/run/bridgehead/pod/qmp.sock,server=off"/>
    <q:arg value="-mon"/>
    <q:arg value="chardev=launcher,mode=control"/>
    <q:arg value="-overcommit"/>
    <q:arg value="mem-lock=on"/>
  </q:commandline>
</domain>
"""


def guest(text: str = VM):  # noqa: ANN201 -- the tests read its fields
    return read_guest(read_texts([("vm.yaml", text)], bindings=BINDINGS).vm())


def same(one: str, two: str) -> bool:
    first, second = (canonicalize(text, strip_text=True, rewrite_prefixes=True) for text in (one, two))
    return first == second


def test_the_domain_of_the_slides_vm() -> None:
    assert same(domain_xml(guest(), NICS, accelerator="tcg", caches={"root": "none"}), DOMAIN)


def test_the_domain_holds_nothing_of_a_pod() -> None:
    """So that it is the same on both sides of a migration."""
    xml = domain_xml(guest(), NICS, accelerator="tcg", caches={})
    files = [element.get("file") or element.get("path") for element in fromstring(xml).iter("source")]
    assert all(file and file.startswith("/run/bridgehead/") for file in files)


def test_only_an_emulated_guests_memory_is_locked() -> None:
    said = {
        accelerator: domain_xml(guest(), NICS, accelerator=accelerator, caches={})
        for accelerator in ("tcg", "kvm")
    }
    assert {accelerator: "mem-lock" in xml for accelerator, xml in said.items()} == {
        "tcg": True,
        "kvm": False,
    }


def test_under_kvm_the_guest_sees_the_hosts_processor() -> None:
    xml = fromstring(domain_xml(guest(), NICS, accelerator="kvm", caches={}))
    cpu = xml.find("cpu")
    assert xml.get("type") == "kvm"
    assert cpu is not None
    assert cpu.get("mode") == "host-model"


@pytest.mark.parametrize(
    ("old", "new", "words", "at"),
    [
        (
            "claimName: vm-disk",
            "claim: vm-disk",
            "persistentVolumeClaim needs claimName",
            "persistentVolumeClaim:",
        ),
        (
            "persistentVolumeClaim: {claimName: vm-disk}",
            "hostDisk: {path: /x}",
            "volumes of kind hostDisk are not supported here",
            "hostDisk:",
        ),
        ("guest: 128Mi", "guest: lots", "lots is not an amount of memory", "guest: lots"),
        (
            "- name: root\n            disk",
            "- name: rot\n            disk",
            "disks[0].name 'rot' not found",
            "name: rot",
        ),
        ("kernelPath: /vmlinuz", "kernel: /vmlinuz", "kernelBoot needs container.image and", "kernelBoot:"),
        ("000000000001", "00000000000x", "is not a UUID", "uuid: "),
        (
            "root\n            disk: {bus: virtio}",
            "root\n            disk: {bus: ide}",
            "uses bus ide",
            "bus: ide",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_place(old: str, new: str, words: str, at: str) -> None:
    assert old in VM
    with pytest.raises(Error) as caught:
        guest(VM.replace(old, new, 1))
    found = [error for error in caught.value if words in error.message]
    assert len(found) == 1
    assert found[0].where is not None
    assert at in found[0].where.text
    assert found[0].where.text == VM.replace(old, new, 1).splitlines()[found[0].where.line - 1]


def test_every_error_is_said_at_once() -> None:
    text = VM.replace("guest: 128Mi", "guest: lots").replace("bus: virtio", "bus: ide")
    with pytest.raises(Error) as caught:
        guest(text)
    assert len(list(caught.value)) == 3


@pytest.mark.parametrize(
    ("text", "size"),
    [("128Mi", 134217728), ("1G", 10**9), ("4096", 4096), ("2Gi", 2 << 30), ("1.5Gi", None), ("Mi", None)],
)
def test_quantities_are_kubernetes(text: str, size: int | None) -> None:
    assert quantity(text) == size
