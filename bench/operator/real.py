"""The operator on the two nodes of a lab cluster, without images: its programs run in the nodes' machines."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.lab.cluster.addresses import CONTROL, NODES
from nncp.lab.cluster.control import ADMIN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.cluster.handle import Handle

ROOT = Path(__file__).parents[2]
NAMESPACE = "bridgehead"
LIMIT_S = 60.0


class Operator:
    """Its programs; they end with this process."""

    def __init__(self, cluster: Handle, folder: Path) -> None:
        self.cluster = cluster
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self._start(CONTROL, "cluster")
        for node in NODES:
            socket = f"--socket={folder / node}"
            self._start(
                node, "engine", socket, f"--state-dir={folder / node}.state", f"--probes-dir={folder}"
            )
            ready = f"--ready={folder / node}.ready"
            self._start(node, "node", socket, ready, "--metrics-address=0.0.0.0")
        end = time.monotonic() + LIMIT_S
        while not all((folder / f"{node}.ready").exists() for node in NODES):
            assert time.monotonic() < end, "the agents do not get ready"
            time.sleep(0.1)

    def _start(self, machine: str, part: str, *options: str) -> None:
        argv = [
            "env",
            f"KUBECONFIG={ADMIN}",
            f"PYTHONPATH={os.environ.get('PYTHONPATH') or ROOT}",
            "NO_PROXY=*",
        ]
        argv += [f"POD_NAMESPACE={NAMESPACE}", f"NODE_NAME={machine}", "setpriv", "--pdeathsig", "KILL"]
        argv += [sys.executable, "-m", f"nncp.operator.{part}", *options]
        self.running[f"{machine}.{part}"] = subprocess.Popen(
            self.cluster.argv(machine, *argv), stdin=subprocess.DEVNULL
        )

    def memory(self) -> dict[str, int]:
        """Return what each program has used at most, in MiB."""
        return {name: _peak(_program(one.pid)) for name, one in self.running.items()}

    def end(self) -> None:
        """End them; what leads into a machine takes along what runs there."""
        for one in self.running.values():
            one.kill()
            one.wait()


def _program(pid: int) -> int:
    """Return the id of the program that a process leads to."""
    while True:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0] == sys.executable.encode() and words[2].startswith(b"nncp.operator."):
            return pid
        pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])


def _peak(pid: int) -> int:
    text = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", text)
    assert found
    return int(found[1]) >> 10


@contextlib.contextmanager
def operator(cluster: Handle) -> Iterator[Operator]:
    """Let it run until it is left."""
    with tempfile.TemporaryDirectory() as folder:
        running = Operator(cluster, Path(folder))
        try:
            yield running
        finally:
            running.end()
