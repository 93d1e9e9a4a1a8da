"""The Pod's own libvirt daemon: its settings, its start, and the connection to it.

virtqemud where it exists, libvirtd otherwise, of the user that the launcher is, and without any ear on a
network: what it says to another Pod's daemon goes through both launchers.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit, cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from libvirt import virConnect

HOME = Path("/run/bridgehead/home")
"""The user's folder in the Pod: the daemon's settings, sockets and logs."""
PEER, MEMORY = Path("/run/bridgehead/pod/peer.sock"), Path("/run/bridgehead/pod/memory.sock")
"""Where the source's daemon and QEMU speak to the target's."""
PATIENCE, IN_ALL = 60.0, 300.0
"""Seconds of a quiet machine that a daemon may do nothing before it answers, and in all. It takes two."""

ENVIRONMENT = {
    "HOME": str(HOME),
    "XDG_CACHE_HOME": str(HOME / "cache"),
    "XDG_CONFIG_HOME": str(HOME / "config"),
    "XDG_DATA_HOME": str(HOME / "data"),
    "XDG_RUNTIME_DIR": str(HOME / "run"),
}


class Program(Struct, frozen=True):
    """A daemon: its name, and its socket's in the user's runtime folder."""

    name: str
    socket: str


PROGRAMS = (Program("virtqemud", "virtqemud-sock"), Program("libvirtd", "libvirt-sock"))


def program() -> Program:
    """Return the daemon that this system has, or raise an Error."""
    for one in PROGRAMS:
        if shutil.which(one.name):
            return one
    raise Error(
        "there is no libvirt daemon: neither virtqemud nor libvirtd",
        kind=ErrorKind.UNSUPPORTED,
        hint="install libvirt-daemon and libvirt-daemon-driver-qemu",
    )


def socket_path() -> Path:
    """Return where the daemon is spoken to."""
    return HOME / "run" / "libvirt" / program().socket


def uri(path: Path) -> str:
    """Return how libvirt reaches a user's daemon, or one behind a launcher, at a Unix socket."""
    return f"qemu+unix:///session?socket={path}"


def qemu_conf() -> str:
    """Return qemu.conf: a QEMU that nobody fences but its Pod."""
    lines = [
        'security_driver = "none"',
        "namespaces = []",
        "cgroup_controllers = []",
        "dynamic_ownership = 0",
        "remember_owner = 0",  # no extended attributes on shared storage
        'stdio_handler = "file"',  # no virtlogd
    ]
    return "\n".join(lines) + "\n"


def daemon_conf(*, host_uuid: str) -> str:
    """Return the daemon's own settings: libvirt refuses to migrate to itself, so each has its `host_uuid`."""
    return f'host_uuid = "{host_uuid}"\nauth_unix_rw = "none"\n'


def start(*, host_uuid: str, log: Path) -> list[subprocess.Popen[bytes]]:
    """Write the settings and start the daemon, in a list; it ends with the Pod."""
    chosen = program()
    folder = HOME / "config" / "libvirt"
    for made in (folder, HOME / "run"):
        made.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "qemu.conf").write_text(qemu_conf(), encoding="utf-8")
    (folder / f"{chosen.name}.conf").write_text(daemon_conf(host_uuid=host_uuid), encoding="utf-8")
    with log.open("ab") as file:
        environment = {**os.environ, **ENVIRONMENT}
        argv = [chosen.name, "--pid-file", str(HOME / "run" / f"{chosen.name}.pid")]
        none = subprocess.DEVNULL
        return [subprocess.Popen(argv, stdout=file, stderr=file, stdin=none, env=environment)]


def connect(
    daemons: Sequence[subprocess.Popen[bytes]], *, log: Path, patience: float = PATIENCE
) -> virConnect:
    """Return a connection to the daemon, as soon as it answers."""
    import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

    libvirt.registerErrorHandler(lambda *_: None, None)  # it prints every refusal otherwise
    limit = Limit(patience, in_all=IN_ALL)
    while True:
        try:
            return libvirt.open(uri(socket_path()))
        except libvirt.libvirtError as error:
            if why := _hopeless(daemons, limit):
                raise Error(f"{why}: {error}", kind=ErrorKind.FAILED, hint=f"see {log}") from None
            time.sleep(0.05)


def _hopeless(daemons: Sequence[subprocess.Popen[bytes]], limit: Limit) -> str:
    """Say why no answer will come; nothing while there is hope: a daemon that works on is waited for."""
    for daemon in daemons:
        if daemon.poll() is not None:
            return f"a libvirt daemon ended with {daemon.returncode}"
    limit.sees(cpu_seconds(*(daemon.pid for daemon in daemons)))
    return f"libvirt did not answer {limit.story}" if limit.is_over() else ""


def downtime(connection: virConnect, domain: str) -> int | None:
    """Return libvirt's figure of the last migration's pause, in milliseconds; None before it has one."""
    import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

    try:
        job = connection.lookupByName(domain).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        return int(job["downtime"])
    except (libvirt.libvirtError, KeyError):
        return None


def qemu_version(program: str) -> tuple[int, int, int]:
    """Return the version of a QEMU, asked of itself."""
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise Error(
            f"{program} does not run: {error}",
            kind=ErrorKind.UNSUPPORTED,
            hint="install qemu-system-x86",
        ) from None
    return parse_version(said)


def parse_version(said: str) -> tuple[int, int, int]:
    """Return the version in the first line of `qemu-system-x86_64 --version`; ValueError without one."""
    words = said.split("version ", 1)[1].split(maxsplit=1)[0].split(".")
    major, minor, micro = (int(word) for word in (*words, "0", "0")[:3])
    return major, minor, micro
