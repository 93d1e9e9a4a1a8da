"""One arrival: the target's side of a migration, from the door that opens to the one that closes."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import structs

from launcher import daemon
from launcher.loop import Watching
from launcher.migration.channel import TRY_S, Door, Words, pump
from launcher.migration.credentials import context
from launcher.migration.facts import Arrival, Facts
from launcher.migration.knock import Listener
from launcher.migration.states import Event, Phase
from launcher.migration.words import Arrived, Ask, Back, Coming, Ready, Stopped, Where
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit, cpu_seconds
from vmnet.node import orders

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from libvirt import virConnect

    from launcher.migration.channel import Line
    from launcher.migration.credentials import Half
    from launcher.migration.words import Purpose, Word
    from launcher.node import Node

EXPIRES = 600.0  # seconds of a quiet machine that a target is kept ready for a source that never comes
STATS_AFTER = 0.5
# Of a quiet machine: libvirt's figure of the pause, since its daemon last did anything; and in all.
STATS_PATIENCE, STATS_IN_ALL = 6.0, 60.0
LIFT_AFTER = 1.0
"""Seconds after the guest runs here: loading nft's rules forks, and the guest has to catch up first."""
COME_IN_S = 2 * TRY_S
"""For whoever has knocked to come in."""
CLOSE_AFTER = 60.0
"""Seconds after that for the source to hear where its guest is, should its connection have broken."""


class Target(Watching, Protocol):
    """What an arrival needs of its launcher."""

    phase: Phase
    node: Node
    facts: Facts
    connection: virConnect | None
    job: Any
    daemons: list[subprocess.Popen[bytes]]

    @property
    def has_qemu(self) -> bool: ...  # noqa: D102 -- see `Launcher`
    def happened(self, event: Event, **more: Any) -> None: ...  # noqa: D102 -- see `Launcher`
    def note(self, event: str, **more: Any) -> None: ...  # noqa: D102


class Reception:
    """What a target Pod holds ready for its source, and what it tells it."""

    def __init__(self, launcher: Target, half: Half, *, libvirt: Path) -> None:
        self.launcher = launcher
        self._secret = bytes.fromhex(half.secret)
        self._tls = context(half)
        self._knocks: Listener | None = None
        self._is_opening = False
        self.arrival: Arrival | None = None
        self._libvirt = libvirt
        self._door: Door | None = None
        self._words: Words | None = None
        self._is_measured = False
        self._stats = Limit(STATS_PATIENCE)
        self._expiry = Limit(EXPIRES)

    def open(self) -> None:
        """Close the gate, let the source in, and have libvirt look at QEMU now rather than then.

        Raises:
            Error: the Pod cannot take a guest in.

        """
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        launcher, record = self.launcher, self.launcher.job.record
        assert launcher.connection is not None
        launcher.node.ask(orders.Close(), self._receive(has_knocked=False))
        try:
            # Defining it asks QEMU for all it can, a second or more that would count as migration otherwise.
            launcher.connection.defineXML(launcher.job.domain_xml).undefine()
        except libvirt.libvirtError as error:
            raise Error(f"libvirt does not take the guest's domain: {error}", kind=ErrorKind.FAILED) from None
        self._knocks = Listener(record.address, self._secret)
        launcher.watch(self._knocks.socket, self._heard_knock)
        self._expiry.progress()
        launcher.later(EXPIRES, self._expire)

    def _receive(self, *, has_knocked: bool) -> orders.Receive:
        return orders.Receive(self.launcher.job.source, has_knocked=has_knocked)

    def _heard_knock(self) -> None:
        assert self._knocks is not None
        if self._knocks.heard() and self._door is None and not self._is_opening:
            self._is_opening = True
            self.launcher.note("knocked")
            self.launcher.node.order(self._receive(has_knocked=True), then=self._open_door)

    def _open_door(self, error: str) -> None:
        self._is_opening = False
        if error or self._knocks is None:
            self.launcher.note("not opened", error=error)
            return
        address = self.launcher.job.record.address
        door = self._door = Door(address, self._tls, self.launcher, self._came, self._refused)
        self.launcher.later(COME_IN_S, lambda: self._unless_somebody_came(door))

    def _unless_somebody_came(self, door: Door) -> None:
        """Shut the door again when who knocked has gone: its guest, with its address, may reach it by now."""
        nobody = self._words is None and not self.launcher.has_qemu
        if nobody and self._door is door and self.launcher.phase is Phase.WAITING:
            self._shut_again()

    def _shut_again(self) -> None:
        if self._door is not None:
            self._close_door()
            self.launcher.node.order(self._receive(has_knocked=False))

    def _close_door(self) -> None:
        if self._door is not None:
            self._door.close()
            self._door = None

    def _expire(self) -> None:
        """Give up a source that never came. One whose QEMU is here already may take as long as it needs."""

        def measured(is_over: Any) -> None:
            if is_over and not self._expiry.left and not self.launcher.has_qemu:
                self.launcher.happened(Event.EXPIRED)
            else:
                self.launcher.later(max(self._expiry.left, 1.0), self._expire)

        if self.launcher.has_qemu:
            self._expiry.progress()
        if self.launcher.phase is Phase.WAITING:
            self.launcher.aside(self._expiry.is_over, measured)

    # ── who comes ──

    def _came(self, purpose: Purpose, line: Line) -> None:
        if self._door is None:
            line.close()
        elif purpose == "words":
            self._hang_up()
            self._words = Words(line)
            self.launcher.watch(line.socket, self._hear)
            self.launcher.note("source came")
            self._hear()  # what came with the hello is read already
        else:
            fellow = self._libvirt if purpose == "libvirt" else daemon.MEMORY
            self.launcher.aside(lambda: _pass_on(line, fellow), lambda _: None)

    def _refused(self, why: str) -> None:
        self.launcher.note("refused", error=why)

    def _hear(self) -> None:
        if self._words is None:
            return
        said = self._words.hear()
        if said is None:
            self._hang_up()
            if self._is_measured:
                self.close()  # it has heard where its guest is
            elif self.launcher.phase is Phase.WAITING and not self.launcher.has_qemu:
                self._shut_again()  # it has thought better of it, and may knock again
            return
        for word in said:
            self._heard(word)

    def _hang_up(self) -> None:
        if self._words is not None:
            self.launcher.unwatch(self._words.socket)
            self._words.close()
            self._words = None

    def _heard(self, word: Word) -> None:
        match word:
            case Ask():
                self._expiry.progress()
                self._say(Ready(self.launcher.phase, self.launcher.facts))
            case Stopped():
                self.launcher.happened(Event.HEARD_STOPPED)
            case Back():
                self.launcher.happened(Event.HEARD_BACK)
            case Where():
                self._say_where()
            case _:
                self.launcher.note("odd word", word=type(word).__name__)

    def _say(self, word: Word) -> None:
        if self._words is not None and not self._words.say(word):
            self._hang_up()

    def _say_where(self) -> None:
        """Tell the source that the guest is here, or that it is still worth waiting for."""
        if self._is_measured:
            self._say_arrived()
        elif self.launcher.phase in {Phase.WAITING, Phase.ARRIVING, Phase.RUNNING}:
            self._say(Coming())

    # ── it is here ──

    def resumed(self, stamp: float, boot_id: str) -> None:
        """Note when the guest ran on here, by QEMU's own stamp."""
        self.arrival = Arrival(resumed=stamp, boot_id=boot_id)

    def say_arrived(self) -> None:
        """Tell the source, with libvirt's figure, which is there once its side of the migration is over."""
        self._stats = Limit(STATS_PATIENCE, in_all=STATS_IN_ALL)
        self.launcher.later(STATS_AFTER, self._measure)

    def _measure(self) -> None:
        def measured(said: Any) -> None:
            if said is None:
                self.launcher.later(STATS_AFTER, self._measure)
                return
            if isinstance(said, int) and self.arrival is not None:
                self.arrival = structs.replace(self.arrival, downtime_ms=said)
            self._is_measured = True
            self._say_arrived()

        self.launcher.aside(self._downtime, measured)

    def _downtime(self) -> int | None:
        """In a thread: the figure, None while it may still come; raises when it does not."""
        assert self.launcher.connection is not None
        figure = daemon.downtime(self.launcher.connection, self.launcher.job.domain)
        if figure is None:
            self._stats.sees(cpu_seconds(*(process.pid for process in self.launcher.daemons)))
            if self._stats.is_over():
                raise TimeoutError
        return figure

    def _say_arrived(self) -> None:
        if self.arrival is not None:
            self._say(Arrived(self.arrival))

    # ── the end ──

    def lift(self) -> None:
        """Shut the door, at once when no guest will come; else when the source knows where its guest is."""
        if self.launcher.phase is Phase.RUNNING:
            self.launcher.later(CLOSE_AFTER, self.close)
        else:
            self.close()

    def close(self) -> None:
        """Shut the door for good, and take back what the migration needed of nft."""
        if self._knocks is None:
            return
        self.launcher.unwatch(self._knocks.socket)
        self._knocks.close()
        self._knocks = None
        self._close_door()
        self._hang_up()

        def lifted(error: str) -> None:
            self.launcher.note("lifted", error=error)

        later = LIFT_AFTER if self.launcher.phase is Phase.RUNNING else 0.0
        self.launcher.later(later, lambda: self.launcher.node.order(orders.Settle("receiving"), then=lifted))


def _pass_on(line: Line, fellow: Path) -> None:
    """Lead a connection to whom it is for; blocks until it is over."""
    plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        plain.connect(str(fellow))
    except OSError:
        plain.close()
        line.close()
        return
    pump(line, plain)
