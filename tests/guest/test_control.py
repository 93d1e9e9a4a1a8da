"""Asking a launcher that takes its time, hangs, or ends; and asking it by halves."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from launcher import control
from launcher.migration.credentials import Half
from nncp import pace
from nncp.errors import Error
from vmnet import init

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def launcher(folder: Path, act: Callable[[socket.socket], None]) -> threading.Thread:
    """A launcher that takes one request and does this."""
    listener = control.listen(folder)

    def serve() -> None:
        with listener:
            while True:
                line, _ = listener.accept()
                with line:
                    if not (said := line.recv(1000)):
                        continue  # somebody looks whether it lives
                    assert said.endswith(b"\n")
                    act(line)
                    return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)


def test_a_launcher_that_works_is_waited_for(socket_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is played: it goes on by less than the patience after each word, and by far more in all."""
    now = [0.0]
    monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def act(line: socket.socket) -> None:
        for _ in range(20):
            assert control.say_working(line)
            time.sleep(0.02)
            now[0] += 0.9
        control.reply(line, {"done": True})

    launcher(socket_folder, act)
    assert control.ask(socket_folder, control.Status(), patience=1.0) == {"done": True}


def test_a_launcher_that_says_nothing_is_given_up(socket_folder: Path) -> None:
    asked = threading.Event()
    launcher(socket_folder, lambda _: asked.wait() and None)
    with pytest.raises(Error, match=r"did not answer in [\d.]+ s"):
        control.ask(socket_folder, control.Status(), patience=0.2)
    asked.set()


def test_on_a_slow_machine_a_launcher_may_be_silent_for_longer(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 50.0)

    def act(line: socket.socket) -> None:
        time.sleep(0.5)
        control.reply(line, {"done": True})

    launcher(socket_folder, act)
    assert control.ask(socket_folder, control.Status(), patience=0.2) == {"done": True}


def waiting(folder: Path) -> tuple[socket.socket, list[socket.socket]]:
    """A launcher that hangs, and as many callers as the kernel lets wait for it."""
    listener, callers = control.listen(folder), []
    with contextlib.suppress(BlockingIOError):
        while True:
            callers.append(socket.socket(socket.AF_UNIX))
            callers[-1].setblocking(False)
            callers[-1].connect(str(folder / control.SOCKET))
    return listener, callers


def test_a_launcher_that_does_not_come_round_to_anybody_is_alive_and_given_up(socket_folder: Path) -> None:
    listener, callers = waiting(socket_folder)
    assert control.is_alive(socket_folder)
    with pytest.raises(Error, match=r"did not answer in [\d.]+ s"):
        control.ask(socket_folder, control.Status(), patience=0.2)
    for file in (listener, *callers):
        file.close()
    assert not control.is_alive(socket_folder)


def test_on_a_slow_machine_a_launcher_may_take_its_time_to_accept_and_to_read(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 50.0)
    listener, callers = waiting(socket_folder)
    half = Half(1, "10.0.0.1", "source", "x" * (1 << 22), "", "", "")  # more than any buffer holds
    request = control.Leave(half, 50)

    def serve() -> None:
        time.sleep(0.5)
        for _ in callers[:-1]:
            listener.accept()[0].close()
        line, _ = listener.accept()
        time.sleep(0.5)
        with line, line.makefile("rb") as lines:
            assert control.wanted(lines.readline()) == request
            control.reply(line, {"done": True})

    threading.Thread(target=serve, daemon=True).start()
    assert control.ask(socket_folder, request, patience=0.2) == {"done": True}
    for file in (listener, *callers):
        file.close()


def test_a_launcher_that_ends_meanwhile_is_told_from_one_that_hangs(socket_folder: Path) -> None:
    launcher(socket_folder, lambda line: control.say_working(line) and None)
    with pytest.raises(Error, match="ended before it answered"):
        control.ask(socket_folder, control.Status())


@pytest.mark.parametrize(
    ("pieces", "reads"),
    [
        ([b'{"do": ', b'"status"}\n'], [None, b'{"do": "status"}']),
        ([b"one\ntwo\n"], [b"one"]),
        ([b'{"do": "sta', b""], [None, b'{"do": "sta']),
        ([b""], [b""]),
        ([b"x" * control.LONGEST], [b"x" * control.LONGEST]),
    ],
)
def test_a_request_is_read_as_it_comes_and_nobody_is_waited_for(
    pieces: list[bytes], reads: list[Any]
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = control.Request(ours)
        assert request.read() is None
        for piece, expected in zip(pieces, reads, strict=True):
            theirs.sendall(piece) if piece else theirs.close()
            assert request.read() == expected


@pytest.mark.parametrize(
    "answer",
    [
        b"[]\n",
        b"{}\n",
        b'{"version": "x"}\n',
        b'{"version": 1, "value": 3}\n',
        b"[" * 9999 + b"\n",
        b"\xff\n",
    ],
)
def test_a_launcher_that_answers_something_odd_is_told_of_in_a_sentence(
    socket_folder: Path, answer: bytes
) -> None:
    """It may be a guest's by now."""
    launcher(socket_folder, lambda line: line.sendall(answer))
    with pytest.raises(Error, match="said something odd"):
        control.ask(socket_folder, control.Status())


def test_an_answer_without_an_end_is_not_read_for_ever(socket_folder: Path) -> None:
    def act(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            for _ in range(1000):
                line.sendall(b"x" * 65536)

    launcher(socket_folder, act)
    with pytest.raises(Error, match="said something odd"):
        control.ask(socket_folder, control.Status())


def test_an_older_and_a_newer_launcher_are_refused_by_name(socket_folder: Path) -> None:
    for version, word in ((0, "older"), (7, "newer")):
        said = json.dumps({"version": version, "entirely": "different"}).encode() + b"\n"
        thread = launcher(socket_folder, lambda line, said=said: line.sendall(said))
        with pytest.raises(Error, match=f"speaks version {version} and this program version 1: it is {word}"):
            control.ask(socket_folder, control.Status())
        thread.join()


def test_a_launcher_has_one_line_for_what_it_says(socket_folder: Path) -> None:
    """One that a guest has taken over does not speak in the command's own voice."""
    told = control.Told("no\n  --> /etc/passwd:1:1\x1b[2J", "FAILED", "rm\n-rf", "a\nb")
    answer = msgspec.json.encode(control.Answer(control.VERSION, error=told)) + b"\n"
    launcher(socket_folder, lambda line: line.sendall(answer))
    with pytest.raises(Error) as caught:
        control.ask(socket_folder, control.Status())
    text = caught.value.message + caught.value.hint + caught.value.subject
    assert not {"\n", "\x1b"} & set(text)


def test_a_status_that_never_comes_is_given_up(socket_folder: Path) -> None:
    """However much is said meanwhile."""

    def act(line: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while control.say_working(line):
                time.sleep(0.02)

    launcher(socket_folder, act)
    with pytest.raises(Error, match="did not answer"):
        control.ask(socket_folder, control.Status(), in_all=0.3)


@pytest.mark.parametrize("to", ["", "10.0.0.1; add rule x", "10.0.0.1/8", "node-2"])
def test_nobody_is_asked_to_move_to_what_is_no_address(to: str) -> None:
    """It becomes a rule's text in the handler, which has rights that the launcher has not."""
    said = msgspec.json.encode(control.Leave(Half(1, "10.0.0.1", *["x"] * 5), 50))
    assert control.wanted(said)
    with pytest.raises(Error, match="is not an IP address"):
        control.wanted(said.replace(b"10.0.0.1", to.encode()))


def test_whoever_asks_and_does_not_read_holds_nobody_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                ours.send(b"x" * 65536)
        control.reply(ours, {"done": True})  # returns, though nothing more goes in
    assert ours.fileno() == -1


@pytest.fixture
def process(socket_folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Stands for a Pod's first process."""
    with subprocess.Popen(["sleep", "inf"]) as made:
        init.remember(socket_folder, made.pid)
        yield made
        made.kill()


SAYS = """
import socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
print(flush=True)
lines = []
while True:
    lines.append(listener.accept()[0])
    try:
        while sys.argv[2]:
            lines[-1].sendall(sys.argv[2].encode())
            time.sleep(0.05)
    except OSError:
        pass
"""


@pytest.mark.parametrize(
    "said",
    [
        "",
        control.WORKING.decode(),
        "{",
        '{"version": 2}\n',
        '{"version": 1, "value": {"stopped": true}}\n',
        '{"version": 1, "error": {"message": "no", "kind": "PRIVILEGE"}}\n',
    ],
    ids=["nothing", "working", "half", "another version", "a lie", "an error"],
)
def test_a_pod_is_stopped_whatever_its_launcher_says(
    socket_folder: Path, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing, or for ever that it is being worked at: what is asked for is done all the same."""
    monkeypatch.setattr(control, "PATIENCE", 0.3)
    argv = [sys.executable, "-c", SAYS, str(socket_folder / control.SOCKET), said]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        init.remember(socket_folder, launcher.pid)
        assert control.stop(socket_folder, 0.0) == {"pod": socket_folder.name, "stopped": True}
        assert launcher.wait() == -signal.SIGKILL


def test_a_pod_whose_launcher_hears_nobody_any_more_is_stopped_too(
    socket_folder: Path, process: subprocess.Popen[bytes]
) -> None:
    """One that a guest has taken over may close its socket: what holds the disk would be forgotten."""
    assert control.stop(socket_folder, 0.0) == {"pod": socket_folder.name, "stopped": True}
    assert process.wait() == -signal.SIGKILL
    assert control.stop(socket_folder, 0.0)["stopped"] is False


def test_whoever_stops_a_pod_finds_nothing_of_it_afterwards(
    socket_folder: Path, process: subprocess.Popen[bytes]
) -> None:
    asked = threading.Event()

    def stopped(line: socket.socket) -> None:
        asked.set()
        (socket_folder / control.SOCKET).unlink()
        control.reply(line, {"stopped": True})

    (socket_folder / init.FILE).unlink()
    launcher(socket_folder, stopped)
    init.remember(socket_folder, process.pid)

    def goes() -> None:
        asked.wait()
        time.sleep(0.5)
        process.kill()

    threading.Thread(target=goes, daemon=True).start()
    assert control.stop(socket_folder, 0.0) == {"stopped": True}
    assert process.poll() is not None


def test_a_pod_that_is_only_being_started_is_not_told_to_have_ended(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "PATIENCE", 0.2)
    asked = threading.Event()

    def wait(_: socket.socket) -> None:
        asked.wait()

    launcher(socket_folder, wait)
    with pytest.raises(Error, match="does not end") as refused:
        control.stop(socket_folder, 0.0)
    assert refused.value.hint == "end the command that starts it"
    asked.set()


def test_nothing_is_started_beside_what_a_launcher_left(
    socket_folder: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(init.has_ended, "__kwdefaults__", {"patience": 0.1})
    with pytest.raises(Error, match="has processes of a launcher that hears nobody any more"):
        control.listen(socket_folder)
    process.kill()
    control.listen(socket_folder).close()


def test_what_is_killed_has_ended_when_that_is_told(
    socket_folder: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """QEMU takes a while to give back its memory: a signal that works late stands for that."""

    def late(*_: object) -> None:
        threading.Timer(0.5, process.kill).start()

    monkeypatch.setattr(init.signal, "pidfd_send_signal", late)
    assert init.kill(socket_folder)
    assert process.poll() is not None


def test_a_number_that_is_somebody_elses_by_now_is_not_killed(
    socket_folder: Path, process: subprocess.Popen[bytes]
) -> None:
    known = json.loads((socket_folder / init.FILE).read_text())
    (socket_folder / init.FILE).write_text(json.dumps({**known, "began": known["began"] - 1}))
    assert not init.is_there(socket_folder)
    assert not init.kill(socket_folder)
    assert process.poll() is None
    (socket_folder / init.FILE).write_text("nonsense")
    assert not init.kill(socket_folder)
