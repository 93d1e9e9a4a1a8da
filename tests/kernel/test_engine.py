"""The node's engine: what it is asked on its socket, and whatever becomes of it, or of who asked, meanwhile."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outside
import pytest

from nncp import netns
from nncp.journal import Journal
from nncp.operator.protocol import LONGEST
from tests.waiting import until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

BLOCKING = """#!/bin/sh
cd {folder}
[ -e looked ] || {{ touch looked; exit 0; }}
touch waiting
while [ ! -e go ]; do sleep 0.05; done
"""


def mtu(size: int, name: str = "one", **more: Any) -> dict[str, Any]:
    return {"name": name, "desired": {"interfaces": [{"name": "eth1", "mtu": size, **more}]}}


class Running:
    """An engine in a namespace, its socket, and its programs."""

    def __init__(self, ns: Namespace, folder: Path, path: Path) -> None:
        self.ns = ns
        self.folder = folder
        self.path = path
        self.process: subprocess.Popen[str] | None = None
        (folder / "probes.d").mkdir()

    def start(self, *options: str) -> Running:
        argv = ["--socket", str(self.path), "--state-dir", str(self.folder / "state"), *options]
        argv += ["--probes-dir", str(self.folder / "probes.d"), "--quiet", "0.1"]
        # Of one that was killed, a child may have the socket for another moment.
        before = self.log().count("answers")
        with (self.folder / "log").open("a") as log:
            self.process = self.ns.popen(
                sys.executable, "-m", "nncp.operator.engine", *argv, stdout=log, stderr=log
            )
        until(lambda: self.log().count("answers") > before, what=self.log)
        return self

    def is_there(self) -> bool:
        with contextlib.suppress(OSError), self.connected():
            return True
        return False

    def log(self) -> str:
        place = self.folder / "log"
        return place.read_text() if place.exists() else ""

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait()

    @contextlib.contextmanager
    def connected(self) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as line:
            line.connect(str(self.path))
            yield line

    def ask(self, ask: str, **request: Any) -> dict[str, Any]:
        with self.connected() as line:
            return self.answer(self.say(line, ask, **request))

    def say(self, line: socket.socket, ask: str, **request: Any) -> socket.socket:
        line.sendall(json.dumps({"ask": ask, **request}).encode() + b"\n")
        return line

    @staticmethod
    def answer(line: socket.socket) -> dict[str, Any]:
        with line.makefile("rb") as file:
            told: dict[str, Any] = json.loads(file.readline())
        return told

    def apply(self, attempt: str, document: dict[str, Any], probes: Any = ()) -> dict[str, Any]:
        return self.ask("apply", attempt=attempt, document=document, probes=list(probes))

    def outcome(self, attempt: str, name: str = "one", **more: Any) -> dict[str, Any]:
        return self.ask("outcome", attempt=attempt, name=name, **more)

    def blocking(self) -> str:
        """Return a probe that answers before a change, and after it once somebody lets it."""
        for name in ("looked", "waiting", "go"):
            (self.folder / name).unlink(missing_ok=True)
        program = self.folder / "probes.d" / "wait"
        program.write_text(BLOCKING.format(folder=self.folder))
        program.chmod(0o755)
        return "exec:wait"

    @contextlib.contextmanager
    def halfway(self, attempt: str, document: dict[str, Any]) -> Iterator[socket.socket]:
        """Yield the line on which an apply is asked for that has written, and is not kept yet."""
        with self.connected() as line:
            self.say(line, "apply", attempt=attempt, document=document, probes=[self.blocking()])
            until((self.folder / "waiting").exists, what=self.log)
            yield line

    def go(self) -> None:
        (self.folder / "go").touch()

    def mtu(self) -> int:
        (link,) = self.ns.json("ip", "-j", "link", "show", "eth1")
        return int(link["mtu"])

    def in_force(self) -> list[str]:
        with netns.entered(self.ns.path):
            journal = Journal(self.folder / "state")
            return [document.name for document in journal.applied().read(journal.held)]

    def job(self) -> int:
        """Return the id of the process that makes an attempt."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = children.read_text(encoding="ascii").split()
        return int(pid)


@pytest.fixture
def engine(ns: Namespace, tmp_path: Path, socket_folder: Path) -> Iterator[Running]:
    ns.batch("link add eth1 type veth peer name p1", "link set eth1 up", "link set p1 up")
    running = Running(ns, tmp_path, socket_folder / "engine")
    yield running.start()
    running.go()
    assert running.process is not None
    running.process.terminate()
    running.process.wait()
    assert "Traceback" not in running.log()


def test_an_attempt_is_made_once_and_its_outcome_known_to_whoever_asks_after_a_start(engine: Running) -> None:
    planned = engine.ask("plan", document=mtu(1400))
    assert (planned["differ"], planned["lines"][-1]) == (True, "Plan: 0 to add, 1 to change, 0 to remove.")
    assert engine.apply("a.0", mtu(1400))["phase"] == "done"
    assert engine.mtu() == 1400
    engine.ns.batch("link set eth1 mtu 1300")
    assert engine.apply("a.0", mtu(1400))["phase"] == "done"
    assert engine.mtu() == 1300
    engine.kill()
    engine.start()
    told = engine.outcome("a.0")
    assert (told["phase"], told["desired"]) == ("done", mtu(1400)["desired"])
    assert engine.outcome("a.1")["phase"] == "never"
    assert engine.apply("a.1", mtu(1400))["phase"] == "done"
    assert engine.mtu() == 1400


def test_what_already_is_so_is_put_in_force_and_nothing_is_written(engine: Running) -> None:
    before = engine.ns.settled()
    assert not engine.ask("plan", document=mtu(1500))["differ"]
    assert engine.in_force() == []
    told = engine.ask("plan", document=mtu(1500), adopt=True)
    assert (told["differ"], told["desired"]) == (False, mtu(1500)["desired"])
    assert engine.in_force() == ["one"]
    assert engine.ask("plan", document=mtu(1400, "two"), adopt=True)["differ"]
    assert engine.in_force() == ["one"]
    assert engine.ns.differs(before) == {}


def test_errors_name_their_place_in_the_policy_and_change_nothing(engine: Running) -> None:
    told = engine.ask(
        "plan", document={"name": "one", "desired": {"interfaces": [{"name": "eth1", "mtuu": 1}]}}
    )
    assert told == {"is": "refused", "error": "spec.desiredState.interfaces[0].mtuu: unknown key mtuu"}
    told = engine.apply("a.0", mtu(1400), ["exec:/bin/true"])
    assert (told["phase"], engine.mtu()) == ("failed", 1500)
    assert "only programs directly in" in told["error"]
    assert "no policy's name" in engine.apply("a.0", mtu(1400, "../x"))["error"]


def test_nothing_leads_back_from_what_was_refused_before_anything_was_applied(engine: Running) -> None:
    bad = {"name": "one", "desired": {"interfaces": [{"name": "eth666", "type": "ethernet", "state": "up"}]}}
    assert engine.ask("plan", document=bad, settled=True, adopt=True)["is"] == "refused"
    assert engine.ask("revert-plan", name="one") == {"is": "planned", "differ": False, "flaps": []}


def test_a_probe_that_fails_leads_back_and_is_not_tried_again(engine: Running) -> None:
    program = engine.folder / "probes.d" / "once"
    program.write_text(
        f"#!/bin/sh\n[ -e {engine.folder}/x ] && sleep 0.1 && exit 1\ntouch {engine.folder}/x\n"
    )
    program.chmod(0o755)
    failing = engine.folder / "probes.d" / "mtu"
    failing.write_text("#!/bin/sh\n[ $(cat /sys/class/net/eth1/mtu) = 1500 ] || kill -9 $PPID\n")
    failing.chmod(0o755)
    before = engine.ns.settled()
    told = engine.apply("a.0", mtu(1400), ["exec:mtu"])
    assert told["phase"] == "failed", engine.log()
    assert engine.ns.differs(before) == {}
    assert engine.apply("a.0", mtu(1400)) == engine.outcome("a.0")
    assert engine.mtu() == 1500
    assert engine.in_force() == []


def test_it_goes_on_when_who_asked_goes_away_and_answers_others_meanwhile(engine: Running) -> None:
    with engine.halfway("a.0", mtu(1400)):
        assert engine.outcome("a.0")["phase"] == "begun"
        assert not engine.ask("plan", document=mtu(1400))["differ"]
        assert engine.ask("show")["is"] == "shown"
    with engine.connected() as line, engine.connected() as other, engine.connected() as third:
        engine.say(third, "plan", document=mtu(1500), settled=True)
        engine.say(line, "apply", attempt="a.0", document=mtu(1400))
        engine.say(other, "outcome", attempt="a.0", name="one", wait=True)
        engine.go()
        assert [engine.answer(one)["phase"] for one in (line, other)] == ["done", "done"]
        assert engine.answer(third)["lines"][0].split() == ["~", "eth1", "mtu:", "1400", "→", "1500"]
    assert engine.log().count("a.0 of one begins") == 1


def test_killed_halfway_it_undoes_and_makes_the_attempt_when_it_is_asked_again(engine: Running) -> None:
    before = engine.ns.settled()
    with engine.halfway("a.0", mtu(1400)):
        assert engine.mtu() == 1400
        engine.kill()
    engine.start()
    told = engine.outcome("a.0")
    assert (told["phase"], told["tries"]) == ("cut", 1)
    assert engine.ask("plan", document=mtu(1400), adopt=True)["differ"]  # it waits for what is undone
    assert engine.ns.differs(before) == {}
    assert engine.apply("a.0", mtu(1400))["phase"] == "done"
    assert engine.ask("revert", name="one", attempt="r.0", probes=[])["phase"] == "done"
    assert engine.ns.differs(before) == {}


def test_an_attempt_that_ends_whoever_makes_it_is_given_up(engine: Running) -> None:
    for phase in ("cut", "cut", "failed"):
        with engine.halfway("a.0", mtu(1400)) as line:
            os.kill(engine.job(), signal.SIGKILL)
            assert engine.answer(line)["phase"] == phase
        until(lambda: engine.mtu() == 1500)
    assert "3 times" in engine.apply("a.0", mtu(1400))["error"]


@pytest.mark.parametrize(("grace", "phase", "size"), [("60", "done", 1400), ("0.1", "cut", 1500)])
def test_asked_to_end_it_lets_an_apply_end_or_undoes_it(
    engine: Running, grace: str, phase: str, size: int
) -> None:
    engine.kill()
    engine.start("--grace", grace)
    with engine.halfway("a.0", mtu(1400)):
        assert engine.process is not None
        engine.process.terminate()
        until(lambda: not engine.path.exists() or not engine.is_there())
        if phase == "done":
            engine.go()
        assert engine.process.wait() == 0, engine.log()
    assert engine.mtu() == size
    engine.start()
    assert engine.outcome("a.0")["phase"] == phase


def test_a_second_one_is_refused(engine: Running) -> None:
    argv = [sys.executable, "-m", "nncp.operator.engine", "--socket"]
    done = engine.ns.run(*argv, f"{engine.path}2", "--state-dir", str(engine.folder / "state"), check=False)
    assert (done.returncode, "another engine works in" in done.stderr) == (75, True)
    done = engine.ns.run(*argv, str(engine.path), "--state-dir", str(engine.folder / "other"), check=False)
    assert (done.returncode, "another engine answers at" in done.stderr) == (75, True)
    assert engine.ask("show")["is"] == "shown"


def test_a_group_may_open_it_that_is_named(engine: Running) -> None:
    engine.kill()
    engine.start("--group", "65532")
    found = engine.path.stat()
    assert (found.st_mode & 0o777, found.st_gid) == (0o660, 65532)


def test_nobody_who_connects_can_hurt_it(engine: Running) -> None:
    assert engine.path.stat().st_mode & 0o777 == 0o600
    for data in (
        b"\xff\x00{\n",
        b"[" * 100_000 + b"\n",
        b'{"ask":"plan"}\n',
        b'{"ask":"show","version":9}\n',
        b"\n",
    ):
        with engine.connected() as line:
            line.sendall(data)
            assert engine.answer(line)["is"] == "refused"
    with engine.connected() as line, contextlib.suppress(OSError):
        line.sendall(b"x" * (LONGEST + 2))
        assert "more than" in engine.answer(line)["error"]
    with contextlib.ExitStack() as stack:
        for n in range(200):
            line = stack.enter_context(engine.connected())
            line.sendall(b'{"ask":' if n % 2 else b'{"ask":"watch"}\n')
        deaf = stack.enter_context(engine.connected())
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        with contextlib.suppress(OSError):
            for _ in range(20):
                engine.say(deaf, "plan", document=mtu(1400))
        assert engine.ask("show")["is"] == "shown"
    assert engine.process is not None
    assert engine.process.poll() is None


def test_pods_that_come_and_go_are_not_seen_and_what_is_the_nodes_own_is_told(engine: Running) -> None:
    engine.ns.batch("link add br1 type bridge", "link set br1 up", "link set eth1 master br1")
    before = until(lambda: engine.ask("show"))["state"]
    pods = outside.make()
    try:
        for n in (1, 2):
            engine.ns.batch(
                f"link add veth0000000{n} type veth peer name eth0 netns {pods.name}",
                f"link set veth0000000{n} up",
            )
            pods.batch("link set eth0 name was", "link set was up")
            pods.batch("link set was down", f"link set was name e{n}")
        engine.ns.batch("link set veth00000001 master br1", "route add 10.9.8.7 dev veth00000002")
        assert engine.ask("show")["state"] == before
    finally:
        outside.remove(pods)
    with engine.connected() as line, line.makefile("rb") as lines:
        engine.say(line, "watch")
        assert json.loads(lines.readline()) == {"is": "changed"}
        engine.ns.batch("link set p1 mtu 1400")
        assert json.loads(lines.readline()) == {"is": "changed"}


def test_a_revert_leads_back_through_all_that_was_applied_but_for_what_others_ask_for(
    engine: Running,
) -> None:
    before = engine.ns.settled()
    first = mtu(1400)
    first["desired"]["interfaces"].append(_veth("v1", "w1"))
    assert engine.apply("a.0", first)["phase"] == "done", engine.log()
    second = mtu(1300, ipv4={"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]})
    second["desired"]["interfaces"] += [_veth("v2", "w2")]
    assert engine.apply("b.0", second)["phase"] == "done", engine.log()
    other = {"name": "two", "desired": {"interfaces": [{"name": "v1", "mtu": 1450}, _veth("v3", "w3")]}}
    assert engine.apply("c.0", other)["phase"] == "done", engine.log()
    planned = engine.ask("revert-plan", name="one")
    assert "v1 stays: two asks for it" in planned["lines"]
    assert engine.ask("revert", name="one", attempt="r.0", probes=[])["phase"] == "done", engine.log()
    assert engine.in_force() == ["two"]
    assert {link["ifname"] for link in engine.ns.json("ip", "-j", "link")} == {
        *("lo", "eth1", "p1", "v1", "w1", "v3", "w3")
    }
    assert engine.ask("revert", name="two", attempt="r.1", probes=[])["phase"] == "done"
    engine.ns.batch("link del v1")
    assert engine.ns.differs(before) == {}
    told = engine.ask("revert-plan", name="one")
    assert (
        told["error"] == "what was before policy one is not known on this node, so it cannot be reverted here"
    )


def _veth(name: str, peer: str) -> dict[str, Any]:
    return {"name": name, "type": "veth", "state": "up", "veth": {"peer": peer}}


def test_what_captures_took_stays(engine: Running) -> None:
    document = {
        "name": "one",
        "capture": {"big": "interfaces.mtu == 1500"},
        "desired": {"interfaces": [{"name": "{{ capture.big.interfaces.0.name }}", "mtu": 1400}]},
    }
    told = engine.apply("a.0", document)
    assert told["phase"] == "done", engine.log()
    name = told["desired"]["interfaces"][0]["name"]
    assert next(one["name"] for one in told["taken"]["big"]["interfaces"]) == name
    again = engine.ask("plan", document=document)
    assert not again["differ"]
    assert again["taken"] == told["taken"]
    assert engine.outcome("a.0")["taken"] == told["taken"]
