"""What the operator's programs share."""

from __future__ import annotations

import asyncio

from nncp.operator.program import Alarm


def test_an_alarm_rings_at_the_earliest_time_that_was_asked_for_and_leaves_one_timer() -> None:
    async def course() -> int:
        ring = asyncio.Event()
        alarm = Alarm(ring)
        loop = asyncio.get_running_loop()
        for seconds in (3600.0, 60.0, 0.0, 7200.0):
            alarm.within(seconds)
        timers = [each for each in loop._scheduled if not each.cancelled()]  # type: ignore[attr-defined]
        await ring.wait()
        ring.clear()
        alarm.within(0.0)  # and again, once it has rung
        await ring.wait()
        return len(timers)

    assert asyncio.run(course()) == 1
