"""What no document can say of a link is not lost when the link is deleted and made again, or comes back.

Judged by ip, sysctl and ip neigh: before and after are the same but for what was asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import deadly
import pytest
from outside import difference

from nncp import netns, wire, work
from nncp.netlink import elsewhere
from nncp.netlink.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

CONF = ("ipv4/conf", "ipv6/conf", "ipv4/neigh", "ipv6/neigh")
ON_A_VLAN = [
    "link add link eth1 name eth1.5 type vlan id 5 gvrp on mvrp on egress-qos-map 1:3 2:4 ingress-qos-map 3:6",
    "link property add dev eth1.5 altname uplink altname a-name-of-more-than-sixteen-letters",
    "link set eth1.5 gso_max_size 32000 gso_max_segs 99 gro_max_size 30000",
    "link set eth1.5 arp off multicast off",
    "sysctl -qw net.ipv4.conf.eth1/5.rp_filter=2 net.ipv4.conf.eth1/5.arp_announce=2",
    "sysctl -qw net.ipv4.conf.eth1/5.arp_ignore=1 net.ipv4.neigh.eth1/5.base_reachable_time_ms=77500",
    "sysctl -qw net.ipv6.conf.eth1/5.accept_ra=0 net.ipv6.conf.eth1/5.hop_limit=33",
    "sysctl -qw net.ipv6.conf.eth1/5.mtu=1400 net.ipv6.neigh.eth1/5.app_solicit=4",
    "link set eth1.5 up",
    "addr add 192.0.2.1/24 dev eth1.5",
    "addr add 2001:db8::1/64 dev eth1.5",
    "addr add fe80::1/64 dev eth1.5",
    "neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev eth1.5 nud permanent protocol 99",
    "neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev eth1.5 nud permanent router",
    "neigh add proxy 192.0.2.99 dev eth1.5",
    "route add 198.51.100.0/24 via 192.0.2.254",
    "route append 198.51.100.0/24 via 192.0.2.253",
    "route add 203.0.113.0/24 via inet6 fe80::99 dev eth1.5",
    "-6 route add 2001:db8:5::/48 via 2001:db8::fe pref high",
    "nexthop add id 7 via 192.0.2.251 dev eth1.5",
    "nexthop add id 8 via 2001:db8::fd dev eth1.5",
    "nexthop add id 9 group 7,3",
    "route add 198.51.103.0/24 nhid 7",
    "-6 route add 2001:db8:7::/48 nhid 8",
]
ANOTHER_ID = {"name": "eth1.5", "type": "vlan", "vlan": {"base-iface": "eth1", "id": 6}}
REFUSED = {"name": "uplink", "type": "dummy"}
"""What the kernel refuses: a link whose name is a further name of the VLAN."""


@pytest.fixture
def stacked(host: Namespace) -> Namespace:
    """Return a host with a VLAN that has what no document can say."""
    host.batch(*ON_A_VLAN)
    return host


def view(ns: Namespace) -> dict[str, Any]:
    """Return what others see of a host, what no document can say included."""
    seen = ns.settled()
    with netns.entered(ns.path):
        settings = dict(_settings(list(seen["link"])))
    return {
        **seen,
        # A dump is in the order of a hash that the kernel seeds anew when the table grows.
        "neigh": sorted(ns.json("ip", "-d", "-j", "neigh", "show", "nud", "permanent"), key=str),
        "proxy": sorted(ns.json("ip", "-j", "neigh", "show", "proxy"), key=str),
        "nexthop": ns.json("ip", "-d", "-j", "nexthop"),
        "sysctl": settings,
    }


def _settings(names: list[str]) -> Iterator[tuple[str, str]]:
    for folder in (Path("/proc/sys/net", conf, name) for conf in CONF for name in names):
        for file in sorted(folder.iterdir()) if folder.exists() else ():
            with contextlib.suppress(OSError):  # not set
                yield str(file), file.read_text(encoding="ascii")


def differing(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return what differs between two views, by table."""
    return {name: difference(before[name], after[name]) for name in before if before[name] != after[name]}


def test_a_vlan_that_gets_another_id_keeps_what_no_document_can_say(
    stacked: Namespace, apply: Callable[..., str]
) -> None:
    before = view(stacked)
    apply(ANOTHER_ID)
    (link,) = stacked.json("ip", "-d", "-j", "link", "show", "eth1.5")
    assert link["linkinfo"]["info_data"]["id"] == 6
    assert differing(before, view(stacked)) == {}


def test_a_failed_apply_gives_back_what_no_document_can_say(
    stacked: Namespace, apply: Callable[..., str]
) -> None:
    before = view(stacked)
    apply(ANOTHER_ID, REFUSED, code=75)
    assert differing(before, view(stacked)) == {}


def test_a_rollback_gives_back_what_no_document_can_say(
    stacked: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    before = view(stacked)
    for document in (ANOTHER_ID, {"name": "eth1.5", "state": "absent"}):
        apply(document)
        run("rollback")
        assert differing(before, view(stacked)) == {}


@pytest.mark.parametrize("killed_after", range(1, 40, 3))
def test_a_rollback_that_is_killed_loses_nothing_that_no_document_can_say(
    stacked: Namespace, tmp_path: Path, killed_after: int
) -> None:
    before = view(stacked)
    text = json.dumps({"interfaces": [ANOTHER_ID]})
    code = deadly.applied(stacked, text, tmp_path, killed_after=killed_after, supervisor_too=True)
    assert code in {0, -signal.SIGKILL}
    deadly.rolled_back(stacked, tmp_path, killed_after=killed_after)
    assert deadly.rolled_back(stacked, tmp_path) == 0
    assert differing(before, view(stacked)) == {}


KINDS = {
    "bridge": [
        "link add x0 address 02:00:00:00:00:b0 type bridge mcast_igmp_version 3 mcast_stats_enabled 1",
        "link set x0 up multicast off type bridge vlan_stats_enabled 1 nf_call_iptables 1 no_linklocal_learn 1",
    ],
    "bond in 802.3ad": [
        "link add x0 address 02:00:00:00:00:b0 type bond mode 802.3ad coupled_control 0",
        "link set x0 up",
    ],
    "bond in active-backup": [
        "link add x0 address 02:00:00:00:00:b0 type bond mode active-backup arp_interval 100 ns_ip6_target 2001:db8::9",
        "link set x0 up",
    ],
    "macvlan": [
        "link add x0 link eth1 type macvlan mode bridge bcqueuelen 500",
        "link set x0 up broadcast 02:ff:ff:ff:ff:ff",
    ],
    "dummy": ["link add x0 type dummy", "link set x0 up arp on multicast on gso_max_segs 12"],
    "veth": [
        "link add x0 type veth peer name x1",
        "link set x0 up gso_max_size 20000",
        "link set x1 up gso_max_segs 7 promisc on",
        "link property add dev x1 altname the-other-end",
        "sysctl -qw net.ipv4.conf.x1.arp_ignore=2",
    ],
    "tap": ["tuntap add x0 mode tap", "link set x0 promisc on gro_max_size 9000"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_link_comes_back_as_it_was(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str], kind: str
) -> None:
    made = [line for line in KINDS[kind] if "coupled_control" not in line and "ns_ip6_target" not in line]
    for line in KINDS[kind]:
        if line in made:
            host.batch(line)
        elif host.run("ip", *line.split(), check=False).returncode:
            host.batch(" ".join(line.split()[:-2]))  # an iproute2 that does not know the last option
    before = view(host)
    apply({"name": "x0", "state": "absent"})
    assert "x0" not in view(host)["link"]
    run("rollback")
    assert differing(before, view(host)) == {}


def test_a_link_that_goes_down_keeps_its_permanent_neighbours(
    host: Namespace, apply: Callable[..., str]
) -> None:
    host.batch(
        "link add bond0 type bond mode balance-xor miimon 100",
        "link set eth2 down",
        "link set eth2 master bond0",
        "link set bond0 up",
        "addr add 192.0.2.1/24 dev bond0",
        "neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev bond0 nud permanent",
        "nexthop add id 7 via 192.0.2.251 dev bond0",
        "nexthop add id 9 group 7",
        "route add 198.51.103.0/24 nhid 9",
    )
    before = view(host)
    options = {"xmit_hash_policy": "layer2+3"}
    bond = {"mode": "balance-xor", "options": options}
    apply({"name": "bond0", "type": "bond", "link-aggregation": bond})
    after = view(host)
    assert [after[table] for table in ("neigh", "nexthop", "route")] == [
        before[table] for table in ("neigh", "nexthop", "route")
    ]


REFUSALS = {
    "queueing discipline pfifo (tc)": "tc qdisc add dev x0 root pfifo limit 10",
    "attribute 39": "ip link set x0 protodown on",
    "attribute 7 of IPv6": "ip token set ::5 dev x0",
    "a name that is not UTF-8": "ip link property add dev x0 altname " + os.fsdecode(b"caf\xe9"),
}


ENTRIES = [
    "bridge vlan add dev eth1 vid 33",
    "bridge fdb add 02:00:00:00:00:01 dev eth1 master static",
    "bridge fdb add 02:00:00:00:00:02 dev eth1 master static vlan 33",
    "bridge fdb add 02:00:00:00:00:03 dev eth1 master permanent vlan 33",
    "bridge fdb add 02:00:00:00:00:04 dev eth2 master static sticky vlan 1",
    "bridge fdb add 02:00:00:00:00:05 dev br0 self permanent vlan 1",
    "bridge fdb add 02:00:00:00:00:06 dev eth2 master extern_learn vlan 1",
    "bridge mdb add dev br0 port eth1 grp 239.1.1.1 permanent vid 33",
    "bridge mdb add dev br0 port eth2 grp 239.1.1.3 src 192.0.2.1 permanent vid 1",
    "bridge mdb add dev br0 port eth2 grp 239.1.1.4 permanent filter_mode include source_list 192.0.2.1 vid 1",
    "bridge mdb add dev br0 port eth2 grp ff0e::7 permanent vid 1",
    "bridge mdb add dev br0 port eth2 grp 01:02:03:04:05:06 permanent vid 1",
]
LOSING_ENTRIES = {
    "a bridge that goes": {"name": "br0", "state": "absent"},
    "ports that leave": {"name": "br0", "type": "linux-bridge", "bridge": {"port": []}},
    "ports that move": {
        "name": "br1", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}, {"name": "eth2"}]},
    },
}  # fmt: skip


def entries(host: Namespace) -> list[str]:
    """Return the entries of br0 that somebody gave, in an order of their own."""
    fdb = [one for one in host.json("bridge", "-j", "fdb") if one["mac"].startswith("02:00:00:00:00:")]
    mdb = [one for table in host.json("bridge", "-j", "mdb") for one in table["mdb"]]
    lasting = [{**one, "index": 0} for one in mdb if one["state"] == "permanent"]
    return sorted(map(str, [*fdb, *lasting]))


@pytest.mark.parametrize("why", LOSING_ENTRIES)
def test_addresses_and_groups_that_somebody_gave_ports_come_back_with_them(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str], why: str
) -> None:
    host.batch(
        "link add br0 type bridge vlan_filtering 1 mcast_igmp_version 3 mcast_mld_version 2",
        "link set br0 up", "link set eth1 master br0", "link set eth2 master br0",
    )  # fmt: skip
    apply({"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}, {"name": "eth2"}]}})
    host.batch(*ENTRIES)
    before = entries(host)
    assert len(before) == len(ENTRIES) + 1  # less the VLAN; the first is in each of two VLANs too
    apply(LOSING_ENTRIES[why])
    assert entries(host) != before
    run("rollback")
    assert entries(host) == before


@pytest.mark.parametrize(
    ("closed", "told"),
    [
        ("link set br0 down", "is down"),
        ("link set br0 type bridge mcast_snooping 0", "does not snoop multicast"),
    ],
)
def test_groups_that_a_bridge_would_not_take_back_refuse_that_their_port_leaves(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str], closed: str, told: str
) -> None:
    host.batch("link add br0 type bridge vlan_filtering 1", "link set br0 up", "link set eth1 master br0")
    apply({"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}})
    host.batch("bridge mdb add dev br0 port eth1 grp 239.1.1.1 permanent vid 1", closed)
    before = entries(host)
    assert len(before) == 1
    document = {"interfaces": [LOSING_ENTRIES["ports that leave"]]}
    assert f"br0 {told}, and takes no mdb entry" in run("apply", "-", document=document, code=69)
    assert entries(host) == before


@pytest.mark.parametrize("what", REFUSALS)
def test_what_could_not_be_sent_back_refuses_the_change_at_its_place(
    host: Namespace, run: Callable[..., str], what: str
) -> None:
    host.batch("link add x0 link eth1 type macvlan mode bridge", "link set x0 up")
    host.run(*REFUSALS[what].split())
    before = view(host)
    document = {
        "interfaces": [
            {"name": "x0", "type": "mac-vlan", "mac-vlan": {"base-iface": "eth1", "mode": "passthru"}}
        ]
    }
    for command in ("plan", "apply"):
        told = run(command, "-", document=document, code=69)
        assert (
            f"x0 would be deleted and could not be made again: it has what nncp cannot send back: {what}"
            in told
        )
        assert "interfaces[0]" in told
    assert differing(before, view(host)) == {}


ELSEWHERE = -1


def test_only_what_takes_a_link_is_looked_at_twice(
    stacked: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counted(name: str) -> None:
        real = getattr(Channel, name)
        monkeypatch.setattr(
            Channel, name, lambda self, kind, *rest: seen.append(kind) or real(self, kind, *rest)
        )

    # One look into each other namespace, of which there may be any number, where a link goes.
    monkeypatch.setattr(elsewhere, "resting_elsewhere", lambda: seen.append(ELSEWHERE) or [])
    counted("dump")
    counted("ask")

    def looks(**section: Any) -> tuple[int, ...]:
        seen.clear()
        interface = {"name": "eth1.5", "type": "vlan", **section}
        with netns.entered(stacked.path):
            work.plan(work.documents([("case.yaml", json.dumps({"interfaces": [interface]}))]))
        return tuple(seen)

    nothing = looks(vlan={"base-iface": "eth1", "id": 5})
    assert looks(vlan={"base-iface": "eth1", "id": 5}, mtu=1400) == nothing
    more = Counter(looks(vlan={"base-iface": "eth1", "id": 6})) - Counter(nothing)
    more.pop(wire.RTM_GETROUTE)  # those of others, by the link
    assert more == {
        wire.RTM_GETLINK: 1, wire.RTM_GETNEIGH: 2, wire.RTM_GETNEXTHOP: 1, wire.RTM_GETQDISC: 1, ELSEWHERE: 1
    }  # fmt: skip


NEIGHBOURS = [
    line
    for name in ("eth1", "br0", "br0.5")
    for line in (
        f"neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev {name} nud permanent",
        f"neigh add 2001:db8::77 lladdr 02:00:00:00:00:77 dev {name} nud permanent",
    )
]
MOVES = {
    "a MAC address that is written": [{"name": "eth1", "mac-address": "52:54:00:00:01:99"}],
    "a MAC address that follows a port's": [{"name": "eth2", "mac-address": "00:00:00:00:01:98"}],
    "a MAC address that is pinned": [
        {"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth2"}, {"name": "eth3"}]}}
    ],
}


@pytest.mark.parametrize("why", MOVES)
def test_permanent_neighbours_outlive_a_change_of_the_mac_address(
    host: Namespace, apply: Callable[..., str], run: Callable[..., str], why: str
) -> None:
    host.batch("link add br0 type bridge", "link set eth2 master br0", "link set br0 up")
    host.batch("link add link br0 name br0.5 type vlan id 5", "link set br0.5 up", *NEIGHBOURS)
    before = view(host)
    apply(*MOVES[why])
    after = view(host)
    assert after["link"] != before["link"]
    assert after["neigh"] == before["neigh"]
    run("rollback")
    assert view(host)["neigh"] == before["neigh"]
