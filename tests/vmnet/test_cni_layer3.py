"""Addresses: routes, duplicates, the bridge as a gateway, masquerading, and what CHECK sees of all that."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.vmnet.cni_runtime import CONF, MAC, ipam
from vmnet.cni.conf import read_conf
from vmnet.cni.given import read_given, with_gateways

if TYPE_CHECKING:
    from tests.vmnet.cni_runtime import Runtime

V4, V6 = "10.9.0.0/24", "fd09::/64"


def given(runtime: Runtime, **result: Any) -> dict[str, Any]:
    """Return a configuration whose IPAM plugin answers with `result`, and CNI_PATH's folder has it."""
    node = runtime.node
    node.sh("mkdir -p /run/bin")
    node.run("tee", "/run/answer", stdin=json.dumps({"cniVersion": "1.1.0", **result}))
    node.run("tee", "/run/bin/fixed", stdin="#!/bin/sh\n[ $CNI_COMMAND != ADD ] || cat /run/answer\n")
    node.sh("chmod +x /run/bin/fixed")
    return {**CONF, "ipam": {"type": "fixed"}}


def test_the_macs_of_a_result_are_those_after_the_join(runtime: Runtime) -> None:
    """A bridge without an address of its own takes its first port's (br_stp_recalculate_bridge_id)."""
    result = runtime.ok("ADD", CONF)
    macs = {link["ifname"]: link["address"] for link in json.loads(runtime.node.sh("ip -j link"))}
    bridge, port, _ = result["interfaces"]
    assert (bridge["mac"], port["mac"]) == (macs["br1"], macs[port["name"]])
    assert bridge["mac"] == port["mac"]


def test_routes_have_priority_table_and_metrics(runtime: Runtime) -> None:
    routes = [
        {"dst": "10.50.0.0/16", "gw": "10.9.0.7", "priority": 77, "table": 1000, "mtu": 1300, "advmss": 1200},
        {"dst": "10.60.0.0/16", "scope": 253, "gw": None},
        {"dst": "fd50::/16", "gw": "fd09::7", "priority": 78, "mtu": 1290},
        {"dst": "fd60::/16"},
    ]
    ips = [{"address": "10.9.0.2/24"}, {"address": "fd09::2/64", "gateway": "fd09::1"}]
    conf = given(runtime, ips=ips, routes=routes)
    result = runtime.ok("ADD", conf, CNI_PATH="/run/bin")
    found = runtime.node.sh("ip -n c route show table 1000; ip -n c route; ip -n c -6 route")
    assert "10.50.0.0/16 via 10.9.0.7 dev net1 proto static metric 77 mtu 1300 advmss 1200" in found
    assert "10.60.0.0/16 dev net1 proto static scope link" in found
    assert "fd50::/16 via fd09::7 dev net1 proto static metric 78 mtu 1290" in found
    assert "fd60::/16 via fd09::1 dev net1 proto static metric 1024" in found
    assert result["routes"][0] == routes[0]
    runtime.ok("CHECK", {**conf, "prevResult": result}, CNI_PATH="/run/bin")
    runtime.node.sh("ip -n c route del 10.50.0.0/16 table 1000")
    said = runtime.refused("CHECK", {**conf, "prevResult": result}, CNI_PATH="/run/bin")
    assert "10.50.0.0/16" in said["msg"]


def test_the_networks_own_dns_goes_before_what_ipam_gives(runtime: Runtime) -> None:
    conf = given(runtime, ips=[{"address": "10.9.0.2/24"}], dns={"nameservers": ["10.9.0.1"]})
    assert runtime.ok("ADD", conf, CNI_PATH="/run/bin")["dns"] == {"nameservers": ["10.9.0.1"]}
    own = {**conf, "dns": {"nameservers": ["10.9.0.8"]}}
    assert runtime.ok("ADD", own, CNI_PATH="/run/bin", ifname="net2")["dns"] == own["dns"]


@pytest.mark.parametrize("detection", [True, False])
def test_ipv6_addresses_are_usable_when_add_returns(runtime: Runtime, detection: bool) -> None:
    runtime.ok("ADD", {**ipam(V4, V6), "enabledad": detection})
    (own,) = (a for a in runtime.link()["addr_info"] if a["family"] == "inet6" and a["scope"] == "global")
    assert own["local"] == "fd09::2"
    assert not any({"tentative", "dadfailed"} & a.keys() for a in runtime.link()["addr_info"])
    folder = "/proc/sys/net/ipv6/conf/net1"
    assert runtime.node.sh(f"ip netns exec c cat {folder}/accept_dad") == f"{int(detection)}\n"


def test_an_ipv6_address_that_another_host_has_is_told_and_given_back(runtime: Runtime) -> None:
    node = runtime.node
    node.sh("""
        ip netns add d; ip link add d0 type veth peer name net1 netns d; ip link set d0 up master br1
        ip -n d link set net1 up; ip -n d addr add fd09::2/64 dev net1 nodad
    """)
    conf = {**ipam(V6), "enabledad": True}
    said = runtime.refused("ADD", conf)
    assert said["msg"] == "another host on the link has fd09::2 already"
    assert runtime.leases() == []
    assert "net1" not in node.sh("ip -n c -br link")


def test_the_bridge_is_a_gateway(runtime: Runtime) -> None:
    conf = {**ipam(V4, V6), "isDefaultGateway": True}
    result = runtime.ok("ADD", conf)
    assert result["ips"][0]["gateway"] == "10.9.0.1"
    assert {"dst": "0.0.0.0/0", "gw": "10.9.0.1"} in result["routes"]
    node = runtime.node
    assert "default via 10.9.0.1 dev net1" in node.sh("ip -n c route")
    assert "default via fd09::1 dev net1" in node.sh("ip -n c -6 route")
    assert "10.9.0.1/24" in node.sh("ip -br addr show br1")
    assert "fd09::1/64" in node.sh("ip -br addr show br1")
    assert node.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding") == "1\n1\n"
    node.sh("ip netns exec c ping -c1 -W60 10.9.0.1")
    runtime.ok("CHECK", {**conf, "prevResult": result})
    runtime.ok("ADD", conf, ifname="net2", CNI_CONTAINERID="c2", CNI_NETNS=other(runtime))
    node.sh("ip addr del 10.9.0.1/24 dev br1")
    assert "10.9.0.1/24" in runtime.refused("CHECK", {**conf, "prevResult": result})["msg"]


def other(runtime: Runtime) -> str:
    runtime.node.sh("ip netns add e")
    return "/run/netns/e"


def test_an_address_of_the_policys_is_not_replaced_unless_asked(runtime: Runtime) -> None:
    node = runtime.node
    node.sh("ip addr add 192.0.2.1/24 dev br1; ip addr add fd0a::1/64 dev br1")
    conf = {**ipam(V4, V6), "isGateway": True}
    said = runtime.refused("ADD", conf)
    assert said["msg"] == '"br1" already has an IP address different from 10.9.0.1/24: 192.0.2.1/24'
    assert runtime.leases() == []
    assert "192.0.2.1/24" in node.sh("ip -br addr show br1")
    runtime.gone()
    runtime.ok("ADD", {**conf, "forceAddress": True})
    found = node.sh("ip -br addr show br1")
    assert "192.0.2.1/24" not in found
    assert all(address in found for address in ("10.9.0.1/24", "fd09::1/64", "fd0a::1/64"))


@pytest.mark.parametrize(
    ("conf", "ips", "gateways", "routes"),
    [
        ({}, ["10.9.0.9/24"], [None], []),
        ({"isGateway": True}, ["10.9.0.9/24", "fd09::9/64"], ["10.9.0.1", "fd09::1"], []),
        ({"isDefaultGateway": True}, ["10.9.0.9/30"], ["10.9.0.9"], [("0.0.0.0/0", "10.9.0.9")]),
        (
            {"isDefaultGateway": True},
            ["fd09::9/64", "fd0a::9/64"],
            ["fd09::1", "fd0a::1"],
            [("::/0", "fd09::1")],
        ),
        ({"isGateway": True}, ["255.255.255.255/32"], ["0.0.0.0"], []),
    ],
)
def test_a_gateway_is_the_first_address_of_a_network(
    conf: dict[str, Any], ips: list[str], gateways: list[str | None], routes: list[tuple[str, str]]
) -> None:
    plain, faults = read_given({"ips": [{"address": address} for address in ips]})
    assert not faults
    found = with_gateways(plain, read_conf({**conf, "ipam": {"type": "x"}})[0])
    assert [ip.gateway for ip in found.ips or ()] == gateways
    assert [(path.dst, path.gw) for path in found.routes or ()] == routes


@pytest.mark.kernel
def test_masquerading_hides_a_container_outside_its_network_and_goes_with_it(filtering: Runtime) -> None:
    node = filtering.node
    node.sh("""
        ip netns add far; ip link add f0 type veth peer name f1 netns far
        ip link set f0 up; ip addr add 192.0.2.1/24 dev f0
        ip -n far link set f1 up; ip -n far addr add 192.0.2.2/24 dev f1
    """)
    conf = {**ipam(V4), "isDefaultGateway": True, "ipMasq": True}
    result = filtering.ok("ADD", conf)
    node.sh("ip netns exec c ping -c1 -W60 192.0.2.2")  # which has no way back to 10.9.0.0/24
    filtering.ok("CHECK", {**conf, "prevResult": result})
    table = f"inet masquerade_{filtering.port()}"
    assert "ip saddr 10.9.0.2 ip daddr != 10.9.0.0/24" in node.sh(f"nft list table {table}")
    node.sh(f"nft flush chain {table} postrouting")
    assert f"nft table {table}" in filtering.refused("CHECK", {**conf, "prevResult": result})["msg"]
    filtering.ok("DEL", conf)
    filtering.gone()


def break_and_check(runtime: Runtime, conf: dict[str, Any], script: str) -> str:
    result = runtime.ok("ADD", conf)
    runtime.ok("CHECK", {**conf, "prevResult": result})
    runtime.node.sh(script.format(port=runtime.port()))
    said = runtime.refused("CHECK", {**conf, "prevResult": result})
    assert said["code"] == 100
    return str(said["msg"])


BREAKS = [
    ("ip link set {port} type bridge_slave isolated off", "isolated"),
    ("ip link set {port} type bridge_slave hairpin off", "hairpin"),
    ("ip link set {port} nomaster", "port veth"),
    ("ip link set {port} down", "up veth"),
    ("ip link set {port} mtu 1300", "mtu"),
    ("ip link set {port} address 02:00:00:00:00:78", "has MAC 02:00:00:00:00:78, not"),
    ("nft delete table bridge spoof_{port}", "nft table bridge spoof_veth"),
    ("nft flush chain bridge spoof_{port} prerouting", "nft table bridge spoof_veth"),
    ("nft insert rule bridge spoof_{port} prerouting accept", "nft table bridge spoof_veth"),
    (f"ip -n c link set net1 address {MAC}", f"has MAC {MAC}, not"),
    ("ip -n c link set net1 down", "up net1"),
    ("ip -n c addr del 10.9.0.2/24 dev net1", "address net1 10.9.0.2/24"),
    ("ip -n c route del 10.99.0.0/16", "route ipv4 254 10.99.0.0/16"),
    ("ip -n c link set net1 name net9", "net1 is not in the container"),
    ("ip link del {port}", "the port of net1, is gone"),
]


@pytest.mark.parametrize(("script", "message"), BREAKS, ids=[one[0] for one in BREAKS])
def test_check_sees_what_is_no_longer_as_it_was_made(runtime: Runtime, script: str, message: str) -> None:
    conf = {
        **ipam(V4, routes=[{"dst": "10.99.0.0/16"}]),
        "macspoofchk": True,
        "portIsolation": True,
        "hairpinMode": True,
    }
    assert message in break_and_check(runtime, conf, script)


@pytest.mark.kernel
@pytest.mark.parametrize("conf", [CONF, {**CONF, "vlan": 33}, {**CONF, "vlanTrunk": [{"id": 7}]}])
@pytest.mark.parametrize(
    "script", ["bridge vlan add dev {port} vid 34", "bridge vlan del dev {port} vid 1-33"]
)
def test_check_sees_vlans_that_came_or_went(filtering: Runtime, conf: dict[str, Any], script: str) -> None:
    assert "vlans veth" in break_and_check(filtering, conf, script)


def test_check_of_what_was_never_added_is_refused(runtime: Runtime) -> None:
    said = runtime.refused("CHECK", {**CONF, "prevResult": {}})
    assert (said["code"], "has no port that is known here" in said["msg"]) == (100, True)
    result = runtime.ok("ADD", CONF)
    said = runtime.refused("CHECK", {**CONF, "prevResult": result}, CNI_NETNS=other(runtime))
    assert "CNI_NETNS is /run/netns/e, and ADD was given /run/netns/c" in said["msg"]
    said = runtime.refused("CHECK", {**CONF, "prevResult": {"ips": 5}})
    assert (said["code"], "prevResult.ips" in said["msg"]) == (7, True)


def test_spoofed_frames_are_counted_and_none_passes_before_the_guard(runtime: Runtime) -> None:
    node = runtime.node
    node.sh("ip addr add 10.8.0.1/24 dev br1")
    node.sh("nft add table bridge see; nft add chain bridge see c '{ type filter hook input priority 0; }'")
    node.sh(f"nft add rule bridge see c ether saddr {MAC} counter")
    conf = {**CONF, "macspoofchk": True}
    runtime.ok("ADD", conf)
    port = runtime.port()
    node.sh(f"ip -n c link set net1 address {MAC}; ip -n c addr add 10.8.0.2/24 dev net1")
    node.sh("ip netns exec c ping -c2 -i0.2 -W1 10.8.0.1", check=False)
    (rule,) = (
        r["rule"]
        for r in json.loads(node.sh(f"nft -j list table bridge spoof_{port}"))["nftables"]
        if "rule" in r
    )
    (count,) = (part["counter"]["packets"] for part in rule["expr"] if "counter" in part)
    assert count > 0
    assert "counter packets 0" in node.sh("nft list table bridge see")


SEEING_NFT = """#!/bin/sh
[ "$1" != -f ] || { ip -br link show type veth > /run/seen; }
exec REAL "$@"
"""


def test_the_guard_is_there_before_the_port_is(runtime: Runtime) -> None:
    """Whoever is run as nft looks for the port."""
    node = runtime.node
    node.sh("mkdir /run/see")
    node.run("tee", "/run/see/nft", stdin=SEEING_NFT.replace("REAL", shutil.which("nft") or ""))
    node.sh("chmod +x /run/see/nft")
    runtime.ok("ADD", {**CONF, "macspoofchk": True}, PATH=f"/run/see:{os.environ['PATH']}")
    assert node.sh("cat /run/seen") == ""
    assert node.sh("ip -br link show type veth")
