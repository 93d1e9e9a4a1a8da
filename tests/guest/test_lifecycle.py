"""The launcher's loop beside a peer and callers that say whatever they like."""

from __future__ import annotations

import json
import random
import select
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from launcher import control, lifecycle
from launcher.lifecycle import Job, Launcher
from launcher.migration.states import WORD_PORT
from nncp.errors import Error
from tests.waiting import until
from vmnet.record import NetworkStatus, Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEEP = b"[" * 4096
NONSENSE = [
    b"",
    b"\xff",
    DEEP,
    b"[]",
    b"{}",
    b'{"word": 5}',
    b'{"word": []}',
    b'{"word": "stopped", "x": ' + DEEP[30:],
]
ANSWERS: list[dict[str, Any]] = [
    {"word": "ready"},
    {"word": "ready", "phase": "waiting"},
    {"word": "ready", "phase": [], "facts": {}},
    {"word": "ready", "phase": "waiting", "facts": {"qemu": "new"}},
    {"word": "arrived"},
]


def is_readable(file: socket.socket) -> bool:
    return bool(select.select([file], [], [], 0)[0])


class Pod:
    """A launcher without a guest: its loop, its socket, and its peer's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address, self.there = (
            f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{n}" for n in (1, 2)
        )
        network = NetworkStatus("pods", "eth0", default=True, ips=(self.address,))
        record = Record("pod", "default", "vm", "u", "", network_status=(network,))
        self.machine = Launcher(Job(record, "", "vm", "tcg"), control.listen(folder))
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind((self.there, WORD_PORT))
        self.thread = threading.Thread(target=self.machine.run, daemon=True)
        self.thread.start()

    def ask(self, **request: Any) -> dict[str, Any]:
        return control.ask(self.folder, request)

    def say(self, data: bytes) -> None:
        self.peer.sendto(data, (self.address, WORD_PORT))

    def heard(self) -> Any:
        """What the launcher said to its peer."""
        until(lambda: is_readable(self.peer))
        return json.loads(self.peer.recv(4096))

    def is_well(self) -> bool:
        talk = self.machine.peer
        assert talk is not None
        until(lambda: not is_readable(talk.socket) or not self.thread.is_alive())
        return self.thread.is_alive() and self.ask(do="status")["phase"] == "running"


@pytest.fixture
def pod(socket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pod]:
    monkeypatch.setattr(lifecycle.sandbox, "POD", socket_folder)
    monkeypatch.setattr(lifecycle, "MONITOR", str(socket_folder / "monitor.sock"))
    monkeypatch.setattr(lifecycle.priority, "hurry", lambda: None)
    made = Pod(socket_folder)
    yield made
    made.ask(do="stop")
    made.thread.join()
    made.peer.close()
    assert made.machine.peer is not None
    made.machine.peer.socket.close()


@pytest.mark.parametrize("known", [False, True])
def test_no_datagram_ends_a_guest(pod: Pod, *, known: bool) -> None:
    assert pod.machine.peer is not None
    pod.machine.peer.address = pod.there if known else "127.0.0.1"
    for data in NONSENSE:
        pod.say(data)
    for word in ANSWERS:
        pod.say(json.dumps(word).encode())
    assert pod.is_well()


def test_a_target_that_answers_nonsense_is_asked_again(pod: Pod) -> None:
    caught: list[Error] = []

    def migrate() -> None:
        try:
            pod.ask(do="migrate", to=pod.there, max_downtime=50, timeout=None)
        except Error as error:
            caught.append(error)

    caller = threading.Thread(target=migrate, daemon=True)
    caller.start()
    for word in ANSWERS:
        assert pod.heard() == {"word": "ask"}
        pod.say(json.dumps(word).encode())
    assert pod.is_well()
    pod.say(json.dumps({"word": "ready", "phase": "gone", "facts": {}}).encode())
    until(lambda: caught)
    assert caught[0].message == f"the target Pod at {pod.there} is gone"


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"do": []},
        {"do": "dance"},
        {"do": "migrate"},
        {"do": "migrate", "to": 5, "max_downtime": 50},
        {"do": "migrate", "to": "a..b", "max_downtime": 50},
        {"do": "migrate", "to": "10.0.0.1", "max_downtime": "long"},
        {"do": "migrate", "to": "10.0.0.1", "max_downtime": 50, "timeout": 1e300},
        {"do": "stop", "grace": "long"},
        {"do": "stop", "grace": None},
        {"do": "stop", "grace": float("nan")},
    ],
)
def test_a_request_that_makes_no_sense_is_refused_and_ends_nothing(
    pod: Pod, request_: dict[str, Any]
) -> None:
    with pytest.raises(Error, match="the launcher does not take this request"):
        pod.ask(**request_)
    assert pod.is_well()


def test_a_long_way_to_go_is_no_longer_than_the_kernel_counts(pod: Pod) -> None:
    pod.machine.later(1e9, lambda: None)
    assert pod.is_well()
