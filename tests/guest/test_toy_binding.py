"""A binding that no launcher knows: what it returned is in the Pod's record, and everything derives from that."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import fromstring

import msgspec
import pytest

from launcher import begin, rootfs
from launcher.begin import Start
from nncp.errors import Error
from tests.toys.binding import VM
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.names import OWNER, Devices
from vmnet.networks import bound_to
from vmnet.plumbing import Binding, Gate, Migration, Plumbing, PodLink, Service, Socket
from vmnet.record import Attachment, NetworkStatus, Nic, Record

if TYPE_CHECKING:
    from pathlib import Path

    from vmnet.plumbing import Site

DEVICES = Devices(pod="eth0", bridge="", nic="toy-nic", tap="toy0", alias="ua-default")
GATE = Gate(nic="toy-nic", tap="toy0", mac="02:00:00:00:00:05")
SERVICE = Service("toy", "toys.serve", (Socket("toy0", 69),), {"a": 1})
ELEMENT = '<interface type="toy"><target dev="toy0" /></interface>'


def plumb(site: Site) -> Plumbing:
    del site
    return Plumbing((), DEVICES, ELEMENT, services=(SERVICE,), gate=GATE, address="192.0.2.1/32")


TOY = Binding(name="toy", plumb=plumb)


@pytest.fixture(autouse=True)
def namespace_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose namespace it is has tests of its own, which need one."""
    monkeypatch.setattr(begin.namespace, "is_there", lambda _path, _key: True)


def start(
    tmp_path: Path, migration: Migration, *, source: str = "", manifest: str = VM, mac: str = GATE.mac
) -> Start:
    """Ask to start the guest of a manifest in a Pod that was attached for the toy's own."""
    (own,) = read_texts([("vm.yaml", VM)], bindings=(*BINDINGS, TOY)).vm().nics
    bound = bound_to(own)
    nic = Nic(
        name="default",
        network="pods",
        binding=TOY.name,
        mac=mac,
        devices=DEVICES,
        link=PodLink("eth0", GATE.mac, 1400),
        domain=ELEMENT,
        services=(SERVICE,),
        gate=GATE,
        migration=migration,
        address="192.0.2.1/32",
    )
    record = Record(
        "pod-1",
        "default",
        "default/vm",
        "u",
        "/run/netns/x",
        state="attached",
        attachments=(Attachment("pods", "eth0", {}, bound=bound),),
        interfaces=(nic,),
        network_status=(NetworkStatus("pods", "eth0", ips=("10.0.0.2",), default=True),),
    )
    folder = tmp_path / "pods" / "pod-1"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "pod.json").write_bytes(msgspec.json.encode(record))
    return Start(
        pod="pod-1",
        manifest=("vm.yaml", manifest),
        claims=tmp_path,
        images=tmp_path,
        source=source,
        pods=tmp_path / "pods",
        bindings=(*BINDINGS, TOY),
    )


def test_a_guest_is_started_with_what_a_toy_returned(tmp_path: Path) -> None:
    asked = start(tmp_path, Migration())
    checked = begin.check(asked)
    job = begin._job(asked, checked, has_kvm=False, half=None)
    (nic,) = fromstring(job.domain_xml).iter("interface")
    assert nic.get("type") == "toy"
    assert job.record.services == (SERVICE,)
    assert job.record.gates == (GATE,)
    sandbox = begin._sandbox(asked, checked, has_kvm=False)
    assert (sandbox.user, sandbox.shown) == (OWNER, ())
    assert isinstance(sandbox, rootfs.Sandbox)


def test_a_toy_that_is_not_to_move_is_not_taken_in(tmp_path: Path) -> None:
    with pytest.raises(Error, match="toys stay at home") as caught:
        begin.check(start(tmp_path, Migration(refusal="toys stay at home"), source="10.0.0.1"))
    assert "interfaces[0].name" in str(caught.value.path)


@pytest.mark.parametrize(
    ("said", "instead"),
    [("toy: {}", "masquerade: {}"), ("toy: {}", "toy: {}, macAddress: '02:00:00:00:00:77'"),
     ("pod: {}", "pod: {vmNetworkCIDR: 10.9.0.0/24}")],
    ids=["binding", "MAC", "network"],
)  # fmt: skip
def test_a_guest_that_is_not_what_the_pod_was_attached_for_is_not_started(
    tmp_path: Path, said: str, instead: str
) -> None:
    asked = start(tmp_path, Migration(), manifest=VM.replace(said, instead))
    with pytest.raises(Error, match="Pod pod-1 was not attached for interface default") as caught:
        begin.check(asked)
    assert caught.value.hint == "vmnet detach pod-1, then attach it for this VM"


@pytest.mark.parametrize(
    ("source", "whose"), [("10.0.0.2", "this Pod's own"), ("192.0.2.1", "the guest's own")]
)
def test_a_source_is_another_pod(tmp_path: Path, source: str, whose: str) -> None:
    with pytest.raises(Error, match=f"{source} is {whose}"):
        begin.check(start(tmp_path, Migration(), source=source))


def test_without_the_toy_the_manifest_is_refused_by_name(tmp_path: Path) -> None:
    asked = msgspec.structs.replace(start(tmp_path, Migration()), bindings=BINDINGS)
    with pytest.raises(Error, match="unknown field toy"):
        begin.check(asked)
