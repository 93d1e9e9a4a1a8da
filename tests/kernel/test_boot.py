"""What was applied comes back after a start: in a new namespace, with the switch's links down in between."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import outside
import pytest
from deadly import await_supervisor

from nncp import gone, netns
from nncp.applied import scope_of
from nncp.document.source import load
from nncp.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

MACS = {n: f"52:54:00:00:0{n}:01" for n in (1, 2, 3)}
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


def manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    head = {"apiVersion": "nmstate.io/v1", "kind": "NodeNetworkConfigurationPolicy"}
    return {**head, "metadata": {"name": name}, "spec": spec}


def policy(name: str, *interfaces: dict[str, Any], **rest: Any) -> dict[str, Any]:
    return manifest(name, {"desiredState": {"interfaces": list(interfaces), **rest}})


def dummy(name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": "dummy", "state": "up", **rest}


class Machine:
    """A host that can be switched off and on: what it has of a kernel is a namespace."""

    def __init__(self, state_dir: Path, beyond: Namespace) -> None:
        self.state_dir = state_dir
        self.beyond = beyond
        self.starts = 0
        self.on()

    def on(self, *cards: int) -> None:
        self.ns = outside.make()
        for n in cards or MACS:
            self.plug(n)

    def plug(self, n: int) -> None:
        self.starts += 1
        outside.plug(self.ns, self.beyond, f"eth{n}", f"sw{n}x{self.starts}", mac=MACS[n])

    def off(self) -> None:
        outside.remove(self.ns)

    def nncp(self, *argv: str, document: Any = None, code: int = 0) -> str:
        where = () if argv[0] == "show" else ("--state-dir", str(self.state_dir))
        text = None if document is None else json.dumps(document)
        done = self.ns.nncp(*argv, *where, stdin=text)
        assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def shown(self) -> dict[str, Any]:
        """Return what it shows, less what is drawn at random: a dummy's MAC address, and what comes of it."""
        self.ns.settled()
        state = load(self.nncp("show"), file="shown")[0].value
        for interface in state["interfaces"]:
            interface.pop("mac-address" if interface["type"] == "dummy" else "", None)
            listed = interface.get("ipv6", {}).get("address", [])
            listed[:] = [entry for entry in listed if not entry["ip"].startswith("fe80::")]
            interface.get("veth", {}).pop("peer", None)
        return dict(state)

    def names(self) -> set[str]:
        return set(self.ns.view()["link"])

    def in_force(self) -> list[str]:
        (file,) = self.state_dir.glob("applied/*/documents.json")
        return [document["name"] for document in json.loads(file.read_text())["documents"]]


@pytest.fixture
def machine(beyond: Namespace, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path / "state", beyond)
    yield made
    made.off()


def started(machine: Machine, tmp_path: Path) -> str:
    """Start the machine by its unit's own command line."""
    machine.nncp("install-unit", "--unit-dir", str(tmp_path / "units"))
    unit = (tmp_path / "units" / "nncp-restore.service").read_text()
    (command,) = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("ExecStart=")]
    machine.off()
    machine.on()
    done = machine.ns.run(*shlex.split(command), check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


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


def test_what_a_document_lists_no_more_goes_by_prune_alone(machine: Machine) -> None:
    routes = {"config": [{"destination": "198.51.100.0/24", "route-type": "blackhole"}]}
    rules = {"config": [{"ip-from": "192.0.2.1/32", "route-table": 50, "priority": 5}]}
    machine.nncp(
        "apply", "-", document=policy("a", dummy("d0"), dummy("d1"), routes=routes, **{"route-rules": rules})
    )
    machine.nncp("apply", "-", document=policy("b", dummy("d1")))
    less = policy("a", dummy("d2"))
    assert "d0" not in machine.nncp("plan", "-", document=less)
    machine.nncp("apply", "-", "--prune", document=less)
    names = machine.names()
    assert "d0" not in names
    assert {"d1", "d2"} <= names, "another document asks for d1"
    assert "198.51.100.0" not in machine.ns.run("ip", "route").stdout
    assert "192.0.2.1" not in machine.ns.run("ip", "rule").stdout


ROUTES_BESIDE = (
    "route add 198.51.100.0/24 via 192.0.2.1 dev eth2 metric 7 proto static",
    "route add 198.51.100.0/24 via 192.0.2.1 dev eth2 table 100 proto static",
    "route add 198.51.100.0/24 tos 8 via 192.0.2.1 dev eth2 proto static",
    "route append 198.51.100.0/24 via 192.0.2.1 dev eth2 proto boot",
    "route append 198.51.100.0/24 via 192.0.2.1 dev eth2 src 192.0.2.6 proto static",
    "route append 198.51.100.0/24 via 192.0.2.2 dev eth2 proto static",
    "route append blackhole 198.51.100.0/24 proto static",
    "route add 203.0.113.0/24 via 192.0.2.1 dev eth2 proto static",
    "route add 2001:db8:1::/48 dev eth2 metric 7 proto static",
    "route append 2001:db8:1::/48 dev eth3 proto static",
)
RULES_BESIDE = (
    "rule add from 192.0.2.1 lookup 50 pref 77",
    "rule add from 192.0.2.1 lookup 51 pref 30001 proto static",
    "rule add from 192.0.2.2 lookup 50 pref 30002 proto static",
    "rule add from 192.0.2.1 to 192.0.2.2 lookup 50 pref 30003 proto static",
    "rule add from 192.0.2.1 fwmark 1 lookup 50 pref 30004 proto static",
    "rule add from 192.0.2.1 iif eth1 lookup 50 pref 30005 proto static",
    "rule add from 192.0.2.1 lookup 50 pref 30006 proto bird",
)


def host_tables(machine: Machine) -> list[str]:
    commands = ("route show table all proto static", "route show table all proto boot", "rule")
    asked = [f"{family} {command}" for family in ("-4", "-6") for command in commands]
    return [machine.ns.run("ip", *command.split()).stdout for command in asked]


def test_routes_and_rules_of_others_that_differ_in_one_property_outlive_a_prune(machine: Machine) -> None:
    addresses = ("address add 192.0.2.5/24 dev eth2", "address add 192.0.2.6/24 dev eth2")
    machine.ns.batch(*addresses, *ROUTES_BESIDE[:2])
    made = policy(
        "a",
        dummy("d0"),
        routes={
            "config": [
                {
                    "destination": "198.51.100.0/24",
                    "next-hop-address": "192.0.2.1",
                    "next-hop-interface": "eth2",
                },
                {"destination": "2001:db8:1::/48", "next-hop-interface": "eth2"},
            ]
        },
        **{"route-rules": {"config": [{"ip-from": "192.0.2.1", "route-table": 50}]}},
    )
    machine.nncp("apply", "-", document=made)
    ours = host_tables(machine)
    assert ours[0].count("198.51.100.0/24 via 192.0.2.1 dev eth2 \n") == 1
    machine.ns.batch(*ROUTES_BESIDE[2:], *RULES_BESIDE)
    beside = host_tables(machine)
    machine.nncp("apply", "-", "--prune", document=policy("a"))
    assert "d0" not in machine.names()
    gone = [
        line.strip()
        for was, now in zip(beside, host_tables(machine), strict=True)
        for line in was.splitlines()
        if line not in now.splitlines()
    ]
    assert [" ".join(line.split()) for line in gone] == [
        "198.51.100.0/24 via 192.0.2.1 dev eth2",
        "30000: from 192.0.2.1 lookup 50 proto static",
        "2001:db8:1::/48 dev eth2 metric 1024 pref medium",
    ]


def test_a_file_of_several_documents_is_pruned_by_all_of_them(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "several.yaml"
    machine.ns.batch("link add d9 type dummy", "link set d9 mtu 1400")
    first, second = ({"interfaces": [dummy(name)]} for name in ("d0", "d1"))
    third = {"interfaces": [{"name": "d9", "state": "up", "mtu": 1300}]}
    file.write_text("\n---\n".join(json.dumps(one) for one in (first, second, third)))
    machine.nncp("apply", str(file))
    file.write_text(json.dumps(second))
    said = machine.nncp("apply", str(file), "--prune")
    names = machine.names()
    assert {"d1", "d9"} <= names
    assert "d0" not in names
    assert "keeps d9, though nothing asks for it now: no document said its type" in said


def test_files_of_one_name_in_two_folders_are_two_documents(machine: Machine, tmp_path: Path) -> None:
    files = [tmp_path / folder / "net.yaml" for folder in "ab"]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(json.dumps({"interfaces": [dummy(f"d{number}")]}))
        machine.nncp("apply", str(file), "--prune")
    assert machine.in_force() == [str(file) for file in files]
    assert {"d0", "d1"} <= machine.names()


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
