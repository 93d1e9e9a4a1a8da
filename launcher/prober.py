"""Measures what a migration costs from outside: a ping every 10 ms and a TCP echo every 50 ms.

The prober runs with real-time priority and takes the kernel's time stamps of what it receives, because on a
busy CPU its own delay would count as a gap. What is left of that delay it reports: `prober_jitter_ms` is the
latest that it ever sent a ping after its time.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

PERIOD = 0.010
ECHO_EVERY = 5  # pings
ECHO_PORT = 7  # RFC 862
PRIORITY = 20
SO_TIMESTAMPNS = 35
ECHO_REQUEST, ECHO_REPLY = 8, 0  # RFC 792
CATCH_UP = 0.020  # after a stall no burst: pings sent together would all be lost or answered together
# Seconds of a quiet machine since the last answer. A ping that is not answered by then is lost; TCP sends
# again after 0.2 s, 0.4 s and so on (RFC 6298), so an echo may be late and the session sound.
LINGER, ECHO_LINGER, LINGER_IN_ALL = 1.0, 10.0, 60.0
CONNECT_S = 5.0


class Log(Struct):
    """What was sent and answered, by number, in seconds of the wall clock."""

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)
    echoes: dict[int, float] = field(default_factory=dict)
    echoed: dict[int, float] = field(default_factory=dict)
    late: float = 0.0
    broken: str = ""


def report(log: Log) -> dict[str, Any]:
    """Return what the log says, in the words of the demo's report.

    `longest_gap_ms` is the longest time between two answers as they arrived, so it holds a period;
    `longest_unanswered_ms` the longest between two answered pings by the time they were sent.
    """
    lost = sorted(set(log.sent) - set(log.answered))
    answers = sorted(log.answered.values())
    by_sending = sorted(log.sent[number] for number in log.answered)
    waits = [log.echoed[number] - log.echoes[number] for number in log.echoed]
    at, gap = _longest(answers)
    return {
        "pings_sent": len(log.sent),
        "pings_lost": len(lost),
        "longest_gap_ms": _ms(gap),
        "longest_gap_at": at,
        "longest_unanswered_ms": _ms(_longest(by_sending)[1]),
        "prober_jitter_ms": _ms(log.late),
        "tcp_survived": bool(log.echoed) and not log.broken and set(log.echoes) == set(log.echoed),
        "tcp_echoes": len(log.echoed),
        "tcp_longest_wait_ms": _ms(max(waits, default=0.0)),
        "tcp_error": log.broken,
        "lost_at": [log.sent[number] for number in lost],
    }


def _longest(times: list[float]) -> tuple[float, float]:
    """Return the start and the length of the longest gap."""
    gaps = ((after - before, before) for before, after in itertools.pairwise(times))
    length, start = max(gaps, default=(0.0, 0.0))
    return start, length


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~int(total + (total >> 16)) & 0xFFFF


def ping(ident: int, number: int) -> bytes:
    """Return an ICMP echo request that carries its number, of which the header's field holds 16 bits."""
    body = struct.pack("!Q", number)
    head = struct.pack("!BBHHH", ECHO_REQUEST, 0, 0, ident, number & 0xFFFF)
    return struct.pack("!BBHHH", ECHO_REQUEST, 0, checksum(head + body), ident, number & 0xFFFF) + body


def pong(packet: bytes, ident: int) -> int | None:
    """Return the number of the ping that an IPv4 packet answers, or None."""
    start = (packet[0] & 0x0F) * 4
    kind, _, _, whose, _ = struct.unpack_from("!BBHHH", packet, start)
    if kind != ECHO_REPLY or whose != ident:
        return None
    return int(struct.unpack_from("!Q", packet, start + 8)[0])


class Prober:
    """Sends and listens until it is told to stop."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.log = Log()
        self._ident = os.getpid() & 0xFFFF
        self._rest = b""
        try:
            self._icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
        except PermissionError:
            raise Error(
                "a prober needs CAP_NET_RAW", kind=ErrorKind.PRIVILEGE, hint="run it as root"
            ) from None
        self._icmp.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._tcp = self._connected()
        self._running = True

    def _connected(self) -> socket.socket:
        limit = Limit(CONNECT_S)
        while True:
            try:
                tcp = socket.create_connection((self.address, ECHO_PORT), timeout=max(limit.left, 1.0))
                break
            except (UnicodeError, socket.gaierror):
                hint = "an IPv4 address, e.g. 172.17.33.250"
                raise Error(f"{self.address!r} is no address", kind=ErrorKind.USAGE, hint=hint) from None
            except OSError as error:
                if not isinstance(error, TimeoutError) or limit.is_over():
                    raise Error(
                        f"{self.address} did not answer on TCP port {ECHO_PORT} {limit.story}: {error}",
                        kind=ErrorKind.FAILED,
                        hint="the guest needs an echo server there",
                    ) from None
        tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        tcp.setblocking(False)
        return tcp

    def stop(self, *_: object) -> None:
        """Send nothing more; fit for a signal handler."""
        self._running = False

    def run(self, *, seconds: float | None = None) -> Log:
        """Probe until `stop`, or for so many seconds; then wait for the last answers.

        Only what is timed goes first: a limit that is waited for measures how slow the machine is for all.
        """
        with real_time():
            self._probe(seconds)
        self._linger()
        return self.log

    def _probe(self, seconds: float | None) -> None:
        tick = start = time.time()
        while self._running and (seconds is None or tick < start + seconds):
            now = time.time()
            if now >= tick:
                self._send(now, late=now - tick)
                tick = max(tick + PERIOD, now - CATCH_UP)
            self._listen(tick - time.time())

    def _linger(self) -> None:
        """Wait for the last answers: for the pings', then for those that TCP still owes."""
        log = self.log
        self._wait(LINGER, lambda: len(log.sent) == len(log.answered))
        self._wait(ECHO_LINGER, lambda: bool(log.broken) or len(log.echoes) == len(log.echoed))

    def _wait(self, seconds: float, is_settled: Callable[[], bool]) -> None:
        limit = Limit(seconds, in_all=LINGER_IN_ALL)
        while not is_settled() and not limit.is_over():
            self._listen(limit.left)
            limit.sees((len(self.log.answered), len(self.log.echoed)))

    def _send(self, now: float, *, late: float) -> None:
        log = self.log
        number = len(log.sent)
        log.late = max(log.late, late)
        log.sent[number] = now
        with contextlib.suppress(OSError):  # no route or no buffer just now: it counts as lost
            self._icmp.sendto(ping(self._ident, number), (self.address, 0))
        if number % ECHO_EVERY == 0 and not log.broken:
            self._echo(now)

    def _echo(self, now: float) -> None:
        number = len(self.log.echoes)
        self.log.echoes[number] = now
        try:
            self._tcp.send(b"%d\n" % number)
        except OSError as error:
            self.log.broken = str(error)

    def _listen(self, wait: float) -> None:
        sources = [self._icmp] if self.log.broken else [self._icmp, self._tcp]
        for source in select.select(sources, [], [], max(0.0, wait))[0]:
            if source is self._tcp:
                self._hear_echo()
            else:
                self._hear_pong()

    def _hear_pong(self) -> None:
        packet, extra, _, _ = self._icmp.recvmsg(512, 64)
        number = pong(packet, self._ident)
        if number is not None and number in self.log.sent:
            seconds, nanoseconds = struct.unpack("qq", extra[0][2][:16])
            self.log.answered.setdefault(number, seconds + nanoseconds / 1e9)

    def _hear_echo(self) -> None:
        try:
            data = self._tcp.recv(4096)
        except OSError as error:
            self.log.broken = str(error)
            return
        if not data:
            self.log.broken = "closed by the guest"
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.isdigit():
                self.log.broken = "what answers is no echo server"
                return
            self.log.echoed[int(line)] = time.time()


@contextlib.contextmanager
def real_time() -> Iterator[None]:
    """Run with real-time priority where that is allowed; the reported jitter says what it was worth.

    Threads and children start as usual (SCHED_RESET_ON_FORK); without privilege that cannot be taken back.
    """
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            policy = os.SCHED_OTHER | os.SCHED_RESET_ON_FORK
            os.sched_setscheduler(0, policy, os.sched_param(0))


def measure(
    address: str, *, began: Callable[[], None], seconds: float | None = None, events: Path | None = None
) -> Mapping[str, Any]:
    """Probe an address until SIGTERM or SIGINT, or for so many seconds, and report.

    Args:
        address: IPv4, answering pings and with an echo server on TCP 7.
        began: called when the session stands and a signal is heeded.
        seconds: how long; without it, until a signal.
        events: a file for what each ping and echo did, as JSON.

    """
    prober = Prober(address)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, prober.stop)
    began()
    log = prober.run(seconds=seconds)
    if events is not None:
        names = ("sent", "answered", "echoes", "echoed")
        events.write_text(json.dumps({name: getattr(log, name) for name in names}), encoding="utf-8")
    return report(log)
