"""Packages of another Debian suite than the system's own, without touching the system's apt.

A suite has its own sources list, lists, package cache and status under the cache folder. What it fetches
is verified by the archive's keyring, and the mirror is the one that the system's apt is set up with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab import cache

if TYPE_CHECKING:
    from collections.abc import Sequence

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


class Suite:
    """One suite of the archive, such as forky or bookworm-backports."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = cache.folder("apt", name)
        self.archives = self.folder / "archives"

    def update(self) -> None:
        """Fetch the index.

        Raises:
            Error: there is no mirror, or it does not have the suite, or the signature is not good.

        """
        for folder in (self.folder / "lists" / "partial", self.archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        line = f"deb [signed-by={KEYRING}] {mirror()} {self.name} main\n"
        (self.folder / "sources.list").write_text(line, encoding="utf-8")
        self._apt("apt-get", "update", "--error-on=any")

    def show(self, package: str, field: str) -> str:
        """Return one field of a package's newest version, "" when it has none."""
        text = self._apt("apt-cache", "show", "--no-all-versions", package)
        prefix = f"{field}: "
        found = (line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix))
        return next(found, "")

    def download(self, packages: Sequence[str]) -> list[Path]:
        """Fetch packages, without what they depend on, and return their files, in order.

        What an earlier, interrupted call has fetched is verified and used.
        """
        self._apt("apt-get", "download", *packages, cwd=self.archives)
        # Names are PACKAGE_VERSION_ARCHITECTURE.deb with the version's epoch quoted; the newest is the one.
        found = ([*self.archives.glob(f"{package}_*.deb")] for package in packages)
        return [max(files, key=lambda file: file.stat().st_ctime) for files in found]

    def forget(self) -> None:
        """Remove the packages that were fetched."""
        shutil.rmtree(self.archives, ignore_errors=True)

    def _apt(self, tool: str, *arguments: str, cwd: Path | None = None) -> str:
        options = {
            "Dir::Etc::sourcelist": self.folder / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State": self.folder,
            "Dir::State::lists": self.folder / "lists",
            "Dir::State::status": os.devnull,
            "Dir::Cache": self.folder,
            "Dir::Cache::archives": self.archives,
            "APT::Sandbox::User": "",  # the cache may lie where the user _apt may not go
            "APT::Update::Post-Invoke-Success": "",
            "Acquire::Languages": "none",
        }
        settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        command = [tool, "-q", *settings, *arguments]
        try:
            done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise Error(f"{tool} is not installed", kind=ErrorKind.UNSUPPORTED) from None
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith(("E:", "W:"))] or [
                done.stderr
            ]
            raise Error(
                f"{tool} {arguments[0]} for Debian {self.name}: {said[0]}", kind=ErrorKind.UNSUPPORTED
            )
        return done.stdout


def mirror() -> str:
    """Return the archive that the system's apt fetches Debian itself from.

    Raises:
        Error: its sources name none.

    """
    codename = _codename()
    done = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    for line in done.stdout.splitlines():
        uri, release, component = line.split()
        if release in {codename, "stable"} and component == "main":
            return uri
    raise Error(
        f"the system's apt sources name no archive for Debian {codename}",
        kind=ErrorKind.UNSUPPORTED,
        hint="add one, or put a linux.uml of version 7.2 or newer on PATH",
    )


def _codename() -> str:
    for line in Path("/etc/os-release").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition("=")
        if name == "VERSION_CODENAME":
            return value.strip('"')
    return "stable"
