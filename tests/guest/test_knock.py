"""Who is heard at a target that listens to nobody yet."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.migration import knock
from launcher.migration.knock import Listener
from vmnet.node.migration_rules import PEER_PORT

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = b"s" * 32


@pytest.fixture
def listener() -> Iterator[Listener]:
    made = Listener(f"127.{random.randrange(1, 255)}.{random.randrange(256)}.1", SECRET)
    yield made
    made.close()


def sent(listener: Listener, data: bytes) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(data, listener.socket.getsockname())
    return listener.heard()


def test_who_has_the_key_is_heard_once(listener: Listener) -> None:
    address, port = listener.socket.getsockname()
    assert port == PEER_PORT
    knock.knock(address, SECRET)
    assert listener.heard()
    again = knock.packed(SECRET, 1 << 62)
    assert sent(listener, again)
    assert not sent(listener, again)
    assert not sent(listener, knock.packed(SECRET, 5)), "an older one was kept back and sent later"


def test_nobody_else_is_heard(listener: Listener) -> None:
    good = knock.packed(SECRET, 7)
    assert not sent(listener, knock.packed(b"t" * 32, 7))
    for place in range(len(good)):
        odd = bytearray(good)
        odd[place] ^= 1
        assert not sent(listener, bytes(odd))
    for odd in (good[:-1], good + b"x", b""):
        assert not sent(listener, odd)
    assert sent(listener, good)


@given(st.binary(max_size=200))
def test_no_datagram_is_a_knock_by_accident(data: bytes) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        listener = Listener.__new__(Listener)
        listener.socket, listener._secret, listener._last = ours, SECRET, 0
        theirs.send(data)
        assert not listener.heard()


def test_nothing_to_hear_is_nothing_heard(listener: Listener) -> None:
    assert not listener.heard()
