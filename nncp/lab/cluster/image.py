"""The operator's image: this checkout's packages, in a layer above what they stand on.

It is an archive in the cache, named by what went into it; where only our own code has changed, the layer
below stays (nncp.lab.cluster.rootfs).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nncp import __version__
from nncp.lab import cache
from nncp.lab.cluster import oci, rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = f"localhost/bridgehead/nncp:{__version__}"
"""No registry has it: under a shorter name a node without it would ask for a stranger's."""
PACKAGES = ("nncp", "vmnet", "launcher")
METADATA = f"Metadata-Version: 2.1\nName: bridgehead\nVersion: {__version__}\n"
# What is compiled is there, and what runs there has no place to write to.
ENV = ("PYTHONDONTWRITEBYTECODE=1", "PYTHONUNBUFFERED=1", "PYTHONSAFEPATH=1")
KEPT_S = 24 * 60 * 60
"""Archives that nobody has asked for since then go: other checkouts have theirs beside this one's."""


def ensure(checkout: Path) -> Path:
    """Return the archive of the image of a checkout; made now if need be.

    Raises:
        Error: what it stands on cannot be had.

    """
    base = rootfs.ensure(checkout / "deploy" / "images")
    home = cache.folder("operator")
    with cache.locked(home / "lock"):
        _forget_old(home)
        archive = home / f"{_digest(checkout, base)}.tar"
        if not archive.exists():
            _build(checkout, base, archive)
        os.utime(archive)
    return archive


def sources(checkout: Path) -> Iterator[Path]:
    """Yield the files of our packages, in the order of their paths."""
    for package in PACKAGES:
        for path in sorted((checkout / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path


def _digest(checkout: Path, base: Path) -> str:
    digest = hashlib.sha256(base.name.encode() + Path(__file__).read_bytes())
    for path in sources(checkout):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(checkout)} {content}\n".encode())
    return digest.hexdigest()[:12]


def _build(checkout: Path, base: Path, archive: Path) -> None:
    work = Path(tempfile.mkdtemp(prefix="work-", dir=archive.parent))
    try:
        tree, layer, draft = work / "tree", work / "layer.tar.gz", work / "image.tar"
        _fill(tree, checkout)
        rootfs.compile_all(tree, base / "tree")
        oci.pack(layer, tree)
        command = ["python", "-m", "nncp", "show"]
        oci.write(draft, NAME, base / "layer.tar.gz", layer, command=command, env=ENV, user=str(rootfs.USER))
        draft.rename(archive)
    finally:
        shutil.rmtree(work)


def _fill(tree: Path, checkout: Path) -> None:
    site = tree / rootfs.SITE
    for path in sources(checkout):
        target = site / path.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    told = site / f"bridgehead-{__version__}.dist-info" / "METADATA"
    told.parent.mkdir()
    told.write_text(METADATA, encoding="utf-8")
    for package in PACKAGES:
        program = tree / "usr/local/bin" / package
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(f"#!/usr/bin/python -P\nfrom {package}.__main__ import main\nmain()\n", "utf-8")
        program.chmod(0o755)


def _forget_old(home: Path) -> None:
    for path in home.glob("work-*"):  # of a build that was killed: we hold the lock
        shutil.rmtree(path)
    for path in home.glob("*.tar"):
        if time.time() - path.stat().st_mtime > KEPT_S:
            path.unlink()
