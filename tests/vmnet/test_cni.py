"""Our bridge plugin by the CNI specification, as a container runtime calls it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.vmnet.cni_runtime import CONF, MAC, VLAN, ipam

if TYPE_CHECKING:
    from conftest import Node

    from tests.vmnet.cni_runtime import Runtime


def test_version_is_answered_without_anything_else(node: Node) -> None:
    done = node.run(sys.executable, "-m", "vmnet.cni", stdin='{"cniVersion": "1.0.0"}', CNI_COMMAND="VERSION")
    assert json.loads(done.stdout) == {
        "cniVersion": "1.0.0",
        "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    }


def test_add_makes_a_port_and_del_takes_it_away(runtime: Runtime) -> None:
    result = runtime.ok("ADD", CONF)
    bridge, port, container = result["interfaces"]
    assert (bridge["name"], port["name"], container["name"]) == ("br1", runtime.port(), "net1")
    assert container["sandbox"] == "/run/netns/c"
    assert container["mtu"] == 1500
    link = runtime.link()
    assert link["address"] == container["mac"]
    assert "UP" in link["flags"]
    runtime.ok("CHECK", {**CONF, "prevResult": result})
    for _ in range(2):
        runtime.ok("DEL", CONF)
    assert runtime.node.sh("ip -j link show type veth").strip() in {"", "[]"}


def test_del_succeeds_when_everything_is_gone(runtime: Runtime) -> None:
    runtime.ok("ADD", CONF)
    runtime.node.sh("ip netns del c; ip link del br1")
    runtime.ok("DEL", CONF, CNI_NETNS="")


def test_the_mac_is_taken_in_the_order_of_the_upstream_plugin(runtime: Runtime) -> None:
    args = {"args": {"cni": {"mac": "02:00:00:00:00:66"}}}
    cases = [
        ({**CONF, **args, "runtimeConfig": {"mac": MAC}}, {"CNI_ARGS": "MAC=02:00:00:00:00:55"}, MAC),
        ({**CONF, **args}, {"CNI_ARGS": "MAC=02:00:00:00:00:55"}, "02:00:00:00:00:66"),
        (CONF, {"CNI_ARGS": "IgnoreUnknown=1;MAC=02:00:00:00:00:55"}, "02:00:00:00:00:55"),
    ]
    for conf, env, mac in cases:
        runtime.ok("ADD", conf, **env)
        assert runtime.link()["address"] == mac
        runtime.ok("DEL", conf, **env)


@pytest.mark.parametrize("name", ["podb6e7df19490", "net1"])
def test_a_launchers_interface_stays_down_and_any_may(runtime: Runtime, name: str) -> None:
    conf = CONF if name != "net1" else {**CONF, "disableContainerInterface": True}
    result = runtime.ok("ADD", conf, ifname=name)
    assert "UP" not in runtime.link(name)["flags"]
    runtime.ok("CHECK", {**conf, "prevResult": result}, ifname=name)


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_ipam_is_delegated_and_the_result_is_the_versions_own(runtime: Runtime, version: str) -> None:
    conf = {**ipam("10.9.0.0/24", routes=[{"dst": "10.99.0.0/16"}]), "cniVersion": version}
    result = runtime.ok("ADD", conf)
    (ip,) = result["ips"]
    assert (ip["address"], ip["gateway"], ip["interface"]) == ("10.9.0.2/24", "10.9.0.1", 2)
    assert ip.get("version") == ("4" if version < "1" else None)
    assert "mtu" not in result["interfaces"][2]
    addresses = [a["local"] for a in runtime.link()["addr_info"] if a["family"] == "inet"]
    assert addresses == ["10.9.0.2"]
    assert "10.99.0.0/16 via 10.9.0.1 dev net1" in runtime.node.sh("ip -n c route")
    if version > "0.3.1":
        runtime.ok("CHECK", {**conf, "prevResult": result})
    runtime.ok("DEL", conf)
    assert "10.9.0.2" not in runtime.node.sh("ls /run/ipam2/net")


def test_isolation_and_hairpin_are_the_ports(runtime: Runtime) -> None:
    runtime.ok("ADD", {**CONF, "portIsolation": True, "hairpinMode": True, "mtu": 1300})
    (port,) = json.loads(runtime.node.sh("ip -d -j link show master br1"))
    data = port["linkinfo"]["info_slave_data"]
    assert (data["isolated"], data["hairpin"], port["mtu"], runtime.link()["mtu"]) == (True, True, 1300, 1300)


def test_a_spoofed_mac_does_not_pass_and_the_guard_goes_with_the_port(runtime: Runtime) -> None:
    conf = {**CONF, "macspoofchk": True}
    node = runtime.node
    node.sh("ip addr add 10.8.0.1/24 dev br1")
    result = runtime.ok("ADD", conf)
    node.sh("ip -n c addr add 10.8.0.2/24 dev net1; ip netns exec c ping -c1 -W60 10.8.0.1")
    runtime.ok("CHECK", {**conf, "prevResult": result})
    node.sh(f"ip -n c link set net1 address {MAC}")
    assert node.run("ip", "netns", "exec", "c", "ping", "-c1", "-W1", "10.8.0.1", check=False).returncode
    node.sh("ip netns del c")
    runtime.ok("DEL", conf, CNI_NETNS="")
    assert node.sh("nft list tables") == ""


REFUSED = [
    ({**CONF, "bridge": "br9"}, 11, 'bridge "br9" does not exist on this node'),
    ({**CONF, "bridge": "lo"}, 7, '"lo" already exists but is not a bridge'),
    (VLAN, 7, 'bridge "br1" does not filter VLANs, so VLAN 33 would mean nothing'),
    ({**CONF, "vlan": 5000}, 7, "invalid VLAN ID 5000 (must be between 0 and 4094)"),
    ({**CONF, "ipMasq": True}, 7, "ipMasq means nothing without ipam"),
    ({**CONF, "promiscMode": True}, 7, "promiscMode is not supported: the bridge is the policy's"),
    ({**CONF, "promiscMode": True, "hairpinMode": True}, 7, "cannot set hairpin mode and promiscuous mode"),
    ({**ipam("10.9.0.0/24"), "isGateway": True, "vlan": 33}, 7, "isGateway with vlan"),
    ({**ipam("10.9.0.0/24"), "ipMasq": True, "ipMasqBackend": "iptables"}, 7, 'ipMasqBackend "iptables"'),
    ({**CONF, "mtu": 20}, 7, "mtu: invalid MTU 20 (must be 0, or 68 to 65535)"),
    ({**CONF, "bridge": "a/b"}, 7, 'bridge: "a/b" is no name of an interface'),
    ({**CONF, "runtimeConfig": {"mac": "01:00:00:00:00:01"}}, 7, "is no address of one interface"),
    ({"name": "net", "type": "cnv-bridge", "bridge": "br1"}, 1, "no cniVersion, which means 0.1.0"),
    ({**CONF, "vlam": 3}, 7, "unknown field vlam"),
    ({**CONF, "cniVersion": "0.2.0"}, 1, "incompatible CNI versions"),
    ({"cniVersion": "1.0.0"}, 7, 'needs a "name"'),
]


@pytest.mark.parametrize(("conf", "code", "message"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_cannot_be_is_refused_by_code_and_name(
    runtime: Runtime, conf: dict[str, Any], code: int, message: str
) -> None:
    said = runtime.refused("ADD", conf)
    assert said["code"] == code
    assert message in said["msg"]
    assert runtime.node.sh("ip -n c -br link").startswith("lo")
    assert "veth" not in runtime.node.sh("ip -br link")


def test_a_missing_variable_and_broken_json_have_their_codes(runtime: Runtime) -> None:
    assert runtime.refused("ADD", CONF, CNI_NETNS="")["code"] == 4
    assert runtime.refused("JUMP", CONF)["code"] == 4
    done = runtime.node.run(
        sys.executable,
        "-m",
        "vmnet.cni",
        stdin="{",
        check=False,
        CNI_COMMAND="ADD",
        CNI_CONTAINERID="c1",
        CNI_NETNS="/run/netns/c",
        CNI_IFNAME="net1",
    )
    assert json.loads(done.stdout)["code"] == 6


def test_status_tells_whether_an_add_could_succeed(runtime: Runtime) -> None:
    runtime.ok("STATUS", CONF)
    said = runtime.refused("STATUS", VLAN)
    assert said["code"] == 50


def test_gc_takes_what_the_runtime_no_longer_knows(runtime: Runtime) -> None:
    for name in ("net1", "net2", "net3"):
        runtime.ok("ADD", CONF, ifname=name)
    kept = [{"containerID": "c1", "ifname": "net2"}]
    runtime.ok("GC", {**CONF, "cni.dev/valid-attachments": kept})
    assert [link["ifname"] for link in json.loads(runtime.node.sh("ip -n c -j link"))] == ["lo", "net2"]


def test_an_add_that_fails_half_way_leaves_nothing(runtime: Runtime) -> None:
    conf = {**CONF, "ipam": {"type": "no-such-ipam"}}
    said = runtime.refused("ADD", conf)
    assert "no-such-ipam is not installed" in said["msg"]
    assert "veth" not in runtime.node.sh("ip -br link")
    runtime.gone()


def vlans(runtime: Runtime) -> list[dict[str, Any]]:
    (found,) = json.loads(runtime.node.sh(f"bridge -j vlan show dev {runtime.port()}"))
    return list(found["vlans"])


@pytest.mark.kernel
def test_an_access_port_carries_its_vlan_and_no_other(filtering: Runtime) -> None:
    result = filtering.ok("ADD", VLAN)
    assert vlans(filtering) == [{"vlan": 33, "flags": ["PVID", "Egress Untagged"]}]
    filtering.ok("CHECK", {**VLAN, "prevResult": result})
    filtering.node.sh(f"bridge vlan add dev {filtering.port()} vid 34")
    said = filtering.refused("CHECK", {**VLAN, "prevResult": result})
    assert said["code"] == 100
    assert "is not as it was made" in said["msg"]


@pytest.mark.kernel
def test_a_trunk_carries_tagged_vlans_and_leaks_none_untagged(filtering: Runtime) -> None:
    filtering.ok("ADD", {**CONF, "vlanTrunk": [{"minID": 100, "maxID": 102}, {"id": 7}]})
    assert vlans(filtering) == [{"vlan": 7}, {"vlan": 100}, {"vlan": 101}, {"vlan": 102}]


@pytest.mark.kernel
def test_a_vlan_that_no_uplink_carries_is_refused_by_its_number(filtering: Runtime) -> None:
    filtering.node.sh("bridge vlan del dev up0 vid 33-40")
    said = filtering.refused("ADD", {**CONF, "vlanTrunk": [{"minID": 30, "maxID": 41}]})
    assert (said["code"], said["msg"]) == (7, 'no uplink of bridge "br1" (up0) carries VLAN 33-40')


@pytest.mark.kernel
def test_an_mtu_beyond_the_uplinks_is_refused(filtering: Runtime) -> None:
    said = filtering.refused("ADD", {**CONF, "mtu": 9000})
    assert said["msg"] == 'MTU 9000 is more than the uplinks of bridge "br1" carry (1500)'
