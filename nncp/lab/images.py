"""What the lab needs of Debian packages and does not install: built in the cache, from a recipe.

An image is a folder of the cache, named by what went into it: the recipe and the versions of its packages.
It appears whole or not at all, and who wants one that is being built waits for it. Several checkouts with
different recipes share the cache, so one that has been asked for within a day stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
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

Say: TypeAlias = Callable[[str], None]
KEPT_S = 24 * 60 * 60


class Image(Struct, frozen=True):
    """How one image is made: which packages decide its version, and what puts it into an empty folder."""

    name: str
    suites: tuple[str, ...]
    packages: tuple[str, ...]
    recipe: Callable[[], bytes]
    build: Callable[[Archive, Path, Say], None]


def find(image: Image) -> Path | None:
    """Return the newest image of that name which the present recipe built, or None."""
    prefix = f"{image.name}-{_digest(image.recipe())}-"
    folders = [path for path in _root().iterdir() if path.name.startswith(prefix)]
    found = max(folders, key=lambda path: path.stat().st_mtime, default=None)
    if found:
        with contextlib.suppress(OSError):  # where it may not be written, nobody makes others either
            os.utime(found)
    return found


def ensure(image: Image, *, say: Say | None = None) -> Path:
    """Return the image of that name; build it when the present recipe has built none yet."""
    return find(image) or refresh(image, say=say)


def refresh(image: Image, *, say: Say | None = None) -> Path:
    """Return the image of the newest packages; build it when they are newer than what is there.

    Raises:
        Error: no mirror, no space, no package: in apt's own words.

    """
    name, say = image.name, say or Progress(image.name, name=image.name).say
    with cache.locked(_root() / f"{name}.lock", waiting=lambda: say("waits for another build of it")):
        archive = Archive(image.suites)
        say("reads the package index")
        archive.update()
        versions = "\n".join(f"{package} {archive.show(package, 'Version')}" for package in image.packages)
        folder = _root() / f"{name}-{_digest(image.recipe())}-{_digest(versions.encode())}"
        if not folder.is_dir():
            _build(image, folder, versions, say)
        return folder


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
        older = [path for path in _root().glob(f"{image.name}-*-*") if _is_forgotten(path)]
        (work / "image").rename(folder)
    except OSError as error:
        raise Error(f"cannot build the {image.name} image: {error}", kind=ErrorKind.FAILED) from error
    finally:
        sweeper.sweep()
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    say(f"built in {time.monotonic() - began:.0f} s: {folder}")


def _is_forgotten(folder: Path) -> bool:
    return folder.is_dir() and time.time() - folder.stat().st_mtime > KEPT_S


def _root() -> Path:
    return cache.folder("images")


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:10]
