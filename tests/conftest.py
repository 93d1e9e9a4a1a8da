"""What every test may use: a place to run, and a throw-away network namespace."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# The root, so that tests run from a checkout that is not installed, whatever folder pytest starts in.
sys.path.insert(0, str(Path(__file__).parents[1]))
pytest_plugins = ["tests.places"]

# A run that was started in the background is deaf to Ctrl-C, and so would be all that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

PREFIX = "bhtest"
_numbers = itertools.count()


class Netns(Struct, frozen=True):
    """A network namespace that ends with its test."""

    name: str

    @property
    def path(self) -> Path:
        return Path("/run/netns", self.name)

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Run a program in it and return what it printed."""
        command = ["ip", "netns", "exec", self.name, *argv]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: {done.stderr or done.stdout}")
        return done.stdout

    def ip(self, *arguments: str, check: bool = True) -> str:
        return self.run("ip", *arguments, check=check)


def remove(name: str) -> None:
    """End what runs in a namespace, and the namespace."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False)
    for pid in pids.stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@pytest.fixture(scope="session")
def netns_swept() -> None:
    """Remove the namespaces of runs that were killed: their names hold the pid."""
    folder = Path("/run/netns")
    for path in folder.glob(f"{PREFIX}-*") if folder.exists() else ():
        if not Path("/proc", path.name.split("-")[1]).exists():
            remove(path.name)


@pytest.fixture
def make_netns(netns_swept: None) -> Iterator[Callable[[], Netns]]:
    """Make network namespaces, as many as a test wants: `make_netns()`."""
    made: list[str] = []

    def make() -> Netns:
        name = f"{PREFIX}-{os.getpid()}-{next(_numbers)}"
        subprocess.run(["ip", "netns", "add", name], capture_output=True, check=True)
        made.append(name)
        netns = Netns(name)
        netns.ip("link", "set", "lo", "up")
        return netns

    yield make
    for name in made:
        remove(name)


@pytest.fixture
def netns(make_netns: Callable[[], Netns]) -> Netns:
    """One network namespace."""
    return make_netns()
