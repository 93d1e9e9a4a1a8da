"""Starting is quick because it imports little: counted, not timed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = {"pyroute2", "jsonschema", "rich", "kopf", "kubernetes", "libvirt", "scapy", "ctypes"}


def imported(*argv: str, whole: bool = False) -> set[str]:
    """Return the modules that a command has imported when it is done, by the first part of their names."""
    code = (
        "import sys\n"
        f"sys.argv = {['nncp', *argv]!r}\n"
        "from nncp.terminal import run\nfrom nncp.cli import cli\n"
        "run(cli, 'nncp')\n"
        f"print(*sorted({{name if {whole} else name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    "argv",
    [
        ("--version",),
        ("show",),
        ("plan", "/dev/null"),
        ("diff", "/dev/null"),
        ("schema",),
        ("explain", "bond.options.miimon"),
    ],
)
def test_commands_import_nothing_heavy(argv: tuple[str, ...]) -> None:
    assert imported(*argv) & HEAVY == set()


@pytest.mark.parametrize("argv", [("--version",), ("show",), ("plan", "/dev/null"), ("apply", "/none")])
def test_what_explains_is_loaded_for_those_who_ask_only(argv: tuple[str, ...]) -> None:
    explaining = {"nncp.document.meaning", "nncp.example", "nncp.explain", "nncp.topic"}
    assert imported("explain", whole=True) >= explaining
    assert imported(*argv, whole=True) & explaining == set()


@pytest.mark.parametrize("argv", [("show",), ("plan", "/dev/null"), ("apply", "/none")])
def test_what_tries_and_asks_is_loaded_for_those_who_want_it_only(argv: tuple[str, ...]) -> None:
    mine = {name for name in imported(*argv, whole=True) if name.startswith("nncp.")}
    assert "nncp.cli" in mine
    assert not {name for name in mine if name.startswith(("nncp.trial", "nncp.probes", "nncp.restore"))}


def test_the_version_needs_no_engine() -> None:
    assert imported("--version") & {"msgspec", "yaml"} <= {"msgspec"}


def test_json_that_is_sound_imports_nothing_for_what_is_not(tmp_path: Path) -> None:
    document = tmp_path / "lo.json"
    document.write_text('{"interfaces": [{"name": "lo", "type": "loopback", "state": "up"}]}')
    assert imported("plan", str(document)) & {"yaml", "difflib", "traceback", "shutil", "random"} == set()
