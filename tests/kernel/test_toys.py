"""A new interface type and a new table of rows on a real kernel: one file and one name each, and all else derives.

They are put into a copy of nncp, since what undoes an apply is a program of its own and knows what nncp knows.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from outside import Namespace

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
APPLY = """
import json, sys
from pathlib import Path
from nncp import Row, apply_rows, rollback
from nncp.errors import Error
rows = [Row(tuple(key), attrs, absent=absent) for key, attrs, absent in json.load(sys.stdin)]
try:
    apply_rows(rows, state_dir=Path(sys.argv[1])) if rows else rollback(state_dir=Path(sys.argv[1]))
except Error as error:
    sys.exit(f"{error.kind.name}: {error}")
"""
RING: Any = (("link", "hsr0"), {"type": "hsr", "port1": "eth1", "port2": "d2"}, False)
PROXY: Any = (("proxy", "eth3", "192.0.2.9"), {}, False)
WANT: list[Any] = [
    (("link", "d2"), {"type": "dummy"}, False),
    (("up", "d2"), {}, False),
    RING,
    (("up", "hsr0"), {}, False),
    (("up", "eth3"), {}, False),
    (("address", "eth3", "192.0.2.2/24"), {}, False),
    PROXY,
]
REFUSED: Any = (("link", "eth2"), {"type": "veth", "mac": "01:00:00:00:00:01"}, False)


class Extended:
    """The copy of nncp, and a host on which it works."""

    def __init__(self, host: Namespace, folder: Path) -> None:
        self.host = host
        self.folder = folder
        shutil.copytree(ROOT / "nncp", folder / "nncp", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "tests/toys/hsr.py", folder / "nncp/kinds/hsr.py")
        shutil.copy(ROOT / "tests/toys/proxy.py", folder / "nncp/tables/proxy.py")
        known = folder / "nncp/known.py"
        lines = known.read_text()
        for module, name, tuple_ in (
            ("kinds.hsr", "HSR", "Kinds.of(("),
            ("tables.proxy", "PROXY", "TABLES = ("),
        ):
            assert lines.count(tuple_) == 1
            lines = f"from nncp.{module} import {name}\n{lines.replace(tuple_, f'{tuple_}{name}, ')}"
        known.write_text(lines)

    def run(self, rows: list[Any], *, said: str = "") -> None:
        """Apply rows, or roll the last apply back when there are none."""
        argv = [
            "env",
            f"PYTHONPATH={self.folder}",
            sys.executable,
            "-P",
            "-c",
            APPLY,
            str(self.folder / "state"),
        ]
        done = self.host.run(*argv, check=False, stdin=json.dumps(rows))
        assert (done.returncode == 0) == (not said), done.stderr
        assert said in done.stderr

    def proxies(self) -> list[Any]:
        return [(one["dst"], one["dev"]) for one in self.host.json("ip", "-j", "neigh", "show", "proxy")]

    def ring(self) -> Any:
        (link,) = self.host.json("ip", "-d", "-j", "link", "show", "hsr0")
        data = link["linkinfo"]["info_data"]
        return data["slave1"], data["slave2"], "UP" in link["flags"]


@pytest.fixture
def extended(host: Namespace, tmp_path: Path) -> Extended:
    return Extended(host, tmp_path)


def test_they_are_written_read_and_undone(extended: Extended) -> None:
    extended.run(WANT)
    assert (extended.ring(), extended.proxies()) == (("eth1", "d2", True), [("192.0.2.9", "eth3")])
    extended.run([])
    assert extended.proxies() == []
    links = {link["ifname"] for link in extended.host.json("ip", "-j", "link")}
    assert links == {"lo", "eth1", "eth2", "eth3"}


def test_they_come_back_when_an_apply_fails(extended: Extended) -> None:
    extended.run(WANT)
    turned = (RING[0], {**RING[1], "port1": "d2", "port2": "eth1"}, False)
    extended.run([turned, (("up", "eth3"), {}, True), REFUSED], said="FAILED: the kernel refused")
    assert (extended.ring(), extended.proxies()) == (("eth1", "d2", True), [("192.0.2.9", "eth3")])
