"""The API server, as the controller and the nodes' agents talk to it, by the official client.

A watch is a list, and then what changes from that version on; when the server does not know the version any
more, it is a list again, and what that does not hold has gone. Nothing waits for ever: a server that says
nothing for longer than it sends bookmarks is asked anew.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from kubernetes.aio import client, config
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.operator.adoption import MARKER
from nncp.operator.objects import ENACTMENTS, GROUP, POLICIES, STATES

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from nncp.operator.store import Object, Store

LOG = logging.getLogger("nncp.api")
ANSWER = aiohttp.ClientTimeout(total=30)
"""Seconds for a request that is answered at once."""
SILENCE = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
"""Of a watch: a server sends a bookmark every minute (apiserver, cacher.go, bookmarkFrequency)."""
PAGE = 500
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
AWAY = (aiohttp.ClientError, TimeoutError, OSError)
"""What is raised when the server cannot be reached."""
BUSY = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
"""What a server answers that has no time."""
JSON, PATCH = "application/json", "application/json-patch+json"


class Resource(Struct, frozen=True):
    """Objects of one kind, as a path of the API, and which of them; only their metadata if `is_bare`."""

    path: str
    query: Mapping[str, str] = {}
    is_bare: bool = False

    def named(self, name: str, part: str = "") -> str:
        """Return the path of one object, or of a part of it, like its status."""
        return f"{self.path}/{name}{part and f'/{part}'}"

    def accept(self, shape: str = "") -> str:
        """Return what is taken for an answer: an event's object, or a "List" (KEP-1567)."""
        return f"{JSON};as=PartialObjectMetadata{shape};g=meta.k8s.io;v=v1" if self.is_bare else JSON


POLICY = Resource(f"/apis/{GROUP}/v1/{POLICIES}")
ENACTMENT = Resource(f"/apis/{GROUP}/v1beta1/{ENACTMENTS}")
STATE = Resource(f"/apis/{GROUP}/v1beta1/{STATES}")
NODE = Resource("/api/v1/nodes")
EVENT = Resource("/apis/events.k8s.io/v1/namespaces/default/events")
"""Those of what has no namespace."""


def markers(namespace: str) -> Resource:
    """Return the object of a namespace that says which policies are not adopted yet."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    return Resource(path, {"fieldSelector": f"metadata.name={MARKER}"})


def leases(namespace: str) -> Resource:
    """Return the Leases of a namespace."""
    return Resource(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")


class Refusal(Exception):
    """The API server does not take something.

    Args:
        status: of HTTP.
        message: the server's own words.

    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_overtaken(self) -> bool:
        """Whether the object has changed or gone, or come, since it was seen: that will be seen too."""
        return self.status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT}

    @property
    def is_lasting(self) -> bool:
        """Whether the same request would be refused again."""
        return 400 <= self.status < 500 and not self.is_overtaken and self.status not in BUSY


class _Metadata(Struct, rename="camel"):
    resource_version: str = "0"
    continues: str = msgspec.field(default="", name="continue")


class _Page(Struct):
    metadata: _Metadata
    items: list[msgspec.Raw] | None = None


class _Event(Struct):
    type: str
    object: msgspec.Raw


class Api:
    """A connection to the API server. Leaving it as a context manager closes it.

    Args:
        wire: the client's.
        written: told of each write, by its method and what was answered: a status of HTTP, or "away".

    """

    def __init__(self, wire: client.ApiClient, written: Callable[[str, str], None] | None = None) -> None:
        self._wire = wire
        self._written = written

    @classmethod
    async def connect(cls, written: Callable[[str, str], None] | None = None) -> Self:
        """Return a connection, as a Pod's own account or else as $KUBECONFIG says.

        Raises:
            Error: neither says which cluster that is.

        """
        made = client.Configuration()
        try:
            if "KUBERNETES_SERVICE_HOST" in os.environ:
                config.load_incluster_config(client_configuration=made)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(client_configuration=made)  # type: ignore[no-untyped-call]
            return cls(client.ApiClient(made), written)
        except Exception as error:  # whatever the client stumbles over in somebody's file
            raise Error(
                f"nothing says which cluster is meant: {words(error)}",
                kind=ErrorKind.UNSUPPORTED,
                hint="name a kubeconfig by KUBECONFIG, as for kubectl",
            ) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._wire.close()  # type: ignore[no-untyped-call]

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> Object:
        """Return an object, or a list; raises Refusal, or one of AWAY."""
        return _object(await self._read("GET", path, query=query))

    async def create(self, resource: Resource, body: Object) -> Object:
        """Create an object and return it as it is now; likewise."""
        return _object(await self._read("POST", resource.path, body=body))

    async def patch(self, path: str, version: str, *changes: Mapping[str, Any]) -> Object:
        """Change an object by operations (RFC 6902) if it is still of the version; likewise.

        Args:
            path: of the object, or of its status.
            version: as it was seen; empty for any.
            changes: the operations.

        """
        seen = {"op": "replace", "path": "/metadata/resourceVersion", "value": version}
        body: Sequence[Mapping[str, Any]] = [*([seen] if version else []), *changes]
        return _object(await self._read("PATCH", path, body=body, kind=PATCH))

    async def put(self, path: str, body: Object) -> Object:
        """Replace an object; likewise."""
        return _object(await self._read("PUT", path, body=body))

    async def delete(self, path: str, version: str = "") -> None:
        """Delete an object, if it is still of the version; likewise."""
        options = {"preconditions": {"resourceVersion": version}} if version else {}
        await self._read("DELETE", path, body={"apiVersion": "v1", "kind": "DeleteOptions", **options})

    async def watch(self, resource: Resource, store: Store[Any], listed: Callable[[], None]) -> None:
        """Keep a store as the API server has it, for ever; `listed` is called after each whole list."""
        pause, version = FIRST_PAUSE, ""
        while True:
            try:
                if not version:
                    version = await self._list(resource, store)
                    listed()
                async for known in self._follow(resource, store, version):
                    pause, version = FIRST_PAUSE, known
            except (Refusal, msgspec.MsgspecError) as error:
                # A server that is busy still knows what it told last: another list would be more work for it.
                version = version if isinstance(error, Refusal) and error.status in BUSY else ""
                if not (isinstance(error, Refusal) and error.status == HTTPStatus.GONE):
                    LOG.warning("%s cannot be watched: %s", resource.path, error)
            except AWAY as error:
                LOG.info("%s cannot be watched: %s", resource.path, words(error))
            await rest(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _list(self, resource: Resource, store: Store[Any]) -> str:
        """Take a whole list, page by page, so that no more than one is held; return its version."""
        names: set[str] = set()
        query = {**resource.query, "limit": str(PAGE)}
        while True:
            answer = await self._read("GET", resource.path, query=query, accept=resource.accept("List"))
            page = msgspec.json.decode(answer, type=_Page)
            for item in page.items or ():
                body = _object(item)
                store.listed(body)
                names.add(body["metadata"]["name"])
                await asyncio.sleep(0)  # others go on meanwhile
            query["continue"] = page.metadata.continues
            if not page.metadata.continues:
                break
        store.keep(names, int(page.metadata.resource_version))
        return page.metadata.resource_version

    async def _follow(self, resource: Resource, store: Store[Any], version: str) -> AsyncIterator[str]:
        """Take what changes after a version; yield how far that is, until the server ends it."""
        query = {**resource.query, "watch": "true", "allowWatchBookmarks": "true", "resourceVersion": version}
        async for line in self._lines(resource, query):
            event = msgspec.json.decode(line, type=_Event)
            body = _object(event.object)
            if event.type == "ERROR":
                raise Refusal(body.get("code", 500), body.get("message", ""))
            if event.type != "BOOKMARK":
                (store.gone if event.type == "DELETED" else store.take)(body)
            yield body["metadata"]["resourceVersion"]

    async def _lines(self, resource: Resource, query: Mapping[str, str]) -> AsyncIterator[bytes]:
        accept = resource.accept()
        response = await self._answer("GET", resource.path, query=query, accept=accept, limit=SILENCE)
        async with response:
            await _raise_for(response)
            async for line in response.content:
                yield line

    async def _read(self, method: str, path: str, **options: Any) -> bytes:
        result = "away"
        try:
            response = await self._answer(method, path, **options)
            async with response:
                result = str(response.status)
                await _raise_for(response)
                return await response.read()
        finally:
            if self._written and method != "GET":
                self._written(method, result)

    async def _answer(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        kind: str = JSON,
        accept: str = JSON,
        limit: aiohttp.ClientTimeout = ANSWER,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept, "Content-Type": kind}
        asked = await self._wire.param_serialize(
            method, path, query_params=list((query or {}).items()), header_params=headers, body=body,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        found = await self._wire.call_api(*asked, _request_timeout=limit)
        answer: aiohttp.ClientResponse = found.response
        return answer


def words(error: BaseException) -> str:
    """Return what an error says; some say nothing but what they are."""
    return str(error) or type(error).__name__


async def rest(seconds: float) -> None:
    """Wait for about so long: what a server has turned away at once is not to come back at once."""
    await asyncio.sleep(seconds * random.uniform(0.5, 1.0))  # noqa: S311  nobody gains by guessing it


async def _raise_for(response: aiohttp.ClientResponse) -> None:
    if response.status < HTTPStatus.BAD_REQUEST:
        return
    try:
        told = msgspec.json.decode(await response.read())
        raise Refusal(response.status, str(told["message"]))
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise Refusal(response.status, response.reason or str(response.status)) from None


def _object(data: bytes | msgspec.Raw) -> Object:
    found: Object = msgspec.json.decode(data)
    return found
