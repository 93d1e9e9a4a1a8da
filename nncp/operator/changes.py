"""What one policy does to this node: planned, applied, reverted. Called in a process of its own (jobs.py)."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp import engine, offline, work
from nncp.applied import Applied
from nncp.desired import plain
from nncp.errors import Error, ErrorKind
from nncp.guard import Guard
from nncp.journal import Journal
from nncp.known import KINDS
from nncp.operator import observed, pods, reversal
from nncp.operator.protocol import Outcome, Phase, Planned, Shown
from nncp.operator.text import text_of
from nncp.operator.ways import Step, Way, Ways, digest
from nncp.probes import Probes
from nncp.render import flapping, printable, render_plan
from nncp.stopping import Stopping
from nncp.transaction import Terms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nncp.document.policy import Policy
    from nncp.operator.protocol import Document
    from nncp.probes import Probe
    from nncp.work import Changes

LOOK_EVERY = 0.2


class _Differs(Exception):
    """An apply that was to write nothing would write something."""

    def __init__(self, changes: Changes) -> None:
        super().__init__()
        self.changes = changes


class Node(Struct, frozen=True):
    """This node.

    Args:
        state_dir: what was applied here, and what leads back.
        attachments: where CNI's runtime keeps whose ports are whose.
        told: hears of what somebody who looks into the log wants to know.
        limit: seconds that each probe has after a change; when None, its kind's, of a quiet machine.

    """

    state_dir: Path
    attachments: Path
    told: Callable[[str], None]
    limit: float | None = None

    def plan(self, document: Document, *, adopt: bool) -> Planned:
        """Return what an apply would write; one that writes nothing is in force then, if `adopt`.

        Raises:
            Error: with all that is wrong with it, given this node.

        """
        if adopt:  # also of one that is refused here it is known that nothing of it was applied
            self._ways().begin(document.name)
        found = _policies(document)
        with self._naming_pods():
            changes = work.plan(found, state_dir=self.state_dir)
        if adopt and not changes.differ:
            changes = self._adopted(document, found)
        return _planned(changes)

    def _adopted(self, document: Document, found: Sequence[Policy]) -> Changes:
        """Let a document be in force that asks for what is so; return what has come to differ meanwhile."""

        def see(changes: Changes) -> None:
            if changes.differ:
                raise _Differs(changes)

        self._await_trial()
        try:
            changes = work.apply(found, state_dir=self.state_dir, planned=see)
        except _Differs as differs:
            return differs.changes
        self._keep_way(document, changes, {})
        return changes if changes.differ else work.Changes((), changes.notes, changes.meant)

    def apply(self, attempt: str, document: Document, probes: Sequence[Probe]) -> Outcome:
        """Make it so.

        Raises:
            Error: it is not, and the node is as it was (or `ROLLBACK_FAILED`).

        """
        stopping = Stopping()
        self._await_trial()
        found, ways = _policies(document), self._ways()
        before = ways.of(document.name) or Way()
        back: list[dict[str, Any]] = []

        def see(changes: Changes) -> None:
            back[:] = [offline.reverse(found, state_dir=self.state_dir)]
            if before.asked != digest(document) or document.name not in ways.in_force:
                ways.keep(document.name, _with_step(before, document, changes, back[0]))

        terms = Terms(proof=self._proof(probes), kept=stopping.for_good(Guard.commit))
        try:
            with self._naming_pods():
                changes = work.apply(found, state_dir=self.state_dir, terms=terms, planned=see)
        except (Error, KeyboardInterrupt):
            ways.keep(document.name, before)
            raise
        self._keep_way(document, changes, back[0] if back else {})
        return _done(attempt, changes)

    def revert_plan(self, name: str) -> Planned:
        """Return what would be written to go back to what was before a policy.

        Raises:
            Error: nobody knows what was.

        """
        policy, stays = self._way_back(name)
        planned = _planned(work.plan([policy], state_dir=self.state_dir))
        return Planned(planned.differ, (*stays, *planned.lines), planned.flaps)

    def revert(self, attempt: str, name: str, probes: Sequence[Probe]) -> Outcome:
        """Go back to what was before a policy, and forget it.

        Raises:
            Error: nobody knows what was, or as `apply` raises it.

        """
        stopping = Stopping()
        self._await_trial()
        policy, _ = self._way_back(name)
        terms = Terms(proof=self._proof(probes), kept=stopping.for_good(Guard.commit))
        work.apply([policy], state_dir=self.state_dir, terms=terms)
        engine.drop(lambda _: [name], state_dir=self.state_dir)
        self._ways().forget(name)
        return Outcome(attempt, Phase.DONE)

    def settle(self) -> Outcome:
        """Undo what was interrupted.

        Raises:
            Error: it cannot be undone.

        """
        engine.in_force(state_dir=self.state_dir)
        return Outcome("", Phase.DONE)

    def show(self) -> Shown:
        """Return the node's network, without what is Pods'."""
        ours = frozenset(name for state in self._in_force().values() for name in reversal.used(state))
        return observed.within(observed.seen(work.show(), ours))

    def done(self, known: Outcome, name: str) -> Outcome:
        """Return the outcome of an attempt that is done, with the document's states as they are in force."""
        meant = next((each for each in self._documents() if each.name == name), None)
        return _with(known, meant)

    @contextlib.contextmanager
    def _naming_pods(self) -> Iterator[None]:
        """Have errors say whose ports they name."""
        try:
            yield
        except Error as error:
            raise pods.named(error, pods.by_port(self.attachments)) from error

    def _await_trial(self) -> None:
        """Wait as long as somebody tries a change by hand: he was told how long that holds, and has asked."""
        journal = Journal(self.state_dir)
        while journal.is_tried():
            time.sleep(LOOK_EVERY)

    def _way_back(self, name: str) -> tuple[Policy, list[str]]:
        ways = self._ways()
        way = ways.of(name)
        if way is None:
            raise Error(
                f"what was before policy {name} is not known on this node, so it cannot be reverted here",
                kind=ErrorKind.UNSUPPORTED,
                hint="write what the node is to have into a policy",
            )
        others = {other: state for other, state in ways.in_force.items() if other != name}
        back, stays = reversal.without(way.back, others)
        return plain(Applied(name, back)), stays

    def _keep_way(self, document: Document, changes: Changes, back: dict[str, Any]) -> None:
        """Know what leads back, once a document is in force."""
        ways = self._ways()
        way = ways.of(document.name) or Way()
        if way.asked != digest(document):
            way = _with_step(way, document, changes, back).taken()
        ways.keep(document.name, way)

    def _proof(self, probes: Sequence[Probe]) -> Probes | None:
        return Probes(probes, self.limit, self.told) if probes else None

    def _ways(self) -> Ways:
        return Ways(self.state_dir, self._in_force())

    def _in_force(self) -> dict[str, Any]:
        return {each.name: each.state for each in self._documents()}

    def _documents(self) -> Sequence[Applied]:
        journal = Journal(self.state_dir)
        return journal.applied().read(journal.held)


def _policies(document: Document) -> list[Policy]:
    """Return a document as what a file would hold: errors name paths in the policy."""
    text = text_of(document.name, document.desired or {}, dict(document.capture)).decode()
    return work.documents([(f"policy {document.name}", text)])


def _planned(changes: Changes) -> Planned:
    lines = render_plan(changes.ops, KINDS)
    notes = [f"  {printable(note.text)}" for note in changes.notes]
    meant = next(iter(changes.meant), None)
    return Planned(
        changes.differ,
        (*lines[:-1], *notes, lines[-1]) if changes.differ else (),
        flapping(changes.ops),
        meant.state if meant else None,
        meant.taken if meant else {},
    )


def _done(attempt: str, changes: Changes) -> Outcome:
    return _with(Outcome(attempt, Phase.DONE), next(iter(changes.meant), None))


def _with(known: Outcome, meant: Applied | None) -> Outcome:
    if meant is None:
        return known
    return Outcome(
        known.attempt, known.phase, known.error, known.tries, desired=meant.state, taken=meant.taken
    )


def _with_step(way: Way, document: Document, changes: Changes, back: dict[str, Any]) -> Way:
    meant = next(iter(changes.meant), None)
    return Way(way.asked, way.back, Step(digest(document), meant.state if meant else {}, back))
