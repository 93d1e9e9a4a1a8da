"""Preflight on real bonds, bridges and a switch: what is broken is what it names, and it writes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Node

pytestmark = pytest.mark.kernel

CABLING = """
for n in tor prober node-1 node-2; do ip netns add $n; ip -n $n link set lo up; done
ip -n tor link add sw type bridge vlan_filtering 1 vlan_default_pvid 0 mcast_snooping 0
ip -n tor link set sw up
bond() {
  ip -n $1 link add $2 type bond mode 802.3ad miimon 50 lacp_rate fast
  for p in $3 $4; do ip -n $1 link set $p down; ip -n $1 link set $p master $2; ip -n $1 link set $p up; done
  ip -n $1 link set $2 up
}
for i in 1 2; do n=node-$i
  for p in 0 1; do ip link add ens1f$p netns $n type veth peer name n${i}p$p netns tor; done
  bond $n bond0 ens1f0 ens1f1; bond tor bond-n$i n${i}p0 n${i}p1
  ip -n tor link set bond-n$i master sw; bridge -n tor vlan add dev bond-n$i vid 33
  ip -n $n link add br1 type bridge vlan_filtering 1 mcast_snooping 0
  ip -n $n link set bond0 master br1; bridge -n $n vlan add dev bond0 vid 2-4094; ip -n $n link set br1 up
done
ip link add eth0 netns prober type veth peer name probe netns tor
ip -n tor link set probe master sw; bridge -n tor vlan add dev probe vid 33 pvid untagged
ip -n tor link set probe up; ip -n prober link set eth0 up
"""
STATES = (
    "for n in node-1 node-2; do ip netns exec $n grep 'port state: 63' /proc/net/bonding/bond0; done | wc -l"
)
"""How many sides of the nodes' bonds collect and distribute, of 8 (IEEE 802.1AX)."""


class Rack:
    def __init__(self, node: Node) -> None:
        self.node = node
        node.sh(CABLING)
        node.until(f"test $({STATES}) = 8")

    def preflight(self, *members: str, check: int, **options: str) -> dict[str, Any]:
        names = members or ("node-1", "node-2", "prober:eth0")
        given = [f"--member={name}=ip netns exec {name.partition(':')[0]}" for name in names]
        words = {"bridge": "br1", "vlan": "33", **options}
        done = self.node.vmnet(
            "preflight", *(f"--{k}={v}" for k, v in words.items()), *given, "-o", "json", check=False
        )
        assert done.returncode == check, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def state(self) -> str:
        places = ("node-1", "node-2", "tor", "prober")
        parts = ("ip -n {} -4 -j addr", "ip -n {} -j link", "ip -n {} route", "bridge -n {} -j vlan")
        return "".join(self.node.sh(part.format(place)) for place in places for part in parts)


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory, make_node: Any) -> Iterator[Rack]:
    folder: Path = tmp_path_factory.mktemp("rack")
    machine: Node = make_node(folder)
    yield Rack(machine)
    machine.close()


def test_a_sound_bridge_is_proven_between_all_members_and_nothing_is_written(rack: Rack) -> None:
    before = rack.state()
    said = rack.preflight(check=0)
    assert rack.state() == before
    assert (said["verdict"], said["reasons"]) == ("ok", [])
    assert [pair["members"] for pair in said["pairs"]] == [
        ["node-1", "node-2"],
        ["node-1", "prober"],
        ["node-2", "prober"],
    ]
    first = said["pairs"][0]
    assert (first["ok"], first["mtu"]) == (True, 1500)
    for way in (first["there"], first["back"]):
        assert [way[size]["arrived"] for size in ("small", "full", "over")] == [True, True, False]
        assert way["full"]["vlan"] == 33


def test_the_bridges_learn_nothing_but_where_the_other_members_are(rack: Rack) -> None:
    def learnt() -> set[str]:
        entries = json.loads(rack.node.sh("bridge -n node-1 -j fdb show br br1"))
        return {
            e["mac"] for e in entries if e.get("state") != "permanent" and "self" not in e.get("flags", [])
        }

    before = learnt()
    rack.preflight(check=0)
    known = {
        json.loads(rack.node.sh(f"ip -n {n} -j link show {d}"))[0]["address"]
        for n, d in (("node-2", "bond0"), ("prober", "eth0"))
    }
    assert learnt() - before <= known


BROKEN = [
    (
        "bridge -n tor vlan del dev bond-n1 vid 33",
        "bridge -n tor vlan add dev bond-n1 vid 33",
        "node-1's link to the switch (bond0) does not carry VLAN 33",
    ),
    (
        "bridge -n node-2 vlan del dev bond0 vid 33",
        "bridge -n node-2 vlan add dev bond0 vid 33",
        "node-2's uplink bond0 does not carry VLAN 33: its port of br1 lacks it",
    ),
    (
        "ip -n node-1 link set br1 type bridge vlan_filtering 0",
        "ip -n node-1 link set br1 type bridge vlan_filtering 1",
        "bridge br1 on node-1 does not filter VLANs",
    ),
    ("ip -n node-2 link set br1 down", "ip -n node-2 link set br1 up", "bridge br1 on node-2 is down"),
    (
        "ip -n tor link set probe mtu 1400",
        "ip -n tor link set probe mtu 1500",
        "prober's link to the switch (eth0) does not carry frames of 1500 bytes on VLAN 33",
    ),
    (
        "ip -n node-1 link set br1 name br9",
        "ip -n node-1 link set br9 name br1",
        "node-1 has no bridge br1",
    ),
]


@pytest.mark.parametrize(("spoil", "mend", "reason"), BROKEN, ids=[row[2] for row in BROKEN])
def test_what_is_broken_is_what_is_named(rack: Rack, spoil: str, mend: str, reason: str) -> None:
    rack.node.sh(spoil)
    try:
        said = rack.preflight(check=1)
    finally:
        rack.node.sh(mend)
    assert said["reasons"] == [reason]
    assert said["verdict"] == "failed"


def test_with_two_members_both_links_are_named(rack: Rack) -> None:
    rack.node.sh("bridge -n tor vlan del dev bond-n1 vid 33")
    try:
        said = rack.preflight("node-1", "node-2", check=1)
    finally:
        rack.node.sh("bridge -n tor vlan add dev bond-n1 vid 33")
    one, two = (f"node-{i}'s link to the switch (bond0)" for i in (1, 2))
    assert said["reason"] == f"{one} or {two} does not carry VLAN 33"


def test_a_port_that_stp_holds_is_not_ready(rack: Rack) -> None:
    """Decision 14: a target is prepared only when the node's port forwards."""
    rack.node.sh("ip -n node-1 link set br1 type bridge stp_state 1 forward_delay 400")
    rack.node.sh("ip -n node-1 link set bond0 nomaster; ip -n node-1 link set bond0 master br1")
    rack.node.sh("bridge -n node-1 vlan add dev bond0 vid 2-4094")
    try:
        said = rack.preflight(check=1)
        assert said["reason"].startswith("node-1's uplink bond0 is l")
        assert said["reason"].endswith("in br1, not forwarding")
    finally:
        rack.node.sh("""
            ip -n node-1 link set br1 type bridge stp_state 0 forward_delay 200
            until bridge -n node-1 link show dev bond0 | grep -q 'state forwarding'; do sleep 0.2; done
        """)


def test_a_member_that_cannot_be_started_is_named_and_the_others_are_judged(rack: Rack) -> None:
    said = rack.preflight("node-1", "node-2", "node-9", check=1)
    (reason,) = said["reasons"]
    assert reason.startswith("node-9 could not be asked: ")
    assert [pair["ok"] for pair in said["pairs"]] == [True, False, False]


def test_a_nad_says_what_to_check(rack: Rack) -> None:
    nad = "tests/vmnet/manifests/nad.yaml"
    done = rack.node.vmnet(
        "preflight", nad, "--member=node-1=ip netns exec node-1", "--member=node-2=ip netns exec node-2"
    )  # fmt: skip -- one line a thought
    assert done.stdout.splitlines()[-1] == "ok: br1 carries VLAN 33 between all members"


def test_a_serving_member_speaks_json_lines(rack: Rack) -> None:
    question = '{"do": "facts", "member": "me", "bridge": "br1", "vlan": 33}\n{"do": "nothing"}\n'
    done = rack.node.run(
        "ip",
        "netns",
        "exec",
        "node-1",
        sys.executable,
        "-m",
        "vmnet.cli",
        "preflight",
        "--serve",
        stdin=question,
    )  # fmt: skip -- one command
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["facts"]["uplink"]["name"] == "bond0"
    assert second == {"version": 1, "error": "unknown question nothing"}


def test_a_preflight_that_is_killed_leaves_no_member_behind(rack: Rack) -> None:
    given = [f"--member={n}=ip netns exec {n}" for n in ("node-1", "node-2")]
    argv = [sys.executable, "-m", "vmnet.cli", "preflight", "--bridge=br1", *given]
    process = rack.node.spawn(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    members = "ip netns pids node-1; ip netns pids node-2"
    until(lambda: len(rack.node.sh(members).split()) == 2)
    process.kill()
    process.wait()
    until(lambda: rack.node.sh(members) == "")
