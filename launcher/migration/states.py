"""How a guest leaves one Pod and arrives in another: events in, actions out.

libvirt moves the guest; this decides what surrounds it. Source and target each run one of these:

    source   RUNNING ─leave─▶ LEAVING ─stop─▶ PAUSED ─moved─▶ GONE
                                  ╲              ╲─resume─▶ RUNNING: it is back, announce, tell the target
    target   WAITING ─"stopped"─▶ ARRIVING ─resume─▶ RUNNING: announce again, tell the source
                  ╲                  ╲─"back", or its QEMU ends─▶ ABANDONED: the gate is closed

The gate opens at the source's STOP, not at the target's RESUME: the switches turn while the guest is paused,
and what arrives meanwhile waits in the tap's queue. That gives the address away before the migration is
final, so the way back is as much a part of it as the way forth. Whatever was said: the guest is where its
QEMU runs, so RESUME always opens and announces.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

ANNOUNCE_MS = (0, 50, 150)
"""When the guest's address is announced, counted from the decision: the first is enough unless it is lost."""


class Phase(Enum):
    """Where a Pod is in its guest's life."""

    RUNNING = "running"
    LEAVING = "leaving"
    PAUSED = "paused"
    STRANDED = "stranded"  # the migration failed and the guest has not resumed yet
    GONE = "gone"
    WAITING = "waiting"
    ARRIVING = "arriving"
    ABANDONED = "abandoned"
    ENDED = "ended"


class Event(Enum):
    """What happens to a Pod."""

    LEAVE = "leave"  # somebody asked for a migration
    STOP = "stop"  # QEMU paused the guest
    RESUME = "resume"  # QEMU runs the guest
    MOVED = "moved"  # libvirt says that the migration is through
    FAILED = "failed"  # libvirt says that it is not
    HEARD_STOPPED = "heard stopped"  # the source's word
    HEARD_BACK = "heard back"
    LOST = "lost"  # QEMU has ended
    EXPIRED = "expired"  # nobody came


class Action(Enum):
    """What a Pod does about it."""

    OPEN = "open"
    CLOSE = "close"
    DECOY = "decoy"  # give QEMU a frame to lose
    ANNOUNCE = "announce"
    MUTE = "mute"  # take back announcements that are still due
    SAY_STOPPED = "say stopped"
    SAY_BACK = "say back"
    SAY_ARRIVED = "say arrived"
    GIVE_WAY = "give way"  # let the guest go before its management for a while
    LIFT = "lift"  # take back what the migration needed of the Pod's nftables
    END = "end"  # nothing is left to do in this Pod


class Step(Struct, frozen=True):
    """What an event leads to."""

    phase: Phase
    actions: tuple[Action, ...] = ()


_ARRIVED = (Action.ANNOUNCE, Action.GIVE_WAY, Action.SAY_ARRIVED, Action.LIFT)
_GIVEN_UP = (Action.MUTE, Action.CLOSE, Action.LIFT)
_BACK = (Action.ANNOUNCE, Action.GIVE_WAY, Action.SAY_BACK)

STEPS: Mapping[tuple[Phase, Event], Step] = {
    (Phase.RUNNING, Event.LEAVE): Step(Phase.LEAVING),
    (Phase.RUNNING, Event.LOST): Step(Phase.ENDED, (Action.END,)),
    (Phase.LEAVING, Event.STOP): Step(Phase.PAUSED, (Action.SAY_STOPPED,)),
    (Phase.LEAVING, Event.FAILED): Step(Phase.RUNNING, (Action.SAY_BACK,)),
    (Phase.LEAVING, Event.MOVED): Step(Phase.GONE, (Action.END,)),
    (Phase.LEAVING, Event.LOST): Step(Phase.ENDED, (Action.END,)),
    (Phase.PAUSED, Event.RESUME): Step(Phase.RUNNING, _BACK),
    (Phase.PAUSED, Event.MOVED): Step(Phase.GONE, (Action.END,)),
    (Phase.PAUSED, Event.FAILED): Step(Phase.STRANDED),
    (Phase.STRANDED, Event.RESUME): Step(Phase.RUNNING, _BACK),
    (Phase.STRANDED, Event.LOST): Step(Phase.ENDED, (Action.END,)),
    (Phase.WAITING, Event.HEARD_STOPPED): Step(Phase.ARRIVING, (Action.DECOY, Action.OPEN, Action.ANNOUNCE)),
    (Phase.WAITING, Event.RESUME): Step(Phase.RUNNING, (Action.OPEN, *_ARRIVED)),  # the word was lost
    (Phase.WAITING, Event.HEARD_BACK): Step(Phase.ABANDONED, _GIVEN_UP),
    (Phase.WAITING, Event.LOST): Step(Phase.ABANDONED, _GIVEN_UP),
    (Phase.WAITING, Event.EXPIRED): Step(Phase.ABANDONED, _GIVEN_UP),
    (Phase.ARRIVING, Event.RESUME): Step(
        Phase.RUNNING, (Action.OPEN, *_ARRIVED)
    ),  # the first may have failed
    (Phase.ARRIVING, Event.HEARD_BACK): Step(Phase.ABANDONED, _GIVEN_UP),
    (Phase.ARRIVING, Event.LOST): Step(Phase.ABANDONED, _GIVEN_UP),
    (Phase.ABANDONED, Event.RESUME): Step(Phase.RUNNING, (Action.OPEN, Action.ANNOUNCE)),
}


def step(phase: Phase, event: Event) -> Step:
    """Return where an event leads, and what is to be done; what means nothing in a phase changes nothing."""
    return STEPS.get((phase, event), Step(phase))
