"""Probes by programs that behave badly, and what becomes of who asks."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from asking import after, before, children, descriptors, probes
from deadly import in_child

from nncp.errors import Error, ErrorKind
from nncp.render import render_error
from tests.waiting import is_gone, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

# ── programs ──


def test_what_failed_before_is_left_out(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path
) -> None:
    asked = probes("ping:192.0.2.1", program("echo x >> ran; exit 3"))
    (told,) = before(asked).values()
    assert told.startswith("it ended with 3 (1 attempt ")
    assert after(asked) == []
    assert (tmp_path / "ran").read_text() == "x\n"


def test_each_failure_is_told(wire: Namespace, program: Callable[[str], str]) -> None:
    check = program("echo first; echo; echo 'last  words'; echo; exit 7")
    with pytest.raises(Error, match="2 of 3 probes failed after the change") as raised:
        probes("ping:192.0.2.77", "ping:192.0.2.1", check).after(lambda: None)
    ping, exec_ = raised.value.others
    assert ping.message.startswith("probe ping:192.0.2.77: 192.0.2.77 answers no echo (")
    assert exec_.message.startswith(f"probe {check}: it ended with 7, and said last: last  words (")
    assert exec_.hint == f"run {check.removeprefix('exec:')} by hand"


def test_it_is_tried_until_it_succeeds_and_we_say_meanwhile_that_it_goes_on(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path
) -> None:
    pulses = []

    def pulse() -> None:
        pulses.append(1)
        if len(pulses) == 5:
            (tmp_path / "there").touch()

    check = program(
        "echo x >> ran; if [ -e ran2 ]; then while [ ! -e there ]; do sleep 0.01; done; else touch ran2; exit 1; fi"
    )
    assert after(probes(check, limit=60), pulse) == []
    assert len(pulses) >= 5
    assert (tmp_path / "ran").read_text() == "x\nx\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yes | head -c 30000000; echo; echo end; exit 1", "it ended with 1, and said last: end"),
        ("exec sleep 10000", "it did not end"),
        ("exec yes", "it did not end, and said last: y"),
        ("trap '' TERM INT HUP; while :; do sleep 1; done", "it did not end"),
        ("exec >&- 2>&-; exec sleep 10000", "it did not end"),
        ("kill -9 0", "it was ended by signal 9"),
        ("kill -USR1 $PPID; exit 5", "it ended with 5"),
        ("kill -TERM $$", "it was ended by signal 15"),
        ("trap '' TERM; kill -TERM 0; read word || exit 4", "it ended with 4"),
        ("sleep 10000 & echo $! > left; exit 5", "it ended with 5"),
        ("setsid sleep 10000 & echo $! > left; sleep 0.2; exit 5", "it ended with 5"),
        (r"printf '\033[2J\r\033]0;x\007'; exit 1", r"it ended with 1, and said last: \x1b]0;x\x07"),
        ("head -c 100000 /dev/zero | tr '\\0' a; exit 1", f"it ended with 1, and said last: {'a' * 200}"),
        (r"printf 'a\377'; exit 1", "it ended with 1, and said last: a\N{REPLACEMENT CHARACTER}"),
        ("echo /proc/$$/fd/*; exit 1", "it ended with 1, and said last: /proc/PID/fd/"),
    ],
)
def test_a_program_may_behave_as_badly_as_it_likes(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path, text: str, told: str
) -> None:
    check = program(text)
    (found,) = probes(check).before()
    assert render_error(Error(found.why)).removeprefix("error: ").startswith(told.partition("PID")[0])
    left = tmp_path / "left"
    assert not left.exists() or is_gone(left.read_text().strip())


def test_what_one_attempt_leaves_is_gone_at_the_next(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path
) -> None:
    check = program(
        "if [ -e left ]; then grep State /proc/$(cat left)/status > then; exit 0; fi; "
        "sleep 10000 & echo $! > left; exit 1"
    )
    assert after(probes(check, limit=60)) == []
    assert "S (sleeping)" not in (tmp_path / "then").read_text()


def test_a_program_that_cannot_be_run_is_told(wire: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "check"
    path.write_bytes(b"\x7fELF")
    path.chmod(0o755)
    (told,) = before(probes(f"exec:{path}")).values()
    assert "Exec format error" in told


def test_a_program_has_nothing_of_ours(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path
) -> None:
    """None of our descriptors; a session of its own; and no signal is ignored."""
    check = program(
        "ls -l /proc/$$/fd > fds; "
        "cut -d' ' -f5,6 /proc/$$/stat > session; grep SigIgn /proc/$$/status > signals; "
        "echo $$ > pid"
    )
    former = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with (tmp_path / "lock").open("w") as lock, socket.socketpair()[0] as line:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for ours in (lock, line):
            os.set_inheritable(ours.fileno(), True)
        try:
            assert before(probes(check)) == {}
        finally:
            signal.signal(signal.SIGTERM, former)
    pid = (tmp_path / "pid").read_text().strip()
    lines = (tmp_path / "fds").read_text().splitlines()
    fds = {line.split()[-3]: line.split()[-1] for line in lines if " -> " in line}
    assert set(fds.values()) - {fds["2"]} == {os.devnull, str(tmp_path / "fds"), check.removeprefix("exec:")}
    assert fds["0"] == os.devnull
    assert fds["2"].startswith("pipe:")
    assert (tmp_path / "session").read_text().split() == [pid, pid]
    assert {line.split()[1] for line in (tmp_path / "signals").read_text().splitlines()} == {"0" * 16}


def test_a_program_hears_all_signals(wire: Namespace, tmp_path: Path) -> None:
    path = tmp_path / "check"  # and not by the shell, which sees to it by itself
    told = "[line for line in open('/proc/self/status') if line.startswith('SigBlk')]"
    path.write_text(f"#!{sys.executable} -IS\nraise SystemExit({told}[0])\n")
    path.chmod(0o755)
    (why,) = before(probes(f"exec:{path}")).values()
    assert why.startswith(f"it ended with 1, and said last: SigBlk:\t{'0' * 16} (")


# ── who asks ──


@pytest.mark.parametrize("what", ["pulse", "signal"])
def test_who_is_interrupted_leaves_nothing(
    wire: Namespace, program: Callable[[str], str], tmp_path: Path, what: str
) -> None:
    check = program("setsid sleep 10000 & echo $! > left; trap '' INT TERM HUP; while :; do sleep 1; done")
    held, handler = descriptors(), signal.getsignal(signal.SIGINT)

    def pulse() -> None:
        if (tmp_path / "left").exists() and (tmp_path / "left").read_text().strip():
            if what == "pulse":
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        probes(check, "ping:192.0.2.77", "dns:localhost", limit=1000).after(pulse)
    assert children() == []
    assert is_gone((tmp_path / "left").read_text().strip())
    assert descriptors() == held
    assert signal.getsignal(signal.SIGINT) is handler


def test_who_is_interrupted_at_the_start_leaves_nothing(
    wire: Namespace, program: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, caller, held = os.fork, os.getpid(), descriptors()

    def interrupted() -> int:
        pid = fork()
        if os.getpid() == caller:
            os.kill(caller, signal.SIGINT)
        return pid

    monkeypatch.setattr(os, "fork", interrupted)
    with pytest.raises(KeyboardInterrupt):
        probes(program("sleep 10000"), limit=1000).after(lambda: None)
    assert children() == []
    assert descriptors() == held


def test_no_signal_is_lost(wire: Namespace, program: Callable[[str], str]) -> None:
    heard: list[int] = []
    former = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))

    def pulse() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        raise EOFError

    try:
        with pytest.raises(EOFError):
            probes(program("sleep 10000"), limit=1000).after(pulse)
    finally:
        signal.signal(signal.SIGUSR1, former)
    assert heard == [signal.SIGUSR1]


@pytest.mark.parametrize("who", ["caller", "keeper"])
def test_who_is_killed_takes_all_with_it(
    host: Namespace, wire: Namespace, program: Callable[[str], str], tmp_path: Path, who: str
) -> None:
    check = program("sleep 10000 & echo $! > left; echo $$ > main; echo $PPID > keeper; wait")

    def killed() -> None:
        if (tmp_path / "keeper").exists() and (keeper := (tmp_path / "keeper").read_text().strip()):
            os.kill(os.getpid() if who == "caller" else int(keeper), signal.SIGKILL)

    code = in_child(host, lambda: probes(check, "ping:192.0.2.77", limit=1000).after(killed))
    assert code == (-signal.SIGKILL if who == "caller" else ErrorKind.FAILED.exit_code)
    until(lambda: is_gone((tmp_path / "main").read_text().strip()))
    if who == "keeper":  # nobody is left to end what the program has started
        os.kill(int((tmp_path / "left").read_text()), signal.SIGKILL)
    until(lambda: is_gone((tmp_path / "left").read_text().strip()))
    until(lambda: is_gone((tmp_path / "keeper").read_text().strip()))


@pytest.mark.parametrize("lacks", ["standard streams", "word of its children"])
def test_whatever_the_caller_lacks_it_is_told(
    host: Namespace, wire: Namespace, program: Callable[[str], str], lacks: str
) -> None:
    check = program("echo why; exit 1")

    def told() -> None:
        if lacks == "standard streams":
            os.closerange(0, 3)
        else:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        (found,) = probes(check).before()
        assert found.why.startswith("it ended with 1, and said last: why")

    assert in_child(host, told) == 0
