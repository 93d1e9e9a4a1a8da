"""Makes the lab kernel: a user-mode Linux of version 7.2 or newer with networking built in, once.

Older ones die at start on CPUs with AMX, since they assume a smaller register state, and have no seccomp
mode. Debian forky's own user-mode-linux lacks nftables' families and needs a newer libc than Debian 12's.
So this builds its linux-source with our configuration, in some minutes (README.md).

A `linux.uml` on PATH that can do all we need is used instead.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import time
from pathlib import Path

from nncp.errors import Error, ErrorKind, raise_all
from nncp.lab import cache
from nncp.lab.debian import NEWEST, Archive
from nncp.lab.progress import Progress
from nncp.lab.workbench import Bench, bench
from nncp.pace import slowness

OLDEST = (7, 2)
CONFIG = Path(__file__).with_name("kernel.config")
CHECKOUT = Path(__file__).parents[2]
PROGRAMS = ("make", "gcc", "flex", "bison", "bc", "xz", "tar", "dpkg-deb")
# What masquerade and the macspoof filter of a bridge need of nftables.
RULES = """
add table ip t
add chain ip t c { type nat hook postrouting priority 100; }
add rule ip t c masquerade
add table ip6 t
add chain ip6 t c { type nat hook prerouting priority -100; }
add rule ip6 t c tcp dport 80 redirect
add table bridge t
add chain bridge t c { type filter hook prerouting priority 0; }
add rule bridge t c ether saddr 02:00:00:00:00:01 accept
"""
FILES = 1050  # about so many are compiled: for the progress line only
# Nobody here reads the warnings of a released kernel.
FLAGS = "-w -O1"
# -O1 compiles in a quarter less time than -Os. A file that asserts what only -O2 can prove, gets that. The
# compiler is asked only once what it can do: such a trial may be read from a pipe.
COMPILER = """#!/bin/sh
gcc "$@" && exit
status=$?
case "$*" in *" -c -o "*.c) exec gcc "$@" -O2 ;; esac
exit $status
"""
# What no user-mode kernel reads: most of the source. Kconfig and Makefiles stay, they include each other, and
# so do the headers of include/.
DRIVERS = (
    *("accel", "clk", "crypto", "gpu", "hid", "hwmon", "iio", "infiniband", "md", "media", "mfd", "mtd"),
    *("net/ethernet", "net/wireless", "pinctrl", "platform", "scsi", "soc", "staging", "usb", "video"),
)
UNREAD = (
    *("*.rst", "*.dts", "*.dtsi", "*.rs", "*/tools/perf/*", "*/tools/testing/*"),
    *("*/arch/[!xu]*.[chS]", "linux-source-*/sound/*.[ch]"),
    *(f"*/fs/{name}/*.[ch]" for name in ("bcachefs", "btrfs", "ntfs3", "smb", "xfs")),
    *(f"linux-source-*/drivers/{name}/*.[ch]" for name in DRIVERS),
)
# How far a build is when it begins to fetch, to unpack, to configure, to compile, and to link.
FETCH, UNPACK, CONFIGURE, COMPILE, LINK = 0.0, 0.04, 0.08, 0.1, 0.97


def kernel() -> Path:
    """Return the lab kernel's executable: the one built last, a usable one on PATH, or one built now."""
    return _built() or _on_path() or build()


def build() -> Path:
    """Build the newest source with our configuration, unless that has been done, and return the executable.

    Raises:
        Error: a program, the source or an option is missing, or the compiler refuses.

    """
    raise_all(
        Error(
            f"{program} is not installed",
            kind=ErrorKind.UNSUPPORTED,
            hint="`make` installs what a build needs",
        )
        for program in PROGRAMS
        if not shutil.which(program)
    )
    home = cache.folder("kernel")
    told = Progress("kernel", name="lab kernel")
    with bench(home, told) as ours:
        return _newest(ours, home, told)


def _newest(bench: Bench, home: Path, told: Progress) -> Path:
    """Return the executable of the newest source, and build it if there is none."""
    told.say("looks for the newest kernel source")
    debian = Archive(NEWEST, guard=bench.sweeper)
    debian.update()
    package = debian.resolve("linux-source")
    target = home / f"{debian.show(package, 'Version')}-{_configuration()}" / "linux"
    if not target.exists():
        _make(debian, package, target, bench=bench, told=told)
    return target


def _configuration() -> str:
    return hashlib.sha256(CONFIG.read_bytes() + f"{FLAGS}{COMPILER}".encode()).hexdigest()[:10]


def _built() -> Path | None:
    """Return the newest kernel that was built with the present configuration."""
    found = cache.folder("kernel").glob(f"*-{_configuration()}/linux")
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _make(debian: Archive, package: str, target: Path, *, bench: Bench, told: Progress) -> None:
    """Fetch, unpack, configure, compile; the executable appears whole or not at all."""
    started = time.monotonic()
    told.advance(FETCH, f"fetches {package} ({int(debian.show(package, 'Size')) >> 20} MiB)")
    archive = debian.download(package)
    source = bench.work / package
    told.advance(UNPACK, "unpacks its source")
    _unpack(archive, package=package, bench=bench)
    told.advance(CONFIGURE, "is configured")
    configure(bench, source)
    _compile(bench, source, told)
    target.parent.mkdir(exist_ok=True)
    (source / "linux").rename(target)
    debian.forget()
    told.finish(f"built {target.parent.name} in {time.monotonic() - started:.0f} s")


def _unpack(archive: Path, *, package: str, bench: Bench) -> None:
    """Unpack what is read of the source tree out of the package, without an intermediate file."""
    script = """
    set -o pipefail
    dpkg-deb --fsys-tarfile "$1" | tar -xO "./usr/src/$2.tar.xz" | xz -dc -T0 |
        tar -x "${@:3}"
    """
    unread = [f"--exclude={pattern}" for pattern in UNREAD]
    command = ["bash", "-c", script, "unpack", str(archive), package, *unread]
    bench.run(command, cwd=bench.work, what="unpacking the source")


def configure(bench: Bench, source: Path) -> None:
    """Write `.config` and see that all that we ask for is in it: names come and go between versions.

    Raises:
        Error: options that this source does not know, or whose conditions are not met, each by name.

    """
    for goal in ("allnoconfig", "olddefconfig"):
        make = ["make", "ARCH=um", f"KCONFIG_ALLCONFIG={CONFIG}", goal]
        bench.run(make, cwd=source, what="configuring the kernel")
    have = set((source / ".config").read_text(encoding="utf-8").splitlines())
    raise_all(
        Error(f"this kernel source does not give us {line.removesuffix('=y')}", kind=ErrorKind.UNSUPPORTED)
        for line in CONFIG.read_text(encoding="utf-8").splitlines()
        if line.endswith("=y") and line not in have
    )


def _compile(bench: Bench, source: Path, told: Progress) -> None:
    compiler = bench.work / "gcc"
    compiler.write_text(COMPILER, encoding="utf-8")
    compiler.chmod(0o755)
    jobs = len(os.sched_getaffinity(0))
    make = ["make", "ARCH=um", f"CC={compiler}", f"KCFLAGS={FLAGS}", f"-j{jobs}", "linux"]
    bench.run(make, cwd=source, what="compiling the kernel", each=Count(told))


class Count:
    """Counts what is compiled, and tells."""

    def __init__(self, told: Progress) -> None:
        self.told = told
        self.files = 0

    def __call__(self, line: str) -> None:
        """Take a line that make printed."""
        self.files += line.startswith("  CC ")
        share = COMPILE + (LINK - COMPILE) * min(1.0, self.files / FILES)
        self.told.advance(share, f"compiles, {self.files} files of about {max(FILES, self.files)}")


def _on_path() -> Path | None:
    """Return the `linux.uml` on PATH when it boots, is new enough and has what we need."""
    found = shutil.which("linux.uml")
    if not found:
        return None
    path = Path(found).resolve()
    stat = path.stat()
    identity = [str(path), stat.st_size, stat.st_mtime_ns, _configuration()]
    kept = cache.folder("kernel") / "on-path.json"
    try:
        known = json.loads(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if known.get("identity") != identity:
        known = {"identity": identity, "lacks": _lacks(path)}
        kept.write_text(json.dumps(known), encoding="utf-8")
    if known["lacks"]:
        Progress("kernel", name="lab kernel").say(f"not using {path}: {known['lacks']}")
    return None if known["lacks"] else path


def _lacks(path: Path) -> str:
    """Boot a kernel and say what is wrong with it, "" when nothing is."""
    from nncp.lab.session import start  # noqa: PLC0415  which imports this

    try:
        with start(kernel=path, memory="256M", lifetime=60.0 * slowness()) as lab:
            release = lab.output(["uname", "-r"]).stdout.strip()
            trial = lab.output(
                [sys.executable, "-c", "from nncp import lab; print(*lab.missing())"], cwd=CHECKOUT
            )
            filters = lab.output(["sh", "-c", 'printf %s "$1" | nft -f -', "sh", RULES])
    except Error as error:
        return error.message
    if tuple(map(int, re.findall(r"\d+", release)[:2])) < OLDEST:
        return f"{release} is older than {OLDEST[0]}.{OLDEST[1]}"
    lacking = trial.stdout.split() + (["nftables"] if filters.status else [])
    return f"it lacks {', '.join(lacking)}" if lacking or trial.status else ""
