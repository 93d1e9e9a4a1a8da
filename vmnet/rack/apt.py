"""Debian packages for what we build, through apt but beside the system's: its state is never touched.

The mirror, its proxy and its keys are the ones that the system's own apt is set up with.
"""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab import cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

SUITE = "bookworm"
STABLE = (SUITE, f"{SUITE}-updates", f"{SUITE}-security")
BACKPORTS = (f"{SUITE}-backports",)
_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


def sources(suites: Iterable[str]) -> list[str]:
    """Return one-line sources for `suites`, on the mirrors that the system's apt uses.

    Raises:
        Error: the system's apt has no Debian mirror.

    """
    targets = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    )
    return pick_sources(targets.splitlines(), suites)


def pick_sources(targets: Sequence[str], suites: Iterable[str]) -> list[str]:
    """Choose for each suite the mirror among apt's targets: lines of "URI release component"."""
    main = [(uri, release) for uri, release, component in map(str.split, targets) if component == "main"]
    plain = next((uri for uri, release in main if "-" not in release and "/debian" in uri), None)
    if plain is None:
        raise Error(
            "apt on this machine has no Debian mirror",
            kind=ErrorKind.UNSUPPORTED,
            hint="the guest images are built from Debian packages: see sources.list(5)",
        )
    security = next((uri for uri, release in main if release.endswith("-security")), None)
    mirrors = {suite: security if suite.endswith("-security") else plain for suite in suites}
    return [f"deb [signed-by={_KEYRING}] {uri} {suite} main" for suite, uri in mirrors.items() if uri]


class Apt:
    """An apt of our own: its own sources, index and package cache, under a folder of the cache."""

    def __init__(self, *, suites: tuple[str, ...]) -> None:
        self.suites = suites
        self.folder = cache.folder("apt", suites[0])

    def update(self) -> None:
        """Read the index of the suites anew."""
        for part in ("lists/partial", "archives/partial"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        lines = sources(self.suites)
        (self.folder / "sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._apt("apt-get", "-qq", "update")

    def resolve(self, package: str) -> str:
        """Return the package that a meta package stands for: its first dependency."""
        lines = self._apt("apt-cache", "depends", "--important", package).splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if "Depends:" in line)

    def version(self, package: str) -> str:
        """Return the newest version of a package in the index."""
        lines = self._apt("apt-cache", "policy", package).splitlines()
        found = [line.split(":", 1)[1].strip() for line in lines if "Candidate:" in line]
        if not found or found[0] == "(none)":
            raise Error(f"Debian has no package {package} in {self.suites[0]}", kind=ErrorKind.UNSUPPORTED)
        return found[0]

    def unpack(self, package: str, into: Path) -> None:
        """Download a package and unpack it below `into`; nothing of it is run."""
        work = into.parent / "debs"
        work.mkdir(exist_ok=True)
        self._apt("apt-get", "-qq", "download", package, cwd=work)
        for deb in work.iterdir():
            _run(["dpkg-deb", "-x", str(deb), str(into)])
            deb.unlink()
        work.rmdir()

    def _apt(self, *argv: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": "/dev/null",
            "Dir::Cache": self.folder,
            "Acquire::Languages": "none",
            "APT::Sandbox::User": "root",  # the cache may lie where the user _apt cannot read
        }
        program, *rest = argv
        settings = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return _run([program, *settings, *rest], cwd=cwd or self.folder)


def _run(argv: Sequence[str], *, cwd: Path | None = None) -> str:
    """Run a program and return what it printed; its own words are the error."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    try:
        return subprocess.run(argv, cwd=cwd, check=True, capture_output=True, text=True, env=env).stdout
    except FileNotFoundError:
        raise Error(f"{argv[0]} is not installed", kind=ErrorKind.UNSUPPORTED) from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.strip() or error.stdout.strip() or f"it ended with status {error.returncode}"
        raise Error(f"{argv[0]} failed: {said.splitlines()[-1]}", kind=ErrorKind.FAILED) from None
