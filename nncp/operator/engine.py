"""The engine of a node: plans, applies and reverts on behalf of whoever may open its socket.

    python -m nncp.operator.engine --socket PATH --state-dir DIR

It knows nothing of Kubernetes, so what talks to the API server may be killed, starved or replaced in the
middle of an apply. What it is asked is in nncp.operator.protocol.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.journal import STATE_DIR
from nncp.netlink.channel import Events
from nncp.operator.at_start import AtStart, Keeper
from nncp.operator.changes import Node
from nncp.operator.hands import Hands
from nncp.operator.outcomes import FOLDER, Outcomes
from nncp.operator.protocol import LONGEST, Changed, Refused, Show, Watch, asked, line, told
from nncp.render import render_error
from nncp.state_folder import StateFolder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.operator.protocol import Answered

PROBES_DIR = Path("/etc/nncp/probes.d")
ATTACHMENTS = Path("/var/lib/cni")
"""Where CNI's runtimes keep what they have attached (libcni, CacheDir)."""
MOST = 32
"""Connections: beyond them the one that has been silent for longest goes."""
UNREAD = 30.0
"""Seconds that an answer may lie unread."""
LONGEST_PATH = 107  # sun_path less the final zero (unix(7))


class Pace(Struct, frozen=True):
    """How often the node is looked at for watchers.

    Args:
        quiet: seconds between two looks, whatever happens.
        slow: seconds after which watchers are told whatever was seen: not all that a document sets is shown.

    """

    quiet: float
    slow: float


class Engine:
    """The socket, and who is connected to it."""

    def __init__(self, hands: Hands, pace: Pace) -> None:
        self.hands = hands
        self.pace = pace
        self.stirred = asyncio.Event()
        self.watchers: set[asyncio.StreamWriter] = set()
        self.idle: dict[asyncio.StreamWriter, float] = {}
        self.busy: set[asyncio.StreamWriter] = set()

    async def serve(self, listener: socket.socket, stop: asyncio.Event, grace: float) -> None:
        """Answer until it is to stop; then let what goes on end."""
        server = await asyncio.start_unix_server(self.connected, sock=listener, limit=LONGEST)
        settled = asyncio.create_task(self.hands.settle())
        watching = asyncio.create_task(self.watch())
        keeping = asyncio.create_task(self.hands.keeper.run(self.stirred.set))
        await stop.wait()
        server.close()
        watching.cancel()
        keeping.cancel()  # nothing waits for it any more then
        await settled
        await self.hands.stop(grace)
        for writer in (*self.idle, *self.busy):
            writer.transport.abort()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, a request at a time."""
        self._make_room()
        try:
            while len(self.busy) < MOST:
                self.busy.discard(writer)
                self.idle[writer] = time.monotonic()
                request = await reader.readline()
                if not request.endswith(b"\n") or self.idle.pop(writer, None) is None:
                    return  # the end, in the middle of a line or not; or it had to make room
                self.busy.add(writer)
                await self._say(writer, await self._answer(request, writer))
        except ValueError:  # the line is longer than LONGEST (StreamReader.readline)
            with contextlib.suppress(OSError, TimeoutError):
                error = f"a request of more than {LONGEST} bytes"
                await self._say(writer, Refused(error, ErrorKind.USAGE.value))
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass  # whoever asked has gone, or does not read; or this engine ends
        finally:
            self.idle.pop(writer, None)
            self.busy.discard(writer)
            self.watchers.discard(writer)
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    def _make_room(self) -> None:
        """Close who has been silent for longest, when they are too many: nobody is kept out by them."""
        while len(self.idle) >= MOST:
            oldest = min(self.idle, key=lambda one: (one in self.watchers, self.idle[one]))
            del self.idle[oldest]
            self.watchers.discard(oldest)
            oldest.transport.abort()

    async def _answer(self, request: bytes, writer: asyncio.StreamWriter) -> Answered:
        try:
            found = asked(request)
        except Error as error:
            return Refused(told(error), error.kind.value)
        if isinstance(found, Watch):
            self.watchers.add(writer)
            return Changed()
        return await self.hands.answer(found)

    @staticmethod
    async def _say(writer: asyncio.StreamWriter, answer: Answered) -> None:
        writer.write(line(answer))
        async with asyncio.timeout(UNREAD):
            await writer.drain()

    async def watch(self) -> None:
        """Tell watchers when what is seen of the node has changed, and now and then."""
        loop, last, told_at = asyncio.get_running_loop(), b"", time.monotonic()
        with Events() as events:

            def heard() -> None:
                events.drain()
                self.stirred.set()

            loop.add_reader(events.socket, heard)
            try:
                while True:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self.stirred.wait(), self.pace.slow)
                    await asyncio.sleep(self.pace.quiet)
                    self.stirred.clear()
                    is_due = time.monotonic() - told_at >= self.pace.slow
                    seen = line(await self.hands.answer(Show())) if self.watchers else b""
                    if self.watchers and (is_due or seen != last):
                        last, told_at = seen, time.monotonic()
                        self._tell()
            finally:
                loop.remove_reader(events.socket)

    def _tell(self) -> None:
        for writer in self.watchers:
            if not writer.transport.get_write_buffer_size():  # one that does not read has its line already
                writer.write(line(Changed()))


@contextlib.contextmanager
def alone(path: Path, state_dir: Path, group: int | None) -> Iterator[socket.socket]:
    """Yield the socket, which nobody but us and a group may open, while no other engine has it or the folder.

    Raises:
        Error: another one has, or it cannot be made.

    """
    with StateFolder.make(state_dir, FOLDER) as folder:
        if not folder.lock():
            raise Error(f"another engine works in {state_dir}", kind=ErrorKind.FAILED)
        _see_free(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)
            listener.bind(str(path))
            if group is not None:  # who owns it may give it to a group of his without CAP_CHOWN (chown(2))
                os.chown(path, -1, group)
                path.chmod(0o660)
        except OSError as error:
            listener.close()
            message = f"{path} cannot be made: {error.strerror}"
            raise Error(message, kind=ErrorKind.UNSUPPORTED) from error
        finally:
            os.umask(before)
        try:
            yield listener
        finally:
            listener.close()
            path.unlink(missing_ok=True)


def _see_free(path: Path) -> None:
    if len(os.fsencode(path)) > LONGEST_PATH:
        message = f"{path} is too long for a socket: {LONGEST_PATH} bytes are what its path may have"
        raise Error(message, kind=ErrorKind.USAGE)
    if path.exists() and not path.is_socket():
        raise Error(f"{path} is there, and no socket", kind=ErrorKind.USAGE)
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
        probe.connect(str(path))
        raise Error(f"another engine answers at {path}", kind=ErrorKind.FAILED)


def log(text: str) -> None:
    """Say something to whoever reads the container's log; nobody has to."""
    with contextlib.suppress(OSError):
        print(f"engine: {text}", file=sys.stderr, flush=True)  # noqa: T201  (the log is standard error)


async def _run(listener: socket.socket, hands: Hands, pace: Pace, grace: float) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    log("answers")
    await Engine(hands, pace).serve(listener, stop, grace)


@click.command()
@click.option("--socket", "path", type=click.Path(path_type=Path), required=True, help="Where it answers.")
@click.option("--state-dir", type=click.Path(path_type=Path), default=STATE_DIR, show_default=True)
@click.option("--probes-dir", type=click.Path(path_type=Path), default=PROBES_DIR, show_default=True)
@click.option("--attachments", type=click.Path(path_type=Path), default=ATTACHMENTS, show_default=True)
@click.option("--group", type=int, default=None, help="A group that may open the socket too, by its number.")
@click.option(
    "--probe-limit", type=float, default=None, help="Seconds of each probe after a change; else its kind's."
)
@click.option("--grace", default=60.0, show_default=True, help="Seconds that an apply has once it is to end.")
@click.option("--quiet", default=2.0, show_default=True, help="Seconds between two looks at the node.")
@click.option(
    "--slow", default=300.0, show_default=True, help="Seconds after which watchers are told anyhow."
)
@click.option(
    "--host",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the node's own files are: /usr, /etc/systemd/system, /etc/kubernetes/manifests.",
)
@click.option(
    "--image", envvar="BRIDGEHEAD_IMAGE", default="", help="What this engine's container runs from."
)
def main(
    path: Path,
    state_dir: Path,
    probes_dir: Path,
    attachments: Path,
    group: int | None,
    probe_limit: float | None,
    grace: float,
    quiet: float,
    slow: float,
    host: Path | None,
    image: str,
) -> None:
    """Plan, apply and revert for whoever may open the socket."""
    try:
        with alone(path, state_dir, group) as listener:
            keeper = Keeper(AtStart(host, state_dir, image) if host else None, log)
            node = Node(state_dir, attachments, log, probe_limit)
            hands = Hands(node, probes_dir, Outcomes(state_dir), keeper, log)
            asyncio.run(_run(listener, hands, Pace(quiet, slow), grace))
    except Error as error:
        click.echo("\n".join(map(render_error, error)), err=True)
        sys.exit(error.kind.exit_code)


if __name__ == "__main__":
    main()
