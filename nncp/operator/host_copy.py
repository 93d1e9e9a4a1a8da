"""What brings back a node's network at its start without an API server: a copy of `nncp restore` on the host.

After a start no DaemonSet's Pod exists until the API server says so, and that may be behind the very network
that is to come back. So a folder of the host gets what the restore unit runs, in the host's own Python.
msgspec and the YAML reader are compiled for one version of CPython, one kind of processor and one C library:
where the host's Python is another, none is made, and it is said why. A copy reads what its own version has
applied: what explains documents that it cannot read (jsonschema) is not in it.

The folder holds copies by their digests, and `current`, a link to one of them, which changes in one step.
"""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp import restore
from nncp.errors import Error, ErrorKind
from nncp.journal import STATE_DIR
from nncp.state_folder import sync

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION = f"python3.{sys.version_info.minor}"
PACKAGES = ("nncp", "msgspec", "yaml", "click")
"""What `python -m nncp restore` imports."""
LEFT_OUT = {("nncp", "lab"), ("nncp", "operator")}
MODULES = ("decimal.py", "json/__init__.py", "uuid.py")
"""Of Python's own, those that it imports and that a minimal one lacks (Debian's python3.11-minimal)."""
MAIN = "__main__.py"
RUNS = "from nncp.__main__ import main\n\nmain()\n"
CURRENT = "current"
NAME = re.compile(r"python3(\.\d+)?")
HEADER = 1 << 16
"""Bytes of a program that hold its headers and the name of its loader."""
PT_INTERP = 3  # elf(5)


class Program(Struct, frozen=True):
    """What a program is for (elf(5)): no module that is compiled for another can be loaded into it."""

    machine: int
    loader: str
    """The path of its loader: another C library has another one."""


class Host(Struct, frozen=True):
    """What a host has of Python.

    Args:
        pythons: by their names; None for one that leads out of the folder, or is no program.
        lacks: the files of `MODULES` that the library of our version does not have.

    """

    pythons: Mapping[str, Program | None]
    lacks: tuple[str, ...] = ()


def misfit(host: Host, ours: Program) -> str:
    """Return why a host cannot run a copy of ours; nothing when it can. Pure."""
    if VERSION not in host.pythons:
        there = ", ".join(sorted(host.pythons)) or "none"
        return f"the modules are compiled for {VERSION}, and of Python the host has {there}"
    found = host.pythons[VERSION]
    if found is None:
        return f"the host's {VERSION} is no program in /usr/bin"
    if found.machine != ours.machine:
        return f"the host's {VERSION} is for another kind of processor than ours"
    if found.loader != ours.loader:
        return f"the host's {VERSION} is loaded by {found.loader}, ours by {ours.loader}: another C library"
    if host.lacks:
        return f"the host's {VERSION} is a minimal one, without {', '.join(host.lacks)}"
    return ""


def program(data: bytes) -> Program | None:
    """Return what a program is for, by the beginning of its file; None for what is none of 64 bits. Pure."""
    if data[:5] != b"\x7fELF\x02":
        return None
    order = "<" if data[5:6] == b"\x01" else ">"
    try:
        (machine,) = struct.unpack_from(f"{order}H", data, 18)
        (table,) = struct.unpack_from(f"{order}Q", data, 32)
        size, count = struct.unpack_from(f"{order}HH", data, 54)
        for number in range(count):
            kind, _, start = struct.unpack_from(f"{order}IIQ", data, table + number * size)
            if kind == PT_INTERP:
                return Program(machine, data[start:].split(b"\0")[0].decode(errors="replace"))
    except struct.error:
        pass
    return None


def look(usr: Path) -> Host:
    """Return what a host has of Python, by its /usr as it is seen from here."""
    pythons: dict[str, Program | None] = {}
    for path in sorted((usr / "bin").glob("python3*")):
        if NAME.fullmatch(path.name):
            pythons[path.name] = _program(path)
    libraries = [usr / folder / VERSION for folder in ("lib", "lib64")]
    lacks = [name for name in MODULES if not any((each / name).is_file() for each in libraries)]
    return Host(pythons, tuple(lacks))


def _program(path: Path) -> Program | None:
    """Return what a program is for; a link that is absolute leads into the wrong file system."""
    if path.is_symlink() and path.readlink().is_absolute():
        return None
    try:
        with path.open("rb") as file:
            return program(file.read(HEADER))
    except OSError:
        return None


def our_program() -> Program:
    """Return what this process's own Python is for."""
    found = _program(Path(sys.executable).resolve())
    if found is None:
        raise Error(f"{sys.executable} is no program of 64 bits", kind=ErrorKind.UNSUPPORTED)
    return found


def sources() -> dict[str, Path]:
    """Return the files of a copy, by where they lie in it."""
    found = {}
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        assert spec.origin is not None
        top = Path(spec.origin).parent
        for path in _files(top):
            found[str(path.relative_to(top.parent))] = path
    return dict(sorted(found.items()))


def _files(top: Path) -> Iterator[Path]:
    for path in top.rglob("*"):
        parts = path.relative_to(top.parent).parts
        if path.suffix in {".py", ".so"} and parts[:2] not in LEFT_OUT:
            yield path


def put(folder: Path) -> Path:
    """Have a copy in a folder, and return the link to it: it leads to the old copy, or to the new one, whole.

    A copy that is there already is left alone.

    Raises:
        Error: the folder cannot be written.

    """
    files = sources()
    digest = hashlib.sha256(RUNS.encode())
    for name, path in files.items():
        digest.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    made = digest.hexdigest()[:12]
    current = folder / CURRENT
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (current.is_symlink() and current.readlink() == Path(made) and current.is_dir()):
            _replace(folder, made, files)
        _clear(folder, made)
    except OSError as error:
        message = f"no copy of nncp can be made in {folder}: {error.strerror or error}"
        raise Error(message, kind=ErrorKind.FAILED) from error
    return current


def _replace(folder: Path, made: str, files: Mapping[str, Path]) -> None:
    draft = Path(tempfile.mkdtemp(prefix="new-", dir=folder))
    draft.chmod(0o755)
    for name, path in files.items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, draft / name)
    (draft / MAIN).write_text(RUNS, encoding="utf-8")
    # The unit's Python writes none: what is here stays as it was made.
    compileall.compile_dir(draft, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)
    for path in draft.rglob("*"):
        sync(path)
    if (folder / made).exists():  # of one that was interrupted before its link, and cannot be told from whole
        shutil.rmtree(folder / made)
    draft.rename(folder / made)
    link = folder / "new-link"
    link.unlink(missing_ok=True)
    link.symlink_to(made)
    sync(folder)
    link.replace(folder / CURRENT)
    sync(folder)


def _clear(folder: Path, made: str) -> None:
    """Remove older copies, and what was left of a copy that was interrupted."""
    for path in folder.iterdir():
        if path.name in {made, CURRENT}:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def install(folder: Path, unit_dir: Path, *, named: Path, state_dir: Path = STATE_DIR) -> None:
    """Have a copy in a folder of the host, and the unit that runs it at the host's start.

    Args:
        folder: as it is seen from here.
        unit_dir: likewise.
        named: the folder as the host knows it.
        state_dir: likewise.

    Raises:
        Error: the host's folders cannot be written.

    """
    put(folder)
    place = unit_dir / restore.UNIT
    program = runs(named)
    if not place.is_file() or place.read_text(encoding="utf-8") != restore.unit(state_dir, program=program):
        restore.install_unit(state_dir=state_dir, unit_dir=unit_dir, program=program)


def runs(folder: Path) -> list[str]:
    """Return what runs the copy in a folder, by the host's names."""
    return [f"/usr/bin/{VERSION}", "-I", "-B", str(folder / CURRENT)]
