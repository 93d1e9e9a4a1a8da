"""One member of a preflight: a process that tells facts, sends frames and tells what it heard.

    $ python -m vmnet.preflight.member
    {"do": "facts", "bridge": "br1", "vlan": 33}
    {"facts": {"exists": true, "filters": true, ...}}

One JSON object a line on standard input, one answer a line on standard output, until standard input ends.
Whatever can start a program elsewhere and hold its pipes (`ip netns exec`, `nsenter`, `ssh`, `kubectl
exec`) makes a member of that place. It writes nothing.
"""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

import nncp
from nncp.errors import Error
from vmnet.cni.conf import carries, uplinks
from vmnet.frames import Wire
from vmnet.preflight.verdict import VERSION, Facts, Uplink

if TYPE_CHECKING:
    from nncp.host import Host

SIOCGIFFLAGS, IFF_RUNNING = 0x8913, 0x40
NO_PARTNER = "Partner Mac Address: 00:00:00:00:00:00"


class Member:
    """The state of one member: a wire per interface."""

    def __init__(self) -> None:
        self.wires: dict[str, Wire] = {}

    def answer(self, line: str) -> dict[str, Any]:
        """Answer one question; what goes wrong is an answer too."""
        return {"version": VERSION, **self._answer(line)}

    def _answer(self, line: str) -> dict[str, Any]:
        try:
            question = json.loads(line)
            if not isinstance(question, dict):
                return {"error": "a question is a JSON object"}
            match question.pop("do", ""):
                case "facts":
                    return {"facts": msgspec.to_builtins(facts(**question))}
                case "open":
                    return self.open(**question)
                case "send":
                    return self.send(**question)
                case "heard":
                    return self.heard(**question)
                case other:
                    return {"error": f"unknown question {other}"}
        except (Error, OSError, TypeError, KeyError, ValueError, RecursionError) as error:
            return {"error": getattr(error, "strerror", None) or str(error)}

    def open(self, *, interface: str) -> dict[str, Any]:
        """Open a wire: what arrives from now on is heard."""
        if interface not in self.wires:
            self.wires[interface] = Wire(interface)
        return {"mac": self.wires[interface].mac.hex(":")}

    def send(self, *, interface: str, frames: list[dict[str, Any]]) -> dict[str, Any]:
        """Send frames; answer which of them the interface itself refused for their length."""
        wire = self.wires[interface]
        refused = [frame["token"] for frame in frames if not wire.send(**frame)]
        return {"refused": refused}

    def heard(self, *, interface: str) -> dict[str, Any]:
        """Tell what has arrived since the last time."""
        return {"heard": [[frame.token, frame.vlan] for frame in self.wires[interface].caught()]}


def facts(*, member: str, bridge: str, vlan: int = 0, interface: str = "") -> Facts:
    """Return what this network namespace says of `bridge`, or of `interface` where there is no bridge."""
    host = nncp.snapshot()
    if interface:
        found = _outside(host, interface)
        return Facts(member=member, node=False, uplink=found)
    link = host.get("link", bridge)
    if link is None:
        return Facts(member=member, exists=False)
    return Facts(
        member=member,
        is_bridge=link.attrs.get("type") == "linux-bridge",
        up=("up", bridge) in host,
        filters=bool(link.attrs.get("vlan-filtering")),
        uplink=_uplink(host, bridge, vlan),
    )


def _outside(host: Host, interface: str) -> Uplink | None:
    link = host.get("link", interface)
    if link is None:
        return None
    return Uplink(interface, mac=link.attrs["mac"], mtu=link.attrs["mtu"], running=_running(interface))


def _uplink(host: Host, bridge: str, vlan: int) -> Uplink | None:
    """The uplink that serves the VLAN; where none does, the first, for its fault to be told."""
    found = [_port(host, name, vlan) for name in uplinks(host, bridge)]
    return max(found, key=lambda u: (u.carries, u.running, u.state == "forwarding"), default=None)


def _port(host: Host, name: str, vlan: int) -> Uplink:
    attrs = host.rows["link", name].attrs
    return Uplink(
        name=name,
        mac=attrs["mac"],
        mtu=attrs["mtu"],
        running=_running(name),
        state=str(host.attr("port", name, name="state")),
        carries=not vlan or vlan in carries(host, name),
        partner=attrs.get("mode") != "802.3ad" or _has_partner(name),
    )


def _running(name: str) -> bool:
    """Whether the link is up and has a carrier. By ioctl: /sys may be another namespace's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH22x", name.encode(), 0))
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_RUNNING)


def _has_partner(bond: str) -> bool:
    """Whether a switch answers our LACP: the kernel tells it here and, without privilege, nowhere else."""
    path = Path("/proc/thread-self/net/bonding") / bond
    return not path.exists() or NO_PARTNER not in path.read_text()


def serve() -> None:
    """Answer questions until they end: lines on standard input and output."""
    member, sink = Member(), sys.stdout
    for line in sys.stdin.buffer:
        json.dump(member.answer(line.decode(errors="replace")), sink)
        sink.write("\n")
        sink.flush()


if __name__ == "__main__":
    serve()
