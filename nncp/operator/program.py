"""What the controller and the agent share as programs: how they run, end and log, and write the time."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable


def now() -> str:
    """Return the time as the API writes it (meta/v1, Time)."""
    return dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def exactly_now() -> str:
    """Return the time as Leases and events have it (meta/v1, MicroTime)."""
    return dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a program until it is asked to end; one that cannot begin says why in a sentence."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("nncp").setLevel(logging.INFO)
    try:
        asyncio.run(work)
    except Error as error:
        from nncp.render import render_error  # noqa: PLC0415  an agent is to stay small

        click.echo("\n".join(map(render_error, error)), err=True)
        sys.exit(error.kind.exit_code)


async def until_asked_to_end(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do several things side by side until somebody asks this process to end, or one of them fails."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    tasks = [*map(asyncio.create_task, work), asyncio.create_task(_ended(stop))]
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for task in done:
        task.result()


async def _ended(stop: asyncio.Event) -> None:
    await stop.wait()


class Alarm:
    """Calls something once, at the earliest time that anybody has asked for.

    Whoever asks for each of many times would leave as many timers, each of which asks again.
    """

    def __init__(self, ring: asyncio.Event) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> None:
        """Ring after so many seconds, or before."""
        loop = asyncio.get_running_loop()
        if self._timer is not None and self._timer.when() <= loop.time() + seconds:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_later(seconds, self._rings)

    def _rings(self) -> None:
        self._timer = None
        self._ring.set()
