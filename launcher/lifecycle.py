"""The launcher proper: a process in the Pod, without rights, that starts the guest, watches and moves it.

One thread runs the loop; libvirt's calls, which block, run in threads of their own and come back as events.
What happens is decided in `migration.states`; this only carries it out. Near the switchover nothing forks and
nothing waits: sockets are open and messages packed. What takes rights is asked of the Pod's node handler.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from launcher import control, daemon, priority, rootfs
from launcher.domain import EMULATOR, MONITOR
from launcher.log import Log, shorten
from launcher.loop import Loop
from launcher.migration import channel, credentials, facts
from launcher.migration.source import Departure
from launcher.migration.states import ANNOUNCE_MS, Action, Event, Phase, step
from launcher.migration.target import Reception
from launcher.migration.words import Back, Stopped
from launcher.node import Node
from launcher.qmp import Monitor, QemuEvent
from launcher.seed import Seed, write_seed
from launcher.services import Served
from nncp.errors import Error, ErrorKind
from vmnet.node import gate, orders
from vmnet.record import Record

if TYPE_CHECKING:
    import socket
    import ssl
    import subprocess
    from collections.abc import Sequence

    from libvirt import virConnect

    from launcher.migration.words import Word

LINGER = 1.0  # seconds that an empty Pod stays: taking it down would slow a guest that resumes next door
GIVE_WAY = 1.0  # seconds in which a guest that has just begun to run here goes before its management
SHORTEN_EVERY = 1.0  # seconds; a serial line brings some megabytes in that time
PRESS_EVERY = 5.0  # seconds between two presses of a guest's power button
BUG_PAUSE = 0.1  # seconds after an exception that nobody expected: this loop goes first on the CPU
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

ORDERED: dict[Action, orders.Act] = {
    Action.DECOY: orders.Decoy(),
    Action.OPEN: orders.Open(),
    Action.CLOSE: orders.Close(),
    Action.ANNOUNCE: orders.Announce(ANNOUNCE_MS),
    Action.MUTE: orders.Mute(),
}
"""What takes rights, and is ordered of the node's handler."""


class Job(Struct, frozen=True):
    """What a launcher is to do: run this guest in this Pod, or take it in from `source`.

    `half` is the target's half of the migration's credentials.
    """

    record: Record
    domain_xml: str
    domain: str
    accelerator: str
    seed: Seed | None = None
    source: str = ""
    half: credentials.Half | None = None


class Launcher(Loop):
    """A Pod's launcher, from its daemon's start to its guest's end."""

    def __init__(self, job: Job, listener: socket.socket, handler: socket.socket) -> None:
        super().__init__()
        self.job = job
        self.phase = Phase.WAITING if job.source else Phase.RUNNING
        self.boot_id = BOOT_ID.read_text(encoding="ascii").strip()
        self.log = Log(rootfs.POD / "launcher.log")
        self.monitor = Monitor(Path(MONITOR))
        self.node = Node(handler)
        self.departure: Departure | None = None
        self.timing: facts.Timing | None = None
        self.connection: virConnect | None = None
        self.daemons: list[subprocess.Popen[bytes]] = []
        self.facts = facts.Facts()
        self.reception: Reception | None = None
        self._stopping: list[socket.socket] = []
        self._listener = listener
        self.watch(listener, self._asked)
        self.watch(self.monitor.listener, self._qemu_came)

    def note(self, event: str, **more: Any) -> None:
        """Log an event with its fields, stamped by the wall clock as QEMU stamps its own."""
        self.log.write(
            json.dumps({"t": round(time.time(), 6), "phase": self.phase.value, "event": event, **more})
        )

    def failed(self, error: Exception) -> None:
        """Note an exception that nobody expected; what it comes from may be there again at once."""
        self.note("bug", error="".join(traceback.format_exception(error)))
        time.sleep(BUG_PAUSE)

    @property
    def has_qemu(self) -> bool:
        """Whether the guest's QEMU is there."""
        return self.monitor.qemu is not None

    # ── start ──

    def start(self) -> None:
        """Bring up what the guest needs; then start it, or make ready to take it in."""
        job = self.job
        self._serve(self.node.greeted())
        self.watch(self.node.line, self._handler_spoke)
        if job.seed is not None:
            write_seed(job.seed, rootfs.POD / "seed.iso")
        version = daemon.qemu_version(EMULATOR)
        if job.source and job.accelerator == "tcg" and (said := facts.unsafe(version)):
            raise Error(
                said,
                kind=ErrorKind.UNSUPPORTED,
                hint="give --qemu the tree of a newer one; `vmnet rack images qemu` makes DIR/tree",
            )
        log = rootfs.POD / "libvirt.log"
        self.daemons = daemon.start(host_uuid=job.record.uid, log=log)
        self.connection = daemon.connect(self.daemons, log=log)
        self.note("libvirt answers")
        for process in self.daemons:
            self._watch_end(process)
        self.facts = facts.Facts(
            qemu=version,
            accelerator=job.accelerator,
            boot_id=self.boot_id,
            host_uuid=job.record.uid,
            vm=job.record.vm,
            macs={nic.name: nic.mac for nic in job.record.interfaces},
            mtus={nic.name: nic.link.mtu for nic in job.record.interfaces},
            addresses={nic.name: nic.address for nic in job.record.interfaces},
        )
        if job.half is not None:
            self.reception = Reception(self, job.half, libvirt=daemon.socket_path())
            self.reception.open()
        else:
            self._start_guest()
        self.note("ready", qemu=version, accelerator=job.accelerator)

    def _serve(self, files: Sequence[socket.socket]) -> None:
        """Start the programs that serve the guest, each with its sockets, which the handler opened."""
        left = iter(files)
        for service in self.job.record.services:
            Served(service, list(itertools.islice(left, len(service.sockets))), self, 2).start()
            self.note("serves", service=service.name)

    def _start_guest(self) -> None:
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.connection is not None
        self.node.ask(orders.Open())  # a target that was given up has left them closed
        try:
            self.connection.createXML(self.job.domain_xml, 0)
        except libvirt.libvirtError as error:
            hint = f"see {rootfs.POD / 'libvirt.log'} in the Pod"
            raise Error(f"the guest did not start: {error}", kind=ErrorKind.FAILED, hint=hint) from None

    def _watch_end(self, process: subprocess.Popen[bytes]) -> None:
        """Without its daemon a Pod cannot be managed: it ends, and its guest with it."""
        descriptor = os.pidfd_open(process.pid)

        def ended() -> None:
            self.unwatch(descriptor)
            self.note("daemon ended", code=process.wait())
            self.end(ErrorKind.FAILED.exit_code)

        self.watch(descriptor, ended)

    def run(self) -> int:
        """Serve until there is nothing left to do; return the Pod's exit code."""
        self._shorten()
        code = super().run()
        self.note("ended", code=code)
        return code

    def _shorten(self) -> None:
        """Keep what grows with what the guest says within bounds."""
        for name in ("console.log", "libvirt.log"):
            shorten(rootfs.POD / name)
        self.later(SHORTEN_EVERY, self._shorten)

    # ── events in, actions out ──

    def happened(self, event: Event, **more: Any) -> None:
        """Let `migration.states` decide what an event means, and do it."""
        before = self.phase
        led = step(before, event)
        self.phase = led.phase
        for ordered, actions in itertools.groupby(led.actions, key=ORDERED.__contains__):
            if ordered:
                self._order(list(actions))
            else:
                for action in actions:
                    self._act(action)
        # Logged last: the file is not what the guest waits for.
        self.note(event.value, before=before.value, actions=[action.value for action in led.actions], **more)

    def _order(self, actions: Sequence[Action]) -> None:
        def done(error: str) -> None:
            if error:
                self.note("not done", actions=[action.value for action in actions], error=error)

        self.node.order(*(ORDERED[action] for action in actions), then=done)

    def _act(self, action: Action) -> None:
        {
            Action.SAY_STOPPED: lambda: self._say(Stopped()),
            Action.SAY_BACK: lambda: self._say(Back()),
            Action.GIVE_WAY: self._give_way,
            Action.SAY_ARRIVED: self._has_arrived,
            Action.LIFT: self._lift,
            Action.END: self._guest_gone,
        }[action]()

    def _has_arrived(self) -> None:
        if self.reception is not None:
            self.reception.say_arrived()

    def _lift(self) -> None:
        if self.reception is not None:
            self.reception.lift()

    def _say(self, word: Word) -> None:
        if self.departure is not None:
            self.departure.say(word)

    def _guest_gone(self) -> None:
        if self._stopping:
            self._stopped()
        elif self.departure is None:
            self.end()  # nobody waits for an answer

    def _give_way(self, *, is_over: bool = False) -> None:
        """Let libvirt and QEMU's monitor run after the guest, for a while; then all that they are by then."""
        these = [thread for process in self.daemons for thread in priority.threads(process.pid)]
        these += priority.threads(self.monitor.pid, priority.MONITOR_THREAD)
        priority.give_way(these, until_idle=not is_over)
        if not is_over:
            self.later(GIVE_WAY, functools.partial(self._give_way, is_over=True))

    # ── the node's handler ──

    def _handler_spoke(self) -> None:
        try:
            self.node.read()
        except Error as error:
            self.note("odd answer of the handler", error=error.message)
        if self.node.is_gone:
            self.unwatch(self.node.line)
            self.note("handler ended")
            if self.phase in {Phase.WAITING, Phase.ARRIVING}:
                self.end(ErrorKind.FAILED.exit_code)  # nobody could open its gate: the guest stays there

    # ── QEMU ──

    def _qemu_came(self) -> None:
        self.watch(self.monitor.accept(), self._qemu_spoke)
        self.note("qemu came")

    def _qemu_spoke(self) -> None:
        qemu = self.monitor.qemu
        assert qemu is not None
        descriptor = qemu.fileno()
        said = self.monitor.read()
        if said is None:
            self.unwatch(descriptor)
            self.happened(Event.LOST)
            return
        for event in said:
            self._qemu_event(event)

    def _qemu_event(self, event: QemuEvent) -> None:
        if event.name == "STOP":
            self.timing = facts.Timing(stopped=event.stamp, boot_id=self.boot_id)
            self.happened(Event.STOP, stamp=event.stamp)
        elif event.name == "RESUME":
            if self.reception is not None and self.phase in {Phase.WAITING, Phase.ARRIVING}:
                self.reception.resumed(event.stamp, self.boot_id)
            self.happened(Event.RESUME, stamp=event.stamp)
        else:
            if event.name == "MIGRATION_PASS" and self.departure is not None:
                self.departure.passed(event.data.get("pass", 0))
            self.note(f"qemu {event.name}", stamp=event.stamp, data=event.data)

    # ── what commands ask ──

    def _asked(self) -> None:
        line, _ = self._listener.accept()
        request = control.Request(line)
        self.watch(line, lambda: self._read(request))

    def _read(self, request: control.Request) -> None:
        asked = request.read()
        if asked is None:
            return
        line = request.line
        self.unwatch(line)
        try:
            self._do(line, asked)
        except Error as error:
            control.reply(line, error)
        except Exception as error:
            control.reply(line, Error(f"the launcher has a bug: {error!r}", kind=ErrorKind.BUG))
            raise
        self._keep_waiting(line)

    def _do(self, line: socket.socket, asked: bytes) -> None:
        match control.wanted(asked):
            case control.Leave() as leave:
                self._leave(line, leave)
            case control.Stop() as stop:
                self._stop(line, stop.grace)
            case control.Status():
                control.reply(line, self.status())

    def _keep_waiting(self, line: socket.socket) -> None:
        """Tell whoever waits for an answer, as long as there is none, that it is being worked at."""
        if line.fileno() >= 0 and control.say_working(line):
            self.later(control.WORKING_EVERY, lambda: self._keep_waiting(line))

    def status(self) -> dict[str, Any]:
        """Return what can be said of the Pod without asking anybody."""
        record = self.job.record
        is_open = gate.is_open(one.nic for one in record.gates)
        return {
            "pod": record.name,
            "vm": record.vm,
            "phase": self.phase.value,
            "accelerator": self.facts.accelerator,
            "qemu": ".".join(str(part) for part in self.facts.qemu),
            "address": record.address,
            "from": self.job.source,
            "gate": "open" if is_open else "closed",
            "handler": "ended" if self.node.is_gone else "running",
            **({"cannot_move": said} if (said := self._cannot_move()) else {}),
            "interfaces": [{"name": n.name, "mac": n.mac, "tap": n.devices.tap} for n in record.interfaces],
        }

    def _cannot_move(self) -> str:
        """Say why the guest could not be moved, whatever target there is; nothing when it could."""
        return facts.unsafe(self.facts.qemu) if self.facts.accelerator == "tcg" else ""

    def _leave(self, line: socket.socket, leave: control.Leave) -> None:
        if self.phase is not Phase.RUNNING or self.departure is not None:
            state = "leaving" if self.departure is not None else self.phase.value
            message = f"the guest cannot leave Pod {self.job.record.name}: it is {state}"
            raise Error(message, kind=ErrorKind.FAILED)
        for nic in self.job.record.interfaces:
            if nic.migration.refusal:
                raise Error(nic.migration.refusal, kind=ErrorKind.UNSUPPORTED, subject=nic.name)
        half = leave.credentials
        if said := self._cannot_move():
            hint = "end it, and start it by a newer QEMU: launcher start --qemu"
            raise Error(f"the guest cannot be moved: {said}", kind=ErrorKind.UNSUPPORTED, hint=hint)
        if half.to == self.job.record.address:
            hint = "launcher prepare on the target's node writes them, for one migration"
            raise Error("these credentials lead to this very Pod", kind=ErrorKind.USAGE, hint=hint)
        tls = credentials.taken(half)
        self.departure = Departure(
            self,
            to=half.to,
            limit_ms=leave.max_downtime,
            timeout=leave.timeout,
            line=line,
            reach=lambda: channel.reach(half.to, tls, bytes.fromhex(half.secret)),
            forward=lambda: self._forwarders(half.to, tls),
        )
        self.departure.start()

    def _forwarders(self, to: str, tls: ssl.SSLContext) -> list[channel.Forwarder]:
        """Open the ways of libvirt and QEMU to their fellows: both, or none and OSError."""
        with contextlib.ExitStack() as stack:
            libvirts = channel.Forwarder(daemon.PEER, self, lambda: channel.connect(to, tls, "libvirt"))
            stack.callback(libvirts.close)
            memorys = channel.Forwarder(daemon.MEMORY, self, lambda: channel.connect(to, tls, "memory"))
            stack.pop_all()
        return [libvirts, memorys]

    def departed(self, line: socket.socket, answer: dict[str, Any] | Error) -> None:
        """Answer whoever asked for the migration; the Pod ends when its guest has gone."""
        self.departure = None
        self.timing = None
        if self.phase in {Phase.GONE, Phase.ENDED}:
            self._hear_nobody()
        control.reply(line, answer)
        if self.phase in {Phase.GONE, Phase.ENDED}:
            self.later(LINGER, self.end)

    def _stop(self, line: socket.socket, grace: float) -> None:
        """Ask the guest to shut down, give it `grace` seconds, and end the Pod."""
        self._stopping.append(line)
        if grace <= 0 or self.phase is not Phase.RUNNING:
            self._stopped()
            return
        self.later(grace, self._stopped)  # or when its QEMU ends
        self._press()

    def _hear_nobody(self) -> None:
        """Whoever is answered now finds no launcher here any more: `vmnet detach` comes next."""
        if self._listener.fileno() >= 0:
            self.unwatch(self._listener)
            self._listener.close()

    def _press(self) -> None:
        """Press the power button, again and again: a guest that still boots does not hear it."""

        def pressed(error: Any) -> None:
            if error is None:
                self.later(PRESS_EVERY, self._press)
            else:
                self._stopped()

        if self._stopping:
            self.aside(self._shut_down, pressed)

    def _shut_down(self) -> None:
        assert self.connection is not None
        self.connection.lookupByName(self.job.domain).shutdown()

    def _stopped(self) -> None:
        self._hear_nobody()
        for line in self._stopping:
            control.reply(line, {"pod": self.job.record.name, "stopped": True})
        self._stopping.clear()
        self.end()
