"""The first run: what it says, when it is silent, how it ends. No lab kernel is needed, and no clock."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.lab import cache, debian, setup
from nncp.lab.build import COMPILER, UNREAD, _unpack
from nncp.lab.progress import Progress
from nncp.lab.setup import STEPS, Course, Display, Setup
from nncp.lab.workbench import Bench
from tests.waiting import is_gone, until

SCRIPT = Path(setup.__file__)
Screen = tuple[Setup, io.StringIO]


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """Other than the rest of this folder, these tests do without one."""


def course() -> Course:
    return Course(STEPS, processors=2, slowness=1.0)


def screen(*, terminal: bool = False) -> Screen:
    out = io.StringIO()
    return Setup(course(), Display(out, terminal=terminal), began=0.0), out


@given(st.floats(1, 1e4), st.floats(0.2, 50), st.floats(0.0, 1.0))
def test_an_estimate_comes_nearer_to_the_truth_with_what_is_done(
    expected: float, pace: float, share: float
) -> None:
    truth = expected * (1 - share) * pace
    told = setup.remaining(share, elapsed=expected * share * pace, expected=expected)
    first = expected * (1 - share)
    assert min(first, truth) - 1e-6 <= told <= max(first, truth) + 1e-6
    if share >= 0.5:
        assert abs(told - truth) <= abs(first - truth) / 5 + 1e-6


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.none() | st.floats(0, 1)), max_size=20))
def test_a_bar_never_goes_back(told: list[tuple[setup.Step, float | None]]) -> None:
    one, before = course(), 0.0
    for now, (step, share) in enumerate(told):
        one.take(step.name, share, "", now=float(now))
        assert before <= one.share(float(now)) <= 1
        before = one.share(float(now))


def test_what_does_not_tell_how_far_it_is_moves_and_is_never_done_by_itself() -> None:
    one = course()
    one.take("packages", None, "installs", now=0.0)
    shares = [one.share(now) for now in (1.0, 60.0, 1e9)]
    assert shares == sorted(set(shares))
    one.take("packages", 1.0, "", now=1e9)
    assert one.share(1e9) > shares[-1]


def test_more_processors_and_a_quicker_machine_are_expected_to_take_less() -> None:
    totals = [Course(STEPS, many, slow).total for many, slow in ((8, 1.0), (2, 1.0), (2, 3.0))]
    assert totals == sorted(set(totals))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("progress: kernel 0.250 lab kernel: compiles", ("kernel", 0.25, "lab kernel: compiles")),
        ("progress: environment - is made", ("environment", None, "is made")),
        ("progress: qemu 1 ", ("qemu", 1.0, "")),
        ("dlstatus:3:50.0:Retrieving file 3 of 9", ("packages", 0.2475, "Retrieving file 3 of 9")),
        ("pmstatus:gcc:100.0:Installed gcc", ("packages", 0.99, "Installed gcc")),
        ("E: Unable to locate package progress: x", None),
    ],
)
def test_what_a_step_prints_is_understood(line: str, told: tuple[str, float | None, str] | None) -> None:
    assert setup.parsed(line) == told


def test_what_progress_prints_is_what_the_set_up_reads(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(setup.VARIABLE, "1")
    told = Progress("kernel", name="lab kernel")
    told.advance(0.5, "compiles")
    told.end()
    lines = [setup.parsed(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [("kernel", 0.5, "lab kernel: compiles"), ("kernel", 1.0, "")]


def test_a_step_by_itself_says_each_thing_once_and_no_more(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(setup.VARIABLE, raising=False)
    told = Progress("kernel", name="lab kernel")
    for files in range(1000):
        told.advance(files / 1000, f"compiles, {files}")
    told.finish("built")
    told.end()
    assert capsys.readouterr().err == "lab kernel: 0 %, compiles, 0\nlab kernel: built\n"


def test_nothing_is_said_when_nothing_has_to_be_done() -> None:
    seen, out = screen()
    seen.take("progress: kernel 1 lab kernel: none is built", now=0.1)
    seen.take("progress: qemu 1 ", now=0.2)
    seen.tick(now=100.0)
    seen.close(0, now=100.0)
    assert not out.getvalue()


def test_a_first_run_says_what_it_does_how_far_it_is_and_how_long_it_took() -> None:
    seen, out = screen()
    for now in range(200):
        seen.take(f"progress: kernel {now / 200} lab kernel: compiles", now=float(now))
        seen.tick(now=float(now))
    seen.take("progress: kernel 1.000 lab kernel: built", now=200.0)
    seen.close(0, now=200.0)
    first, *middle, built, last = out.getvalue().splitlines()
    assert "2 processors" in first
    assert all(step.title in first for step in STEPS)
    assert len(middle) == 200 // setup.EVERY
    assert all(re.fullmatch(r"set-up: +\d+ %, .* left: lab kernel: compiles", line) for line in middle)
    assert (built, last) == ("set-up: lab kernel: built", "set-up: done in 3 min 20 s")
    assert not re.search(r"[\r\x1b]", out.getvalue())


def test_what_was_thought_to_be_there_is_announced_when_it_is_made_after_all() -> None:
    seen, out = screen()
    seen.course.steps = ()
    seen.take("progress: debian - debian: installs", now=0.0)
    assert "a Debian guest" in out.getvalue()
    assert "lab kernel" not in out.getvalue()


def test_only_what_is_wanted_and_not_there_is_announced(tmp_path: Path) -> None:
    def names() -> list[str]:
        return [step.name for step in setup.missing(["environment", "kernel", "qemu"], tmp_path, tmp_path)]

    assert names() == ["environment", "kernel", "qemu"]
    (tmp_path / "kernel" / "7.2").mkdir(parents=True)
    (tmp_path / "ready").touch()
    (tmp_path / "kernel" / "7.2" / "linux").touch()
    assert names() == ["qemu"]


def test_no_kernel_is_built_and_that_is_said_in_a_first_run() -> None:
    seen, out = screen()
    seen.open()
    seen.take("progress: kernel 1 lab kernel: none is built", now=1.0)
    assert out.getvalue().endswith("set-up: lab kernel: none is built\n")


def test_on_a_terminal_one_line_changes_and_gives_way_to_what_stays() -> None:
    seen, out = screen(terminal=True)
    for now in (1.0, 2.0):
        seen.take(f"progress: tiny {now / 4} tiny: unpacks {'x' * 300}", now=now)
        seen.tick(now=now)
    seen.take("warning: something", now=2.1)
    _, *drawn, left = out.getvalue().split("\r")
    assert [text.count("\n") for text in drawn] == [0, 0]
    assert all(text.startswith("[") and text.endswith("\x1b[K") and len(text) < 84 for text in drawn)
    assert left == "\x1b[Kwarning: something\n"
    seen.ending = True
    for now in (2.5, 3.0):
        seen.take("make: *** [kernel] Interrupt", now=now)
        seen.tick(now=now)
    seen.close(130, now=3.0)
    ended = "set-up: ends, and removes what is half made\nset-up: interrupted after 3 s\n"
    assert out.getvalue().endswith(f"warning: something\n{ended}")


def run(tmp_path: Path, script: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-I", str(SCRIPT), str(tmp_path), str(tmp_path), "tiny", "sh", "-c", script]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.parametrize("status", [0, 2])
def test_the_exit_status_is_makes(tmp_path: Path, status: int) -> None:
    with run(tmp_path, f"echo passed on; exit {status}") as process:
        assert process.stderr
        said = process.stderr.read().splitlines()
    assert process.returncode == status
    assert "passed on" in said
    assert said[-1].startswith("set-up: done in" if status == 0 else "set-up: failed after")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_set_up_that_is_told_to_end_ends_its_steps(tmp_path: Path, number: signal.Signals) -> None:
    pid = tmp_path / "pid"
    script = f"echo $$ >{pid}.new; mv {pid}.new {pid}; exec sleep 1000"
    with run(tmp_path, script) as process:
        until(pid.exists, what="it does not start")
        process.send_signal(number)
        assert process.stderr
        said = process.stderr.read().splitlines()
    step = Path("/proc", pid.read_text().strip())
    until(lambda: is_gone(step.name), what="a step stays")
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert said[-1].startswith("set-up: interrupted after")


def test_of_the_source_all_is_unpacked_that_may_be_read(tmp_path: Path) -> None:
    files = {
        "drivers/gpu/Kconfig",
        "include/dt-bindings/leds/common.h",
        "drivers/net/bonding/bond_main.c",
        "arch/um/kernel/um_arch.c",
        "arch/x86/um/ptrace.c",
    }
    unread = {"drivers/gpu/drm/card.c", "arch/arm64/kernel/head.S", "sound/core/card.c", "tools/perf/perf.c"}
    for name in files | unread:
        (tmp_path / "tree" / "linux-source-1" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / "linux-source-1" / name).touch()
    package = tmp_path / "package"
    (package / "usr" / "src").mkdir(parents=True)
    (package / "DEBIAN").mkdir()
    (package / "DEBIAN" / "control").write_text(
        "Package: linux\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.test>\nDescription: x\n"
    )
    subprocess.run(
        ["tar", "-C", tmp_path / "tree", "-cJf", package / "usr/src/linux-source-1.tar.xz", "linux-source-1"],
        check=True,
    )
    subprocess.run(["dpkg-deb", "-b", package, tmp_path / "linux.deb"], check=True, stdout=subprocess.DEVNULL)
    work = tmp_path / "work"
    work.mkdir()
    bench = Bench(work)
    _unpack(tmp_path / "linux.deb", package="linux-source-1", bench=bench)
    found = {str(path.relative_to(work / "linux-source-1")) for path in work.rglob("*") if path.is_file()}
    bench.sweeper.sweep()
    assert found == files
    assert len(set(UNREAD)) == len(UNREAD)


def test_what_only_more_optimisation_can_prove_is_compiled_with_more(tmp_path: Path) -> None:
    compiler, source = tmp_path / "gcc", tmp_path / "x.c"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    source.write_text(
        'void no(void) __attribute__((error("no")));\n'
        "static __attribute__((noinline)) void g(int x) { if (x > 100) no(); }\n"
        "void f(void) { g(1); g(2); }\n"
    )
    command = ["-O1", "-c", "-o", str(tmp_path / "x.o"), str(source)]
    assert subprocess.run(["gcc", *command], check=False, capture_output=True).returncode
    assert not subprocess.run([compiler, *command], check=False, capture_output=True).returncode
    source.write_text("nonsense")
    assert subprocess.run([compiler, *command], check=False, capture_output=True).returncode
    trial = [compiler, "-x", "assembler", "-c", "-o", "/dev/null", "-"]
    assert subprocess.run(trial, input=b"nonsense x", check=False, capture_output=True).returncode


def test_two_that_use_one_archive_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BRIDGEHEAD_CACHE", str(tmp_path / "cache"))
    archive = debian.Archive(("bookworm",))
    apt = tmp_path / "apt-cache"
    apt.write_text(
        f"#!/bin/sh\nflock -n {archive.folder}/lock true && echo 'Version: free' || echo 'Version: held'\n"
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert archive.show("x", "Version") == "held"
    lock = cache.claim(archive.folder / "lock")
    assert lock is not None
    os.close(lock)


def test_what_an_image_is_built_with_does_not_outlive_its_builder(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from nncp.lab.debian import run; from nncp.lab.sweep import Sweeper\n"
        "work = pathlib.Path(sys.argv[1]); work.mkdir()\n"
        "run(['sh', '-c', 'echo $$ >pid.new; mv pid.new pid; exec sleep 1000'], cwd=work.parent, guard=Sweeper(work))"
    )
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[2])}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "work")], env=environment) as process:
        until((tmp_path / "pid").exists, what="it does not start")
        process.kill()
    program = Path("/proc", (tmp_path / "pid").read_text().strip())
    until(lambda: is_gone(program.name), what="it stays")
    until(lambda: not (tmp_path / "work").exists(), what="its folder stays")
