"""A route netlink socket: batches of requests, acknowledgements by sequence number, dumps, events."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from nncp import wire
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

T = TypeVar("T")
NETLINK_ROUTE = 0
SOL_NETLINK = 270
NETLINK_ADD_MEMBERSHIP, NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK = 1, 10, 11, 12
NLMSGERR_ATTR_MSG, NLMSGERR_ATTR_OFFS = 1, 2

BATCH = 64
"""Requests per datagram: enough to make the send cheap, few enough for their answers to fit the buffer."""

RECEIVE_BUFFER = 1 << 20
PATIENCE = 10.0
"""Seconds of a quiet machine for a dump that no change of others interrupts."""
FIRST_PAUSE, LONGEST_PAUSE = 0.001, 0.1
"""Seconds between two tries, twice as long each time: who makes many links at once has done so by then."""


class Refusal(OSError):
    """A request that the kernel refused: its errno, its own words (extended ack) and which request it was."""

    def __init__(self, code: int, words: str, index: int) -> None:
        super().__init__(code, words or os.strerror(code))
        self.words = words
        self.index = index


class Channel:
    """A socket on the route family of the network namespace in which it was made."""

    def __init__(self, *, batch: int = BATCH) -> None:
        try:
            self.socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE
            )
        except OSError as error:
            raise Error(f"no route netlink socket: {error.strerror}", kind=ErrorKind.UNSUPPORTED) from error
        self.batch = batch
        self._buffer = memoryview(bytearray(RECEIVE_BUFFER))
        self.sequence = 0
        self.dumps = 0
        self.asked = 0
        self.writes = 0
        self._configure()

    def _configure(self) -> None:
        # CAP_ACK keeps the request out of the acknowledgement; EXT_ACK adds the kernel's own words.
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK):
            self.socket.setsockopt(SOL_NETLINK, option, 1)
        # SO_RCVBUF is capped for the unprivileged; a smaller buffer is only slower.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self.socket.bind((0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @overload
    def dump(self, kind: int, body: bytes) -> list[bytes]: ...

    @overload
    def dump(self, kind: int, body: bytes, decode: Callable[[bytes], T]) -> list[T]: ...

    def dump(self, kind: int, body: bytes, decode: Callable[[bytes], Any] = bytes) -> list[Any]:
        """Return the bodies that a dump answers, once it was not interrupted by a change (NLM_F_DUMP_INTR).

        Each is decoded as it comes, so that no more is kept of it than what is decoded.

        Raises:
            Refusal: the kernel does not answer this dump.

        """
        limit, pause = Limit(PATIENCE), FIRST_PAUSE
        while (found := self._dump_once(kind, body, decode)) is None:
            if limit.is_over():
                raise Error(
                    f"the kernel's tables changed during each of {self.dumps} dumps {limit.story}",
                    kind=ErrorKind.FAILED,
                    hint="something is changing links or routes in a tight loop; stop it and try again",
                )
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return found

    def ask(self, kind: int, body: bytes) -> bytes:
        """Return the body that answers a question about one thing.

        Raises:
            Refusal: there is no such thing.

        """
        self.asked += 1
        request = wire.message(kind, 0, body)
        sequence = self._next(request)
        self.socket.send(request)
        while True:
            for answer, flags, number, data in wire.messages(self._received()):
                if number != sequence:
                    continue
                if answer == wire.NLMSG_ERROR:
                    raise _refusal(flags, data, 0)
                return data

    def _dump_once(self, kind: int, body: bytes, decode: Callable[[bytes], Any]) -> list[Any] | None:
        self.dumps += 1
        request = wire.message(kind, wire.NLM_F_DUMP, body)
        sequence = self._next(request)
        self.socket.send(request)
        found: list[Any] = []
        interrupted = False
        while True:
            for answer, flags, number, data in wire.messages(self._received()):
                if number != sequence:
                    continue
                interrupted |= bool(flags & wire.NLM_F_DUMP_INTR)
                if answer == wire.NLMSG_DONE:
                    if data and (code := struct.unpack_from("=i", data)[0]) < 0:
                        raise Refusal(-code, "", 0)  # it has failed midway (netlink_dump)
                    return None if interrupted else found
                if answer == wire.NLMSG_ERROR:
                    raise _refusal(flags, data, 0)
                found.append(decode(data))

    def _received(self) -> bytes:
        """Return the next datagram; a buffer made anew for each would be new pages each time."""
        return bytes(self._buffer[: self.socket.recv_into(self._buffer)])

    def _next(self, request: bytearray) -> int:
        self.sequence += 1
        wire.number(request, self.sequence)
        return self.sequence

    def send(
        self,
        requests: Sequence[bytearray],
        acknowledged: Callable[[int], None] = lambda _: None,
        refused: Callable[[Refusal], None] | None = None,
    ) -> None:
        """Send requests in batches, each acknowledged by its last; stop at the first batch with a refusal.

        The kernel works a datagram off in order before `send` returns (netlink_rcv_skb), and a refusal is
        always answered: so one acknowledgement a batch says that all others were carried out.

        Args:
            requests: packed with NLM_F_ACK; numbered here.
            acknowledged: called with the index of each request once the kernel has carried it out.
            refused: called with every refusal instead of stopping at it.

        Raises:
            Refusal: the first refused request, unless `refused` takes them. Later ones of its batch have been
                tried all the same.

        """
        for start in range(0, len(requests), self.batch):
            part = requests[start : start + self.batch]
            for request in part[:-1]:
                wire.unacknowledged(request)
            numbers = {self._next(request): start + i for i, request in enumerate(part)}
            self.socket.send(b"".join(part))
            self.writes += len(part)
            for refusal in self._await(numbers, acknowledged):
                if refused is None:
                    raise refusal
                refused(refusal)

    def _await(self, numbers: dict[int, int], acknowledged: Callable[[int], None]) -> list[Refusal]:
        """Return what was refused of a batch, in its order."""
        last = max(numbers)
        refused: dict[int, Refusal] = {}
        heard = False
        while not heard:
            for answer, flags, sequence, data in wire.messages(self._received()):
                if answer != wire.NLMSG_ERROR or sequence not in numbers:
                    continue
                heard |= sequence == last
                if struct.unpack_from("=i", data)[0]:
                    refused[sequence] = _refusal(flags, data, numbers[sequence])
        for sequence, index in numbers.items():
            if sequence not in refused:
                acknowledged(index)
        return [refused[sequence] for sequence in sorted(refused)]


def _refusal(flags: int, data: bytes, index: int) -> Refusal:
    code = -struct.unpack_from("=i", data)[0]
    words = ""
    if flags & wire.NLM_F_ACK_TLVS:
        # struct nlmsgerr is an int and the request's header; with CAP_ACK nothing more of it follows.
        skip = 20
        if not flags & wire.NLM_F_CAPPED:
            skip = 4 + ((struct.unpack_from("=I", data, 4)[0] + 3) & ~3)
        words = wire.table(data, skip).get(NLMSGERR_ATTR_MSG, b"").rstrip(b"\0").decode(errors="replace")
    return Refusal(code, words, index)


class Events:
    """Wakes up when links, addresses, routes or VLANs of the namespace change.

    Only a wake-up: what happened is read by a snapshot, since events may be lost (ENOBUFS) and a snapshot
    is the truth anyway.
    """

    GROUPS = (1, 5, 7, 9, 11)  # RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_ROUTE)
        # Unbound it has the kernel's own port id, 0, and the kernel does not tell itself (do_one_broadcast).
        self.socket.bind((0, 0))
        for group in self.GROUPS:
            self.socket.setsockopt(SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group)
        self.socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def wait(self, seconds: float, *, settle: float = 0.01) -> bool:
        """Wait for an event, then until none came for `settle` seconds; False when time ran out first."""
        poll = select.poll()  # select() takes no descriptor beyond 1023
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(max(0.0, seconds) * 1000):
            return False
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.drain()
            if not poll.poll(settle * 1000):
                break
        return True

    def drain(self) -> None:
        """Take what has come, so that the next event wakes up again."""
        for _ in self._datagrams():
            pass

    def _datagrams(self) -> Iterator[bytes]:
        while True:
            try:
                yield self.socket.recv(RECEIVE_BUFFER)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
