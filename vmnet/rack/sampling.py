"""What this machine was like while the demo ran, by its own evidence.

In a lab kernel /proc/stat and the load are that kernel's and say nothing of the host; how long fixed work
takes says it there too. Samples are taken between the acts: they are work, and would show in a migration's
figures.
"""

from __future__ import annotations

import os
from pathlib import Path

from nncp import lab, pace
from vmnet.rack.report import Conditions

STAT = Path("/proc/stat")
IN_LAB = 3.0
"""How many times as long a lab kernel takes for fixed work as its host, when both are quiet: each system call
hands over between two processes."""


class Samples:
    """The machine's pace and stolen time since this was made."""

    def __init__(self) -> None:
        self.slowness: list[float] = []
        self._ticks = _ticks()

    def take(self) -> None:
        """Time fixed work, now; compared with a quiet machine in the same place."""
        quiet = IN_LAB if lab.inside() else 1.0
        self.slowness.append(round(max(1.0, pace.slowness() / quiet), 1))

    def told(self, *, prober_late_ms: float | None) -> Conditions:
        """Return what they come to."""
        stolen, load = (None, None) if lab.inside() else (self._stolen(), round(os.getloadavg()[0], 1))
        return Conditions(self.slowness, stolen, load, prober_late_ms)

    def _stolen(self) -> float:
        stolen, total = (now - then for now, then in zip(_ticks(), self._ticks, strict=True))
        return round(100 * stolen / total, 1) if total else 0.0


def _ticks() -> tuple[int, int]:
    """Stolen and all CPU time of this kernel (proc(5), /proc/stat: steal is the eighth)."""
    ticks = [int(word) for word in STAT.read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    return ticks[7], sum(ticks)
