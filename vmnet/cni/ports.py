"""What our bridge plugin remembers of its ports: enough to clean up when nobody else knows them any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class BridgePort(Struct, frozen=True):
    """A bridge port and the container's interface it belongs to."""

    network: str
    container: str
    interface: str
    veth: str
    guarded: bool = False


class BridgePorts:
    """The ports of one node: a file each, in a folder per network."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, network: str, veth: str) -> Path:
        """Return the file of a port; a network's name may hold no slash (CNI specification, section 1)."""
        return self.folder / network / f"{veth}.json"

    def write(self, port: BridgePort) -> None:
        """Remember a port; done before it is made."""
        path = self.path(port.network, port.veth)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.encode(port))

    def drop(self, port: BridgePort) -> None:
        """Forget a port."""
        self.path(port.network, port.veth).unlink(missing_ok=True)

    def find(self, network: str, veth: str) -> BridgePort | None:
        """Return a port, or None; what a power cut left half-written counts as none."""
        try:
            return msgspec.json.decode(self.path(network, veth).read_bytes(), type=BridgePort)
        except (FileNotFoundError, msgspec.DecodeError):
            return None

    def all(self, network: str) -> Iterator[BridgePort]:
        """Yield the ports of a network."""
        for path in sorted((self.folder / network).glob("*.json")):
            port = self.find(network, path.stem)
            if port is not None:
                yield port
