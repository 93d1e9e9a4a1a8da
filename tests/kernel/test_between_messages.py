"""What somebody else does between any two messages of ours: theirs stays, and ours is done or undone."""

from __future__ import annotations

import json
import subprocess
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

import nncp
from nncp import netns, work
from nncp.engine import apply_compiled
from nncp.errors import Error, ErrorKind
from nncp.netlink.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from outside import Namespace

    from nncp.netlink.channel import Refusal

pytestmark = pytest.mark.kernel

BEFORE = (
    "addr add 192.0.2.66/24 dev eth1", "addr add 2001:db8::66/64 dev eth1",
    "route add default via 192.0.2.2", "route add 203.0.113.0/24 via 192.0.2.3 proto bgp",
    "link add bond0 type bond mode active-backup miimon 100", "link set eth2 down", "link set eth2 master bond0",
    "link set bond0 up",
)  # fmt: skip
DOCUMENT: dict[str, Any] = {
    "interfaces": [
        {
            "name": "br0", "type": "linux-bridge",
            "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.66", "prefix-length": 24}]},
            "ipv6": {"enabled": True, "address": [{"ip": "2001:db8::66", "prefix-length": 64}]},
            "bridge": {"options": {"stp": {"enabled": False}}, "port": [
                {"name": "eth1", "vlan": {"mode": "trunk", "trunk-tags": [{"id": 5}], "enable-native": True, "tag": 1}},
                {"name": "bond0"},
            ]},
        },
        {"name": "bond0", "type": "bond", "ipv6": {"enabled": False}},
        {"name": "br0.5", "type": "vlan", "mtu": 1400, "vlan": {"base-iface": "br0", "id": 5}},
    ],
    "routes": {"config": [
        {"destination": "0.0.0.0/0", "next-hop-address": "192.0.2.2", "next-hop-interface": "br0"},
    ]},
}  # fmt: skip


STRANGERS = {
    "plugs a Pod into the new bridge": (
        "ip link add pod0 type veth peer name inner netns {beyond} && ip link set pod0 master br0 up || ! ip link del pod0",
        "link del pod0",
    ),
    "gives the card an address": (
        "ip addr add 198.51.100.9/24 dev eth1",
        "addr del 198.51.100.9/24 dev eth1",
    ),
    "puts another link in the place of the new bridge": (
        "ip link del br0 && ip link add br0 type dummy",
        "link del br0 type dummy",
    ),
    "takes the port to another bridge": (
        "ip link add br9 type bridge && ip link set eth1 master br9 || ! ip link del br9",
        "link del br9",
    ),
}
"""What somebody else does, if it can be done just then, and how they take it back."""


class Between:
    """Sends message by message, and does one thing of somebody else's before one of them."""

    def __init__(self, host: Namespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.state_dir = folder / "state"
        self.sign = folder / "sign"
        self.command = ""
        self.left = -1
        self.came = False
        self.did = False
        send = Channel.send

        def one_by_one(
            channel: Channel, requests: Sequence[bytearray], acknowledged: Any = id, refused: Any = None
        ) -> None:
            for number, request in enumerate(requests):
                self._turn()

                def told(refusal: Refusal, number: int = number) -> None:
                    refusal.index = number
                    if refused is None:
                        raise refusal
                    refused(refusal)

                def heard(_: int, number: int = number) -> None:
                    acknowledged(number)

                send(channel, [request], heard, told)

        monkeypatch.setattr(Channel, "send", one_by_one)

    def _turn(self) -> None:
        if self.left == 0:
            done = subprocess.run(["sh", "-c", self.command], check=False, capture_output=True)
            self.sign.write_text(str(done.returncode))
        self.left -= 1

    def during(self, command: str, before: int, what: Callable[[], Any]) -> list[str]:
        """Do something, with `command` before the message of that number; return what went wrong.

        After it `came` says whether there was such a message, and `did` whether `command` could be done then.
        """
        self.command, self.left = command, before
        self.sign.unlink(missing_ok=True)
        failed = self.faults(what)
        self.came = self.sign.exists()
        self.did = self.came and self.sign.read_text() == "0"
        return failed

    def faults(self, what: Callable[[], Any]) -> list[str]:
        try:
            with netns.entered(self.host.path):
                what()
        except Error as error:
            if error.kind not in {ErrorKind.FAILED, ErrorKind.ROLLBACK_FAILED}:
                raise
            return [each.message for each in error]
        finally:
            self.left = -1
        return []

    def apply(self) -> None:
        desired = work.Desired(work.documents([("case.yaml", json.dumps(DOCUMENT))]))
        apply_compiled(desired, state_dir=self.state_dir)

    def rollback(self) -> None:
        nncp.rollback(state_dir=self.state_dir, force=True)  # a Pod may be on the bridge by then

    def writes(self) -> Sequence[Any]:
        """Return what an apply would still write."""
        with netns.entered(self.host.path):
            return work.plan(
                work.documents([("case.yaml", json.dumps(DOCUMENT))]), state_dir=self.state_dir
            ).ops


@pytest.fixture
def between(host: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Between:
    host.batch(*BEFORE)
    return Between(host, tmp_path, monkeypatch)


@pytest.fixture
def stranger(request: pytest.FixtureRequest, beyond: Namespace) -> Sequence[str]:
    """Return what somebody else does, and how they take it back."""
    return [each.format(beyond=beyond.name) for each in STRANGERS[request.param]]


def messages(host: Namespace, between: Between, least: int) -> Iterator[int]:
    """Yield the number of each message, and see after each turn that the host is as it was."""
    before = host.settled()
    for number in count():
        yield number
        assert host.differs(before) == {}, number
        if not between.came:
            break
    assert number > least


@pytest.mark.parametrize("stranger", STRANGERS, indirect=True)
def test_an_apply_is_done_or_undone_and_theirs_stays(
    host: Namespace, between: Between, stranger: Sequence[str]
) -> None:
    command, back = stranger
    for number in messages(host, between, least=len(DOCUMENT["interfaces"])):
        failed = between.during(command, number, between.apply)
        if not failed:
            assert between.writes() == [], number
            assert between.faults(between.rollback) == [], number
        if between.did:
            host.batch(back)


@pytest.mark.parametrize("stranger", list(STRANGERS)[:3], indirect=True)
def test_a_rollback_does_all_it_can_and_theirs_stays(
    host: Namespace, between: Between, stranger: Sequence[str]
) -> None:
    command, back = stranger
    for number in messages(host, between, least=1):
        assert between.faults(between.apply) == []
        told = between.during(command, number, between.rollback)
        if between.did:
            host.batch(back)
        if told:
            assert between.faults(between.rollback) == [], (number, told)
