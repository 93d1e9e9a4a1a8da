"""What a document says of a driver: the section `ethtool`, as every `nmstatectl show` prints it.

It is read, so that a mistake in it is told, and left to the link, as the section `ethernet` is.
"""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import ClassVar

from msgspec import UNSET

from nncp.document.lax import U32, LaxBool, Maybe
from nncp.document.section import Section


class Pause(Section, frozen=True):
    """Whether a card asks for pauses and keeps them (IEEE 802.3, annex 31B)."""

    meaning: ClassVar[Mapping[str, str]] = {
        "rx": "Whether the card stops sending when its switch asks for a pause.",
        "tx": "Whether the card asks its switch for a pause when it cannot keep up.",
        "autoneg": "Whether card and switch agree upon pauses by themselves.",
    }

    rx: Maybe[LaxBool] = UNSET
    tx: Maybe[LaxBool] = UNSET
    autoneg: Maybe[LaxBool] = UNSET


class Coalesce(Section, frozen=True):
    """How many frames, or for how many microseconds, a card collects before it interrupts."""

    meaning: ClassVar[Mapping[str, str]] = {
        "adaptive_rx": "Whether the driver fits the limits of received frames to the traffic.",
        "adaptive_tx": "Whether the driver fits the limits of sent frames to the traffic.",
        "pkt_rate_high": "Packets a second above which the -high limits hold.",
        "pkt_rate_low": "Packets a second below which the -low limits hold.",
        "rx_frames": "How many received frames are collected before an interrupt; 0 counts none.",
        "rx_frames_high": "What rx-frames is while more than pkt-rate-high packets a second pass.",
        "rx_frames_low": "What rx-frames is while fewer than pkt-rate-low packets a second pass.",
        "rx_frames_irq": "What rx-frames is while an interrupt is being served.",
        "rx_usecs": "For how many microseconds received frames are collected before an interrupt; 0 is none.",
        "rx_usecs_high": "What rx-usecs is while more than pkt-rate-high packets a second pass.",
        "rx_usecs_low": "What rx-usecs is while fewer than pkt-rate-low packets a second pass.",
        "rx_usecs_irq": "What rx-usecs is while an interrupt is being served.",
        "tx_frames": "How many sent frames are collected before an interrupt; 0 counts none.",
        "tx_frames_high": "What tx-frames is while more than pkt-rate-high packets a second pass.",
        "tx_frames_low": "What tx-frames is while fewer than pkt-rate-low packets a second pass.",
        "tx_frames_irq": "What tx-frames is while an interrupt is being served.",
        "tx_usecs": "For how many microseconds sent frames are collected before an interrupt; 0 is none.",
        "tx_usecs_high": "What tx-usecs is while more than pkt-rate-high packets a second pass.",
        "tx_usecs_low": "What tx-usecs is while fewer than pkt-rate-low packets a second pass.",
        "tx_usecs_irq": "What tx-usecs is while an interrupt is being served.",
        "sample_interval": "Seconds between two looks at how many packets pass.",
        "stats_block_usecs": "Microseconds between two updates of the statistics in memory.",
    }

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

    meaning: ClassVar[Mapping[str, str]] = {
        "rx": "How many received frames the card's ring holds.",
        "rx_max": "The most that rx can be, as the driver tells it.",
        "rx_jumbo": "How many received jumbo frames a ring of their own holds.",
        "rx_jumbo_max": "The most that rx-jumbo can be, as the driver tells it.",
        "rx_mini": "How many received small frames a ring of their own holds.",
        "rx_mini_max": "The most that rx-mini can be, as the driver tells it.",
        "tx": "How many frames to be sent the card's ring holds.",
        "tx_max": "The most that tx can be, as the driver tells it.",
    }

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

    meaning: ClassVar[Mapping[str, str]] = {
        "feature": "Which of the driver's features are on, by the names of the kernel or of ethtool.",
    }

    pause: Maybe[Pause] = UNSET
    feature: Maybe[dict[str, LaxBool]] = UNSET
    coalesce: Maybe[Coalesce] = UNSET
    ring: Maybe[Ring] = UNSET
