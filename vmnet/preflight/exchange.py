"""Asking the members of a preflight, and letting every pair of them exchange frames."""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import shlex
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct, structs

from nncp.errors import Error, ErrorKind
from nncp.pace import Limit, cpu_seconds
from vmnet import versioned
from vmnet.preflight.verdict import (
    SIZES,
    VERSION,
    Ask,
    Facts,
    Heard,
    Size,
    Verdict,
    Way,
    expected_mtu,
    faults,
    judge,
    over_is_telling,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE, IN_ALL = 15.0, 150.0
"""Seconds of a quiet machine for a member to go on with its answer, and to give it."""

PIECE = 1 << 16

GRACE = 1.0
"""Seconds for a member to end by itself. What takes longer is killed: it has nothing to lose."""

ROUNDS, ROUND_SECONDS, PAUSE = 3, 0.4, 0.02
"""A frame is sent again when it was not heard in its round: one may be lost without a fault."""

LOOKS = 20
"""How often all members are asked in a round, if anything is missing. On a quiet machine that is the round;
where members, or we ourselves, get little of the CPU, a late frame is not a lost one."""

SMALL = 64


class Place(Struct, frozen=True):
    """Where a member runs: the command that starts a program there, and its interface if it has no bridge."""

    name: str
    command: tuple[str, ...]
    interface: str = ""


def parse_place(text: str) -> Place:
    """Return the member that `NAME[:INTERFACE]=COMMAND` says, e.g. `node-1=ip netns exec node-1`.

    Without a command the member is here.
    """
    head, sign, command = text.partition("=")
    name, _, interface = head.partition(":")
    if not sign or not name:
        hint = "e.g. --member 'node-1=ip netns exec node-1'"
        raise Error(f"{text} is not NAME[:INTERFACE]=COMMAND", kind=ErrorKind.USAGE, hint=hint)
    try:
        argv = tuple(shlex.split(command))
    except ValueError as error:
        message = f"the command of member {name} cannot be split into words: {error}"
        raise Error(message, kind=ErrorKind.USAGE, hint=command) from None
    return Place(name=name, command=argv, interface=interface)


def parse_places(texts: Sequence[str]) -> list[Place]:
    """Return the members that are named; two of one name are one too many."""
    places = [parse_place(text) for text in texts]
    names = [place.name for place in places]
    for name in names:
        if names.count(name) > 1:
            raise Error(f"member {name} is named twice", kind=ErrorKind.USAGE)
    return places


class Answer(Struct, frozen=True):
    """What a member answers: `facts`, tokens of frames that were `refused`, or `heard` with their VLANs."""

    version: int = 0
    error: str = ""
    facts: Facts | None = None
    refused: tuple[int, ...] = ()
    heard: tuple[tuple[int, int], ...] = ()


class MemberProcess:
    """The pipes to one member. What breaks is kept in `trouble`, and the member is left out from then on."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.trouble = ""
        self.process: subprocess.Popen[str] | None = None
        self._rest = b""
        argv = (*place.command, sys.executable, "-P", "-m", "vmnet.preflight.member")
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        try:
            self.process = subprocess.Popen(argv, text=True, **pipes)
        except OSError as error:
            self.trouble = f"{argv[0]}: {error.strerror}"

    def ask(self, do: str, **more: Any) -> None:
        """Send a question."""
        if self.trouble or self.process is None:
            return
        try:
            _pipe(self.process.stdin).write(json.dumps({"do": do, **more}) + "\n")
            _pipe(self.process.stdin).flush()
        except OSError:
            self._lost(Limit(PATIENCE))

    def hear(self) -> Answer:
        """Return the answer, empty when there will be none."""
        if self.trouble or self.process is None:
            return Answer()
        limit = Limit(PATIENCE, in_all=IN_ALL)
        line = self._line(self.process, limit)
        if not line:
            self._lost(limit)
            return Answer()
        answer = _answer(line)
        self.trouble = answer.error
        return answer

    def _line(self, process: subprocess.Popen[str], limit: Limit) -> bytes:
        """Return the next line, empty when the member has ended or does nothing any more.

        What there is, is read as it comes: the rest of a line may never follow.
        """
        out = _pipe(process.stdout).fileno()
        limit.sees((len(self._rest), cpu_seconds(process.pid)))
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if selector.select(min(1.0, limit.left)):
                    piece = os.read(out, PIECE)
                    if not piece:
                        return b""
                    self._rest += piece
                limit.sees((len(self._rest), cpu_seconds(process.pid)))
                if limit.is_over():
                    break
        line, end, rest = self._rest.partition(b"\n")
        if not end:
            return b""
        self._rest = rest
        return line

    def close(self) -> None:
        """Let the member go: its standard input ends, so it ends."""
        if self.process is None:
            return
        with contextlib.suppress(OSError):
            _pipe(self.process.stdin).close()
        try:
            self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            _pipe(pipe).close()

    def _lost(self, limit: Limit) -> None:
        assert self.process is not None
        self.trouble = f"no answer {limit.story}"
        if self.process.poll() is not None:
            said = _pipe(self.process.stderr).read().strip().splitlines()
            self.trouble = said[-1] if said else f"its command ended with {self.process.returncode}"


def _answer(line: bytes) -> Answer:
    """Return what a member answered; what leads to it may print something of its own (ssh, a login shell)."""
    try:
        answer: Answer = versioned.decode(line, Answer, version=VERSION, what="its vmnet")
    except Error as error:
        if error.kind is ErrorKind.UNSUPPORTED:
            return Answer(error=error.message)
        return Answer(error=f"its answer is not one: {line[:80].decode(errors='replace').strip()}")
    return answer


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def run(places: Sequence[Place], asks: Sequence[Ask]) -> list[Verdict]:
    """Return a verdict for each bridge and VLAN; the members are started once, and gone at the end."""
    members = [MemberProcess(place) for place in places]
    try:
        return [_one(ask, members) for ask in asks]
    finally:
        for member in members:
            member.close()


def _one(ask: Ask, members: Sequence[MemberProcess]) -> Verdict:
    facts = _facts(ask, members)
    fit = {f.member: f for f in facts if not list(faults(ask, f))}
    able = [member for member in members if member.place.name in fit]
    _all(able, "open", {t.place.name: {"interface": _uplink(fit[t.place.name])} for t in able})
    ways = Exchange(ask, able, fit).ways() if len(able) > 1 else []
    told = [structs.replace(f, trouble=t.trouble) for f, t in zip(facts, members, strict=True)]
    return judge(ask, told, ways)


def _facts(ask: Ask, members: Sequence[MemberProcess]) -> list[Facts]:
    questions = {
        t.place.name: {
            "member": t.place.name,
            "bridge": ask.bridge,
            "vlan": ask.vlan,
            "interface": t.place.interface,
        }
        for t in members
    }
    answers = _all(members, "facts", questions)
    return [
        answers[t.place.name].facts
        or Facts(member=t.place.name, node=not t.place.interface, trouble=t.trouble or "it said nothing")
        for t in members
    ]


def _all(
    members: Sequence[MemberProcess], do: str, questions: dict[str, dict[str, Any]]
) -> dict[str, Answer]:
    """Ask all, then hear all: they work at the same time."""
    for member in members:
        member.ask(do, **questions[member.place.name])
    return {member.place.name: member.hear() for member in members}


def _uplink(facts: Facts) -> str:
    assert facts.uplink is not None
    return facts.uplink.name


class Probe(Struct):
    """One frame on its way, and what became of it."""

    sender: str
    receiver: str
    size: Size
    token: int
    tries: int = 0
    refused: bool = False
    vlan: int | None = None
    copies: int = 0

    @property
    def heard(self) -> Heard:
        """What the verdict is told; after a second try a second copy says nothing."""
        copies = self.copies if self.tries == 1 else min(self.copies, 1)
        return Heard(arrived=copies > 0 if self.tries else None, vlan=self.vlan, copies=copies)


class Exchange:
    """Every pair of members sends each other a frame of each size."""

    def __init__(self, ask: Ask, members: Sequence[MemberProcess], facts: dict[str, Facts]) -> None:
        self.ask = ask
        self.members = members
        self.facts = facts
        self.mtu = expected_mtu(ask, facts.values())
        sizes = SIZES if over_is_telling(ask, list(facts.values())) else SIZES[:2]
        base = random.getrandbits(48)  # so that the frames of another preflight are not taken for ours
        ways = [(a, b, size) for a in facts for b in facts if a != b for size in sizes]
        self.probes = {base + i: Probe(a, b, size, base + i) for i, (a, b, size) in enumerate(ways)}

    def ways(self) -> list[Way]:
        """Let the frames pass and return what became of them."""
        for number in range(ROUNDS):
            missing = [p for p in self.probes.values() if not p.copies and not p.refused]
            due = [p for p in missing if p.size != "over" or not p.tries]
            if not due:
                break
            self._send(due)
            self._listen(is_last=number == ROUNDS - 1)
        pairs = dict.fromkeys((p.sender, p.receiver) for p in self.probes.values())
        return [self._way(a, b) for a, b in pairs]

    def _send(self, due: Sequence[Probe]) -> None:
        questions = {t.place.name: self._frames(t.place.name, due) for t in self.members}
        for answer in _all(self.members, "send", questions).values():
            for token in answer.refused:
                if token in self.probes:
                    self.probes[token].refused = True

    def _frames(self, sender: str, due: Sequence[Probe]) -> dict[str, Any]:
        sizes = {"small": SMALL, "full": self.mtu, "over": self.mtu + 1}
        vlan = self.ask.vlan if self.facts[sender].node else 0
        frames = []
        # What must not arrive goes first: a path keeps the order of frames, so it is there before the rest.
        for probe in sorted(due, key=lambda probe: probe.size != "over"):
            uplink = self.facts[probe.receiver].uplink
            if probe.sender == sender and uplink is not None:
                probe.tries += 1
                frames.append(
                    {"to": uplink.mac, "vlan": vlan, "size": sizes[probe.size], "token": probe.token}
                )
        return {"interface": _uplink(self.facts[sender]), "frames": frames}

    def _listen(self, *, is_last: bool) -> None:
        """Collect until everything that must come is there, and a little longer for what must not.

        Before anything counts as lost for good, the round lasts as long as the machine makes of its seconds.
        """
        limit = Limit(ROUND_SECONDS) if is_last else Limit(ROUND_SECONDS, most=1)
        looks, is_settled = 0, False
        while not is_settled and (looks < LOOKS or not limit.is_over()):
            is_settled = all(p.copies for p in self.probes.values() if p.size != "over")
            time.sleep(PAUSE)
            self._collect()
            looks += 1

    def _collect(self) -> None:
        questions = {t.place.name: {"interface": _uplink(self.facts[t.place.name])} for t in self.members}
        for name, answer in _all(self.members, "heard", questions).items():
            for token, vlan in answer.heard:
                probe = self.probes.get(token)
                if probe is not None and probe.receiver == name:
                    probe.copies, probe.vlan = probe.copies + 1, vlan

    def _way(self, sender: str, receiver: str) -> Way:
        mine = (p for p in self.probes.values() if (p.sender, p.receiver) == (sender, receiver))
        return Way(sender, receiver, **{probe.size: probe.heard for probe in mine})
