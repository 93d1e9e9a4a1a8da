"""What commands on a cluster share: the way to the API server, and what went wrong there as a sentence.

It is imported by who asks a cluster for something, and imports the client then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from nncp.errors import Error, ErrorKind
from nncp.operator.store import Store

try:
    from nncp.operator import api
except ModuleNotFoundError as missing:
    package = (missing.name or "").partition(".")[0]
    if package not in {"aiohttp", "kubernetes"}:
        raise
    raise Error(
        f"a cluster is asked by a client that is not installed: there is no {package}",
        kind=ErrorKind.UNSUPPORTED,
        hint="pip install 'bridgehead[operator]'",
    ) from None

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
    from types import TracebackType
    from typing import Self

    from nncp.operator.store import Object

T = TypeVar("T")
TRIES, PAUSE = 20, 0.5
"""How often a busy server is asked, and the seconds between."""
DEPLOY = "kubectl apply -k deploy/"


def ask(work: Callable[[api.Api], Coroutine[Any, Any, T]]) -> T:
    """Return what is found out by who is given the way to the API server.

    A signal cancels that work, which may still tidy up.

    Raises:
        Error: the cluster cannot be asked, or refuses.
        KeyboardInterrupt: a signal came.

    """
    logging.basicConfig(level=logging.CRITICAL, format="nncp: %(message)s")
    logging.getLogger("nncp").setLevel(logging.WARNING)
    try:
        return asyncio.run(_asked(work))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    except api.Refusal as error:
        raise refused(error) from None
    except api.AWAY as error:
        raise away(error) from None


async def _asked(work: Callable[[api.Api], Coroutine[Any, Any, T]]) -> T:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as behind nohup
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    async with await api.Api.connect() as server:
        return await work(server)


def refused(error: api.Refusal) -> Error:
    """Return a refusal of the API server's, in its own words."""
    match error.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            hint = "another account may have the right: see kubectl auth can-i --list"
            return Error(f"the API server refuses: {error}", kind=ErrorKind.PRIVILEGE, hint=hint)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Error(f"the API server refuses: {error}")
        case _:
            return Error(f"the API server refuses: {error}", kind=ErrorKind.FAILED)


def away(error: BaseException) -> Error:
    """Return that the API server cannot be reached."""
    told = f"the API server cannot be reached: {api.words(error)}"
    hint = "is it the right kubeconfig? kubectl cluster-info says which server it names"
    return Error(told, kind=ErrorKind.UNSUPPORTED, hint=hint)


async def listed(server: api.Api, resource: api.Resource) -> list[dict[str, Any]]:
    """Return all objects of a kind.

    Raises:
        Error: this cluster has no such kind.

    """
    try:
        return list((await patiently(server, resource)).get("items") or ())
    except api.Refusal as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        kind = resource.path.rpartition("/")[2]
        told = f"the API server knows no {kind}"
        raise Error(told, kind=ErrorKind.UNSUPPORTED, hint=f"{DEPLOY} brings them") from None


async def patiently(server: api.Api, resource: api.Resource) -> Object:
    """Return a list; a server that is busy, as with kinds that are new, is asked again for a while."""
    for _ in range(TRIES):
        try:
            return await server.get(resource.path, resource.query)
        except api.Refusal as error:
            if error.status not in api.BUSY:
                raise
        await asyncio.sleep(PAUSE)
    return await server.get(resource.path, resource.query)


class Sight:
    """Objects of some kinds as they are by now. Leaving it as a context manager ends the watches.

    Args:
        server: the API server.
        resources: which objects.

    """

    def __init__(self, server: api.Api, *resources: api.Resource) -> None:
        self.server = server
        self.changed = asyncio.Event()
        self.stores: list[Store[Object]] = [Store(_whole, self.changed.set) for _ in resources]
        self.resources = resources
        self.tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to watch; what is refused is refused now."""
        for resource in self.resources:
            await listed(self.server, api.Resource(resource.path, {**resource.query, "limit": "1"}))
        whole = [asyncio.Event() for _ in self.resources]
        self.tasks = [
            asyncio.create_task(self.server.watch(resource, store, event.set))
            for resource, store, event in zip(self.resources, self.stores, whole, strict=True)
        ]
        for event in whole:
            await event.wait()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def changes(self) -> AsyncIterator[list[list[Object]]]:
        """Yield the objects of each kind, as they are now and after every change."""
        while True:
            self.changed.clear()
            yield [list(store.known.values()) for store in self.stores]
            await self.changed.wait()


def _whole(body: Mapping[str, Any]) -> Object:
    return body


@contextlib.asynccontextmanager
async def within(seconds: float | None, told: str, hint: str = "") -> AsyncIterator[None]:
    """Wait for something no longer than that: `Error` says what did not come."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError:
        if not limit.expired():
            raise
        raise Error(f"{told} within {seconds:g} s", kind=ErrorKind.FAILED, hint=hint) from None
