#!/usr/bin/env python3
"""What live migration costs a guest: N moves back and forth in the rack, each to a new Pod.

    nncp lab run -- python bench/migration.py [N]

A prober pings every 10 ms and holds a TCP session. The gap is the longest time between two answers from 2 s
before a move to 2 s after it, so it holds a ping's period; the pause is QEMU's STOP to RESUME.

Milliseconds are the machine's, so what is bounded are ratios to the pause of the same move, which grows with
the machine's slowness as the rest does: how many times as long as it was paused the guest was silent, and
which part of the pings that fall into the pause was lost (1: as many as without the gate). Ends with 1 when
one exceeds its bound, or a TCP session broke.
"""

from __future__ import annotations

import os
import statistics
import sys
from typing import TYPE_CHECKING

from nncp.lab import room
from vmnet.rack import acts, cabling
from vmnet.rack.demo import Demo
from vmnet.rack.sampling import Samples

if TYPE_CHECKING:
    from vmnet.rack.report import Migration

IN_ROOM = "BENCH_MIGRATION_IN_ROOM"
GUEST = "tiny"
PERIOD_MS = 10  # of the prober's pings
# Median and worst.
GAP_TO_PAUSE = (3.0, 6.0)
LOST_OF_PAUSE = (0.3, 0.8)


def moves(count: int) -> list[Migration]:
    """Set up the rack and the guest, move it `count` times, and have it say that it is sound."""
    demo = Demo(guest=GUEST)
    rack = cabling.build(demo.say)
    demo.policies(rack)
    demo.preflight(rack)
    pod = demo.start(rack)
    done: list[Migration] = []
    for number in range(1, count + 1):
        goal = next(rack[name] for name in cabling.NODES if name != pod.node.name)
        left, (pod, moved) = pod, acts.move(rack, pod, goal)
        acts.detach(left)
        demo.say(
            f"{number}/{count}: to {moved.to_node}, pause {moved.downtime_ms} ms, "
            f"gap {moved.longest_gap_ms} ms, {moved.pings_lost} lost"
        )
        done.append(moved)
    demo.sound(rack)
    return done


def lost_of_pause(moved: Migration) -> float | None:
    """Return how many pings were lost for each that fell into the pause; None where that is unknown."""
    return None if moved.downtime_ms is None else moved.pings_lost * PERIOD_MS / max(moved.downtime_ms, 1.0)


def within(values: list[float], bounds: tuple[float, float]) -> bool:
    """Whether the median and the worst are within their bounds; figures that nobody knows are not."""
    return bool(values) and statistics.median(values) <= bounds[0] and max(values) <= bounds[1]


def main(count: int) -> int:
    """Print the table, and return 1 when a bound is exceeded."""
    samples = Samples()
    samples.take()
    done = moves(count)
    samples.take()
    found: dict[str, list[float | None]] = {
        "pause, ms": [moved.downtime_ms for moved in done],
        "gap, ms": [moved.longest_gap_ms for moved in done],
        "pings lost": [moved.pings_lost for moved in done],
        "total, s": [moved.total_s for moved in done],
        "prober late, ms": [moved.prober_jitter_ms for moved in done],
        "gap / pause": [moved.gap_to_pause for moved in done],
        "lost / pings in the pause": [lost_of_pause(moved) for moved in done],
    }
    known = {name: [value for value in values if value is not None] for name, values in found.items()}
    print(f"| {count} moves | median | worst |\n| --- | --- | --- |")
    for name, values in known.items():
        told = [f"{of(values):.2f}" if values else "unknown" for of in (statistics.median, max)]
        print(f"| {name} | {' | '.join(told)} |")
    print(f"TCP sessions that broke: {sum(not moved.tcp_survived for moved in done)}")
    least, most = min(samples.slowness), max(samples.slowness)
    print(f"fixed work took {least} to {most} times as long as on a quiet machine")
    faults = [fault for moved in done for fault in moved.faults()]
    ratios = within(known["gap / pause"], GAP_TO_PAUSE)
    ratios &= within(known["lost / pings in the pause"], LOST_OF_PAUSE)
    return 0 if ratios and not faults else 1


if __name__ == "__main__":
    if IN_ROOM not in os.environ:
        os.environ[IN_ROOM] = "1"
        room.enter([sys.executable, *sys.argv])
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
