"""Sysctls: only those of the network namespace are read or written."""

from __future__ import annotations

import pytest

from nncp import sysctl
from nncp.errors import Error


@pytest.mark.parametrize(
    "path", ["kernel/hostname", "net/../kernel/hostname", "/proc/sys/net/x", "net//x", "net/./x", ""]
)
def test_what_is_not_below_net_is_neither_read_nor_written(path: str) -> None:
    for touch in (lambda: sysctl.read(path), lambda: sysctl.write(path, "1")):
        with pytest.raises(Error, match="is no sysctl of a network namespace"):
            touch()


def test_what_the_kernel_does_not_have_is_nothing() -> None:
    assert sysctl.read("net/ipv4/conf/no-such-link/forwarding") is None
