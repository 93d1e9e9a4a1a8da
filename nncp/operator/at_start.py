"""What brings back a node's network at its start, before there is an API server: one of two ways, or neither.

A unit runs a copy of ours in the node's own Python (nncp.operator.host_copy), early and without a kubelet.
Where that cannot be, a kubelet runs a static Pod (nncp.operator.static_pod). The engine sees to it when it
begins, so also once its image is another one, and takes away what does not apply any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp import restore
from nncp.errors import Error
from nncp.journal import namespace_key
from nncp.operator import host_copy, static_pod
from nncp.operator.jobs import Job
from nncp.operator.protocol import Installed, Refused, told

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

COPY = "restore"
"""The folder of copies, below the state folder: the node knows both by the same names as we do."""
UNITS = Path("etc/systemd/system")
MANIFESTS = Path("etc/kubernetes/manifests")
SYSTEMD = Path("usr/lib/systemd/systemd")
"""What reads units. That it runs would be said by /run/systemd (sd_booted(3)), which machines of a lab do not
have, though they run the unit at their start as it would; the program is there in both."""
SILENT = "no kubelet has run it yet"
LONGEST = 120.0
"""Seconds that it may take to see to it."""
AWAITED = restore.IN_ALL + 60.0
"""Seconds that a kubelet has for it after a start, with the Pod's own."""
FIRST_LOOK, LAST_LOOK = 0.2, 30.0


class Way(Enum):
    """How the network comes back."""

    UNIT = "unit"
    POD = "static Pod"
    NONE = "neither"


class Node(Struct, frozen=True):
    """What a node has for it.

    Args:
        misfit: why its Python cannot run a copy of ours; "" when it can.
        has_systemd: whether it has systemd.
        has_units: whether its folder of units is to be seen.
        has_manifests: whether its folder of static Pods is.
        image: what our own container runs from; "" where nobody has said.

    """

    misfit: str
    has_systemd: bool
    has_units: bool
    has_manifests: bool
    image: str


def against(node: Node) -> dict[Way, str]:
    """Return what speaks against each way; nothing where it can be gone. Pure."""
    unit = "the node has no systemd" if not node.has_systemd else node.misfit
    if not unit and not node.has_units:
        unit = "the node's folder of units is not mounted"
    pod = "" if node.has_manifests else "the node's folder of static Pods is not mounted"
    if not pod and not node.image:
        pod = "nobody has said which image the engine runs from"
    return {Way.UNIT: unit, Way.POD: pod}


def sentence(way: Way, why: Mapping[Way, str]) -> str:
    """Return in one line which way it is, and why not the one before it. Pure."""
    unit, pod = (" ".join(why[each].split()) for each in (Way.UNIT, Way.POD))
    match way:
        case Way.UNIT:
            return "unit"
        case Way.POD:
            return f"{way.value}, since {unit}"
        case _:
            return f"{way.value}: no unit, since {unit}; no static Pod, since {pod}"


class AtStart:
    """What is to be seen to on one node.

    Args:
        host: where the node's files are mounted.
        state_dir: the state folder, by the node's names too.
        image: what our own container runs from.

    """

    def __init__(self, host: Path, state_dir: Path, image: str) -> None:
        self.state_dir = state_dir
        self.image = image
        self.host = host
        self.units, self.manifests = host / UNITS, host / MANIFESTS
        self.copy = state_dir / COPY

    def look(self) -> Node:
        """Return what the node has."""
        try:
            misfit = host_copy.misfit(host_copy.look(self.host / "usr"), host_copy.our_program())
        except (Error, OSError) as error:
            misfit = f"its Python cannot be looked at: {error}"
        return Node(
            misfit,
            (self.host / SYSTEMD).is_file(),
            self.units.is_dir(),
            self.manifests.is_dir(),
            self.image,
        )

    def see_to(self) -> Installed:
        """Have the first way that can be gone, and no other; return which one that is, and why.

        What is there of a way that only failed now is left: an older copy is better than none.
        """
        why = against(self.look())
        ways: dict[Way, Callable[[], None]] = {Way.UNIT: self._put_unit, Way.POD: self._put_pod}
        failed: list[Way] = []
        for way, put in ways.items():
            if why[way]:
                continue
            try:
                put()
            except (Error, OSError) as error:
                why[way] = _line(error)
                failed.append(way)
            else:
                return self._only(way, why)
        return self._only(Way.NONE, why, failed)

    def _only(self, way: Way, why: Mapping[Way, str], failed: Collection[Way] = ()) -> Installed:
        """Take the other ways away."""
        said = sentence(way, why)
        others: dict[Way, Callable[[], None]] = {Way.UNIT: self._remove_unit, Way.POD: self._remove_pod}
        for other, remove in others.items():
            try:
                if other is not way and (way is not Way.NONE or other not in failed):
                    remove()
            except (Error, OSError) as error:
                said += f"; what there was of the other is still there: {_line(error)}"
        return Installed(said, is_pod=way is Way.POD)

    def _put_unit(self) -> None:
        host_copy.install(self.copy, self.units, named=self.copy, state_dir=self.state_dir)

    def _remove_unit(self) -> None:
        """Remove the unit and the copy; a unit that runs something else is somebody's own."""
        place = self.units / restore.UNIT
        if place.is_file() and str(self.copy) in place.read_text(encoding="utf-8", errors="replace"):
            restore.remove_unit(unit_dir=self.units)
        if self.copy.is_dir():
            shutil.rmtree(self.copy)

    def _put_pod(self) -> None:
        if not self._was_seen_to():
            # The kubelet runs it at once, and after this start there is nothing to bring back.
            static_pod.note(self.state_dir)
        static_pod.put(self.manifests, self.image, self.state_dir)

    def _was_seen_to(self) -> bool:
        """Whether anything was here that brings the network back, or was to: it may not have, yet."""
        places = (self.units / restore.UNIT, self.manifests / static_pod.FILE)
        return any(place.exists() for place in places)

    def _remove_pod(self) -> None:
        static_pod.remove(self.manifests)

    def has_run(self) -> bool:
        """Whether a kubelet has run the static Pod: it may look into another folder, or lack the image."""
        last = self._noted()
        return last is not None and last.image == self.image

    def is_awaited(self) -> bool:
        """Whether a static Pod, which has run here before, has not done its work since the node's start."""
        last = self._noted()
        is_there = (self.manifests / static_pod.FILE).is_file()
        return is_there and last is not None and bool(last.image) and last.key != namespace_key()

    def _noted(self) -> static_pod.Start | None:
        try:
            return static_pod.noted(self.state_dir)
        except Error:
            return None


def _line(error: Error | OSError) -> str:
    return told(error) if isinstance(error, Error) else str(error)


class Keeper:
    """The engine's side of it: seen to in a process of its own, and whatever comes of it is only told.

    Args:
        at_start: None where the node's files are not mounted.
        log: hears of what came of it.

    """

    def __init__(self, at_start: AtStart | None, log: Callable[[str], None]) -> None:
        self.at_start = at_start
        self.log = log
        self.found = Installed("")
        self.is_known = asyncio.Event()
        self.is_restored = asyncio.Event()
        """Set once nothing is awaited any more of what a kubelet runs beside us at the node's start."""

    async def run(self, stirred: Callable[[], None]) -> None:
        """See to it, and say when there is something else to be told of it."""
        try:
            if self.at_start is not None:
                await self._see_to(self.at_start, stirred)
        finally:
            self.is_restored.set()
            self.is_known.set()

    async def _see_to(self, at_start: AtStart, stirred: Callable[[], None]) -> None:
        # To write another manifest is to end what runs by the one of before.
        if not await _until(lambda: not at_start.is_awaited(), AWAITED):
            self.log("no kubelet has brought the network back; it is not waited for any more")
        self.is_restored.set()
        self.found = await _seen_to(at_start)
        self.log(f"the network comes back at the node's start by: {self.found.sentence}")
        self.is_known.set()
        if self.found.is_pod:
            await _until(at_start.has_run, None)
            stirred()

    async def told(self) -> str:
        """Return what is told of it, once it is known: another word before would be written too."""
        await self.is_known.wait()
        is_silent = self.at_start is not None and self.found.is_pod and not self.at_start.has_run()
        return f"{self.found.sentence}; {SILENT}" if is_silent else self.found.sentence


async def _until(holds: Callable[[], bool], seconds: float | None) -> bool:
    """Wait until something holds, at most for so long; return whether it does."""
    pause = FIRST_LOOK
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(pause)
                pause = min(1.5 * pause, LAST_LOOK)
            return True
    return False


async def _seen_to(at_start: AtStart) -> Installed:
    try:
        async with asyncio.timeout(LONGEST):
            answer = await Job(at_start.see_to).run()
    except TimeoutError:
        return Installed(f"{Way.NONE.value}, since it took more than {LONGEST:.0f} s to see to it")
    if isinstance(answer, Installed):
        return answer
    why = answer.error if isinstance(answer, Refused) else f"a fault of nncp's own: {type(answer)}"
    return Installed(f"{Way.NONE.value}, since {why}")
