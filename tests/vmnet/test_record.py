"""Records and the folders that they are in, without a network."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from nncp import pace
from nncp.errors import Error
from vmnet import init
from vmnet import pod as pods
from vmnet import record as records
from vmnet.record import Record, Store, read_record

if TYPE_CHECKING:
    from pathlib import Path

POD = Record(
    name="pod-1", namespace="default", vm="default/vm", uid="u", netns="/run/netns/pod-1", owner=1000
)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    with Store(tmp_path / "pods").held("pod-1") as folder:
        assert folder.record() is None
        folder.write(POD)
        assert folder.record() == POD
    assert read_record(tmp_path / "pods" / "pod-1" / "pod.json") == POD


def test_the_folder_of_a_pod_without_a_record_goes(tmp_path: Path) -> None:
    with Store(tmp_path / "pods").held("pod-1") as folder:
        (folder.path / "launcher.log").touch()
    assert list((tmp_path / "pods").iterdir()) == []


def test_what_a_failing_attach_began_stays_with_its_record(tmp_path: Path) -> None:
    def fail() -> None:
        with Store(tmp_path / "pods").held("pod-1") as folder:
            folder.write(POD)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert read_record(tmp_path / "pods" / "pod-1" / "pod.json") == POD


def test_a_pod_that_somebody_holds_for_too_long_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "PATIENCE", 0.05)
    monkeypatch.setattr(pace, "slowness", lambda: 1.0)
    store = Store(tmp_path / "pods")
    with (
        store.held("pod-1"),
        pytest.raises(Error, match="somebody else attaches or detaches Pod pod-1") as caught,
        store.held("pod-1"),
    ):
        pass
    assert str(tmp_path / "pods" / "pod-1") in caught.value.hint


def test_another_pod_is_held_beside_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "pods")
    with store.held("pod-1"), store.held("pod-2") as folder:
        folder.write(POD)


def test_who_waited_for_a_folder_that_has_gone_gets_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock of a folder that was removed meanwhile holds nothing."""
    store = Store(tmp_path / "pods")
    locks: list[int] = []

    def lock(descriptor: int, how: int) -> None:
        locks.append(descriptor)
        if len(locks) == 1:  # between our look and our lock somebody detached the Pod
            (tmp_path / "pods" / "pod-1").rmdir()
        real(descriptor, how)

    real = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lock)
    with store.held("pod-1") as folder:
        folder.write(POD)
        assert folder.path.stat().st_ino == os.fstat(folder.lock).st_ino
    assert len(locks) == 2


def test_a_drop_of_a_folder_takes_no_other_in_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "pods")
    path = tmp_path / "pods" / "pod-1"
    with store.held("pod-1") as folder:
        folder.write(POD)
        folder.drop()
        path.mkdir(mode=0o700)  # the next attach has begun
    assert path.exists()


@pytest.mark.parametrize("how", ["listens", "listened", "never"])
def test_a_launcher_lives_while_it_listens(how: str, tmp_path: Path) -> None:
    with Store(tmp_path / "pods").held("pod-1") as folder, socket.socket(socket.AF_UNIX) as listener:
        if how != "never":
            listener.bind(f"/proc/self/fd/{folder.lock}/launcher.sock")
            listener.listen(0)
        if how == "listened":
            listener.close()
        assert folder.has_launcher() is (how == "listens")
        folder.write(POD)
        folder.drop()
        assert folder.path.exists() is (how == "listens")


def test_the_last_handle_on_a_pods_processes_is_kept_while_they_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A launcher that a guest has taken over may close its socket, and the disk is still held."""
    with subprocess.Popen(["sleep", "inf"]) as process, Store(tmp_path / "pods").held("pod-1") as folder:
        init.remember(folder.path, process.pid)
        monkeypatch.setattr(init.has_ended, "__kwdefaults__", {"patience": 0.1})
        with pytest.raises(Error, match="Pod pod-1 still has processes") as refused:
            pods._wait_for_last(folder.path)
        assert refused.value.hint == "launcher stop --pod pod-1 ends them"
        folder.drop()
        assert init.is_there(folder.path)
        process.kill()
        pods._wait_for_last(folder.path)
        folder.drop()
        assert not folder.path.exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is not a Pod record"),
        (b"[" * 100_000, "is not a Pod record"),
        (b"{}", "is a Pod record of version 0"),
        (b'{"version": 2}', "is not a Pod record"),
        (b'{"version": "x"}', "is not a Pod record"),
        (b'{"version": 2, "name": 5}', "is not a Pod record"),
        (b"\xff", "is not a Pod record"),
    ],
)
def test_whatever_is_no_record_is_told(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "pod.json").write_bytes(text)
    with pytest.raises(Error, match=message) as caught:
        read_record(tmp_path / "pod.json")
    assert caught.value.hint


@pytest.mark.parametrize("spoil", ["link", "fifo", "folder"])
def test_what_is_no_file_of_ours_is_not_read(spoil: str, tmp_path: Path) -> None:
    path = tmp_path / "pod.json"
    (tmp_path / "other").write_text("{}")
    {"link": lambda: path.symlink_to("other"), "fifo": lambda: os.mkfifo(path), "folder": path.mkdir}[spoil]()
    with pytest.raises(Error, match="cannot be used"):
        read_record(path)


def test_where_there_is_no_record_it_is_said_what_to_do(tmp_path: Path) -> None:
    for path in (tmp_path / "pod.json", tmp_path / "none" / "pod.json"):
        with pytest.raises(Error, match="there is no Pod ") as caught:
            read_record(path)
        assert caught.value.hint == f"vmnet attach {path.parent.name} makes one"
