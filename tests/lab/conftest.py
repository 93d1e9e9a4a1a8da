"""The lab's own tests: a kernel to start, and a look at what is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp import lab
from nncp.errors import Error
from nncp.lab.build import kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Processes = Callable[[], dict[int, str]]
    Nothing = Callable[[], None]
    Running = Callable[..., subprocess.Popen[bytes]]

RUN = [sys.executable, "-m", "nncp.lab", "run", "--memory", "512M", "--"]


@pytest.fixture(scope="session", autouse=True)
def built() -> Path:
    """A lab kernel, or the reason why there is none."""
    try:
        return kernel()
    except Error as error:
        pytest.skip(f"no lab kernel: {error.message}")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[lab.Session]:
    """A kernel that the tests of a module share."""
    with lab.start(
        folder=tmp_path_factory.mktemp("lab") / "kernel", memory="512M", lifetime=120.0
    ) as running:
        yield running


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment by which every process of a test's own kernel is known, and its temporary folder."""
    root = str(Path(__file__).parents[2])
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path / "tmp"), "LAB_TEST": str(tmp_path)}


@pytest.fixture
def mark(environment: dict[str, str]) -> bytes:
    return f"LAB_TEST={environment['LAB_TEST']}\0".encode()


@pytest.fixture
def processes(mark: bytes) -> Callable[[], dict[int, str]]:
    """The processes of a test, and what each is: by their environment, or by the session of one of these.

    The kernel's own processes have no environment.
    """
    sessions: set[int] = set()

    def look() -> Iterator[tuple[int, bytes, int]]:
        for path in Path("/proc").glob("[0-9]*"):
            try:
                stat = (path / "stat").read_text().rpartition(")")[2].split()
                yield int(path.name), (path / "environ").read_bytes(), int(stat[3]) if stat[0] != "Z" else 0
            except OSError:  # it ended meanwhile
                continue

    def found() -> dict[int, str]:
        seen = list(look())
        sessions.update(pid for pid, environ, session in seen if mark in environ and session == pid)
        ours = [pid for pid, environ, session in seen if session and (mark in environ or session in sessions)]
        return {pid: _what(pid) for pid in ours}

    return found


def _what(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() or "kernel's own"
    except OSError:
        return "gone"


@pytest.fixture
def nothing_left(processes: Callable[[], dict[int, str]], environment: dict[str, str]) -> Callable[[], None]:
    """Wait until a test's processes and temporary files are gone; fail when they stay."""

    def gone() -> None:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            left = [*processes().values(), *Path(environment["TMPDIR"]).iterdir()]
            if not left:
                return
            time.sleep(0.05)
        raise AssertionError(f"left behind: {left}")

    return gone


@pytest.fixture
def running(
    environment: dict[str, str], tmp_path: Path, nothing_left: Callable[[], None]
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `nncp lab run` with a shell script that says `ready`, and return when it has."""
    started: list[subprocess.Popen[Any]] = []

    def run(script: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*RUN, "sh", "-c", script],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        return process

    yield run
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            pipe.close()
    nothing_left()
