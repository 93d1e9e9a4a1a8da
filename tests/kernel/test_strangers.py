"""Links that somebody else makes while we do: none of theirs is touched, and none of ours fails for them."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import pytest
from test_meanwhile import ETH1, Beside, above, beside

from nncp.errors import Error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outside import Namespace

__all__ = ["beside"]

pytestmark = pytest.mark.kernel

ADDRESS = {"ipv4": {"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]}}
BRIDGE = {
    "name": "br0",
    "type": "linux-bridge",
    "mtu": 1400,
    **ADDRESS,
    "bridge": {"port": [{"name": "eth1"}]},
}
STRANGERS = {
    "the index that the kernel gives next": ("ip link add stranger type dummy", ""),
    "the name of ours": ("ip link add br0 type dummy", "File exists"),
    "the name and the type of ours": ("ip link add br0 type bridge", "File exists"),
    "the name of what is to be above ours": ("ip link add br0.5 type dummy", "File exists"),
}


@pytest.mark.parametrize("what", STRANGERS)
def test_a_stranger_that_takes_what_was_to_be_ours_keeps_it_untouched(
    host: Namespace, beside: Beside, what: str
) -> None:
    command, refusal = STRANGERS[what]
    name = command.split()[3]
    before = host.settled()
    with pytest.raises(Error) if refusal else contextlib.nullcontext() as raised:
        beside.apply({"interfaces": [BRIDGE, above("br0.5", 5)]}, command)
    after = host.settled()
    assert "UP" not in after["link"][name]["flags"]
    assert "master" not in after["link"][name]
    assert after["link"][name]["mtu"] == 1500
    assert after["addr"][name]["addr_info"] == []
    if refusal:
        told = [f"{error.message} {error.subject}" for error in raised.value]
        assert refusal in " ".join(told), told
        host.batch(f"link del {name}")
        assert host.differs(before) == {}
    else:
        assert after["addr"]["br0"]["addr_info"][0]["local"] == "192.0.2.1"
        beside.rollback()
        host.batch(f"link del {name}")
        assert host.differs(before) == {}


class Stranger(threading.Thread):
    """Makes links of its own, sees after a moment that they are as it made them, and deletes them, again and again."""

    def __init__(self, host: Namespace) -> None:
        super().__init__(daemon=True)
        self.host = host
        self.over = threading.Event()
        self.turns = 0
        self.faults: list[str] = []

    def run(self) -> None:
        while not self.over.is_set():
            try:
                self.turn()
            except Exception as error:  # noqa: BLE001  the test is told, not this thread
                self.faults.append(repr(error))
                return
            self.turns += 1

    def turn(self) -> None:
        names = [f"x{self.turns}{letter}" for letter in "abcd"]
        one, other, bridge, idle = names
        self.all(
            f"link add {one} type veth peer name {other}", f"link add {bridge} type bridge",
            f"link add {idle} type dummy", f"link set {one} master {bridge}", f"link set {bridge} up",
            f"addr add 198.51.100.1/24 dev {bridge}",
        )  # fmt: skip
        for _ in range(2):
            self.look(one, other, bridge, idle)
            self.over.wait(0.1)
        self.all(f"link del {one}", f"link del {bridge}", f"link del {idle}")

    def all(self, *lines: str) -> None:
        self.host.run("ip", "-batch", "-", stdin="\n".join(lines))

    def look(self, one: str, other: str, bridge: str, idle: str) -> None:
        links = {link["ifname"]: link for link in self.host.json("ip", "-j", "addr")}
        seen = {
            name: (
                links[name].get("master"),
                "UP" in links[name]["flags"],
                [address["local"] for address in links[name]["addr_info"] if address["family"] == "inet"],
            )
            for name in (one, other, bridge, idle)
        }
        wanted = {
            one: (bridge, False, []),
            other: (None, False, []),
            bridge: (None, True, ["198.51.100.1"]),
            idle: (None, False, []),
        }
        self.faults += [f"{name}: {seen[name]}" for name in wanted if seen[name] != wanted[name]]

    def end(self) -> None:
        self.over.set()
        self.join()


@pytest.fixture
def stranger(host: Namespace) -> Iterator[Stranger]:
    found = Stranger(host)
    found.start()
    yield found
    found.end()


PARTS, TIMES = 4, 25


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_five_hundred_applies_and_rollbacks_beside_somebody_who_makes_links(
    host: Namespace, beside: Beside, stranger: Stranger, part: int
) -> None:
    host.batch("link property add dev eth3 altname again")
    refused = [ETH1, BRIDGE, above("one", 7), above("again", 8)]
    gone = [{"name": "br0.5", "state": "absent"}, {"name": "br0", "state": "absent"}]
    for number in range(TIMES):
        beside.apply({"interfaces": [BRIDGE, above("br0.5", TIMES * part + number)]})
        beside.apply({"interfaces": [{**BRIDGE, "mtu": 1300}, gone[0]]})
        beside.rollback()
        with pytest.raises(Error, match="create vlan again: File exists"):
            beside.apply({"interfaces": refused})
        beside.apply({"interfaces": gone})
    stranger.end()
    assert stranger.faults == []
    assert stranger.turns > TIMES // 2
    assert {link["ifname"] for link in host.json("ip", "-j", "link")} == {"lo", "eth1", "eth2", "eth3"}
