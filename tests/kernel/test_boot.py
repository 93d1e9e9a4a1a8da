"""What was applied comes back after a start: in a new namespace, with the switch's links down in between."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from deadly import await_supervisor
from machine import Machine, dummy, manifest, policy, started

from nncp import gone, netns
from nncp.applied import scope_of
from nncp.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

UPLINK = {
    "capture": {
        "way-out": 'routes.running.destination == "0.0.0.0/0"',
        "uplink": "interfaces.name == capture.way-out.routes.running.0.next-hop-interface",
        "moved": "capture.way-out | routes.running.next-hop-interface := br1",
    },
    "desiredState": {
        "interfaces": [
            {
                "name": "br1",
                "type": "linux-bridge",
                "state": "up",
                "ipv4": "{{ capture.uplink.interfaces.0.ipv4 }}",
                "bridge": {"port": [{"name": "{{ capture.uplink.interfaces.0.name }}", "vlan": {}}]},
            }
        ],
        "routes": {"config": "{{ capture.moved.routes.running }}"},
    },
}


def test_after_a_power_cycle_all_is_as_it_was_and_captures_mean_what_they_meant(
    machine: Machine, tmp_path: Path
) -> None:
    machine.ns.batch("address add 192.0.2.5/24 dev eth2", "route add default via 192.0.2.1")
    machine.nncp("apply", "-", document=manifest("uplink", UPLINK))
    machine.nncp("apply", "-", document=policy("more", dummy("d0", mtu=1400)))
    before = machine.shown()
    said = started(machine, tmp_path)
    assert [line.partition(":")[0] for line in said.splitlines()] == ["uplink", "more"]
    assert machine.shown() == before
    again = started(machine, tmp_path)
    assert "uplink: Plan: " in again, "what was brought back is brought back the next time too"
    assert machine.nncp("restore") == "uplink: No changes.\nmore: No changes.\n"


def test_a_policy_that_is_applied_again_keeps_what_its_captures_took(machine: Machine) -> None:
    machine.ns.batch("address add 192.0.2.5/24 dev eth2", "route add default via 192.0.2.1")
    document = manifest("uplink", UPLINK)
    machine.nncp("apply", "-", document=document)
    for verb in ("plan", "apply", "diff"):
        said = machine.nncp(verb, "-", document=document)
        assert said.endswith("No changes.\n" if verb != "diff" else "")
        assert "+" not in said
    other = json.loads(json.dumps(document).replace("0.0.0.0/0", "::/0"))
    assert "no route fulfils this" in machine.nncp("plan", "-", document=other, code=65)
    machine.nncp("forget", "uplink")
    assert "br1" in machine.nncp("plan", "-", document=document, code=65), "it is captured anew"


def test_what_is_compared_with_this_host_keeps_what_captures_took_too(machine: Machine) -> None:
    machine.ns.batch("address add 192.0.2.5/24 dev eth2", "route add default via 192.0.2.1")
    document = json.loads(json.dumps(UPLINK).replace(', "vlan": {}', ""))
    commands = (("diff", "-o", "yaml"), ("revert",), ("policy",))
    machine.nncp("apply", "-", document=document)
    for verb, *options in commands:
        said = machine.nncp(verb, "-", *options, document=document)
        assert said == "{}\n" or (verb == "revert" and "absent" not in said), said
    other = json.loads(json.dumps(document).replace("0.0.0.0/0", "::/0"))
    for verb, *options in commands:
        said = machine.nncp(verb, "-", *options, document=other, code=65)
        assert "no route fulfils this" in said, verb


def test_documents_of_one_name_follow_each_other_and_those_forgotten_do_not_come_back(
    machine: Machine, tmp_path: Path
) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0", mtu=1400)))
    machine.nncp("apply", "-", document=policy("b", dummy("d1")))
    machine.nncp("apply", "-", document=policy("a", dummy("d2")))
    assert machine.in_force() == ["b", "a"]
    machine.nncp("forget", "b")
    assert "no document nothing was applied here" in machine.nncp("forget", "nothing", code=64)
    started(machine, tmp_path)
    names = machine.names()
    assert {"d0", "d1"}.isdisjoint(names)
    assert "d2" in names


def test_a_rollback_brings_back_into_force_what_was(machine: Machine) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0")))
    machine.nncp("apply", "-", document=policy("a", dummy("d1")))
    machine.nncp("rollback")
    (file,) = machine.state_dir.glob("applied/*/documents.json")
    (document,) = json.loads(file.read_text())["documents"]
    assert document["state"]["interfaces"][0]["name"] == "d0"


def test_a_document_that_is_refused_is_not_in_force(machine: Machine) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0")))
    machine.nncp("apply", "-", document=policy("b", dummy("d1", mtu="wide")), code=65)
    assert machine.in_force() == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from nncp import work
from nncp.state_folder import StateFolder
left, rename, caller = int(sys.argv[1]), StateFolder.rename, os.getpid()
def counted(self, old, new):
    global left
    rename(self, old, new)
    left -= os.getpid() == caller
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
StateFolder.rename = counted
work.apply(work.documents([("d.yaml", sys.stdin.read())]), state_dir=Path(sys.argv[2]))
"""


def test_whoever_is_killed_at_any_step_leaves_in_force_what_holds(machine: Machine) -> None:
    kept = []
    for steps in itertools.count(1):
        argv = (sys.executable, "-c", KILLED, str(steps), str(machine.state_dir))
        done = machine.ns.run(*argv, check=False, stdin=json.dumps(policy("a", dummy("d0"))))
        with netns.entered(machine.ns.path):
            await_supervisor(machine.state_dir)
        said = machine.nncp("restore")
        kept.append("d0" in machine.names())
        assert said == ("a: No changes.\n" if kept[-1] else "Nothing was applied here.\n")
        if kept[-1]:
            machine.nncp("rollback")
        assert "d0" not in machine.names()
        assert machine.nncp("restore") == "Nothing was applied here.\n"
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert len(kept) > 4, (
        "what will be in force, the journal, what was listed, that it holds, what is in force"
    )
    assert kept == sorted(kept), "from one step on it holds"


@pytest.mark.parametrize("verb", [("rollback", "--forget"), ("forget", "a")])
def test_whoever_is_killed_once_it_holds_has_its_document_forgotten_only_by_its_name(
    machine: Machine, verb: tuple[str, ...]
) -> None:
    for steps in itertools.count(1):
        argv = (sys.executable, "-c", KILLED, str(steps), str(machine.state_dir))
        machine.ns.run(*argv, check=False, stdin=json.dumps(policy("a", dummy("d0"))))
        with netns.entered(machine.ns.path):
            await_supervisor(machine.state_dir)
        if "d0" in machine.names():
            break
    assert machine.nncp("history").count(" a\n") == 1
    machine.nncp(*verb)
    assert machine.in_force() == ([] if verb[0] == "forget" else ["a"])


def test_what_stops_it_once_it_holds_comes_too_late(machine: Machine) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from nncp import engine, work
engine.sweep = lambda _: os.kill(os.getpid(), signal.SIGINT)
work.apply(work.documents([("d.yaml", sys.stdin.read())]), state_dir=Path(sys.argv[1]))
"""
    argv = (sys.executable, "-c", script, str(machine.state_dir))
    done = machine.ns.run(*argv, check=False, stdin=json.dumps(policy("a", dummy("d0"))))
    assert (done.returncode, done.stderr) == (0, "")
    assert machine.in_force() == ["a"]
    assert "d0" in machine.names()


def test_documents_that_need_each_other_come_back_whatever_was_applied_last(
    machine: Machine, tmp_path: Path
) -> None:
    mac = {"mac-address": "52:54:00:00:0d:01"}
    below = policy("below", dummy("d0", mtu=1400, **mac))
    above = policy(
        "above", {"name": "d0.7", "type": "vlan", "state": "up", "vlan": {"base-iface": "d0", "id": 7}}
    )
    machine.nncp("apply", "-", document=below)
    machine.nncp("apply", "-", document=above)
    machine.nncp("apply", "-", document=policy("below", dummy("d0", mtu=1300, **mac)))
    assert machine.in_force() == ["above", "below"]
    before = machine.shown()
    said = started(machine, tmp_path)
    assert machine.shown() == before
    assert [line.partition(":")[0] for line in said.splitlines()] == ["above", "below"]


def test_what_was_brought_back_can_be_undone_and_does_not_come_back_then(
    machine: Machine, tmp_path: Path
) -> None:
    for name in "ab":
        machine.nncp("apply", "-", document=policy(name, dummy(f"d{name}")))
    started(machine, tmp_path)
    machine.nncp("rollback")
    assert machine.in_force() == ["a"]
    assert "db" not in machine.names()
    assert "da" in machine.names()


def test_a_containers_own_namespace_is_not_the_hosts_though_its_process_1_is_in_it(
    machine: Machine, tmp_path: Path
) -> None:
    argv = (sys.executable, "-m", "nncp", "apply", "-", "--state-dir", str(tmp_path / "shared"))
    done = machine.ns.run(
        "unshare", "--pid", "--fork", "--mount-proc", *argv, stdin=json.dumps(policy("a", dummy("d0")))
    )
    assert done.returncode == 0
    (scope,) = (tmp_path / "shared" / "applied").iterdir()
    assert scope.name != "host"


def test_the_hosts_namespace_is_the_hosts(tmp_path: Path) -> None:
    """Read alone: nothing is applied to it."""
    assert scope_of("another") == "host"


def test_documents_of_a_namespace_that_has_just_gone_stay_however_old_they_are(machine: Machine) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0")))
    (file,) = machine.state_dir.glob("applied/*/documents.json")
    file.write_text(file.read_text().replace('"at":', '"at":1.0,"was":'))
    machine.off()
    machine.on()
    with netns.entered(machine.ns.path):
        journal = Journal(machine.state_dir)
        with journal.locked(patience=10):
            gone.sweep(journal, every=0.0)
            assert file.exists()
            gone.sweep(journal, every=0.0)
            assert not file.exists()


def test_a_card_that_comes_late_is_waited_for(machine: Machine, tmp_path: Path) -> None:
    eth3 = {"name": "eth3", "type": "ethernet", "state": "up", "mtu": 1400}
    machine.nncp("apply", "-", document=policy("a", eth3))
    machine.off()
    machine.on(1)
    command = [sys.executable, "-m", "nncp", "restore", "--state-dir", str(machine.state_dir)]
    process = machine.ns.popen(*command)
    time.sleep(1)
    assert process.poll() is None
    machine.plug(3)
    assert process.wait() == 0
    (link,) = machine.ns.json("ip", "-j", "link", "show", "eth3")
    assert link["mtu"] == 1400


def test_an_interrupted_apply_is_undone_before_anything_is_brought_back(machine: Machine) -> None:
    for name in "ab":
        machine.nncp("apply", "-", document=policy(name, dummy(f"d{name}")))
    (journal,) = (path for path in machine.state_dir.glob("journals/*") if path.is_dir())
    (journal / "kept-2.json").rename(journal / "pending.json")
    assert machine.nncp("restore") == "a: No changes.\n"
    names = machine.names()
    assert "da" in names
    assert "db" not in names
    assert not (journal / "pending.json").exists()


def test_documents_of_another_version_are_refused_by_name_and_nothing_is_written(machine: Machine) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0")))
    (file,) = machine.state_dir.glob("applied/*/documents.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 0}))
    said = machine.nncp("apply", "-", document=policy("b", dummy("d1")), code=69)
    assert "is of version 0, and this nncp reads version 1" in said
    assert "d1" not in machine.names()


def test_on_a_full_disk_nothing_is_applied(machine: Machine, tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    script = (
        f"mount -t tmpfs -o size=64k full {full} && head -c 1M /dev/zero > {full}/f;"
        f" {sys.executable} -m nncp apply - --state-dir {full}/state"
    )
    done = machine.ns.run(
        "unshare", "--mount", "sh", "-c", script, check=False, stdin=json.dumps(policy("a", dummy("d0")))
    )
    assert done.returncode == 75, done.stderr
    assert "No space left on device" in done.stderr
    assert "d0" not in machine.names()


def test_another_namespaces_documents_stay_its_own_while_it_lives(machine: Machine, host: Namespace) -> None:
    machine.nncp("apply", "-", document=policy("a", dummy("d0")))
    done = host.nncp("restore", "--state-dir", str(machine.state_dir))
    assert done.stdout == "Nothing was applied here.\n"


def test_the_unit_is_put_down_where_it_is_wanted_and_taken_away_again(tmp_path: Path) -> None:
    def unit(*more: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "nncp", "install-unit", "--unit-dir", str(tmp_path), *more]
        return subprocess.run(argv, capture_output=True, text=True, check=True, env={**os.environ})

    for _ in range(2):
        unit()
    text = (tmp_path / "nncp-restore.service").read_text()
    assert "Before=network.target network-online.target" in text
    assert "After=network" not in text
    link = tmp_path / "multi-user.target.wants" / "nncp-restore.service"
    assert link.resolve() == tmp_path / "nncp-restore.service"
    unit("--remove")
    unit("--remove")
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()] == []
