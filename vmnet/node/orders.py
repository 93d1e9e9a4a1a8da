"""What a launcher, which has no rights, may ask of its Pod's node handler, which has them.

One message a packet of a SOCK_SEQPACKET socket, each with its version. The handler knows the Pod from its
record: a launcher names no device and no MAC, so one that a guest has taken over reaches no other Pod.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

VERSION = 1
LARGEST = 4096


class Open(Struct, frozen=True, tag_field="act", tag="open"):
    """Open the gates."""


class Close(Struct, frozen=True, tag_field="act", tag="close"):
    """Close the gates."""


class Decoy(Struct, frozen=True, tag_field="act", tag="decoy"):
    """Put a frame that may be lost before what comes."""


class Announce(Struct, frozen=True, tag_field="act", tag="announce"):
    """Announce the guest, as many milliseconds from now as these; the first at once."""

    after_ms: Annotated[tuple[Annotated[int, Meta(ge=0, le=60_000)], ...], Meta(max_length=16)] = (0,)


class Mute(Struct, frozen=True, tag_field="act", tag="mute"):
    """Take back announcements that are still due."""


class Receive(Struct, frozen=True, tag_field="act", tag="receive"):
    """Let a migration in from the Pod at this address; before it has knocked, nothing but that."""

    source: str
    has_knocked: bool = False


class Send(Struct, frozen=True, tag_field="act", tag="send"):
    """Keep the Pod's guest from the port of a migration to the Pod at this address."""

    target: str


class Settle(Struct, frozen=True, tag_field="act", tag="settle"):
    """Take back what `Receive` or `Send` did."""

    what: Literal["receiving", "sending"]


Act: TypeAlias = Open | Close | Decoy | Announce | Mute | Receive | Send | Settle


class Order(Struct, frozen=True):
    """Acts to be done in this order, until one fails."""

    version: int
    number: int
    acts: Annotated[tuple[Act, ...], Meta(max_length=16)]


class Done(Struct, frozen=True):
    """What became of an order; `error` is empty when all of it was done."""

    version: int
    number: int
    error: str = ""


class Hello(Struct, frozen=True):
    """The handler's first word, beside the descriptors of all services' sockets in their order."""

    version: int
