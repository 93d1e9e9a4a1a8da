"""What brings a node's network back at its start: which way, never both, and what stands in its way."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from msgspec.structs import replace

from nncp import restore
from nncp.operator import at_start, changes, host_copy, static_pod
from nncp.operator.at_start import SILENT, SYSTEMD, AtStart, Keeper, Node, Way, against, sentence
from nncp.operator.hands import Hands
from nncp.operator.host_copy import MODULES, VERSION
from nncp.operator.outcomes import Outcomes
from nncp.operator.protocol import Document, Plan, Planned
from nncp.state_folder import StateFolder

if TYPE_CHECKING:
    from tests.conftest import Netns

ROOT = Path(__file__).parents[2]
IMAGE = "localhost/x/nncp:1"
FITS = Node("", has_systemd=True, has_units=True, has_manifests=True, image=IMAGE)


@pytest.mark.parametrize(
    ("node", "unit", "pod"),
    [
        (FITS, "", ""),
        (Node("another Python", True, True, True, IMAGE), "another Python", ""),
        (Node("another Python", False, True, True, IMAGE), "has no systemd", ""),
        (Node("", True, False, True, IMAGE), "folder of units is not mounted", ""),
        (Node("", True, True, False, IMAGE), "", "folder of static Pods is not mounted"),
        (Node("", True, True, True, ""), "", "which image"),
    ],
)
def test_each_way_has_its_reason_against_it_or_none(node: Node, unit: str, pod: str) -> None:
    why = against(node)
    for way, said in ((Way.UNIT, unit), (Way.POD, pod)):
        assert said in why[way]
        assert bool(said) == bool(why[way])


def test_it_is_told_in_one_line() -> None:
    why = {Way.UNIT: "of\nthis", Way.POD: "of that"}
    assert sentence(Way.UNIT, why) == "unit"
    assert sentence(Way.POD, why) == "static Pod, since of this"
    assert sentence(Way.NONE, why) == "neither: no unit, since of this; no static Pod, since of that"


class Machine:
    """A node's files."""

    def __init__(self, folder: Path) -> None:
        self.host, self.state = folder / "host", folder / "state"
        self.python = self.host / "usr" / "bin" / VERSION
        for each in (self.host / at_start.UNITS, self.host / at_start.MANIFESTS, self.python.parent):
            each.mkdir(parents=True)
        self.python.symlink_to(os.path.relpath(Path(sys.executable).resolve(), self.python.parent))
        for name in MODULES:
            place = self.host / "usr" / "lib" / VERSION / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        (self.host / SYSTEMD).parent.mkdir(parents=True)
        (self.host / SYSTEMD).touch()

    def see_to(self, image: str = IMAGE) -> str:
        return AtStart(self.host, self.state, image).see_to().sentence

    def has(self) -> list[str]:
        places = {
            "unit": self.host / at_start.UNITS / restore.UNIT,
            "link": self.host / at_start.UNITS / restore.WANTED_BY / restore.UNIT,
            "copy": self.state / at_start.COPY / host_copy.CURRENT,
            "pod": self.host / at_start.MANIFESTS / static_pod.FILE,
        }
        return [name for name, place in places.items() if os.path.lexists(place)]

    def blocked(self, folder: Path) -> None:
        """Have a file where a folder was: nothing can be written into it, whoever we are."""
        place = self.host / folder
        place.rmdir()
        place.touch()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_what_does_not_apply_any_more_is_removed(machine: Machine) -> None:
    assert machine.see_to() == "unit"
    assert machine.has() == ["unit", "link", "copy"]
    machine.python.unlink()
    assert machine.see_to().startswith("static Pod, since the modules are compiled for")
    assert machine.has() == ["pod"]
    assert "nobody has said" in machine.see_to(image="")
    assert machine.has() == []
    machine.see_to()
    machine.python.symlink_to(os.path.relpath(Path(sys.executable).resolve(), machine.python.parent))
    assert machine.see_to() == "unit"
    assert machine.has() == ["unit", "link", "copy"]


def test_what_cannot_be_written_is_told_and_the_other_way_is_gone(machine: Machine) -> None:
    unit = machine.host / at_start.UNITS / restore.UNIT
    unit.mkdir()
    said = machine.see_to()
    assert said.startswith(f"static Pod, since {unit.parent}")
    assert "cannot be written: Is a directory" in said
    assert "pod" in machine.has()
    (machine.host / at_start.MANIFESTS / static_pod.FILE).unlink()
    (machine.host / at_start.MANIFESTS / static_pod.FILE).mkdir()
    assert machine.see_to().startswith("neither: ")


def test_a_way_that_only_failed_now_leaves_what_it_had(machine: Machine) -> None:
    machine.see_to()
    units = machine.host / at_start.UNITS
    (units / restore.UNIT).write_text("an older one, of " + str(machine.state / at_start.COPY))
    (units / "nncp-restore.new").mkdir()  # where its draft would be
    machine.blocked(at_start.MANIFESTS)
    assert machine.see_to().startswith("neither: ")
    assert machine.has() == ["unit", "link", "copy"]


def test_a_unit_that_runs_something_else_is_somebodys_own(machine: Machine) -> None:
    restore.install_unit(unit_dir=machine.host / at_start.UNITS, program=["/opt/nncp"])
    machine.python.unlink()
    machine.see_to()
    assert machine.has() == ["unit", "link", "pod"]


def test_what_is_seen_to_again_writes_nothing(machine: Machine) -> None:
    machine.python.unlink()
    machine.see_to()
    place = machine.host / at_start.MANIFESTS / static_pod.FILE
    before = place.stat().st_ino
    machine.see_to()
    assert place.stat().st_ino == before
    machine.see_to(image="localhost/x/nncp:2")
    assert place.stat().st_ino != before
    assert [each.name for each in place.parent.iterdir()] == [static_pod.FILE]


def deployed() -> dict[str, Any]:
    (daemons,) = yaml.safe_load_all((ROOT / "deploy" / "agent.yaml").read_text(encoding="utf-8"))
    found: dict[str, Any] = daemons["spec"]["template"]["spec"]
    return found


def test_the_static_pod_has_the_engines_rights_and_places_and_no_more() -> None:
    pod, daemon = static_pod.manifest(IMAGE)["spec"], deployed()
    (ours,), (engine,) = (
        pod["initContainers"],
        [each for each in daemon["containers"] if each["name"] == "engine"],
    )
    assert ours["securityContext"] == engine["securityContext"]
    mounts = {each["name"]: each for each in engine["volumeMounts"]}
    assert [each for each in ours["volumeMounts"] if mounts[each["name"]] != each] == []
    volumes = {each["name"]: each for each in daemon["volumes"]}
    assert [each for each in pod["volumes"] if volumes[each["name"]] != each] == []
    assert [each for each in ours["env"] if each not in engine["env"]] == []
    for word in ("hostNetwork", "dnsPolicy", "enableServiceLinks", "priorityClassName", "tolerations"):
        assert pod[word] == daemon[word]
    assert {"name": "BRIDGEHEAD_IMAGE", "value": engine["image"]} in engine["env"]


@pytest.mark.skipif(os.geteuid() != 0, reason="makes links")
def test_it_brings_back_what_was_applied_once_after_a_start(tmp_path: Path, netns: Netns) -> None:
    document = "interfaces: [{name: br0, type: linux-bridge, state: up}]"
    netns.run(sys.executable, "-P", "-m", "nncp", "apply", "--state-dir", str(tmp_path), "-", stdin=document)
    argv = [sys.executable, "-m", "nncp.operator.static_pod", "--state-dir", str(tmp_path), "--image", IMAGE]
    for is_there in (True, False):
        netns.ip("link", "delete", "br0")
        netns.run(*argv)
        assert ("br0" in netns.ip("-br", "link")) == is_there
    last = static_pod.noted(tmp_path)
    assert last is not None
    assert last.image == IMAGE


def test_on_a_node_that_runs_already_the_first_one_brings_nothing_back(machine: Machine) -> None:
    machine.python.unlink()
    machine.see_to()
    argv = ["--state-dir", str(machine.state), "--image", IMAGE]
    done = CliRunner().invoke(static_pod.main, argv)
    assert (done.exit_code, done.output) == (0, "")
    assert AtStart(machine.host, machine.state, IMAGE).has_run()
    assert not AtStart(machine.host, machine.state, "localhost/x/nncp:2").has_run()
    (machine.host / at_start.MANIFESTS / static_pod.FILE).write_text("another")
    (machine.state / static_pod.FOLDER / static_pod.NOTE).unlink()
    machine.see_to()  # whether that one has brought anything back nobody knows
    assert static_pod.noted(machine.state) is None


def started_again(machine: Machine) -> None:
    """As it is after a start of the node: what was noted is of another one."""
    with StateFolder.make(machine.state, static_pod.FOLDER) as folder:
        folder.write(static_pod.NOTE, msgspec.json.encode(static_pod.Start("another", IMAGE)))


def keeper(machine: Machine) -> Keeper:
    return Keeper(AtStart(machine.host, machine.state, IMAGE), lambda _: None)


def test_it_is_told_as_long_as_no_kubelet_has_run_the_static_pod(machine: Machine) -> None:
    machine.python.unlink()

    async def course() -> None:
        one, stirred = keeper(machine), asyncio.Event()
        running = asyncio.create_task(one.run(stirred.set))
        assert (await one.told()).endswith(SILENT)  # nothing of ours was there: nothing is awaited
        assert not stirred.is_set()
        static_pod.note(machine.state, IMAGE)
        await running
        assert stirred.is_set()
        assert (await one.told()).startswith("static Pod, since ")
        assert not (await one.told()).endswith(SILENT)

    asyncio.run(course())


def test_an_engine_plans_and_applies_nothing_until_the_static_pod_has_done_its_work(machine: Machine) -> None:
    machine.python.unlink()
    machine.see_to()
    started_again(machine)

    async def course() -> None:
        one = keeper(machine)
        node = changes.Node(machine.state, machine.state, lambda _: None)
        hands = Hands(node, machine.state, Outcomes(machine.state), one, lambda _: None)
        running = asyncio.create_task(one.run(lambda: None))
        settled = asyncio.create_task(hands.settle())
        plan = Plan(document=Document("one", {"interfaces": []}), settled=True)
        asked = asyncio.create_task(hands.answer(plan))
        assert isinstance(await hands.answer(replace(plan, settled=False)), Planned)
        assert [each.done() for each in (settled, asked)] == [False, False]
        assert not one.is_known.is_set()
        static_pod.note(machine.state, IMAGE)
        await asyncio.gather(running, settled)
        assert isinstance(await asked, Planned)

    asyncio.run(course())


def test_an_engine_that_is_to_end_waits_for_nothing(machine: Machine) -> None:
    machine.python.unlink()
    machine.see_to()
    started_again(machine)

    async def course() -> None:
        one = keeper(machine)
        running = asyncio.create_task(one.run(lambda: None))
        told = asyncio.create_task(one.told())
        await asyncio.sleep(0)
        running.cancel()
        assert await told == ""
        assert one.is_restored.is_set()

    asyncio.run(course())
