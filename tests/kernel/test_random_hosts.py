"""Any host that `ip` and `bridge` can make is shown, and planned from what is shown nothing is to do.

What the kernel refuses of a random host is left out of it; what stays is not ours, and in no order of ours.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

CARDS = ("eth1", "eth2", "eth3")
MODES = ("balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb")
BOND_OPTIONS = (
    "miimon 250 updelay 500", "miimon 0 arp_interval 300 arp_ip_target 192.0.2.9,192.0.2.10", "fail_over_mac active",
    "xmit_hash_policy layer3+4", "lacp_rate fast", "resend_igmp 5", "all_slaves_active 1", "min_links 1",
    "ad_select bandwidth", "lp_interval 7", "num_grat_arp 3",
)  # fmt: skip
BRIDGE_OPTIONS = (
    "vlan_filtering 1", "vlan_filtering 1 vlan_default_pvid 7", "vlan_filtering 1 vlan_default_pvid 0", "stp_state 1",
    "stp_state 1 priority 4096", "forward_delay 450", "hello_time 150", "ageing_time 12345", "mcast_snooping 0",
    "group_fwd_mask 8", "mcast_querier 1", "vlan_protocol 802.1ad", "no_linklocal_learn 1", "mcast_vlan_snooping 0",
    "group_address 01:80:c2:00:00:0e",
)  # fmt: skip
PORT_OPTIONS = (
    "cost 77", "priority 9", "learning off", "hairpin on", "isolated on", "flood off", "guard on", "root_block on",
    "neigh_suppress on", "mcast_fast_leave on", "mcast_flood off", "mcast_router 2", "bcast_flood off",
)  # fmt: skip
KINDS = (
    "vxlan id 42 dstport 4789 local 192.0.2.1", "vrf table 55", "ifb", "nlmon", "gretap remote 192.0.2.7",
    "gre remote 192.0.2.8", "sit remote 192.0.2.6", "geneve id 3 remote 192.0.2.5", "vcan", "team", "dummy",
    "bridge", "wireguard", "ipip remote 192.0.2.4", "veth peer name y{n}", "hsr slave1 {a} slave2 {b}",
)  # fmt: skip
ABOVE = (
    "vlan id {n}", "vlan id {n} protocol 802.1ad", "vlan id {n} reorder_hdr off gvrp on",
    "vlan id {n} loose_binding on mvrp on", "vlan id {n} egress-qos-map 1:2 3:4 ingress-qos-map 5:6",
    "macvlan mode bridge", "macvlan mode vepa", "macvlan mode private", "macvlan mode passthru", "macvtap mode bridge",
    "ipvlan mode l2", "ipvlan mode l3", "macsec",
)  # fmt: skip
ADDRESSES = (
    "10.{n}.0.1/24", "10.{n}.0.2/24", "10.{n}.1.1/32", "10.{n}.2.1 peer 10.{n}.2.2", "10.{n}.3.1/24 scope link",
    "10.{n}.4.1/24 broadcast 10.{n}.4.255 label {name}:x", "10.{n}.5.1/24 valid_lft 9000 preferred_lft 3000",
    "10.{n}.6.1/31", "10.{n}.7.1/24 noprefixroute", "10.{n}.8.1/24 metric 55", "2001:db8:{n}::1/64",
    "2001:db8:{n}::2/128", "2001:db8:{n}::3/64 preferred_lft 0", "2001:db8:{n}::4/64 nodad", "fe80::{n}/64",
    "2001:db8:{n}::5/64 mngtmpaddr noprefixroute", "fd00:{n}::1/64 peer fd00:{n}::2", "169.254.{n}.1/16",
)  # fmt: skip
ROUTES = (
    "198.51.{n}.0/24 dev {name}", "198.51.{n}.0/24 dev {name} metric 5", "198.52.{n}.0/24 via 10.{n}.0.9 dev {name} onlink",
    "198.53.{n}.0/24 dev {name} proto bgp", "198.54.{n}.0/24 dev {name} table {n} proto static mtu 1300",
    "blackhole 198.55.{n}.0/24", "unreachable 198.56.{n}.0/24 metric 9", "prohibit 198.57.{n}.0/24 table 77",
    "198.58.{n}.0/24 nexthop dev {name} weight 3 nexthop dev {other} weight 9",
    "198.59.{n}.0/24 via inet6 fe80::9 dev {name}", "198.60.{n}.0/24 dev {name} src 10.{n}.0.1 proto dhcp",
    "198.61.{n}.0/24 dev {name} tos 16 initcwnd 20 quickack 1", "default via 10.{n}.0.9 dev {name} onlink metric {n}",
    "local 198.62.{n}.1 dev lo", "throw 198.63.{n}.0/24 table 78", "198.64.{n}.0/24 dev {name} scope host cwnd lock 9",
    "2001:db8:f{n}::/64 dev {name}", "2001:db8:e{n}::/64 via fe80::9 dev {name} metric 7 pref high",
    "default via fe80::9 dev {name} metric 3{n} proto ra", "blackhole 2001:db8:d{n}::/64",
    "2001:db8:c{n}::/64 nexthop via fe80::8 dev {name} weight 2 nexthop via fe80::9 dev {other}",
)  # fmt: skip
SETTINGS = (
    "net.ipv6.conf.{path}.disable_ipv6=1", "net.ipv6.conf.{path}.accept_ra=0", "net.ipv6.conf.{path}.autoconf=0",
    "net.ipv6.conf.{path}.accept_dad=0", "net.ipv6.conf.{path}.addr_gen_mode=1", "net.ipv4.conf.{path}.forwarding=1",
    "net.ipv6.conf.{path}.use_tempaddr=2", "net.ipv4.conf.{path}.rp_filter=2",
)  # fmt: skip
OF_A_LINK = (
    "mtu {mtu}", "up", "down", "alias {name}-alias", "txqueuelen 77", "multicast off", "allmulticast on", "promisc on",
    "address 02:00:00:00:{n:02x}:07", "addrgenmode none", "group 7", "arp off", "type bridge_slave cost 3",
    "gso_max_size 30000",
)  # fmt: skip
AT_ONCE = 40


def host_of(chance: random.Random) -> Iterator[str]:
    """Yield the commands that make a random host of three cards; some may be impossible."""
    names, numbers = list(CARDS), iter(range(2, 250))
    yield from _links(chance, names, numbers)
    yield from _controllers(chance, names)
    yield from _above(chance, names, numbers)
    for name in names:
        if chance.random() < 0.7:
            yield f"link set {name} up"
    for _ in range(AT_ONCE):
        yield _further(chance, names, next(numbers))


def _links(chance: random.Random, names: list[str], numbers: Iterator[int]) -> Iterator[str]:
    for _ in range(chance.randrange(1, 5)):
        names.append(name := f"k{next(numbers)}")
        kind = chance.choice(KINDS).format(n=name[1:], a=chance.choice(names), b=chance.choice(names))
        yield f"link add {name} type {kind}"
    for _ in range(chance.randrange(3)):
        names.append(name := f"tap{next(numbers)}")
        yield f"tuntap add {name} mode tap{chance.choice(['', ' multi_queue', ' user 1000 group 1000'])}"


def _controllers(chance: random.Random, names: list[str]) -> Iterator[str]:
    bond = f"bond mode {chance.choice(MODES)}"
    for name, kind, options in (
        ("bond0", bond, BOND_OPTIONS),
        ("br0", "bridge", BRIDGE_OPTIONS),
        ("br1", "bridge", BRIDGE_OPTIONS),
    ):
        if chance.random() < 0.7:
            yield f"link add {name} type {kind} {' '.join(chance.sample(options, chance.randrange(3)))}"
            for port in chance.sample(names, min(len(names), chance.randrange(4))):
                yield f"link set {port} {'up' if kind == 'bridge' else 'down'}"
                yield f"link set {port} master {name}"
            names.append(name)


def _above(chance: random.Random, names: list[str], numbers: Iterator[int]) -> Iterator[str]:
    for number in itertools.islice(numbers, chance.randrange(6)):
        base = chance.choice(names)
        names.append(name := f"{base[:9]}.{number}")
        yield f"link add link {base} name {name} type {chance.choice(ABOVE).format(n=number)}"
        if chance.random() < 0.4:
            yield f"link set {name} master {chance.choice(['br0', 'br1', 'bond0', *names])}"


def _further(chance: random.Random, names: list[str], number: int) -> str:
    name, other = chance.choice(names), chance.choice(names)
    words = {"name": name, "other": other, "n": number, "mtu": chance.choice([1280, 1400, 1500, 9000])}
    word = chance.choice(["", "-250", " pvid", " untagged", " pvid untagged"])
    return chance.choice(
        [
            f"addr add {chance.choice(ADDRESSES).format(**words)} dev {name}",
            f"route add {chance.choice(ROUTES).format(**words)}",
            f"link set {name} {chance.choice(OF_A_LINK).format(**words)}",
            f"link property add dev {name} altname further{number}",
            f"sysctl -qw {chance.choice(SETTINGS).format(path=name.replace('.', '/'))}",
            f"bridge vlan add dev {name} vid {number}{word}",
            f"bridge vlan del dev {name} vid 1",
            f"bridge vlan add dev {name} vid {number} self",
            f"bridge link set dev {name} {chance.choice(PORT_OPTIONS)}",
            f"rule add from 10.{number}.0.0/16 table {number}",
            f"neigh add 10.{number}.0.7 lladdr 02:00:00:00:00:77 dev {name} nud permanent",
            f"link set {name} {chance.choice(['nomaster', 'up', 'up', 'up'])}",
        ]
    )


def make(host: Namespace, commands: list[str]) -> list[str]:
    """Run commands as far as the kernel takes them, and return those that it took."""
    script = "\n".join(
        f"{_program(command)} 2>/dev/null && echo {number}" for number, command in enumerate(commands)
    )
    done = subprocess.run(
        ["ip", "netns", "exec", host.name, "sh"], input=script, text=True, capture_output=True, check=False
    )
    return [commands[int(number)] for number in done.stdout.split()]


def _program(command: str) -> str:
    if command.startswith(("bridge", "sysctl")):
        return command
    six = "-6 " if command.startswith("route") and ":" in command.replace("inet6", "") else ""
    return f"ip {six}{command}"


@pytest.mark.parametrize("seed", range(int(os.environ.get("RANDOM_HOSTS", "24"))))
def test_nothing_is_to_do_on_a_host_that_is_as_it_is_shown(
    host: Namespace, run: Callable[..., str], seed: int
) -> None:
    commands = list(host_of(random.Random(seed)))
    taken = make(host, commands)
    host.settled()
    shown = run("show")
    state = json.loads(run("show", "-o", "json"))
    made = "\n".join(taken)
    assert len(taken) > len(commands) // 3, made
    planned = run("plan", "-", document=state)
    formed = host.run(sys.executable, "-m", "nncp", "fmt", "-", check=False, stdin=shown)
    assert formed.returncode == 0, formed.stderr
    assert planned.splitlines()[-1] == "No changes.", f"{planned}\n{shown}\n{made}"
