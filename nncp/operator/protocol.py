"""What is said on the engine's socket: a request a line, and for each an answer on a line, in JSON.

The engine knows nothing of Kubernetes, and whoever asks it nothing of netlink: this is all that both know.
"""

# No `from __future__ import annotations` here: msgspec evaluates the annotations.
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from nncp.errors import Error, ErrorKind

VERSION = 1
LONGEST = 3 << 20
"""Bytes of a line: an object of the API has 1.5 MB at most (etcd, --max-request-bytes)."""
API_SERVER = "apiServer"
"""The probe that is the API server, wherever a Pod is told that it is."""
USUAL = (API_SERVER, "ping:gw")
"""What is asked after a change when a policy says nothing: what does not answer before is left out."""


class Document(Struct, frozen=True, omit_defaults=True):
    """A policy as one node has it."""

    name: str
    desired: Any = None
    capture: Mapping[str, str] = {}


class Request(Struct, frozen=True, omit_defaults=True, tag_field="ask"):
    """What is asked; one of another version is refused."""

    version: int = VERSION


class Plan(Request, frozen=True, tag="plan", kw_only=True):
    """What would an apply write.

    With `settled` it is looked for while no apply goes on, which might only have come halfway. With `adopt` a
    document that asks for what already is so is in force from then on, and comes back after a
    start of the node: nothing is written for it.
    """

    document: Document
    settled: bool = False
    adopt: bool = False


class Apply(Request, frozen=True, tag="apply", kw_only=True):
    """Make it so, or say how that has ended: an attempt is made once."""

    attempt: str
    document: Document
    probes: Sequence[str] | None = None


class RevertPlan(Request, frozen=True, tag="revert-plan", kw_only=True):
    """What would be written to go back to what was before a policy."""

    name: str


class Revert(Request, frozen=True, tag="revert", kw_only=True):
    """Go back to what was before a policy, and forget it; see `Apply`."""

    attempt: str
    name: str
    probes: Sequence[str] | None = None


class Ask(Request, frozen=True, tag="outcome", kw_only=True):
    """How an attempt has ended. With `wait` the answer comes once it does not go on."""

    attempt: str
    name: str
    wait: bool = False


class Show(Request, frozen=True, tag="show"):
    """What the node's network is now, without what is Pods'."""


class Watch(Request, frozen=True, tag="watch"):
    """Answer a line whenever it may have changed, until the line is closed."""


class Answer(Struct, frozen=True, omit_defaults=True, tag_field="is"):
    """What is answered."""


class Planned(Answer, frozen=True, tag="planned"):
    """What an apply would write.

    Args:
        differ: whether there is something.
        lines: as `nncp plan` says them, what is left out among them.
        flaps: interfaces whose traffic it would interrupt.
        desired: the state with what its templates refer to.
        taken: what captures took, by their names.

    """

    differ: bool
    lines: Sequence[str] = ()
    flaps: Sequence[str] = ()
    desired: Any = None
    taken: Mapping[str, Any] = {}


class Phase(Enum):
    """How far an attempt is."""

    NEVER = "never"  # nothing is known of it: it has not begun, or long ago
    BEGUN = "begun"  # it goes on
    DONE = "done"
    FAILED = "failed"  # and the node is as it was before
    CUT = "cut"  # whoever made it was ended, and what it had written is undone


class Outcome(Answer, frozen=True, tag="outcome"):
    """How an attempt has ended, or that it goes on.

    Args:
        attempt: which.
        phase: how far it is.
        error: why it failed, in one line.
        tries: how often it was begun.
        seconds: how long it took the last time, a rollback included.
        desired: the state with what its templates refer to.
        taken: what captures took, by their names.

    """

    attempt: str
    phase: Phase
    error: str = ""
    tries: int = 0
    seconds: float = 0.0
    desired: Any = None
    taken: Mapping[str, Any] = {}


class Shown(Answer, frozen=True, tag="shown"):
    """The node's network.

    Args:
        state: in nmstate's words.
        truncated: what was left out of it for its size.
        restore: what brings it back at the node's start, or why nothing does; "" where that is not looked at.

    """

    state: Mapping[str, Any]
    truncated: str = ""
    restore: str = ""


class Installed(Answer, frozen=True, tag="installed"):
    """What brings the network back at the node's start from now on, and whether a kubelet does."""

    sentence: str
    is_pod: bool = False


class Changed(Answer, frozen=True, tag="changed"):
    """It may have changed."""


class Refused(Answer, frozen=True, tag="refused"):
    """It cannot be done: why, in one line, and of which kind that is."""

    error: str
    kind: int = ErrorKind.DOCUMENT.value


Asked: TypeAlias = Plan | Apply | RevertPlan | Revert | Ask | Show | Watch
Answered: TypeAlias = Planned | Outcome | Shown | Installed | Changed | Refused


def asked(line: bytes) -> Asked:
    """Return a request; raises `Error` (`USAGE`) when it is none, or of another version."""
    found: Asked = _decoded(line, Asked)
    if found.version != VERSION:
        message = f"a request of version {found.version}, and this engine answers version {VERSION}"
        raise Error(message, kind=ErrorKind.USAGE)
    return found


def answered(line: bytes) -> Answered:
    """Return an answer; raises `Error` (`USAGE`) when it is none."""
    found: Answered = _decoded(line, Answered)
    return found


def _decoded(line: bytes, kinds: Any) -> Any:
    try:
        return msgspec.json.decode(line, type=kinds)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Error(f"not understood: {error}", kind=ErrorKind.USAGE) from None


def line(said: Request | Answer) -> bytes:
    """Return what is said as a line."""
    return msgspec.json.encode(said) + b"\n"


def told(error: Error) -> str:
    """Return an error, and all that was found with it, on one line."""
    return "; ".join(f"{each.path}: {each.message}" if each.path else each.message for each in error)
