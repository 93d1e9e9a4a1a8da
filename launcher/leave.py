"""One departure: the source's side of a migration, from the first question to the answer.

ask ─ready─▶ libvirt migrates ─moved─▶ where ─arrived─▶ answered
╲─nobody─▶ refused        ╲─failed─▶ the guest is back ─▶ answered
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from launcher.migrate import Arrival, Event, Facts, Phase, Timing, downtime, refusals
from nncp.errors import Error, ErrorKind, together

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from libvirt import virConnect

    from launcher.words import Talk

ASK_EVERY = 0.2
READY_PATIENCE = 3.0
ARRIVED_PATIENCE = 8.0
RESUME_PATIENCE = 10.0
"""Seconds for the guest to run on at the source after libvirt gave up; it resumes it before it says so."""


class Home(Protocol):
    """What a departure needs of its launcher."""

    phase: Phase
    talk: Talk | None
    facts: Facts
    timing: Timing | None
    connection: virConnect | None
    job: Any

    def later(self, seconds: float, call: Callable[[], None]) -> None: ...  # noqa: D102 -- see Machine
    def aside(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None: ...  # noqa: D102
    def happened(self, event: Event, **more: Any) -> None: ...  # noqa: D102
    def departed(self, line: socket.socket, answer: dict[str, Any] | Error) -> None: ...  # noqa: D102


class Departure:
    """A migration that somebody waits for on `line`."""

    def __init__(self, home: Home, *, to: str, limit_ms: int, timeout: float, line: socket.socket) -> None:
        assert home.talk is not None
        self.home = home
        self.talk = home.talk
        self.to = to
        self.limit_ms = limit_ms
        self.timeout = timeout
        self.line = line
        self.began = time.time()
        self.total = 0.0
        self._waiting_for = ""
        self._until = 0.0

    def start(self) -> None:
        """Ask the target whether it is ready."""
        self.talk.peer = self.to
        self._ask("ask", awaited="ready", patience=READY_PATIENCE)

    def _ask(self, word: str, *, awaited: str, patience: float) -> None:
        self._waiting_for = awaited
        self._until = time.time() + patience
        self._repeat(word, awaited)

    def _repeat(self, word: str, awaited: str) -> None:
        if self._waiting_for != awaited:
            return
        if time.time() > self._until:
            self._unanswered(awaited)
            return
        self.talk.say(word)
        self.home.later(ASK_EVERY, lambda: self._repeat(word, awaited))

    def _unanswered(self, awaited: str) -> None:
        self._waiting_for = ""
        if awaited == "arrived":
            self._succeed(None)
            return
        self._refuse(
            f"no target is ready at {self.to}", hint=f"launcher prepare --from {self.home.job.record.address}"
        )

    def heard(self, said: dict[str, Any]) -> None:
        """Take the target's answer to what was last asked."""
        if said["word"] != self._waiting_for:
            return
        self._waiting_for = ""
        if said["word"] == "ready":
            self._is_ready(said)
        else:
            self._succeed(msgspec.convert({key: said[key] for key in said if key != "word"}, Arrival))

    def _is_ready(self, said: dict[str, Any]) -> None:
        if said["phase"] != Phase.WAITING.value:
            self._refuse(f"the target Pod at {self.to} is {said['phase']}", hint="prepare a new one")
            return
        reasons = list(refusals(self.home.facts, msgspec.convert(said["facts"], Facts)))
        if reasons:
            kind = ErrorKind.UNSUPPORTED
            error = together(
                Error(f"migration to {self.to} refused: {reason}", kind=kind) for reason in reasons
            )
            assert error is not None
            self.home.departed(self.line, error)
            return
        self.began = time.time()
        self.home.happened(Event.LEAVE, to=self.to, limit_ms=self.limit_ms)
        self.home.later(self.timeout, self._abort)
        self.home.aside(self._migrate, self._ended)

    def _refuse(self, message: str, *, hint: str = "") -> None:
        self.home.departed(self.line, Error(message, kind=ErrorKind.FAILED, hint=hint))

    def _migrate(self) -> None:
        """In a thread: libvirt's own migration, daemon to daemon."""
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.home.connection is not None
        domain = self.home.connection.lookupByName(self.home.job.domain)
        # Each QEMU starts at 300 ms, and the limit in force when the migration starts holds for all of it.
        domain.migrateSetMaxDowntime(self.limit_ms, 0)
        host = f"[{self.to}]" if ":" in self.to else self.to
        # UNSAFE: libvirt calls tmpfs and overlay local. That the disk is shared was proved by its lock.
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_UNSAFE
        domain.migrateToURI3(f"qemu+tcp://{host}/system", {}, flags)

    def _abort(self) -> None:
        if self.home.phase is Phase.LEAVING:
            self.home.aside(self._abort_job, lambda _: None)

    def _abort_job(self) -> None:
        assert self.home.connection is not None
        self.home.connection.lookupByName(self.home.job.domain).abortJob()

    def _ended(self, error: Any) -> None:
        self.total = time.time() - self.began
        if error is None:
            self.home.happened(Event.MOVED)
            self._ask("where", awaited="arrived", patience=ARRIVED_PATIENCE)
            return
        self.home.happened(Event.FAILED, error=str(error))
        self._until = time.time() + RESUME_PATIENCE
        self._fail(str(error))

    def _fail(self, why: str) -> None:
        """Answer once it is clear whether the guest runs on here."""
        if self.home.phase is Phase.STRANDED and time.time() < self._until:
            self.home.later(0.05, lambda: self._fail(why))
            return
        running = self.home.phase is Phase.RUNNING
        state = "the guest runs on in its Pod" if running else f"the guest is {self.home.phase.value}"
        kind = ErrorKind.FAILED if running else ErrorKind.ROLLBACK_FAILED
        self.home.departed(self.line, Error(f"migration to {self.to} failed: {why}", kind=kind, hint=state))

    def _succeed(self, arrival: Arrival | None) -> None:
        record = self.home.job.record
        answer = {
            "vm": record.vm,
            "from": record.address,
            "to": self.to,
            "total_s": round(self.total, 3),
            "max_downtime_ms": self.limit_ms,
            **downtime(self.home.timing, arrival),
            "stopped_at": self.home.timing.stopped if self.home.timing else None,
            "resumed_at": arrival.resumed if arrival else None,
        }
        self.home.departed(self.line, answer)
