"""The VLANs of bridge ports: what one port says is said of no other."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

UNTAGGED = ["PVID", "Egress Untagged"]


@pytest.fixture
def host(ns: Namespace, beyond: Namespace, tmp_path: Path) -> Host:
    for card in ("eth1", "eth2"):
        ns.batch(f"link add {card} type veth peer name {card} netns {beyond.name}", f"link set {card} up")
        beyond.batch(f"link set {card} up")
    return Host(ns, beyond, tmp_path)


class Host:
    def __init__(self, ns: Namespace, far: Namespace, folder: Path) -> None:
        self.ns = ns
        self.far = far
        self.folder = folder

    def nncp(self, *argv: str, document: Any = None, code: int = 0) -> str:
        state = () if argv[0] == "show" else ("--state-dir", str(self.folder))
        done = self.ns.nncp(*argv, *state, stdin=json.dumps({"interfaces": document}))
        assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def apply(self, *interfaces: dict[str, Any]) -> None:
        self.nncp("apply", "-", document=interfaces)
        assert self.nncp("apply", "-", document=interfaces) == "No changes.\n"

    def plug_pod(self, name: str, bridge: str) -> None:
        self.ns.batch(
            f"link add {name} type veth peer name {name} netns {self.far.name}",
            f"link set {name} up master {bridge}",
        )

    def vlans(self, name: str) -> list[dict[str, Any]]:
        found = self.ns.json("bridge", "-compressvlans", "-j", "vlan")
        vlans = next((entry["vlans"] for entry in found if entry["ifname"] == name), [])
        return [
            {**vlan, "flags": vlan.get("flags", [])} for vlan in vlans
        ]  # of none, some versions say nothing

    def filters(self, bridge: str) -> bool:
        (link,) = self.ns.json("ip", "-d", "-j", "link", "show", bridge)
        return bool(link["linkinfo"]["info_data"]["vlan_filtering"])


def bridge(*ports: str | dict[str, Any], name: str = "br1", **more: Any) -> dict[str, Any]:
    listed = [{"name": port} if isinstance(port, str) else port for port in ports]
    return {"name": name, "type": "linux-bridge", "bridge": {"port": listed}, **more}


def trunk(*tags: dict[str, Any]) -> dict[str, Any]:
    return {"mode": "trunk", "trunk-tags": list(tags)}


def test_one_ports_end_of_filtering_is_not_the_others(host: Host) -> None:
    tags = trunk({"id-range": {"min": 101, "max": 200}})
    host.apply(bridge({"name": "eth1", "vlan": tags}, {"name": "eth2", "vlan": tags}))
    host.apply(bridge({"name": "eth1", "vlan": {}}, "eth2"))
    assert host.filters("br1")
    assert [entry["vlan"] for entry in host.vlans("eth1")] == [1]
    assert [entry["vlan"] for entry in host.vlans("eth2")] == [1, 101]
    host.apply(bridge({"name": "eth1", "vlan": {}}, {"name": "eth2", "vlan": {}}))
    assert not host.filters("br1")


def test_a_pods_vlan_keeps_a_bridge_filtering(host: Host) -> None:
    host.apply(bridge({"name": "eth1", "vlan": trunk({"id": 100})}))
    host.plug_pod("pod", "br1")
    host.ns.batch("bridge vlan del dev pod vid 1", "bridge vlan add dev pod vid 100 pvid untagged")
    host.apply(bridge({"name": "eth1", "vlan": {}}))
    assert host.filters("br1")
    assert host.vlans("pod") == [{"vlan": 100, "flags": UNTAGGED}]


def test_a_bridge_under_a_vlan_link_keeps_its_default_vlan_and_takes_a_new_one(host: Host) -> None:
    port = {"name": "eth1", "vlan": trunk({"id": 33})}
    above = {"name": "br1.33", "type": "vlan", "vlan": {"base-iface": "br1", "id": 33}}
    host.apply(bridge(port), above)
    assert host.vlans("br1") == [{"vlan": 1, "flags": UNTAGGED}, {"vlan": 33, "flags": []}]
    section = {"options": {"vlan-default-pvid": 10}, "port": [port]}
    host.apply(bridge(bridge=section), {**above, "mtu": 1400})
    assert host.vlans("br1") == [{"vlan": 10, "flags": UNTAGGED}, {"vlan": 33, "flags": []}]


def test_a_trunk_that_lists_the_default_vlan_carries_it_tagged(host: Host) -> None:
    host.apply(bridge({"name": "eth1", "vlan": trunk({"id-range": {"min": 1, "max": 20}})}))
    assert host.vlans("eth1") == [{"vlan": 1, "vlanEnd": 20, "flags": []}]
