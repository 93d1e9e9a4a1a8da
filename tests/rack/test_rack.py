"""The rack itself, in whatever kernel has bonds: its cabling, its switch, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.lab import room
from tests import leftovers
from tests.waiting import until
from vmnet.rack.cli import site

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel

ROOT = Path(__file__).parents[2]
NOTE = "BRIDGEHEAD_RACK"
MOUNTED = [line.split()[1] for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
"""By others: before any rack."""
ME = [sys.executable, "-m", "vmnet.rack"]


def run(*words: str, code: int = 0) -> str:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*ME, *words], capture_output=True, text=True, check=False, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + (done.stderr if code else "")


def on(node: str, *command: str, code: int = 0) -> str:
    return run("exec", node, "--", *command, code=code)


def left() -> list[str]:
    """What a rack of ours has left: processes by our mark, its note, mounts where only a rack has them."""
    processes = [str(process) for process in leftovers.marked(str(site().note), name=NOTE)]
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    places = [path for line in mounts if (path := line.split()[1]) == "/srv" or path.startswith("/run/own")]
    new = [path for path in places if path not in MOUNTED]
    return processes + new + [str(path) for path in (site().note,) if path.exists()]


@pytest.fixture(scope="module", autouse=True)
def note(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A note of our own, so that somebody else's rack on this machine is not met."""
    with pytest.MonkeyPatch.context() as patch:
        file = tmp_path_factory.mktemp("note") / "bridgehead" / "rack"
        patch.setenv(NOTE, str(file))
        yield


@pytest.mark.parametrize("who", ["maker", "first"])
def test_a_room_whose_process_is_killed_is_gone(who: str) -> None:
    """Its maker, and its first process: of the others, none holds anything by itself."""
    run("up")
    try:
        kept = room.find(site())
        assert kept is not None
        os.kill(getattr(kept, who), signal.SIGKILL)
        until(lambda: room.find(site()) is None)
    finally:
        run("down")
    assert leftovers.gone(left) == []


@pytest.fixture(scope="module")
def rack() -> Iterator[None]:
    run("up")
    assert left() != []
    yield
    run("down")
    assert leftovers.gone(left) == []


def test_a_second_rack_is_refused(rack: None) -> None:
    assert "a rack already stands here" in run("up", code=75)


def test_nodes_have_names_files_and_interfaces_of_their_own(rack: None) -> None:
    for node in ("node-1", "node-2"):
        assert on(node, "hostname").strip() == node
        on(node, "sh", "-c", "hostname > /run/mine; hostname > /etc/mine; hostname > /var/lib/mine")
        names = {link["ifname"] for link in json.loads(on(node, "ip", "-j", "link"))}
        assert {"ens1f0", "ens1f1", "enp1s0"} <= names
        assert {path.name for path in Path("/").iterdir()} == set(on(node, "ls", "-A", "/").split())
    for node in ("node-1", "node-2"):
        assert on(node, "cat", "/run/mine", "/etc/mine", "/var/lib/mine").split() == [node] * 3
    assert not Path("/etc/mine").exists()


def test_the_disk_folder_is_the_same_everywhere(rack: None) -> None:
    on("node-1", "sh", "-c", "echo shared > /srv/file")
    assert on("node-2", "cat", "/srv/file") == "shared\n"


def test_the_management_network_leads_from_node_to_node(rack: None) -> None:
    on("node-1", "ping", "-c", "1", "-W", "60", "10.244.2.1")


def test_exit_codes_and_folders_pass_through(rack: None) -> None:
    on("tor", "sh", "-c", "exit 7", code=7)
    assert on("tor", "pwd").strip() == str(Path.cwd())
    assert "there is no machine node-3" in on("node-3", "true", code=64)


def test_the_policies_bring_bonds_up_and_bridges_together(rack: None) -> None:
    for node in ("node-1", "node-2"):
        on(node, sys.executable, "-m", "nncp", "apply", str(ROOT / "policies" / "vm-bridge" / f"{node}.yaml"))
    until(lambda: run("status").count(" passes") == 8, seconds=30, what=lambda: run("status"))
    until(
        lambda: on("node-1", "sh", "-c", "ping -c 1 -W 1 172.16.1.22 >/dev/null; echo $?") == "0\n",
        seconds=30,
    )


def test_the_switch_carries_what_the_scenario_says(rack: None) -> None:
    ports = {port["ifname"]: port["vlans"] for port in json.loads(on("tor", "bridge", "-j", "vlan"))}
    for bond in ("to-node-1", "to-node-2"):
        assert [vlan["vlan"] for vlan in ports[bond]] == [1, 33]
        assert ports[bond][0]["flags"] == ["PVID", "Egress Untagged"]
        assert "flags" not in ports[bond][1]
    assert ports["prober"] == [{"vlan": 33, "flags": ["PVID", "Egress Untagged"]}]
