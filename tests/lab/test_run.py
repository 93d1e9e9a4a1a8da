"""`nncp lab run`: a command in a kernel of its own, as if it ran here."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.lab.conftest import RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.lab.conftest import Nothing, Processes, Running

    Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(environment: dict[str, str], tmp_path: Path, nothing_left: Nothing) -> Run:
    def once(*argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            [*RUN, *argv],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        nothing_left()
        return done

    return once


def test_it_has_what_the_host_may_lack(run: Run) -> None:
    done = run("sh", "-c", "ip link add b0 type bond && ip -d link show b0")
    assert done.returncode == 0, done.stderr
    assert b"bond mode balance-rr" in done.stdout


def test_output_errors_input_and_exit_status_are_kept_apart(run: Run) -> None:
    done = run("sh", "-c", "cat; echo broken >&2; exit 7", stdin=b"\0\xffbytes\r\n\x03\x04")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"\0\xffbytes\r\n\x03\x04", b"broken\n")


def test_a_command_that_a_signal_ends_has_the_shells_status(run: Run) -> None:
    assert run("sh", "-c", "kill -9 $$").returncode == 128 + signal.SIGKILL


def test_a_command_that_is_not_there_has_the_shells_status(run: Run) -> None:
    done = run("no-such-command")
    assert done.returncode == 127
    assert b"no-such-command" in done.stderr


def test_the_folder_it_starts_in_is_writable_and_the_rest_of_the_host_is_not_touched(
    run: Run, tmp_path: Path
) -> None:
    outside = tmp_path.parent / "outside"
    outside.write_text("host")
    assert (
        run("sh", "-c", f"echo new > made; echo lab > {outside}; cat {outside}; rm {outside}").stdout
        == b"lab\n"
    )
    assert (tmp_path / "made").read_text() == "new\n"
    assert outside.read_text() == "host"


def test_nothing_is_imported_from_the_folder_it_starts_in(
    environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "nncp").mkdir()
    for name in ("json", "struct", "socket", "signal", "sitecustomize", "click", "nncp/__init__", "nncp/lab"):
        (tmp_path / f"{name}.py").write_text(f"open('imported', 'a').write({name!r})\nraise SystemExit(9)\n")
    nncp = [str(Path(sys.executable).parent / "nncp")]
    inside = "ip link add b0 type bridge; echo '{interfaces: [{name: b0, state: absent}]}' | nncp apply -"
    for argv in (["--version"], ["lab", "run", "--memory", "512M", "--", "sh", "-ec", inside]):
        done = subprocess.run(
            [*nncp, *argv], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "1 to remove" in done.stdout
    for name in ("vmnet", "launcher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("open('imported', 'a').write('a package of ours')\n")
        for argv in (["--version"], ["status", "nobody"]):
            program = [str(Path(sys.executable).parent / name), *argv]
            done = subprocess.run(
                program, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert "Traceback" not in done.stderr
            assert done.returncode == 0 or argv != ["--version"], done.stderr
    assert not (tmp_path / "imported").exists()


@pytest.mark.parametrize("name", ["with space", "comma,=quote'"])
def test_the_folder_may_have_any_name(environment: dict[str, str], tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    subprocess.run([*RUN, "touch", "made"], cwd=folder, env=environment, check=True)
    assert (folder / "made").exists()


def test_the_environment_is_passed_on(run: Run, environment: dict[str, str]) -> None:
    assert run("printenv", "LAB_TEST").stdout.decode().strip() == environment["LAB_TEST"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_reach_the_command(running: Running, number: signal.Signals) -> None:
    word = number.name.removeprefix("SIG")
    process = running(f"trap 'echo {word}; exit 5' {word}; echo ready; while :; do sleep 0.05; done")
    process.send_signal(number)
    output, _ = process.communicate()
    assert (process.returncode, output.decode().strip()) == (5, word)


def test_an_interrupted_command_ends_the_run(running: Running) -> None:
    process = running("echo ready; exec sleep 100")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 128 + signal.SIGINT


def test_each_process_may_be_killed_and_nothing_stays(
    running: Running, processes: Processes, nothing_left: Nothing
) -> None:
    """The run itself, its keeper, the sweeper, the kernel and each of the kernel's own processes, in turn."""
    for turn in range(12):
        process = running("echo ready; sleep 100 & exec sleep 100")
        while True:
            known = processes()
            assert len(known) > 4, known  # the run, its keeper, the sweeper, the kernel and what runs in it
            victim = sorted(known)[min(turn, len(known) - 1)]
            with contextlib.suppress(ProcessLookupError):  # the kernel's own come and go
                os.kill(victim, signal.SIGKILL)
                break
        if known[victim] != "kernel's own":  # without one of those the kernel goes on
            process.wait()
        process.kill()
        process.wait()
        nothing_left()
        if turn >= len(known):
            break


def test_it_may_be_interrupted_at_any_moment_of_its_start(
    environment: dict[str, str], nothing_left: Nothing
) -> None:
    for delay in (0.02, 0.1, 0.2, 0.3, 0.5):
        for number in (signal.SIGINT, signal.SIGKILL):
            process = subprocess.Popen([*RUN, "true"], env=environment, stderr=subprocess.DEVNULL)
            time.sleep(delay)
            process.send_signal(number)
            process.wait()
            nothing_left()


def test_a_terminal_is_passed_through(environment: dict[str, str], nothing_left: Nothing) -> None:
    import pty

    pid, terminal = pty.fork()
    if not pid:
        os.environ.update(environment)
        os.execv(sys.executable, [*RUN, "sh", "-c", "tty; stty size; read word; echo got $word; exit 3"])
    os.write(terminal, b"hello\n")
    said = b""
    try:
        while data := os.read(terminal, 1024):
            said += data
    except OSError:  # EIO: the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3
    os.close(terminal)
    assert b"/dev/pts/" in said
    assert b"got hello" in said
    nothing_left()
