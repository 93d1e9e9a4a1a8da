"""What the demo found out: the same facts for people and, with exactly these keys, for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct, field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

NOT_YET, UNKNOWN = "not yet", "unknown"
NOBODY = "00:00:00:00:00:00"
# From when on a machine's evidence is worth a word beside the figures. Nothing is decided by it.
SLOW, BUSY, STOLEN_PERCENT, LATE_MS = 2.0, 2.0, 5.0, 25.0


class Bond(Struct, frozen=True):
    """A node's bond once LACP is up."""

    mode: str
    partner_mac: str
    ports_up: int

    def faults(self) -> Iterable[str]:
        """Yield what is not as the scenario promises."""
        if self.mode != "802.3ad":
            yield f"the bond is {self.mode or UNKNOWN}, not 802.3ad"
        if self.partner_mac in {"", NOBODY}:
            yield "no switch answers its LACP"
        if self.ports_up < 2:
            yield f"{self.ports_up} of its ports are up, not 2"


class NodeFacts(Struct, frozen=True):
    """What was applied on a node, and how long that took, verified."""

    name: str
    policy: str
    apply_s: float
    bond: Bond | None = None

    def faults(self) -> Iterable[str]:
        """Yield what is not as the scenario promises."""
        return self.bond.faults() if self.bond else [f"bond: {NOT_YET}"]


class Preflight(Struct, frozen=True):
    """Whether frames pass between all members, for each pair."""

    verdict: str
    pairs: list[dict[str, Any]] = field(default_factory=list)


class Vm(Struct, frozen=True):
    """The guest, and how long after its start it answered on its static address."""

    name: str
    addresses: dict[str, str]
    first_answer_s: float


class Migration(Struct, frozen=True, rename={"from_node": "from", "to_node": "to"}):
    """One live migration, as seen from outside and by its two ends."""

    from_node: str
    to_node: str
    total_s: float
    downtime_ms: float | None
    pings_sent: int
    pings_lost: int
    longest_gap_ms: float | None
    prober_jitter_ms: float
    tcp_survived: bool
    pod_address_changed: bool
    bytes_on_management: int

    @property
    def gap_to_pause(self) -> float | None:
        """How many times as long as it was paused the guest was silent; None where one is unknown."""
        if self.downtime_ms is None or self.longest_gap_ms is None:
            return None
        return self.longest_gap_ms / max(self.downtime_ms, 1.0)

    def faults(self) -> Iterable[str]:
        """Yield what was not as it should be. Figures are shown, and are no fault: they are the machine's."""
        if not self.tcp_survived:
            yield "the TCP session broke"
        if not self.pod_address_changed:
            yield "the guest's Pod kept its address, which another node cannot have"


class Negative(Struct, frozen=True):
    """The second act: a link lost its VLAN, and the way back is refused."""

    verdict: str
    reason: str
    migrated: bool


class Conditions(Struct, frozen=True):
    """What the machine was like meanwhile: nothing but this explains a figure.

    Attributes:
        slowness: how many times as long as on a quiet machine, in the same place (a lab kernel or not), fixed
            work took, each time it was tried.
        steal_percent: the CPU time that a hypervisor gave to others; None in a lab kernel, which cannot tell.
        load: processes that wanted a CPU in the last minute; None there too, for it knows only of its own.
        prober_late_ms: how late the prober was at worst; it sleeps at real-time priority.

    """

    slowness: list[float]
    steal_percent: float | None
    load: float | None
    prober_late_ms: float | None = None

    @property
    def words(self) -> list[str]:
        """`slow` when even the best moment was, `busy` when another was or CPU time went elsewhere."""
        best, worst = min(self.slowness, default=1.0), max(self.slowness, default=1.0)
        late = (self.prober_late_ms or 0.0) > LATE_MS
        differ = worst >= BUSY * best or best < SLOW <= worst
        is_busy = differ or (self.steal_percent or 0.0) >= STOLEN_PERCENT or late
        return [*(["slow"] if best >= SLOW else []), *(["busy"] if is_busy else [])]


class Report(Struct):
    """All of it; a part that is None was not reached."""

    nodes: list[NodeFacts] = field(default_factory=list)
    preflight: Preflight | None = None
    vm: Vm | None = None
    migration: Migration | None = None
    negative: Negative | None = None
    machine: Conditions | None = None
    wall_s: float = 0.0

    def to_json(self) -> bytes:
        """Return the report as JSON."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def faults(self) -> list[str]:
        """Return in sentences why the demo has not shown what it should; empty when it has."""
        told = [f"{name}: {NOT_YET}" for name in self._missing()]
        told += [f"{node.name}: {fault}" for node in self.nodes for fault in node.faults()]
        if self.preflight and self.preflight.verdict != "ok":
            told.append(f"preflight: {self.preflight.verdict}")
        if self.preflight and not self.preflight.pairs:
            told.append("preflight: no frames were exchanged")
        told += [f"migration: {fault}" for fault in (self.migration.faults() if self.migration else ())]
        if self.negative and (self.negative.migrated or self.negative.verdict != "refused"):
            told.append("the way back over a link without the VLAN was not refused")
        if self.negative and len(self.negative.reason.splitlines()) != 1:
            told.append("the way back was not refused in one sentence")
        return told

    def _missing(self) -> Iterable[str]:
        if not self.nodes:
            yield "nodes"
        yield from (
            name for name in ("preflight", "vm", "migration", "negative") if getattr(self, name) is None
        )


def rows(report: Report) -> list[tuple[str, list[str]]]:
    """Return the report as a person reads it: a heading and its lines each."""
    return [
        ("Nodes", [_node(node) for node in report.nodes] or [NOT_YET]),
        ("Preflight", _preflight(report.preflight)),
        ("Guest", _vm(report.vm)),
        ("Migration", _migration(report.migration, report.machine)),
        ("Second act", _negative(report.negative)),
        ("Machine", _machine(report.machine)),
        ("Wall time", [f"{report.wall_s:.0f} s"]),
    ]


def _node(node: NodeFacts) -> str:
    bond = node.bond
    told = f"{bond.mode}, partner {bond.partner_mac}, {bond.ports_up} ports up" if bond else NOT_YET
    return f"{node.name}: {node.policy} applied and verified in {node.apply_s:.2f} s; bond0 {told}"


def _preflight(preflight: Preflight | None) -> list[str]:
    if preflight is None:
        return [NOT_YET]
    return [f"verdict: {preflight.verdict}", *(_pair(pair) for pair in preflight.pairs)]


def _pair(pair: dict[str, Any]) -> str:
    left, right = pair["members"]
    sizes = ("small", "full", "over")
    there, back = ("/".join(_word(pair[way][size]["arrived"]) for size in sizes) for way in ("there", "back"))
    told = f"{left} to {right} {there}, back {back} (small/full/MTU+1)"
    return f"{pair['bridge']} VLAN {pair['vlan']} MTU {pair['mtu']}: {told}"


def _word(arrived: bool | None) -> str:
    return {True: "passes", False: "lost"}.get(arrived, "-") if arrived is not None else "-"


def _vm(vm: Vm | None) -> list[str]:
    if vm is None:
        return [NOT_YET]
    addresses = ", ".join(f"{nic} {address}" for nic, address in vm.addresses.items())
    return [f"{vm.name}: {addresses}; first answer {vm.first_answer_s:.1f} s after its start"]


def _ms(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.0f} ms"


def _migration(migration: Migration | None, machine: Conditions | None) -> list[str]:
    if migration is None:
        return [NOT_YET]
    m = migration
    moved = f"{m.from_node} to {m.to_node} in {m.total_s:.1f} s, guest paused for {_ms(m.downtime_ms)}"
    lost = f"{m.pings_lost} of {m.pings_sent} pings lost, longest gap {_ms(m.longest_gap_ms)}"
    late = f"the prober itself was late by {_ms(m.prober_jitter_ms)} at most"
    if machine and machine.words:
        late += f"; this machine was {' and '.join(machine.words)}"
    session = f"TCP session {'survived' if m.tcp_survived else 'BROKE'}"
    address = f"Pod address {'changed' if m.pod_address_changed else 'UNCHANGED'}"
    return [
        moved,
        f"{lost} ({late})",
        f"{session}, {address}, {m.bytes_on_management / 1e6:.0f} MB over enp1s0",
    ]


def _negative(negative: Negative | None) -> list[str]:
    if negative is None:
        return [NOT_YET]
    moved = "the guest MOVED" if negative.migrated else "the guest stayed where it was"
    return [f"way back {negative.verdict}, {moved}", negative.reason]


def _machine(machine: Conditions | None) -> list[str]:
    if machine is None:
        return [NOT_YET]
    least, most = (f"{pick(machine.slowness, default=1.0):.1f}" for pick in (min, max))
    took = least if least == most else f"{least} to {most}"
    evidence = [f"{len(machine.slowness)} times fixed work took {took} times as long as on a quiet machine"]
    if machine.steal_percent is None or machine.load is None:
        evidence.append("its load and its stolen CPU time cannot be seen from the lab kernel")
    else:
        evidence.append(f"{machine.steal_percent:.0f} % of CPU time stolen, load {machine.load:.1f}")
    if machine.prober_late_ms is not None:
        evidence.append(f"prober late by {_ms(machine.prober_late_ms)}")
    return [f"{' and '.join(machine.words) or 'quiet'}: {evidence[0]}", "; ".join(evidence[1:])]


def as_text(report: Report) -> str:
    """Return the report as plain text."""
    lines = [f"{heading + ':':<12}{text}" for heading, texts in rows(report) for text in _hung(texts)]
    faults = report.faults()
    return "\n".join([*lines, *(["", *(f"not shown: {fault}" for fault in faults)] if faults else [])])


def _hung(texts: list[str]) -> list[str]:
    return ["\n".join([texts[0], *(" " * 12 + text for text in texts[1:])])]


def as_table(report: Report) -> RenderableType:
    """Return the report as a table for a terminal."""
    from rich.table import Table  # noqa: PLC0415  on a terminal only

    table = Table(title="From a policy to a guest that moves", title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for heading, texts in rows(report):
        style = "yellow" if texts == [NOT_YET] else None
        table.add_row(heading, "\n".join(texts), style=style)
    for fault in report.faults():
        table.add_row("Not shown", fault, style="red")
    return table
