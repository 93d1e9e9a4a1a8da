"""The launcher's end of what it asks of its Pod's node handler, which has the rights that it has not."""

from __future__ import annotations

import itertools
import select
import socket
from typing import TYPE_CHECKING

import msgspec

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit
from vmnet import versioned
from vmnet.node import orders

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_FILES = 250  # unix(7), SCM_RIGHTS
PATIENCE = 20.0
"""Seconds of a quiet machine for the handler to do something that is waited for."""
HANDLER = "the Pod's node handler"


class Node:
    """The handler, for as long as it is there."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.is_gone = False
        self._numbers = itertools.count(1)
        self._then: dict[int, Callable[[str], None]] = {}

    def greeted(self) -> list[socket.socket]:
        """Return the sockets that the handler has opened for the Pod's services, in their order.

        Raises:
            Error: it did not say so, or is of another version.

        """
        self._await()
        data, files, _, _ = socket.recv_fds(self.line, orders.LARGEST, MOST_FILES)
        if not data:
            raise Error(f"{HANDLER} ended before it was ready", kind=ErrorKind.FAILED)
        versioned.decode(data, orders.Hello, version=orders.VERSION, what=HANDLER)
        return [socket.socket(fileno=number) for number in files]

    def order(self, *acts: orders.Act, then: Callable[[str], None] = lambda _: None) -> None:
        """Have acts done; `then` is told in the loop what went wrong, nothing when all of it was done."""
        number = next(self._numbers)
        data = msgspec.json.encode(orders.Order(orders.VERSION, number, acts))
        try:
            self.line.send(data, socket.MSG_DONTWAIT)
        except OSError as error:
            then(f"{HANDLER} does not hear: {error.strerror}")
            return
        self._then[number] = then

    def ask(self, *acts: orders.Act) -> None:
        """Have acts done and wait for it, before there is a loop; raises `Error`."""
        said: list[str] = []
        self.order(*acts, then=said.append)
        while not said:
            self._await()
            self.read()
        if said[0]:
            raise Error(f"{HANDLER} failed: {said[0]}", kind=ErrorKind.FAILED)

    def _await(self) -> None:
        limit = Limit(PATIENCE)
        while True:
            if select.select([self.line], [], [], max(limit.left, 0.01))[0]:
                return
            if limit.is_over():
                raise Error(f"{HANDLER} did not answer {limit.story}", kind=ErrorKind.FAILED)

    def read(self) -> None:
        """Take the handler's answer; everybody who waits is told when it has gone."""
        try:
            data = self.line.recv(orders.LARGEST)
        except OSError:
            data = b""
        if not data:
            self.is_gone = True
            waiting, self._then = list(self._then.values()), {}
            for then in waiting:
                then(f"{HANDLER} has ended")
            return
        done: orders.Done = versioned.decode(data, orders.Done, version=orders.VERSION, what=HANDLER)
        waiting_for = self._then.pop(done.number, None)
        if waiting_for is not None:
            waiting_for(done.error)
