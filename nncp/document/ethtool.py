"""What a document says of a driver: the section `ethtool`, as every `nmstatectl show` prints it.

It is read, so that a mistake in it is told, and left to the link, as the section `ethernet` is.
"""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from msgspec import UNSET

from nncp.document.lax import U32, LaxBool, Maybe
from nncp.document.section import Section


class Pause(Section, frozen=True):
    """Whether a card asks for pauses and keeps them (IEEE 802.3, annex 31B)."""

    rx: Maybe[LaxBool] = UNSET
    tx: Maybe[LaxBool] = UNSET
    autoneg: Maybe[LaxBool] = UNSET


class Coalesce(Section, frozen=True):
    """How many frames, or for how many microseconds, a card collects before it interrupts."""

    adaptive_rx: Maybe[LaxBool] = UNSET
    adaptive_tx: Maybe[LaxBool] = UNSET
    pkt_rate_high: Maybe[U32] = UNSET
    pkt_rate_low: Maybe[U32] = UNSET
    rx_frames: Maybe[U32] = UNSET
    rx_frames_high: Maybe[U32] = UNSET
    rx_frames_low: Maybe[U32] = UNSET
    rx_frames_irq: Maybe[U32] = UNSET
    rx_usecs: Maybe[U32] = UNSET
    rx_usecs_high: Maybe[U32] = UNSET
    rx_usecs_low: Maybe[U32] = UNSET
    rx_usecs_irq: Maybe[U32] = UNSET
    tx_frames: Maybe[U32] = UNSET
    tx_frames_high: Maybe[U32] = UNSET
    tx_frames_low: Maybe[U32] = UNSET
    tx_frames_irq: Maybe[U32] = UNSET
    tx_usecs: Maybe[U32] = UNSET
    tx_usecs_high: Maybe[U32] = UNSET
    tx_usecs_low: Maybe[U32] = UNSET
    tx_usecs_irq: Maybe[U32] = UNSET
    sample_interval: Maybe[U32] = UNSET
    stats_block_usecs: Maybe[U32] = UNSET


class Ring(Section, frozen=True):
    """How many frames a card's rings hold, and may hold."""

    rx: Maybe[U32] = UNSET
    rx_max: Maybe[U32] = UNSET
    rx_jumbo: Maybe[U32] = UNSET
    rx_jumbo_max: Maybe[U32] = UNSET
    rx_mini: Maybe[U32] = UNSET
    rx_mini_max: Maybe[U32] = UNSET
    tx: Maybe[U32] = UNSET
    tx_max: Maybe[U32] = UNSET


class Ethtool(Section, frozen=True):
    """What a driver does; `feature` says which features, by the names of the kernel or of ethtool, are on.

    ethtool:
      feature:
        rx-gro: true
      ring:
        rx: 256
    """

    pause: Maybe[Pause] = UNSET
    feature: Maybe[dict[str, LaxBool]] = UNSET
    coalesce: Maybe[Coalesce] = UNSET
    ring: Maybe[Ring] = UNSET
