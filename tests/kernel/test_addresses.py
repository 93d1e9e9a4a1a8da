"""Addresses on a real kernel: their order, whose they are, and what a list of them leaves alone."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from test_kinds import nncp
from test_routes import ipv4, routes, run  # noqa: F401  (a fixture)

if TYPE_CHECKING:
    from collections.abc import Callable

    from outside import Namespace

pytestmark = pytest.mark.kernel


def listed(ns: Namespace, name: str, family: str = "inet") -> list[str]:
    """Return a link's addresses in the kernel's order, * before those that are secondary."""
    (found,) = ns.json("ip", "-j", "addr", "show", "dev", name)
    return [
        f"{'*' if entry.get('secondary') else ''}{entry['local']}"
        for entry in found["addr_info"]
        if entry["family"] == family and (family == "inet" or entry["scope"] == "global")
    ]


def source(ns: Namespace, target: str) -> str:
    """Return the address that a packet to `target` leaves with."""
    (found,) = ns.json("ip", "-j", "route", "get", target)
    return str(found["prefsrc"])


ORDERS = [
    ["192.0.2.7/24", "192.0.2.3/24", "192.0.2.5/24"],
    ["192.0.2.3/24", "192.0.2.7/24", "192.0.2.5/24"],
    ["192.0.2.5/24", "198.51.100.1/24", "192.0.2.3/24", "198.51.100.2/24", "192.0.2.7/24"],
    ["198.51.100.2/24", "192.0.2.7/24", "198.51.100.1/24", "192.0.2.3/24"],
    ["198.51.100.2/24"],
    ["192.0.2.7/24", "198.51.100.2/24"],
]


@pytest.mark.parametrize("promotes", ["0", "1"])
def test_the_first_ipv4_address_of_a_subnet_is_its_primary(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
    promotes: str,
) -> None:
    ns.run("sysctl", "-qw", f"net.ipv4.conf.all.promote_secondaries={promotes}")
    before = ns.settled()
    for addresses in ORDERS:
        run("apply", {"name": "eth1", "ipv4": ipv4(*addresses)})
        first: dict[str, str] = {}
        for address in addresses:
            first.setdefault(address.rpartition(".")[0], address)
        primary = [a.partition("/")[0] for a in addresses if a in first.values()]
        rest = [f"*{a.partition('/')[0]}" for a in addresses if a not in first.values()]
        assert listed(ns, "eth1") == primary + rest
    for former, latter in pairwise([ORDERS[1], ORDERS[0]]):
        run("apply", {"name": "eth1", "ipv4": ipv4(*former)})
        known = listed(ns, "eth1")
        run("apply", {"name": "eth1", "ipv4": ipv4(*latter)})
        assert source(ns, "192.0.2.99") == "192.0.2.7"
        run("rollback")
        assert listed(ns, "eth1") == known
        assert source(ns, "192.0.2.99") == "192.0.2.3"
    ns.batch("addr flush dev eth1 scope global")
    assert "inet " not in str(ns.differs(before))


def test_the_first_ipv6_address_is_the_source_among_equals(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    for order in (["1", "2", "3"], ["3", "1", "2"], ["2", "3"], ["1", "2", "3"]):
        wanted = ipv4(*(f"2001:db8::{n}/64" for n in order))
        run("apply", {"name": "eth1", "ipv6": wanted})
        assert listed(ns, "eth1", "inet6") == [f"2001:db8::{n}" for n in order]
        assert source(ns, "2001:db8::99") == f"2001:db8::{order[0]}"
    bond = {"name": "eth1", "state": "down"}
    run("apply", bond)
    run("rollback")
    assert listed(ns, "eth1", "inet6") == ["2001:db8::1", "2001:db8::2", "2001:db8::3"]


def test_a_route_by_an_address_that_moves_in_the_list_stays(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(*(f"addr add {address} dev eth1" for address in ORDERS[0]))
    ns.batch(
        "route add default via 192.0.2.1 src 192.0.2.5", "route add 203.0.113.0/24 via 192.0.2.9 proto bgp"
    )
    before = routes(ns)
    run("apply", {"name": "eth1", "ipv4": ipv4(*ORDERS[1])})
    assert routes(ns) == before
    assert listed(ns, "eth1")[0] == "192.0.2.3"


def test_of_an_addresss_prefixes_only_the_one_goes_that_is_not_listed(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(*(f"addr add 192.0.2.5/{size} dev eth1" for size in (24, 25)), "route add default via 192.0.2.1")
    watch = ns.popen("ip", "monitor", "address")
    run("apply", {"name": "eth1", "ipv4": ipv4("192.0.2.5/24")})
    watch.terminate()
    deleted = [line.split() for line in watch.communicate()[0].splitlines() if line.startswith("Deleted")]
    assert [words[words.index("inet") + 1] for words in deleted] == ["192.0.2.5/25"]
    assert listed(ns, "eth1") == ["192.0.2.5"]


def test_an_address_that_somebody_adds_meanwhile_is_no_reason_to_give_others_anew(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(
        "addr add 192.0.2.5/24 dev eth1", "addr add 192.0.2.6/24 dev eth1", "addr add 2001:db8::5/64 dev eth1"
    )
    run("apply", {"name": "eth1", "mtu": 1400})
    ns.batch("addr add 203.0.113.7/24 dev eth1", "addr add 2001:db8::7/64 dev eth1")
    assert "address" not in run("rollback")
    assert listed(ns, "eth1") == ["192.0.2.5", "203.0.113.7", "*192.0.2.6"]
    assert listed(ns, "eth1", "inet6") == ["2001:db8::7", "2001:db8::5"]


def test_the_loopback_keeps_its_own_addresses(ns: Namespace, run: Callable[..., str]) -> None:  # noqa: F811
    before = ns.settled()
    six = ipv4("2001:db8::7/128")
    run("apply", {"name": "lo", "type": "loopback", "ipv4": ipv4("192.0.2.77/32"), "ipv6": six})
    assert listed(ns, "lo") == ["127.0.0.1", "192.0.2.77"]
    every = {entry["local"] for entry in ns.json("ip", "-j", "addr", "show", "lo")[0]["addr_info"]}
    assert every == {"127.0.0.1", "192.0.2.77", "::1", "2001:db8::7"}
    run("rollback")
    assert ns.differs(before) == {}
    ns.batch(
        "addr del 127.0.0.1/8 dev lo", "addr add 192.0.2.78/32 dev lo", "addr add 2001:db8::8/128 dev lo"
    )
    run("apply", {"name": "lo", "type": "loopback", "state": "absent"})
    assert ns.differs(before) == {}


@pytest.mark.parametrize("state", ["up", "down"])
def test_the_loopbacks_ipv6_address_comes_and_goes_with_its_being_up(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
    state: str,
) -> None:
    ns.batch("link set lo up", *(["link set lo down"] if state == "up" else []))
    before = ns.settled()
    assert "::1" not in run("apply", {"name": "lo", "type": "loopback", "state": state})
    assert listed(ns, "lo", "inet6") == []
    every = {entry["local"] for entry in ns.json("ip", "-j", "addr", "show", "lo")[0]["addr_info"]}
    assert every == {"127.0.0.1"} | ({"::1"} if state == "up" else set())
    assert "::1" not in run("rollback")
    assert ns.differs(before) == {}
    assert ns.json("ip", "-j", "-6", "route", "show", "::1") == []


def test_a_loopback_that_was_never_up_is_as_it_was_after_a_rollback(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch("link set lo down", "addr flush dev lo")
    before = ns.settled()
    run("apply", {"name": "lo", "type": "loopback", "state": "up"})
    assert len(ns.json("ip", "-j", "addr", "show", "lo")[0]["addr_info"]) == 2
    run("rollback")
    assert ns.differs(before) == {}


def test_a_link_local_address_that_somebody_gave_is_nobody_elses(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(
        "link add bond0 type bond mode active-backup miimon 100",
        "link set eth1 down",
        "link set eth1 master bond0",
    )
    ns.batch("link set bond0 up", "addr add fe80::1/64 dev bond0", "addr add 2001:db8::1/64 dev bond0")
    before = ns.settled()
    bond = {"name": "bond0", "type": "bond", "link-aggregation": {"mode": "balance-rr", "port": ["eth1"]}}
    run("apply", bond)
    run("apply", {"name": "bond0", "ipv6": ipv4("2001:db8::1/64", "2001:db8::2/64")})
    found = {entry["local"] for entry in ns.json("ip", "-j", "addr", "show", "bond0")[0]["addr_info"]}
    assert {"fe80::1", "2001:db8::1", "2001:db8::2"} <= found
    run("rollback")
    assert ns.differs(before)["link"]  # only the mode, which the apply before has changed
    assert ns.settled()["addr"]["bond0"]["addr_info"] == before["addr"]["bond0"]["addr_info"]


@pytest.mark.parametrize("switch", ["0", "1"])
def test_what_is_said_of_autoconf_alone_switches_ipv6_neither_on_nor_off(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
    switch: str,
) -> None:
    ns.run("sysctl", "-qw", f"net.ipv6.conf.eth1.disable_ipv6={switch}")
    before = ns.settled()
    document = {"interfaces": [{"name": "eth1", "ipv6": {"dhcp": False}}]}
    assert nncp(ns, "plan", "-", document=document).stdout == "No changes.\n"
    ns.run(*("sysctl", "-qw", "net.ipv6.conf.eth1.autoconf=0"))
    nncp(ns, "plan", "-", document={"interfaces": [{"name": "eth1", "ipv6": {"autoconf": False}}]})
    assert ns.differs(before) == {}


def test_flags_and_lifetimes_come_back_and_the_routes_of_what_has_them(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(
        "addr add 2001:db8::7/64 dev eth1 valid_lft 5000 preferred_lft 3000",
        "addr add 2001:db8:1::7/64 dev eth1 nodad home",
        "addr add 2001:db8:2::7/64 dev eth1 noprefixroute",
    )
    ns.settled()
    ns.batch("-6 route add 2001:db8:9::/48 via 2001:db8::9 proto static")
    before = ns.settled()
    told = run("apply", {"name": "eth1", "type": "ethernet", "state": "down"})
    assert "address 2001:db8::7/64" in told
    assert "2001:db8::7" not in str(ns.settled()["addr"])
    run("rollback")
    assert ns.differs(before) == {}


def test_a_thousand_addresses_of_one_subnet_are_read_in_one_pass(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch("link set eth1 up")
    lines = "".join(f"addr add 10.0.{n // 250}.{n % 250 + 1}/8 dev eth1\n" for n in range(1000))
    ns.run("ip", "-batch", "-", stdin=lines)
    counted = (
        "from nncp.netlink import snapshot\nfrom nncp.netlink.channel import Channel\nfrom nncp.known import KINDS\n"
        "import ipaddress, sys\ncalls = [0]\n"
        "sys.setprofile(lambda frame, event, arg: calls.__setitem__(0, calls[0] + (event == 'call')))\n"
        "host = snapshot.snapshot(Channel(), KINDS)\nsys.setprofile(None)\n"
        "print(len(host.of('address', 'eth1')), calls[0] < 60_000)\n"
    )
    import sys

    assert ns.run(sys.executable, "-c", counted).stdout.split()[1] == "True"


def test_an_address_with_several_peers_is_shown_kept_taken_away_and_brought_back(
    ns: Namespace,
    run: Callable[..., str],  # noqa: F811
) -> None:
    ns.batch(
        "addr add 192.0.2.1 peer 198.51.100.2/32 dev eth1",
        "addr add 203.0.113.5/24 dev eth1",
        "addr add 192.0.2.1 peer 198.51.100.3/32 dev eth1",
        "addr add 192.0.2.1/32 dev eth1",
        "addr add 2001:db8::1 peer 2001:db8::2/128 dev eth1",
        "route add 10.1.0.0/16 via 198.51.100.3 dev eth1",
    )
    before = ns.settled()
    shown = nncp(ns, "show", "eth1").stdout
    assert shown.count("ip: 192.0.2.1") == 3
    assert nncp(ns, "plan", "-", document=shown).stdout == "No changes.\n"
    for listed_as in (["192.0.2.1/32", "203.0.113.5/24"], ["203.0.113.5/24"], ["192.0.2.9/24"]):
        had = ns.settled()
        run("apply", {"name": "eth1", "ipv4": ipv4(*listed_as)})
        assert listed(ns, "eth1").count("192.0.2.1") == (3 if "192.0.2.1/32" in listed_as else 0)
        run("rollback")
        assert ns.differs(had) == {}
    run("apply", {"name": "eth1", "ipv4": {"enabled": False}, "ipv6": {"enabled": False}})
    run("rollback")
    assert ns.differs(before) == {}
