"""Probes against hosts in other namespaces, and against programs that behave badly."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import sys
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from deadly import in_child

from nncp import netns
from nncp.errors import Error, ErrorKind
from nncp.pace import slowness
from nncp.probes import Probes, around, attempt, parsed
from nncp.render import render_error
from tests import leftovers
from tests.waiting import is_gone, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

HOST = (
    "addr add 192.0.2.66/24 dev eth1", "addr add 2001:db8::66/64 dev eth1", "addr add 198.51.100.66/24 dev eth2",
)  # fmt: skip
BEYOND = (
    "addr add 192.0.2.1/24 dev sw1", "addr add 192.0.2.9/24 dev sw1", "addr add 2001:db8::1/64 dev sw1",
    "addr add fe80::1/64 dev sw1", "addr add 198.51.100.1/24 dev sw2",
)  # fmt: skip
DEFAULT4, DEFAULT6 = "route add default via 192.0.2.1", "route add default via fe80::1 dev eth1"
SHORT = 0.5
"""Seconds of a quiet machine for what is waited for in vain."""
ANSWERS = """
import socket, struct, sys
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
heard = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
answers = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
answers.bind((sys.argv[1], 0))
first, number, token = (int(word) for word in sys.argv[2:])
print("ready", flush=True)
while True:
    data, (whom, _) = heard.recvfrom(9000)
    kind, _, _, ident, sequence = struct.unpack_from("!BBHHH", data, 20)
    if kind == 8:
        rest = struct.pack("!HH", ident ^ first, sequence + number) + bytes(b ^ token for b in data[28:])
        check = checksum(struct.pack("!BBH", 0, 0, 0) + rest)
        answers.sendto(struct.pack("!BBH", 0, 0, check) + rest, (whom, 0))
        print("answered", flush=True)
"""


@pytest.fixture
def wire(host: Namespace, beyond: Namespace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Namespace]:
    """Yield the namespace beyond a host on which we are."""
    monkeypatch.setattr(around, "BEFORE", SHORT)
    host.batch(*HOST)
    beyond.batch(*BEYOND)
    with netns.entered(host.path):
        yield beyond
        assert leftovers.gone(children) == []


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], str]:
    """Return what writes a program of the shell, and returns the probe that runs it."""

    def written(text: str) -> str:
        path = tmp_path / "check"
        path.write_text(f"#!/bin/sh\ncd {tmp_path}\n{text}\n")
        path.chmod(0o755)
        return f"exec:{path}"

    return written


def children() -> list[str]:
    """Return what this process has for children, dead ones as well."""
    stats = [path.read_text(errors="replace") for path in Path("/proc").glob("[0-9]*/stat") if path.exists()]
    return [stat for stat in stats if stat.rpartition(")")[2].split()[1] == str(os.getpid())]


def probes(*texts: str, limit: float = SHORT) -> Probes:
    return Probes(parsed(texts), limit * pace())


@cache
def pace() -> float:
    """Return how many times as long as a quiet machine this one takes, with room for more of it."""
    return 2 * slowness()


def before(asked: Probes) -> dict[str, str]:
    """Return what is left out, and why."""
    return {one.probe.text: one.why for one in asked.before()}


def after(asked: Probes, pulse: Callable[[], None] = lambda: None) -> list[str]:
    """Return what is told of each probe that failed."""
    try:
        asked.after(pulse)
    except Error as error:
        return [_checked(one).message for one in error.others]
    return []


def _checked(error: Error) -> Error:
    assert error.kind is ErrorKind.FAILED
    assert error.hint
    return error


def descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


# ── ping ──


@pytest.mark.parametrize("routes", [(DEFAULT4,), (DEFAULT6,), (DEFAULT4, DEFAULT6)])
def test_a_gateway_that_goes_away_is_told_and_one_that_stays_is_not(
    host: Namespace, wire: Namespace, routes: tuple[str, ...]
) -> None:
    host.batch(*routes)
    asked = probes("ping:gw")
    assert before(asked) == {}
    assert after(asked) == []
    wire.batch("link set sw1 down")
    (told,) = after(asked)
    assert told.startswith("probe ping:gw: ")
    # A link without a carrier takes IPv6 routes with it, and not IPv4's (fib6_ifdown, fib_sync_down_dev).
    assert told.count("attempt") == len(routes)
    assert ("192.0.2.1 answers no echo (" in told) == (DEFAULT4 in routes)


def test_a_gateway_that_comes_late_is_waited_for(host: Namespace, wire: Namespace) -> None:
    host.batch(DEFAULT4)
    asked = probes("ping:gw", limit=20)
    assert before(asked) == {}
    host.batch("route del default")
    pulses = []

    def pulse() -> None:
        pulses.append(1)
        if len(pulses) == 20:
            host.batch(DEFAULT4)

    assert after(asked, pulse) == []
    assert len(pulses) >= 20


def test_without_a_default_route_there_is_no_gateway(host: Namespace, wire: Namespace) -> None:
    host.batch("route add default via 192.0.2.1 table 77", "route add unreachable default metric 9")
    host.batch("route add 0.0.0.0/1 via 192.0.2.1", "route add default dev eth3 metric 10")
    told = before(probes("ping:gw"))
    assert told.keys() == {"ping:gw"}
    assert "there is no default route of IPv4 with a gateway (1 attempt" in told["ping:gw"]
    assert "there is no default route of IPv6 with a gateway (1 attempt" in told["ping:gw"]


def test_a_default_route_that_goes_is_told(host: Namespace, wire: Namespace) -> None:
    host.batch(DEFAULT4)
    asked = probes("ping:gw")
    assert before(asked) == {}
    host.batch("route del default")
    (told,) = after(asked)
    assert "there is no default route of IPv4 with a gateway (" in told
    assert "IPv6" not in told


@pytest.mark.parametrize(
    "route",
    [
        "route add default nexthop via 192.0.2.77 dev eth1 nexthop via 198.51.100.1 dev eth2",
        "route add default nexthop via 198.51.100.1 dev eth2 nexthop via 192.0.2.77 dev eth1",
        "route add default via 198.51.100.1 proto bird",
        "route add default via inet6 fe80::1 dev eth1",
    ],
)
def test_one_next_hop_that_answers_is_enough(host: Namespace, wire: Namespace, route: str) -> None:
    host.batch(route)
    asked = probes("ping:gw")
    assert before(asked) == {}
    assert after(asked) == []


def test_a_gateway_is_asked_through_the_link_of_its_route(host: Namespace, wire: Namespace) -> None:
    host.batch("route add default via 192.0.2.1 dev eth3 onlink")
    assert "192.0.2.1 answers no echo (" in before(probes("ping:192.0.2.1", "ping:gw"))["ping:gw"]


def test_one_familys_gateway_says_nothing_of_the_others(host: Namespace, wire: Namespace) -> None:
    host.batch(DEFAULT4, DEFAULT6)
    asked = probes("ping:gw")
    assert before(asked) == {}
    host.batch("sysctl -qw net.ipv6.conf.eth1.disable_ipv6=1")
    (told,) = after(asked)
    assert "IPv6" in told
    assert "192.0.2.1" not in told


def test_addresses_answer_or_do_not(host: Namespace, wire: Namespace) -> None:
    here = ["ping:192.0.2.1", "ping:2001:db8::1", "ping:fe80::1%eth1"]
    away = [
        "ping:192.0.2.77",
        "ping:2001:db8::77",
        "ping:fe80::1%eth3",
        "ping:fe80::1%eth9",
        "ping:203.0.113.1",
    ]
    asked = probes(*here, *away)
    told = before(asked)
    assert list(told) == away
    assert "Network is unreachable" in told["ping:203.0.113.1"]
    assert "No such device" in told["ping:fe80::1%eth9"]
    assert after(asked) == []


@pytest.mark.parametrize(
    ("source", "ident", "number", "token", "is_right"),
    [
        ("192.0.2.1", 0, 0, 0, True),
        ("192.0.2.1", 1, 0, 0, False),
        ("192.0.2.1", 0, 500, 0, False),
        ("192.0.2.1", 0, 0, 1, False),
        ("192.0.2.9", 0, 0, 0, False),
    ],
)
def test_only_the_answer_to_our_own_echo_is_one(
    host: Namespace, wire: Namespace, source: str, ident: int, number: int, token: int, is_right: bool
) -> None:
    wire.batch("sysctl -qw net.ipv4.icmp_echo_ignore_all=1")
    numbers = (str(ident), str(number), str(token))
    with wire.popen(sys.executable, "-c", ANSWERS, source, *numbers) as gateway:
        assert gateway.stdout is not None
        assert gateway.stdout.readline() == "ready\n"
        assert before(probes("ping:192.0.2.1")).keys() == (set() if is_right else {"ping:192.0.2.1"})
        assert gateway.stdout.readline() == "answered\n"
        gateway.kill()


def test_who_may_send_no_echo_is_told_so_of_each_ping(host: Namespace, wire: Namespace) -> None:
    asked = probes("dns:localhost", "ping:gw", "ping:192.0.2.1")

    def unprivileged() -> None:
        os.setresuid(65534, 65534, 65534)
        with pytest.raises(Error) as raised:
            asked.before()
        assert {error.kind for error in raised.value} == {ErrorKind.PRIVILEGE}
        assert [error.message.partition(": ")[0] for error in raised.value] == [
            "probe ping:gw",
            "probe ping:192.0.2.1",
        ]
        os._exit(3)  # and not back into a namespace, for which it has no right

    assert in_child(host, unprivileged) == 3


# ── tcp and dns ──


def test_a_server_that_accepts_and_closes_is_reached(host: Namespace, wire: Namespace) -> None:
    with netns.entered(wire.path):
        servers = [
            socket.create_server(("192.0.2.1", 80)),
            socket.create_server(("", 81), family=socket.AF_INET6),
        ]
    here = ["tcp:192.0.2.1:80", "tcp:[2001:db8::1]:81", "tcp:[fe80::1%eth1]:81"]
    asked = probes(*here, "tcp:192.0.2.1:82", "tcp:192.0.2.77:80")
    told = before(asked)
    assert list(told) == ["tcp:192.0.2.1:82", "tcp:192.0.2.77:80"]
    assert "Connection refused (1 attempt" in told["tcp:192.0.2.1:82"]
    for server in servers:
        server.close()
    assert [one.partition(" (")[0] for one in after(asked)] == [
        f"probe {one}: Connection refused" for one in here
    ]


def test_a_resolver_that_blocks_is_ended(
    host: Namespace, wire: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt.socket, "getaddrinfo", lambda *_: time.sleep(10_000))
    assert "no name server answers (1 attempt" in before(probes("dns:example.org"))["dns:example.org"]


def test_a_resolver_that_blocks_once_is_asked_again(
    host: Namespace, wire: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def resolve(*_: object) -> None:
        if not (tmp_path / "asked").exists():
            (tmp_path / "asked").touch()
            time.sleep(10_000)

    monkeypatch.setattr(attempt.socket, "getaddrinfo", resolve)
    assert after(probes("dns:example.org", limit=60)) == []


def test_a_name_is_there_or_is_not(host: Namespace, wire: Namespace) -> None:
    asked = probes("dns:localhost", "dns:nobody.invalid")
    assert before(asked).keys() == {"dns:nobody.invalid"}
    assert after(asked) == []


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
