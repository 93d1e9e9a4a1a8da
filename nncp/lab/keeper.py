"""Keeps one lab kernel: starts it, passes frames between its clients and the agent, ends it.

A process of its own, so that a lab kernel outlives the command that started it (`vmnet rack up`) or ends
with it however it ends (`nncp lab run`): the keeper watches a pipe that its owner holds. The kernel dies
with the keeper (PR_SET_PDEATHSIG, and its own processes with it), and the session's folder is removed by
the sweeper, a process that only waits for that.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nncp.lab import boot
from nncp.lab.agent import CONSOLE, COUNT, Frame, Frames, Kind
from nncp.lab.sweep import TERMINATING, Sweeper, end_group
from nncp.pace import Limit, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

# Of a quiet machine. A boot takes half a second; what is still computed or written counts as progress, and
# for a kernel that spins there is an end all the same.
BOOT_SECONDS, BOOT_IN_ALL = 20.0, 60.0
STOP_SECONDS, STOP_IN_ALL = 5.0, 15.0
LOOK_EVERY = 0.5
INFINITY = float("inf")


class Order(NamedTuple):
    """What the keeper is asked for."""

    kernel: str
    folder: str
    memory: str
    name: str
    writable: list[str]
    lifetime: float | None
    owner: int | None  # the end of a pipe: at its end of file the session ends
    status: int  # where to say `ready` or what went wrong


class Client:
    """One connection: one job, or a request to stop."""

    def __init__(self, number: int, connection: socket.socket) -> None:
        self.number = number
        self.connection = connection
        self.frames = Frames()
        self.waiting = bytearray()
        self.done = False


class Keeper:
    """The loop between the agent's console and the clients' socket."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.folder = Path(order.folder)
        self.selector = selectors.DefaultSelector()
        self.frames = Frames()
        self.clients: dict[int, Client] = {}
        self.waiting = bytearray()  # for the agent
        self.room = CONSOLE  # what may be on its way to it
        self.count = 0
        self.ready = False
        self.trouble = ""
        self.stopped = False
        self.deadline = INFINITY
        self.boot = Limit(BOOT_SECONDS, in_all=BOOT_IN_ALL)
        self.channel, theirs = socket.socketpair()
        cpu, self.claim = boot.take_cpu()
        with theirs:
            self.kernel = boot.start(
                Path(order.kernel),
                folder=self.folder,
                memory=order.memory,
                name=order.name,
                channel=theirs.fileno(),
                cpu=cpu,
            )
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"/proc/self/fd/{os.open(self.folder, os.O_PATH)}/socket")  # sun_path is short
        self.listener.listen(64)

    def keep(self) -> None:
        """Work until the owner, a client, the deadline, a signal or the kernel itself ends the session."""
        self.watch(self.channel.fileno(), self.from_agent)
        self.watch(os.pidfd_open(self.kernel.pid), lambda: self.end("the kernel ended by itself"))
        if self.order.owner is not None:
            self.watch(self.order.owner, lambda: self.end("its owner ended"))
        self._watch_signals()
        while not self.stopped:
            for key, _ in self.selector.select(self.left()):
                if key.fd in self.selector.get_map():  # an earlier one may have closed it
                    key.data()
            self.look()

    def left(self) -> float | None:
        """Seconds until it is worth looking whether time is over; None when that is never."""
        if not self.ready:
            return LOOK_EVERY
        return None if self.deadline == INFINITY else max(0.0, self.deadline - time.monotonic())

    def look(self) -> None:
        """End a session whose lifetime is over, and a boot that does not go on."""
        if self.stopped:
            return
        if self.ready:
            if time.monotonic() >= self.deadline:
                self.end("its lifetime is over")
            return
        self.boot.sees(self.signs())
        if self.boot.is_over():
            self.end(f"it did not answer {self.boot.story}")

    def signs(self) -> tuple[int, float]:
        """What changes while the kernel works: its console and its CPU time."""
        return (self.folder / "console.log").stat().st_size, cpu_seconds(self.kernel.pid)

    def watch(self, fd: int, act: Callable[..., object], events: int = selectors.EVENT_READ) -> None:
        """Call `act` whenever `fd` is ready."""
        if fd in self.selector.get_map():
            self.selector.modify(fd, events, act)
        else:
            self.selector.register(fd, events, act)

    def _watch_signals(self) -> None:
        wake, woken = socket.socketpair()
        wake.setblocking(False)
        signal.set_wakeup_fd(wake.detach())
        for number in TERMINATING:
            signal.signal(number, lambda *_: None)
        self.watch(woken.detach(), lambda: self.end("it was told to end"))

    def end(self, why: str) -> None:
        """Leave the loop."""
        self.stopped = True
        self.trouble = self.trouble or why

    def say(self, status: str) -> None:
        """Tell the starter how it went, once."""
        os.write(self.order.status, status.encode())
        os.close(self.order.status)

    def to_agent(self, frame: Frame) -> None:
        """Queue a frame for the agent and write what the socket takes."""
        self.waiting += frame.packed()
        self.flush()

    def flush(self) -> None:
        """Write to the agent what there is room for; the rest goes when it has taken that."""
        if self.waiting and self.room:
            with contextlib.suppress(BrokenPipeError):  # the kernel has ended, which another event says
                sent = self.channel.send(
                    self.waiting[: self.room]
                )  # never blocks: it is less than the socket holds
                self.room -= sent
                del self.waiting[:sent]

    def from_agent(self) -> None:
        """Pass on what the agent says."""
        for frame in self.frames.feed(self.channel.recv(1 << 18)):
            self.hear(frame)

    def hear(self, frame: Frame) -> None:
        """Act on one frame of the agent."""
        if frame.kind == Kind.HELLO:
            self.to_agent(Frame(Kind.SETUP, 0, json.dumps({"writable": self.order.writable}).encode()))
        elif frame.kind == Kind.READY:
            self.open(frame.payload.decode())
        elif frame.kind == Kind.TAKEN and not frame.job:
            self.room += COUNT.unpack(frame.payload)[0]
            self.flush()
        elif client := self.clients.get(frame.job):
            client.done = client.done or frame.kind == Kind.EXIT
            self.to_client(client, frame)

    def open(self, trouble: str) -> None:
        """The kernel is up: let clients in."""
        if trouble:
            self.end(trouble)
            return
        self.ready = True
        self.deadline = time.monotonic() + (self.order.lifetime or INFINITY)
        self.watch(self.listener.fileno(), self.accept)
        self.say("ready")

    def accept(self) -> None:
        """Take a new client."""
        connection, _ = self.listener.accept()
        connection.setblocking(False)
        self.count += 1
        client = self.clients[self.count] = Client(self.count, connection)
        self.watch(connection.fileno(), lambda: self.from_client(client))

    def from_client(self, client: Client) -> None:
        """Pass on what a client says, under its own job number; or see that it has gone."""
        if client.waiting:
            self.to_client(client)
        try:
            data = client.connection.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        if not data:
            self.drop(client)
            return
        for frame in client.frames.feed(data):
            if frame.kind == Kind.STOP:
                self.end("it was told to stop")
            else:
                self.to_agent(Frame(frame.kind, client.number, frame.payload))

    def to_client(self, client: Client, frame: Frame | None = None) -> None:
        """Write to a client what its socket takes; its window bounds what waits here."""
        client.waiting += frame.packed() if frame else b""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            del client.waiting[: client.connection.send(client.waiting)]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.waiting else 0)
        self.watch(client.connection.fileno(), lambda: self.from_client(client), wanted)

    def drop(self, client: Client) -> None:
        """Forget a client, and end its command if it still runs."""
        if not client.done:
            self.to_agent(Frame(Kind.HANGUP, client.number))
        self.selector.unregister(client.connection.fileno())
        client.connection.close()
        del self.clients[client.number]

    def close(self) -> None:
        """Power off: ask the agent, which brings files to their disk, then end what is left."""
        if not self.ready:
            self.say(self.trouble)
        elif self.kernel.poll() is None:
            with contextlib.suppress(OSError):
                self.to_agent(Frame(Kind.STOP, 0))
                self.drain(Limit(STOP_SECONDS, in_all=STOP_IN_ALL))
        end_group(self.kernel.pid)
        self.kernel.wait()

    def drain(self, limit: Limit) -> None:
        """Let what still waits go out, until the kernel closes its end or does nothing any more."""
        self.channel.settimeout(LOOK_EVERY)
        while not limit.is_over():
            limit.sees(self.signs())
            try:
                data = self.channel.recv(1 << 18)
            except TimeoutError:
                continue
            if not data:
                return
            for frame in self.frames.feed(data):
                if frame.kind == Kind.TAKEN and not frame.job:
                    self.hear(frame)


def main() -> None:
    """Keep the session that the only argument describes (JSON)."""
    order = Order(**json.loads(sys.argv[1]))
    sweeper = Sweeper(Path(order.folder), close=[fd for fd in (order.owner, order.status) if fd is not None])
    keeper = Keeper(order)
    sweeper.guard(keeper.kernel.pid)
    keeper.watch(os.pidfd_open(sweeper.pid), lambda: keeper.end("its sweeper ended"))
    try:
        keeper.keep()
    finally:
        keeper.close()
        sweeper.sweep()


if __name__ == "__main__":
    main()
