"""What our bridge plugin remembers of its ports: enough to clean up when nobody else knows them any more.

    /run/bridgehead/cni/vethHASH/port.json   the port, from before it is made until it is gone
    /run/bridgehead/cni/vethHASH/undo/       how a call that was killed is undone, while it goes on

The undo is the plugin's own: what `nncp rollback` goes back to is the last policy, whatever Pods came since.
The folder is also the port's lock, so that nothing is left of a port that has gone.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from nncp.gone import STAMP
from nncp.pace import Limit
from nncp.state_folder import StateFolder
from vmnet.cni.refusal import TRY_LATER, Refusal
from vmnet.versioned import Head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION = 1
FILE = "port.json"
PATIENCE = 60.0
"""Seconds of a quiet machine to wait for another call about the same port."""
LOOK_EVERY = 0.02


class PodPort(Struct, frozen=True, rename="kebab"):
    """A bridge port and the container's interface it belongs to.

    Args:
        conf: what ADD was given, which DEL goes by.
        mac: the container's.
        vids: the port's VLANs as the kernel had them after ADD.
        leased: whether an IPAM plugin may have given an address, and has to have it back.
        rules: the nft tables that are the port's, each as nft printed it.
        result: what ADD answered; None from before it until it is through: whoever finds that cleans up.

    """

    network: str
    container: str
    interface: str
    netns: str
    veth: str
    conf: dict[str, Any]
    mac: str = ""
    mtu: int = 0
    leased: bool = False
    vids: tuple[tuple[int, int, str], ...] = ()
    rules: dict[str, str] = {}
    result: dict[str, Any] | None = None
    version: int = VERSION


class Slot:
    """The folder of one port, held by one call at a time."""

    def __init__(self, folder: StateFolder) -> None:
        self.folder = folder

    @property
    def undo(self) -> Path:
        """Where a transaction of this port keeps its way back.

        It is marked as looked through: a look for journals of namespaces that are gone takes longer than a
        port (nncp.gone), and nobody else's are there.
        """
        path = self.folder.path / "undo"
        with StateFolder.make(path, "journals") as journals:
            if not journals.has(STAMP):
                journals.write(STAMP, b"swept\n")
        return path

    def read(self) -> PodPort | None:
        """Return the port; None when there is none, or none that this version can read."""
        return _decoded(self.folder.read(FILE))

    def write(self, port: PodPort) -> None:
        """Remember a port, on the disk when this returns; done before it is made."""
        self.folder.write(FILE, msgspec.json.encode(port))

    def settle(self) -> None:
        """Give up the way back: the port stands."""
        self.folder.remove("undo")

    def drop(self) -> None:
        """Forget the port, and all that was kept of it; its folder goes with its holder."""
        self.folder.remove(FILE)
        self.settle()


class PodPorts:
    """The ports of one node: a folder each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def held(self, veth: str) -> Iterator[Slot]:
        """Hold a port for one call at a time; a killed holder lets go. What is not remembered leaves nothing.

        Raises:
            Refusal: another call about it was not done in time.

        """
        with self._locked(veth) as folder:
            slot = Slot(folder)
            try:
                yield slot
            finally:
                if not folder.has(FILE):
                    shutil.rmtree(folder.path, ignore_errors=True)

    @contextlib.contextmanager
    def _locked(self, veth: str) -> Iterator[StateFolder]:
        limit = Limit(PATIENCE)
        while True:
            with StateFolder.make(self.folder, veth) as folder:
                if folder.lock():
                    yield folder
                    return
            if limit.is_over():
                message = f"another call about the port {veth} was not done {limit.story}"
                raise Refusal(TRY_LATER, message, "wait until it is done; if it hangs, end it and call DEL")
            time.sleep(LOOK_EVERY)

    def all(self) -> list[PodPort]:
        """Return the ports that are remembered, of every network."""
        found: list[PodPort] = []
        for path in sorted(self.folder.glob(f"veth*/{FILE}")):
            with contextlib.suppress(FileNotFoundError):
                port = _decoded(path.read_bytes())
                found += [port] if port else []
        return found


def _decoded(data: bytes | None) -> PodPort | None:
    try:
        if data is None or msgspec.json.decode(data, type=Head).version != VERSION:
            return None
        return msgspec.json.decode(data, type=PodPort)
    except msgspec.MsgspecError:
        return None
