"""A host that can be switched off and on."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

import outside

from nncp.document.source import load

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

MACS = {n: f"52:54:00:00:0{n}:01" for n in (1, 2, 3)}


def manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "nmstate.io/v1", "kind": "NodeNetworkConfigurationPolicy"}
    return {**head, "metadata": {"name": name}, "spec": spec}


def policy(name: str, *interfaces: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return manifest(name, {"desiredState": {"interfaces": list(interfaces), **rest}})


def dummy(name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": "dummy", "state": "up", **rest}


class Machine:
    """A host that can be switched off and on: what it has of a kernel is a namespace."""

    def __init__(self, state_dir: Path, beyond: Namespace) -> None:
        self.state_dir = state_dir
        self.beyond = beyond
        self.starts = 0
        self.on()

    def on(self, *cards: int) -> None:
        self.ns = outside.make()
        for n in cards or MACS:
            self.plug(n)

    def plug(self, n: int) -> None:
        self.starts += 1
        outside.plug(self.ns, self.beyond, f"eth{n}", f"sw{n}x{self.starts}", mac=MACS[n])

    def off(self) -> None:
        outside.remove(self.ns)

    def nncp(self, *argv: str, document: Any = None, code: int = 0) -> str:
        where = () if argv[0] == "show" else ("--state-dir", str(self.state_dir))
        text = None if document is None else json.dumps(document)
        done = self.ns.nncp(*argv, *where, stdin=text)
        assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def shown(self) -> dict[str, Any]:
        """Return what it shows, less what is drawn at random: a dummy's MAC address, and what comes of it."""
        self.ns.settled()
        state = load(self.nncp("show"), file="shown")[0].value
        for interface in state["interfaces"]:
            interface.pop("mac-address" if interface["type"] == "dummy" else "", None)
            listed = interface.get("ipv6", {}).get("address", [])
            listed[:] = [entry for entry in listed if not entry["ip"].startswith("fe80::")]
            interface.get("veth", {}).pop("peer", None)
        return dict(state)

    def names(self) -> set[str]:
        return set(self.ns.view()["link"])

    def in_force(self) -> list[str]:
        (file,) = self.state_dir.glob("applied/*/documents.json")
        return [document["name"] for document in json.loads(file.read_text())["documents"]]


def started(machine: Machine, tmp_path: Path) -> str:
    """Start the machine by its unit's own command line."""
    machine.nncp("install-unit", "--unit-dir", str(tmp_path / "units"))
    unit = (tmp_path / "units" / "nncp-restore.service").read_text()
    (command,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    machine.off()
    machine.on()
    done = machine.ns.run(*shlex.split(command), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
