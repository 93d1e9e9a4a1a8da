"""The launcher with a real libvirt, QEMU and guest, between Pods of one node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from launcher.migration import credentials
from launcher.prober import real_time
from nncp.errors import ErrorKind
from nncp.pace import Limit, communicate
from tests.guest.conftest import GUEST

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.guest.conftest import Node, Pod

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


class Probing:
    """A prober of the guest that has begun, and whose report is read once."""

    def __init__(self, node: Node, *words: str) -> None:
        self.process = node.spawn("launcher", "probe", GUEST, "-o", "json", *words)
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        assert "probing" in said, said

    def report(self) -> dict[str, Any]:
        # nsenter waits for its child in another pid namespace: the signal has to reach the child itself.
        children = subprocess.run(
            ["pgrep", "-P", str(self.process.pid)], capture_output=True, text=True, check=True
        )
        os.kill(int(children.stdout.split()[0]), signal.SIGTERM)
        said, _ = communicate(self.process, Limit(30))
        return dict(json.loads(said))


@pytest.fixture
def started(make_pod: Callable[[str], Pod]) -> Pod:
    """A Pod whose guest has begun to boot."""
    pod = make_pod("pod-1")
    status = pod.start()
    assert (status["phase"], status["gate"]) == ("running", "open")
    return pod


@pytest.fixture
def running(node: Node, started: Pod) -> Pod:
    """A Pod whose guest answers."""
    node.wait_for_guest()
    return started


def kill(pod: Pod, word: str, number: signal.Signals = signal.SIGKILL) -> None:
    pids = [pid for pid, command in pod.processes().items() if word in command]
    assert pids, f"no {word} among {pod.processes()}"
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # it went with the one before
            os.kill(pid, number)


def assert_the_gate_was_open_during_the_pause(answer: dict[str, Any], events: dict[str, Any]) -> None:
    """What is sent while the guest stands still waits for it in the tap; with the gate closed all of it is lost."""
    sent, answered = events["sent"], events["answered"]
    during = [n for n, time in sent.items() if answer["stopped_at"] < time < answer["resumed_at"]]
    assert not during or any(number in answered for number in during), (answer, during)


def test_a_guest_moves_to_a_new_pod_and_keeps_answering(
    node: Node, running: Pod, make_pod: Callable[[str], Pod], tmp_path: Path
) -> None:
    target = make_pod("pod-2")
    status = target.prepare(running)
    assert (status["phase"], status["gate"]) == ("waiting", "closed")
    rules = subprocess.run(
        [*node.command, "ip", "netns", "exec", "pod-2", "nft", "list", "ruleset"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert running.address in rules
    probing = Probing(node, "--events", str(tmp_path / "events"))
    answer = json.loads(running.migrate(target).stdout)
    node.wait_for_guest()
    report = probing.report()
    assert answer["downtime_by"] == "clock"
    assert report["tcp_survived"], report
    assert_the_gate_was_open_during_the_pause(answer, json.loads((tmp_path / "events").read_text()))
    assert target.status()["phase"] == "running"
    assert running.ended(), running.processes()
    assert target.wait("lifted")["error"] == ""
    third = make_pod("pod-3")  # what has arrived moves on
    third.prepare(target)
    target.migrate(third)
    node.wait_for_guest()
    assert third.status()["phase"] == "running"


def test_a_guest_whose_target_dies_after_stop_is_back_and_the_target_closes(
    node: Node, running: Pod, make_pod: Callable[[str], Pod]
) -> None:
    """The source's libvirtd is held before the switchover, so that the target surely dies between STOP and RESUME."""
    target = make_pod("pod-2")
    target.prepare(running)
    probing = Probing(node)
    migration = node.spawn(
        "launcher", "migrate", "--pod", "pod-1", "--credentials", str(target.credentials), "-o", "json"
    )
    with real_time():  # before its memory is copied once: QEMU then asks libvirt, paused, before it goes on
        running.wait("qemu MIGRATION_PASS")
        kill(running, "libvirtd", signal.SIGSTOP)
    running.wait("stop")
    target.wait("heard stopped")
    assert target.status()["gate"] == "open"
    kill(target, "qemu-system")
    target.wait("lost")
    kill(running, "libvirtd", signal.SIGCONT)
    said, _ = communicate(migration, Limit(60))
    assert migration.returncode == ErrorKind.FAILED.exit_code, said
    assert "the guest runs on in its Pod" in said
    assert (target.status()["phase"], target.status()["gate"]) == ("abandoned", "closed")
    assert running.status()["phase"] == "running"
    assert running.wait("resume")["actions"] == ["announce", "give way", "say back"]
    node.wait_for_guest()
    assert probing.report()["tcp_survived"]
    third = make_pod("pod-3")  # nothing is left of the first try
    third.prepare(running)
    running.migrate(third)
    node.wait_for_guest()
    assert third.status()["phase"] == "running"


@pytest.mark.parametrize("victim", ["libvirtd", "launcher", "qemu-system"])
def test_a_pod_of_which_one_process_is_killed_leaves_nothing(started: Pod, victim: str) -> None:
    kill(started, victim)
    assert started.ended(), started.processes()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_pod_in_the_foreground_ends_with_who_started_it(
    node: Node, make_pod: Callable[[str], Pod], number: signal.Signals
) -> None:
    pod = make_pod("pod-1")
    argv = ("start", "--foreground", "--pod", "pod-1", *node.storage, "-o", "json")
    process = node.spawn("launcher", *argv)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["phase"] == "running"
    # nsenter waits for its child in another pid namespace.
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
    os.kill(int(children.stdout.split()[0]), number)
    process.communicate()
    assert pod.ended(), pod.processes()


def test_what_is_in_a_pod_has_no_descriptor_of_who_started_it(
    node: Node, make_pod: Callable[[str], Pod], tmp_path: Path
) -> None:
    pod = make_pod("pod-1")
    (tmp_path / "of-the-caller").touch()
    with (tmp_path / "of-the-caller").open() as secret:
        os.set_inheritable(secret.fileno(), True)  # as a shell's 9> does
        command = [*node.command, sys.executable, "-m", "launcher", "start", "--pod", "pod-1", *node.storage]
        subprocess.run(command, check=True, capture_output=True, pass_fds=(secret.fileno(),))
    held = {
        str(link.readlink())
        for pid in pod.processes()
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink()
    }
    assert not [path for path in held if "of-the-caller" in path]


def test_a_target_without_the_bridge_is_refused_at_the_interfaces_place(
    node: Node, started: Pod, make_pod: Callable[[str], Pod]
) -> None:
    make_pod("pod-2")
    subprocess.run([*node.command, "ip", "link", "set", "br1", "down"], check=True)
    subprocess.run([*node.command, "ip", "link", "set", "br1", "name", "other"], check=True)
    argv = ("prepare", "--pod", "pod-2", "--from", started.address, *node.storage)
    done = node.call("launcher", *argv, check=False)
    assert done.returncode == ErrorKind.DOCUMENT.exit_code
    assert "bridge br1 of network" in done.stderr
    assert "is not there on this node" in done.stderr
    assert "interfaces[1].name" in done.stderr


def test_a_disk_that_is_not_there_or_not_shared_is_named(node: Node, make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("pod-1")
    argv = ("--pod", "pod-1", *node.storage)
    done = node.call("launcher", "prepare", "--from", "10.244.9.9", *argv, check=False)
    assert (done.returncode, "nobody holds" in done.stderr) == (ErrorKind.DOCUMENT.exit_code, True)
    (node.vm.parent / "claims" / "vm-disk" / "disk.img").unlink()
    text = node.vm.read_text().replace("eth1:", "eth7:")
    node.vm.write_text(text)
    done = node.call("launcher", "start", *argv, check=False)
    assert done.returncode == ErrorKind.DOCUMENT.exit_code
    assert "the disk of rootdisk is not there: claim vm-disk has no disk.img" in done.stderr
    assert "the VM has no NIC eth7" in done.stderr
    assert done.stderr.count("-->") == 2
    assert not pod.processes()


def test_a_pod_whose_rules_were_flushed_starts_no_guest(node: Node, make_pod: Callable[[str], Pod]) -> None:
    pod = make_pod("pod-1")
    flush = ["ip", "netns", "exec", "pod-1", "nft", "flush", "ruleset"]
    subprocess.run([*node.command, *flush], check=True)
    done = node.call("launcher", "start", "--pod", "pod-1", *node.storage, check=False)
    assert done.returncode == ErrorKind.FAILED.exit_code
    assert "Pod pod-1 has lost rules of its nft tables" in done.stderr
    assert "vmnet attach pod-1 again" in done.stderr
    assert not pod.processes()


def test_a_migration_to_nobody_is_refused_and_the_guest_untouched(
    node: Node, started: Pod, tmp_path: Path
) -> None:
    _, half = credentials.issue(to="10.244.9.9")
    half.save(tmp_path / "half.json")
    argv = ("migrate", "--pod", "pod-1", "--credentials", str(tmp_path / "half.json"))
    done = node.call("launcher", *argv, check=False)
    assert done.returncode == ErrorKind.FAILED.exit_code
    assert "no target is ready at 10.244.9.9" in done.stderr
    assert started.status()["phase"] == "running"


def test_stopping_gives_the_guest_time_to_shut_down(node: Node, running: Pod) -> None:
    """It has ended before its Pod did, and long before the time was over."""
    said = json.loads(node.run("launcher", "stop", "--pod", "pod-1", "--grace", "170", "-o", "json"))
    assert said == {"pod": "pod-1", "stopped": True}
    assert "lost" in [event["event"] for event in running.log()]
    assert running.ended()
