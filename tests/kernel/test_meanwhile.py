"""What somebody else does between the look at a host and the writing: what is gone is gone, theirs stays."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from test_kinds import vlans

import nncp
from nncp import netns, work
from nncp.engine import apply_compiled
from nncp.namespace import Namespace as Written
from nncp.transaction import _Writer as Writer

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel


class Beside:
    """Applies and rolls back in a host, while a stranger does something right before each writing."""

    def __init__(self, host: Namespace, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.host = host
        self.folder = folder
        self.commands: list[str] = []
        carry_out = Written.carry_out

        def carried(*arguments: Any, **more: Any) -> None:
            commands, self.commands = self.commands, []
            for command in commands:
                subprocess.run(command.split(), check=True, capture_output=True)
            carry_out(*arguments, **more)

        monkeypatch.setattr(Written, "carry_out", carried)

    def apply(self, document: dict[str, Any], *commands: str) -> None:
        self.commands = list(commands)
        desired = work.Desired(work.documents([("case.yaml", json.dumps(document))]))
        with netns.entered(self.host.path):
            apply_compiled(desired, state_dir=self.folder)

    def rollback(self, *commands: str) -> None:
        self.commands = list(commands)
        with netns.entered(self.host.path):
            nncp.rollback(state_dir=self.folder)


@pytest.fixture
def beside(host: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beside:
    return Beside(host, tmp_path, monkeypatch)


ETH1 = {"name": "eth1", "type": "ethernet", "state": "up"}
NO_ADDRESSES = {**ETH1, "ipv4": {"enabled": False}, "ipv6": {"enabled": True, "address": []}}
A_VLAN = ("link add link eth1 name eth1.5 type vlan id 5", "link set eth1.5 up")
A_BRIDGE = ("link add br0 type bridge vlan_filtering 1", "link set br0 up", "link set eth1 master br0")
VANISHING: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "a route": (
        ("addr add 192.0.2.1/24 dev eth1", "route add 198.51.100.0/24 via 192.0.2.9"),
        {"routes": {"config": [{"destination": "198.51.100.0/24", "state": "absent"}]}},
        "ip route del 198.51.100.0/24",
    ),
    "a route that DHCP gave": (
        ("addr add 192.0.2.1/24 dev eth1", "route add default via 192.0.2.9 proto dhcp"),
        {"interfaces": [{**ETH1, "ipv4": {"enabled": False}}]},
        "ip route del default",
    ),
    "an IPv6 route": (
        ("-6 route add 2001:db8:5::/48 dev eth1",),
        {"routes": {"config": [{"destination": "2001:db8:5::/48", "state": "absent"}]}},
        "ip -6 route del 2001:db8:5::/48",
    ),
    "an IPv4 address": (
        ("addr add 192.0.2.1/24 dev eth1",),
        {"interfaces": [NO_ADDRESSES]},
        "ip addr del 192.0.2.1/24 dev eth1",
    ),
    "an IPv6 address": (
        ("addr add 2001:db8::1/64 dev eth1",),
        {"interfaces": [NO_ADDRESSES]},
        "ip addr del 2001:db8::1/64 dev eth1",
    ),
    "a link": (A_VLAN, {"interfaces": [{"name": "eth1.5", "state": "absent"}]}, "ip link del eth1.5"),
    "a port": (
        A_BRIDGE,
        {"interfaces": [{"name": "eth1", "controller": ""}]},
        "ip link set eth1 nomaster",
    ),
}


@pytest.mark.parametrize("what", VANISHING)
def test_what_is_to_go_and_has_gone_meanwhile_is_no_failure(
    host: Namespace, beside: Beside, what: str
) -> None:
    made, document, command = VANISHING[what]
    host.batch(*made)
    beside.apply(document, command)


ADDED: dict[str, tuple[dict[str, Any], str]] = {
    "a route": (
        {
            "interfaces": [
                {**ETH1, "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]}}
            ],
            "routes": {
                "config": [
                    {
                        "destination": "198.51.100.0/24",
                        "next-hop-address": "192.0.2.9",
                        "next-hop-interface": "eth1",
                    }
                ]
            },
        },
        "ip route del 198.51.100.0/24",
    ),
    "a link": (
        {"interfaces": [{"name": "eth1.5", "type": "vlan", "vlan": {"base-iface": "eth1", "id": 5}}]},
        "ip link del eth1.5",
    ),
    "a bridge with its port": (
        {"interfaces": [{"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}}]},
        "ip link del br0",
    ),
}


@pytest.mark.parametrize("what", ADDED)
def test_what_a_rollback_is_to_take_away_and_has_gone_meanwhile_is_no_failure(
    host: Namespace, beside: Beside, what: str
) -> None:
    document, command = ADDED[what]
    before = host.settled()
    beside.apply(document)
    beside.rollback(command)
    assert host.differs(before) == {}


TRUNK = {"mode": "trunk", "trunk-tags": [{"id": 33}, {"id": 44}]}
BR0 = {
    "name": "br0",
    "type": "linux-bridge",
    "state": "up",
    "bridge": {"port": [{"name": "eth1", "vlan": TRUNK}]},
}


def above(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "type": "vlan", "state": "up", "vlan": {"base-iface": "br0", "id": number}}


def ids(host: Namespace, name: str) -> list[int]:
    return [entry["vlan"] for entry in vlans(host, name)]


def test_a_vlan_that_somebody_adds_to_a_bridge_itself_meanwhile_stays(
    host: Namespace, beside: Beside
) -> None:
    one, two = above("br0.33", 33), above("br0.44", 44)
    beside.apply({"interfaces": [BR0, one]})
    host.batch("bridge vlan add dev br0 vid 150 self")
    beside.apply({"interfaces": [two]}, "bridge vlan add dev br0 vid 160 self")
    assert ids(host, "br0") == [1, 33, 44, 150, 160]
    beside.rollback("bridge vlan add dev br0 vid 170 self")
    assert ids(host, "br0") == [1, 33, 150, 160, 170]
    beside.apply({"interfaces": [{**BR0, "mtu": 1400}]}, "bridge vlan add dev br0 vid 180 self")
    host.batch("bridge vlan del dev br0 vid 150 self", "bridge vlan add dev eth1 vid 190")
    beside.rollback()
    assert ids(host, "br0") == [1, 33, 160, 170, 180]
    assert ids(host, "eth1") == [1, 33, 44, 190]
    beside.apply(
        {"interfaces": [{"name": "br0.33", "state": "absent"}]}, "bridge vlan del dev br0 vid 160 self"
    )
    assert ids(host, "br0") == [1, 170, 180]
    beside.rollback("bridge vlan add dev br0 vid 4 self")
    assert ids(host, "br0") == [1, 4, 33, 170, 180]


def test_a_new_bridge_keeps_the_vlans_that_somebody_adds_to_it_at_once(
    host: Namespace, beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = Writer._again

    def adds(*arguments: Any) -> Any:
        host.batch("bridge vlan add dev br0 vid 150 self")
        return again(*arguments)

    monkeypatch.setattr(Writer, "_again", adds)
    beside.apply({"interfaces": [BR0, above("br0.33", 33)]})
    assert ids(host, "br0") == [1, 33, 150]


def test_a_default_vlan_moves_on_a_bridge_to_which_somebody_adds_one(host: Namespace, beside: Beside) -> None:
    beside.apply({"interfaces": [BR0, above("br0.33", 33)]})
    before = host.settled()
    moved = {**BR0["bridge"], "options": {"vlan-default-pvid": 10}}
    beside.apply(
        {"interfaces": [{**BR0, "bridge": moved}, above("br0.44", 44)]},
        "bridge vlan add dev br0 vid 150 self",
    )
    assert ids(host, "br0") == [10, 33, 44, 150]
    beside.rollback("bridge vlan del dev br0 vid 150 self")
    assert host.differs(before) == {}


@pytest.mark.parametrize("kind", ["tuntap add x0 mode tap", "link add x0 type dummy"])
def test_a_link_whose_former_index_somebody_takes_meanwhile_comes_back_with_another(
    host: Namespace, beside: Beside, kind: str
) -> None:
    host.batch(kind)
    (before,) = host.json("ip", "-d", "-j", "link", "show", "x0")
    beside.apply({"interfaces": [{"name": "x0", "state": "absent"}]})
    beside.rollback(f"ip link add stranger index {before['ifindex']} type dummy")
    (after,) = host.json("ip", "-d", "-j", "link", "show", "x0")
    assert after["ifindex"] != before["ifindex"]
    assert {**after, "ifindex": before["ifindex"]} == before
