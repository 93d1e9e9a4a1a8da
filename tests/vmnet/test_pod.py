"""A launcher Pod with a second network, as slides 16, 17, 20 and 21 have it; and what survives a kill."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Node

HERE = Path(__file__).parent / "manifests"
FILES = (str(HERE / "vm.yaml"), str(HERE / "nad.yaml"))
CONF = ("--cni-conf-dir", "/run/net.d")
X = "b6e7df19490"  # sha256("nic-add1"), the slides' own

pytestmark = pytest.mark.kernel


def links(node: Node, namespace: str = "pod-1") -> dict[str, Any]:
    return {link["ifname"]: link for link in json.loads(node.sh(f"ip -n {namespace} -d -j addr"))}


def local(link: dict[str, Any]) -> list[str]:
    return [f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["scope"] != "link"]


def test_the_pod_looks_like_slide_20(bridged: Node) -> None:
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    found = links(bridged)
    assert set(found) == {"lo", "eth0", "k6t-eth0", "tap0", f"{X}-nic", f"k6t-{X}", f"tap{X}", f"pod{X}"}
    nic, bridge, tap, dummy = (found[n] for n in (f"{X}-nic", f"k6t-{X}", f"tap{X}", f"pod{X}"))
    assert (nic["linkinfo"]["info_kind"], nic["master"]) == ("veth", f"k6t-{X}")
    assert nic["linkinfo"]["info_slave_data"]["learning"] is False
    assert (tap["linkinfo"]["info_kind"], tap["master"]) == ("tun", f"k6t-{X}")
    assert dummy["linkinfo"]["info_kind"] == "dummy"
    assert "NOARP" in dummy["flags"]
    assert "UP" not in dummy["flags"]
    assert all("UP" in link["flags"] for link in (nic, bridge, tap))
    assert not [a for link in (nic, bridge, tap, dummy) for a in link["addr_info"]]
    assert {link["mtu"] for link in (nic, bridge, tap, dummy)} == {1500}
    assert local(found["eth0"]) == ["10.244.1.2/24"]
    assert local(found["k6t-eth0"]) == ["10.0.2.1/24"]


def test_the_guests_mac_is_the_dummys_and_on_no_link_that_is_up(bridged: Node) -> None:
    """Decision 15: a frame with the guest's MAC from anywhere else teaches the switch a wrong port."""
    record = json.loads(bridged.vmnet("attach", "pod-1", *FILES, *CONF, "-o", "json").stdout)
    nic = record["interfaces"][1]
    found = links(bridged)
    assert found[f"pod{X}"]["address"] == nic["mac"]
    assert nic["mac"] in nic["domain"]
    guests = {i["mac"] for i in record["interfaces"]}
    assert not [name for name, link in found.items() if "UP" in link["flags"] and link["address"] in guests]
    for name in (f"{X}-nic", f"k6t-{X}", f"tap{X}", "tap0", "k6t-eth0"):
        path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
        assert bridged.sh(f"ip netns exec pod-1 cat {path}") == "1\n"


def test_every_pod_of_a_vm_gives_the_guest_the_same_macs(bridged: Node) -> None:
    records = [
        json.loads(bridged.vmnet("attach", name, *FILES, *CONF, "-o", "json").stdout) for name in ("a", "b")
    ]
    assert [i["mac"] for i in records[0]["interfaces"]] == [i["mac"] for i in records[1]["interfaces"]]
    assert records[0]["uid"] != records[1]["uid"]
    assert links(bridged, "a")[f"{X}-nic"]["address"] != links(bridged, "b")[f"{X}-nic"]["address"]


def test_the_nodes_port_is_an_access_port_of_vlan_33(bridged: Node) -> None:
    record = json.loads(bridged.vmnet("attach", "pod-1", *FILES, *CONF, "-o", "json").stdout)
    link = record["interfaces"][1]["link"]
    assert link["node-bridge"] == "br1"
    (vlans,) = (v for v in json.loads(bridged.sh("bridge -j vlan")) if v["ifname"] == link["node-port"])
    assert vlans["vlans"] == [{"vlan": 33, "flags": ["PVID", "Egress Untagged"]}]
    assert record["network-status"][1] == {
        "name": "default/virt-bridge",
        "interface": f"pod{X}",
        "ips": [],
        "mac": record["interfaces"][1]["mac"],
        "mtu": 1500,
        "default": False,
        "dns": {},
    }


def test_bridge_on_the_pod_network_looks_like_slides_14_and_15(pod_network: Node) -> None:
    done = pod_network.vmnet("attach", "pod-1", str(HERE / "bridge-on-pod.yaml"), *CONF, "-o", "json")
    (nic,) = json.loads(done.stdout)["interfaces"]
    found = links(pod_network)
    assert set(found) == {"lo", "eth0", "eth0-nic", "k6t-eth0", "tap0"}
    dummy = found["eth0"]
    assert (dummy["linkinfo"]["info_kind"], dummy["address"]) == ("dummy", nic["mac"])
    assert "NOARP" in dummy["flags"]
    assert "UP" not in dummy["flags"]
    assert local(dummy) == ["10.244.1.2/24"]
    assert local(found["k6t-eth0"]) == ["169.254.75.10/32"]
    assert found["eth0-nic"]["master"] == found["tap0"]["master"] == "k6t-eth0"
    assert found["eth0-nic"]["address"] == found["k6t-eth0"]["address"] != nic["mac"]
    assert not local(found["eth0-nic"])
    assert pod_network.sh("ip netns exec pod-1 cat /proc/sys/net/ipv4/conf/all/arp_ignore") == "1\n"
    assert nic["address"] == "10.244.1.2/24"
    assert nic["services"][0]["config"]["address"] == "10.244.1.2"
    assert nic["services"][0]["config"]["mac"] == nic["mac"]


LEASE = """\
#!/bin/sh
[ "$1" = bound ] && env > /run/lease || true
"""


def test_the_guest_gets_the_pods_address_and_routes_as_on_slide_15(pod_network: Node) -> None:
    node = pod_network
    done = node.vmnet("attach", "pod-1", str(HERE / "bridge-on-pod.yaml"), *CONF, "-o", "json")
    (nic,) = json.loads(done.stdout)["interfaces"]
    node.sh(f"""
        ip netns add guest
        ip link add g0 netns guest address {nic["mac"]} type veth peer name g0p netns pod-1
        ip -n pod-1 link set g0p master k6t-eth0 up; ip -n guest link set g0 up
    """)
    node.run("tee", "/run/lease.sh", stdin=LEASE)
    server = node.python(str(Path(__file__).with_name("serve.py")), "/run/bridgehead/pods/pod-1/pod.json")
    assert server.stdout is not None
    assert server.stdin is not None
    assert server.stdout.readline() == "ready\n"
    client = "busybox udhcpc -i g0 -s /run/lease.sh -n -q -f -t 60 -T 1 -O 121"
    node.sh(f"chmod +x /run/lease.sh; ip netns exec guest {client}")
    got = dict(line.partition("=")[::2] for line in node.sh("cat /run/lease").splitlines())
    assert (got["ip"], got["mask"], got["router"], got["mtu"]) == ("10.244.1.2", "24", "10.244.1.1", "1400")
    assert got["staticroutes"].split() == ["0.0.0.0/0", "10.244.1.1"]
    # As the guest: it reaches the node, and the node finds nobody else at its address (the dummy is quiet).
    node.sh("ip -n guest addr add 10.244.1.2/24 dev g0; ip netns exec guest ping -c1 -W60 10.244.1.1")
    (entry,) = json.loads(node.sh("ip -j neigh show 10.244.1.2 dev pods"))
    assert entry["lladdr"] == nic["mac"]
    server.stdin.close()
    assert server.wait() == 0
    server.stdout.close()


def test_a_pod_is_not_changed_under_its_guest(bridged: Node) -> None:
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    other = (HERE / "nad.yaml").read_text().replace('"vlan": 33', '"vlan": 34')
    done = bridged.vmnet("attach", "pod-1", FILES[0], "-", *CONF, stdin=other, check=False)
    assert done.returncode == 64
    assert "Pod pod-1 was attached to default/virt-bridge in another way than is asked now" in done.stderr
    assert "hint: vmnet detach pod-1" in done.stderr


def whole(node: Node) -> list[Any]:
    """All that an attach makes, without the carriers, which come and go by themselves."""
    found = [
        json.loads(node.sh(command))
        for command in (
            "ip -n pod-1 -4 -j addr",
            "bridge -n pod-1 -j vlan",
            "ip -n pod-1 -j link",
            "ip -j link",
            "bridge -j vlan",
        )
    ]
    for link in (*found[0], *found[2], *found[3]):
        link["flags"] = sorted(set(link["flags"]) - {"LOWER_UP", "NO-CARRIER"})
        del link["operstate"]
    return found


def test_attach_again_changes_nothing_and_detach_leaves_nothing(bridged: Node) -> None:
    before = {link["ifname"] for link in json.loads(bridged.sh("ip -j link"))}
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    first = whole(bridged)
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    assert whole(bridged) == first
    bridged.vmnet("detach", "pod-1")
    after = {link["ifname"] for link in json.loads(bridged.sh("ip -j link"))}
    assert after - before == {"pods"}
    assert bridged.sh("ls /run/netns /run/bridgehead/pods /run/bridgehead/cni").split() == [
        "/run/bridgehead/cni:",
        "/run/bridgehead/pods:",
        "/run/netns:",
    ]


@pytest.mark.slow
def test_an_attach_that_is_killed_anywhere_is_finished_or_taken_back(bridged: Node) -> None:
    """Killed at random moments, alternately attached again and detached: nothing is left in between."""
    up = [sys.executable, "-m", "vmnet.cli", "attach", "pod-1", *FILES, *CONF]
    down = [sys.executable, "-m", "vmnet.cli", "detach", "pod-1"]
    bridged.vmnet("attach", "pod-1", *FILES, *CONF)
    names = set(links(bridged))
    bridged.vmnet("detach", "pod-1")
    before = {link["ifname"] for link in json.loads(bridged.sh("ip -j link"))}
    moments = random.Random(4)
    for turn in range(16):
        if killing_detach := turn % 4 > 1:
            bridged.vmnet("attach", "pod-1", *FILES, *CONF)
        kill_sometime(bridged, down if killing_detach else up, moments)
        if turn % 2:
            bridged.vmnet("attach", "pod-1", *FILES, *CONF)
            assert set(links(bridged)) == names
        bridged.vmnet("detach", "pod-1")
        assert {link["ifname"] for link in json.loads(bridged.sh("ip -j link"))} == before
        assert bridged.sh("ls /run/netns /run/bridgehead/pods").split() == [
            "/run/bridgehead/pods:",
            "/run/netns:",
        ]
        assert bridged.sh("ls /run/ipam/pods").split() == ["last_reserved_ip.0", "lock"]


def kill_sometime(node: Node, argv: list[str], moments: random.Random) -> None:
    """Start a command and end it by kill -9, with its children or alone, unless it is through before."""
    process = node.spawn(*argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(moments.uniform(0.1, 2.0))
    except subprocess.TimeoutExpired:
        kill = moments.choice((os.kill, os.killpg))
        kill(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ("ip link del br1", 'bridge "br1" does not exist on this node'),
        ("ip link set br1 type bridge vlan_filtering 0", 'bridge "br1" does not filter VLANs'),
        ("bridge vlan del dev ens1f0 vid 33", 'no uplink of bridge "br1" (ens1f0) carries VLAN 33'),
        ("ip link del br1; ip link add br1 type dummy", '"br1" already exists but is not a bridge'),
    ],
)
def test_an_unfit_bridge_is_refused_at_its_place_in_the_nad(bridged: Node, spoil: str, message: str) -> None:
    bridged.sh(spoil)
    done = bridged.vmnet("attach", "pod-1", *FILES, *CONF, check=False)
    assert done.returncode == 65
    assert message in done.stderr
    assert "nad.yaml:" in done.stderr
    assert "spec.config: " in done.stderr
    assert bridged.sh("ls /run/netns") == ""


def test_a_network_that_no_nad_describes_is_refused_at_its_place(bridged: Node) -> None:
    done = bridged.vmnet("attach", "pod-1", FILES[0], *CONF, check=False)
    assert done.returncode == 65
    assert 'NetworkAttachmentDefinition "default/virt-bridge" not found' in done.stderr
    assert "vm.yaml:" in done.stderr
