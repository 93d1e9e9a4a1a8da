"""The engine's side of each request: one apply at a time, each attempt once, how it ended known for good."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.operator.allowed import probes
from nncp.operator.changes import Node
from nncp.operator.jobs import ENDED, Job
from nncp.operator.outcomes import cut
from nncp.operator.protocol import (
    Apply,
    Ask,
    Outcome,
    Phase,
    Plan,
    Refused,
    Revert,
    RevertPlan,
    told,
)
from nncp.operator.ways import NAME

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nncp.operator.outcomes import Outcomes
    from nncp.operator.protocol import Answered, Asked

READERS = 2
"""Requests that only read, at the same time: each is a process with a snapshot of its own."""
LONGEST = 4096
"""Characters of an error that are kept."""


class Hands:
    """What carries out requests.

    Args:
        state_dir: the state folder.
        probes_dir: the folder of the programs that may be probes.
        outcomes: how attempts have ended.
        log: hears of what begins and ends.
        limit: seconds that each probe has after a change; when None, its kind's, of a quiet machine.

    """

    def __init__(
        self,
        state_dir: Path,
        probes_dir: Path,
        outcomes: Outcomes,
        log: Callable[[str], None],
        limit: float | None = None,
    ) -> None:
        self.node = Node(state_dir, log, limit)
        self.probes_dir = probes_dir
        self.outcomes = outcomes
        self.log = log
        self.is_stopping = False
        self.writing = Job(self.node.settle)
        self._turn = asyncio.Lock()
        self._readers = asyncio.Semaphore(READERS)
        self._going: dict[tuple[str, str], asyncio.Task[Answered]] = {}

    async def settle(self) -> None:
        """Undo what was interrupted, while no apply is going on."""
        async with self._turn:
            await self._settle()

    async def _settle(self) -> None:
        self.writing = Job(self.node.settle)
        answer = await self.writing.run()
        if isinstance(answer, Refused):
            self.log(f"what was interrupted is not undone: {answer.error}")

    async def answer(self, request: Asked) -> Answered:
        """Return what is answered."""
        try:
            match request:
                case Apply(attempt=attempt, document=document):
                    return await self._attempt(document.name, attempt, request)
                case Revert(attempt=attempt, name=name):
                    return await self._attempt(name, attempt, request)
                case Ask(attempt=attempt, name=name):
                    return await self._outcome(name, attempt, wait=request.wait)
                case Plan():
                    return await self._plan(request)
                case RevertPlan(name=name):
                    return await self._read(partial(self.node.revert_plan, name))
                case _:
                    return await self._read(self.node.show)
        except Error as error:
            return Refused(told(error), error.kind.value)

    async def _plan(self, request: Plan) -> Answered:
        _see_name(request.document.name)
        work = partial(self.node.plan, request.document, adopt=request.adopt)
        if not (request.settled or request.adopt):
            return await self._read(work)
        async with self._turn:
            return await self._read(work)

    async def _read(self, work: Callable[[], Answered]) -> Answered:
        async with self._readers:
            return await Job(work).run()

    async def _outcome(self, name: str, attempt: str, *, wait: bool) -> Answered:
        if wait and (task := self._going.get((name, attempt))):
            return await asyncio.shield(task)
        known = self.outcomes.ledger.of(name, attempt)
        return self.node.done(known, name) if known.phase is Phase.DONE else known

    async def _attempt(self, name: str, attempt: str, request: Apply | Revert) -> Answered:
        """Make an attempt, or wait for it if it goes on; one that has ended is not made again."""
        _see_name(name)
        known = self.outcomes.ledger.of(name, attempt)
        if known.phase in {Phase.DONE, Phase.FAILED}:
            return await self._outcome(name, attempt, wait=False)
        task = self._going.get((name, attempt))
        if task is None:
            task = asyncio.create_task(self._make(name, attempt, request))
            self._going[name, attempt] = task
            task.add_done_callback(lambda _: self._going.pop((name, attempt), None))
        return await asyncio.shield(task)  # whoever asked may go away

    async def _make(self, name: str, attempt: str, request: Apply | Revert) -> Answered:
        async with self._turn:
            if self.is_stopping:
                return Refused("the engine is about to end", ErrorKind.INTERRUPTED.value)
            try:
                work = self._work(attempt, request)
                self.outcomes.keep(self.outcomes.ledger.begun(name, attempt))
            except Error as error:
                return self._ended(name, Outcome(attempt, Phase.FAILED, told(error)[:LONGEST]))
            self.log(f"{attempt} of {name} begins")
            self.writing = Job(work)
            answer = await self.writing.run()
            if answer == ENDED:
                await self._settle()
            return self._ended(name, self._outcome_of(name, attempt, answer))

    def _work(self, attempt: str, request: Apply | Revert) -> Callable[[], Answered]:
        asked = probes(request.probes, self.probes_dir, os.environ)
        if isinstance(request, Apply):
            return partial(self.node.apply, attempt, request.document, asked)
        return partial(self.node.revert, attempt, request.name, asked)

    def _outcome_of(self, name: str, attempt: str, answer: Answered) -> Outcome:
        """Return how an attempt has ended; one that was only stopped is made again."""
        if isinstance(answer, Outcome):
            return answer
        if answer == ENDED or (isinstance(answer, Refused) and answer.kind == ErrorKind.INTERRUPTED.value):
            return cut(self.outcomes.ledger.of(name, attempt))
        error = answer.error if isinstance(answer, Refused) else f"a fault of nncp's own: {type(answer)}"
        return Outcome(attempt, Phase.FAILED, error[:LONGEST])

    def _ended(self, name: str, outcome: Outcome) -> Outcome:
        self.log(f"{outcome.attempt} of {name} ends: {outcome.phase.value} {outcome.error}".rstrip())
        ledger = self.outcomes.ledger.ended(name, outcome)
        try:
            self.outcomes.keep(ledger)
        except Error as error:
            self.outcomes.ledger = ledger  # as long as this engine lives
            self.log(told(error))
        return outcome

    async def stop(self, seconds: float) -> None:
        """Let what goes on end within so many seconds, or be undone; begin nothing more."""
        self.is_stopping = True
        going = list(self._going.values())
        if not going:
            return
        _, left = await asyncio.wait(going, timeout=seconds)
        if left:
            self.log("what goes on is undone, since its time is over")
            self.writing.end(signal.SIGTERM)
            await asyncio.wait(left)


def _see_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise Error(f"{name[:80]!r} is no policy's name", kind=ErrorKind.USAGE)
