"""What a network card agrees upon with its switch: the section `ethernet`, which veths have as well."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import U32, LaxBool, LaxEnum, Maybe
from nncp.document.section import Section


class Duplex(LaxEnum, words=("full", "half")):
    """Whether a card sends and receives at the same time."""

    __slots__ = ()


class EthernetConfig(Section, frozen=True):
    """A network card, and how it talks to its switch; the speed in Mb/s.

    interfaces:
    - name: eth1
      type: ethernet
      mtu: 9000
      ethernet:
        auto-negotiation: true
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "auto_negotiation": "Whether card and switch agree upon speed and duplex by themselves.",
        "duplex": "Whether the card sends and receives at once (full) or by turns (half).",
        "speed": "Megabits a second.",
        "sr_iov": "The virtual functions of the card, and what each may do.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "speed": 1000,
    }

    auto_negotiation: Maybe[LaxBool] = UNSET
    duplex: Maybe[Duplex] = UNSET
    speed: Maybe[U32] = UNSET
    sr_iov: Any = UNSET


AS_IT_IS: Mapping[str, tuple[str, ...]] = {"ethernet": ("auto-negotiation", "speed", "duplex")}
"""What is read, and left to the card: every `nmstatectl show` tells it."""
