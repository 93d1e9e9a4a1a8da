"""The engine, as who asks it sees it: a connection for each request, since either may be started again."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from nncp.operator.protocol import Watch, answered, line

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nncp.operator.protocol import Answered, Asked

LONGEST = 64 << 20
"""Bytes of an answer: a capture may take all that a host of thousands of links shows."""
CONNECTING = 10.0
"""Seconds until somebody takes a connection: the engine answers while it works."""


class Line:
    """The way to the engine, by the path of its socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def ask(self, request: Asked) -> Answered:
        """Return what the engine answers, however long that takes.

        Raises:
            OSError: it is away, or goes away before it has answered.
            Error: what it says is not understood.

        """
        async with self._connected() as (reader, writer):
            writer.write(line(request))
            await writer.drain()
            return answered(await _line(reader))

    async def changes(self) -> AsyncIterator[None]:
        """Yield whenever the node may have changed, and at first; raises as `ask` does."""
        async with self._connected() as (reader, writer):
            writer.write(line(Watch()))
            while True:
                answered(await _line(reader))
                yield

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        async with asyncio.timeout(CONNECTING):
            reader, writer = await asyncio.open_unix_connection(self.path, limit=LONGEST)
        try:
            yield reader, writer
        finally:
            writer.close()


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        found = await reader.readline()
    except ValueError as error:
        raise OSError(f"an answer of more than {LONGEST} bytes") from error
    if not found.endswith(b"\n"):
        raise ConnectionResetError("the engine has gone")
    return found
