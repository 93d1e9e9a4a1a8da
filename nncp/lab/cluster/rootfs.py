"""What the operator's image stands on: a Python of Debian's and the wheels that the operator needs.

A folder of recipes names them (deploy/images): `packages.txt` of Debian, `requirements.txt` of pip with
hashes, and in `left-out.txt` what of both no Pod reads. It takes neither root nor a daemon, and changes when
a recipe or a package does: what changes every day lies in a layer above it (nncp.lab.cluster.image).
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nncp.errors import Error, ErrorKind
from nncp.lab import images
from nncp.lab.cluster import oci
from nncp.lab.debian import STABLE, Archive, run
from nncp.lab.images import Image
from nncp.lab.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

USER = 65532
"""Who runs what needs no rights of root."""
SITE = "usr/local/lib/python3.11/dist-packages"
MACHINE = "x86_64"
LIBRARIES = f"lib/{MACHINE}-linux-gnu"
PYTHON = "usr/bin/python3.11"
# What pip takes for a machine of Debian 12, whatever Python it is run by.
TARGET = (
    *("--implementation", "cp", "--python-version", "3.11", "--only-binary", ":all:"),
    *("--platform", "manylinux_2_34_x86_64", "--platform", "manylinux_2_28_x86_64"),
    *("--platform", "manylinux_2_17_x86_64", "--platform", "manylinux2014_x86_64"),
)
FOLDERS = ("dev", "etc/nncp/probes.d", "proc", "root", "run/nncp", "sys", "tmp", "var/lib/nncp", "var/run")
FILES = {
    "etc/passwd": f"root:x:0:0::/root:/bin/sh\nbridgehead:x:{USER}:{USER}::/:/bin/false\n",
    "etc/group": f"root:x:0:\nbridgehead:x:{USER}:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}
LINKS = {f"usr/bin/{name}": "python3.11" for name in ("python", "python3")}


def ensure(recipes: Path) -> Path:
    """Return the folder with `tree/`, all files, and `layer.tar.gz`; made now if need be.

    Raises:
        Error: no mirror, no space, no package: in apt's or pip's own words; or another kind of processor.

    """
    if (here := platform.machine()) != MACHINE:
        raise Error(
            f"the image is made of packages for {MACHINE}, and this is {here}", kind=ErrorKind.UNSUPPORTED
        )
    packages = tuple(lines(recipes / "packages.txt"))
    image = Image("python", STABLE, packages, partial(_recipe, recipes), partial(_build, recipes))
    return images.ensure(image, say=Progress("image", name="image").say)


def lines(file: Path) -> list[str]:
    """Return what a recipe lists, a line each, without its comments."""
    found = (line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in found if line]


def _recipe(recipes: Path) -> bytes:
    texts = [recipes / name for name in ("packages.txt", "requirements.txt", "left-out.txt")]
    return b"".join(path.read_bytes() for path in (*texts, Path(__file__), Path(oci.__file__)))


def _build(recipes: Path, archive: Archive, folder: Path, say: Callable[[str], None]) -> None:
    tree = folder / "tree"
    for package in lines(recipes / "packages.txt"):
        say(f"unpacks {package}")
        archive.unpack(package, tree)
    say("fetches what requirements.txt pins")
    _install(archive, recipes / "requirements.txt", tree / SITE)
    for pattern in lines(recipes / "left-out.txt"):
        for path in tree.glob(pattern):
            _remove(path)
    furnish(tree)
    say("compiles it")
    compile_all(tree, tree, run=archive.run)
    say("packs it")
    oci.pack(folder / "layer.tar.gz", tree)


def _install(archive: Archive, pinned: Path, site: Path) -> None:
    pip = [sys.executable, "-I", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    where = ["--no-deps", "--no-compile", "--require-hashes", "--target", str(site), "-r", str(pinned)]
    archive.run([*pip, *TARGET, *where], what="pip")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def furnish(tree: Path) -> None:
    """Add folders that are mounted over, users, a shell's programs, and Python by its short names."""
    for name in FOLDERS:
        (tree / name).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        (tree / name).write_text(text, encoding="utf-8")
    busybox = tree / "bin" / "busybox"
    listed = subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout
    links = LINKS | {f"bin/{name}": "busybox" for name in listed.split() if name != "busybox"}
    for name, leads_to in links.items():
        (tree / name).symlink_to(leads_to)


def python(tree: Path) -> list[str]:
    """Return the command that runs the Python of a tree from outside of it, without rights of root."""
    loader, libraries = (
        tree / LIBRARIES / "ld-linux-x86-64.so.2",
        f"{tree}/{LIBRARIES}:{tree}/usr/{LIBRARIES}",
    )
    clean = ["env", "-i", f"PYTHONHOME={tree}/usr", "PYTHONHASHSEED=0", "PYTHONDONTWRITEBYTECODE=1"]
    return [*clean, str(loader), "--library-path", libraries, str(tree / PYTHON)]


def compile_all(tree: Path, by: Path, *, run: Callable[[Sequence[str]], str] = run) -> None:
    """Compile all modules of a tree by the Python of the tree `by`: a Pod may write nothing beside them.

    They hold neither a time nor this machine's paths, and are never compared with their sources.
    """
    where = [str(path) for path in (tree / "usr/lib/python3.11", tree / SITE) if path.exists()]
    how = ["-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", "-s", str(tree), "-p", "/"]
    run([*python(by), *how, *where])
