"""The demo: from two policies to a guest that keeps answering while it moves, and a move that is refused.

It tells on standard error what it is about, and on standard output what came of it. A step that fails ends
it; what was reached until then is reported, and the rest is "not yet".
"""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click
from msgspec import structs

from nncp.errors import Error, ErrorKind
from nncp.lab import switch
from nncp.render import render_error
from vmnet.rack import acts, cabling, report, sampling

if TYPE_CHECKING:
    from pathlib import Path

    from nncp.lab.nodes import Rack


class Demo:
    """The course of one demo: its report as far as it has come, and the plans that were applied."""

    def __init__(self, *, guest: str) -> None:
        self.guest = guest
        self.began = time.monotonic()
        self.report = report.Report()
        self.plans: dict[str, str] = {}
        self.samples = sampling.Samples()

    def say(self, text: str) -> None:
        """Tell what is going on now."""
        click.echo(f"[{time.monotonic() - self.began:6.1f} s] {text}", err=True)

    def run(self) -> None:
        """All acts in their order."""
        self.samples.take()
        rack = cabling.build(self.say)
        self.policies(rack)
        self.preflight(rack)
        pod = self.start(rack)
        self.samples.take()
        pod = self.move(rack, pod)
        self.samples.take()
        self.second_act(rack, pod)
        self.samples.take()

    def conditions(self) -> report.Conditions:
        """What the machine was like until now."""
        if not self.samples.slowness:
            self.samples.take()
        moved = self.report.migration
        return self.samples.told(prober_late_ms=moved.prober_jitter_ms if moved else None)

    def policies(self, rack: Rack) -> None:
        """Give each node its bond and its bridge."""
        for name in cabling.NODES:
            file = acts.policy(name)
            self.say(f"{name}: applies {file.parent.name}/{file.name}")
            seconds, self.plans[name] = acts.apply(rack[name], file)
            facts = report.NodeFacts(name, f"{file.parent.name}/{file.name}", round(seconds, 2))
            self.report.nodes.append(facts)
        self.say("waits for LACP and for the bridges' ports to forward")
        acts.wait_for_links(rack)
        self.report.nodes = [structs.replace(n, bond=acts.bond(rack[n.name])) for n in self.report.nodes]

    def preflight(self, rack: Rack) -> None:
        """Prove the bridge between the nodes before anything lands on it."""
        self.say("preflight: frames between node-1, node-2 and the prober")
        self.report.preflight, reason = acts.preflight(rack)
        if self.report.preflight.verdict != "ok":
            raise Error(f"preflight: {reason}", kind=ErrorKind.FAILED)

    def start(self, rack: Rack) -> acts.Pod:
        """Start the guest on node-1."""
        self.say("node-1: attaches a launcher Pod to the VM's networks")
        acts.lay_out_disk(self.guest)
        pod = acts.attach(rack["node-1"], number=1, image=self.guest)
        self.say(f"node-1: starts the guest ({self.guest}) and waits for its answer on {acts.GUEST}")
        try:
            self.report.vm = acts.start(rack, pod)
        except Error as error:
            said = acts.console(pod).splitlines() or ["nothing"]
            error.hint = error.hint or f"its console ends: {' / '.join(said[-3:])}"
            raise
        self.say(f"it answers after {self.report.vm.first_answer_s:.1f} s; waits until it has booted")
        acts.wait_until_booted(pod)
        self.sound(rack)
        return pod

    def move(self, rack: Rack, pod: acts.Pod) -> acts.Pod:
        """Move it to node-2; it must be sound there too, and hold its lease."""
        self.say("moves the guest to node-2 under a ping every 10 ms and an open TCP session")
        target, self.report.migration = acts.move(rack, pod, rack["node-2"])
        self.sound(rack)
        acts.wait_for_lease(target)
        return target

    def second_act(self, rack: Rack, pod: acts.Pod) -> None:
        """Take VLAN 33 off node-1's link; the way back must be refused, and the guest left alone."""
        self.say(f"second act: VLAN {acts.VLAN} is taken off node-1's switch port; asks for the way back")
        switch.set_vlan(rack["tor"], "to-node-1", acts.VLAN, carried=False)
        try:
            acts.move(rack, pod, rack["node-1"])
        except acts.Refused as refused:
            self.report.negative = report.Negative("refused", str(refused), migrated=False)
        else:
            self.report.negative = report.Negative("allowed", "", migrated=True)
            return
        self.refused(self.report.negative.reason)
        phase = pod.launcher("status")["phase"]
        if phase != "running":
            raise Error(f"the refused guest is {phase}, not running", kind=ErrorKind.FAILED)
        self.sound(rack)

    @staticmethod
    def refused(reason: str) -> None:
        """See that it was refused for what was done to it, and not because something else went wrong."""
        if not all(word in reason for word in ("node-1's link", f"VLAN {acts.VLAN}")):
            raise Error(f"refused, but not for the link that lost its VLAN: {reason}", kind=ErrorKind.FAILED)

    @staticmethod
    def sound(rack: Rack) -> None:
        """Have the guest say twice how its memory and disk are."""
        first, second = acts.verdicts(rack["prober"])
        if not first.startswith("sound") or not second.startswith("sound") or first == second:
            raise Error(f"the guest is not sound: {first!r}, then {second!r}", kind=ErrorKind.FAILED)


def show(*, guest: str, file: Path | None) -> int:
    """Run the demo and return its exit code: 0 when everything was shown."""
    demo = Demo(guest=guest)
    failed: Error | None = None
    try:
        _check()
        demo.run()
    except Error as error:
        failed = error
    demo.report.machine = demo.conditions()
    demo.report.wall_s = round(time.monotonic() - demo.began, 1)
    if file is not None:
        file.write_bytes(demo.report.to_json())
    _print(demo)
    for one in failed or ():
        click.echo(render_error(one), err=True)
    if failed is not None:
        return failed.kind.exit_code
    return ErrorKind.FAILED.exit_code if demo.report.faults() else 0


def _check() -> None:
    missing = acts.programs_missing()
    if missing:
        raise Error(
            f"not installed: {', '.join(missing)}",
            kind=ErrorKind.UNSUPPORTED,
            hint="`make setup` installs what the demo needs",
        )


def _print(demo: Demo) -> None:
    for name, plan in demo.plans.items():
        click.echo(f"{name}\n{plan.rstrip()}\n")
    if sys.stdout.isatty():
        from rich.console import Console  # noqa: PLC0415  on a terminal only

        Console().print(report.as_table(demo.report))
    else:
        click.echo(report.as_text(demo.report))
