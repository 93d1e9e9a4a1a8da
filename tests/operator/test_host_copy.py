"""The copy of `nncp restore` on a host: which hosts can run it, how it comes there, and that it runs."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp import restore
from nncp.errors import Error
from nncp.operator import host_copy
from nncp.operator.host_copy import MODULES, VERSION, Host, Program, misfit, program

if TYPE_CHECKING:
    from tests.conftest import Netns

OURS = Program(62, "/lib64/ld-linux-x86-64.so.2")


def elf(machine: int, loader: str, *, order: str = "<") -> bytes:
    """The beginning of a program with one header, which names its loader (elf(5))."""
    ident = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(10)
    table, after = 64, 64 + 56
    header = ident + struct.pack(f"{order}HHIQQQIHHHHHH", 3, machine, 1, 0, table, 0, 0, 64, 56, 1, 0, 0, 0)
    return header + struct.pack(f"{order}IIQQQQQQ", 3, 4, after, 0, 0, 0, 0, 1) + loader.encode() + b"\0rest"


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_program_says_what_it_is_for(order: str) -> None:
    assert program(elf(62, OURS.loader, order=order)) == OURS


@given(st.binary(max_size=300))
def test_what_is_no_program_is_none(data: bytes) -> None:
    assert program(data) is None
    assert program(b"\x7fELF\x02\x01" + data) is None or len(data) > 60


def test_our_own_python_is_what_the_kernel_runs() -> None:
    assert "ld-" in host_copy.our_program().loader


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (Host({VERSION: OURS, "python3": OURS}), ""),
        (Host({}), f"compiled for {VERSION}, and of Python the host has none"),
        (Host({"python3.12": OURS, "python3": OURS}), "the host has python3, python3.12"),
        (Host({VERSION: None}), "is no program in /usr/bin"),
        (Host({VERSION: Program(183, "/lib/ld-linux-aarch64.so.1")}), "another kind of processor"),
        (Host({VERSION: Program(62, "/lib/ld-musl-x86_64.so.1")}), "another C library"),
        (Host({VERSION: OURS}, ("uuid.py",)), "a minimal one, without uuid.py"),
    ],
)
def test_a_host_whose_python_cannot_load_what_is_compiled_is_told_why(host: Host, why: str) -> None:
    said = misfit(host, OURS)
    assert why in said
    assert bool(said) == bool(why)


def test_a_host_is_seen_by_its_usr(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / VERSION).write_bytes(elf(62, OURS.loader))
    (tmp_path / "bin" / "python3").symlink_to(VERSION)
    (tmp_path / "bin" / "python3.9").symlink_to("/opt/python3.9")
    (tmp_path / "bin" / "python3.8").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "python3-config").write_text("#!/bin/sh\n")
    for name in MODULES[1:]:
        (tmp_path / "lib64" / VERSION / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib64" / VERSION / name).touch()
    seen = host_copy.look(tmp_path)
    assert seen == Host({"python3": OURS, VERSION: OURS, "python3.9": None, "python3.8": None}, MODULES[:1])


def test_a_host_without_anything_has_nothing(tmp_path: Path) -> None:
    assert host_copy.look(tmp_path) == Host({}, MODULES)


def test_a_copy_comes_whole_and_once_and_takes_away_what_was_before(tmp_path: Path) -> None:
    folder = tmp_path / "restore"
    (folder / "older").mkdir(parents=True)
    (folder / "new-torn").mkdir()
    (folder / "current").symlink_to("older")
    current = host_copy.put(folder)
    made = current.resolve()
    assert sorted(path.name for path in folder.iterdir()) == sorted([made.name, "current"])
    assert not (made / "nncp" / "lab").exists()
    before = made.stat().st_ctime_ns, current.lstat().st_ctime_ns
    assert host_copy.put(folder) == current
    assert (made.stat().st_ctime_ns, current.lstat().st_ctime_ns) == before


def test_a_copy_that_was_interrupted_before_its_link_is_made_again(tmp_path: Path) -> None:
    made = host_copy.put(tmp_path).resolve()
    (tmp_path / "current").unlink()
    (made / "nncp" / "__init__.py").unlink()
    assert (host_copy.put(tmp_path) / "nncp" / "__init__.py").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Error, match=r"no copy of nncp can be made in .*: Not a directory"):
        host_copy.put(tmp_path / "file" / "restore")


def test_the_unit_runs_the_copy_by_the_hosts_names_and_is_written_once(tmp_path: Path) -> None:
    units, folder = tmp_path / "units", tmp_path / "restore"
    host_copy.install(folder, units, named=Path("/var/lib/nncp/restore"))
    place, link = units / restore.UNIT, units / restore.WANTED_BY / restore.UNIT
    lines = place.read_text(encoding="utf-8").splitlines()
    assert f"ExecStart=/usr/bin/{VERSION} -I -B /var/lib/nncp/restore/current restore" in lines
    assert link.readlink() == Path("..", restore.UNIT)  # which is the same on the host
    before = place.stat().st_ino, link.lstat().st_ino
    host_copy.install(folder, units, named=Path("/var/lib/nncp/restore"))
    assert (place.stat().st_ino, link.lstat().st_ino) == before
    host_copy.install(folder, units, named=Path("/srv/nncp"))
    assert "/srv/nncp/current" in place.read_text(encoding="utf-8")


@pytest.mark.skipif(os.geteuid() != 0, reason="makes links")
def test_a_copy_brings_back_what_was_applied_with_nothing_but_itself(tmp_path: Path, netns: Netns) -> None:
    current = host_copy.put(tmp_path / "restore")
    state = tmp_path / "state"
    document = "interfaces: [{name: br0, type: linux-bridge, state: up}]"
    nncp = [sys.executable, "-P", "-m", "nncp"]
    netns.run(*nncp, "apply", "--state-dir", str(state), "-", stdin=document)
    netns.ip("link", "delete", "br0")
    # Without the packages that are installed here.
    argv = [sys.executable, "-I", "-S", "-B", str(current), "restore", "--state-dir", str(state)]
    netns.run("env", "-i", *argv)
    assert "br0" in netns.ip("-br", "link")
    link = shutil.which("ip")
    assert link
    assert subprocess.run([*argv[:-2], "--help"], check=True, capture_output=True, text=True).stdout
