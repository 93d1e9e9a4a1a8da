"""Sysctls: only those of the network namespace are read or written."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from nncp import sysctl
from nncp.errors import Error

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "path", ["kernel/hostname", "net/../kernel/hostname", "/proc/sys/net/x", "net//x", "net/./x", ""]
)
def test_what_is_not_below_net_is_neither_read_nor_written(path: str) -> None:
    for touch in (lambda: sysctl.read(path), lambda: sysctl.write(path, "1")):
        with pytest.raises(Error, match="is no sysctl of a network namespace"):
            touch()


def test_what_the_kernel_does_not_have_is_nothing() -> None:
    assert sysctl.read("net/ipv4/conf/no-such-link/forwarding") is None


def test_another_folder_holds_them_where_their_own_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "knob").write_text("1\n")
    code = "from nncp import sysctl; sysctl.write('net/knob', '2'); print(sysctl.read('net/knob'))"
    env = {**os.environ, "BRIDGEHEAD_SYSCTLS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert done.stdout == "2\n"
    assert (tmp_path / "net" / "knob").read_text() == "2\n"
