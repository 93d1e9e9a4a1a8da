"""Probes against hosts in other namespaces."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from asking import DEFAULT4, DEFAULT6, after, before, probes
from deadly import in_child

from nncp import netns
from nncp.errors import Error, ErrorKind
from nncp.probes import attempt, keeper

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

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


def test_of_an_attempt_that_is_ended_before_it_begins_nothing_is_told(
    host: Namespace, wire: Namespace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def only_once(*arguments: Any) -> int:
        with contextlib.suppress(FileExistsError):
            (tmp_path / "tried").touch(exist_ok=False)
            return attempt.attempt(*arguments)
        time.sleep(1000)
        return 0

    monkeypatch.setattr(keeper, "attempt", only_once)
    (told,) = after(probes("tcp:192.0.2.1:82"))
    assert told.startswith("probe tcp:192.0.2.1:82: Connection refused (")


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
