"""Making the lab kernel: what can be shown without compiling one for minutes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error
from nncp.lab import build, cache
from nncp.lab.sweep import Sweeper
from nncp.lab.workbench import Bench
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.conftest import Nothing


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    work = tmp_path / "work"
    work.mkdir()
    made = Bench(work)
    yield made
    made.sweeper.sweep()
    assert not work.exists()


def wanted() -> list[str]:
    return [line for line in build.CONFIG.read_text().splitlines() if line.endswith("=y")]


def test_every_option_that_the_source_does_not_give_is_named(bench: Bench) -> None:
    given = "\n".join(sorted(set(wanted()) - {"CONFIG_BONDING=y", "CONFIG_HOSTFS=y"}))
    (bench.work / "config").write_text(given + "\n# CONFIG_BONDING is not set\n")
    (bench.work / "Makefile").write_text("allnoconfig olddefconfig:\n\tcp config .config\n")
    with pytest.raises(Error) as caught:
        build.configure(bench, bench.work)
    assert [error.message.split()[-1] for error in caught.value] == ["CONFIG_HOSTFS", "CONFIG_BONDING"]


def test_a_compiler_that_refuses_is_quoted(bench: Bench) -> None:
    with pytest.raises(Error, match=r"compiling failed: x\.c:1: no"):
        bench.run(["sh", "-c", "echo x.c:1: no >&2; exit 2"], cwd=bench.work, what="compiling")


def test_an_error_is_quoted_although_other_jobs_print_after_it(bench: Bench) -> None:
    with pytest.raises(Error, match=r"compiling failed: x\.c:1: error: no$"):
        bench.run(
            ["sh", "-c", "echo x.c:1: error: no >&2; seq 20; echo '*** Error 1'; exit 2"],
            cwd=bench.work,
            what="compiling",
        )


def test_what_a_killed_compiler_leaves_goes_with_the_build(bench: Bench) -> None:
    said: list[str] = []
    bench.run(["sh", "-c", "mktemp"], cwd=bench.work, what="compiling", each=said.append)
    assert Path(said[0].strip()).parent == bench.work


def test_every_program_that_a_build_needs_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Error) as caught:
        build.build()
    assert [error.message.split()[0] for error in caught.value] == list(build.PROGRAMS)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_build_that_is_killed_leaves_nothing(
    environment: dict[str, str], nothing_left: Nothing, number: signal.Signals
) -> None:
    code = (
        "import pathlib, sys; from nncp.lab.build import Bench;"
        "work = pathlib.Path(sys.argv[1]); work.mkdir(); bench = Bench(work)\n"
        "try: bench.run(['sh', '-c', 'echo $$; sleep 100'], cwd=work, what='it', each=lambda s: print(s, flush=True))\n"
        "finally: bench.sweeper.sweep()"
    )
    command = [sys.executable, "-c", code, f"{environment['TMPDIR']}/work"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout
        compiler = Path("/proc", process.stdout.readline().decode().strip())
        assert compiler.name.isdecimal()
        assert compiler.exists()
        process.send_signal(number)
        process.wait()
    nothing_left()
    until(lambda: not compiler.exists())  # an orphan's last moment is when process 1 gets round to it


def test_a_second_build_waits_for_the_first(tmp_path: Path) -> None:
    said: list[str] = []
    code = (
        "import sys; from pathlib import Path; from nncp.lab import cache\n"
        "with cache.locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout
        assert first.stdin
        first.stdout.readline()
        assert cache.claim(tmp_path / "lock") is None

        def waiting() -> None:
            said.append("waiting")
            first.kill()  # the kernel drops the lock of what was killed

        with cache.locked(tmp_path / "lock", waiting=waiting):
            assert said == ["waiting"]


def test_a_sweeper_that_was_killed_is_made_up_for(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    sweeper = Sweeper(folder)
    os.kill(sweeper.pid, signal.SIGKILL)
    sweeper.sweep()
    assert not folder.exists()


@pytest.mark.parametrize(("script", "usable"), [('exec {kernel} "$@"', True), ("exit 1", False)])
def test_a_kernel_on_path_is_used_when_it_can_do_what_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, built: Path, script: str, usable: bool
) -> None:
    program = tmp_path / "linux.uml"
    program.write_text(f"#!/bin/sh\n{script.format(kernel=built)}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("BRIDGEHEAD_CACHE", str(tmp_path / "cache"))
    for _ in range(2):  # the second answer is the first one, kept
        assert build._on_path() == (program if usable else None)
