"""The launcher's loop beside a handler, a peer and callers that say whatever they like."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from msgspec import structs

from launcher import control, lifecycle
from launcher.lifecycle import Job, Launcher
from launcher.migration import credentials
from launcher.migration.credentials import Half
from launcher.migration.facts import Facts
from launcher.migration.states import Event, Phase
from launcher.migration.target import EXPIRES, Reception
from launcher.migration.words import Arrived, Ask, Back, Coming, Stopped, Where
from nncp.errors import Error
from nncp.pace import Limit
from tests.waiting import until
from vmnet.bindings import bridge
from vmnet.names import Devices
from vmnet.node import orders
from vmnet.plumbing import Migration, PodLink
from vmnet.record import NetworkStatus, Nic, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.clock import Clock


class Handler:
    """The Pod's node handler as far as a launcher sees it: it does nothing, and says that it is done.

    The real one is in vmnet/test_handler.py; it wants a Pod's devices.
    """

    def __init__(self) -> None:
        self.launchers, self.line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ordered: list[orders.Act] = []
        self.refuses = ""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while data := self.line.recv(orders.LARGEST):
            order = msgspec.json.decode(data, type=orders.Order)
            self.ordered += order.acts
            done = orders.Done(orders.VERSION, order.number, self.refuses)
            with contextlib.suppress(BrokenPipeError):  # the launcher has gone
                self.line.send(msgspec.json.encode(done))

    def close(self) -> None:
        self.line.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        self.line.close()


class Pod:
    """A launcher without a guest: its loop, its socket, and its handler."""

    def __init__(self, folder: Path, *, nics: tuple[Nic, ...] = (), source: str = "") -> None:
        self.folder = folder
        self.handler = Handler()
        network = NetworkStatus("pods", "eth0", default=True, ips=("127.0.0.1",))
        record = Record("pod", "default", "vm", "u", "", interfaces=nics, network_status=(network,))
        job = Job(record, "", "vm", "tcg", source=source)
        self.launcher = Launcher(job, control.listen(folder), self.handler.launchers)
        self.launcher.watch(self.launcher.node.line, self.launcher._handler_spoke)
        self.thread = threading.Thread(target=self.launcher.run, daemon=True)
        self.thread.start()

    def ask(self, asked: control.Asked) -> dict[str, Any]:
        return control.ask(self.folder, asked)

    def is_well(self) -> bool:
        return self.ask(control.Status())["phase"] == "running"

    def noted(self) -> list[str]:
        log = self.folder / "launcher.log"  # which begins with the first event
        lines = log.read_text().splitlines() if log.exists() else []
        return [json.loads(line)["event"] for line in lines]

    def close(self) -> None:
        if self.thread.is_alive():
            self.ask(control.Stop())
        self.thread.join()
        self.handler.close()


@pytest.fixture
def folder(socket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lifecycle.rootfs, "POD", socket_folder)
    monkeypatch.setattr(lifecycle, "MONITOR", str(socket_folder / "monitor.sock"))
    monkeypatch.setattr(lifecycle.daemon, "PEER", socket_folder / "peer.sock")
    monkeypatch.setattr(lifecycle.daemon, "MEMORY", socket_folder / "memory.sock")
    return socket_folder


@pytest.fixture
def pod(folder: Path) -> Iterator[Pod]:
    made = Pod(folder)
    yield made
    made.close()


def half(to: str = "127.0.0.2") -> Half:
    return credentials.issue(to=to)[1]


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"{}",
        b"[]",
        b"nonsense",
        b"\xff",
        b"[" * 60000,
        b'{"do": "status"}',
        b'{"version": 1}',
        b'{"version": 1, "do": []}',
        b'{"version": 1, "do": "dance"}',
        b'{"version": 1, "do": "migrate"}',
        b'{"version": 1, "do": "migrate", "credentials": 5, "max_downtime": 50}',
        b'{"version": 1, "do": "stop", "grace": "long"}',
        b'{"version": 1, "do": "stop", "grace": null}',
        b'{"version": 1, "do": "stop", "grace": 1e300}',
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_ends_nothing(pod: Pod, request_: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(pod.folder / control.SOCKET))
        line.sendall(request_ + b"\n")
        said = line.recv(1 << 16)
    with pytest.raises(Error, match="the command said something odd"):
        control.told(said, "the launcher")
    assert pod.is_well()


@pytest.mark.parametrize("to", ["", "a..b", "10.0.0.1; drop", "10.0.0.0/8"])
def test_credentials_for_no_address_are_refused(pod: Pod, to: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        control.Leave(half(to), 50)
    text = msgspec.json.encode(control.Leave(half(), 50)).replace(
        b'"to":"127.0.0.1"', f'"to":"{to}"'.encode()
    )
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(pod.folder / control.SOCKET))
        line.sendall(text + b"\n")
        with pytest.raises(Error, match="said something odd"):
            control.told(line.recv(1 << 16), "the launcher")
    assert pod.is_well()


def test_a_newer_command_is_refused_by_name(pod: Pod) -> None:
    with pytest.raises(Error, match="the command speaks version 9 and this program version 1: it is newer"):
        pod.ask(control.Status(version=9))
    assert pod.is_well()


def test_credentials_that_are_no_certificates_are_refused_and_end_nothing(pod: Pod) -> None:
    nonsense = Half(1, "127.0.0.1", credentials.SOURCE, "ca", "certificate", "key", "")
    with pytest.raises(Error, match="credentials"):
        pod.ask(control.Leave(nonsense, 50))
    elsewhere = Half(1, "127.0.0.1", "../../x", "ca", "certificate", "key", "")
    with pytest.raises(Error):
        pod.ask(control.Leave(elsewhere, 50))
    real = half()
    for name in ("ca", "certificate", "key"):  # one octet of a file that was carried
        spoiled = getattr(real, name).replace("A", "\xc4", 1)
        with pytest.raises(Error, match="credentials"):
            pod.ask(control.Leave(structs.replace(real, **{name: spoiled}), 50))
    assert pod.is_well()


def test_a_guest_does_not_leave_for_its_own_pod(pod: Pod) -> None:
    with pytest.raises(Error, match="these credentials lead to this very Pod"):
        pod.ask(control.Leave(half("127.0.0.1"), 50))


def test_a_guest_that_cannot_be_moved_says_so_before_anybody_asks(pod: Pod) -> None:
    pod.launcher.facts = Facts(qemu=(7, 2, 22), accelerator="tcg")
    assert "corrupts a TCG guest's memory" in pod.ask(control.Status())["cannot_move"]
    with pytest.raises(Error, match=r"the guest cannot be moved: QEMU 7\.2\.22 corrupts") as refused:
        pod.ask(control.Leave(half(), 50))
    assert "--qemu" in refused.value.hint


def test_a_bug_is_told_and_costs_no_guest(pod: Pod, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pod.launcher, "_leave", lambda *_: json.loads("no JSON"))
    with pytest.raises(Error, match="the launcher has a bug: JSONDecodeError"):
        pod.ask(control.Leave(half(), 50))
    pod.launcher.later(0.0, lambda: {}["no such key"])
    assert pod.is_well()
    until(lambda: pod.noted().count("bug") == 2, what="both are noted")


def test_work_for_which_there_is_no_thread_fails_and_ends_nothing(
    pod: Pod, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    told: list[Any] = []
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        pod.launcher.aside(lambda: None, told.append)
    assert pod.is_well()
    until(lambda: told, what="it is told")
    assert isinstance(told[0], RuntimeError)


def test_a_guest_that_has_the_pods_own_address_does_not_leave(folder: Path) -> None:
    nic = Nic(
        name="default",
        network="pods",
        binding="bridge",
        mac="02:00:00:00:00:01",
        devices=Devices("eth0", "k6t-eth0", "eth0-nic", "tap0", "ua-default"),
        link=PodLink("eth0", "02:00:00:00:00:01", 1500),
        domain="<interface/>",
        migration=Migration(bridge.POD_NETWORK),
    )
    pod = Pod(folder, nics=(nic,))
    with pytest.raises(Error, match="cannot migrate VMI which does not use masquerade"):
        pod.ask(control.Leave(half(), 50))
    assert not pod.handler.ordered
    pod.close()


def test_a_guest_is_not_moved_when_it_cannot_be_kept_from_the_ports(pod: Pod) -> None:
    pod.handler.refuses = "nft is not installed"
    with pytest.raises(Error, match="could not be kept from the migration's ports: nft is not installed"):
        pod.ask(control.Leave(half(), 50))
    assert pod.is_well()


def test_without_its_handler_a_guest_runs_on_and_is_not_moved(pod: Pod) -> None:
    pod.handler.close()
    until(lambda: "handler ended" in pod.noted(), what="the launcher hears of it")
    with pytest.raises(Error, match="handler"):
        pod.ask(control.Leave(half(), 50))
    assert pod.is_well()
    pod.handler = Handler()  # for the fixture to close


def test_a_target_without_its_handler_ends(folder: Path) -> None:
    """Nobody could open its gate."""
    pod = Pod(folder, source="127.0.0.9")
    pod.handler.close()
    pod.thread.join()
    pod.handler = Handler()
    pod.close()


def test_whoever_asks_nothing_or_hangs_up_at_once_ends_nothing(pod: Pod) -> None:
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(pod.folder / control.SOCKET))
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(pod.folder / control.SOCKET))
    assert pod.is_well()
    silent.close()


def test_a_long_way_to_go_is_no_longer_than_the_kernel_counts(pod: Pod) -> None:
    pod.launcher.later(1e9, lambda: None)
    assert pod.is_well()


class Line:
    """A source's words as a target hears them, and what it is told."""

    def __init__(self) -> None:
        self.said: list[Any] = []

    def say(self, word: Any) -> bool:
        self.said.append(word)
        return True

    def close(self) -> None: ...


class Waiting(NamedTuple):
    """A target that waits, its loop not running: each word is given to it by hand."""

    launcher: Launcher
    reception: Reception
    line: Line
    handler: Handler


@pytest.fixture
def target(folder: Path) -> Iterator[Waiting]:
    handler = Handler()
    network = NetworkStatus("pods", "eth0", default=True, ips=("127.0.0.1",))
    record = Record("pod", "default", "vm", "u", "", network_status=(network,))
    launcher = Launcher(
        Job(record, "", "vm", "tcg", source="127.0.0.2"), control.listen(folder), handler.launchers
    )
    launcher.reception = Reception(
        launcher, credentials.issue(to="127.0.0.1")[0], libvirt=folder / "libvirt-sock"
    )
    line = Line()
    launcher.reception._words = line  # type: ignore[assignment]  # what a source's connection is to it
    yield Waiting(launcher, launcher.reception, line, handler)
    handler.close()


def test_a_target_shuts_its_gate_before_anything_else_and_opens_no_port(
    target: Waiting, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher, reception, _, handler = target
    defined = SimpleNamespace(undefine=lambda: None)
    launcher.connection = SimpleNamespace(defineXML=lambda _xml: defined)
    monkeypatch.setattr("launcher.migration.target.Listener", lambda *_: SimpleNamespace(socket=handler.line))
    reception.open()
    assert handler.ordered == [orders.Close(), orders.Receive("127.0.0.2")]
    assert reception._door is None


def test_a_target_does_what_its_source_says(target: Waiting) -> None:
    launcher, reception, line, _ = target
    reception._heard(Ask())
    assert line.said[-1].phase is Phase.WAITING
    reception._heard(Where())
    assert line.said[-1] == Coming()
    reception._heard(Stopped())
    assert launcher.phase is Phase.ARRIVING
    reception.resumed(10.5, "x")
    launcher.happened(Event.RESUME)
    assert launcher.phase is Phase.RUNNING
    reception._is_measured = True
    reception._heard(Where())
    assert isinstance(line.said[-1], Arrived)
    assert line.said[-1].arrival.resumed == 10.5


def test_a_target_is_given_up_once_nobody_has_come_for_as_long_as_this_machine_takes(
    target: Waiting, clock: Clock
) -> None:
    """Nobody may come late on a slow machine; who is here already takes as long as it needs."""
    launcher, reception, _, _ = target
    asked: list[Any] = []
    launcher.aside = lambda work, then: then(work())  # type: ignore[method-assign]  # no loop runs here
    launcher.later = lambda seconds, call: asked.append((seconds, call))  # type: ignore[method-assign]
    reception._expiry = Limit(EXPIRES)
    clock.slow = 3.0
    clock.now += EXPIRES
    reception._expire()
    assert launcher.phase is Phase.WAITING
    (seconds, again) = asked.pop()
    assert seconds == pytest.approx(2 * EXPIRES)
    clock.now += seconds - 1.0
    reception._heard(Ask())
    clock.now += 2.0
    again()
    assert launcher.phase is Phase.WAITING, "somebody asks"
    clock.now += 3 * EXPIRES
    asked.pop()[1]()
    assert launcher.phase is Phase.ABANDONED


def test_a_target_whose_source_knocked_and_went_shuts_its_door_again(target: Waiting) -> None:
    _, reception, _, handler = target
    closed: list[str] = []
    first, second = (SimpleNamespace(close=lambda name=name: closed.append(name)) for name in "12")
    reception._words = None
    reception._door = second  # type: ignore[assignment]  # the timer is of one that it opened before
    reception._unless_somebody_came(first)  # type: ignore[arg-type]  # the same
    assert closed == []
    reception._unless_somebody_came(second)  # type: ignore[arg-type]  # the same
    assert closed == ["2"]
    until(lambda: orders.Receive("127.0.0.2") in handler.ordered, what="the port is shut")


def test_the_targets_half_is_nobodys_to_leave_by(pod: Pod) -> None:
    with pytest.raises(Error, match="these are not the credentials of a source"):
        pod.ask(control.Leave(credentials.issue(to="127.0.0.2")[0], 50))


def test_words_that_are_a_targets_own_mean_nothing_to_a_target(target: Waiting) -> None:
    launcher, reception, line, _ = target
    reception._heard(Coming())
    assert (launcher.phase, line.said) == (Phase.WAITING, [])


def test_a_target_whose_source_stays_closes_its_gate_again(target: Waiting) -> None:
    launcher, reception, _, handler = target
    reception._heard(Stopped())
    reception._heard(Back())
    assert launcher.phase is Phase.ABANDONED
    until(lambda: orders.Close() in handler.ordered, what="the gate is closed")
    assert handler.ordered.index(orders.Open()) < handler.ordered.index(orders.Close())
