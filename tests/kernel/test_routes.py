"""Routes on a real kernel: others' stay, moves arrive, and what is taken along is told and comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_kinds import nncp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

CARDS = [
    line
    for n in (1, 2)
    for line in (
        f"link add eth{n} type veth peer name p{n}",
        f"link set p{n} up",
        f"link set eth{n} up",
    )
]


@pytest.fixture
def run(ns: Namespace, tmp_path: Path) -> Callable[..., str]:
    ns.batch(*CARDS)

    def ran(verb: str, *interfaces: dict[str, Any], code: int = 0, routes: Any = ()) -> str:
        document: Any = {"interfaces": list(interfaces)}
        if routes:
            document["routes"] = {"config": list(routes)}
        where = ["--state-dir", str(tmp_path)] if verb in {"apply", "rollback"} else []
        files = [] if verb in {"rollback", "show"} else ["-"]
        done = nncp(ns, verb, *files, *where, document=document, code=code)
        if verb == "apply" and code == 0:
            assert nncp(ns, "plan", "-", document=document).stdout == "No changes.\n"
            shown = nncp(ns, "show").stdout
            assert nncp(ns, "plan", "-", document=shown).stdout == "No changes.\n", (
                "what is shown is not there"
            )
        return done.stdout + done.stderr

    return ran


def routes(ns: Namespace, *words: str, family: str = "-4") -> list[str]:
    """Return the routes that nobody but the kernel made are not among, as `ip route` words them."""
    lines = ns.run("ip", family, "route", "show", *words).stdout.splitlines()
    return sorted(" ".join(line.split()) for line in lines if "proto kernel" not in line)


def ipv4(*addresses: str) -> dict[str, Any]:
    entries = [address.split("/") for address in addresses]
    return {"enabled": True, "address": [{"ip": ip, "prefix-length": int(size)} for ip, size in entries]}


def bridge(*addresses: str, family: str = "ipv4", port: str = "eth1") -> dict[str, Any]:
    section = {"options": {"stp": {"enabled": False}}, "port": [{"name": port}]}
    return {"name": "br1", "type": "linux-bridge", family: ipv4(*addresses), "bridge": section}


DEFAULT = {"destination": "0.0.0.0/0", "next-hop-address": "192.0.2.2", "next-hop-interface": "br1"}


@pytest.mark.parametrize("net", ["203.0.113.0/24", "2001:db8:7::/48"])
def test_a_route_becomes_one_of_another_type(ns: Namespace, run: Callable[..., str], net: str) -> None:
    family = "-6" if ":" in net else "-4"
    ns.batch(f"{family} route add blackhole {net} proto static")
    before = ns.settled()
    run("apply", routes=[{"destination": net, "route-type": "unreachable"}])
    assert [route["type"] for route in ns.json("ip", "-j", family, "-d", "route", "show", net)] == [
        "unreachable"
    ]
    run("rollback")
    assert ns.differs(before) == {}


def test_only_an_administrators_routes_are_taken_away(ns: Namespace, run: Callable[..., str]) -> None:
    ns.batch("addr add 192.0.2.5/24 dev eth1")
    kept = [f"203.0.113.{n * 8}/29 via 192.0.2.9 proto {word}" for n, word in enumerate(
        ("bgp", "bird", "dhcp", "ospf", "zebra", "babel", "keepalived", "77")
    )]  # fmt: skip
    ns.batch(*(f"route add {line}" for line in kept))
    ns.batch(
        "route add 198.51.100.0/25 via 192.0.2.1 proto static", "route add 198.51.100.128/25 via 192.0.2.1"
    )
    ns.batch("route add blackhole 10.9.0.0/16 proto static")
    run("apply", routes=[{"state": "absent", "next-hop-interface": "eth1"}])
    left = routes(ns)
    assert len(left) == len(kept) + 1
    assert not any(line.startswith("198.51.100") for line in left)
    assert "blackhole 10.9.0.0/16 proto static" in left
    run("apply", routes=[{"state": "absent", "route-type": "blackhole"}])
    assert len(routes(ns)) == len(kept)


@pytest.mark.parametrize(
    "made",
    [
        "by hand", "by hand with a metric", "static", "dhcp", "dhcp with a metric", "dhcp with a source",
        "our policy", "multipath",
    ],
)  # fmt: skip
@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_the_default_route_moves_with_its_port_to_the_bridge(
    ns: Namespace, run: Callable[..., str], made: str, family: str
) -> None:
    six = family == "ipv6"
    address, gateway = ("2001:db8::66/64", "2001:db8::2") if six else ("192.0.2.66/24", "192.0.2.2")
    net, other = ("::/0", "2001:db8::66") if six else ("0.0.0.0/0", "192.0.2.66")
    ns.batch(f"addr add {address} dev eth1")
    command = f"{'-6 ' if six else ''}route add default via {gateway} dev eth1"
    if made == "our policy":
        card = {"name": "eth1", "type": "ethernet", family: ipv4(address)}
        route = {"destination": net, "next-hop-address": gateway, "next-hop-interface": "eth1"}
        run("apply", card, routes=[route])
    elif made == "multipath":
        second = gateway.replace("::2", "::3").replace(".2.2", ".2.3")
        ns.batch(
            f"{'-6 ' if six else ''}route add default nexthop via {gateway} dev eth1 nexthop via {second} dev eth1"
        )
    else:
        words = {"by hand": "", "by hand with a metric": "metric 100", "static": "proto static", "dhcp": "proto dhcp",
                 "dhcp with a metric": "proto dhcp metric 100", "dhcp with a source": f"proto dhcp src {other}"}  # fmt: skip
        ns.batch(f"{command} {words[made]}")
    before = ns.settled()
    route = {"destination": net, "next-hop-address": gateway, "next-hop-interface": "br1"}
    run("apply", bridge(address, family=family), routes=[route])
    found = ns.json("ip", f"-{family[-1]}", "-j", "route", "show", "default")
    assert [(entry["gateway"], entry["dev"]) for entry in found] == [(gateway, "br1")]
    assert not [
        entry
        for entry in ns.json("ip", "-j", "addr", "show", "eth1")[0]["addr_info"]
        if entry["scope"] == "global"
    ]
    run("rollback")
    assert ns.differs(before) == {}


def test_the_default_route_moves_to_a_bond_to_a_vlan_and_to_another_link(
    ns: Namespace, run: Callable[..., str]
) -> None:
    gateway = {"destination": "0.0.0.0/0", "next-hop-address": "192.0.2.2"}
    ns.batch("addr add 192.0.2.66/24 dev eth1", "route add default via 192.0.2.2 metric 100")
    before = ns.settled()
    bond = {"name": "bond0", "type": "bond", "ipv4": ipv4("192.0.2.66/24"),
            "link-aggregation": {"mode": "active-backup", "port": ["eth1"]}}  # fmt: skip
    vlan = {
        "name": "eth1.5",
        "type": "vlan",
        "vlan": {"base-iface": "eth1", "id": 5},
        "ipv4": ipv4("192.0.2.66/24"),
    }
    bare = {"name": "eth1", "ipv4": {"enabled": False}}
    emptied = {"name": "eth1", "ipv4": {"enabled": True, "address": []}}
    for to, interfaces in (
        ("bond0", [bond]),
        ("eth1.5", [vlan, bare]),
        ("eth2", [{"name": "eth2", "ipv4": ipv4("192.0.2.66/24")}, bare]),
        ("eth2", [{"name": "eth2", "ipv4": ipv4("192.0.2.66/24")}, emptied]),
    ):
        run("apply", *interfaces, routes=[{**gateway, "next-hop-interface": to}])
        assert routes(ns) == [f"default via 192.0.2.2 dev {to} proto static"] or to == "bond0"
        found = ns.json("ip", "-j", "route", "show", "default")
        assert [(entry["gateway"], entry["dev"]) for entry in found] == [("192.0.2.2", to)]
        run("rollback")
        assert ns.differs(before) == {}


def test_a_hop_through_a_link_that_loses_its_addresses_leaves_a_multipath_route(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch("addr add 192.0.2.5/24 dev eth1", "addr add 198.51.100.5/24 dev eth2")
    ns.batch("route add 203.0.113.0/24 nexthop via 192.0.2.2 nexthop via 198.51.100.2")
    run("apply", bridge("192.0.2.5/24"))
    assert routes(ns) == ["203.0.113.0/24 via 198.51.100.2 dev eth2"]


def test_a_plan_tells_what_it_takes_from_routing_daemons_and_a_rollback_brings_it_back(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch(
        "addr add 192.0.2.5/24 dev eth1",
        "addr add 2001:db8::5/64 dev eth1",
        "addr add 198.51.100.5/24 dev eth2",
    )
    ns.batch(*(f"route add 203.0.113.{n}/32 via 192.0.2.9 proto bgp" for n in range(3)))
    ns.batch(
        "route add 203.0.113.9/32 via 198.51.100.9 proto bgp", "route add 10.7.0.0/16 dev eth1 proto ospf"
    )
    ns.batch("-6 route add 2001:db8:7::/48 via 2001:db8::9 proto bird")
    before = ns.settled()
    moved = bridge("192.0.2.5/24")
    told = run("plan", moved)
    assert "takes 3 routes of bgp with it" in told
    assert "takes 1 route of ospf with it" in told
    run("apply", moved)
    assert routes(ns) == ["203.0.113.9 via 198.51.100.9 dev eth2 proto bgp"]
    run("rollback")
    assert ns.differs(before) == {}


def test_routes_of_routing_daemons_come_back_where_all_their_hops_stand(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch(
        "link add bond0 type bond mode active-backup", "link set eth1 down", "link set eth1 master bond0"
    )
    ns.batch("link set bond0 up", "addr add 192.0.2.5/24 dev bond0", "addr add 2001:db8::5/64 dev bond0")
    ns.batch(
        "route add 203.0.113.0/24 via 192.0.2.9 proto bgp metric 20",
        "route add 10.7.0.0/16 dev bond0 proto ospf",
    )
    ns.batch("-6 route add 2001:db8:7::/48 via 2001:db8::9 proto bird metric 50")
    before = ns.settled()
    told = run(
        "apply",
        {"name": "bond0", "type": "bond", "link-aggregation": {"mode": "balance-rr", "port": ["eth1"]}},
    )
    assert "3 routes" in told
    assert "come back" in told
    after = ns.settled()
    assert (after["route"], after["route6"]) == (before["route"], before["route6"])
    run("rollback")
    assert ns.differs(before) == {}


def test_daemons_routes_that_go_with_their_source_or_with_ipv6_come_back(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch("addr add 192.0.2.5/24 dev eth1", "addr add 203.0.113.6/32 dev lo")
    ns.batch("route add 10.2.0.0/16 via 192.0.2.1 src 203.0.113.6 proto bgp")
    ns.batch("-6 route add 2001:db8:7::/48 via fe80::9 dev eth2 proto bird")
    before = ns.settled()
    loopback = {"name": "lo", "type": "loopback", "ipv4": ipv4("203.0.113.9/32")}
    assert "takes 1 route of bgp with it" in run("plan", loopback)
    run("apply", loopback)
    assert routes(ns) == []
    run("rollback")
    assert ns.differs(before) == {}
    off = {"name": "eth2", "ipv6": {"enabled": False}}
    assert "takes 1 route of bird with it" in run("plan", off)
    run("apply", off)
    run("rollback")
    assert ns.differs(before) == {}


def test_a_route_that_a_daemon_has_put_there_is_not_replaced(ns: Namespace, run: Callable[..., str]) -> None:
    ns.batch("addr add 192.0.2.5/24 dev eth1")
    ns.batch(
        "route add 203.0.113.0/24 via 192.0.2.9 proto bgp",
        "route add 198.51.100.0/24 via 192.0.2.9 proto dhcp",
    )
    ask = {"next-hop-address": "192.0.2.1", "next-hop-interface": "eth1"}
    before = routes(ns)
    run("apply", routes=[{"destination": "203.0.113.0/24", **ask}], code=75)
    said = run("apply", routes=[{"destination": "198.51.100.0/24", **ask}], code=65)
    assert "a route of dhcp" in said
    assert routes(ns) == before


def test_routes_of_one_destination_and_metric_are_taken_and_brought_back_each_by_itself(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch("link add link eth1 name eth1.5 type vlan id 5", "link set eth1.5 up")
    ns.batch("addr add 192.0.2.5/24 dev eth1.5", "addr add 198.51.100.5/24 dev eth2")
    ns.batch("addr add 2001:db8::5/64 dev eth1.5")
    ns.batch("route add 10.0.0.0/8 via 192.0.2.1", "route append 10.0.0.0/8 via 198.51.100.1")
    ns.batch("-6 route add 2001:db8:9::/48 dev eth2", "-6 route append 2001:db8:9::/48 via 2001:db8::1")
    before = ns.settled()
    in_order = ns.run("ip", "-4", "route", "show", "10.0.0.0/8").stdout
    for card, left in (("eth1.5", "eth2"), ("eth2", "eth1.5")):
        run("apply", routes=[{"state": "absent", "destination": "10.0.0.0/8", "next-hop-interface": card}])
        assert [line.split()[4] for line in routes(ns, "10.0.0.0/8")] == [left]
        run("rollback")
        assert ns.run("ip", "-4", "route", "show", "10.0.0.0/8").stdout == in_order
    run("apply", {"name": "eth1.5", "type": "vlan", "vlan": {"id": 6}})
    assert ns.run("ip", "-4", "route", "show", "10.0.0.0/8").stdout == in_order
    assert len(routes(ns, "2001:db8:9::/48", family="-6")) == 2
    run("rollback")
    assert ns.differs(before) == {}


def test_what_dhcp_put_there_becomes_static_when_it_is_asked_for(
    ns: Namespace, run: Callable[..., str]
) -> None:
    ns.batch(
        "addr add 192.0.2.5/24 valid_lft 600 preferred_lft 500 dev eth1",
        "route add default via 192.0.2.1 proto dhcp",
    )
    before = ns.settled()
    shown = nncp(ns, "show").stdout
    assert nncp(ns, "plan", "-", document=shown).stdout == "No changes.\n"
    card = {"name": "eth1", "ipv4": ipv4("192.0.2.5/24")}
    asked = {"destination": "0.0.0.0/0", "next-hop-address": "192.0.2.1", "next-hop-interface": "eth1"}
    run("apply", card, routes=[asked])
    (entry,) = ns.json("ip", "-j", "addr", "show", "eth1")[0]["addr_info"][:1]
    assert (entry["valid_life_time"], entry["preferred_life_time"]) == (2**32 - 1, 2**32 - 1)
    assert routes(ns) == ["default via 192.0.2.1 dev eth1 proto static"]
    run("rollback")
    assert ns.differs(before) == {}
    assert ns.json("ip", "-j", "addr", "show", "eth1")[0]["addr_info"][0]["valid_life_time"] <= 600


FULL = [
    "route add 10.0.1.0/24 via inet6 2001:db8::2 dev eth1",
    "route add 10.0.2.0/24 nexthop via 192.0.2.2 weight 3 nexthop via inet6 fe80::2 dev eth1 weight 7",
    "route add 10.0.3.0/24 via 203.0.113.1 dev eth1 onlink",
    "route add 10.0.4.0/24 via 192.0.2.2 src 192.0.2.5 mtu 1400 advmss 1300 cwnd lock 20 congctl reno",
    "route add 10.0.5.0/24 via 192.0.2.2 cwnd 12 mtu lock 1400",
    "route add 10.0.6.0/24 tos 0x10 via 192.0.2.2",
    "route add 10.0.6.0/24 via 192.0.2.3",
    "route add 10.0.7.0/24 via 192.0.2.2 realm 7",
    "route add throw 10.0.8.0/24 table 77",
    "route add prohibit 10.0.9.0/24",
    "route add local 10.0.10.0/24 dev eth1",
    "route append 10.0.11.0/24 via 192.0.2.2",
    "route append 10.0.11.0/24 via 192.0.2.3",
    "-6 route add 2001:db8:1::/48 via 2001:db8::2 pref high",
    "-6 route add 2001:db8:2::/48 dev eth1 metric 9",
    "-6 route append 2001:db8:2::/48 dev eth2 metric 9",
    "-6 route add 2001:db8:3::/48 via 2001:db8::2 expires 4000",
    "-6 route add 2001:db8:4::/48 nexthop via 2001:db8::2 weight 2 nexthop via 2001:db8::3 weight 5",
    "-6 route add 2001:db8:5::/48 from 2001:db8:9::/48 via 2001:db8::2",
    "-6 route add 2001:db8:5::/48 via 2001:db8::3",
    "-6 route add unreachable 2001:db8:6::/48",
    "route add 10.0.12.0/24 encap ip id 9 dst 192.0.2.77 via 192.0.2.2 dev eth1",
]


def test_every_part_of_a_route_comes_back_with_its_link(ns: Namespace, run: Callable[..., str]) -> None:
    ns.batch(
        "addr add 192.0.2.5/24 dev eth1",
        "addr add 2001:db8::5/64 dev eth1",
        "addr add 198.51.100.5/24 dev eth2",
    )
    for line in FULL:
        done = ns.run("ip", *line.split(), check=False)
        assert done.returncode == 0 or ("from" in line or "encap" in line), f"{line}: {done.stderr}"
    before = ns.settled()
    shown = nncp(ns, "show").stdout
    assert nncp(ns, "plan", "-", document=shown).stdout == "No changes.\n"
    run("apply", {"name": "eth1", "state": "down"})
    run("rollback")
    assert ns.differs(before) == {}
    bond = {"name": "bond0", "type": "bond", "link-aggregation": {"mode": "active-backup", "port": ["eth1"]}}
    run("apply", bond)
    run("rollback")
    assert ns.differs(before) == {}


def test_a_locked_congestion_window_is_asked_for_and_shown(ns: Namespace, run: Callable[..., str]) -> None:
    card = {"name": "eth1", "ipv4": ipv4("192.0.2.5/24")}
    asked = {"destination": "198.51.100.0/24", "next-hop-address": "192.0.2.1", "next-hop-interface": "eth1"}
    run("apply", card, routes=[{**asked, "cwnd": 20}])
    assert "cwnd lock 20" in routes(ns, "198.51.100.0/24")[0]
    run("apply", card, routes=[{**asked, "cwnd": 30}])
    assert "cwnd lock 30" in routes(ns, "198.51.100.0/24")[0]
    ns.batch("route add 203.0.113.0/24 via 192.0.2.1 cwnd 15")
    assert nncp(ns, "show").stdout.count("cwnd: 30") == 2
    assert "cwnd: 15" not in nncp(ns, "show").stdout


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_what_a_document_gave_a_route_goes_with_a_rollback(
    ns: Namespace, run: Callable[..., str], family: str
) -> None:
    six = family == "ipv6"
    source, gateway, net = (
        ("2001:db8::5", "2001:db8::1", "2001:db8:7::") if six else ("192.0.2.5", "192.0.2.1", "198.51.100.")
    )
    ns.batch(f"addr add {source}/{64 if six else 24} dev eth1")
    hints = [
        "",
        "cwnd 20",
        "cwnd 7",
        "cwnd lock 10",
        "initcwnd 10",
        "mtu lock 1400",
        "hoplimit 9",
        "congctl reno",
    ]
    nets = {f"{net}{number}/{128 if six else 32}": words for number, words in enumerate(hints, 8)}
    ns.batch(*(f"{'-6 ' if six else ''}route add {net} via {gateway} {words}" for net, words in nets.items()))
    before = ns.settled()
    ask = {"next-hop-address": gateway, "next-hop-interface": "eth1", "source": source, "cwnd": 20}
    run("apply", routes=[{"destination": net, **ask} for net in nets])
    assert len([line for line in routes(ns, family=f"-{family[-1]}") if "cwnd lock 20" in line]) == len(nets)
    run("rollback")
    assert ns.differs(before) == {}


@pytest.mark.parametrize("gateway", ["198.51.100.1", "192.0.3.1"])
def test_a_gateway_outside_every_prefix_is_refused_at_its_place(
    ns: Namespace, run: Callable[..., str], gateway: str
) -> None:
    card = {"name": "eth1", "ipv4": ipv4("192.0.2.5/32")}
    asked = {"destination": "0.0.0.0/0", "next-hop-address": gateway, "next-hop-interface": "eth1"}
    before = ns.view()
    for verb in ("plan", "apply"):
        said = run(verb, card, routes=[asked], code=65)
        assert "routes.config[0].next-hop-address" in said
        assert f"the gateway {gateway}" in said
        assert "onlink" in said
    assert ns.differs(before) == {}
    link_route = {"destination": f"{gateway}/32", "next-hop-interface": "eth1"}
    run("apply", card, routes=[asked, link_route])
    assert routes(ns, "default") == [f"default via {gateway} dev eth1 proto static"]


def test_a_route_waits_until_its_ipv6_source_is_no_duplicate(ns: Namespace, run: Callable[..., str]) -> None:
    detects = ("sysctl", "-qw", *(f"net.ipv6.conf.{name}.{key}=1" for name in ("eth1", "all", "default")
               for key in ("accept_dad", "dad_transmits")))  # fmt: skip
    ns.run(*detects)
    six = {"enabled": True, "address": [{"ip": "2001:db8::5", "prefix-length": 64}]}
    asked = {"destination": "2001:db8:7::/48", "next-hop-address": "2001:db8::1", "next-hop-interface": "eth1",
             "source": "2001:db8::5"}  # fmt: skip
    run("apply", {"name": "eth1", "ipv6": six}, routes=[asked])
    (line,) = routes(ns, "2001:db8:7::/48", family="-6")
    assert "src 2001:db8::5" in line
    before = ns.settled()
    run("apply", {"name": "eth1", "state": "down"})
    run("rollback")
    assert ns.differs(before) == {}


def test_an_empty_host_shows_that_it_has_no_routes(ns: Namespace) -> None:
    assert "routes:\n  running: []\n  config: []\n" in nncp(ns, "show").stdout
