"""What must hold before a VM lands on a bridge, judged from what the members of the bridge found. Pure.

A member is a node, or a third place on the segment that only answers. Each tells its facts (its bridge, its
uplink), and each pair has sent frames both ways. From these the verdict follows in one plain sentence.
Blame for a link needs a third member: when node-1 hears nobody and the others hear each other, it is
node-1's link. With two members, both links are named.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

Size = Literal["small", "full", "over"]
SIZES: tuple[Size, ...] = ("small", "full", "over")


class Ask(Struct, frozen=True):
    """What is asked: a bridge, a VLAN (0: untagged), and the MTU (0: what the uplinks have)."""

    bridge: str
    vlan: int = 0
    mtu: int = 0

    @property
    def traffic(self) -> str:
        """What the frames are, in words."""
        return f"VLAN {self.vlan}" if self.vlan else "untagged frames"


class Uplink(Struct, frozen=True, rename="kebab"):
    """The way out of a member: a port of its bridge, or the interface of a third place."""

    name: str
    mac: str = ""
    mtu: int = 1500
    running: bool = True
    state: str = "forwarding"
    carries: bool = True
    partner: bool = True
    """False for an 802.3ad bond that no switch answers."""


VERSION = 1
"""Of what members are asked and answer."""


class Facts(Struct, frozen=True, rename="kebab"):
    """What a member says of itself. `trouble` is why it could not say anything."""

    member: str
    node: bool = True
    exists: bool = True
    is_bridge: bool = True
    up: bool = True
    filters: bool = True
    uplink: Uplink | None = None
    trouble: str = ""


class Heard(Struct, frozen=True, rename="kebab"):
    """What became of one size of frame on its way: `arrived` is None when it was not sent.

    `vlan` is the tag it arrived with, `copies` how often one frame arrived.
    """

    arrived: bool | None = None
    vlan: int | None = None
    copies: int = 0


class Way(Struct, frozen=True, rename="kebab"):
    """One direction between two members, a frame of each size."""

    sender: str
    receiver: str
    small: Heard = Heard()
    full: Heard = Heard()
    over: Heard = Heard()


class Pair(Struct, frozen=True, rename="kebab"):
    """Two members and the ways between them."""

    bridge: str
    vlan: int
    mtu: int
    members: tuple[str, str]
    there: Way
    back: Way
    ok: bool


class Verdict(Struct, frozen=True, rename="kebab"):
    """What the whole comes to: the first reason as one sentence, all of them, and the matrix."""

    verdict: Literal["ok", "failed"]
    reason: str
    reasons: tuple[str, ...]
    pairs: tuple[Pair, ...]
    members: tuple[Facts, ...]


def judge(ask: Ask, facts: Sequence[Facts], ways: Sequence[Way]) -> Verdict:
    """Return the verdict over one bridge and VLAN."""
    fit = [f for f in facts if not list(faults(ask, f))]
    own = [reason for f in facts for reason in faults(ask, f)]
    between = list(_between(ask, fit, ways)) if len(fit) > 1 else []
    by_way = {(way.sender, way.receiver): way for way in ways}
    mtu = expected_mtu(ask, facts)
    pairs = tuple(_pair(ask, mtu, a.member, b.member, by_way) for a, b in combinations(facts, 2))
    reasons = (*own, *between)
    if not reasons and len(facts) < 2:
        reasons = ("one member alone proves nothing: name another",)
    return Verdict(
        verdict="failed" if reasons else "ok",
        reason=reasons[0] if reasons else f"{ask.bridge} carries {ask.traffic} between all members",
        reasons=reasons,
        pairs=pairs,
        members=tuple(facts),
    )


def merge(verdicts: Sequence[Verdict]) -> Verdict:
    """Return the verdict over several bridges and VLANs."""
    reasons = tuple(dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons))
    return Verdict(
        verdict="failed" if reasons else "ok",
        reason=reasons[0] if reasons else "; ".join(verdict.reason for verdict in verdicts),
        reasons=reasons,
        pairs=tuple(pair for verdict in verdicts for pair in verdict.pairs),
        members=tuple(facts for verdict in verdicts for facts in verdict.members),
    )


def expected_mtu(ask: Ask, facts: Iterable[Facts]) -> int:
    """Return the MTU that every link must carry: as asked, else the least that an uplink has."""
    return ask.mtu or min((f.uplink.mtu for f in facts if f.uplink), default=1500)


def over_is_telling(ask: Ask, facts: Iterable[Facts]) -> bool:
    """Whether a frame one byte over the MTU must be lost: only where all uplinks have just that MTU."""
    mtus = {f.uplink.mtu for f in facts if f.uplink}
    return mtus == {expected_mtu(ask, facts)}


def faults(ask: Ask, facts: Facts) -> Iterator[str]:
    """Yield what a member's own facts rule out, most fundamental first; one leaves it out."""
    member, bridge = facts.member, ask.bridge
    if facts.trouble:
        yield f"{member} could not be asked: {facts.trouble}"
    elif facts.node and not facts.exists:
        yield f"{member} has no bridge {bridge}"
    elif facts.node and not facts.is_bridge:
        yield f"{bridge} on {member} is not a bridge"
    elif facts.node and not facts.up:
        yield f"bridge {bridge} on {member} is down"
    elif facts.node and ask.vlan and not facts.filters:
        yield f"bridge {bridge} on {member} does not filter VLANs"
    elif facts.uplink is None:
        yield (
            f"bridge {bridge} on {member} has no uplink" if facts.node else f"{member} has no such interface"
        )
    else:
        yield from _uplink_faults(ask, facts, facts.uplink)


def _uplink_faults(ask: Ask, facts: Facts, uplink: Uplink) -> Iterator[str]:
    what = f"{facts.member}'s uplink {uplink.name}"
    if not uplink.running:
        yield f"{what} is down"
    elif not uplink.partner:
        yield f"{what} has no LACP partner"
    elif ask.vlan and not uplink.carries:
        yield f"{what} does not carry VLAN {ask.vlan}: its port of {ask.bridge} lacks it"
    elif uplink.state != "forwarding":
        yield f"{what} is {uplink.state} in {ask.bridge}, not forwarding"
    elif uplink.mtu < ask.mtu:
        yield f"{what} has MTU {uplink.mtu}, less than {ask.mtu}"


def _between(ask: Ask, fit: Sequence[Facts], ways: Sequence[Way]) -> Iterator[str]:
    """What the frames tell, from nothing passes to passes too much."""
    names = {f.member for f in fit}
    seen = [way for way in ways if {way.sender, way.receiver} <= names]
    lost = [way for way in seen if way.small.arrived is False]
    yield from _blame(fit, lost, f"carry {ask.traffic}")
    mtu = expected_mtu(ask, fit)
    short = [way for way in seen if way.full.arrived is False and way not in lost]
    tagged = f" on VLAN {ask.vlan}" if ask.vlan else ""
    yield from _blame(fit, short, f"carry frames of {mtu} bytes{tagged}")
    for way in seen:
        yield from _odd(ask, way, mtu, {f.member: f for f in fit})


def _blame(fit: Sequence[Facts], lost: Sequence[Way], verb: str) -> Iterator[str]:
    """Say whose link it is, as far as the ways tell it."""
    if not lost:
        return
    links = {f.member: _link(f) for f in fit}
    broken = {frozenset((way.sender, way.receiver)) for way in lost}
    culprits = [m for m in links if _is_culprit(m, set(links), broken)]
    if len(links) == 2:
        (a, b) = links
        yield f"{links[a]} or {links[b]} does not {verb}{_direction(lost, links)}"
    elif len(culprits) == 1:
        yield _accuse(culprits[0], links, lost, verb)
    elif len(broken) == len(links) * (len(links) - 1) // 2:
        yield f"no two members reach each other: {', '.join(links.values())} do not all {verb}"
    else:
        pairs = ", ".join(" and ".join(sorted(pair)) for pair in sorted(broken, key=sorted))
        yield f"the links between {pairs} do not {verb}, though each reaches other members"


def _is_culprit(member: str, members: set[str], broken: set[frozenset[str]]) -> bool:
    """Whether this member's link alone explains every loss, and every pair that it should break is broken."""
    return broken == {frozenset((member, other)) for other in members - {member}}


def _accuse(member: str, links: Mapping[str, str], lost: Sequence[Way], verb: str) -> str:
    return f"{links[member]} does not {verb}{_direction(lost, links, member)}"


def _direction(lost: Sequence[Way], links: Mapping[str, str], member: str = "") -> str:
    """Add the direction when only one is lost."""
    senders, receivers = {way.sender for way in lost}, {way.receiver for way in lost}
    if len(links) == 2 and len(lost) == 1:
        return f" from {lost[0].sender} to {lost[0].receiver}"
    if senders == {member}:
        return f": {member} hears the others, but nobody hears {member}"
    if receivers == {member}:
        return f": the others hear {member}, but {member} hears nobody"
    return ""


def _link(facts: Facts) -> str:
    name = f" ({facts.uplink.name})" if facts.uplink else ""
    return f"{facts.member}'s link to the switch{name}"


def _odd(ask: Ask, way: Way, mtu: int, facts: Mapping[str, Facts]) -> Iterator[str]:
    """What passed, but not as it should."""
    a, b = way.sender, way.receiver
    if way.over.arrived:
        yield f"frames of {mtu + 1} bytes pass from {a} to {b}, more than their MTU of {mtu}"
    if way.small.copies > 1:
        yield f"frames from {a} arrive {way.small.copies} times at {b}: there is a loop, or a second path"
    wanted = ask.vlan if facts[b].node else 0
    if way.small.arrived and way.small.vlan is not None and way.small.vlan != wanted:
        tag = f"tagged {way.small.vlan}" if way.small.vlan else "untagged"
        yield f"frames of {ask.traffic} from {a} arrive {tag} at {b}"


def _pair(ask: Ask, mtu: int, a: str, b: str, ways: Mapping[tuple[str, str], Way]) -> Pair:
    there, back = ways.get((a, b), Way(a, b)), ways.get((b, a), Way(b, a))
    ok = all(way.small.arrived and way.full.arrived and not way.over.arrived for way in (there, back))
    return Pair(
        bridge=ask.bridge, vlan=ask.vlan, mtu=mtu, members=(a, b), there=there, back=back, ok=bool(ok)
    )
