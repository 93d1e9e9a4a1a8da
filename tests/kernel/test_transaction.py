"""What stands behind an apply: its supervisor, its fence, and a rollback that goes on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deadly
import pytest

from nncp import Row, apply_rows, netns
from nncp.gone import sweep
from nncp.journal import VERSION, Journal
from tests.waiting import is_gone, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

PROGRAM = Path(__file__).with_name("applies.py")
WAYS = ["plainly", "with 5,000 open descriptors", "in a thread", "under multiprocessing"]
FOR_EVER = "1000"
NEVER_HELD = {"name": "eth1", "mtu": 1400, "ipv4": {"enabled": False}}


@pytest.fixture
def eth1(ns: Namespace) -> dict[str, Any]:
    """Return what is seen of a namespace with one card, two addresses and a route."""
    ns.batch(
        "link add eth1 type veth peer name p1",
        "link set p1 up",
        "link set eth1 up",
        "addr add 192.0.2.1/24 dev eth1",
        "addr add 198.51.100.1/24 dev eth1",
        "route add 203.0.113.0/24 via 192.0.2.254",
    )
    return ns.settled()


@contextlib.contextmanager
def applying(
    ns: Namespace, state_dir: Path, way: str = "plainly", *, silence: str = FOR_EVER, stops: str = "stops"
) -> Iterator[subprocess.Popen[str]]:
    """Start the program; in the end let go on and end what is left of it."""
    process = ns.popen(sys.executable, str(PROGRAM), str(state_dir), silence, way, stops)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def stopped(process: subprocess.Popen[str]) -> tuple[int, int]:
    """Return the one who writes and the one for whom, once the first has stopped."""
    assert process.stdout is not None
    words = process.stdout.readline().split()
    assert words[:1] == ["stopped"], words
    writer = int(words[1])
    until(lambda: " T " in Path(f"/proc/{writer}/stat").read_text(), what="the writer stops")
    return writer, int(words[3])


def supervisor_of(state_dir: Path) -> int:
    """Return the process that watches over the apply with this state folder."""

    def found() -> list[int]:
        told = {}
        for process in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                told[int(process.name)] = (process / "cmdline").read_bytes().split(b"\0")
        return [
            pid
            for pid, words in told.items()
            if os.fsencode(state_dir) in words and any(word.endswith(b"/supervisor.py") for word in words)
        ]

    (pid,) = until(found, what="the supervisor is there")
    return int(pid)


def nncp(ns: Namespace, *argv: str, document: Any = None, code: int = 0) -> str:
    text = json.dumps(document) if document is not None else None
    done = ns.nncp(*argv, stdin=text)
    assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def finished(ns: Namespace, state_dir: Path) -> None:
    with netns.entered(ns.path):
        deadly.await_supervisor(state_dir)


@pytest.mark.parametrize("way", WAYS)
def test_an_apply_is_supervised_however_the_library_is_called(
    way: str, ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    with applying(ns, tmp_path, way) as process:
        _, caller = stopped(process)
        watcher = supervisor_of(tmp_path)
        held = {fd.name: fd.readlink() for fd in Path(f"/proc/{watcher}/fd").iterdir()}
        its_own = [str(path) for path in held.values() if "pidfd" in str(path) or str(path) == os.devnull]
        of_parent = sorted(str(path).split(":")[0] for path in held.values() if str(path) not in its_own)
        (journal,) = (path for path in (tmp_path / "journals").iterdir() if path.is_dir())
        assert sorted(path.rpartition("/")[2] for path in of_parent) == sorted(
            [journal.name, "lock", "socket"]
        )
        assert len(its_own) == 5  # nothing on 0, 1 and 2; the caller and the writer
        os.kill(caller, signal.SIGKILL)
        finished(ns, tmp_path)
        until(lambda: is_gone(watcher), what="the supervisor ends")
        assert ns.differs(eth1) == {}


@pytest.mark.parametrize("way", WAYS)
def test_an_apply_holds_however_the_library_is_called(
    way: str, ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    with applying(ns, tmp_path, way, stops="") as process:
        assert (process.communicate()[0], process.returncode) == ("", 0)
    (link,) = ns.json("ip", "-j", "addr", "show", "eth1")
    assert link["mtu"] == 1400
    assert link["addr_info"] == []
    nncp(ns, "rollback", "--state-dir", str(tmp_path))
    assert ns.differs(eth1) == {}


def test_a_writer_that_stands_still_writes_nothing_after_the_rollback(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    with applying(ns, tmp_path, silence="0.5") as process:
        writer, _ = stopped(process)
        told, _ = process.communicate()
        assert process.returncode == 75
        assert "stood still" in told
        with contextlib.suppress(ProcessLookupError):
            os.kill(writer, signal.SIGCONT)
        assert is_gone(writer)
        assert ns.differs(eth1) == {}


def test_a_writer_and_its_caller_that_both_stood_still_go_on_to_hear_that_it_was_undone(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    with applying(ns, tmp_path, silence="0.5") as process:
        writer, caller = stopped(process)
        os.kill(caller, signal.SIGSTOP)
        watcher = supervisor_of(tmp_path)
        until(lambda: is_gone(watcher), what="the supervisor has undone")
        assert ns.differs(eth1) == {}
        os.kill(caller, signal.SIGCONT)
        assert "stood still" in process.communicate()[0]
        assert process.returncode == 75
        assert is_gone(writer)
        assert ns.differs(eth1) == {}


def test_where_the_supervisor_was_killed_the_caller_undoes(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    with applying(ns, tmp_path) as process:
        writer, _ = stopped(process)
        os.kill(supervisor_of(tmp_path), signal.SIGKILL)
        os.kill(writer, signal.SIGKILL)
        assert "what had been written is undone" in process.communicate()[0]
        assert process.returncode == 75
        assert ns.differs(eth1) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.usefixtures("eth1")
@pytest.mark.parametrize("everybody", [False, True], ids=["the command", "all its processes"])
def test_a_signal_ends_an_apply_with_130_after_the_rollback(
    number: signal.Signals, *, everybody: bool, ns: Namespace, tmp_path: Path
) -> None:
    """The document wants a source address that no carrier will ever let be checked, and waits for it."""
    ns.batch(
        *(f"link set {name} down" for name in ("eth1", "p1")),
        "sysctl -qw net.ipv6.conf.eth1.accept_dad=1 net.ipv6.conf.eth1.dad_transmits=1",
        "link set eth1 up",
    )
    before = ns.settled()
    address = {"ip": "2001:db8::1", "prefix-length": 64}
    route = {"destination": "2001:db8:1::/48", "next-hop-interface": "eth1", "source": "2001:db8::1"}
    document = {
        "interfaces": [{"name": "eth1", "mtu": 1400, "ipv6": {"enabled": True, "address": [address]}}],
        "routes": {"config": [route]},
    }
    argv = ["ip", "netns", "exec", ns.name, sys.executable, "-m", "nncp", "apply", "-"]
    process = subprocess.Popen(
        [*argv, "--state-dir", str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(json.dumps(document))
    process.stdin.close()
    until(lambda: "mtu 1400" in ns.run("ip", "link", "show", "eth1").stdout, what="it writes")
    (os.killpg if everybody else os.kill)(process.pid, number)
    assert process.stdout is not None
    told = process.stdout.read()
    assert process.wait() == 130, told
    assert number.name in told
    assert ns.differs(before) == {}


def test_a_killed_rollback_is_finished_before_the_next_apply(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    document = {"interfaces": [{"name": "eth1", "mtu": 1400, "ipv4": {"enabled": False}}]}
    nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document=document)
    assert deadly.rolled_back(ns, tmp_path, killed_after=2) == -signal.SIGKILL
    assert ns.view()["addr"]["eth1"] != eth1["addr"]["eth1"]
    nncp(
        ns, "apply", "-", "--state-dir", str(tmp_path), document={"interfaces": [{"name": "p1", "mtu": 1300}]}
    )
    assert ns.view()["addr"]["eth1"] == eth1["addr"]["eth1"]
    assert ns.view()["link"]["p1"]["mtu"] == 1300
    nncp(ns, "rollback", "--state-dir", str(tmp_path))
    assert ns.differs(eth1) == {}


def test_what_a_rollback_cannot_restore_stops_nothing_else_and_is_told(ns: Namespace, tmp_path: Path) -> None:
    """A stranger removes the addresses that two routes have as their source."""
    ns.batch(
        *(f"link add eth{n} type veth peer name p{n}" for n in (1, 2)),
        *(f"link set {name}{n} up" for n in (1, 2) for name in ("p", "eth")),
        "addr add 192.0.2.71/32 dev eth2",
        "addr add 192.0.2.72/32 dev eth2",
    )
    lines = [f"addr add 10.{n // 250}.{n % 250 + 1}.1/24 dev eth1" for n in range(500)]
    lines += [f"route add 198.51.100.{n}/32 dev eth1 src 192.0.2.{n}" for n in (71, 72)]
    lines += [f"route add 198.51.100.{n}/32 dev eth1" for n in range(100, 110)]
    ns.run("ip", "-batch", "-", stdin="\n".join(lines))
    before = ns.settled()
    nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document={"interfaces": [NEVER_HELD]})
    ns.batch("addr del 192.0.2.71/32 dev eth2", "addr del 192.0.2.72/32 dev eth2")
    told = nncp(ns, "rollback", "--state-dir", str(tmp_path), code=76)
    assert "2 differences are left" in told
    for n in (71, 72):
        assert f"198.51.100.{n}/32" in told
    ns.batch("addr add 192.0.2.71/32 dev eth2", "addr add 192.0.2.72/32 dev eth2")
    now = ns.view()
    assert now["addr"]["eth1"] == before["addr"]["eth1"]
    left = [route["dst"] for route in before["route"] if route not in now["route"]]
    assert left == ["198.51.100.71", "198.51.100.72"]
    nncp(ns, "rollback", "--state-dir", str(tmp_path))
    assert ns.differs(before) == {}


def test_journals_are_removed_after_their_namespace(ns: Namespace, beyond: Namespace, tmp_path: Path) -> None:
    gone, kept = [], []
    for namespace in (ns, beyond):
        namespace.batch("link add eth1 type veth peer name p1")
        nncp(namespace, "apply", "-", "--state-dir", str(tmp_path), document={"interfaces": [NEVER_HELD]})
        with netns.entered(namespace.path):
            (gone if namespace is ns else kept).append(Journal(tmp_path).path)
    subprocess.run(["ip", "netns", "del", ns.name], check=True)
    until(lambda: swept(beyond, tmp_path) and not gone[0].exists(), what="the journal is removed")
    assert kept[0].exists()
    nncp(beyond, "rollback", "--state-dir", str(tmp_path))


def swept(namespace: Namespace, state_dir: Path) -> bool:
    with netns.entered(namespace.path):
        sweep(Journal(state_dir), every=0)
    return True


def test_the_journal_of_a_namespace_that_somebody_holds_stays(
    ns: Namespace, beyond: Namespace, tmp_path: Path
) -> None:
    ns.batch("link add eth1 type veth peer name p1")
    nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document={"interfaces": [NEVER_HELD]})
    with netns.entered(ns.path):
        path = Journal(tmp_path).path
    with ns.popen("cat") as process:
        assert process.stdin is not None
        until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "cat\n", what="it runs")
        subprocess.run(["ip", "netns", "del", ns.name], check=True)
        swept(beyond, tmp_path)
        assert path.exists()


def _other_version(path: Path) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 999}))


def _nonsense(*rows: Any) -> Callable[[Path], None]:
    return lambda path: path.write_text(json.dumps({"version": VERSION, "before": rows})) and None


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    (path / "in" / "it").mkdir(parents=True)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        pytest.param(_other_version, "version 999", id="another version"),
        pytest.param(_fifo, "it is not a file", id="a FIFO"),
        pytest.param(_folder, "it is not a file", id="a folder"),
        pytest.param(_nonsense({"key": ["link"]}), "a row has no name", id="a key too short"),
        pytest.param(_nonsense({"key": ["rule", "1"]}), "nothing leads back to", id="an unknown table"),
        pytest.param(
            _nonsense({"key": ["link", "eth1"], "attrs": {"mtu": [1]}}),
            "nothing leads back to",
            id="an odd row",
        ),
        pytest.param(
            _nonsense({"key": ["link", "eth1"], "attrs": {"alias": "DEEP"}}), "cannot be read", id="too deep"
        ),
    ],
)
def test_a_damaged_journal_is_told_and_can_be_dropped(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    folder = ("--state-dir", str(tmp_path))
    nncp(ns, "apply", "-", *folder, document={"interfaces": [{"name": "eth1", "mtu": 1400}]})
    with netns.entered(ns.path):
        path = Journal(tmp_path).path / "kept-1.json"
    damage(path)
    if path.is_file():
        path.write_text(path.read_text().replace('"DEEP"', 2000 * "[" + 2000 * "]"))
    assert told in nncp(ns, "rollback", *folder, code=75 if "file" in told else 76)
    assert "given up" in nncp(ns, "rollback", "--forget", *folder)
    assert nncp(ns, "rollback", *folder) == "There is nothing to undo.\n"
    assert ns.view()["link"]["eth1"]["mtu"] == 1400


def test_a_rollback_that_cannot_be_noted_says_that_all_is_as_it_was(
    ns: Namespace, eth1: dict[str, Any], tmp_path: Path
) -> None:
    folder = ("--state-dir", str(tmp_path))
    bridge = {"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}}
    nncp(ns, "apply", "-", *folder, document={"interfaces": [bridge]})
    with netns.entered(ns.path):
        listed = Journal(tmp_path).path / "listed.json"
    listed.unlink()
    (listed / "in" / "it").mkdir(parents=True)
    told = nncp(ns, "rollback", *folder, code=75)
    assert "the state before is restored, and that could not be noted" in told
    assert str(listed) in told
    assert ns.differs(eth1) == {}
    for part in (listed / "in" / "it", listed / "in", listed):
        part.rmdir()
    assert nncp(ns, "rollback", *folder).startswith("No changes.\nApply 1 (")
    assert nncp(ns, "rollback", *folder) == "There is nothing to undo.\n"


@pytest.mark.parametrize("supervisor_too", [False, True])
@pytest.mark.parametrize("writes", [1, 2])
def test_what_nobody_wants_back_stays_away_when_its_removal_is_cut_short(
    host: Namespace, tmp_path: Path, writes: int, supervisor_too: bool
) -> None:
    host.batch("link add br1 type bridge vlan_filtering 1", "link set eth1 master br1", "link set br1 up")
    veth, dummy = Row(("link", "eth1"), absent=True, final=True), Row(("link", "d0"), {"type": "dummy"})

    def cut_short() -> None:
        deadly.dies_after(writes, supervisor_too=supervisor_too)
        apply_rows([veth, dummy], state_dir=tmp_path)

    assert deadly.in_child(host, cut_short) < 0
    finished(host, tmp_path)
    if not supervisor_too:
        assert "eth1" not in host.view()["link"], "it was the first to go"
    with netns.entered(host.path):
        apply_rows([veth], state_dir=tmp_path)
        assert not Journal(tmp_path).is_pending()
    links = host.view()["link"]
    assert "br1" in links
    assert {"eth1", "d0"}.isdisjoint(links)
