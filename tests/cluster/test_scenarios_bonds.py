"""kubernetes-nmstate's scenarios that want bonds, VLANs, bridges that filter and VRFs, with real agents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.documents import policy
from tests.cluster.outside import addresses, json_of, routes

if TYPE_CHECKING:
    from tests.cluster.programs import Operator

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

NODE = "node-1"
ONLY = {"kubernetes.io/hostname": NODE}
DEFAULT = {"mode": "trunk", "trunk-tags": [{"id-range": {"min": 2, "max": 4094}}]}
BOND = {
    "name": "bond0",
    "type": "bond",
    "state": "up",
    "link-aggregation": {"mode": "balance-rr", "options": {"miimon": 140}, "port": ["ens1f0", "ens1f1"]},
}


def bridge(*ports: dict[str, Any], **more: Any) -> dict[str, Any]:
    section = {"options": {"stp": {"enabled": False}}, "port": list(ports)}
    return {"name": "br1", "type": "linux-bridge", "state": "up", "bridge": section, **more}


def vlan(base: str, number: int, *address: str) -> dict[str, Any]:
    found = {
        "name": f"{base}.{number}",
        "type": "vlan",
        "state": "up",
        "vlan": {"base-iface": base, "id": number},
    }
    own = [{"ip": each, "prefix-length": 24} for each in address]
    return found | ({"ipv4": {"enabled": True, "address": own}} if own else {})


def applied(scene: Operator, *interfaces: dict[str, Any], name: str = "one", **more: Any) -> None:
    """Ask node-1 for interfaces, by one policy, and wait until it is so."""
    desired = {"interfaces": list(interfaces)}
    routes = more.pop("routes", [])
    desired |= {"routes": {"config": routes}} if routes else {}
    scene.apply(policy(name, desired=desired, nodeSelector=ONLY, **more))
    scene.await_policy(name, "Available")


def vlans(scene: Operator, port: str) -> list[Any]:
    """The VLANs of a bridge's port: first to last, and the flags."""
    (found,) = json_of(scene.cluster, NODE, "bridge", "-j", "vlan", "show", "dev", port)
    return [(each["vlan"], each.get("vlanEnd", each["vlan"])) for each in found["vlans"]]


def test_a_bridge_takes_ports_that_filter_as_they_are_told_to(scene: Operator) -> None:
    applied(scene, bridge({"name": "ens1f0"}, {"name": "ens1f1"}))
    assert scene.link(NODE, "br1")["linkinfo"]["info_data"]["vlan_filtering"] == 1
    assert [vlans(scene, port) for port in ("ens1f0", "ens1f1")] == [[(1, 1), (2, 4094)]] * 2
    (found,) = scene.items("nnce").values()
    told = found["status"]["desiredState"]["interfaces"][0]["bridge"]["port"]
    assert [port["vlan"] for port in told] == [DEFAULT, DEFAULT]

    applied(scene, bridge({"name": "ens1f0", "vlan": {"mode": "access", "tag": 102}}))
    assert vlans(scene, "ens1f0") == [(102, 102)]
    assert "master" not in scene.link(NODE, "ens1f1")
    applied(scene, bridge({"name": "ens1f0", "vlan": {}}))
    assert scene.link(NODE, "br1")["linkinfo"]["info_data"]["vlan_filtering"] == 0
    assert scene.link(NODE, "ens1f0")["master"] == "br1"
    applied(scene, {"name": "br1", "type": "linux-bridge", "state": "absent"})
    assert scene.link(NODE, "br1") == {}


def test_a_bond_carries_a_vlan_and_then_a_bridge(scene: Operator) -> None:
    own = {"enabled": True, "address": [{"ip": "10.10.10.10", "prefix-length": 24}]}
    applied(scene, BOND | {"ipv4": own}, vlan("bond0", 102, "10.102.10.10"))
    assert scene.link(NODE, "bond0")["linkinfo"]["info_data"]["mode"] == "balance-rr"
    assert [scene.link(NODE, port)["master"] for port in ("ens1f0", "ens1f1")] == ["bond0", "bond0"]
    assert addresses(scene.cluster, NODE, "bond0") == {"10.10.10.10/24"}
    assert addresses(scene.cluster, NODE, "bond0.102") == {"10.102.10.10/24"}
    gone = {"name": "bond0.102", "type": "vlan", "state": "absent"}
    applied(scene, BOND | {"ipv4": {"enabled": False}}, gone, bridge({"name": "bond0"}))
    assert scene.link(NODE, "bond0")["master"] == "br1"
    assert scene.link(NODE, "bond0.102") == {}
    assert addresses(scene.cluster, NODE, "bond0") == set()


@pytest.mark.deviates("order-by-need")
def test_policies_of_one_node_that_rest_on_each_other_are_applied_whatever_their_names(
    scene: Operator,
) -> None:
    for name, interface in (("a-vlan", vlan("bond0", 101)), ("b-vlan", vlan("bond0", 102)), ("z-bond", BOND)):
        desired = {"interfaces": [interface]}
        scene.apply(policy(name, desired=desired, nodeSelector=ONLY))
    for name in ("a-vlan", "b-vlan", "z-bond"):
        scene.await_policy(name, "Available")
    found = [scene.link(NODE, f"bond0.{number}")["linkinfo"]["info_data"]["id"] for number in (101, 102)]
    assert found == [101, 102]


def test_a_vrf_has_its_port_and_the_routes_of_its_table(scene: Operator) -> None:
    vrf = {
        "name": "vrf102",
        "type": "vrf",
        "state": "up",
        "vrf": {"port": ["ens1f0"], "route-table-id": 102},
    }
    card = {
        "name": "ens1f0",
        "type": "ethernet",
        "state": "up",
        "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.251", "prefix-length": 24}]},
    }
    route = {
        "destination": "198.51.100.0/24",
        "next-hop-interface": "ens1f0",
        "next-hop-address": "192.0.2.1",
    }
    applied(scene, vrf, card, routes=[route | {"table-id": 102}])
    assert scene.link(NODE, "ens1f0")["master"] == "vrf102"
    assert ("198.51.100.0/24", "ens1f0") in routes(scene.cluster, NODE, "102")


def test_a_bridge_takes_over_the_static_address_of_its_port(scene: Operator) -> None:
    by_hand = ("192.0.2.251/24", "dev", "ens1f0")
    scene.cluster.on(NODE, "ip", "addr", "add", *by_hand)
    capture = {"base": 'interfaces.name == "ens1f0"'}
    found = bridge({"name": "ens1f0"}, ipv4="{{ capture.base.interfaces.0.ipv4 }}")
    card = {"name": "ens1f0", "type": "ethernet", "state": "up", "ipv4": {"enabled": False}}
    applied(scene, found, card, capture=capture)
    assert addresses(scene.cluster, NODE, "br1") == {"192.0.2.251/24"}
    assert addresses(scene.cluster, NODE, "ens1f0") == set()
    scene.clear()
    assert addresses(scene.cluster, NODE, "ens1f0") == {"192.0.2.251/24"}
    scene.cluster.on(NODE, "ip", "addr", "del", *by_hand)


def test_fifteen_hundred_vlans_are_one_policy(scene: Operator) -> None:
    """kubectl keeps a copy of what it applied in an annotation of 256 KiB at most, but for --server-side."""
    many = [vlan("ens1f0", each, f"10.{each // 250}.{each % 250}.1") for each in range(2, 1502)]
    document = policy("one", desired={"interfaces": many}, nodeSelector=ONLY)
    assert len(json.dumps(document)) > 256 << 10
    scene.apply(document, "--server-side")
    scene.await_policy("one", "Available")
    links = json_of(scene.cluster, NODE, "ip", "-j", "link", "show", "type", "vlan")
    assert len(links) == 1500
    told = scene.items("nns")[NODE]
    assert len(json.dumps(told, separators=(",", ":"))) < 1 << 20
