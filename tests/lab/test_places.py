"""The runner itself: a small suite is run by it in which a test does what a test should not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.waiting import is_gone, until

if TYPE_CHECKING:
    from collections.abc import Callable

    Suite = Callable[..., tuple[int, str]]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    """Run some tests (the bodies of functions) as a suite of their own; return its exit code and output."""

    def run(*bodies: str, mark: str = "", options: tuple[str, ...] = ()) -> tuple[int, str]:
        return command(tmp_path, *bodies, mark=mark, options=options).finish()

    return run


class Running:
    """A pytest of its own, with the runner and nothing else of ours."""

    def __init__(self, argv: list[str], folder: Path) -> None:
        self.process = subprocess.Popen(
            argv,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(self) -> tuple[int, str]:
        said, _ = self.process.communicate()
        return self.process.returncode, said


def command(folder: Path, *bodies: str, mark: str = "", options: tuple[str, ...] = ()) -> Running:
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n    kernel\n    slow\n")
    lines = [f"pytestmark = [pytest.mark.{mark}]"] if mark else []
    lines += [f"def test_{number}():\n    {body}" for number, body in enumerate(bodies, start=1)]
    (folder / "test_suite.py").write_text(
        "import os, subprocess, sys, time, pytest\n" + "\n".join(lines) + "\n"
    )
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.places",
        "-p",
        "no:cacheprovider",
        "--places",
        *options,
    ]
    return Running([*argv, "test_suite.py"], folder)


def test_a_worker_that_is_lost_loses_the_test_that_ran_and_no_other(suite: Suite) -> None:
    code, said = suite("pass", "os._exit(3)", "pass", "pass")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 3 passed" in said
    assert "the host's pytest ended while this test ran" in said
    assert "FAILED test_suite.py::test_2" in said


def test_a_lab_kernel_that_panics_loses_one_test_and_its_last_words_are_shown(suite: Suite) -> None:
    panic = "open('/proc/sysrq-trigger', 'w').write('c')"
    code, said = suite("pass", panic, "pass", mark="kernel")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 passed" in said
    assert "sysrq triggered crash" in said
    assert "FAILED test_suite.py::test_2" in said


@pytest.mark.parametrize("mark", ["", "kernel"])
def test_a_test_that_stands_still_fails_and_the_next_one_runs(suite: Suite, mark: str) -> None:
    code, said = suite("subprocess.run(['sleep', '1000'])", "pass", mark=mark, options=("--still", "0.2"))
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 1 passed" in said
    assert "test_1 stands still: nothing of it has used the CPU" in said
    assert "left behind" not in said


def test_a_test_that_works_on_may_take_as_long_as_it_takes(suite: Suite) -> None:
    work = "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 3: pass'])"
    code, said = suite(work, options=("--still", "0.5"))
    assert code == 0, said


def test_what_a_test_leaves_behind_fails_the_run_and_is_ended(suite: Suite) -> None:
    code, said = suite("print(subprocess.Popen(['sleep', '1000'], start_new_session=True).pid)", "pass")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "2 passed" in said
    (told,) = [line for line in said.splitlines() if line.startswith("left behind:")]
    assert "(sleep 1000), started by test_suite.py::test_1" in told
    until(lambda: is_gone(told.split("process ")[1].split()[0]))


def test_what_somebody_else_runs_is_no_leftover(suite: Suite, tmp_path: Path) -> None:
    other = "env={**os.environ, 'BRIDGEHEAD_TEST_RUN': '1.1.'}"  # as another run of ours would have it
    ends = f"subprocess.Popen(['sleep', '1'], {other}).wait()"
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as mine:
        code, said = suite(ends)
        assert (code, mine.poll()) == (0, None), said
        mine.kill()


NETNS = "from tests import leftovers; subprocess.run(['ip', 'netns', 'add', leftovers.unused_namespace()], check=True)"
FILE = "import tempfile; tempfile.mkdtemp(prefix='bridgehead-')"


@pytest.mark.parametrize(("body", "what"), [(NETNS, "network namespace bhtest-"), (FILE, "file ")])
def test_namespaces_and_files_that_are_left_fail_the_run(suite: Suite, body: str, what: str) -> None:
    if os.geteuid():
        pytest.skip("needs root, to make namespaces")
    code, said = suite(body)
    assert code == pytest.ExitCode.TESTS_FAILED
    assert f"left behind: {what}" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_run_that_is_ended_takes_its_workers_along(tmp_path: Path, number: signal.Signals) -> None:
    running = command(
        tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(1000)"
    )
    file = tmp_path / "pid"
    until(lambda: file.exists() and file.read_text())
    running.process.send_signal(number)
    running.process.wait()
    until(lambda: is_gone(file.read_text()))
    running.finish()
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith("bhtest-")]
    assert (left != []) == (number == signal.SIGKILL), left  # the next run sweeps after one that was killed


MOUNTED = """
import subprocess, sys
from pathlib import Path
from tests import leftovers
folder, mounted = Path(sys.argv[1]), Path(sys.argv[2])
mounted.mkdir(parents=True, exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "none", mounted], check=True)
(mounted / "theirs").touch()
leftovers.remove_folder(folder)
print(leftovers.mounts(folder) == [str(mounted)], (mounted / "theirs").exists())
"""


@pytest.mark.parametrize("below", ["", "in it", "a b\tc\nd\\134e"])
def test_a_folder_with_something_mounted_in_it_is_nobodys_to_remove(tmp_path: Path, below: str) -> None:
    """In a mount namespace of its own; white space and backslashes are escaped where mounts are listed."""
    argv = [sys.executable, "-c", MOUNTED, str(tmp_path / "run"), str(tmp_path / "run" / below)]
    done = subprocess.run(
        ["unshare", "--mount", *argv], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.stdout == "True True\n", done.stderr
