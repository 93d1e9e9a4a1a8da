"""The VLANs of a bridge port, which Linux bridges and OVS bridges write alike."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Iterator, Mapping
from typing import ClassVar, TypeAlias

from msgspec import UNSET

from nncp.document.lax import LaxBool, LaxEnum, Maybe, VlanTag, given
from nncp.document.section import Section
from nncp.document.source import Step

Problem: TypeAlias = tuple[tuple[Step, ...], str, str]
"""Steps below the thing that is wrong, a sentence that continues its name, and a hint."""


class VlanMode(LaxEnum, words=("access", "trunk")):
    """One untagged VLAN, or several tagged ones."""

    __slots__ = ()


class IdRange(Section, frozen=True):
    """VLANs from `min` to `max`, both included."""

    meaning: ClassVar[Mapping[str, str]] = {
        "min": "The first VLAN.",
        "max": "The last VLAN, which belongs to the range.",
    }

    min: VlanTag
    max: VlanTag


class TrunkTag(Section, frozen=True):
    """One VLAN, or a range of them."""

    meaning: ClassVar[Mapping[str, str]] = {
        "id": "The number of one VLAN.",
        "id_range": "The VLANs of a range.",
    }

    id: Maybe[VlanTag] = UNSET
    id_range: Maybe[IdRange] = UNSET

    @property
    def ends(self) -> tuple[int, int] | None:
        """The first and the last VLAN, None when nothing or nonsense is written."""
        one, several = given(self.id), given(self.id_range)
        if one is not None:
            return one, one
        return (several.min, several.max) if several and several.min <= several.max else None


class PortVlan(Section, frozen=True):
    """The VLANs of a port; `vlan: {}` ends the filtering.

    vlan:
      mode: trunk
      enable-native: true
      tag: 10
      trunk-tags:
      - id: 33
      - id-range: {min: 100, max: 200}
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "mode": "Whether the port has one untagged VLAN (access) or tagged ones (trunk).",
        "tag": "The untagged VLAN: of an access port, or of a trunk with enable-native.",
        "enable_native": (
            "Whether a trunk has an untagged VLAN of its own in place of the bridge's, which is the tag."
        ),
        "trunk_tags": "The VLANs that a trunk carries tagged.",
    }

    mode: Maybe[VlanMode] = UNSET
    tag: Maybe[VlanTag] = UNSET
    enable_native: Maybe[LaxBool] = UNSET
    trunk_tags: Maybe[tuple[TrunkTag, ...]] = UNSET

    def problems(self) -> Iterator[Problem]:
        """Yield what the properties cannot mean together."""
        mode, tags = given(self.mode), given(self.trunk_tags) or ()
        if mode == "trunk":
            yield from self._trunk_problems()
        elif mode == "access":
            yield from self._access_problems()
        elif tags or given(self.tag) is not None or given(self.enable_native):
            yield ("mode",), "is missing", "mode: access for one untagged VLAN, mode: trunk for tagged ones"
        yield from _tag_problems(tags)

    def _trunk_problems(self) -> Iterator[Problem]:
        if not given(self.trunk_tags):
            yield ("trunk-tags",), "is missing: a trunk lists its VLANs", "trunk-tags: [{id: 33}]"
        native, tag = given(self.enable_native), given(self.tag)
        if tag is not None and not native:
            yield ("tag",), "of a trunk is its native VLAN, and needs enable-native: true", ""
        if native and tag is None:
            yield ("tag",), "is missing: enable-native needs the VLAN that is native", "tag: 1"

    def _access_problems(self) -> Iterator[Problem]:
        if given(self.tag) is None:
            yield ("tag",), "is missing: mode: access needs its VLAN", "tag: 33"
        if given(self.enable_native):
            yield ("enable-native",), "is for mode: trunk; an access port's VLAN is always untagged", ""
        if given(self.trunk_tags):
            yield ("trunk-tags",), "is for mode: trunk", "use mode: trunk to carry several VLANs"


def _tag_problems(tags: tuple[TrunkTag, ...]) -> Iterator[Problem]:
    ranges: list[tuple[int, int, int]] = []
    for at, tag in enumerate(tags):
        span = given(tag.id_range)
        if (given(tag.id) is None) == (span is None):
            yield ("trunk-tags", at), "must have either id or id-range", ""
        elif span and span.min > span.max:
            hint = f"swap them: min: {span.max}, max: {span.min}"
            yield ("trunk-tags", at, "id-range"), f"ends before it starts: {span.min} to {span.max}", hint
        if tag.ends:
            ranges.append((*tag.ends, at))
    yield from _overlaps(sorted(ranges))


def _overlaps(ranges: list[tuple[int, int, int]]) -> Iterator[Problem]:
    """Yield each range that starts before one of the earlier ones has ended."""
    start, end, holder = 0, 0, -1  # the range that reaches furthest so far
    for first, last, at in ranges:
        if first <= end:
            one, other = sorted((holder, at))
            spans = f"{_span(start, end)} and {_span(first, last)}" if one == holder else None
            spans = spans or f"{_span(first, last)} and {_span(start, end)}"
            yield ("trunk-tags", other), f"overlaps an earlier one: {spans}", "name each VLAN once"
        if last > end:
            start, end, holder = first, last, at


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
