"""How attempts have ended: known again after whatever has ended the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from nncp.operator.protocol import Outcome, Phase
from nncp.state_folder import StateFolder, decoded

if TYPE_CHECKING:
    from pathlib import Path

FOLDER, FILE = "engine", "outcomes.json"
VERSION = 1
MOST = 512
"""Policies whose last attempt is known."""
TRIES = 3
"""So often is one attempt begun: what has ended the engine so often would go on to."""


class Ledger(Struct, frozen=True):
    """The last attempt of each policy, the newest last. Data in, data out."""

    last: Mapping[str, Outcome] = {}
    version: int = VERSION

    def of(self, name: str, attempt: str) -> Outcome:
        """Return what is known of an attempt."""
        found = self.last.get(name)
        return found if found and found.attempt == attempt else Outcome(attempt, Phase.NEVER)

    def begun(self, name: str, attempt: str) -> Ledger:
        """Return what is known once an attempt has begun, perhaps again."""
        return self.knowing(name, Outcome(attempt, Phase.BEGUN, tries=self.of(name, attempt).tries + 1))

    def ended(self, name: str, outcome: Outcome) -> Ledger:
        """Return what is known once an attempt has ended: states are the node's to keep."""
        tries = self.of(name, outcome.attempt).tries
        return self.knowing(name, replace(outcome, tries=tries, desired=None, taken={}))

    def knowing(self, name: str, outcome: Outcome) -> Ledger:
        """Return what is known with one more outcome."""
        last = {one: known for one, known in self.last.items() if one != name} | {name: outcome}
        return replace(self, last=dict(list(last.items())[-MOST:]))

    def after_a_start(self) -> Ledger:
        """Return what is known when nothing goes on: what had begun was cut."""
        return replace(self, last={name: cut(known) for name, known in self.last.items()})


def cut(known: Outcome) -> Outcome:
    """Return what becomes of an attempt whose maker has gone: it is made again, but not for ever."""
    if known.phase is not Phase.BEGUN:
        return known
    if known.tries < TRIES:
        return replace(known, phase=Phase.CUT)
    error = f"the engine was ended {known.tries} times while it made this change, which is undone"
    return replace(known, phase=Phase.FAILED, error=error)


class Outcomes:
    """The ledger, on the disk whenever it changes."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.ledger = self._read().after_a_start()

    def _read(self) -> Ledger:
        with StateFolder.make(self.state_dir, FOLDER) as folder:
            data = folder.read(FILE)
            place = folder.path / FILE
        if data is None:
            return Ledger()
        hint = f"move {place} away: attempts that were let go are looked at anew then"
        return decoded(data, Ledger, VERSION, place, hint)

    def keep(self, ledger: Ledger) -> None:
        """Take what is known by now, on the disk when this returns."""
        with StateFolder.make(self.state_dir, FOLDER) as folder:
            folder.write(FILE, msgspec.json.encode(ledger))
        self.ledger = ledger
