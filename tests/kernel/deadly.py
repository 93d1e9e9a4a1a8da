"""Runs an apply or a rollback in a child that is killed after its N-th write, and tells how it went."""

from __future__ import annotations

import os
import signal
import traceback
from typing import TYPE_CHECKING, Any

import nncp
from nncp import netns, sysctl
from nncp.desired import Desired, documents
from nncp.engine import PATIENCE, apply_compiled
from nncp.errors import Error
from nncp.guard import Guard
from nncp.journal import Journal
from nncp.netlink import tap
from nncp.netlink.channel import Channel, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace


def in_child(namespace: Namespace, action: Callable[[], Any]) -> int:
    """Run `action` in a child in the namespace; return its exit code, negative for a signal."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            with netns.entered(namespace.path):
                action()
            code = 0
        except Error as error:
            print(error)
            code = error.kind.exit_code
        except Exception:  # noqa: BLE001  (told, and the child ends with 1)
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def dies_after(writes: int, *, supervisor_too: bool) -> None:
    """Make whoever writes (and whom it writes for) die by SIGKILL right after that many writes."""
    caller, done = os.getpid(), [0]
    kill_supervisors = supervisors_known()

    def counted() -> None:
        done[0] += 1
        if done[0] != writes:
            return
        if supervisor_too:
            kill_supervisors()
        if os.getpid() != caller:
            os.kill(caller, signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    on_every_write(counted)


def supervisors_known() -> Callable[[], None]:
    """Return what kills every supervisor that this process starts from now on."""
    start = Guard.start.__func__  # type: ignore[attr-defined]
    pids: list[int] = []

    def started(cls: type[Guard], *arguments: Any) -> Guard:
        guard: Guard = start(cls, *arguments)
        pids.append(guard.pid)
        return guard

    def kill() -> None:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    Guard.start = classmethod(started)  # type: ignore[assignment,method-assign]
    return kill


def on_every_write(counted: Callable[[], None]) -> None:
    """Have every request sent by itself, and `counted` called after each write of this process's and children's."""
    send, write, make = Channel.send, sysctl.write, tap.make

    def send_one_by_one(
        self: Channel, requests: Any, acknowledged: Any = lambda _: None, refused: Any = None
    ) -> None:
        for index, request in enumerate(requests):
            found: list[Refusal] = []
            send(self, [request], refused=found.append)
            for refusal in found:
                refusal.index = index
                if refused is None:
                    raise refusal
                refused(refusal)
            if not found:
                acknowledged(index)
            counted()

    def write_counted(path: str, value: str) -> None:
        write(path, value)
        counted()

    def make_counted(name: str, index: int, attrs: Any) -> None:
        make(name, index, attrs)
        counted()

    Channel.send = send_one_by_one  # type: ignore[method-assign]
    sysctl.write, tap.make = write_counted, make_counted


def applied(
    namespace: Namespace, text: str, state_dir: Path, *, killed_after: int = 0, supervisor_too: bool = False
) -> int:
    """Apply a document in the namespace, killed after so many writes; wait for the supervisor's end."""

    def action() -> None:
        if killed_after:
            dies_after(killed_after, supervisor_too=supervisor_too)
        apply_compiled(Desired(documents([("case.yaml", text)])), state_dir=state_dir)

    code = in_child(namespace, action)
    with netns.entered(namespace.path):
        await_supervisor(state_dir)
    return code


def await_supervisor(state_dir: Path) -> None:
    """Wait until nobody holds the journal's lock."""
    with Journal(state_dir).locked(patience=PATIENCE):
        pass


def rolled_back(namespace: Namespace, state_dir: Path, *, killed_after: int = 0) -> int:
    """Roll back in the namespace, killed after so many writes."""

    def action() -> None:
        if killed_after:
            dies_after(killed_after, supervisor_too=True)
        nncp.rollback(state_dir=state_dir)

    return in_child(namespace, action)
