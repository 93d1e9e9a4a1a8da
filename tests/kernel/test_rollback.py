"""A host is either as it was or as the document says, whatever is killed when.

Each case is applied and killed after its first write, its second, and so on; then the supervisor rolls back,
or is killed too and `rollback` is started, killed after its first write, started again, killed after its
second ... until it gets through. Before and after are compared by ip, bridge and sysctl; and that the
document has come true where nobody was killed is judged by them too.
"""

from __future__ import annotations

import json
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import deadly
import judge
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

SEEDS = int(os.environ.get("ROLLBACK_SEEDS", "12"))
MOST_WRITES = 120

# The far ends stand for a switch: what they do with IPv6 when a carrier comes is not this host's.
CARDS = [
    line
    for n in range(4)
    for line in (
        f"link add eth{n} type veth peer name p{n}",
        f"sysctl -qw net.ipv6.conf.p{n}.disable_ipv6=1",
        f"link set p{n} up",
    )
]
WITH_ROUTES = [
    *CARDS,
    "link set eth0 up",
    "addr add 192.0.2.1/24 dev eth0",
    "addr add 192.0.2.2/24 dev eth0",
    "addr add 2001:db8:1::1/64 dev eth0",
    "route add 198.51.100.0/24 via 192.0.2.254",
    "route add 203.0.113.0/24 via 192.0.2.254 src 192.0.2.2 metric 50",
    "-6 route add 2001:db8:2::/48 via 2001:db8:1::fe",
]
BONDED = [
    *CARDS,
    "link add bond0 type bond mode active-backup miimon 100",
    "link set eth0 master bond0",
    "link set eth1 master bond0",
    "link set eth0 up",
    "link set eth1 up",
    "link set bond0 up",
    "addr add 192.0.2.1/24 dev bond0",
    "addr add 2001:db8:1::1/64 dev bond0",
    "route add 198.51.100.0/24 via 192.0.2.254",
]
BRIDGED = [
    *CARDS,
    "link add br0 type bridge vlan_filtering 1",
    "link add br1 address 02:00:00:00:00:b1 type bridge",
    "link set eth0 master br0",
    "link set eth3 master br1",
    "bridge vlan add dev eth0 vid 100-200",
    "bridge link set dev eth0 hairpin on learning off",
    "link set eth0 up",
    "link set br0 up",
    "link set br1 up",
    "addr add 192.0.2.1/24 dev br0",
]
STACKED = [
    *CARDS,
    "link set eth0 up",
    "link add eth0.5 link eth0 type vlan id 5",
    "link set eth0.5 up",
    "link add mac0 link eth0.5 type macvlan mode bridge",
    "link set mac0 up",
    # With a MAC of its own: a link-local address that its link's MAC does not explain comes back beside the
    # one that the kernel then makes, at a time of the kernel's choosing.
    "link add br0 address 02:00:00:00:00:b0 type bridge",
    "link set br0 up",
    "link set mac0 master br0",
    "addr add 2001:db8:1::1/64 dev br0",
    "-6 route add 2001:db8:2::/48 via 2001:db8:1::fe",
]


WITH_VRF = [
    *WITH_ROUTES,
    "link add red type vrf table 100",
    "link set red up",
    "link set eth2 up",
    "link set eth2 master red",
    "addr add 203.0.113.1/24 dev eth2",
    "addr add 2001:db8:3::1/64 dev eth2 nodad",
    "route add 198.51.100.0/25 via 203.0.113.9 table 100",
    "rule add from 203.0.113.0/24 lookup 100 pref 900",
    "-6 rule add to 2001:db8:3::/48 lookup 100 pref 901",
]


def bond(name: str = "bond0", **section: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "bond",
        "link-aggregation": {key.replace("_", "-"): section[key] for key in section},
    }


def bridge(name: str = "br0", *, options: dict[str, Any] | None = None, **section: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "linux-bridge",
        "bridge": {**section, **({"options": options} if options else {})},
    }


def vlan(name: str, base: str, number: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "vlan", "vlan": {"base-iface": base, "id": number}, **more}


TRUNK = {"mode": "trunk", "trunk-tags": [{"id": 33}, {"id-range": {"min": 100, "max": 110}}]}
STATIC = {"enabled": True, "address": [{"ip": "192.0.2.9", "prefix-length": 24}]}

RULES = [
    {"ip-from": "192.0.2.0/24", "route-table": 100},
    {"ip-to": "2001:db8:2::/48", "route-table": 100, "priority": 7},
    {"state": "absent", "priority": 900},
]


def vrf(name: str = "red", **section: Any) -> dict[str, Any]:
    return {"name": name, "type": "vrf", "vrf": {key.replace("_", "-"): section[key] for key in section}}


CASES: dict[str, tuple[list[str], list[dict[str, Any]] | dict[str, Any]]] = {
    "a link with IPv6 addresses and static routes becomes a port of a VRF, and rules come": (
        # The first VRF makes the kernel's rule for all of them, which stays (vrf_add_fib_rules).
        [*WITH_ROUTES, "link add first type vrf table 9", "link del first"],
        {"interfaces": [vrf(port=["eth0"], route_table_id=100)], "route-rules": {"config": RULES[:2]}},
    ),
    "a VRF gets another table and other ports, and rules come and go": (
        WITH_VRF,
        {"interfaces": [vrf(port=["eth0", "eth1"], route_table_id=200)], "route-rules": {"config": RULES}},
    ),
    "a VRF is deleted": (WITH_VRF, [{"name": "red", "type": "vrf", "state": "absent"}]),
    "a link with IPv6 addresses and static routes is enslaved to a bond": (
        WITH_ROUTES,
        [bond(mode="802.3ad", port=["eth0", "eth1"])],
    ),
    "a link with IPv6 addresses and static routes becomes a bridge port": (
        WITH_ROUTES,
        [{**bridge(port=[{"name": "eth0", "vlan": TRUNK}]), "ipv4": STATIC}],
    ),
    "a bond port is released": (BONDED, [bond(port=["eth0"])]),
    "all bond ports are released": (BONDED, [bond(port=[])]),
    "a port moves from a bond to a bridge": (BONDED, [bond(port=["eth0"]), bridge("br0", port=[{"name": "eth1"}])]),
    "a port moves from a bridge to a bond": (
        BRIDGED,
        [bridge(port=[]), bond(mode="balance-xor", port=["eth0", "eth2"])],
    ),
    "a port moves between bridges": (BRIDGED, [bridge("br1", port=[{"name": "eth0", "vlan": TRUNK}])]),
    "a VLAN that carries a macvlan which is a bridge port gets another id": (STACKED, [vlan("eth0.5", "eth0", 6)]),
    "a bond changes its mode": (BONDED, [bond(mode="802.3ad", options={"lacp_rate": "fast"})]),
    "a bond changes options that want it down": (BONDED, [bond(options={"xmit_hash_policy": "layer3+4", "miimon": 50})]),
    "bridge options change": (
        BRIDGED,
        [bridge(options={"stp": {"enabled": True, "forward-delay": 2, "priority": 4096}, "mac-ageing-time": 60,
                         "group-forward-mask": 8, "multicast-snooping": False})],
    ),
    "a filtering bridge changes its default PVID": (
        BRIDGED,
        [bridge(options={"vlan-default-pvid": 7}, port=[{"name": "eth0", "vlan": TRUNK}, {"name": "eth2", "vlan": {}}])],
    ),
    "a VLAN on a bond on a bridge": (
        WITH_ROUTES,
        [
            bond(mode="active-backup", port=["eth0", "eth1"]),
            bridge(port=[{"name": "bond0", "vlan": TRUNK}]),
            vlan("br0.33", "br0", 33, ipv4=STATIC),
            vlan("br0.33.7", "br0.33", 7),
        ],
    ),
    "addresses are replaced": (WITH_ROUTES, [{"name": "eth0", "ipv4": STATIC, "ipv6": {"enabled": False}}]),
    "a link goes down": (WITH_ROUTES, [{"name": "eth0", "state": "down"}]),
    "a link gets another MAC and MTU": (WITH_ROUTES, [{"name": "eth0", "mtu": 1400, "mac-address": "02:00:00:00:00:07"}]),
    "virtual links are deleted": (STACKED, [{"name": name, "state": "absent"} for name in ("br0", "eth0.5")]),
    "a veth pair, a dummy and a macvlan are made": (
        CARDS,
        [
            {"name": "v0", "type": "veth", "veth": {"peer": "v1"}},
            {"name": "d0", "type": "dummy", "ipv4": STATIC},
            {"name": "m0", "type": "mac-vlan", "mac-vlan": {"base-iface": "eth2", "mode": "vepa"}},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_killed_anywhere_the_host_is_as_it_was(case: str, ns: Namespace, tmp_path: Path) -> None:
    lines, asked = CASES[case]
    check(ns, lines, {"interfaces": asked} if isinstance(asked, list) else asked, tmp_path)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_documents_on_random_hosts(seed: int, ns: Namespace, tmp_path: Path) -> None:
    chance = random.Random(seed)
    lines = chance.choice([WITH_ROUTES, BONDED, BRIDGED, STACKED])
    document = {"interfaces": random_interfaces(chance, lines)}
    check(ns, lines, document, tmp_path, kills=lambda: (chance.random() < 0.3,))


def random_interfaces(chance: random.Random, lines: list[str]) -> list[dict[str, Any]]:
    has = {word for line in lines for word in line.split()}
    cards = ["eth0", "eth1", "eth2", "eth3"]
    chance.shuffle(cards)
    found: dict[str, dict[str, Any]] = {}
    if chance.random() < 0.6:
        mode = chance.choice(["balance-rr", "active-backup", "802.3ad", "balance-alb"])
        found["bond0"] = bond(mode=mode, port=sorted(cards[: chance.randint(0, 2)]))
    if chance.random() < 0.7:
        used = found["bond0"]["link-aggregation"]["port"] if "bond0" in found else []
        ports = [card for card in cards[2:] if card not in used] + (["bond0"] if "bond0" in found else [])
        vlans: list[dict[str, Any]] = [{}, {"vlan": TRUNK}, {"vlan": {"mode": "access", "tag": 33}}]
        options = chance.choice([{}, {"stp": {"enabled": True, "forward-delay": 4}}, {"mac-ageing-time": 30}])
        found["br0"] = bridge(
            options=options, port=[{"name": port, **chance.choice(vlans)} for port in sorted(ports)]
        )
    if "eth0.5" in has and chance.random() < 0.6:
        found["eth0.5"] = vlan("eth0.5", "eth0", chance.randint(2, 4000))
    for base in [name for name in ("bond0", "br0") if name in found]:
        if chance.random() < 0.4:
            found[f"{base}.9"] = vlan(f"{base}.9", base, 9, mtu=chance.choice([1400, 1500]))
    if "br0" in found and chance.random() < 0.5:
        found["br0"]["ipv4"] = STATIC
    free = [card for card in cards if card not in json.dumps(found)]
    if free and (not found or chance.random() < 0.5):
        found[free[0]] = {"name": free[0], "mtu": 1450, "ipv6": {"enabled": chance.random() < 0.5}}
    return list(found.values())


def check(
    ns: Namespace,
    lines: list[str],
    document: dict[str, Any],
    folder: Path,
    kills: Callable[[], tuple[bool, ...]] = lambda: (False, True),
) -> None:
    """Kill it after each write; `kills` says whether the supervisor is killed too, for each time."""
    ns.batch(*lines)
    before = ns.settled()
    text = json.dumps(document)
    for writes in range(1, MOST_WRITES):
        for supervisor_too in kills():
            state = folder / f"{writes}{supervisor_too}"
            code = deadly.applied(ns, text, state, killed_after=writes, supervisor_too=supervisor_too)
            if code != -signal.SIGKILL:
                assert code == 0, f"apply ended with {code}"
                assert judge.untrue(ns, document) == []
                assert deadly.rolled_back(ns, state) == 0
                assert ns.differs(before) == {}, "after a whole apply and its rollback"
                return
            if supervisor_too:
                finish(ns, state, first=1 if writes % 2 else MOST_WRITES)
            assert ns.differs(before) == {}, f"killed after {writes} writes, supervisor too: {supervisor_too}"
    pytest.fail(f"more than {MOST_WRITES} writes")


def finish(ns: Namespace, state: Path, first: int) -> None:
    """Roll back, killed after `first` writes, then after one more, and so on, until it gets through."""
    for writes in range(first, first + MOST_WRITES):
        code = deadly.rolled_back(ns, state, killed_after=writes)
        if code != -signal.SIGKILL:
            assert code == 0, f"rollback ended with {code}"
            return
    pytest.fail("rollback does not get through")
