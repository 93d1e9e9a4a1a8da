"""The launcher proper: one process in the Pod that starts the guest, watches it, and moves it.

One thread runs the loop below; libvirt's calls, which block, run in threads of their own and come back as
events. What happens is decided in `migrate`; this only carries it out. Near the switchover nothing forks and
nothing waits: sockets are open and messages packed.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import queue
import selectors
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from launcher import control, daemon, priority, sandbox
from launcher.domain import EMULATOR, MONITOR
from launcher.migration.source import Departure
from launcher.migration.states import (
    ANNOUNCE_MS,
    WORD_PORT,
    Action,
    Arrival,
    Event,
    Facts,
    Phase,
    Timing,
    step,
    unsafe,
)
from launcher.migration.words import Peer
from launcher.qmp import Monitor, QemuEvent
from launcher.services import Served
from nncp.errors import Error, ErrorKind
from nncp.pace import Limit, cpu_seconds
from vmnet import nft
from vmnet.node import sockets
from vmnet.node.announce import Announcer, Decoy, Gate
from vmnet.record import Record

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from libvirt import virConnect


LIFT_AFTER = (
    1.0  # seconds after the guest runs here: loading nft's rules forks, and the guest has to catch up first
)
EXPIRES = 600.0  # seconds of a quiet machine that a target is kept ready for a source that never comes
LINGER = 1.0  # seconds that an empty Pod stays: taking it down would slow a guest that resumes next door
GIVE_WAY = 1.0  # seconds in which a guest that has just begun to run here goes before its management
LONGEST_SLEEP = 3600.0  # epoll_wait(2) counts milliseconds in an int
PRESS_EVERY = 5.0  # seconds between two presses of a guest's power button
STATS_AFTER = 0.5
# Of a quiet machine: libvirt's figure of the pause, since its daemon last did anything; and in all.
STATS_PATIENCE, STATS_IN_ALL = 6.0, 60.0
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Job(Struct, frozen=True):
    """What a launcher is to do: run this guest in this Pod, or take it in from `source`."""

    record: Record
    domain_xml: str
    domain: str
    accelerator: str
    source: str = ""


class Launcher:
    """A Pod's launcher, from its daemon's start to its guest's end."""

    def __init__(self, job: Job, listener: socket.socket) -> None:
        self.job = job
        self.phase = Phase.WAITING if job.source else Phase.RUNNING
        self.boot_id = BOOT_ID.read_text(encoding="ascii").strip()
        self.log = (sandbox.POD / "launcher.log").open("a", buffering=1, encoding="utf-8")
        gates = job.record.gates
        self.gate = Gate([gate.nic for gate in gates])
        self.announcer = Announcer([(gate.nic, gate.mac) for gate in gates])
        self.decoy = Decoy([gate.tap for gate in gates])
        self.monitor = Monitor(Path(MONITOR))
        self.peer = Peer(job.record.address) if job.record.address else None
        self.departure: Departure | None = None
        self.arrival: Arrival | None = None
        self.timing: Timing | None = None
        self._is_measured = False
        self._stats = Limit(STATS_PATIENCE)
        self._expiry = Limit(EXPIRES)
        self._stopping: list[socket.socket] = []
        self.connection: virConnect | None = None
        self.facts = Facts()
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._ending: int | None = None
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self.watch(listener, self._asked)
        self.watch(self._woken, self._returned)
        self.watch(self.monitor.listener, self._qemu_came)
        if self.peer is not None:
            self.watch(self.peer.socket, self._heard)
        self._listener = listener

    def note(self, event: str, **more: Any) -> None:
        """Log an event with its fields, stamped by the wall clock as QEMU stamps its own."""
        self.log.write(
            json.dumps({"t": round(time.time(), 6), "phase": self.phase.value, "event": event, **more}) + "\n"
        )

    # ── start ──

    def start(self) -> None:
        """Bring up what the guest needs; then start it, or make ready to take it in."""
        job = self.job
        for service in job.record.services:
            files = [sockets.opened(wanted) for wanted in service.sockets]
            Served(service, files, self, 2).start()
            self.note("serves", service=service.name)
        version = daemon.qemu_version(EMULATOR)
        if job.source and job.accelerator == "tcg" and (said := unsafe(version)):
            raise Error(said, kind=ErrorKind.UNSUPPORTED, hint="give --qemu a tree of a newer QEMU")
        log = sandbox.POD / "libvirt.log"
        self._daemons = daemon.start(address=job.record.address, host_uuid=job.record.uid, log=log)
        self.connection = daemon.connect(self._daemons, log=log)
        self.note("libvirt answers")
        for process in self._daemons:
            self._watch_end(process)
        self.facts = Facts(
            qemu=version,
            accelerator=job.accelerator,
            boot_id=self.boot_id,
            host_uuid=job.record.uid,
            mtus={nic.name: nic.link.mtu for nic in job.record.interfaces},
        )
        if job.source:
            self._make_ready()
        else:
            self._start_guest()
        self.note("ready", qemu=version, accelerator=job.accelerator)

    def _start_guest(self) -> None:
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.connection is not None
        try:
            self.connection.createXML(self.job.domain_xml, 0)
        except libvirt.libvirtError as error:
            hint = f"see {sandbox.POD / 'libvirt.log'} in the Pod"
            raise Error(f"the guest did not start: {error}", kind=ErrorKind.FAILED, hint=hint) from None

    def _make_ready(self) -> None:
        """Close the gate, let the source in, and have libvirt look at QEMU now rather than then."""
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.connection is not None
        if self.peer is None:
            raise Error("the Pod has no address of its own to migrate to", kind=ErrorKind.FAILED)
        self.gate.close()
        self.peer.address = self.job.source
        nft.run(nft.exempt(source=self.job.source, pod=self.job.record.address, word_port=WORD_PORT))
        try:
            # Defining it asks QEMU for all it can, a second or more that would count as migration otherwise.
            self.connection.defineXML(self.job.domain_xml).undefine()
        except libvirt.libvirtError as error:
            raise Error(f"libvirt does not take the guest's domain: {error}", kind=ErrorKind.FAILED) from None
        self._expiry.progress()
        self.later(EXPIRES, self._expire)

    def _expire(self) -> None:
        """Give up a source that never came. One whose QEMU is here already may take as long as it needs."""

        def measured(is_over: Any) -> None:
            if is_over and not self._expiry.left:
                self.happened(Event.EXPIRED)
            else:
                self.later(max(self._expiry.left, 1.0), self._expire)

        if self.monitor.qemu is not None:
            self._expiry.progress()
        if self.phase is Phase.WAITING:
            self.aside(self._expiry.is_over, measured)

    def _watch_end(self, process: subprocess.Popen[bytes]) -> None:
        """Without its daemon a Pod cannot be managed: it ends, and its guest with it."""
        descriptor = os.pidfd_open(process.pid)

        def ended() -> None:
            self._selector.unregister(descriptor)
            self.note("daemon ended", code=process.wait())
            self.end(ErrorKind.FAILED.exit_code)

        self._selector.register(descriptor, selectors.EVENT_READ, ended)

    # ── the loop ──

    def run(self) -> int:
        """Serve until there is nothing left to do; return the Pod's exit code."""
        priority.hurry()
        while self._ending is None:
            for key, _ in self._selector.select(self._wait()):
                key.data()
            now = time.time()
            if sent := self.announcer.speak(now):
                self.note("announced", frames=sent)
            while self._due and self._due[0][0] <= now:
                heapq.heappop(self._due)[2]()
        self.note("ended", code=self._ending)
        return self._ending

    def _wait(self) -> float | None:
        times = [
            time_
            for time_ in (self.announcer.next, self._due[0][0] if self._due else None)
            if time_ is not None
        ]
        return min(max(0.0, min(times) - time.time()), LONGEST_SLEEP) if times else None

    def watch(self, file: socket.socket | int, call: Callable[[], None]) -> None:
        """Call something whenever a file can be read."""
        self._selector.register(file, selectors.EVENT_READ, call)

    def unwatch(self, file: socket.socket | int) -> None:
        """Do so no more."""
        self._selector.unregister(file)

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call something in the loop, so many seconds from now."""
        heapq.heappush(self._due, (time.time() + seconds, next(self._numbers), call))

    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        """Do what blocks in a thread; `then` is called in the loop with its result or its exception."""

        def thread() -> None:
            result: Any
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 -- `then` decides what it means
                result = error
            self._done.put(lambda: then(result))
            self._wake.send(b"x")

        threading.Thread(target=thread, daemon=True).start()

    def _returned(self) -> None:
        self._woken.recv(64)
        while not self._done.empty():
            self._done.get()()

    def end(self, code: int = 0) -> None:
        """Leave the loop; the Pod ends with it."""
        self._ending = code if self._ending is None else self._ending

    # ── events in, actions out ──

    def happened(self, event: Event, **more: Any) -> None:
        """Let `migrate` decide what an event means, and do it."""
        before = self.phase
        led = step(before, event)
        self.phase = led.phase
        for action in led.actions:
            self._act(action)
        # Logged last: the file is not what the guest waits for.
        self.note(event.value, before=before.value, actions=[action.value for action in led.actions], **more)

    def _act(self, action: Action) -> None:
        {
            Action.DECOY: self.decoy.send,
            Action.OPEN: self.gate.open,
            Action.CLOSE: self.gate.close,
            Action.ANNOUNCE: self._announce,
            Action.MUTE: self.announcer.mute,
            Action.SAY_STOPPED: lambda: self._say("stopped"),
            Action.SAY_BACK: self._say_back,
            Action.GIVE_WAY: self._give_way,
            Action.SAY_ARRIVED: self._has_arrived,
            Action.LIFT: lambda: self.later(LIFT_AFTER, self._lift),
            Action.END: self._guest_gone,
        }[action]()

    def _announce(self) -> None:
        now = time.time()
        self.announcer.plan(now + ms / 1000 for ms in ANNOUNCE_MS)
        self.announcer.speak(now)

    def _say_back(self) -> None:
        for ms in ANNOUNCE_MS:
            self.later(ms / 1000, lambda: self._say("back"))

    def _say(self, word: str, **more: Any) -> None:
        if self.peer is not None and self.peer.address:
            self.peer.say(word, **more)

    def _guest_gone(self) -> None:
        if self._stopping:
            self._stopped()
        elif self.departure is None:
            self.end()  # nobody waits for an answer

    def _give_way(self, *, is_over: bool = False) -> None:
        """Let libvirt and QEMU's monitor run after the guest, for a while; then all that they are by then."""
        these = [thread for process in self._daemons for thread in priority.threads(process.pid)]
        these += priority.threads(self.monitor.pid, priority.MONITOR_THREAD)
        priority.give_way(these, until_idle=not is_over)
        if not is_over:
            self.later(GIVE_WAY, lambda: self._give_way(is_over=True))

    def _lift(self) -> None:
        text = nft.exempt_no_more(pod=self.job.record.address)
        self.aside(lambda: nft.run(text), lambda said: self.note("lifted", error=str(said or "")))

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
            self._selector.unregister(descriptor)
            self.happened(Event.LOST)
            return
        for event in said:
            self._qemu_event(event)

    def _qemu_event(self, event: QemuEvent) -> None:
        if event.name == "STOP":
            self.timing = Timing(stopped=event.stamp, boot_id=self.boot_id)
            self.happened(Event.STOP, stamp=event.stamp)
        elif event.name == "RESUME":
            if self.phase in {Phase.WAITING, Phase.ARRIVING}:
                self.arrival = Arrival(resumed=event.stamp, boot_id=self.boot_id)
            self.happened(Event.RESUME, stamp=event.stamp)
        else:
            self.note(f"qemu {event.name}", stamp=event.stamp, data=event.data)

    def _has_arrived(self) -> None:
        self._stats = Limit(STATS_PATIENCE, in_all=STATS_IN_ALL)
        self.later(STATS_AFTER, self._measure_arrival)

    def _measure_arrival(self) -> None:
        """Ask libvirt for its own figure, which is there once its side of the migration is over."""

        def measured(said: Any) -> None:
            if said is None:
                self.later(STATS_AFTER, self._measure_arrival)
                return
            if isinstance(said, int) and self.arrival is not None:
                self.arrival = msgspec.structs.replace(self.arrival, downtime_ms=said)
            self._is_measured = True
            self._say_arrived()

        self.aside(self._libvirt_downtime, measured)

    def _libvirt_downtime(self) -> int | None:
        """In a thread: the figure, None while it may still come; raises when it does not."""
        assert self.connection is not None
        figure = daemon.downtime(self.connection, self.job.domain)
        if figure is None:
            self._stats.sees(cpu_seconds(*(process.pid for process in self._daemons)))
            if self._stats.is_over():
                raise TimeoutError
        return figure

    def _say_arrived(self) -> None:
        if self.arrival is not None:
            self._say("arrived", **msgspec.to_builtins(self.arrival))

    # ── the peer's words ──

    def _heard(self) -> None:
        assert self.peer is not None
        said = self.peer.hear()
        match said and said["word"]:
            case "ask":
                self._expiry.progress()
                self._say("ready", facts=msgspec.to_builtins(self.facts), phase=self.phase.value)
            case "stopped":
                self.happened(Event.HEARD_STOPPED)
            case "back":
                self.happened(Event.HEARD_BACK)
            case "where":
                self._say_where()
            case "ready" | "arrived" | "coming" if self.departure is not None:
                assert said is not None
                self.departure.heard(said)

    def _say_where(self) -> None:
        """Tell the source that the guest is here, or that it is still worth waiting for."""
        if self._is_measured:
            self._say_arrived()
        elif self.phase in {Phase.WAITING, Phase.ARRIVING, Phase.RUNNING}:
            self._say("coming")

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
        self._selector.unregister(line)
        try:
            self._do(line, asked)
        except Error as error:
            control.reply(line, error)
        self._keep_waiting(line)

    def _do(self, line: socket.socket, asked: dict[str, Any]) -> None:
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
        return {
            "pod": record.name,
            "vm": record.vm,
            "phase": self.phase.value,
            "accelerator": self.facts.accelerator,
            "qemu": ".".join(str(part) for part in self.facts.qemu),
            "address": record.address,
            "gate": "open" if self.gate.is_open else "closed",
            "interfaces": [{"name": n.name, "mac": n.mac, "tap": n.devices.tap} for n in record.interfaces],
        }

    def _leave(self, line: socket.socket, leave: control.Leave) -> None:
        if self.phase is not Phase.RUNNING or self.departure is not None or self.peer is None:
            message = f"the guest cannot leave Pod {self.job.record.name}: it is {self.phase.value}"
            control.reply(line, Error(message, kind=ErrorKind.FAILED))
            return
        self.departure = Departure(
            self, to=leave.to, limit_ms=leave.max_downtime, timeout=leave.timeout, line=line
        )
        self.departure.start()

    def departed(self, line: socket.socket, answer: dict[str, Any] | Error) -> None:
        """Answer whoever asked for the migration; the Pod ends when its guest has gone."""
        self.departure = None
        self.timing = None
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
        for line in self._stopping:
            control.reply(line, {"pod": self.job.record.name, "stopped": True})
        self._stopping.clear()
        self.end()
