"""What is shown of a host asks nothing of it, whoever made the host: random ones, made with ip and bridge."""

from __future__ import annotations

import os
import random
import shlex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

SEEDS = range(int(os.environ.get("SEEDS", "12")))
CARDS = 6

BONDS = (
    "mode balance-rr", "mode active-backup miimon 100 fail_over_mac active", "mode balance-xor xmit_hash_policy layer2+3",
    "mode broadcast", "mode 802.3ad lacp_rate fast ad_select bandwidth", "mode balance-tlb tlb_dynamic_lb 0",
    "mode balance-alb", "mode active-backup arp_interval 100 arp_ip_target 192.0.2.1,192.0.2.2 arp_validate all",
)  # fmt: skip
BRIDGES = (
    "", "vlan_filtering 1", "vlan_filtering 1 vlan_default_pvid 0", "vlan_filtering 1 vlan_protocol 802.1ad",
    "vlan_filtering 1 vlan_default_pvid 7", "stp_state 1 priority 4096 forward_delay 400 hello_time 100",
    "ageing_time 1000 group_fwd_mask 8 mcast_snooping 0", "mcast_querier 1 mcast_hash_max 512 nf_call_iptables 1",
    "mcast_router 2 mcast_query_interval 3000", "no_linklocal_learn 1 vlan_filtering 1 vlan_stats_per_port 1",
)  # fmt: skip
PORT_OPTIONS = (
    "cost 20", "priority 5", "hairpin on", "isolated on", "guard on", "learning off", "flood off", "mcast_router 2",
    "proxy_arp on", "neigh_suppress on", "fastleave on", "root_block on", "vlan_tunnel on", "mcast_to_unicast on",
)  # fmt: skip
PORT_VLANS = (
    "vid 33", "vid 34 pvid untagged", "vid 100-120", "vid 100-120 untagged", "vid 4094", "vid 35 untagged", "vid 36 pvid",
)  # fmt: skip
VLANS = (
    "id {n}", "protocol 802.1ad id {n}", "id {n} reorder_hdr off", "id {n} gvrp on loose_binding on",
    "id {n} ingress-qos-map 1:2 3:4 egress-qos-map 5:6", "id {n} mvrp on", "id {n} bridge_binding on",
)  # fmt: skip
ABOVE = (  # what rests on another link
    "link add link {base} name {new} type macvlan mode {mode}", "link add link {base} name {new} type ipvlan mode l2",
    "link add link {base} name {new} type macvtap mode bridge", "link add {new} type vxlan id {n} dstport 4789 dev {base}",
    "link add link {base} name {new} type ipvtap mode l3",
)  # fmt: skip
ALONE = (
    "link add {new} type dummy", "link add {new} type vrf table {n}", "link add {new} type vxlan id {n} dstport 4789",
    "link add {new} type vxlan id {n} group 239.1.1.1 dstport 0 dev c0 ttl 5", "link add {new} type veth peer name {new}p",
    "link add {new} type gretap local 192.0.2.1 remote 192.0.2.2", "link add {new} type ipip local 192.0.2.3 remote 192.0.2.4",
    "link add {new} type ifb", "link add {new} type wireguard", "link add {new} type team", "link add {new} type nlmon",
    "link add {new} type geneve id {n} remote 192.0.2.9", "link add {new} type sit local 192.0.2.5 remote 192.0.2.6",
    "link add {new} type ip6gretap local 2001:db8::1 remote 2001:db8::2", "link add {new} type hsr slave1 c0 slave2 c1",
    "tuntap add {new} mode tap", "tuntap add {new} mode tap multi_queue vnet_hdr user 1000", "tuntap add {new} mode tun pi",
    "link add {new} type veth peer name {new}p netns {beyond}", "link add {new} type bareudp dstport 6635 ethertype ipv4",
)  # fmt: skip
ADDRESSES = (
    "addr add 192.0.2.{n}/24 dev {link}", "addr add 192.0.2.{n}/24 dev {link} scope link", "addr add 10.{n}.0.1/32 dev {link}",
    "addr add 10.{n}.0.1 peer 10.{n}.0.2/32 dev {link}", "addr add 198.51.100.{n}/24 brd + dev {link} label {link}:1",
    "addr add 198.51.100.{n}/25 dev {link} valid_lft 5000 preferred_lft 4000", "addr add 10.9.{n}.1/24 dev {link} metric 50",
    "addr add 10.8.{n}.1/24 dev {link} noprefixroute", "addr add 169.254.{n}.1/16 dev {link} scope host",
    "addr add 2001:db8::{n}/64 dev {link}", "addr add 2001:db8:1::{n}/128 dev {link} preferred_lft 0",
    "addr add 2001:db8:2::{n} peer 2001:db8:2::fff{n} dev {link}", "addr add fe80::{n}/64 dev {link}",
    "addr add 2001:db8:3::{n}/64 dev {link} nodad home mngtmpaddr", "addr add fd00::{n}/48 dev {link} noprefixroute",
    "addr add 2001:db8:4::{n}/64 dev {link} valid_lft 5000 preferred_lft 4000", "addr add 10.7.{n}.1/31 dev {link}",
)  # fmt: skip
ROUTES = (
    "route append 10.{m}.{n}.0/24 dev {link}", "route append 10.{m}.{n}.0/24 via 203.0.113.{n} dev {link} onlink metric {m}",
    "route append 10.{m}.{n}.0/24 nexthop via 203.0.113.1 dev {link} onlink weight 3 nexthop dev {other} weight 256",
    "route append blackhole 10.{m}.{n}.0/24", "route append unreachable 10.{m}.{n}.0/24 metric 9",
    "route append prohibit 10.{m}.{n}.0/24", "route append throw 10.{m}.{n}.0/24 table {n}",
    "route append 10.{m}.{n}.0/24 via inet6 fe80::9 dev {link}", "route append 10.{m}.{n}.0/24 dev {link} table 5{n}",
    "route append 10.{m}.{n}.0/24 dev {link} proto static mtu 1400 advmss 1300 rto_min 5 initcwnd 20 quickack 1",
    "route append 10.{m}.{n}.0/24 dev {link} tos 8", "route append local 10.{m}.{n}.1 dev {link} table local",
    "route append default via 203.0.113.{n} dev {link} onlink proto static metric {m}", "route append default dev {link}",
    "route append 10.{m}.{n}.0/24 dev {link} proto bgp", "route append 10.{m}.{n}.0/24 dev {link} proto dhcp metric 100",
    "route append 10.{m}.{n}.0/24 dev {link} scope host realm 5", "route append multicast 239.{m}.{n}.0/24 dev {link}",
    "-6 route append 2001:db8:{m}:{n}::/64 dev {link} proto static", "-6 route append blackhole 2001:db8:{m}:{n}::/64",
    "-6 route append 2001:db8:{m}:{n}::/64 via fe80::{n} dev {link} metric {m}", "-6 route append default via fe80::{n} dev {link}",
    "-6 route append 2001:db8:{m}:{n}::/64 nexthop via fe80::1 dev {link} weight 2 nexthop via fe80::2 dev {other} weight 5",
    "-6 route append 2001:db8:{m}:{n}::/64 dev {link} pref high expires 5000", "-6 route append unreachable 2001:db8:{m}:{n}::/64",
    "-6 route append 2001:db8:{m}:{n}::/64 from 2001:db8:ff::/48 dev {link}", "-6 route append default dev {link} metric {m}",
    "-6 route append 2001:db8:{m}:{n}::/64 dev {link} table 7{n} mtu lock 1400", "-6 route append ff05::/16 dev {link} table local",
)  # fmt: skip
RULES = (
    "rule add from 10.{n}.0.0/16 table {n}", "rule add iif {link} table 1{n} priority 1{n}", "rule add fwmark {n}/255 lookup 5",
    "-6 rule add to 2001:db8:{n}::/48 table 6", "rule add from 10.{n}.0.1 blackhole", "rule add ipproto tcp dport 80 table 9",
    "rule add table main suppress_prefixlength 0", "rule add uidrange 5-9 table 8",
)  # fmt: skip
MARKS = (  # of any link
    "link set {link} mtu 1{m}00", "link set {link} down", "link set {link} alias 'caf\udce9 {n}'", "link set {link} alias ' '",
    "link set {link} alias 'no'", "link set {link} alias '0x1f: #'", "link property add dev {link} altname other{n}{m}",
    "link set {link} address 02:00:00:{m}:00:0{n}", "link set {link} txqueuelen 5{n}", "link set {link} promisc on",
    "link set {link} allmulticast on", "link set {link} arp off", "link set {link} multicast off", "link set {link} group {n}",
    "link set {link} addrgenmode none", "link set {link} addrgenmode eui64", "link set {link} master v0", "link set {link} mtu 1280",
    "link set {link} name n{m}{n}", "link set {link} up",
)  # fmt: skip
SYSCTLS = (
    "ipv6/conf/{link}/disable_ipv6=1", "ipv6/conf/{link}/accept_ra=0", "ipv6/conf/{link}/autoconf=0", "ipv6/conf/{link}/accept_ra=2",
    "ipv6/conf/{link}/accept_ra_defrtr=0", "ipv6/conf/{link}/dad_transmits=3", "ipv4/conf/{link}/forwarding=1",
    "ipv4/conf/{link}/rp_filter=2", "ipv6/conf/{link}/forwarding=1", "ipv6/conf/{link}/addr_gen_mode=3",
    "ipv6/conf/{link}/mtu=1300", "ipv4/conf/{link}/accept_local=1", "ipv6/conf/all/disable_ipv6=1", "ipv4/conf/{link}/arp_ignore=1",
)  # fmt: skip


class Maker:
    """Makes one random host by what other programs do; what the kernel refuses is not there."""

    def __init__(self, ns: Namespace, beyond: Namespace, seed: int) -> None:
        self.ns = ns
        self.beyond = beyond
        self.pick = random.Random(seed)
        self.done: list[str] = []

    def run(self, line: str) -> None:
        """Run one line, and keep it where it was not refused."""
        words = shlex.split(line)
        argv = words if words[0] in {"bridge", "sysctl"} else ["ip", *words]
        if self.ns.run(*argv, check=False).returncode == 0:
            self.done.append(line)

    def links(self) -> list[str]:
        """Return the links that are there."""
        lines = self.ns.run("ip", "-br", "link").stdout.splitlines()  # which leaves out aliases of any bytes
        return [line.split()[0].partition("@")[0] for line in lines]

    def some(self, lines: tuple[str, ...], most: int) -> Iterator[str]:
        """Yield up to `most` lines, with links and numbers filled in."""
        links = self.links()
        for _ in range(self.pick.randint(0, most)):
            words = {"n": self.pick.randint(1, 9), "m": self.pick.randint(11, 60), "beyond": self.beyond.name}
            yield self.pick.choice(lines).format(
                link=self.pick.choice(links), other=self.pick.choice(links), base=self.pick.choice(links),
                new=f"x{len(self.done)}{self.pick.randint(0, 999)}", mode=self.pick.choice(["bridge", "vepa", "private"]),
                **words,
            )  # fmt: skip

    def make(self) -> list[str]:
        """Make the host; return the lines that were not refused."""
        for line in self.plan():
            self.run(line)
        return self.done

    def plan(self) -> Iterator[str]:
        """Yield the lines one after the other: some look at what those before have left."""
        for n in range(CARDS):
            there = "" if n % 2 else f" netns {self.beyond.name}"
            yield f"link add c{n} type veth peer name d{n}{there}"
            yield f"link set c{n} up"
        yield from self.controllers()
        yield from self.some(ALONE, 6)
        for n, options in enumerate(self.pick.sample(VLANS, 3)):
            yield f"link add link {self.pick.choice(self.links())} name l{n} type vlan {options.format(n=self.pick.randint(0, 99))}"
        yield from self.some(ABOVE, 4)
        yield from self.some(MARKS, 8)
        yield from (f"link set {link} up" for link in self.links() if self.pick.random() < 0.7)
        yield from (f"sysctl -qw net/{line}" for line in self.some(SYSCTLS, 5))
        for lines, most in ((ADDRESSES, 14), (ROUTES, 14), (RULES, 4), (MARKS, 4)):
            yield from self.some(lines, most)

    def controllers(self) -> Iterator[str]:
        """Yield a bond, a bridge, a VRF, their ports and what these have."""
        yield f"link add bond0 type bond {self.pick.choice(BONDS)}"
        yield f"link add br0 type bridge {self.pick.choice(BRIDGES)}"
        yield "link add v0 type vrf table 77"
        yield from (f"link set c{n} down" for n in range(3))
        for link in self.pick.sample([f"c{n}" for n in range(CARDS)], 4):
            yield f"link set {link} master {self.pick.choice(['bond0', 'bond0', 'br0', 'br0', 'v0'])}"
        yield "link set bond0 up"
        yield "link set br0 up"
        for _ in range(4):
            port = self.pick.choice([*self.links()])
            yield f"bridge link set dev {port} {self.pick.choice(PORT_OPTIONS)}"
            yield f"bridge vlan {self.pick.choice(['add', 'add', 'del'])} dev {port} {self.pick.choice(PORT_VLANS)}"
        yield f"bridge vlan add dev br0 {self.pick.choice(PORT_VLANS)} self"


@pytest.fixture
def nncp(ns: Namespace) -> Callable[..., str]:
    def ran(*argv: str, stdin: str | None = None) -> str:
        done = ns.nncp(*argv, stdin=stdin)
        assert done.returncode == 0, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout

    return ran


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_shown_of_a_random_host_asks_nothing_of_it(
    ns: Namespace, beyond: Namespace, nncp: Callable[..., str], seed: int
) -> None:
    made = Maker(ns, beyond, seed).make()
    told = "\n".join(made)
    ns.settled()
    shown = nncp("show")
    assert nncp("plan", "-", stdin=shown) == "No changes.\n", told
    written = nncp("fmt", "-", stdin=shown)
    assert nncp("fmt", "-", stdin=written) == written, told
    assert nncp("plan", "-", stdin=written) == "No changes.\n", told


BY_HAND = {
    "a tap": ["tuntap add t0 mode tap"],
    "a port with addresses": [
        "link add br0 type bridge", "link add x0 type dummy", "link set x0 master br0", "link set x0 up",
        "addr add 192.0.2.1/24 dev x0", "addr add 2001:db8::1/64 dev x0",
    ],
    "a PVID that is tagged": [
        "link add br0 type bridge vlan_filtering 1", "link add x0 type dummy", "link set x0 master br0",
        "bridge vlan add dev x0 vid 36 pvid",
    ],
    "a port without any VLAN": [
        "link add br0 type bridge vlan_filtering 1 vlan_default_pvid 0", "link add x0 type dummy",
        "link set x0 master br0",
    ],
    "a VLAN that the bridge below does not carry": [
        "link add br0 type bridge vlan_filtering 1", "link add link br0 name br0.5 type vlan id 5",
    ],
    "a bridge without a MAC address": [
        "link add br0 type bridge", "link add x0 type dummy", "link set x0 master br0", "link set x0 nomaster",
    ],
    "a bond whose MAC address is no port's": ["link add b0 type bond mode active-backup fail_over_mac active"],
    "a hop over a link that is down": [
        "link add x0 type dummy", "link set x0 up", "link add x1 type dummy", "link set x1 up",
        "route add 198.51.100.0/24 nexthop dev x0 nexthop dev x1", "link set x1 down",
    ],
    "two hops over one link": [
        "link add x0 type dummy", "link set x0 up",
        "route add 198.51.100.0/24 nexthop dev x0 weight 3 nexthop dev x0 weight 9",
    ],
    "hops of IPv6 with weights": [
        "link add x0 type dummy", "link set x0 up", "link add x1 type dummy", "link set x1 up",
        "-6 route add 2001:db8::/64 nexthop via fe80::8 dev x0 weight 2 nexthop via fe80::9 dev x1",
    ],
}  # fmt: skip


@pytest.mark.parametrize("what", BY_HAND)
def test_what_is_shown_of_a_host_made_by_hand_asks_nothing_of_it(
    ns: Namespace, nncp: Callable[..., str], what: str
) -> None:
    ns.batch(*BY_HAND[what])
    ns.settled()
    assert nncp("plan", "-", stdin=nncp("show")) == "No changes.\n"
