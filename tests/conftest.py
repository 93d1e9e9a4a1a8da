"""What every test may use: a place to run, and a throw-away network namespace."""

from __future__ import annotations

import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from msgspec import Struct

from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytest_plugins = ["tests.places", "tests.clock"]

# How long an example takes says nothing about what it shows.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("mutants", settings.get_profile("any machine"), max_examples=10, derandomize=True)
settings.load_profile("any machine")

# A run that was started in the background is deaf to Ctrl-C, and so would be all that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture
def socket_folder() -> Iterator[Path]:
    """A folder for Unix sockets: its path is short, since sun_path holds 107 bytes (unix(7))."""
    with tempfile.TemporaryDirectory(prefix="s") as folder:
        yield Path(folder)


@pytest.fixture
def make_netns() -> Iterator[Callable[[], Netns]]:
    """Make network namespaces, as many as a test wants: `make_netns()`."""
    made: list[str] = []

    def make() -> Netns:
        name = leftovers.unused_namespace()
        subprocess.run(["ip", "netns", "add", name], capture_output=True, check=True)
        made.append(name)
        netns = Netns(name)
        netns.ip("link", "set", "lo", "up")
        return netns

    yield make
    for name in made:
        leftovers.remove_namespace(name)


@pytest.fixture
def netns(make_netns: Callable[[], Netns]) -> Netns:
    """One network namespace."""
    return make_netns()
