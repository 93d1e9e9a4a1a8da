"""A guest that is hostile: of its Pod it reaches DHCP and, behind masquerade, its gateway, and nothing else."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.vmnet.dial import RENEW
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Node

scapy = pytest.importorskip("scapy.all", reason="scapy writes the frames that our code did not")

HERE = Path(__file__).parent / "manifests"
CONF = ("--cni-conf-dir", "/run/net.d")
IN_POD, IN_GUEST = "ip netns exec pod-1", "ip netns exec guest"
GUEST, GATEWAY = "02:11:22:33:44:55", "02:00:00:00:00:00"

BOTH_FAMILIES = """
{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods", "isGateway": true,
 "mtu": 1400, "ipam": {"type": "host-local", "dataDir": "/run/ipam",
 "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
 "ranges": [[{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:244::/64"}]]}}]}
"""

LISTEN = """
import socket, sys
here = [(socket.AF_INET, "", 9998), (socket.AF_INET, "127.0.0.1", 9999), (socket.AF_INET6, "::1", 9997)]
sockets = [socket.socket(family, socket.SOCK_DGRAM) for family, _, _ in here]
v6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
v6.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
sockets += [v6]
here += [(socket.AF_INET6, "", 9998)]
for one, (_, address, port) in zip(sockets, here): one.bind((address, port))
import select
print("ready", flush=True)
while True:
    for one in select.select(sockets, [], [])[0]:
        data, where = one.recvfrom(2048)
        print(where[0], data.decode(), file=open("/run/heard", "a"))
"""

SEND = """
import socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((sys.argv[1], 0))
for frame in sys.stdin: s.send(bytes.fromhex(frame))
"""

pytestmark = pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")


def listen(node: Node, namespace: str) -> None:
    """Listen in a namespace on its addresses, and on its loopback alone; what is heard stands in /run/heard."""
    node.sh("touch /run/heard")
    prefix = f"ip netns exec {namespace}" if namespace else ""
    node.run("tee", "/run/listen.py", stdin=LISTEN)
    node.sh(f"{prefix} python3 /run/listen.py > /run/listening 2>&1 &")
    node.until("grep -q ready /run/listening")


def heard(node: Node) -> list[str]:
    return node.sh("cat /run/heard").splitlines()


def send(node: Node, prefix: str, link: str, frames: list[bytes]) -> None:
    text = "".join(f"{frame.hex()}\n" for frame in frames)
    node.run(*prefix.split(), sys.executable, "-c", SEND, link, stdin=text)


def dropped(node: Node, table: str, chain: str = "") -> int:
    """How many frames the guard of a table has dropped, or one chain of it."""
    rules = node.sh(f"{IN_POD} nft list {'chain' if chain else 'table'} {table} {chain}")
    return sum(int(n) for n in re.findall(r"counter packets (\d+) bytes \d+ drop", rules))


def udp(source: str, to: str, port: int = 9998, *, mac: str = GATEWAY, word: str = "guest") -> bytes:
    ip = scapy.IPv6 if ":" in to else scapy.IP
    packet = scapy.Ether(src=GUEST, dst=mac) / ip(src=source, dst=to) / scapy.UDP(sport=7, dport=port) / word
    return bytes(packet)


def syn(source: str, to: str, port: int, *, mac: str = GATEWAY) -> bytes:
    return bytes(
        scapy.Ether(src=GUEST, dst=mac) / scapy.IP(src=source, dst=to) / scapy.TCP(dport=port, flags="S")
    )


@pytest.fixture
def masqueraded(pod_network: Node) -> Node:
    """A Pod of both families, and a namespace in its guest's place."""
    node = pod_network
    node.run("tee", "/run/net.d/10-pods.conflist", stdin=BOTH_FAMILIES)
    node.vmnet("attach", "pod-1", str(HERE / "masquerade.yaml"), *CONF)
    node.sh(f"""
        ip netns add guest
        ip link add g0 netns guest address {GUEST} type veth peer name g0p netns pod-1
        ip -n pod-1 link set g0p master k6t-eth0 up
        ip -n guest link set lo up; ip -n guest link set g0 up
        ip -n guest addr add 10.0.2.2/24 dev g0; ip -n guest addr add fd10:0:2::2/120 dev g0 nodad
        ip -n guest route add default via 10.0.2.1; ip -n guest -6 route add default via fd10:0:2::1
    """)
    node.until(f"{IN_GUEST} ping -c1 -W1 10.0.2.1; {IN_GUEST} ping -c1 -W1 fd10:0:2::1")
    return node


def pod_addresses(node: Node) -> list[str]:
    (link,) = json.loads(node.sh("ip -n pod-1 -j addr show dev eth0"))
    return [a["local"] for a in link["addr_info"] if a["scope"] == "global"]


def test_a_masqueraded_guest_reaches_nothing_that_listens_in_its_pod(masqueraded: Node) -> None:
    """127.0.0.1 too: KubeVirt's route_localnet takes it in (CVE-2020-8558)."""
    node = masqueraded
    listen(node, "pod-1")
    v4, v6 = pod_addresses(node)
    before = dropped(node, "inet guard_k6t-eth0")
    frames = [
        *(udp("10.0.2.2", to) for to in ("10.0.2.1", v4, "127.0.0.1")),
        udp("10.0.2.2", "127.0.0.1", 9999),
        syn("10.0.2.2", "10.0.2.1", 22),
        syn("10.0.2.2", "127.0.0.1", 16509),
        *(udp("fd10:0:2::2", to) for to in ("fd10:0:2::1", v6)),
    ]
    send(node, IN_GUEST, "g0", frames)
    until(lambda: dropped(node, "inet guard_k6t-eth0") - before >= len(frames), what=lambda: heard(node))
    assert heard(node) == []


def test_a_guest_has_no_address_but_its_own(masqueraded: Node) -> None:
    """Another would leave the Pod unmasqueraded, as the sender that it claims to be."""
    node = masqueraded
    listen(node, "")
    before = dropped(node, "inet guard_k6t-eth0")
    false = ["10.0.2.77", "10.244.1.99", "127.0.0.1", "192.0.2.1", "10.0.2.1"]
    frames = [udp(source, "10.244.1.1") for source in false]
    frames += [udp(source, "fd00:244::1") for source in ("fd10:0:2::77", "2001:db8::1")]
    send(node, IN_GUEST, "g0", [*frames, udp("10.0.2.2", "10.244.1.1", word="own")])
    node.until("grep -q own /run/heard")
    assert heard(node) == [f"{pod_addresses(node)[0]} own"]
    # At least: the kernel that stands for the guest says something of its own now and then.
    assert dropped(node, "inet guard_k6t-eth0") - before >= len(frames)


def test_dhcps_port_is_no_way_out_for_a_masqueraded_guest(masqueraded: Node) -> None:
    """What is for the server may pass untranslated; with another destination it would leave as 10.0.2.2."""
    node = masqueraded
    before = dropped(node, "inet guard_k6t-eth0")
    frames = [udp("10.0.2.2", to, 67) for to in ("10.244.1.1", "192.0.2.1")]
    frames += [udp("0.0.0.0", to, 67) for to in ("10.244.1.1", pod_addresses(node)[0])]
    send(node, IN_GUEST, "g0", frames)
    until(lambda: dropped(node, "inet guard_k6t-eth0") - before >= len(frames), what="them to be dropped")


def test_a_guests_false_arp_takes_no_place_in_the_nodes_neighbour_table(masqueraded: Node) -> None:
    node = masqueraded
    ask = [
        scapy.Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff")
        / scapy.ARP(psrc=f"10.0.2.{n}", pdst="10.0.2.1", hwsrc=GUEST)
        for n in range(100, 150)
    ]
    send(node, IN_GUEST, "g0", [bytes(frame) for frame in ask])
    until(lambda: dropped(node, "arp guard_k6t-eth0") == 50, what="the count of them")
    assert not re.findall(r"10\.0\.2\.1\d\d", node.sh("ip -n pod-1 neigh show dev k6t-eth0"))


def test_no_more_of_a_guests_link_local_addresses_are_learnt_than_are_forgotten(masqueraded: Node) -> None:
    """Any address of fe80::/10 may be the guest's, so they are counted by time instead."""
    node = masqueraded
    before = dropped(node, "inet guard_k6t-eth0")
    asks = [
        scapy.Ether(src=GUEST, dst="33:33:ff:00:00:01")
        / scapy.IPv6(src=f"fe80::{n:x}", dst="ff02::1:ff00:1")
        / scapy.ICMPv6ND_NS(tgt="fd10:0:2::1")
        / scapy.ICMPv6NDOptSrcLLAddr(lladdr=GUEST)
        for n in range(0x1000, 0x1200)
    ]
    send(node, IN_GUEST, "g0", [bytes(ask) for ask in asks])
    until(lambda: dropped(node, "inet guard_k6t-eth0") - before > len(asks) / 2, what="those too many")
    learnt = re.findall(r"fe80::1[01]", node.sh("ip -n pod-1 neigh show dev k6t-eth0"))
    assert 0 < len(learnt) < len(asks) / 2


def test_a_guest_is_reached_by_the_translation_alone(masqueraded: Node) -> None:
    """Who sends to its own address by way of the Pod would pass by `ports`; and so would it to others of its network."""
    node = masqueraded
    listen(node, "guest")
    before = dropped(node, "inet guard_k6t-eth0")
    (link,) = json.loads(node.sh("ip -n pod-1 -j link show dev eth0"))
    v4, _ = pod_addresses(node)
    mac = link["address"]
    frames = [udp("10.244.1.1", "10.0.2.2", mac=mac), udp("fd00:244::1", "fd10:0:2::2", mac=mac)]
    send(node, "", "pods", [*frames, udp("10.244.1.1", v4, mac=mac, word="translated")])
    node.until("grep -q translated /run/heard")
    assert heard(node) == ["10.244.1.1 translated"]
    own = [udp("10.0.2.2", f"10.0.2.{n}") for n in range(100, 150)]
    send(node, IN_GUEST, "g0", own)
    until(
        lambda: dropped(node, "inet guard_k6t-eth0") - before >= len(frames + own), what="the count of them"
    )
    assert not re.findall(r"10\.0\.2\.1\d\d", node.sh("ip -n pod-1 neigh show dev k6t-eth0"))


def test_what_a_masqueraded_guest_is_for_still_works(masqueraded: Node) -> None:
    node = masqueraded
    for to in ("10.0.2.1", "fd10:0:2::1", "10.244.1.1", "fd00:244::1"):
        node.until(f"{IN_GUEST} ping -c1 -W5 {to}")
    node.serve("guest", 8080, "guest")
    ask = "import socket; print(socket.create_connection(('127.0.0.1', 8080), 60).recv(9).decode())"
    assert node.run(*IN_POD.split(), sys.executable, "-c", ask).stdout == "guest\n"
    assert "10.0.2.2" in node.sh("ip -n pod-1 neigh show dev k6t-eth0")


def test_an_attach_again_puts_the_same_guard_in_its_place(masqueraded: Node) -> None:
    node = masqueraded
    rules = f"{IN_POD} nft -s list ruleset"
    before = node.sh(rules)
    assert "table inet guard_k6t-eth0" in before
    node.sh(
        f"{IN_POD} nft insert rule inet guard_k6t-eth0 input accept; {IN_POD} nft flush table arp guard_k6t-eth0"
    )
    node.vmnet("attach", "pod-1", str(HERE / "masquerade.yaml"), *CONF)
    assert node.sh(rules) == before


@pytest.fixture
def bridged(pod_network: Node) -> Node:
    """A Pod whose guest is on the Pod network itself; the node stands for the segment's other hosts.

    Reverse paths are looked at, as many a node has it.
    """
    pod_network.sh("sysctl -qw net.ipv4.conf.all.rp_filter=1 net.ipv4.conf.default.rp_filter=1")
    pod_network.vmnet("attach", "pod-1", str(HERE / "bridge-on-pod.yaml"), *CONF)
    return pod_network


@pytest.mark.kernel
def test_a_bridged_segment_reaches_nothing_in_the_pod(bridged: Node) -> None:
    node = bridged
    listen(node, "pod-1")
    (link,) = json.loads(node.sh("ip -n pod-1 -j link show dev k6t-eth0"))
    mac, own = link["address"], pod_addresses(node)[0]
    node.sh(
        f"{IN_POD} sysctl -qw net.ipv4.ip_forward=1"
    )  # as a masqueraded interface beside it would have it
    before = dropped(node, "bridge guard_k6t-eth0")
    frames = [
        udp("10.244.1.1", "169.254.75.10", mac=mac),
        udp("10.244.1.1", own, mac=mac),
        udp("10.244.1.1", "192.0.2.1", mac=mac),
        syn("10.244.1.1", own, 22, mac=mac),
        bytes(
            scapy.Ether(src=GUEST, dst="ff:ff:ff:ff:ff:ff")
            / scapy.ARP(psrc="10.244.1.9", pdst="169.254.75.10")
        ),
        bytes(scapy.Ether(src=GUEST, dst=mac) / scapy.IPv6(dst="ff02::1") / scapy.ICMPv6EchoRequest()),
        # DHCP is the guest's own, from its tap; and what is for somebody else would be forwarded.
        udp("0.0.0.0", "255.255.255.255", 67, mac=mac),
        udp("203.0.113.5", "10.244.1.1", 67, mac=mac),
    ]
    send(node, "", "pods", frames)
    until(lambda: dropped(node, "bridge guard_k6t-eth0") - before >= len(frames), what=lambda: heard(node))
    assert heard(node) == []
    assert "10.244.1.9" not in node.sh("ip -n pod-1 neigh")


TAP = """
import fcntl, os, struct, sys, time
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, 0x400454CA, struct.pack("16sH22x", b"tap0", 0x1002))  # TUNSETIFF: IFF_TAP, IFF_NO_PI
while open("/sys/class/net/tap0/brport/state").read() != "3\\n": time.sleep(0.01)  # BR_STATE_FORWARDING
for line in iter(sys.stdin.readline, "\\n"): os.write(tap, bytes.fromhex(line))
print("sent", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def from_tap(node: Node, frames: list[bytes]) -> Iterator[None]:
    """Send as QEMU does, by the guest's own tap, and hold it: what was learnt on a port goes with its carrier."""
    argv = [*IN_POD.split(), sys.executable, "-c", TAP]
    with node.spawn(*argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{frame.hex()}\n" for frame in frames) + "\n")
        process.stdin.flush()
        assert process.stdout.readline() == "sent\n"
        yield
        process.stdin.close()


def random_macs(count: int) -> list[bytes]:
    packet = scapy.IP(src="10.0.2.2", dst="10.0.2.1") / scapy.UDP(dport=7)
    return [
        bytes(scapy.Ether(src=f"02:77:00:00:{n >> 8:02x}:{n & 255:02x}", dst=GATEWAY) / packet)
        for n in range(count)
    ]


def learnt(node: Node) -> int:
    return node.sh("bridge -n pod-1 fdb show br k6t-eth0").count("02:77:")


def test_the_pod_learns_no_mac_of_a_masqueraded_guest(masqueraded: Node) -> None:
    before = dropped(masqueraded, "inet guard_k6t-eth0")
    with from_tap(masqueraded, random_macs(500)):
        until(lambda: dropped(masqueraded, "inet guard_k6t-eth0") - before >= 500, what="them to have come")
        assert learnt(masqueraded) == 0


@pytest.mark.kernel
def test_a_bridged_guest_may_have_further_macs_but_not_any_number(bridged: Node) -> None:
    with from_tap(bridged, random_macs(500)):
        until(
            lambda: dropped(bridged, "bridge guard_k6t-eth0") >= 500 - 64, what="the count of those too many"
        )
        assert learnt(bridged) == 64


@pytest.mark.kernel
@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox, for udhcpc")
def test_a_bridged_guest_still_gets_its_lease_and_all_else_that_passes(bridged: Node) -> None:
    node = bridged
    server = node.python(str(Path(__file__).with_name("serve.py")), "/run/bridgehead/pods/pod-1/pod.json")
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    (nic,) = json.loads(node.sh("cat /run/bridgehead/pods/pod-1/pod.json"))["interfaces"]
    node.sh(f"""
        ip netns add guest
        ip link add g0 netns guest address {nic["mac"]} type veth peer name g0p netns pod-1
        ip -n pod-1 link delete tap0
        ip -n pod-1 link set g0p name tap0; ip -n pod-1 link set tap0 master k6t-eth0 up
        ip -n guest link set g0 up
    """)
    node.sh(f"{IN_GUEST} busybox udhcpc -i g0 -s /bin/true -n -q -f -t 60 -T 1")
    node.sh(f"ip -n guest addr add {nic['address']} dev g0; {IN_GUEST} ping -c1 -W60 10.244.1.1")
    # Offer and lease went to the guest alone; the Pod itself holds the guest's address, and answers at it.
    assert dropped(node, "bridge guard_k6t-eth0", "output") >= 2
    address = nic["address"].partition("/")[0]
    rebind = [*IN_GUEST.split(), sys.executable, "-c", RENEW, address, "255.255.255.255", nic["mac"]]
    assert node.run(*rebind).stdout == "169.254.75.10 67 5\n"
    server.communicate()
    assert server.returncode == 0
