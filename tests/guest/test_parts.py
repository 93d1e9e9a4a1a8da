"""The launcher's smaller parts: the prober's report, QEMU's words, disks, the KVM trial, the command line."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher import control, daemon, kvm, priority, prober, qmp, storage
from launcher.prober import Log, Prober, checksum, ping, pong, report
from nncp import pace
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from tests.conftest import Netns

ROOT = Path(__file__).parents[2]


def launcher(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "launcher", *argv]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_report_counts_what_was_lost_and_how_long_it_was_silent() -> None:
    sent = {n: n * 0.01 for n in range(100)}
    answered = {n: t + 0.001 for n, t in sent.items() if n not in {40, 41}}
    said = report(
        Log(sent=sent, answered=answered, echoes={0: 0.0, 1: 0.05}, echoed={0: 0.002, 1: 0.06}, late=0.0004)
    )
    assert (said["pings_sent"], said["pings_lost"]) == (100, 2)
    assert said["longest_gap_ms"] == said["longest_unanswered_ms"] == 30.0
    assert (said["prober_jitter_ms"], said["tcp_survived"], said["tcp_longest_wait_ms"]) == (0.4, True, 10.0)


@pytest.mark.parametrize(
    "log", [Log(), Log(echoes={0: 1.0}), Log(echoes={0: 1.0}, echoed={0: 1.1}, broken="reset")]
)
def test_a_session_that_is_not_whole_has_not_survived(log: Log) -> None:
    assert report(log)["tcp_survived"] is False


def test_pings_are_known_again_by_number_beyond_the_headers_16_bits() -> None:
    packet = ping(7, 70_000)
    assert checksum(packet) == 0
    answer = bytes([0x45]) + bytes(19) + b"\0" + packet[1:]
    assert pong(answer, 7) == 70_000
    assert pong(answer, 8) is None


def test_the_prober_measures_a_host_that_always_answers(netns: Netns) -> None:
    echo = "import socket as s; l = s.create_server(('127.0.0.1', 7)); print('listens', flush=True); c = l.accept()[0]\nwhile d := c.recv(99): c.send(d)"
    argv = ["ip", "netns", "exec", netns.name, sys.executable, "-c", echo]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == b"listens\n"
        argv = [sys.executable, "-m", "launcher", "probe", "127.0.0.1", "--seconds", "1", "-o", "json"]
        began, report_ = map(json.loads, netns.run("env", f"PYTHONPATH={ROOT}", *argv).splitlines())
    finally:
        server.kill()
        server.wait()
    assert began == {"event": "probing", "address": "127.0.0.1"}
    assert report_["pings_lost"] < report_["pings_sent"]
    assert report_["tcp_survived"]


def _may_be_real_time() -> bool:
    """Whether a process may: a control group without a share of real time refuses it."""
    attempt = "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))"
    return subprocess.run([sys.executable, "-c", attempt], capture_output=True, check=False).returncode == 0


def test_only_the_probing_itself_has_real_time_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    policies: dict[str, int] = {}
    session, guest = socket.socketpair()

    def note(name: str) -> None:
        policies.setdefault(name, os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK)

    monkeypatch.setattr(prober.signal, "signal", lambda *_: None)
    monkeypatch.setattr(Prober, "_connected", lambda _: session)
    monkeypatch.setattr(Prober, "_send", lambda _self, _now, *, late: note(f"sends {late >= 0}"))
    monkeypatch.setattr(Prober, "_linger", lambda _: note("lingers"))
    with session, guest:
        prober.measure("127.0.0.1", began=lambda: note("begins"), seconds=0.05)
    note("ends")
    assert policies.pop("sends True") == (os.SCHED_FIFO if _may_be_real_time() else os.SCHED_OTHER)
    assert policies == dict.fromkeys(("begins", "lingers", "ends"), os.SCHED_OTHER)


def test_what_a_prober_starts_has_no_real_time_priority() -> None:
    with prober.real_time():
        argv = [sys.executable, "-c", "import os; print(os.sched_getscheduler(0))"]
        said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    assert int(said) == os.SCHED_OTHER


def test_qemus_events_are_read_and_its_answers_passed_over() -> None:
    stamp = b'"timestamp": {"seconds": 5, "microseconds": 250000}'
    lines = [b'{"QMP": {}}', b'{"return": {}}', b'{"event": "STOP", ' + stamp + b"}"]
    assert [(e.name, e.stamp) for e in qmp.events(lines)] == [("STOP", 5.25)]


def test_versions_are_read_from_what_qemu_says_of_itself() -> None:
    assert daemon.parse_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright") == (
        10,
        0,
        2,
    )
    assert daemon.parse_version("QEMU emulator version 9.1\n") == (9, 1, 0)


def test_a_disk_in_use_is_told_by_qemus_lock(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    assert not storage.is_held(image)
    with image.open("r+b") as holder:  # as QEMU does: a shared lock on one byte, of its open file description
        lock = struct.pack("hhqqi4x", fcntl.F_RDLCK, os.SEEK_SET, 101, 1, 0)
        fcntl.fcntl(holder, 37, lock)  # F_OFD_SETLK
        assert storage.is_held(image)
    assert not storage.is_held(image)


def test_kvm_that_is_not_there_does_not_work(tmp_path: Path) -> None:
    assert not kvm.works(tmp_path / "kvm")


def spin(_device: Path) -> int:
    while True:
        pass


def hang(_device: Path) -> int:
    signal.pause()
    return kvm.EXIT_HLT


def halt_later(_device: Path) -> int:
    time.sleep(0.5)
    return kvm.EXIT_HLT


@pytest.mark.parametrize(("trial", "slow"), [(spin, 60.0), (hang, 1.0)])
def test_a_trial_of_kvm_that_never_halts_ends_and_leaves_nobody(
    trial: object, slow: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(pace, "slowness", lambda: slow)
    reaped: list[int] = []
    monkeypatch.setattr(kvm, "_run_the_loop", trial)
    monkeypatch.setattr(kvm, "_reap", lambda child: reaped.append(child) or os.kill(child, signal.SIGKILL))
    assert not kvm.works(tmp_path / "kvm", deadline=0.1)
    assert os.waitstatus_to_exitcode(os.waitpid(reaped[0], 0)[1]) == -signal.SIGKILL


def test_a_trial_of_kvm_on_a_busy_machine_may_take_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "kvm").touch()
    monkeypatch.setattr(kvm, "_run_the_loop", halt_later)
    monkeypatch.setattr(pace, "slowness", lambda: 50.0)
    assert kvm.works(tmp_path / "kvm", deadline=0.1)


def test_errors_of_a_pod_come_home_whole() -> None:
    error = Error("no", kind=ErrorKind.UNSUPPORTED, hint="try", subject="x")
    with pytest.raises(Error) as caught:
        control.told(control.packed(error), "the launcher")
    back = caught.value
    assert (back.message, back.kind, back.hint, back.subject) == ("no", ErrorKind.UNSUPPORTED, "try", "x")


def test_a_pod_that_was_never_attached_is_named_with_what_to_do(tmp_path: Path) -> None:
    done = launcher("status", "--pod", "nobody", "--run-dir", str(tmp_path))
    assert done.returncode == ErrorKind.FAILED.exit_code
    assert "error: there is no Pod nobody" in done.stderr
    assert "hint: vmnet attach nobody" in done.stderr
    (tmp_path / "pods" / "left").mkdir(parents=True)
    done = launcher("status", "--pod", "left", "--run-dir", str(tmp_path))
    assert "error: Pod left has no launcher" in done.stderr
    assert "when its guest has ended or moved: vmnet detach left" in done.stderr


def test_stopping_what_has_ended_succeeds(tmp_path: Path) -> None:
    done = launcher("stop", "--pod", "nobody", "--run-dir", str(tmp_path), "-o", "json")
    assert (done.returncode, json.loads(done.stdout)) == (0, {"pod": "nobody", "stopped": False})


def test_a_manifest_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    done = launcher("start", "--pod", "x", "--run-dir", str(tmp_path), str(tmp_path / "none.yaml"))
    assert done.returncode == ErrorKind.USAGE.exit_code
    assert "cannot be read" in done.stderr


def test_what_gives_way_runs_only_when_nothing_else_wants_the_cpu_and_as_usual_again() -> None:
    # It has its name once it speaks; it ends when its input does, also after a failure.
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"here\n")
        process.stdin.flush()
        process.stdout.readline()
        these = list(priority.threads(process.pid, "cat"))
        assert these == [process.pid]
        for until_idle, policy in ((True, os.SCHED_IDLE), (False, os.SCHED_OTHER)):
            priority.give_way(these, until_idle=until_idle)
            assert os.sched_getscheduler(process.pid) == policy
    assert not list(priority.threads(process.pid))
    priority.give_way(these, until_idle=True)  # whoever has ended has no say


def test_qemu_is_known_by_the_process_that_came(tmp_path: Path) -> None:
    monitor = qmp.Monitor(tmp_path / "qmp.sock")
    with socket.socket(socket.AF_UNIX) as qemu:
        qemu.connect(str(tmp_path / "qmp.sock"))
        monitor.accept().close()
    monitor.listener.close()
    assert monitor.pid == os.getpid()
