"""The lock of a journal whose holder takes its time, or hangs."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp import journal, pace
from nncp.errors import Error
from nncp.journal import Journal, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
PATIENCE, WORKS = 2.0, 2.5
HOLDER = """
import sys, time
from pathlib import Path
from nncp.journal import Journal
with Journal(Path(sys.argv[1])).locked(patience=1):
    print("holds", flush=True)
    {work}
"""


def holder(folder: Path, work: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-c", HOLDER.format(work=work), str(folder)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "holds\n"
    return process


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    monkeypatch.setattr(journal, "LOOK_EVERY", 0.1)


@pytest.fixture
def working(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, list[tuple[int, ...]]]]:
    """A holder, by its id, that ends when its CPU time has been asked for during `WORKS`; and who was asked for.

    Its CPU time is played, since a busy machine may give it none for a while; and so is the look for it, which
    may take its time there.
    """
    asked: list[tuple[int, ...]] = []
    began = time.monotonic()

    def seconds(*pids: int) -> int:
        asked.append(pids)
        if time.monotonic() > began + WORKS:
            process.communicate()
        return len(asked)

    monkeypatch.setattr(journal, "cpu_seconds", seconds)
    with holder(tmp_path, "sys.stdin.read()") as process:
        yield process.pid, asked


def test_a_lock_whose_holder_works_is_waited_for(
    tmp_path: Path, working: tuple[int, list[tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    holds, asked = working
    monkeypatch.setattr(journal, "_holders", lambda _: [holds])
    with Journal(tmp_path).locked(patience=PATIENCE):
        assert set(asked) == {(holds,)}


def test_a_process_that_ends_while_the_holder_is_looked_for_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That it ends between two steps is played: its folder is there, and its descriptors are not."""
    other = subprocess.Popen(["sleep", "100"])

    def without(real: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any = ".") -> Any:
            if str(path) == f"/proc/{other.pid}/fd":
                raise FileNotFoundError(path)
            return real(path)

        return look

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, without(getattr(os, name)))
    try:
        with (
            holder(tmp_path, "sys.stdin.read()") as process,
            next(tmp_path.rglob("lock")).open() as lock,
        ):
            assert list(journal._holders(lock.fileno())) == [process.pid]
            process.communicate()
    finally:
        other.kill()
        other.wait()


def test_a_lock_whose_holder_hangs_is_given_up_and_it_is_said_how_long_it_took(tmp_path: Path) -> None:
    with holder(tmp_path, "time.sleep(1000)") as process:
        with pytest.raises(Error, match=r"was not done in \d"), Journal(tmp_path).locked(patience=0.5):
            pass
        process.kill()


def test_what_is_renamed_is_held_though_the_disk_does_not_confirm_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    found = Journal(tmp_path)
    found.write(Record(()))
    monkeypatch.setattr(os, "fsync", broken)
    assert found.keep(1)
    assert not found.is_pending()
    assert found.is_kept(1)
    with pytest.raises(Error, match="Input/output error"):
        found.write(Record(()))


def test_a_rename_that_fails_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_names: str, **_folders: int) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    found = Journal(tmp_path)
    found.write(Record(()))
    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(Error, match="Read-only"):
        found.keep(1)
    assert found.is_pending()
