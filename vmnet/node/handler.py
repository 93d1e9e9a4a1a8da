"""A Pod's node handler: what its life takes of rights over its network, in a process of its own.

It stands in the Pod's network namespace and in the node's file system, where it owns nothing: it is nobody,
with CAP_NET_ADMIN (gate, nft) and CAP_NET_RAW (announcements). It does what the Pod's launcher asks over one
socket (`vmnet.node.orders`), and ends with it; whatever a migration needed of nft it takes away then.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import sys
import time
from typing import TYPE_CHECKING

import msgspec

from nncp.errors import Error
from vmnet import nft, versioned
from vmnet.names import NOBODY
from vmnet.node import announce, migration_rules, orders, readiness, rights, sockets
from vmnet.node.gate import Gate
from vmnet.node.migration_rules import RECEIVING, SENDING

if TYPE_CHECKING:
    from vmnet.record import Record

MOST_ODD, LONGEST_ERROR = 100, 500
"""Orders that make no sense or fail, after which nobody is listened to any more; and characters of a failure
in the log, which lies in memory that all Pods share."""
PRIORITY = 10
"""The real-time priority of handler and launcher; a prober's is higher. They sleep until they are wanted."""


def hurry() -> None:
    """Let this thread go first, where that is allowed.

    At STOP every process around the guest wakes, and on a busy CPU the gate was up to 50 ms late. Threads and
    children start as usual (SCHED_RESET_ON_FORK).
    """
    with contextlib.suppress(PermissionError):
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))


class Handler:
    """What is done for one Pod, in the network namespace where it is made."""

    def __init__(self, record: Record, launcher: socket.socket) -> None:
        self.record = record
        self.launcher = launcher
        gates = record.gates
        self.gate = Gate([gate.nic for gate in gates])
        self.announcer = announce.Announcer([(gate.nic, gate.mac) for gate in gates])
        self.decoy = announce.Decoy([gate.tap for gate in gates])
        self._odd = 0

    def greet(self) -> None:
        """Hand the launcher the sockets that it could not open."""
        files = [sockets.opened(one) for service in self.record.services for one in service.sockets]
        hello = msgspec.json.encode(orders.Hello(orders.VERSION))
        socket.send_fds(self.launcher, [hello], [file.fileno() for file in files])
        for file in files:
            file.close()

    def serve(self) -> None:
        """Do what is asked until the launcher has gone."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.launcher, selectors.EVENT_READ)
            while True:
                due = self.announcer.next
                if selector.select(None if due is None else max(0.0, due - time.monotonic())):
                    data = self._heard()
                    if not data or self._odd > MOST_ODD:
                        break
                    self._do(data)
                self.announcer.speak(time.monotonic())

    def _heard(self) -> bytes:
        try:
            return self.launcher.recv(orders.LARGEST)
        except OSError:
            return b""

    def _do(self, data: bytes) -> None:
        number, error = -1, ""
        try:
            order = versioned.decode(data, orders.Order, version=orders.VERSION, what="the launcher")
            number = order.number
            for act in order.acts:
                self._act(act)
        except (Error, OSError, ValueError) as caught:
            error = str(caught)[:LONGEST_ERROR]
            self._odd += 1
            with contextlib.suppress(OSError):  # no room for its log
                print(f"order {number}: {error}", file=sys.stderr)  # noqa: T201
        done = orders.Done(orders.VERSION, number, error)
        with contextlib.suppress(OSError):
            self.launcher.send(msgspec.json.encode(done), socket.MSG_DONTWAIT)

    def _act(self, act: orders.Act) -> None:
        now = time.monotonic()
        match act:
            case orders.Open():
                self.gate.open()
            case orders.Close():
                self.gate.close()
            case orders.Decoy():
                self.decoy.send()
            case orders.Announce():
                self.announcer.plan(now + ms / 1000 for ms in act.after_ms)
                self.announcer.speak(now)
            case orders.Mute():
                self.announcer.mute()
            case orders.Receive():
                readiness.check_rules(self.record)
                nft.run(self._receiving(act))
            case orders.Send():
                nft.run(migration_rules.sending(target=act.target))
            case orders.Settle():
                receiving = act.what == "receiving"
                nft.run(migration_rules.settled(RECEIVING if receiving else SENDING))

    def _receiving(self, act: orders.Receive) -> str:
        exempt = any(nic.migration.exempt for nic in self.record.interfaces)
        return migration_rules.receiving(
            source=act.source, pod=self.record.address, exempt=exempt, has_knocked=act.has_knocked
        )


def serve(record: Record, launcher: socket.socket) -> int:
    """Serve a Pod's launcher from its network namespace until it has gone; return the exit code."""
    hurry()
    handler = Handler(record, launcher)
    settle()  # what a handler that was killed has left
    handler.greet()
    rights.keep((rights.NET_ADMIN, rights.NET_RAW), user=NOBODY)
    try:
        handler.serve()
    finally:
        settle()
    return 0


def settle() -> None:
    """Take back whatever a migration needed of nft here."""
    with contextlib.suppress(Error):
        nft.run(migration_rules.settled(RECEIVING, SENDING))
