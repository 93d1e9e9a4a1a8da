#!/usr/bin/env python3
"""What live migration costs a guest: N moves back and forth in the rack, each to a new Pod.

    nncp lab run -- python bench/migration.py [N]

A prober pings every 10 ms and holds a TCP session. The gap is the longest time between two answers from 2 s
before a move to 2 s after it, so it holds a ping's period; the pause is QEMU's STOP to RESUME. Ends with 1
when a figure exceeds its bound: medians of 1 ping lost and 80 ms of gap beyond the pause, 3 and 150 at worst.
"""

from __future__ import annotations

import os
import statistics
import sys
from typing import TYPE_CHECKING

from vmnet.rack import acts, cabling, room
from vmnet.rack.demo import Demo

if TYPE_CHECKING:
    from vmnet.rack.report import Migration

IN_ROOM = "BENCH_MIGRATION_IN_ROOM"
GUEST = "tiny"
MEDIAN_LOST, MEDIAN_BEYOND_PAUSE_MS = 1, 80


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
            f"{number}/{count}: to {moved.to_node}, pause {moved.downtime_ms:.0f} ms, "
            f"gap {moved.longest_gap_ms:.0f} ms, {moved.pings_lost} lost"
        )
        done.append(moved)
    demo.sound(rack)
    return done


def main(count: int) -> int:
    """Print the table, and return 1 when a bound is exceeded."""
    done = moves(count)
    beyond = [moved.beyond_pause_ms for moved in done]
    lost = [float(moved.pings_lost) for moved in done]
    figures = {
        "pause, ms": [moved.downtime_ms for moved in done],
        "gap, ms": [moved.longest_gap_ms for moved in done],
        "gap - pause, ms": beyond,
        "pings lost": lost,
        "total, s": [moved.total_s for moved in done],
    }
    print(f"| {count} moves | median | worst |\n| --- | --- | --- |")
    for name, values in figures.items():
        print(f"| {name} | {statistics.median(values):.1f} | {max(values):.1f} |")
    print(f"TCP sessions that broke: {sum(not moved.tcp_survived for moved in done)}")
    within = (
        not any(fault for moved in done for fault in moved.faults())
        and statistics.median(lost) <= MEDIAN_LOST
        and statistics.median(beyond) <= MEDIAN_BEYOND_PAUSE_MS
    )
    return 0 if within else 1


if __name__ == "__main__":
    if IN_ROOM not in os.environ:
        os.environ[IN_ROOM] = "1"
        room.enter([sys.executable, *sys.argv])
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 20))
