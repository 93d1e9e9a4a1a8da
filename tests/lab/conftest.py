"""The lab's own tests: a kernel to start, and a look at what is left of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp import lab
from nncp.errors import Error
from nncp.lab.build import kernel
from tests import leftovers
from tests.shared import Shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Processes = Callable[[], dict[int, str]]
    Nothing = Callable[[], None]
    Running = Callable[..., subprocess.Popen[bytes]]

LAB_TEST = "LAB_TEST"
RUN = [sys.executable, "-m", "nncp.lab", "run", "--memory", "512M", "--"]


@pytest.fixture(scope="session", autouse=True)
def built() -> Path:
    """A lab kernel, or the reason why there is none."""
    try:
        return kernel()
    except Error as error:
        pytest.skip(f"no lab kernel: {error.message}")


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared[lab.Session]]:
    shared = Shared(
        lambda: lab.start(folder=tmp_path_factory.mktemp("lab") / "kernel", memory="512M"),
        is_there=lab.Session.alive,
        end=lab.Session.stop,
    )
    yield shared
    shared.end()


@pytest.fixture
def session(sessions: Shared[lab.Session]) -> lab.Session:
    return sessions.running()


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """An environment by which every process of a test's own kernel is known, and its temporary folder."""
    root = str(Path(__file__).parents[2])
    (tmp_path / "tmp").mkdir()
    return {**os.environ, "PYTHONPATH": root, "TMPDIR": str(tmp_path / "tmp"), LAB_TEST: f"{tmp_path}/"}


@pytest.fixture
def processes(environment: dict[str, str]) -> Processes:
    """The processes of a test, and what each is; the kernel's own as long as their session has been seen."""
    sessions: set[int] = set()

    def found() -> dict[int, str]:
        ours = leftovers.marked(environment[LAB_TEST], name=LAB_TEST, sessions=sessions)
        sessions.update(process.session for process in ours)
        return {process.pid: process.command for process in ours}

    return found


@pytest.fixture
def nothing_left(processes: Processes, environment: dict[str, str]) -> Nothing:
    """Wait until a test's processes and temporary files are gone; fail when they stay."""

    def gone() -> None:
        folder = Path(environment["TMPDIR"])
        assert leftovers.gone(lambda: [*processes().values(), *folder.iterdir()]) == []

    return gone


@pytest.fixture
def running(environment: dict[str, str], tmp_path: Path, nothing_left: Nothing) -> Iterator[Running]:
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
