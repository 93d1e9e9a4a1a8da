"""The gate of a Pod: what shuts its guest's segment out while the guest runs elsewhere.

It is the state of X-nic in k6t-X: disabled (0) lets nothing through, in either direction. Blocking (4) would
not do: a port of a bridge without STP is forwarding again at once (net/bridge/br_stp_if.c).
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from nncp import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

AF_BRIDGE = 7  # linux/socket.h; Python does not name it
DISABLED, FORWARDING = 0, 3  # linux/if_bridge.h, BR_STATE_*
IFLA_PROTINFO, IFLA_BRPORT_STATE = 12, 1
SYS = Path("/sys/class/net")


def state_request(index: int, state: int) -> bytes:
    """Return the request that sets the state of a bridge port, by its interface index."""
    body = wire.IFINFO.pack(AF_BRIDGE, 0, index, 0, 0)
    body += wire.nest(IFLA_PROTINFO, wire.attr(IFLA_BRPORT_STATE, bytes([state])))
    return bytes(wire.message(wire.RTM_SETLINK, wire.NLM_F_ACK, body))


class Gate:
    """The gates of a Pod's bridged NICs, opened and closed together, in the namespace where it was made."""

    def __init__(self, nics: Sequence[str]) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.bind((0, 0))
        indices = [socket.if_nametoindex(nic) for nic in nics]
        self._requests = {
            state: [state_request(index, state) for index in indices] for state in (DISABLED, FORWARDING)
        }

    def open(self) -> None:
        """Let the guest's segment in; raises OSError when the kernel refuses (EBUSY under STP)."""
        self._set(is_open=True)

    def close(self) -> None:
        """Shut it out; raises OSError when the kernel refuses."""
        self._set(is_open=False)

    def _set(self, *, is_open: bool) -> None:
        for request in self._requests[FORWARDING if is_open else DISABLED]:
            self._socket.send(request)
            code = struct.unpack_from("=i", self._socket.recv(4096), wire.HEADER.size)[0]
            if code:
                raise OSError(-code, "the port's state cannot be set")

    def end(self) -> None:
        """Let go of the socket; the gates stay as they are."""
        self._socket.close()


def is_open(nics: Iterable[str]) -> bool:
    """Whether all gates are open, as the kernel has it; without rights, in the namespace that /sys is of."""
    states = [SYS / nic / "brport" / "state" for nic in nics]
    return all(state.exists() and state.read_text().strip() == str(FORWARDING) for state in states)
