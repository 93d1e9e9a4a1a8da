"""TLS between two launchers: who gets in, what passes, and what nobody is held up by."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import random
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography import x509
from msgspec import structs

from launcher.loop import Loop
from launcher.migration import channel, credentials, words
from launcher.migration.channel import Door, Forwarder, Line, Words
from launcher.migration.credentials import TARGET, Half
from launcher.migration.facts import Facts
from launcher.migration.states import Phase
from launcher.migration.words import Ask, Back, Ready, Stopped
from nncp.errors import Error
from tests.waiting import until
from vmnet.node.migration_rules import PEER_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator


class Side:
    """A target's door in a loop of its own, and what came through it."""

    def __init__(self, half: Half, address: str) -> None:
        self.address = address
        self.loop = Loop()
        self.came: list[tuple[str, Line]] = []
        self.refused: list[str] = []
        context = credentials.context(half)
        self.door = Door(address, context, self.loop, lambda *it: self.came.append(it), self.refused.append)
        self.thread = threading.Thread(target=self.loop.run, daemon=True)
        self.thread.start()

    def words(self) -> Words:
        until(lambda: self.came, what="somebody comes in")
        return Words(self.came.pop()[1])

    def close(self) -> None:
        self.loop.later(0, self.loop.end)
        self.loop._wake.send(b"x")
        self.thread.join()
        self.door.close()


@pytest.fixture
def halves() -> tuple[Half, Half]:
    return credentials.issue(to="127.0.0.1")


@pytest.fixture
def source(halves: tuple[Half, Half]) -> ssl.SSLContext:
    return credentials.context(halves[1])


@pytest.fixture
def side(halves: tuple[Half, Half]) -> Iterator[Side]:
    address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.1"
    made = Side(halves[0], address)
    yield made
    made.close()


def heard(line: Words) -> list[Any]:
    found: list[Any] = []
    until(lambda: found.extend(line.hear() or ()) or found, what="a word")
    return found


def test_words_pass_both_ways_and_what_is_odd_is_dropped(side: Side, source: ssl.SSLContext) -> None:
    ours = Words(channel.connect(side.address, source, "words"))
    theirs = side.words()
    assert ours.say(Ask())
    assert heard(theirs) == [Ask()]
    assert theirs.say(Ready(Phase.WAITING, Facts(mtus={"x": 1500})))
    assert heard(ours) == [Ready(Phase.WAITING, Facts(mtus={"x": 1500}))]
    for odd in (
        b"",
        b"[]",
        b"{}",
        b'{"word": "dance"}',
        b'{"word": "ready", "phase": 3}',
        b"\xff",
        b"[" * 9999,
    ):
        theirs.socket.sendall(theirs.line.sealed(odd + b"\n"))
    theirs.say(Stopped())
    assert heard(ours) == [Stopped()]
    theirs.close()
    until(lambda: ours.hear() is None, what="it hangs up")
    ours.close()


def test_the_last_words_before_it_hangs_up_are_heard(side: Side, source: ssl.SSLContext) -> None:
    ours = Words(channel.connect(side.address, source, "words"))
    theirs = side.words()
    assert ours.say(Back())
    ours.close()
    assert heard(theirs) == [Back()]
    until(lambda: theirs.hear() is None, what="the end")
    theirs.close()


def test_a_line_without_an_end_is_hung_up_on(side: Side, source: ssl.SSLContext) -> None:
    line = channel.connect(side.address, source, "words")
    theirs = side.words()

    def flood() -> None:
        with contextlib.suppress(OSError):
            while True:
                line.send(b"x" * 65536)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    until(lambda: theirs.hear() is None, what="it is given up")
    theirs.close()
    thread.join()


def test_whoever_does_not_read_holds_nobody_up(side: Side, source: ssl.SSLContext) -> None:
    channel.connect(side.address, source, "words")
    theirs = side.words()
    for _ in range(1_000_000):
        if not theirs.say(Back()):
            break
    else:
        pytest.fail("everything was taken")
    theirs.close()


def stranger() -> ssl.SSLContext:
    """The credentials of another migration."""
    context = credentials.context(credentials.issue(to="127.0.0.1")[1])
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def nameless() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("who", [stranger, nameless])
def test_nobody_else_gets_in(side: Side, who: Any) -> None:
    with pytest.raises((OSError, Error)):
        channel.connect(side.address, who(), "words")
    until(lambda: side.refused, what="it is refused")
    assert not side.came


def test_nobody_else_is_taken_for_the_target(source: ssl.SSLContext) -> None:
    target, _ = credentials.issue(to="127.0.0.1")
    side = Side(target, f"127.1.{random.randrange(256)}.1")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        channel.connect(side.address, source, "words")
    side.close()


def test_the_source_is_not_taken_for_a_target_though_the_same_ca_signed_it(
    halves: tuple[Half, Half], source: ssl.SSLContext
) -> None:
    side = Side(structs.replace(halves[1], name=TARGET), f"127.2.{random.randrange(256)}.1")
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        channel.connect(side.address, source, "words")
    side.close()


def test_nothing_older_than_tls_1_3_is_spoken_and_no_session_is_taken_up_again(
    side: Side, halves: tuple[Half, Half]
) -> None:
    old = credentials.context(halves[1])
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(OSError, match="ALERT_PROTOCOL_VERSION"):
        channel.connect(side.address, old, "words")
    assert not side.came
    line = channel.connect(side.address, credentials.context(halves[1]), "words")
    assert line._tls.version() == "TLSv1.3"
    side.words().close()
    with contextlib.suppress(OSError):  # tickets come behind the handshake
        line.line()
    session = line._tls.session
    assert session is None or not session.has_ticket
    line.close()


def test_the_credentials_hold_where_the_nodes_clocks_differ_and_not_for_ever(
    halves: tuple[Half, Half],
) -> None:
    now = dt.datetime.now(dt.UTC)
    for half in halves:
        for text in (half.ca, half.certificate):
            made = x509.load_pem_x509_certificate(text.encode())
            assert made.not_valid_before_utc < now - dt.timedelta(hours=23)
            assert now + dt.timedelta(days=1) < made.not_valid_after_utc < now + dt.timedelta(days=31)


def test_what_is_no_tls_any_more_is_hung_up_on(side: Side, source: ssl.SSLContext) -> None:
    """Right behind the hello, and later."""
    for with_the_hello in (True, False):
        line = channel.connect(side.address, source, "words")
        theirs = side.words()
        if not with_the_hello:
            assert theirs.hear() == []
        line.socket.sendall(b"\x17\x03\x03\x00\x20" + os.urandom(32))
        until(lambda theirs=theirs: theirs.hear() is None, what="it is hung up on")
        theirs.close()
        line.close()


def test_whoever_drips_has_no_longer_than_who_is_silent(
    side: Side, source: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TRY_S", 1.0)
    with socket.create_connection((side.address, PEER_PORT)) as plain:
        plain.sendall(b"\x16\x03\x01\x40\x00")

        def drips() -> bool:
            with contextlib.suppress(OSError):
                plain.sendall(b"\x00")
            return bool(side.refused)

        until(drips, what="it is refused")


def test_silent_callers_are_hung_up_on_and_keep_nobody_out(
    side: Side, source: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "TRY_S", 3.0)
    silent = [socket.create_connection((side.address, PEER_PORT)) for _ in range(3 * Door.MOST)]
    until(lambda: side.door._busy == Door.MOST, what="as many as may are heard")
    hung_up = silent[Door.MOST :]
    for one in hung_up:
        one.settimeout(60)
        assert one.recv(1) == b"", "beyond that nobody waits"
    until(lambda: len(side.refused) >= Door.MOST, what="they are refused")
    monkeypatch.setattr(channel, "TRY_S", 5.0)

    def gets_in() -> bool:
        with contextlib.suppress(OSError):  # others that were silent are still there
            silent.append(channel.connect(side.address, source, "words").socket)
            return True
        return False

    until(gets_in, what="whoever speaks gets in")
    side.words().close()
    for one in silent:
        one.close()


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (b'{"version": 7, "new": true}', "speaks version 7 and this program version 1: it is newer"),
        (b'{"version": 0}', "it is older"),
        (b'{"version": 1, "purpose": "more"}', "said something odd"),
        (b"nonsense", "said something odd"),
    ],
)
def test_another_version_is_refused_by_name_on_both_sides(
    side: Side, source: ssl.SSLContext, hello: bytes, said: str
) -> None:
    plain = socket.create_connection((side.address, PEER_PORT))
    with source.wrap_socket(plain, server_hostname=TARGET) as line:
        line.sendall(hello + b"\n")
        welcome = msgspec.json.decode(line.recv(4096), type=words.Welcome)
    assert said in welcome.refusal
    until(lambda: side.refused, what="it is refused")
    assert said in side.refused[0]


def test_what_libvirt_says_reaches_the_other_sides_socket_byte_by_byte(
    side: Side, source: ssl.SSLContext, socket_folder: Path
) -> None:
    loop = side.loop
    forwarder = Forwarder(
        socket_folder / "peer.sock", loop, lambda: channel.connect(side.address, source, "libvirt")
    )
    loop._wake.send(b"x")  # it watches one more file now
    ours = socket.socket(socket.AF_UNIX)
    ours.connect(str(socket_folder / "peer.sock"))
    until(lambda: side.came, what="somebody comes in")
    purpose, line = side.came.pop()
    assert purpose == "libvirt"
    plain, daemon = socket.socketpair()
    thread = threading.Thread(target=channel.pump, args=(line, plain), daemon=True)
    thread.start()
    there, back = random.randbytes(3 << 20), random.randbytes(3 << 20)
    got: dict[str, bytes] = {"there": b"", "back": b""}

    def read(name: str, source: socket.socket, size: int) -> None:
        while len(got[name]) < size:
            got[name] += source.recv(1 << 16)

    readers = [
        threading.Thread(target=read, args=("there", daemon, len(there)), daemon=True),
        threading.Thread(target=read, args=("back", ours, len(back)), daemon=True),
    ]
    for reader in readers:
        reader.start()
    writer = threading.Thread(target=daemon.sendall, args=(back,), daemon=True)
    writer.start()
    ours.sendall(there)
    for one in (*readers, writer):
        one.join()
    assert got == {"there": there, "back": back}
    ours.close()
    thread.join()
    assert daemon.recv(1) == b""
    daemon.close()
    forwarder.close()


def test_a_daemon_whose_peer_cannot_be_reached_is_hung_up_on(socket_folder: Path) -> None:
    loop = Loop()

    def reach() -> Line:
        raise ConnectionRefusedError

    forwarder = Forwarder(socket_folder / "peer.sock", loop, reach)
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(str(socket_folder / "peer.sock"))
        forwarder._came()
        assert ours.recv(1) == b""
    forwarder.close()


def test_the_sources_half_is_one_file_that_only_its_owner_reads(
    tmp_path: Path, halves: tuple[Half, Half]
) -> None:
    path = tmp_path / "half.json"
    path.symlink_to(tmp_path / "elsewhere")  # what somebody else laid there is not written through
    halves[1].save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "elsewhere").exists()
    assert credentials.load(path) == halves[1]
    assert "PRIVATE KEY" not in halves[1].ca + halves[1].certificate


def test_a_device_is_not_replaced_by_a_secret_and_nothing_without_an_end_is_read(
    tmp_path: Path, halves: tuple[Half, Half]
) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(Error, match="not a plain file"):
        halves[1].save(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(Error, match="not a plain file"):
            credentials.load(path)
    halves[1].save(tmp_path / "half.json")
    text = (tmp_path / "half.json").read_text()
    (tmp_path / "half.json").write_text(text.replace('"to":"127.0.0.1"', '"to":"nonsense"'))
    with pytest.raises(Error, match="names no address of a target: 'nonsense'"):
        credentials.load(tmp_path / "half.json")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1}', "{" * 9999])
def test_a_file_that_is_no_half_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "half.json").write_text(text)
    with pytest.raises(Error, match=r"half\.json"):
        credentials.load(tmp_path / "half.json")
    with pytest.raises(Error, match="cannot be read"):
        credentials.load(tmp_path / "none")
