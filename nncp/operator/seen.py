"""What the controller sees: policies, nodes, and what each node is asked for and says of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from nncp.document.spec import PolicySpec
from nncp.operator.objects import PolicyStatus
from nncp.operator.rollout import Phase
from nncp.operator.selection import Node


class Policy(Struct, frozen=True):
    """A policy of the API.

    Args:
        name: its name.
        uid: another one of the same name has another.
        generation: which of its specs this is.
        version: of the object, for a write that is to meet what was seen.
        created: when it was made, as the API writes it.
        spec: what it asks for; None where that cannot be read.
        error: why it cannot.
        status: what was said of it last.
        plan_of: of one that a command has made to ask what another would do, that one's name.
        waits: whether nobody has adopted it yet.

    """

    name: str
    uid: str
    generation: int
    version: str
    created: str
    spec: PolicySpec | None
    error: str = ""
    status: PolicyStatus = PolicyStatus()
    plan_of: str = ""
    waits: bool = False

    @property
    def is_plan(self) -> bool:
        """Whether it changes nothing anywhere, and so stands outside of what others ask for."""
        return self.spec is not None and self.spec.mode == "Plan"


class Enactment(Struct, frozen=True):
    """A node's part in a policy, of the API.

    Args:
        name: the object's.
        node: whose part it is; empty where its spec is not ours.
        policy: the policy's name.
        version: of the object.
        text: what the node is asked for, see `nncp.operator.text.text_of`.
        asked: a digest of it.
        go: the attempt that the node may make.
        aborted: whether it will not make any.
        reverts: whether it is to go back to what was before the policy.
        is_plan: whether it only says what it would do.
        on_delete: what is to become of it when the policy is not for its node any more.
        answers: the digest that the node speaks of.
        attempt: how often it has asked to be let go anew with it.
        ended: the attempt whose end it has told last.
        said: how far it says that it is.
        error: why it failed.
        changes: how many lines its plan has.
        flaps: interfaces whose traffic that would interrupt.
        is_drifted: whether it is no longer as it was asked to be.

    """

    name: str
    node: str = ""
    policy: str = ""
    version: str = ""
    text: bytes = b""
    asked: str = ""
    go: str = ""
    aborted: bool = False
    reverts: bool = False
    is_plan: bool = False
    on_delete: str = "Keep"
    answers: str = ""
    attempt: int = 0
    ended: str = ""
    said: Phase = Phase.NEW
    error: str = ""
    changes: int = 0
    flaps: tuple[str, ...] = ()
    is_drifted: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it is called what it is about: no other is ours."""
        return bool(self.node) and self.name == f"{self.node}.{self.policy}"

    @property
    def token(self) -> str:
        """The attempt that the node would make next."""
        return f"{self.asked}.{self.attempt if self.answers == self.asked else 0}"

    @property
    def is_untouched(self) -> bool:
        """Whether its node has never said a word of it, and so has changed nothing for it."""
        return not (self.answers or self.go or self.ended)

    @property
    def holds_slot(self) -> bool:
        """Whether it was let go and has not told how that ended, whatever it is asked for now."""
        return bool(self.go) and self.ended != self.go

    @property
    def phase(self) -> Phase:
        """How far the node is with what it is asked for now."""
        if self.aborted:
            return Phase.ABORTED
        if self.holds_slot and self.go == self.token:
            return Phase.GOING
        # What it says of something else, or of an attempt that has ended, does not count.
        return self.said if self.answers == self.asked and self.said is not Phase.GOING else Phase.NEW


class Seen(Struct, frozen=True):
    """All that the controller sees.

    Args:
        policies: by name.
        nodes: by name.
        enactments: by the object's name.
        refused: by an enactment's name, why the API server does not take what was to be written.
        waiting: the uids of policies that are not adopted yet, by name.
        outlived: the names of policies that commands have left behind.

    """

    policies: Mapping[str, Policy]
    nodes: Mapping[str, Node]
    enactments: Mapping[str, Enactment]
    refused: Mapping[str, str] = {}
    waiting: Mapping[str, str] = {}
    outlived: frozenset[str] = frozenset()
