"""The Pod as processes see it: what a container runtime does for it, where there is none.

    start ─fork─▶ enters the Pod's network namespace
                    ─fork─▶ the node's handler, in the node's file system
                    ─fork─▶ init: unshared mounts, hostname and pids; arranges the file tree, reaps
                               ─fork─▶ the launcher, its libvirt daemon, QEMU, the guest's services

Nobody in the Pod is root: init becomes the Pod's user once it has arranged everything. Whichever of init and
launcher ends, the kernel ends the rest: that is what the pid namespace is for. Init does nothing but reap:
libvirt kills a QEMU that it probed and waits until it is gone, half a minute for one that nobody reaps.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from launcher.rootfs import Sandbox, arrange
from nncp import libc
from nncp.errors import Error, ErrorKind
from nncp.netns import CLONE_NEWNET
from vmnet.node import rights
from vmnet.node.handler import hurry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWPID = 0x20000000
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # linux/prctl.h

STANDARD = (0, 1, 2)
RLIMIT_NICE, NICE_OF_ALL = 13, 20
"""asm-generic/resource.h; 20 allows a nice value of 0 and no less, which SCHED_OTHER comes back with."""


class Entered(NamedTuple):
    """Processes as this namespace numbers them: a Pod's init, and our child that waits for it."""

    init: int
    mover: int


def enter(
    sandbox: Sandbox,
    main: Callable[[socket.socket], int],
    handler: Callable[[socket.socket], int],
    *,
    keep: Sequence[int],
    log: Path,
    lasting: bool,
) -> Entered:
    """Start a Pod's processes and return those that somebody may wait for.

    Args:
        sandbox: where.
        main: what runs in the Pod, given its end of the line to the handler; the Pod ends when it returns.
        handler: what runs beside it with rights, given the other end.
        keep: the descriptors that `main` is left with; of the caller's others nobody there has any.
        log: the file for what goes wrong before and beside them.
        lasting: whether the Pod outlives this process; otherwise it dies with it.

    """
    reader, writer = os.pipe()
    mover = os.fork()
    if mover == 0:
        _guarded(lambda: _mover(sandbox, main, handler, writer, keep=keep, log=log, lasting=lasting))
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    if lasting or not said:
        os.waitpid(mover, 0)
    if not said:
        raise Error("the Pod's namespaces could not be made", kind=ErrorKind.FAILED, hint=f"see {log}")
    return Entered(int(said), mover)


def _mover(
    sandbox: Sandbox,
    main: Callable[[socket.socket], int],
    handler: Callable[[socket.socket], int],
    writer: int,
    *,
    keep: Sequence[int],
    log: Path,
    lasting: bool,
) -> int:
    _redirect(log)
    _close_all_but(*STANDARD, writer, *keep)
    os.setsid()
    if not lasting:
        _die_with_parent()
    target = os.open(sandbox.netns, os.O_RDONLY | os.O_CLOEXEC)
    libc.call("setns", target, CLONE_NEWNET)
    os.close(target)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        _guarded(lambda: _beside(handler, theirs))
    theirs.close()
    libc.call("unshare", CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID)
    init = os.fork()
    if init == 0:
        os.close(writer)
        _guarded(lambda: _init(sandbox, main, ours, lasting=lasting))
    ours.close()
    os.write(writer, str(init).encode())
    os.close(writer)
    return 0 if lasting else os.waitstatus_to_exitcode(os.waitpid(init, 0)[1])


def _beside(handler: Callable[[socket.socket], int], line: socket.socket) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_called("node-handler")
    os.chdir("/")  # nobody's folder is held for as long as a Pod lives
    _close_all_but(*STANDARD, line.fileno())
    return handler(line)


def _init(
    sandbox: Sandbox, main: Callable[[socket.socket], int], line: socket.socket, *, lasting: bool
) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _be_called("pod-init")
    arrange(sandbox)
    child = os.fork()
    if child == 0:
        _guarded(lambda: _launch(sandbox, main, line))
    _close_all_but(*STANDARD)
    rights.become(sandbox.user)
    if not lasting:
        _die_with_parent()  # which becoming somebody else takes back (prctl(2), PR_SET_PDEATHSIG)
    while True:
        pid, status = os.wait()
        if pid == child:
            return abs(os.waitstatus_to_exitcode(status))


def _launch(sandbox: Sandbox, main: Callable[[socket.socket], int], line: socket.socket) -> int:
    """Give up all rights but these: to be first on the CPU, to lock memory, to take SCHED_IDLE back."""
    _be_called("launcher")
    hurry()
    for limit, most in ((resource.RLIMIT_MEMLOCK, resource.RLIM_INFINITY), (RLIMIT_NICE, NICE_OF_ALL)):
        with contextlib.suppress(ValueError, OSError):  # root without CAP_SYS_RESOURCE has what it has
            resource.setrlimit(limit, (most, most))
    rights.become(sandbox.user)
    os.umask(0o077)
    for name in [name for name in os.environ if not _is_passed_on(name)]:
        del os.environ[name]
    return main(line)


def _is_passed_on(name: str) -> bool:
    """Whether a variable of whoever started the Pod reaches what runs in it; its others may be secrets."""
    return name in {"PATH", "LANG", "TZ"} or name.startswith(("LC_", "PYTHON", "BRIDGEHEAD_"))


def _guarded(work: Callable[[], int]) -> None:
    """End a forked child with `work`'s code: nothing of the parent's may run in it."""
    code = ErrorKind.BUG.exit_code
    try:
        code = work()
    except BaseException:  # noqa: BLE001 -- whatever it is, the child ends here and the log has it
        import traceback  # noqa: PLC0415 -- only when something went wrong

        traceback.print_exc()
    finally:
        os._exit(code)


def _be_called(name: str) -> None:
    """Let ps and top tell the Pod's processes apart."""
    libc.call("prctl", PR_SET_NAME, name.encode())


def _close_all_but(*kept: int) -> None:
    for number in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
        if number not in kept:
            with contextlib.suppress(OSError):  # what listed them was one of them
                os.close(number)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    for number, descriptor in ((0, nothing), (1, file), (2, file)):
        os.dup2(descriptor, number)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _die_with_parent() -> None:
    libc.call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL)
