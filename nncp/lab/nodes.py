"""The machines of the rack: each a network, a mount and a UTS namespace with a process that holds them.

/run is a node's own, and so is what it writes to /etc and /var: documents, journals and daemons' sockets
never meet. What is shared is the disk folder, as ReadWriteMany storage would be.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.lab import cache
from nncp.lab.cgroups import Group, hierarchies, mounts
from nncp.lab.ended import first_child

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DISKS = Path("/srv")
STATE = Path("/srv/.rack.json")  # beside the disks: inside the room, and in every node
FIRST = Path(__file__).with_name("machine.sh")
# The one that waits for the first process of a whole machine stands in the group's leaf, as that does.
WHOLE = """
[ ! -e "$1" ] || echo 0 > "$1"
shift
exec unshare --net --mount --uts --ipc --pid --fork --kill-child --mount-proc -- "$@"
"""
EMPTY = ("/var/lib/nncp", "/etc/nncp", "/etc/cni")
"""What a machine of the lab has of its own from the start: it is another than this one."""


class Node(Struct, frozen=True):
    """A machine of the lab, by the process that holds its namespaces."""

    name: str
    pid: int
    group: str = ""
    """The control group of a machine that is whole, so that a kubelet can run in it; see `boot`."""

    def command(self, argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in this node, in the folder where the caller is."""
        enter = ["nsenter", f"--target={self.pid}", "--net", "--mount", "--uts"]
        if self.group:
            enter += ["--ipc", "--cgroup", "--pid"]
        return [*enter, f"--wdns={Path.cwd()}", "--", *argv]

    def run(self, *argv: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
        """Run a command in this node and return what it printed; its own words are the error."""
        return checked(self.command(argv), stdin=stdin, env=env)

    def spawn(self, *argv: str, output: IO[bytes] | int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Start a command in this node, as one of the node's own processes."""
        return subprocess.Popen(
            self.command(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=partial(_join, Group(self.group).members()) if self.group else None,  # noqa: PLW1509
        )

    def read(self, path: str) -> str:
        """Return a file as this node sees it, without starting anything; empty when it is not there.

        What is below /proc/net is the network namespace's, what is below /sys the mount's.
        """
        name = path.removeprefix("/proc/net/")
        seen = f"/proc/{self.pid}/net/{name}" if name != path else f"/proc/{self.pid}/root{path}"
        try:
            return Path(seen).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def counted(self, device: str) -> int:
        """Return how many bytes a device has received and sent."""
        for line in self.read("/proc/net/dev").splitlines():
            name, _, counters = line.partition(":")
            if name.strip() == device:
                words = counters.split()
                return int(words[0]) + int(words[8])
        return 0


class Rack(Struct, frozen=True):
    """All machines of a room, by name."""

    nodes: dict[str, Node]

    def __getitem__(self, name: str) -> Node:
        node = self.nodes.get(name)
        if node is None:
            known = ", ".join(self.nodes)
            raise Error(f"there is no machine {name}", kind=ErrorKind.USAGE, hint=f"there are {known}")
        return node

    def write(self) -> None:
        """Note how to enter the nodes, for others in this room."""
        fresh = STATE.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self))
        fresh.replace(STATE)


def standing(root: Path = Path("/")) -> Rack:
    """Return the machines of this room, or of the room whose files are under `root`.

    Raises:
        Error: they are not all there yet.

    """
    try:
        return msgspec.json.decode((root / STATE.relative_to("/")).read_bytes(), type=Rack)
    except FileNotFoundError:
        raise Error("it is still being put up", kind=ErrorKind.FAILED, hint="try again in a moment") from None


def prepare() -> None:
    """Make the folder that all nodes share.

    Raises:
        Error: what runs in them lies below it, and would be hidden.

    """
    for path in (Path(sys.executable), FIRST.resolve(), cache.folder().resolve()):
        if path.is_relative_to(DISKS):
            told = f"{path} would be hidden: below {DISKS} are the disks of the lab's machines"
            raise Error(told, kind=ErrorKind.UNSUPPORTED, hint="have it elsewhere")
    checked(["mount", "-t", "tmpfs", "-o", "mode=755", "disks", str(DISKS)])


def boot(name: str, *, disk: Path = Path("/run/own"), group: str = "", empty: Sequence[str] = ()) -> Node:
    """Make a machine, and return when it holds its namespaces.

    Args:
        name: its host name.
        disk: the folder that holds what it writes to /etc, /opt and /var; on its own /run, it goes with it.
        group: the name of its control group, if it is to be whole: with process ids, System V IPC and control
            groups of its own.
        empty: folders that are its own from the start, beside `EMPTY`.

    """
    argv = ["sh", "-eu", str(FIRST), name, str(disk), mounts(hierarchies()) if group else "", *EMPTY, *empty]
    if not group:
        return Node(name, _held(["unshare", "--net", "--mount", "--uts", "--", *argv], name=name))
    own = Group(group)
    own.make()
    whole = ["unshare", "--cgroup", "--", "sh", "-eu", "-c", WHOLE, "sh", str(own.leaf), *argv]
    return Node(name, first_child(_held(whole, name=name, join=own.roots())), group)


def _held(argv: Sequence[str], *, name: str, join: Sequence[Path] = ()) -> int:
    """Start what holds a machine, and return its process id when it does."""
    try:
        holder = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=partial(_join, join),  # noqa: PLW1509  whoever makes machines has one thread
        )
    except subprocess.SubprocessError:
        told = f"{name} may not join its control groups"
        raise Error(told, kind=ErrorKind.UNSUPPORTED, hint="a lab kernel has its own") from None
    assert holder.stdout is not None
    assert holder.stderr is not None
    with holder.stdout as said, holder.stderr as errors:
        if said.readline() == b"ready\n":
            holder.returncode = 0  # nobody waits for it: it ends with the room
            return holder.pid
        lines = errors.read().decode(errors="replace").splitlines()
    raise Error(f"{name} did not come up: {lines[-1] if lines else 'no word'}", kind=ErrorKind.UNSUPPORTED)


def _join(files: Sequence[Path]) -> None:
    """Make this process one of a control group's."""
    for file in files:
        file.write_bytes(b"0")


def cable(*, ends: Sequence[tuple[Node, str]]) -> None:
    """Lay a cable between two NICs: a veth pair, 10 Gb/s and full duplex to a bond (drivers/net/veth.c)."""
    (left, nic), (right, other) = ends
    peer = ["peer", "name", other, "netns", str(right.pid)]
    checked(["ip", "link", "add", nic, "netns", str(left.pid), "type", "veth", *peer])


def checked(argv: Sequence[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it printed; its own words are the error."""
    done = subprocess.run(
        argv,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=None if env is None else {**os.environ, **env},
    )
    if done.returncode:
        raise failure(argv, done.returncode, done.stderr or done.stdout)
    return done.stdout


def failure(argv: Sequence[str], code: int, said: str) -> Error:
    """Return the error of a command that failed, in its own words; ours say them as `error:` and `hint:`."""
    lines = [line.strip() for line in said.splitlines() if line.strip()] or [f"status {code}"]
    message = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[-1])
    hint = next((line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")), "")
    return Error(f"{_program(argv)}: {message}", kind=ErrorKind.FAILED, hint=hint)


def _program(argv: Sequence[str]) -> str:
    """Return the command without how its node was entered and how Python was called."""
    words = list(argv)
    while "--" in words and words[0] == "nsenter":
        words = words[words.index("--") + 1 :]
    if words[1:3] == ["-P", "-m"]:
        words = [words[3].partition(".")[0], *words[4:]]
    return " ".join(words[:2])
