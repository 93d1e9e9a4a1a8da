"""The Pod as processes see it: namespaces of its own, and a file tree in which libvirt believes itself alone.

    front ─fork─▶ A: enters the Pod's network, unshares mounts, hostname and pids
                    ─fork─▶ init: arranges the file tree, reaps
                               ─fork─▶ the launcher proper, its libvirt daemon, QEMU, the DHCP server

Whichever of init and launcher ends, the kernel ends the rest: that is what the pid namespace is for. Init
does nothing but reap: libvirt kills a QEMU that it probed and waits until it is gone, half a minute for one
that nobody reaps.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TextIO

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 8, 0x1000, 0x4000, 1 << 18
PR_SET_PDEATHSIG = 1

POD = Path("/run/bridgehead/pod")
"""The Pod's own folder, under a name that is the same in every Pod."""

LIBVIRT_FOLDERS = ("/etc/libvirt", "/var/lib/libvirt", "/var/log/libvirt", "/var/cache/libvirt")
QEMU_PARTS = ("bin/qemu-system-x86_64", "share/qemu", "share/seabios", "lib/x86_64-linux-gnu/qemu")
"""What of another QEMU's tree is laid over /usr; shared libraries are the system's."""

LIBVIRT_USER = "libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n"
LIBVIRT_GROUPS = ("libvirt-qemu:x:64055:\n", "kvm:x:64056:\n")
"""libvirt looks them up even when QEMU runs as root; the numbers are Debian's (adduser, libvirt-qemu)."""


class Sandbox(Struct, frozen=True):
    """Where a Pod lives: what it is entered by, and what of the node it sees."""

    netns: str
    hostname: str
    folder: Path
    claims: Path | None = None
    images: Path | None = None
    qemu: Path | None = None
    kvm: bool = False


def enter(sandbox: Sandbox, main: Callable[[], int], *, log: Path, lasting: bool) -> int:
    """Start a Pod's processes and return init's pid, as this namespace numbers it.

    Args:
        sandbox: where.
        main: what runs in the Pod; the Pod ends when it returns.
        log: the file for what goes wrong before and beside `main`.
        lasting: whether the Pod outlives this process; otherwise it dies with it.

    """
    reader, writer = os.pipe()
    mover = os.fork()
    if mover == 0:
        os.close(reader)
        _guarded(lambda: _mover(sandbox, main, writer, log=log, lasting=lasting), log)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if lasting or not said:
        os.waitpid(mover, 0)
    if not said:
        raise Error("the Pod's namespaces could not be made", kind=ErrorKind.FAILED, hint=f"see {log}")
    return int(said)


def _mover(sandbox: Sandbox, main: Callable[[], int], writer: int, *, log: Path, lasting: bool) -> int:
    os.setsid()
    if not lasting:
        _die_with_parent()
    target = os.open(sandbox.netns, os.O_RDONLY | os.O_CLOEXEC)
    _call("setns", target, CLONE_NEWNET)
    _call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)
    init = os.fork()
    if init == 0:
        os.close(writer)
        if not lasting:
            _die_with_parent()
        _guarded(lambda: _init(sandbox, main, log), log)
    os.write(writer, str(init).encode())
    os.close(writer)
    return 0 if lasting else os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def _init(sandbox: Sandbox, main: Callable[[], int], log: Path) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _redirect(log)
    arrange(sandbox)
    child = os.fork()
    if child == 0:
        _guarded(main, log)
    while True:
        pid, status = os.wait()
        if pid == child:
            return abs(os.waitstatus_to_exitcode(status))


def _guarded(work: Callable[[], int], log: Path) -> None:
    """End a forked child with `work`'s code: nothing of the parent's may run in it."""
    code = ErrorKind.BUG.exit_code
    try:
        code = work()
    except BaseException as error:  # noqa: BLE001 -- whatever it is, the child ends here and the log has it
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{type(error).__name__}: {error}\n")
            _trace(error, file)
    finally:
        os._exit(code)


def _trace(error: BaseException, file: TextIO) -> None:
    import traceback  # noqa: PLC0415 -- only when something went wrong

    traceback.print_exception(error, file=file)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number, descriptor in ((0, nothing), (1, file), (2, file)):
        os.dup2(descriptor, number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def arrange(sandbox: Sandbox) -> None:
    """Make the Pod's file tree, in the mount namespace that the caller has to itself."""
    mount_at("none", "/", flags=MS_REC | MS_PRIVATE)
    socket.sethostname(sandbox.hostname)
    # Kept open by descriptor: what lies under /run is out of sight once the Pod's own /run covers it.
    shown = [
        (POD, sandbox.folder),
        (POD.parent / "claims", sandbox.claims),
        (POD.parent / "images", sandbox.images),
    ]
    opened = [(place, os.open(path, os.O_PATH)) for place, path in shown if path is not None]
    parts = [(place, os.open(path, os.O_PATH)) for place, path in _parts(sandbox.qemu)]
    mount_at("proc", "/proc", kind="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    mount_at("sysfs", "/sys", kind="sysfs", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for folder in ("/run", *LIBVIRT_FOLDERS):
        Path(folder).mkdir(parents=True, exist_ok=True)
        mount_at("pod", folder, kind="tmpfs", data="mode=755")
    for place, descriptor in opened:
        place.mkdir(parents=True)
        bind(descriptor, place)
    for place, descriptor in parts:
        bind(descriptor, place)
    Path("/var/log/libvirt/qemu").mkdir()
    Path("/run/libvirt").mkdir()
    if not sandbox.kvm and Path("/dev/kvm").exists():
        mount_at("/dev/null", "/dev/kvm", flags=MS_BIND)
    _make_known(Path("/etc/passwd"), (LIBVIRT_USER,))
    _make_known(Path("/etc/group"), LIBVIRT_GROUPS)


def _parts(qemu: Path | None) -> Iterable[tuple[Path, Path]]:
    """The places in /usr that another QEMU's tree covers, each with what covers it."""
    if qemu is None:
        return []
    pairs = [(Path("/usr") / part, qemu / "usr" / part) for part in QEMU_PARTS]
    return [(place, path) for place, path in pairs if place.exists() and path.exists()]


def _make_known(path: Path, lines: Iterable[str]) -> None:
    """Let the Pod's copy of an account file have these entries; the node's own stays as it is."""
    text = path.read_text(encoding="utf-8")
    names = {line.partition(":")[0] for line in text.splitlines()}
    missing = [line for line in lines if line.partition(":")[0] not in names]
    if missing:
        own = POD.parent / path.name
        own.write_text(text + "".join(missing), encoding="utf-8")
        mount_at(str(own), str(path), flags=MS_BIND)


def bind(descriptor: int, place: Path) -> None:
    """Show an open file or folder at another place too."""
    mount_at(f"/proc/self/fd/{descriptor}", str(place), flags=MS_BIND | MS_REC)
    os.close(descriptor)


def mount_at(source: str, target: str, *, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount something, or change how it is mounted."""
    _call("mount", source.encode(), target.encode(), kind.encode() or None, flags, data.encode() or None)


def _die_with_parent() -> None:
    _call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)


def _call(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # unshare and setns came to os with Python 3.12, mount never
    if getattr(libc, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
