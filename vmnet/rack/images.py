"""Guest images, and the QEMU that they need without KVM: built here from Debian packages, kept in the cache.

An image is a folder of the cache, named by what went into it: the recipe and the versions of its packages.
It appears whole or not at all, and who wants one that is being built waits for it.

    tiny     kernel and busybox: a NoCloud reader in shell, answers in seconds (`guest/`)
    debian   Debian with systemd and the real cloud-init, as a disk
    qemu     QEMU from backports: under TCG, stable's loses guest memory when it migrates
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.lab import cache
from nncp.lab.debian import Archive
from nncp.lab.progress import Progress
from nncp.lab.sweep import Sweeper
from vmnet.rack import debian, qemu, tiny

Say: TypeAlias = Callable[[str], None]


class Image(Struct, frozen=True):
    """How one image is made: which packages decide its version, and what puts it into an empty folder."""

    name: str
    suites: tuple[str, ...]
    packages: tuple[str, ...]
    recipe: Callable[[], bytes]
    build: Callable[[Archive, Path, Say], None]


IMAGES = {
    image.name: image
    for image in (
        Image("tiny", tiny.SUITES, tiny.PACKAGES, tiny.recipe, tiny.build),
        Image("debian", debian.SUITES, debian.PACKAGES, debian.recipe, debian.build),
        Image("qemu", qemu.SUITES, qemu.PACKAGES, qemu.recipe, qemu.build),
    )
}


def find(name: str) -> Path | None:
    """Return the newest image of that name which the present recipe built, or None."""
    prefix = f"{name}-{_digest(IMAGES[name].recipe())}-"
    folders = [path for path in _root().iterdir() if path.name.startswith(prefix)]
    return max(folders, key=lambda path: path.stat().st_mtime, default=None)


def ensure(name: str, *, say: Say | None = None) -> Path:
    """Return the image of that name; build it when the present recipe has built none yet."""
    return find(name) or refresh(name, say=say)


def refresh(name: str, *, say: Say | None = None) -> Path:
    """Return the image of the newest packages; build it when they are newer than what is there.

    Raises:
        Error: no mirror, no space, no package: in apt's own words.

    """
    image, say = IMAGES[name], say or Progress(name, name=name).say
    with cache.locked(_root() / f"{name}.lock", waiting=lambda: say("waits for another build of it")):
        archive = Archive(image.suites)
        say("reads the package index")
        archive.update()
        versions = "\n".join(f"{package} {archive.show(package, 'Version')}" for package in image.packages)
        folder = _root() / f"{name}-{_digest(image.recipe())}-{_digest(versions.encode())}"
        if not folder.is_dir():
            _build(image, folder, versions, say)
        return folder


def qemu_tree() -> Path | None:
    """Return the folder with `usr/` of a QEMU that migrates TCG guests soundly; None before it is built."""
    folder = find("qemu")
    return folder and folder / "tree"


def _build(image: Image, folder: Path, versions: str, say: Say) -> None:
    began = time.monotonic()
    for leftover in _root().glob(f".{image.name}-*"):  # of builds that were killed: we hold the lock
        shutil.rmtree(leftover)
    work = Path(tempfile.mkdtemp(prefix=f".{image.name}-", dir=_root()))
    sweeper = Sweeper(work)
    try:
        (work / "image").mkdir()
        image.build(Archive(image.suites, guard=sweeper), work / "image", say)
        (work / "image" / "versions").write_text(versions + "\n", encoding="utf-8")
        older = [path for path in _root().glob(f"{image.name}-*-*") if path.is_dir()]
        (work / "image").rename(folder)
    except OSError as error:
        raise Error(f"cannot build the {image.name} image: {error}", kind=ErrorKind.FAILED) from error
    finally:
        sweeper.sweep()
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    say(f"built in {time.monotonic() - began:.0f} s: {folder}")


def _root() -> Path:
    return cache.folder("images")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:10]
