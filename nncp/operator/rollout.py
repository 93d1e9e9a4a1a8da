"""Which nodes may change now, and which will not: decided anew each time from what the enactments say. Pure.

Nothing is counted up or down, so nothing can be left over: a slot is an enactment that was let go and has not
said how it ended. A node that has fallen silent since then holds its slot, and counts as failed, until it
says something: a policy that cuts off one node must not go on to the next.
"""

from __future__ import annotations

import math
import re
from enum import Enum
from typing import TYPE_CHECKING

from msgspec import Struct

from nncp.document.spec import SHARE
from nncp.operator.selection import Node

if TYPE_CHECKING:
    from collections.abc import Container, Sequence


DEFAULT = "50%"
"""Of the matching nodes, rounded up (kubernetes-nmstate, pkg/node/nodes.go)."""


class Phase(Enum):
    """How far a node is with one generation of a policy."""

    NEW = "New"  # it has not looked yet
    PENDING = "Pending"  # it would change something, and waits to be let go
    GOING = "Progressing"  # it was let go, and has not said how it ended
    DONE = "Available"
    FAILED = "Failing"  # and is as it was before
    ABORTED = "Aborted"  # it was not let go, since others failed


class Enactment(Struct, frozen=True):
    """A node's part in one generation of a policy."""

    node: Node
    phase: Phase
    holds_slot: bool = False
    """Whether it was let go, with this or something before it, and has not told how that ended."""

    @property
    def has_failed(self) -> bool:
        """Whether it counts as failed: it says so, or is silent since it was let go."""
        return self.phase is Phase.FAILED or (self.holds_slot and not self.node.is_ready)


class Decision(Struct, frozen=True):
    """What is to be said to the enactments now."""

    go: tuple[str, ...] = ()
    """Nodes that may change."""
    abort: tuple[str, ...] = ()
    """Nodes that will not."""


def most(wanted: object, matching: int) -> tuple[int, str]:
    """Return how many nodes may change at the same time, and what is wrong with what was asked for.

    Args:
        wanted: a number of nodes, or a share of them like "50%", rounded up; None for the default.
        matching: how many nodes the policy is for.

    """
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted >= 0:
        return max(1, wanted), ""
    share = re.fullmatch(SHARE, wanted) if isinstance(wanted, str) else None
    if share:
        return max(1, math.ceil(matching * int(share[1]) / 100)), ""
    usual, _ = most(DEFAULT, matching)
    if wanted is None:
        return usual, ""
    return (
        usual,
        f"maxUnavailable {wanted!r} is neither a number of nodes nor a share of them: {DEFAULT} is taken",
    )


def decide(
    enactments: Sequence[Enactment],
    limit: int,
    *,
    paused: bool = False,
    blocked: Container[str] = (),
    busy: frozenset[str] = frozenset(),
) -> Decision:
    """Return which nodes are let go now, in their order, and which are not any more.

    Args:
        enactments: of one policy, one for each node, in the order of their turns.
        limit: how many may change at the same time.
        paused: nobody begins while it is.
        blocked: nodes on which another policy comes first.
        busy: control planes that change, for whatever policy, or are not ready.

    """
    waiting = [each for each in enactments if each.phase is Phase.PENDING]
    if sum(each.phase is Phase.FAILED for each in enactments) >= limit:
        return Decision(abort=tuple(each.node.name for each in waiting))
    if sum(each.has_failed for each in enactments) >= limit:
        return Decision()  # one that is silent may still say that it is done
    if paused or any(each.phase is Phase.NEW and each.node.is_ready for each in enactments):
        return Decision()  # each is looked at on its node before any node changes
    free = limit - sum(each.holds_slot for each in enactments)
    busy |= {each.node.name for each in enactments if each.holds_slot and each.node.is_control_plane}
    go: list[str] = []
    for each in waiting:
        may = each.node.is_ready and not each.holds_slot and each.node.name not in blocked
        if len(go) < free and may and not (each.node.is_control_plane and busy - {each.node.name}):
            go.append(each.node.name)
            busy |= {each.node.name} if each.node.is_control_plane else set()
    return Decision(go=tuple(go))
