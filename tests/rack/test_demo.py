"""The demo as a newcomer sees it, run on the host: what it reports, and that it leaves nothing, however it ends."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp import lab
from nncp.pace import Limit
from tests import leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.guest, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
# Of a quiet machine, since the demo last said something; it says when it goes on to something else.
PATIENCE = 240.0
GONE_S = 20.0
MARK = "BRIDGEHEAD_DEMO"
RACKS_OWN = r"k6t-|to-node-|n\dp\d$|pod[0-9a-f]{11}$"


class Demo:
    """A demo that runs, in a session of its own so that a signal reaches only it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "report.json"
        self.errors = folder / "errors"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.others = racks_links()
        env = {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), MARK: f"{folder}/"}
        argv = [sys.executable, "-m", "vmnet.rack", "demo", "--report", str(self.file)]
        with self.errors.open("wb") as errors, (folder / "output").open("wb") as output:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    def said(self) -> str:
        return self.errors.read_text(errors="replace")

    def wait_for(self, words: str) -> None:
        limit = Limit(PATIENCE)
        while words not in self.said():
            assert self.process.poll() is None, self.said()
            self.look(limit)
            time.sleep(0.1)

    def wait(self) -> int:
        limit = Limit(PATIENCE)
        while (code := self.process.poll()) is None:
            self.look(limit)
            time.sleep(0.1)
        return code

    def look(self, limit: Limit) -> None:
        limit.sees(len(self.said()))
        assert not limit.is_over(), f"it did nothing {limit.story}: {self.said()}"

    def processes(self) -> dict[int, str]:
        """What belongs to this demo on this host: pid to a name that stays the same."""
        found = leftovers.marked(f"{self.folder}/", name=MARK)
        return {process.pid: named(process.command) for process in found}

    def left(self) -> list[str]:
        """What this demo has left here, by its mark, its folder, and the names that a rack gives to links."""
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        return [
            *map(str, leftovers.marked(f"{self.folder}/", name=MARK)),
            *map(str, self.temporary.iterdir()),
            *(path for line in mounts if (path := line.split()[1]).startswith(f"{self.folder}/")),
            *sorted(racks_links() - self.others),
        ]


def racks_links() -> set[str]:
    """Links of this host that are named as a rack names its own; others may have such, too."""
    links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout)
    return {link["ifname"] for link in links if re.match(RACKS_OWN, link["ifname"])}


def named(command: str) -> str:
    module = re.search(r" -m ([\w.]+)", command)
    return module[1] if module else Path(command.split(maxsplit=1)[0]).name


def assert_nothing_is_left(demo: Demo) -> None:
    assert leftovers.gone(demo.left, seconds=GONE_S) == []


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """Show the demo, once: what it shows holds on any machine."""
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        code = demo.wait()
    finally:
        demo.process.kill()
    assert code == 0, demo.said() + (demo.folder / "output").read_text()
    assert_nothing_is_left(demo)
    return demo


def test_the_report_tells_what_the_scenario_promises(shown: Demo) -> None:
    said = json.loads(shown.file.read_bytes())
    assert [node["name"] for node in said["nodes"]] == ["node-1", "node-2"]
    for node in said["nodes"]:
        assert node["policy"] == f"vm-bridge/{node['name']}.yaml"
        assert (node["bond"]["mode"], node["bond"]["ports_up"]) == ("802.3ad", 2)
        assert re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", node["bond"]["partner_mac"])
    assert said["preflight"]["verdict"] == "ok"
    members = [pair["members"] for pair in said["preflight"]["pairs"]]
    assert members == [["node-1", "node-2"], ["node-1", "prober"], ["node-2", "prober"]]
    assert said["vm"]["addresses"] == {"eth0": "10.0.2.2/24", "eth1": "172.17.33.250/24"}


def test_the_guest_moves_with_its_session_and_over_the_management_network(shown: Demo) -> None:
    moved = json.loads(shown.file.read_bytes())["migration"]
    assert (moved["from"], moved["to"]) == ("node-1", "node-2")
    assert moved["tcp_survived"]
    assert moved["pod_address_changed"]
    # Its memory is 128 MiB, of which a good part is zero; without it some hundred kB pass there.
    assert moved["bytes_on_management"] > 20_000_000


def test_every_figure_of_the_migration_was_found_and_the_machine_is_told_beside_them(shown: Demo) -> None:
    said = json.loads(shown.file.read_bytes())
    moved = said["migration"]
    assert moved["downtime_ms"] > 0
    assert moved["longest_gap_ms"] > 0
    assert 0 <= moved["pings_lost"] < moved["pings_sent"]
    assert len(said["machine"]["slowness"]) == 4
    assert min(said["machine"]["slowness"]) >= 1
    assert said["machine"]["prober_late_ms"] == moved["prober_jitter_ms"]


def test_the_way_back_is_refused_in_one_sentence(shown: Demo) -> None:
    negative = json.loads(shown.file.read_bytes())["negative"]
    assert (negative["verdict"], negative["migrated"]) == ("refused", False)
    assert "node-1" in negative["reason"]
    assert "VLAN 33" in negative["reason"]


def test_what_a_person_reads_has_the_plans_and_no_not_yet(shown: Demo) -> None:
    output = (shown.folder / "output").read_text()
    assert output.count("Plan: 11 to add, 1 to change, 0 to remove.") == 2
    assert "not yet" not in output
    assert "bytes" not in output


def interrupted(demo: Demo) -> None:
    os.killpg(demo.process.pid, signal.SIGINT)


def killed(name: str) -> Callable[[Demo], None]:
    def kill(demo: Demo) -> None:
        pids = [pid for pid, theirs in demo.processes().items() if theirs.startswith(name)]
        assert pids, demo.processes()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    return kill


def killed_in_the_lab(name: str) -> Callable[[Demo], None]:
    def kill(demo: Demo) -> None:
        (folder,) = demo.temporary.glob("bridgehead-demo-*")
        assert lab.attach(folder).output(["pkill", "-9", "-f", name]).status == 0

    return kill


# How a demo can end, and how far it has come by then.
ENDS: dict[str, tuple[str, Callable[[Demo], None]]] = {
    "Ctrl-C": ("preflight", interrupted),
    "its own process killed": ("preflight", killed("vmnet.rack")),
    "the lab's keeper killed": ("preflight", killed("nncp.lab.keeper")),
    "the lab's kernel killed": ("preflight", killed("linux")),
    "a node's holder killed in the lab": ("applies", killed_in_the_lab("sleep infinity")),
    "QEMU killed in the lab": ("moves the guest", killed_in_the_lab("qemu-system-x86_64 -name")),
    "libvirt killed in the lab": ("moves the guest", killed_in_the_lab("libvirtd|virtqemud")),
}


@pytest.mark.parametrize("how", ENDS)
def test_nothing_is_left_after(how: str, tmp_path: Path) -> None:
    when, act = ENDS[how]
    demo = Demo(tmp_path)
    try:
        demo.wait_for(when)
        act(demo)
        assert demo.wait() != 0
    finally:
        demo.process.kill()
    assert_nothing_is_left(demo)
