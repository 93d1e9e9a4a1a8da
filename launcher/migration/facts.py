"""What two launchers know of themselves, whether a guest may go between them, and how long it took."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

SAFE_TCG = (10, 0)
"""The first QEMU that migrates a TCG guest without losing stores ("system/physmem: Fix migration dirty bitmap
coherency with TCG memory access", in 9.0; 10.0 is the oldest that we have watched for 200 migrations)."""


class Facts(Struct, frozen=True):
    """What one side of a migration tells the other before it starts."""

    qemu: tuple[int, int, int] = (0, 0, 0)
    accelerator: str = ""
    boot_id: str = ""
    host_uuid: str = ""
    vm: str = ""
    macs: dict[str, str] = {}
    mtus: dict[str, int] = {}
    addresses: dict[str, str] = {}
    """What each network's DHCP tells the guest to be its own; empty where nobody tells it."""


def refusals(source: Facts, target: Facts) -> Iterator[str]:
    """Yield why a guest cannot go from `source` to `target`, one sentence each."""
    if source.accelerator != target.accelerator:
        yield f"the guest runs with {source.accelerator}, the target Pod has {target.accelerator}"
    oldest = min(source.qemu, target.qemu)
    if "tcg" in {source.accelerator, target.accelerator} and (said := unsafe(oldest)):
        yield said
    if target.qemu < source.qemu:
        yield f"the target's QEMU {dotted(target.qemu)} is older than the source's {dotted(source.qemu)}"
    if source.host_uuid == target.host_uuid:
        yield "source and target are the same Pod"
    if source.vm != target.vm:
        yield f"the target Pod waits for VM {target.vm}, and the guest is {source.vm}"
        return
    for name in sorted(source.macs.keys() ^ target.macs.keys()):
        has, lacks = ("source", "target") if name in source.macs else ("target", "source")
        yield f"the {has} Pod has interface {name}, which the {lacks} Pod has not"
    for name in sorted(source.macs.keys() & target.macs.keys()):
        yield from _differences(name, source, target)


def _differences(name: str, source: Facts, target: Facts) -> Iterator[str]:
    """Yield what the guest would not find again at one of its interfaces."""
    mac, mtu, address = source.macs[name], source.mtus.get(name), source.addresses.get(name, "")
    if target.macs[name] != mac:
        yield f"interface {name} has MAC {mac} in the source Pod and {target.macs[name]} in the target's"
    # The guest keeps the MTU that its domain was started with; a smaller one drops in silence.
    if target.mtus.get(name) != mtu:
        yield f"network {name} has MTU {mtu} in the source Pod and {target.mtus.get(name)} in the target's"
    there = target.addresses.get(name, "")
    if there != address:
        yield (
            f"network {name} gives the guest {address or 'no address'} in the source Pod and "
            f"{there or 'none'} in the target's: it would keep what it has, and be refused its lease"
        )


def unsafe(qemu: tuple[int, ...]) -> str:
    """Return why a TCG guest of this QEMU must not migrate, or nothing."""
    if qemu >= SAFE_TCG:
        return ""
    return f"QEMU {dotted(qemu)} corrupts a TCG guest's memory when it migrates; {dotted(SAFE_TCG)} is needed"


def dotted(version: tuple[int, ...]) -> str:
    """Return a version as people write it."""
    return ".".join(str(part) for part in version)


class Timing(Struct, frozen=True):
    """When the guest was paused and ran again, in seconds, each by its own side's clock."""

    stopped: float
    boot_id: str


class Arrival(Struct, frozen=True):
    """What the target tells of the guest's arrival; `downtime_ms` is libvirt's own figure."""

    resumed: float
    boot_id: str
    downtime_ms: int | None = None


def downtime(left: Timing | None, arrived: Arrival | None) -> dict[str, Any]:
    """Return the pause in milliseconds, and by whose measure.

    STOP to RESUME where one clock stamped both (the same boot of the same kernel), libvirt's completed job
    on the target otherwise: its figure is 5 to 10 ms long.
    """
    if arrived is None:
        return {"downtime_ms": None, "downtime_by": "unknown"}
    if left is not None and left.boot_id == arrived.boot_id:
        return {"downtime_ms": round((arrived.resumed - left.stopped) * 1000, 1), "downtime_by": "clock"}
    by = "unknown" if arrived.downtime_ms is None else "libvirt"
    return {"downtime_ms": arrived.downtime_ms, "downtime_by": by}
