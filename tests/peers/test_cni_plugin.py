"""Our bridge plugin beside the reference's (containernetworking/plugins): the same input, two fresh nodes.

The result and what the kernel then has are compared, and what is left after DEL. All that differs is in
DECISIONS, with the reason; what is there and differs no more fails too.
"""

from __future__ import annotations

import itertools
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.vmnet.conftest import Node

pytestmark = pytest.mark.kernel

MAC = "02:00:00:00:00:77"
V4, V6 = {"subnet": "10.9.0.0/24"}, {"subnet": "fd09::/64"}

ALWAYS = {
    "port.ipv6": "a port of a bridge has no IPv6: its own address would speak with a MAC that nobody asked for",
}
DECISIONS = {
    "leak": (
        {"port.vlans"},
        "a trunk without `vlan` carries no untagged VLAN 1, which the reference adds",
    ),
    "proto": (
        {"routes.protocol"},
        "routes are static, not boot: whoever reads them knows that they are meant",
    ),
    "metrics": (
        {"routes"},
        "a route has the MTU that the result tells: the reference tells it, and writes none",
    ),
    "missing": ({"code"}, "a missing bridge is the policy's to make; the reference makes one without uplink"),
    "unfiltered": ({"code"}, "a VLAN on a bridge that does not filter would mean nothing"),
    "no-uplink": ({"code"}, "a VLAN that no uplink carries leads nowhere"),
    "mtu": ({"code"}, "an MTU beyond the uplinks' would lose frames in silence"),
    "promisc": ({"code"}, "promiscMode would change the policy's bridge for good"),
    "vlan-gateway": ({"code"}, "a gateway in a VLAN is an interface, which is the policy's to make"),
    "no-addresses": (
        {"code"},
        "a gateway or masquerading without ipam means nothing; the reference is silent",
    ),
    "unknown": ({"code"}, "a key that nobody knows is a mistake; the reference drops it"),
}

SET_UP = """
    ip link add br1 type bridge vlan_filtering 1 mcast_snooping 0; ip link set br1 up
    ip link add up0 type dummy; ip link set up0 up master br1; bridge vlan add dev up0 vid 2-4000
    ip link add br2 type bridge mcast_snooping 0; ip link set br2 up
    ip netns add c
"""


class Side:
    """A fresh node with one of the plugins."""

    def __init__(self, node: Node, argv: tuple[str, ...], path: Path) -> None:
        self.node = node
        self.argv = argv
        self.path = path
        node.sh(SET_UP)

    def call(self, verb: str, conf: dict[str, Any], **env: str) -> dict[str, Any]:
        """Return what it answers; an empty object for nothing."""
        environment = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/c", "CNI_IFNAME": "net1",
            "CNI_PATH": str(self.path), **env,
        }  # fmt: skip
        done = self.node.run(*self.argv, stdin=json.dumps(conf), check=False, **environment)
        return dict(json.loads(done.stdout or "{}"))

    def json(self, command: str) -> Any:
        return json.loads(self.node.sh(command) or "[]")

    def state(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the kernel has of an attachment, without what is drawn at random."""
        port = result["interfaces"][1]["name"]
        (outside,) = self.json(f"ip -d -j addr show {port}")
        (inside,) = self.json("ip -n c -d -j addr show net1")
        vlans = [v["vlans"] for v in self.json("bridge -j vlan") if v["ifname"] == port]
        slave = outside["linkinfo"]["info_slave_data"]
        return {
            "port.up": "UP" in outside["flags"],
            "port.mtu": outside["mtu"],
            "port.master": outside["master"],
            "port.data": {key: slave[key] for key in ("hairpin", "isolated", "learning", "flood", "guard")},
            "port.vlans": vlans,
            "port.ipv6": bool(outside["addr_info"]),
            "inside.up": "UP" in inside["flags"],
            "inside.mtu": inside["mtu"],
            "inside.mac": inside["address"] if inside["address"] == MAC else "",
            "inside.addresses": sorted(map(_address, inside["addr_info"]), key=str),
            "inside.settings": self.node.sh(SETTINGS),
            "bridge.addresses": sorted(
                (a["local"], a["prefixlen"])
                for a in self.json("ip -j addr show br1")[0]["addr_info"]
                if a["scope"] == "global"
            ),
            "routes": sorted(map(_route, self.routes()), key=str),
            "routes.protocol": sorted({str(r.get("protocol", "kernel")) for r in self.routes()} - {"kernel"}),
            "forwarding": self.node.sh(
                "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding"
            ),
        }

    def routes(self) -> list[dict[str, Any]]:
        found = self.json("ip -n c -j route show table all") + self.json("ip -n c -6 -j route show table all")
        return [r for r in found if r.get("type", "unicast") == "unicast" and r.get("dev") == "net1"]


SETTINGS = """
ip netns exec c cat /proc/sys/net/ipv4/conf/net1/arp_notify /proc/sys/net/ipv6/conf/net1/disable_ipv6
"""


def _address(info: dict[str, Any]) -> tuple[Any, ...]:
    if info["scope"] == "link":  # the kernel's own, and tentative for as long as the kernel likes
        return (info["family"], "link-local", info["prefixlen"])
    return (info["family"], info["local"], info["prefixlen"], "tentative" in info, "dadfailed" in info)


def _route(route: dict[str, Any]) -> tuple[Any, ...]:
    keys = ("dst", "gateway", "metric", "table", "scope")
    return (*(route.get(key) for key in keys), json.dumps(route.get("metrics")))


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """Return a result without what is drawn at random; an empty `dns` or `sandbox` is none."""
    links = [
        {**link, "name": "" if index == 1 else link["name"], "mac": link["mac"] if link["mac"] == MAC else ""}
        for index, link in enumerate(result.get("interfaces", ()))
    ]
    for link in links:
        link.pop("mtu", None)  # the reference tells none, though 1.1.0 has a place for it
    return {key: value for key, value in {**result, "interfaces": links}.items() if value not in ({}, None)}


def ipam(*ranges: dict[str, Any], **more: Any) -> dict[str, Any]:
    own = {"type": "host-local", "dataDir": "/run/ipam2", "ranges": [[one] for one in ranges]}
    return {"ipam": {**own, **more}}


def generated() -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Yield configurations, each with its decisions: versions by addresses by ports."""
    versions = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
    addresses: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({}, set()),
        (ipam(V4), set()),
        ({**ipam(V4, V6), "isGateway": True}, set()),
        ({**ipam(V4, V6, routes=[{"dst": "0.0.0.0/0"}, {"dst": "fd50::/16"}]), "enabledad": True}, {"proto"}),
        ({**ipam(V6), "isDefaultGateway": True}, {"proto"}),
    )
    ports: tuple[tuple[dict[str, Any], set[str]], ...] = (
        ({}, set()),
        ({"mtu": 1400, "args": {"cni": {"mac": MAC}}}, set()),
        ({"hairpinMode": True, "portIsolation": True, "runtimeConfig": {"mac": MAC.upper()}}, set()),
        ({"vlanTrunk": [{"id": 7}, {"minID": 100, "maxID": 103}]}, {"leak"}),
    )
    for number, ((layer3, one), (port, two)) in enumerate(itertools.product(addresses, ports)):
        yield {"cniVersion": versions[number % len(versions)], **layer3, **port}, one | two


CHOSEN: list[tuple[dict[str, Any], set[str]]] = [
    ({"vlan": 33}, set()),
    ({"vlan": 33, "preserveDefaultVlan": True}, set()),
    ({"vlan": 33, "vlanTrunk": [{"id": 7}]}, set()),
    ({"vlan": 33, **ipam(V4)}, set()),
    ({"disableContainerInterface": True}, set()),
    ({"disableContainerInterface": True, **ipam(V4)}, set()),
    ({"macspoofchk": True}, set()),
    ({"dns": {"nameservers": ["10.9.0.1"], "search": ["a"]}}, set()),
    ({"dns": {"nameservers": ["10.9.0.1"]}, **ipam(V4)}, set()),
    (
        {**ipam(V4, routes=[{"dst": "10.50.0.0/16", "gw": "10.9.0.7", "priority": 7, "mtu": 1300}])},
        {"proto", "metrics"},
    ),
    ({**ipam(V4, routes=[{"dst": "10.50.0.0/16", "table": 1000}])}, {"proto"}),
    ({**ipam(V4), "isGateway": True, "ipMasq": True, "ipMasqBackend": "nftables"}, set()),
    ({**ipam(V4), "isGateway": True, "forceAddress": True}, set()),
    ({"vlan": 5000}, set()),
    ({"vlanTrunk": [{"id": 0}]}, set()),
    ({"vlanTrunk": [{"minID": 9, "maxID": 3}]}, set()),
    ({"vlanTrunk": [{"minID": 9}]}, set()),
    ({"hairpinMode": True, "promiscMode": True}, set()),
    ({"bridge": "lo"}, set()),
    ({"ipam": {"type": "no-such-ipam"}}, set()),
    ({"vlan": "33"}, set()),
    ({"args": []}, set()),
    ({"name": "../.."}, set()),
    ({"bridge": "br9"}, {"missing"}),
    ({"bridge": "br2", "vlan": 33}, {"unfiltered"}),
    ({"vlan": 4001}, {"no-uplink"}),
    ({"mtu": 9000}, {"mtu"}),
    ({"promiscMode": True}, {"promisc"}),
    ({**ipam(V4), "isGateway": True, "vlan": 33}, {"vlan-gateway"}),
    ({"isGateway": True}, {"no-addresses"}),
    ({"ipMasq": True}, {"no-addresses"}),
    ({"vlam": 33}, {"unknown"}),
]
CASES = [*generated(), *CHOSEN]


def can_be_checked(conf: dict[str, Any]) -> bool:
    """Whether the reference's CHECK passes after its own ADD.

    Without IPAM it asks a plugin without a name (bridge.go, cmdCheck), and it looks for routes in the main
    table alone (pkg/ip, ValidateExpectedRoute).
    """
    routes = conf.get("ipam", {}).get("routes", ())
    return "ranges" in conf.get("ipam", {}) and not any("table" in route for route in routes)


def difference(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    keys = sorted({*ours, *theirs})
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


@pytest.fixture
def sides(make_node: Callable[[Path], Node], tmp_path: Path, reference: Path) -> Iterator[tuple[Side, Side]]:
    nodes = []
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        nodes.append(make_node(tmp_path / name))
    ours = Side(nodes[0], (sys.executable, "-m", "vmnet.cni"), reference)
    yield ours, Side(nodes[1], (str(reference / "bridge"),), reference)
    for node in nodes:
        node.close()


@pytest.mark.parametrize(("conf", "decisions"), CASES, ids=[json.dumps(conf)[1:-1][:90] for conf, _ in CASES])
def test_the_same_input_does_the_same_but_for_what_was_decided(
    sides: tuple[Side, Side], conf: dict[str, Any], decisions: set[str]
) -> None:
    whole = {"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br1", **conf}
    expected = set[str]().union(*(DECISIONS[name][0] for name in decisions))
    answers = [side.call("ADD", whole) for side in sides]
    if any("code" in answer for answer in answers):
        assert ("code" in answers[0]) is True, answers
        assert ("code" in answers[1]) is not bool(expected), answers
        return
    results = difference(*map(plain, answers))
    assert results == {}
    states = difference(*(side.state(answer) for side, answer in zip(sides, answers, strict=True)))
    assert states.keys() - ALWAYS.keys() == expected, states
    if whole["cniVersion"] > "0.3.1":
        for side, answer in list(zip(sides, answers, strict=True))[: 2 if can_be_checked(conf) else 1]:
            assert side.call("CHECK", {**whole, "prevResult": answer}) == {}
    for side, answer in zip(sides, answers, strict=True):
        assert side.call("DEL", {**whole, "prevResult": answer}) == {}
        assert side.json("ip -n c -j link show type veth") == []
        assert "10.9.0.2" not in side.node.sh("ls /run/ipam2/net", check=False)


def test_a_version_of_before_results_is_refused_by_both_and_only_ours_leaves_nothing(
    sides: tuple[Side, Side],
) -> None:
    conf = {"name": "net", "type": "bridge", "bridge": "br1"}
    ours, theirs = (side.call("ADD", conf) for side in sides)
    assert (ours["code"], "code" in theirs) == (1, True)
    assert sides[0].json("ip -j link show type veth") == []


def test_every_decision_is_seen() -> None:
    seen = set[str]().union(*(decisions for _, decisions in CASES))
    assert seen == DECISIONS.keys()
