"""The Pod's own libvirt daemon: its settings, its start, and the connection to it.

virtqemud where it exists, libvirtd otherwise. virtqemud listens to nobody on the network, so virtproxyd
stands beside it and takes in the migration's control connection.
"""

from __future__ import annotations

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

URI = "qemu:///system"
PATIENCE, IN_ALL = 60.0, 300.0
"""Seconds of a quiet machine that a daemon may do nothing before it answers, and in all. It takes two."""

ETC = Path("/etc/libvirt")


class Program(Struct, frozen=True):
    """A daemon: its command line, its configuration file, and whether it is the one that listens on TCP."""

    command: tuple[str, ...]
    conf: str
    listens: bool


MONOLITHIC = (
    Program(("libvirtd", "--listen", "--pid-file", "/run/libvirtd.pid"), "libvirtd.conf", listens=True),
)
MODULAR = (
    Program(("virtqemud", "--pid-file", "/run/virtqemud.pid"), "virtqemud.conf", listens=False),
    Program(("virtproxyd", "--listen", "--pid-file", "/run/virtproxyd.pid"), "virtproxyd.conf", listens=True),
)


def programs() -> Sequence[Program]:
    """Return the daemons that this system has, or raise an Error."""
    for choice in (MODULAR, MONOLITHIC):
        if all(shutil.which(program.command[0]) for program in choice):
            return choice
    raise Error(
        "there is no libvirt daemon: neither virtqemud with virtproxyd nor libvirtd",
        kind=ErrorKind.UNSUPPORTED,
        hint="install libvirt-daemon and libvirt-daemon-driver-qemu",
    )


def qemu_conf(address: str) -> str:
    """Return qemu.conf: QEMU as root in a Pod that is its own fence, and where it takes a migration in."""
    lines = [
        'user = "root"',
        'group = "root"',
        'security_driver = "none"',
        "namespaces = []",
        "cgroup_controllers = []",
        "remember_owner = 0",  # no extended attributes on shared storage
        'stdio_handler = "file"',  # no virtlogd
    ]
    if address:
        lines += [f'migration_address = "{address}"', f'migration_host = "{address}"']
    return "\n".join(lines) + "\n"


def daemon_conf(program: Program, *, address: str, host_uuid: str) -> str:
    """Return a daemon's own settings.

    libvirt refuses to migrate to itself, so each daemon has its own `host_uuid`. Its TCP port is open without
    authentication; masquerade gives all that arrives there to the guest, but for a migration's source.
    """
    lines = [f'host_uuid = "{host_uuid}"', 'auth_unix_rw = "none"']
    if program.listens:
        lines += ["listen_tls = 0", f"listen_tcp = {1 if address else 0}", 'auth_tcp = "none"']
        lines += [f'listen_addr = "{address}"'] if address else []
    return "\n".join(lines) + "\n"


def start(*, address: str, host_uuid: str, log: Path) -> list[subprocess.Popen[bytes]]:
    """Write the settings and start the daemons; they end with the Pod."""
    (ETC / "qemu.conf").write_text(qemu_conf(address), encoding="utf-8")
    running = []
    for program in programs():
        text = daemon_conf(program, address=address, host_uuid=host_uuid)
        (ETC / program.conf).write_text(text, encoding="utf-8")
        with log.open("ab") as file:
            running.append(
                subprocess.Popen(program.command, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
            )
    return running


def connect(
    daemons: Sequence[subprocess.Popen[bytes]], *, log: Path, patience: float = PATIENCE
) -> virConnect:
    """Return a connection to the daemon, as soon as it answers."""
    import libvirt  # noqa: PLC0415 -- only what runs in a Pod needs it

    libvirt.registerErrorHandler(lambda *_: None, None)  # it prints every refusal otherwise
    limit = Limit(patience, in_all=IN_ALL)
    while True:
        try:
            return libvirt.open(URI)
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
