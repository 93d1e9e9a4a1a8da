"""Two cards, and the command line beside them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

CARDS = [
    line
    for n in (1, 2)
    for line in (
        f"link add eth{n} type veth peer name p{n}",
        f"sysctl -qw net.ipv6.conf.p{n}.disable_ipv6=1",
        f"link set p{n} up",
        f"link set eth{n} up",
    )
]


class Command:
    """The command line in one namespace, with a state folder of its own."""

    def __init__(self, ns: Namespace, state: Path) -> None:
        self.ns = ns
        self.state = state

    def __call__(self, verb: str, *interfaces: dict[str, Any], code: int = 0) -> str:
        """Run a command on a document of these interfaces, one a line; return what it prints."""
        text = "".join(["interfaces:\n", *(f"- {json.dumps(interface)}\n" for interface in interfaces)])
        argv = {"rollback": (), "show": ()}.get(verb, ("-",))
        folder = ("--state-dir", str(self.state)) if verb in {"apply", "rollback"} else ()
        done = self.ns.nncp(verb, *argv, *folder, stdin=text)
        assert done.returncode == code, f"{verb} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr


def link(ns: Namespace, name: str) -> dict[str, Any]:
    (found,) = ns.json("ip", "-d", "-j", "link", "show", name)
    return dict(found)


def vlan(name: str, base: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "vlan", "vlan": {"base-iface": base, "id": 5}, **more}
