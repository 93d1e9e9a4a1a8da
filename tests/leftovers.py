"""What a run of the tests left behind, told by its own marks: others work on this machine too.

Everything that a run starts inherits MARK in its environment, with the run's number and the worker's; a
namespace has it in its name; temporary files lie in a folder of the run. What bears another mark, or none, is
somebody else's and is neither looked at nor touched.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

ESCAPED = re.compile(
    r"\\([0-7]{3})"
)  # white space and backslashes in /proc/self/mounts (fs/proc_namespace.c, mangle)
MARK = "BRIDGEHEAD_TEST_RUN"
TEST = "PYTEST_CURRENT_TEST"  # pytest's own: what runs now, inherited too
PREFIX = "bhtest"
NAMESPACES = Path("/run/netns")
CLUSTERS = Path("/run/bridgehead")
ROOT = Path(__file__).parents[1]
_numbers = itertools.count()


class Process(Struct, frozen=True):
    """A process that is there: what it is, which test started it, its session, its CPU time in ticks."""

    pid: int
    command: str
    test: str
    session: int
    ticks: int

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command[:120]})" + (
            f", started by {self.test}" if self.test else ""
        )


def begin_run() -> None:
    """Mark what this process starts from now on as of a new run, and give it a folder for temporary files."""
    os.environ[MARK] = f"{_run()}."
    os.environ["TMPDIR"] = tempfile.mkdtemp(prefix=f"{PREFIX}-{_run()}-")
    tempfile.tempdir = None  # asked for anew


def leave_folder() -> None:
    """Remove the run's folder; what this process makes after it lies beside it, as another run's would."""
    folder = Path(tempfile.gettempdir())
    remove_folder(folder)
    os.environ["TMPDIR"] = str(folder.parent)
    tempfile.tempdir = None


def _run() -> str:
    """Return what a run of this process is known by: process ids are a PID namespace's own."""
    return f"{Path('/proc/self/ns/pid').stat().st_ino}-{os.getpid()}"


def marked(mark: str, *, name: str = MARK, sessions: Iterable[int] = ()) -> list[Process]:
    """Return the live processes whose environment has `name` with a value that begins with `mark`.

    This process is left out. The processes of a lab kernel have no environment: they are known by their
    session, whose leader has one, or which is among `sessions`. One that has an environment without the mark
    is somebody else's, whatever its session: the kernel hands out numbers anew.
    """
    word = f"{name}={mark}".encode()
    seen = [each for each in _all() if each[0].pid != os.getpid()]
    ours = {process.pid for process, environ in seen if any(w.startswith(word) for w in environ)}
    known = ours.union(sessions)
    return [
        process
        for process, environ in seen
        if process.pid in ours or (process.session in known and not any(environ))
    ]


def _all() -> Iterator[tuple[Process, list[bytes]]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            stat = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            environ = (folder / "environ").read_bytes().split(b"\0")
            if stat[0] not in "ZX":
                yield _process(folder, stat, environ), environ


def _process(folder: Path, stat: Sequence[str], environ: Sequence[bytes]) -> Process:
    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    test = next((word.decode(errors="replace") for word in environ if word.startswith(TEST.encode())), "")
    started_by = test.partition("=")[2].rpartition(" (")[0]
    return Process(
        int(folder.name), command or "kernel's own", started_by, int(stat[3]), int(stat[11]) + int(stat[12])
    )


def unused_namespace() -> str:
    """Return a name for a network namespace that says whose it is."""
    run = os.environ[MARK].partition(".")[0]
    return f"{PREFIX}-{run}-{os.getpid()}-{next(_numbers)}"


def remove_namespace(name: str) -> None:
    """End what runs in a namespace of ours, and the namespace."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in pids.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def sweep_dead_runs() -> None:
    """Remove what runs that were killed have left: its names hold the run's process id."""
    for path in _of_dead_runs(NAMESPACES):
        remove_namespace(path.name)
    for path in _of_dead_runs(Path(tempfile.gettempdir()).parent):
        remove_folder(path)
    for note in CLUSTERS.glob(f"cluster-{PREFIX}-*-*"):
        if not Path("/proc", note.name.split("-")[2]).exists():
            name = note.name.removeprefix("cluster-")
            argv = [sys.executable, "-m", "nncp.lab", "cluster", "--name", name, "--kernel", "host", "down"]
            subprocess.run(argv, capture_output=True, check=False, cwd=ROOT)


def _of_dead_runs(folder: Path) -> list[Path]:
    """Return what in a folder is named after a run whose process has ended; it may have another's id by now."""
    here = _run().partition("-")[0]
    found = folder.glob(f"{PREFIX}-{here}-*-*") if folder.exists() else ()
    return [path for path in found if not Path("/proc", path.name.split("-")[2]).exists()]


def namespaces(run: str) -> list[str]:
    """Return the names of a run's namespaces."""
    return sorted(path.name for path in NAMESPACES.glob(f"{PREFIX}-{run}-*")) if NAMESPACES.exists() else []


def files() -> list[str]:
    """Return what lies in the run's temporary folder beside pytest's own."""
    found = Path(tempfile.gettempdir()).glob("*")
    return sorted(str(path) for path in found if not path.name.startswith("pytest-of-"))


def mounts(folder: Path) -> list[str]:
    """Return where something is still mounted: on a folder, or below it."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    found = [ESCAPED.sub(lambda sign: chr(int(sign[1], 8)), line.split()[1]) for line in lines]
    return [path for path in found if f"{path}/".startswith(f"{folder}/")]


def gone(look: Callable[[], Sequence[object]], *, seconds: float = 10.0) -> list[object]:
    """Wait until `look` finds nothing; return what it still finds when nothing goes any more."""
    limit, found = Limit(seconds), list(look())
    while found and not limit.is_over():
        time.sleep(0.05)
        before, found = found, list(look())
        if len(found) < len(before):
            limit.progress()
    return found


def end_processes() -> list[str]:
    """Return which processes of this worker, or of this whole run, stay; and end them."""
    mark = os.environ[MARK]
    told = [str(each) for each in gone(lambda: marked(mark), seconds=3.0)]
    for each in marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(each.pid, signal.SIGKILL)
    return told


def end_run() -> list[str]:
    """Return what the whole run has left behind: processes, namespaces, mounts, files; all but files end."""
    told = end_processes()
    for name in namespaces(os.environ[MARK].partition(".")[0]):
        told.append(f"network namespace {name}")
        remove_namespace(name)
    mounted = mounts(Path(tempfile.gettempdir()))
    return told + [f"mount {path}" for path in mounted] + [f"file {path}" for path in files()]


def remove_folder(folder: Path) -> None:
    """Remove a run's temporary folder, unless something is mounted in it: that may be anybody's."""
    if not mounts(folder):
        shutil.rmtree(folder, ignore_errors=True)
