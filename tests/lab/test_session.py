"""A kernel that stays, and commands in it from here and from elsewhere."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp import lab
from nncp.errors import Error
from tests.waiting import until

if TYPE_CHECKING:
    from tests.lab.conftest import Nothing, Processes


def test_the_kernel_lacks_nothing(session: lab.Session) -> None:
    code = "from nncp import lab; print(*lab.missing())"
    found = session.output([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": _root()})
    assert (found.status, found.stdout.strip(), found.stderr) == (0, "", "")


def test_the_process_knows_where_it_is(session: lab.Session) -> None:
    code = "from nncp import lab; print(lab.inside())"
    assert (
        session.output([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": _root()}).stdout
        == "True\n"
    )
    assert not lab.inside()


def test_a_new_namespace_has_no_fallback_tunnels(session: lab.Session) -> None:
    assert session.output(["unshare", "-n", "ip", "-br", "link"]).stdout.split()[::4] == ["lo"]


def test_setns_into_a_mount_namespace_sees_the_view(session: lab.Session) -> None:
    done = session.output(
        ["nsenter", "--target", "1", "--mount", "sh", "-c", "touch /root/seen && ls /proc/1/comm"]
    )
    assert done.status == 0, done.stderr


def test_much_goes_through_in_both_directions(session: lab.Session, tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "in").write_bytes(data)
    got = bytearray()
    with (tmp_path / "in").open("rb") as file:
        assert session.run(["cat"], stdin=file, stdout=got.extend) == 0
    assert bytes(got) == data


def test_a_command_that_nobody_reads_from_does_not_hold_up_another(session: lab.Session) -> None:
    held, go = threading.Event(), threading.Event()

    def wait(_data: bytes) -> None:
        held.set()
        go.wait()

    thread = threading.Thread(
        target=session.run, args=(["sh", "-c", "yes | head -c 2000000"],), kwargs={"stdout": wait}
    )
    thread.start()
    try:
        until(held.is_set)
        assert session.output(["echo", "free"]).stdout == "free\n"
    finally:
        go.set()
        thread.join()


def test_many_commands_run_at_the_same_time(session: lab.Session) -> None:
    """Each waits for all the others: one after another they would not end."""
    meet = "mkdir -p /run/meet; touch /run/meet/$0; until [ $(ls /run/meet | wc -l) = 8 ]; do sleep 0.05; done; echo $0"
    done: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: done.append(session.output(["sh", "-c", meet, str(n)]).stdout))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(done) == len(threads), what=lambda: done)
    assert sorted(done) == [f"{n}\n" for n in range(8)]


def test_a_daemon_that_a_command_leaves_does_not_hold_it_up(session: lab.Session) -> None:
    assert session.output(["sh", "-c", "sleep 60 & echo started"]).stdout == "started\n"


def test_what_takes_too_long_is_killed(session: lab.Session) -> None:
    with pytest.raises(Error, match="took too long"):
        session.run(["sleep", "77"], timeout=0.3)
    until(lambda: session.output(["pgrep", "-f", "sleep 77"]).stdout == "")


def test_another_process_attaches(session: lab.Session) -> None:
    code = f"import sys; from nncp import lab; sys.exit(lab.attach({str(session.folder)!r}).run(['sh','-c','exit 9']))"
    code = code.replace("attach(", "attach(__import__('pathlib').Path(").replace(").run", ")).run")
    env = {**os.environ, "PYTHONPATH": _root()}
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 9


def test_a_client_that_is_killed_takes_its_command_along(session: lab.Session) -> None:
    code = "import sys, pathlib; from nncp import lab; lab.attach(pathlib.Path(sys.argv[1])).run(['sleep', '88'])"
    env = {**os.environ, "PYTHONPATH": _root()}
    with subprocess.Popen([sys.executable, "-c", code, str(session.folder)], env=env) as client:
        until(lambda: session.output(["pgrep", "-f", "sleep 88"]).stdout != "")
        client.kill()
    until(lambda: session.output(["pgrep", "-f", "sleep 88"]).stdout == "")


def test_there_is_no_second_kernel_in_a_folder(session: lab.Session) -> None:
    with pytest.raises(Error, match="already runs"):
        lab.start(folder=session.folder)
    assert session.alive()


def test_nothing_to_attach_to_is_said(tmp_path: Path) -> None:
    with pytest.raises(Error, match="no lab kernel runs in"):
        lab.attach(tmp_path / "nothing")


def test_a_detached_kernel_outlives_its_starter_until_it_is_stopped(
    environment: dict[str, str], nothing_left: Nothing
) -> None:
    folder = Path(environment["TMPDIR"]) / "detached"
    _start_detached(folder, environment, lifetime=600)
    found = lab.attach(folder)
    assert found.output(["uname", "-s"]).stdout == "Linux\n"
    found.stop()
    nothing_left()


def test_a_lifetime_ends_a_kernel(environment: dict[str, str], nothing_left: Nothing) -> None:
    _start_detached(Path(environment["TMPDIR"]) / "short", environment, lifetime=1)
    nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_keeper_that_is_killed_leaves_nothing(
    environment: dict[str, str], processes: Processes, nothing_left: Nothing, number: signal.Signals
) -> None:
    _start_detached(Path(environment["TMPDIR"]) / "kept", environment, lifetime=600)
    keeper = min(pid for pid, what in processes().items() if "nncp.lab.keeper" in what)
    os.kill(keeper, number)
    nothing_left()


def test_files_written_through_are_on_the_host_when_the_command_has_ended(tmp_path: Path) -> None:
    with lab.start(memory="256M", writable=[tmp_path]) as running:
        running.run(["sh", "-c", f"echo now > {tmp_path}/file; mkdir {tmp_path}/folder"])
        assert (tmp_path / "file").read_text() == "now\n"
        assert (tmp_path / "folder").is_dir()


def test_two_kernels_have_a_cpu_each() -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("there is one CPU")
    with lab.start(memory="256M", name="one") as one, lab.start(memory="256M", name="two") as two:
        cpus = [os.sched_getaffinity(int((each.folder / "uml" / "pid").read_text())) for each in (one, two)]
        assert [len(each) for each in cpus] == [1, 1]
        names = [each.output(["hostname"]).stdout for each in (one, two)]
        assert names == ["one\n", "two\n"]


def test_streams_may_be_files(session: lab.Session, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("w") as err:
        session.run(["sh", "-c", "echo o; echo e >&2"], stdout=out, stderr=err)
    assert (tmp_path / "out").read_text() == "o\n"
    assert (tmp_path / "err").read_text() == "e\n"
    with pytest.raises(io.UnsupportedOperation):
        session.run(["true"], stdout=io.BytesIO())


def _start_detached(folder: Path, environment: dict[str, str], *, lifetime: float) -> None:
    code = (
        "import sys, pathlib; from nncp import lab;"
        "lab.start(folder=pathlib.Path(sys.argv[1]), memory='256M', lifetime=float(sys.argv[2]), detached=True)"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), str(lifetime)], env=environment, check=True)


def _root() -> str:
    return str(Path(__file__).parents[2])
