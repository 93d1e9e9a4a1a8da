"""What a guest has a say in writing down: bounded, and never worth a guest."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from launcher import log
from launcher.log import Log, older, shorten
from launcher.loop import Loop

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_log_ends_somewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "LOG_MOST", 1000)
    path = tmp_path / "launcher.log"
    written = Log(path)
    for number in range(500):
        written.write(f"line {number}")
    assert path.stat().st_size <= 1000
    assert older(path).stat().st_size <= 1000
    assert path.read_text().splitlines()[-1] == "line 499"


def test_a_full_disk_is_no_reason_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "full").symlink_to("/dev/full")
    Log(tmp_path / "full").write("x")
    Log(tmp_path / "none" / "launcher.log").write("x")
    monkeypatch.setattr(log, "LOG_MOST", 1)
    Log(tmp_path / "full").write("xxx")


def test_a_console_that_never_stops_is_shortened_while_it_is_written_to(tmp_path: Path) -> None:
    path = tmp_path / "console.log"
    with path.open("ab", buffering=0) as console:
        console.write(b"x" * 5000 + b"the end")
        shorten(path, 1000)
        assert path.stat().st_size == 0
        assert older(path).read_bytes() == b"x" * 993 + b"the end"
        console.write(b"more")  # it appends
        shorten(path, 1000)
        assert path.read_bytes() == b"more"
    shorten(tmp_path / "none", 1000)


def test_what_was_unwatched_meanwhile_is_not_called() -> None:
    """Two files can be read at once, and the first one's call ends the second's watch."""
    loop, called = Loop(), []
    pairs = [socket.socketpair() for _ in range(2)]

    def call(number: int) -> None:
        called.append(number)
        for ours, _ in pairs:
            loop.unwatch(ours)
        loop.end()

    for number, (ours, theirs) in enumerate(pairs):
        loop.watch(ours, lambda number=number: call(number))
        theirs.send(b"x")
    loop.run()
    assert len(called) == 1
    for pair in pairs:
        for end in pair:
            end.close()
