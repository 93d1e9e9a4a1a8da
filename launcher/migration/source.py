"""One departure: the source's side of a migration, from the first question to the answer.

ask ─ready─▶ libvirt migrates ─moved─▶ where ─arrived─▶ answered
╲─nobody─▶ refused        ╲─failed─▶ the guest is back ─▶ answered
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Protocol

from launcher import daemon
from launcher.loop import Watching
from launcher.migration.channel import Words
from launcher.migration.facts import Arrival, Facts, Timing, downtime, refusals
from launcher.migration.states import Event, Phase
from launcher.migration.words import Arrived, Ask, Coming, Ready, Where
from nncp.errors import Error, ErrorKind, together
from nncp.pace import Limit
from vmnet.node import orders

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from libvirt import virConnect

    from launcher.migration.channel import Forwarder
    from launcher.migration.words import Word
    from launcher.node import Node

ASK_EVERY = 0.2
RESUMED_EVERY = 0.05
READY_PATIENCE = 3.0
"""Seconds of a quiet machine, as all that follow, for somebody to answer where the guest is to go."""
ARRIVED_PATIENCE, ARRIVED_IN_ALL = 8.0, 120.0
"""Since the target's last word; and in all."""
RESUME_PATIENCE = 10.0
"""For the guest to run on at the source after libvirt gave up; it resumes it before it says so."""
PROGRESS_TIMEOUT = 120.0
"""Since less was left to copy than ever before (KubeVirt's progressTimeout, pkg/virt-handler: 150 s)."""
ABORT_PATIENCE = 30.0
"""For libvirt to end a migration that was given up."""
SWITCH_MS = 30
"""Milliseconds of a pause, in the lab, beside its memory: QEMU does not count them."""
MOST_PASSES = 3
"""Over the guest's memory, until all of the pause is memory's."""
LOOK_AFTER, LOOK_EVERY = 30.0, 5.0
"""A migration that goes well is over by then: nothing asks QEMU how far it is while it should pause soon."""


def for_memory(limit_ms: int) -> int:
    """Return what QEMU may take for the last of the memory, so that the whole pause is within the limit."""
    return max(limit_ms - SWITCH_MS, limit_ms // 4, 1)


class Source(Watching, Protocol):
    """What a departure needs of its launcher."""

    phase: Phase
    node: Node
    facts: Facts
    timing: Timing | None
    connection: virConnect | None
    job: Any

    @property
    def has_qemu(self) -> bool: ...  # noqa: D102 -- see `Launcher`
    def happened(self, event: Event, **more: Any) -> None: ...  # noqa: D102 -- see `Launcher`
    def departed(self, line: socket.socket, answer: dict[str, Any] | Error) -> None: ...  # noqa: D102


class Departure:
    """A migration that somebody waits for on `line`.

    `reach` makes a connection to the target's launcher; `forward` lets libvirt and QEMU reach theirs.
    """

    def __init__(
        self,
        launcher: Source,
        *,
        to: str,
        limit_ms: int,
        timeout: float | None,
        line: socket.socket,
        reach: Callable[[], Words],
        forward: Callable[[], list[Forwarder]],
    ) -> None:
        self.launcher = launcher
        self.to = to
        self.limit_ms = limit_ms
        self.timeout = timeout
        self.line = line
        self.began = time.time()
        self.total = 0.0
        self._reach = reach
        self._forward = forward
        self._forwarders: list[Forwarder] = []
        self._words: Words | None = None
        self._is_reaching = False
        self._why = "nobody answered"
        self._waiting_for: type[Word] | None = None
        self._question: Word | None = None
        self._limit = Limit(READY_PATIENCE)
        self._copying = Limit(PROGRESS_TIMEOUT)
        self._least: int | None = None
        self._given_up = ""
        """Why libvirt was asked to end it."""
        self._is_asking = False
        self._has_ended = False
        self._is_answered = False

    def start(self) -> None:
        """Keep this Pod's guest from the target's ports; then ask the target whether it is ready."""
        self.launcher.node.order(orders.Send(self.to), then=self._is_fenced)

    def _is_fenced(self, error: str) -> None:
        if error:
            hint = (
                "launcher status says whether the Pod's node handler runs; without it no guest can be moved"
            )
            self._refuse(f"the guest could not be kept from the migration's ports: {error}", hint=hint)
            return
        self._ask(Ask(), awaited=Ready, limit=Limit(READY_PATIENCE))

    # ── words ──

    def say(self, word: Word) -> None:
        """Say a word to the target; without a connection, which is made anew then, it is lost."""
        if self._words is not None and self._words.say(word):
            return
        self._hang_up()
        self._connect()

    def _connect(self) -> None:
        if not self._is_reaching and not self._is_answered:
            self._is_reaching = True
            self.launcher.aside(self._reach, self._reached)

    def _reached(self, result: Any) -> None:
        self._is_reaching = False
        if not isinstance(result, Words):
            self._why = getattr(result, "message", None) or getattr(result, "strerror", None) or str(result)
            return
        if self._is_answered:
            result.close()
            return
        self._hang_up()
        self._words = result
        self.launcher.watch(result.socket, self._hear)
        if self._waiting_for is not None and self._question is not None:
            result.say(self._question)

    def _hear(self) -> None:
        assert self._words is not None
        said = self._words.hear()
        if said is None:
            self._why = "it hung up"
            self._hang_up()
            return
        for word in said:
            self.heard(word)

    def _hang_up(self) -> None:
        if self._words is not None:
            self.launcher.unwatch(self._words.socket)
            self._words.close()
            self._words = None

    def _ask(self, word: Word, *, awaited: type[Word], limit: Limit) -> None:
        self._waiting_for = awaited
        self._question = word
        self._limit = limit
        self._repeat(word, awaited)

    def _repeat(self, word: Word, awaited: type[Word]) -> None:
        if self._waiting_for is not awaited:
            return
        self.say(word)
        self._unless_over(
            self._limit,
            then=lambda: self.launcher.later(ASK_EVERY, lambda: self._repeat(word, awaited)),
            over=lambda: self._unanswered(awaited),
        )

    def _unless_over(self, limit: Limit, *, then: Callable[[], None], over: Callable[[], None]) -> None:
        """Go on with one or the other. The machine is measured in a thread: this one is first on the CPU."""

        def measured(is_over: Any) -> None:
            (over if is_over and not limit.left else then)()

        if limit.left:
            then()
        else:
            self.launcher.aside(limit.is_over, measured)

    def _unanswered(self, awaited: type[Word]) -> None:
        if self._waiting_for is not awaited:
            return
        self._waiting_for = None
        if awaited is Arrived:
            self._succeed(None)
            return
        hint = f"launcher prepare --from {self.launcher.job.record.address}"
        self._refuse(f"no target is ready at {self.to} {self._limit.story}: {self._why}", hint=hint)

    def heard(self, word: Word) -> None:
        """Take the target's answer to what was last asked."""
        if isinstance(word, Coming) and self._waiting_for is Arrived:
            self._limit.progress()
        if self._waiting_for is None or not isinstance(word, self._waiting_for):
            return
        self._waiting_for = None
        match word:
            case Ready():
                self._is_ready(word)
            case Arrived():
                self._succeed(word.arrival)

    def _is_ready(self, told: Ready) -> None:
        if told.phase is not Phase.WAITING:
            self._refuse(f"the target Pod at {self.to} is {told.phase.value}", hint="prepare a new one")
            return
        reasons = list(refusals(self.launcher.facts, told.facts))
        if reasons:
            kind = ErrorKind.UNSUPPORTED
            error = together(
                Error(f"migration to {self.to} refused: {reason}", kind=kind) for reason in reasons
            )
            assert error is not None
            self._answer(error)
            return
        self.began = time.time()
        try:
            self._forwarders = self._forward()
        except OSError as error:  # no room for a socket's name, say
            self._refuse(f"the way to {self.to} could not be opened: {error}")
            return
        self.launcher.happened(Event.LEAVE, to=self.to, limit_ms=self.limit_ms)
        self._watch()
        self.launcher.aside(self._migrate, self._ended)

    def _answer(self, answer: dict[str, Any] | Error) -> None:
        if self._is_answered:
            return  # libvirt has ended after all
        self._is_answered = True
        self._hang_up()
        for forwarder in self._forwarders:
            forwarder.close()
        self.launcher.node.order(orders.Settle("sending"))
        self.launcher.departed(self.line, answer)

    def _refuse(self, message: str, *, hint: str = "") -> None:
        self._answer(Error(message, kind=ErrorKind.FAILED, hint=hint))

    def _migrate(self) -> None:
        """In a thread: libvirt's own migration, daemon to daemon."""
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.launcher.connection is not None
        domain = self.launcher.connection.lookupByName(self.launcher.job.domain)
        # Each QEMU begins with 300 ms.
        domain.migrateSetMaxDowntime(for_memory(self.limit_ms), 0)
        # UNSAFE: libvirt calls tmpfs and overlay local. That the disk is shared was proved by its lock.
        flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER | libvirt.VIR_MIGRATE_UNSAFE
        # At the target QEMU listens there, and at the source its launcher does.
        there = {libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{daemon.MEMORY}"}
        domain.migrateToURI3(daemon.uri(daemon.PEER), there, flags)

    def _watch(self) -> None:
        """Give the migration the seconds that somebody asked for, or as long as it gets on."""
        self._copying.progress()
        if self.timeout is None:
            self.launcher.later(LOOK_AFTER, self._look)
        else:
            self.launcher.later(self.timeout, lambda: self._abort(f"it was not done in {self.timeout:g} s"))

    def passed(self, number: int) -> None:
        """Let memory have all of the pause, now that pass `number` begins, if there were enough before.

        A guest that writes much, or a busy machine, is never still enough otherwise.
        """
        if number == MOST_PASSES + 1 and self.launcher.phase is Phase.LEAVING:
            self.launcher.aside(self._give_all, lambda _: None)

    def _give_all(self) -> None:
        assert self.launcher.connection is not None
        domain = self.launcher.connection.lookupByName(self.launcher.job.domain)
        domain.migrateSetMaxDowntime(self.limit_ms, 0)

    def _look(self) -> None:
        """See how far it is. Asking may block, when libvirt hangs: so it is not what the limit waits for."""
        if self._is_answered or self.launcher.phase not in {Phase.LEAVING, Phase.PAUSED}:
            return
        if self.launcher.phase is Phase.LEAVING and not self._is_asking:
            self._is_asking = True
            self.launcher.aside(self._left_to_copy, self._told)
        self._copying.sees(self.launcher.phase)
        self._unless_over(
            self._copying,
            then=lambda: self.launcher.later(LOOK_EVERY, self._look),
            over=lambda: self._abort(f"it did not get on: not done {self._copying.story}"),
        )

    def _told(self, left: Any) -> None:
        self._is_asking = False
        if isinstance(left, int) and (self._least is None or left < self._least):
            self._least = left
            self._copying.progress()

    def _left_to_copy(self) -> int | None:
        import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

        assert self.launcher.connection is not None
        try:
            said = self.launcher.connection.lookupByName(self.launcher.job.domain).jobStats()
        except libvirt.libvirtError:  # it has not begun, or is over
            return None
        # libvirt's job begins before QEMU's migration, and says 0 of everything until then.
        return int(said["data_remaining"]) if said.get("data_total") else None

    def _abort(self, why: str) -> None:
        """Have libvirt end it; a guest that is paused may run elsewhere by now, and only libvirt knows."""
        if self._is_answered or self.launcher.phase not in {Phase.LEAVING, Phase.PAUSED}:
            return
        if self.launcher.phase is Phase.LEAVING:
            self._given_up = why
            self.launcher.aside(self._abort_job, lambda _: None)
        self._await_end(Limit(ABORT_PATIENCE), why)

    def _await_end(self, limit: Limit, why: str) -> None:
        if self._has_ended or self._is_answered:
            return
        self._unless_over(
            limit,
            then=lambda: self.launcher.later(ASK_EVERY, lambda: self._await_end(limit, why)),
            over=lambda: self._hangs(limit, why),
        )

    def _hangs(self, limit: Limit, why: str) -> None:
        if not self._has_ended:
            silence = f"end it {limit.story}"
            if not self._given_up:
                silence = f"say {limit.story} whether the guest has moved"
            message = f"migration to {self.to}: {why}, and libvirt did not {silence}"
            state = f"the guest is {self.launcher.phase.value}"
            self._answer(Error(message, kind=ErrorKind.ROLLBACK_FAILED, hint=state))

    def _abort_job(self) -> None:
        assert self.launcher.connection is not None
        self.launcher.connection.lookupByName(self.launcher.job.domain).abortJob()

    def _ended(self, error: Any) -> None:
        self.total = time.time() - self.began
        self._has_ended = True
        if error is None:
            self.launcher.happened(Event.MOVED)
            limit = Limit(ARRIVED_PATIENCE, in_all=ARRIVED_IN_ALL)
            self._ask(Where(), awaited=Arrived, limit=limit)
            return
        self.launcher.happened(Event.FAILED, error=str(error))
        if not self.launcher.has_qemu:
            self.launcher.happened(Event.LOST)  # it ended while its guest was paused: nothing will resume
        self._limit = Limit(RESUME_PATIENCE)
        self._fail(self._given_up or str(error))

    def _fail(self, why: str) -> None:
        """Answer once it is clear whether the guest runs on here."""
        if self.launcher.phase is Phase.STRANDED:
            self._unless_over(
                self._limit,
                then=lambda: self.launcher.later(RESUMED_EVERY, lambda: self._fail(why)),
                over=lambda: self._failed(why),
            )
        else:
            self._failed(why)

    def _failed(self, why: str) -> None:
        running = self.launcher.phase is Phase.RUNNING
        state = "the guest runs on in its Pod" if running else f"the guest is {self.launcher.phase.value}"
        if self.launcher.phase is Phase.STRANDED:
            state += f": it did not resume {self._limit.story}"
        kind = ErrorKind.FAILED if running else ErrorKind.ROLLBACK_FAILED
        self._answer(Error(f"migration to {self.to} failed: {why}", kind=kind, hint=state))

    def _succeed(self, arrival: Arrival | None) -> None:
        record = self.launcher.job.record
        answer = {
            "vm": record.vm,
            "from": record.address,
            "to": self.to,
            "total_s": round(self.total, 3),
            "max_downtime_ms": self.limit_ms,
            **downtime(self.launcher.timing, arrival),
            "stopped_at": self.launcher.timing.stopped if self.launcher.timing else None,
            "resumed_at": arrival.resumed if arrival else None,
        }
        self._answer(answer)
