"""What two launchers say to each other around a migration: one JSON object a line, over their own TLS.

A connection begins with a `Hello` of the source, and the target's `Welcome`. A line may be lost with its
connection: what matters is asked or said again, and RESUME speaks for itself.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from launcher.migration.facts import Arrival, Facts
from launcher.migration.states import Phase

VERSION = 1
LARGEST = 1 << 16


Purpose: TypeAlias = Literal["words", "libvirt", "memory"]
"""What a connection is for: words, or what libvirt's daemons or the two QEMUs say, which is passed on."""


class Hello(Struct, frozen=True):
    """The first line of a connection."""

    version: int
    purpose: Purpose


class Welcome(Struct, frozen=True):
    """The answer to a hello; with a refusal the connection ends."""

    version: int
    refusal: str = ""


class Ask(Struct, frozen=True, tag_field="word", tag="ask"):
    """Source: are you ready? Answered by `Ready`."""


class Ready(Struct, frozen=True, tag_field="word", tag="ready"):
    """Target: how it is, and what it is."""

    phase: Phase
    facts: Facts


class Stopped(Struct, frozen=True, tag_field="word", tag="stopped"):
    """Source: the guest is paused."""


class Back(Struct, frozen=True, tag_field="word", tag="back"):
    """Source: the guest stays here."""


class Where(Struct, frozen=True, tag_field="word", tag="where"):
    """Source: has it arrived? Answered by `Coming`, and by `Arrived` once it has."""


class Coming(Struct, frozen=True, tag_field="word", tag="coming"):
    """Target: this Pod is at it, wait."""


class Arrived(Struct, frozen=True, tag_field="word", tag="arrived"):
    """Target: the guest runs here."""

    arrival: Arrival


Word: TypeAlias = Ask | Ready | Stopped | Back | Where | Coming | Arrived

_DECODER: msgspec.json.Decoder[Word] = msgspec.json.Decoder(Word)


def decoded(line: bytes) -> Word | None:
    """Return the word in a line; None when it is odd, which is as good as silence."""
    try:
        return _DECODER.decode(line)
    except (ValueError, RecursionError):  # msgspec's own errors are ValueErrors, as is what is not UTF-8
        return None
