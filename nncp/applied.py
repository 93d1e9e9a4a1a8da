"""The documents that were applied here, as they were meant: what comes back after a start.

One file for the host itself, and one for each other network namespace, which goes with it. It changes with
the journal: what an apply makes of it is written beside it before the first write to the kernel, and counts
once the journal says that the apply held. So no power cut leaves a document out that is in force, or one in
that is not.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nncp.state_folder import StateFolder, decoded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

VERSION = 1
FOLDER, HOST = "applied", "host"
DOCUMENTS, NEXT = "documents.json", "next.json"
NAMESPACE = Path("/proc/self/ns/net")
SO_NETNS_COOKIE = 71  # since Linux 5.14 (net/core/sock.c)
FIRST_COOKIE, FIRST_NAMESPACE = 1, "net:[4026531833]"
"""The host's own network namespace: it is made before any other (net_ns_init), and since Linux 6.18 its
number says so, and not its cookie (PROC_NET_INIT_INO). A container's process 1 is in the container's."""
GONE = "gone"


class Applied(Struct, frozen=True):
    """A document as it was applied.

    Args:
        name: a manifest's name, or that of its file.
        state: the desired state with what its templates referred to.
        is_manifest: whether it has a manifest's defaults.
        capture: its captures' lines, by name.
        taken: what they took.
        call: the apply: documents of one are one desired state.
        at: when, in seconds since 1970.
        order: how many applies that changed something came before it, whatever the clock said.
        made: the links that its applies have made.

    """

    name: str
    state: Any
    is_manifest: bool = False
    capture: Mapping[str, Any] = {}
    taken: Mapping[str, Any] = {}
    call: str = ""
    at: float = 0.0
    order: int = 0
    made: tuple[str, ...] = ()


class _File(Struct, frozen=True):
    documents: tuple[Applied, ...] = ()
    namespace: str = ""
    journal: str = ""
    call: str = ""
    version: int = VERSION


def cookie() -> int:
    """Return what the kernel knows this network namespace by, until it is started again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8), "little")


def scope_of(journal: str) -> str:
    """Return what the file of this namespace is known by: the host's outlives the boot of the journal."""
    is_host = str(NAMESPACE.readlink()) == FIRST_NAMESPACE or cookie() == FIRST_COOKIE
    return HOST if is_host else journal


class AppliedFile:
    """The documents of one scope.

    Args:
        state_dir: the state folder.
        journal: the key of the journal with which it changes.
        scope: see `scope_of`, which says it by default.

    """

    def __init__(self, state_dir: Path, journal: str, scope: str = "") -> None:
        self.state_dir = state_dir
        self.journal = journal
        self.scope = scope or scope_of(journal)

    def read(self, held: Callable[[str, str], bool]) -> tuple[Applied, ...]:
        """Return the documents, oldest first; `held` says of a journal and a call whether that held.

        Raises:
            Error: they cannot be read, or are of another version.

        """
        staged = self._file(NEXT)
        if staged is not None and held(staged.journal, staged.call):
            return staged.documents
        found = self._file(DOCUMENTS)
        return found.documents if found else ()

    def stage(self, documents: Sequence[Applied], call: str) -> None:
        """Write what the documents are once a call holds, on the disk when this returns."""
        namespace = str(NAMESPACE.readlink())
        made = _File(tuple(documents), namespace, self.journal, call)
        with self._folder() as folder:
            folder.write(NEXT, msgspec.json.encode(made))

    def take(self) -> None:
        """Let count what was staged."""
        with self._folder() as folder:
            if folder.has(NEXT):
                folder.rename(NEXT, DOCUMENTS)

    def drop(self) -> None:
        """Forget what was staged."""
        with self._folder() as folder:
            folder.remove(NEXT)

    def settle(self, held: Callable[[str, str], bool]) -> None:
        """Finish what a process that was killed has left between."""
        staged = self._file(NEXT)
        if staged is not None:
            self.take() if held(staged.journal, staged.call) else self.drop()

    def write(self, documents: Sequence[Applied]) -> None:
        """Write the documents, with no apply behind it."""
        self.stage(documents, "")
        self.take()

    @property
    def namespace(self) -> str:
        """The network namespace that they were applied to, as `net:[4026531840]`."""
        found = self._file(DOCUMENTS)
        return found.namespace if found else ""

    @property
    def changed(self) -> float:
        """When the last of them was applied."""
        found = self._file(DOCUMENTS)
        return max((document.at for document in found.documents), default=0.0) if found else 0.0

    def gone_for(self) -> float:
        """Return for how many seconds the namespace has been known to be gone: since this was asked first."""
        with self._folder() as folder:
            known = folder.has(GONE)
            descriptor = folder.open(GONE, os.O_WRONLY | os.O_CREAT)
            try:
                return time.time() - os.fstat(descriptor).st_mtime if known else 0.0
            finally:
                os.close(descriptor)

    def remove(self) -> None:
        """Remove the file with its folder."""
        with StateFolder.make(self.state_dir, FOLDER) as folder:
            folder.remove(self.scope)

    def _folder(self) -> StateFolder:
        return StateFolder.make(self.state_dir, FOLDER, self.scope)

    def _file(self, name: str) -> _File | None:
        folder = StateFolder.find(self.state_dir, FOLDER, self.scope)
        if folder is None:
            return None
        with folder:
            data = folder.read(name)
        return None if data is None else self._decoded(data, name)

    def _decoded(self, data: bytes, name: str) -> _File:
        place = self.state_dir / FOLDER / self.scope / name
        hint = f"move {place} away: what it holds is not brought back after a start then"
        return decoded(data, _File, VERSION, place, hint)


def is_alike(one: Applied, other: Applied) -> bool:
    """Whether two documents mean the same, whenever they were applied."""
    return _untimed(one) == _untimed(other)


def _untimed(document: Applied) -> Applied:
    return msgspec.structs.replace(document, call="", at=0.0, order=0, made=())


def with_new(
    before: Sequence[Applied], new: Sequence[Applied], call: str, made: Iterable[str] = ()
) -> tuple[Applied, ...]:
    """Return documents with those of a call, which has `made` links: each takes the place of its name's."""
    names = {document.name for document in new}
    links = {*made, *(link for document in before if document.name in names for link in document.made)}
    order = 1 + max((document.order for document in before), default=0)
    told = {"call": call, "at": time.time(), "order": order, "made": tuple(sorted(links))}
    stay = [document for document in before if document.name not in names]
    return (*stay, *(msgspec.structs.replace(document, **told) for document in new))


def without_call(documents: Sequence[Applied], call: str, former: Sequence[Applied]) -> tuple[Applied, ...]:
    """Return documents as they are once a call is undone: those that it replaced are in force again."""
    stay = [document for document in documents if document.call != call]
    names = {document.name for document in stay}
    back = [document for document in former if document.name not in names]
    return tuple(sorted((*stay, *back), key=lambda document: (document.order, document.at)))
