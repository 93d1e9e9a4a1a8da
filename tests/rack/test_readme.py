"""What README tells a reader to type, typed: its blocks are run word for word, and say what it shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import leftovers
from tests.rack.test_rack import left, note, run

pytestmark = pytest.mark.kernel

__all__ = ["note"]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAC = re.compile(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b")
TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:+]+|time \d+ms")
LINE = re.compile(r"vmnet rack |launcher |vmnet preflight ")


def block(language: str, begin: str) -> str:
    """Return the one block that begins so."""
    (found,) = re.findall(rf"^```{language}\n({re.escape(begin)}.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(found)


def typed(script: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    argv = ["bash", "-eu", "-o", "pipefail", "-c", script]
    env = {**os.environ, "PATH": path}
    return subprocess.run(argv, capture_output=True, text=True, check=False, cwd=folder, env=env)


def test_the_plan_that_it_shows_is_the_plan(tmp_path: Path) -> None:
    """But for a MAC address that is drawn at random; in a namespace, where it has a kernel to itself."""
    shown = block("console", "$ cat > host.sh")
    script, _, rest = shown.removeprefix("$ ").partition("\n$ ")
    command, _, output = rest.partition("\n")
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    assert typed(script, tmp_path).returncode == 0
    done = typed(command.replace("nncp lab run --", "unshare --net"), tmp_path)
    assert done.returncode == 0, done.stderr
    assert MAC.sub("MAC", done.stdout + done.stderr) == MAC.sub("MAC", output)


def test_the_policy_that_it_plans_offline_means_what_it_shows() -> None:
    shown = block("console", "$ grep -A3 capture:")
    commands = [line.removeprefix("$ ") for line in shown.splitlines() if line.startswith("$ ")]
    done = [typed(command) for command in commands]
    assert [one.returncode for one in done] == [0, 0, 0], done
    said = "".join(f"$ {command}\n{one.stdout}" for command, one in zip(commands, done, strict=True))
    assert said == shown


def test_the_policy_is_tried_kept_and_back_after_a_power_cut_as_it_shows(tmp_path: Path) -> None:
    """But for the time; what two programs say at once may come in another order."""
    shown = block("console", "$ cat > node.sh")
    script, _, rest = shown.removeprefix("$ ").partition("\n$ ")
    command, _, output = rest.partition("\n")
    (tmp_path / "policies").symlink_to(ROOT / "policies")
    assert typed(script, tmp_path).returncode == 0
    own = "unshare --net --mount sh -c 'mount -t tmpfs state /var/lib; mount -t tmpfs names /run; exec \"$@\"' sh"
    done = typed(f"{command.replace('nncp lab run --', own)} 2>&1", tmp_path)
    assert done.returncode == 0, done.stdout
    assert sorted(TIME.sub("TIME", done.stdout).splitlines()) == sorted(TIME.sub("TIME", output).splitlines())


@pytest.mark.guest
@pytest.mark.slow
def test_a_guest_is_moved_by_hand() -> None:
    script = block("sh", "vmnet rack up\n")
    assert len(LINE.findall(script)) > 15
    try:
        done = typed(script)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " 0% packet loss" in done.stdout
    finally:
        run("down")
    assert leftovers.gone(left) == []
