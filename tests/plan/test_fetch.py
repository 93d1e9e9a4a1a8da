"""A lab kernel's build that is killed while apt fetches its source. The apt is a toy: it never ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.lab import build
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
APT = """#!/bin/sh
case "$*" in
*indextargets*) echo "http://mirror.test/debian/ bookworm main" ;;
*" $HANGS "*|*" $HANGS") echo $$ > "$TOLD.new"; mv "$TOLD.new" "$TOLD"; exec sleep 1000 ;;
*" show "*) printf 'Depends: linux-source-9\\nVersion: 9.0\\nSize: 1000000\\n' ;;
esac
"""


@pytest.mark.parametrize("step", ["update", "show", "download"])
def test_a_build_that_is_killed_while_it_fetches_leaves_no_apt(tmp_path: Path, step: str) -> None:
    programs, told, cache = tmp_path / "bin", tmp_path / "told", tmp_path / "cache"
    programs.mkdir()
    for name in (*build.PROGRAMS, "apt-get", "apt-cache"):
        (programs / name).write_text(APT)
        (programs / name).chmod(0o755)
    environment = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "BRIDGEHEAD_CACHE": str(cache),
        "HANGS": step,
        "TOLD": str(told),
    }
    argv = [sys.executable, "-c", "from nncp.lab.build import build; build()"]
    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            until(told.exists, what=process.poll)
            apt = int(told.read_text())
        finally:
            process.send_signal(signal.SIGKILL)
    try:
        until(lambda: not _runs(apt))
        until(lambda: not list(cache.glob("kernel/work-*")))
    finally:
        if _runs(apt):
            os.kill(apt, signal.SIGKILL)


KILLED_AS_IT_STARTS_ONE = """
import os, signal, subprocess, sys
from pathlib import Path
from nncp.lab.debian import run
from nncp.lab.sweep import Sweeper

class Popen(subprocess.Popen):
    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        os.kill(os.getpid(), signal.SIGKILL)

subprocess.Popen = Popen
folder = Path(sys.argv[1])
run(["sleep", "1000"], cwd=folder, guard=Sweeper(folder / "work"))
"""


def test_who_is_killed_as_it_starts_a_program_leaves_none(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", KILLED_AS_IT_STARTS_ONE, str(tmp_path)]
    done = subprocess.run(argv, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not list(_sleeping_in(tmp_path)))


def _sleeping_in(folder: Path) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "cwd").readlink() == folder:
                yield process.name


def _runs(process: int) -> bool:
    """Whether it has not ended: nobody may wait for an orphan."""
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
