"""One attempt at one probe, in a process of its own."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import struct
import time
from typing import TYPE_CHECKING

from nncp import libc, wire
from nncp.netlink.channel import Channel, Refusal
from nncp.tables.rtmsg import FAMILIES, MAIN_TABLE, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.probes.written import Probe

ECHO_EVERY = 0.5
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}  # request and reply: RFC 792, RFC 4443


def attempt(probe: Probe, output: int, keeper: int, bound: int) -> int:
    """Make an attempt; return 0 when it succeeds, after it has said why it does not."""
    try:
        os.setsid()
        libc.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:  # it ended before the line above
            return 1
        os.dup2(output, 1)
        os.dup2(output, 2)
        set_alarm(bound)
        ASK[probe.kind](probe)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is why it failed)
        _say(str(getattr(error, "strerror", None) or error) or type(error).__name__)
        return 1
    return 0


def set_alarm(seconds: int) -> None:
    """End this process after so many seconds, whatever it does."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.alarm(seconds)


def _say(words: str) -> None:
    os.write(1, f"{words}\n".encode(errors="backslashreplace"))


def _ask_tcp(probe: Probe) -> None:
    _say("nothing answers there")
    socket.create_connection((probe.target, probe.port)).close()


def _ask_dns(probe: Probe) -> None:
    _say("no name server answers")
    socket.getaddrinfo(probe.target, None)


def _ask_exec(probe: Probe) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)  # what is ignored stays so in a program (execve(2))
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execv(probe.target, [probe.target])  # noqa: S606  (a shell is not wanted)


def _ask_ping(probe: Probe) -> None:
    """Return when one of the targets has answered an echo; raises OSError when none can be asked."""
    target, _, link = probe.target.partition("%")
    targets = list(_gateways(probe.family)) if probe.is_gateway else [(link, target)]
    if not targets:
        raise OSError(0, f"there is no default route of {probe.family.replace('ip', 'IP')} with a gateway")
    ident, token = os.urandom(2), os.urandom(8)
    lines = _lines(targets)
    _say(f"{' and '.join(address for _, address in targets)} answers no echo")
    poll = select.poll()
    for line in lines:
        poll.register(line, select.POLLIN)
    by_number = {line.fileno(): line for line in lines}
    for sequence in range(1 << 16):
        refused = [error for line in lines if (error := _sent(line, ident, sequence, token))]
        if len(refused) == len(lines):
            raise refused[0]
        end = time.monotonic() + ECHO_EVERY
        while (left := end - time.monotonic()) > 0:
            for descriptor, _ in poll.poll(left * 1000):
                if _is_answer(by_number[descriptor], ident, sequence, token):
                    return


def _lines(targets: Iterable[tuple[str, str]]) -> list[socket.socket]:
    """Return a socket for each target that can be asked: what is connected hears nobody else."""
    found, errors = [], []
    for link, address in targets:
        try:
            found.append(_line(link, address))
        except OSError as error:
            errors.append(error)
    if errors and not found:
        raise errors[0]
    return found


def _line(link: str, address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    protocol = socket.IPPROTO_ICMPV6 if family == socket.AF_INET6 else socket.IPPROTO_ICMP
    line = socket.socket(family, socket.SOCK_RAW, protocol)
    line.setblocking(False)
    if link:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, os.fsencode(link))
    scope = socket.if_nametoindex(link) if link else 0
    line.connect((address, 0, 0, scope) if family == socket.AF_INET6 else (address, 0))
    return line


def _sent(line: socket.socket, ident: bytes, sequence: int, token: bytes) -> OSError | None:
    """Send an echo request; return why it could not be."""
    kind = ECHO[line.family][0]
    rest = ident + struct.pack("!H", sequence) + token
    try:
        # Of ICMPv6 the kernel writes the checksum (RFC 3542, section 3.1).
        line.send(struct.pack("!BBH", kind, 0, _checksum(struct.pack("!BBH", kind, 0, 0) + rest)) + rest)
    except OSError as error:
        return error
    return None


def _checksum(data: bytes) -> int:
    """Return the Internet checksum of an even number of bytes (RFC 1071)."""
    total = sum(int(word) for (word,) in struct.iter_unpack("!H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def _is_answer(line: socket.socket, ident: bytes, sequence: int, token: bytes) -> bool:
    """Whether what came next is the reply to one of the requests up to `sequence`."""
    try:
        data = line.recv(1 << 16)
    except OSError:  # a message of the network's, or one whose checksum is wrong
        return False
    reply = data[(data[0] & 0x0F) * 4 :] if line.family == socket.AF_INET else data
    head, number = bytes((ECHO[line.family][1], 0)), int.from_bytes(reply[6:8], "big")
    return reply[:2] == head and reply[4:6] == ident and number <= sequence and reply[8:] == token


def _gateways(word: str) -> Iterator[tuple[str, str]]:
    """Yield the link and the address of each gateway of a family's default routes in the main table."""
    names = dict(socket.if_nameindex())
    body = wire.RTMSG.pack(FAMILIES[word], 0, 0, 0, MAIN_TABLE, 0, 0, 0, 0)
    with Channel() as channel:
        try:
            dump = channel.dump(wire.RTM_GETROUTE, body, lambda data: b"" if data[1] else data)
        except Refusal as refusal:
            if refusal.errno != errno.ENOENT:  # there is no such table before its first route
                raise
            dump = []
    for key, attrs in filter(None, (unpack(word, data, names) for data in dump if data)):
        if key[2] == str(MAIN_TABLE):
            yield from (hop[:2] for hop in attrs["nexthops"] if hop[1])


ASK = {"ping": _ask_ping, "tcp": _ask_tcp, "dns": _ask_dns, "exec": _ask_exec}
