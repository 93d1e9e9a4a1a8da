"""Debian packages through apt, without touching the system's: for the lab kernel's source and guest images.

An archive has its own sources list, lists, package cache and status under the cache folder. What it fetches
is verified by the archive's keyring; the mirror and its proxy are the ones that the system's apt is set up
with.
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
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from nncp.lab.sweep import Sweeper

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BOOKWORM = "bookworm"
STABLE = (BOOKWORM, f"{BOOKWORM}-updates", f"{BOOKWORM}-security")
BACKPORTS = (f"{BOOKWORM}-backports",)
NEWEST = ("forky",)
"""Where the lab kernel's source is from."""


class Archive:
    """Some suites of Debian's archive, named by the first of them."""

    def __init__(self, suites: tuple[str, ...], *, guard: Sweeper | None = None) -> None:
        """Name it.

        Args:
            suites: of Debian.
            guard: ends the programs that are run, should this process be killed.

        """
        self.suites = suites
        self.guard = guard
        self.folder = cache.folder("apt", suites[0])
        self.archives = self.folder / "archives"

    def update(self) -> None:
        """Fetch the index.

        Raises:
            Error: there is no mirror, or it does not have the suites, or the signature is not good.

        """
        for folder in (self.folder / "lists" / "partial", self.archives / "partial"):
            folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{line}\n" for line in sources(self.suites))
        with self._alone():
            (self.folder / "sources.list").write_text(lines, encoding="utf-8")
            self._apt("apt-get", "update", "--error-on=any")

    def show(self, package: str, field: str) -> str:
        """Return one field of a package's newest version, "" when it has none.

        Raises:
            Error: there is no such package.

        """
        with self._alone():
            text = self._apt("apt-cache", "show", "--no-all-versions", package)
        prefix = f"{field}: "
        found = (line.removeprefix(prefix) for line in text.splitlines() if line.startswith(prefix))
        return next(found, "")

    def resolve(self, package: str) -> str:
        """Return the package that a meta package stands for: its first dependency."""
        return self.show(package, "Depends").split(",")[0].split()[0]

    def download(self, package: str) -> Path:
        """Fetch a package, without what it depends on, and return its file.

        What an earlier, interrupted call has fetched is verified and used.
        """
        with self._alone():
            return self._download(package)

    def _download(self, package: str) -> Path:
        self._apt("apt-get", "download", package, cwd=self.archives)
        # The name is PACKAGE_VERSION_ARCHITECTURE.deb, the version's epoch quoted; the newest is the one.
        return max(self.archives.glob(f"{package}_*.deb"), key=lambda file: file.stat().st_ctime)

    def unpack(self, package: str, into: Path) -> None:
        """Fetch a package and unpack it below `into`; nothing of it is run, and its file is not kept."""
        with self._alone():
            file = self._download(package)
            self.run(["dpkg-deb", "-x", str(file), str(into)], what=f"unpacking {package}")
            file.unlink()

    def run(self, argv: Sequence[str], *, what: str = "", cwd: Path | None = None) -> str:
        """Run a program as `run` does; it does not outlive this process where there is a guard."""
        return run(argv, what=what, cwd=cwd, guard=self.guard)

    def _alone(self) -> AbstractContextManager[None]:
        """Keep others off while apt uses the folder: the builds of two images share it."""
        return cache.locked(self.folder / "lock")

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
        what = f"{tool} {arguments[0]} for Debian {self.suites[0]}"
        return self.run([tool, "-q", *settings, *arguments], what=what, cwd=cwd)


def sources(suites: Iterable[str]) -> list[str]:
    """Return one-line sources for `suites`, on the mirrors that the system's apt uses.

    Raises:
        Error: the system's apt has no Debian mirror.

    """
    form = "$(REPO_URI) $(RELEASE) $(COMPONENT)"
    command = ["apt-get", "indextargets", "--format", form, "Created-By: Packages"]
    return pick_sources(run(command).splitlines(), suites)


def pick_sources(targets: Sequence[str], suites: Iterable[str]) -> list[str]:
    """Choose for each suite the mirror among apt's targets: lines of "URI release component"."""
    main = [(uri, release) for uri, release, component in map(str.split, targets) if component == "main"]
    plain = next(
        (uri for uri, release in main if release == BOOKWORM),
        next((uri for uri, release in main if "-" not in release and "/debian" in uri), None),
    )
    if plain is None:
        raise Error(
            "apt on this machine has no Debian mirror",
            kind=ErrorKind.UNSUPPORTED,
            hint="the lab kernel and the guest images are made of its packages: see sources.list(5); "
            "a linux.uml of version 7.2 or newer on PATH spares the kernel",
        )
    security = next((uri for uri, release in main if release.endswith("-security")), None)
    mirrors = {suite: security if suite.endswith("-security") else plain for suite in suites}
    return [f"deb [signed-by={KEYRING}] {uri} {suite} main" for suite, uri in mirrors.items() if uri]


def run(argv: Sequence[str], *, what: str = "", cwd: Path | None = None, guard: Sweeper | None = None) -> str:
    """Run a program of Debian's and return what it printed; its own words about `what` are the error."""
    env = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    if not shutil.which(argv[0]):
        raise Error(f"{argv[0]} is not installed", kind=ErrorKind.UNSUPPORTED)
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=guard is not None,
        preexec_fn=guard.join if guard else None,  # noqa: PLW1509  who has a guard has one thread
    )
    output, errors = process.communicate()
    if guard:
        guard.release(process.pid)  # not when interrupted: then the sweep is near
    if process.returncode:
        said = errors.strip().splitlines() or [f"it ended with status {process.returncode}"]
        first = next((line for line in said if line.startswith(("E:", "W:"))), said[-1])
        raise Error(f"{what or argv[0]}: {first}", kind=ErrorKind.FAILED)
    return output
