"""Who reaches the ports of a migration while it lasts, and that nothing is left of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vmnet.dial import CLIENT
from tests.waiting import until
from vmnet import nft
from vmnet.bindings import masquerade
from vmnet.node import migration_rules

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Netns

SERVER = """
import socket, sys
s = socket.create_server(("", int(sys.argv[1])))
print("ready", flush=True)
while True:
    c, _ = s.accept()
    c.sendall(sys.argv[2].encode())
    c.close()
"""
BOTH = (migration_rules.RECEIVING, migration_rules.SENDING)
POD, SOURCE, OTHER = "10.244.1.2", "10.244.1.77", "10.244.1.78"
GUEST = "10.0.2.2"


class Pods:
    """A Pod with a masqueraded guest, and a segment with its peers: three namespaces and real nft."""

    def __init__(self, make: Callable[[], Netns]) -> None:
        self.pod, self.guest, self.outside = make(), make(), make()
        self._servers: list[object] = []
        pod, guest, outside = self.pod, self.guest, self.outside
        pod.ip("link", "add", "eth0", "type", "veth", "peer", "name", "out0", "netns", outside.name)
        pod.ip("link", "add", "k6t-eth0", "type", "veth", "peer", "name", "g0", "netns", guest.name)
        addresses = [
            (pod, "eth0", f"{POD}/24"),
            (pod, "k6t-eth0", "10.0.2.1/24"),
            (guest, "g0", f"{GUEST}/24"),
            (outside, "out0", f"{SOURCE}/24"),
            (outside, "out0", f"{OTHER}/24"),
        ]
        for netns, device, address in addresses:
            netns.ip("address", "add", address, "dev", device)
            netns.ip("link", "set", device, "up")
        guest.ip("route", "add", "default", "via", "10.0.2.1")
        pod.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        nat = nft.v4(guest=GUEST, gateway="10.0.2.1")
        self.load(pod, nft.masquerade(nat, uplink="eth0", bridge="k6t-eth0"))

    def load(self, netns: Netns, text: str) -> None:
        netns.run("nft", "-f", "-", stdin=text)

    def serve(self, netns: Netns, port: int, word: str) -> None:
        script = f"setsid python3 -c '{SERVER}' {port} {word} >/dev/null 2>&1 &"
        netns.run("sh", "-c", script)
        until(lambda: netns.run("ss", "-Hltn", f"sport = :{port}"), what=f"{word} listens")

    def asked(self, address: str, port: int, *, by: Netns, source: str = "0.0.0.0") -> str:
        return by.run("python3", "-c", CLIENT, address, str(port), source, "2")


@pytest.fixture
def pods(make_netns: Callable[[], Netns]) -> Pods:
    return Pods(make_netns)


def test_only_the_source_reaches_the_targets_own_ports_and_only_while_it_lasts(pods: Pods) -> None:
    """Decision 14; and the guest loses no port of its own outside a migration."""
    port = migration_rules.PEER_PORT
    pods.serve(pods.guest, port, "guest")
    pods.serve(pods.pod, port, "pod")

    def answers() -> tuple[str, str, str]:
        from_source = pods.asked(POD, port, by=pods.outside, source=SOURCE)
        from_other = pods.asked(POD, port, by=pods.outside, source=OTHER)
        return from_source, from_other, pods.asked("10.0.2.1", port, by=pods.guest)

    assert answers() == ("guest", "guest", "pod")
    shut = migration_rules.receiving(source=SOURCE, pod=POD, exempt=True, has_knocked=False)
    pods.load(pods.pod, shut)
    assert answers() == ("", "guest", "")
    pods.load(pods.pod, migration_rules.receiving(source=SOURCE, pod=POD, exempt=True, has_knocked=True))
    assert answers() == ("pod", "guest", "")
    pods.load(pods.pod, migration_rules.settled(*BOTH))
    assert answers() == ("guest", "guest", "pod")


def test_the_sources_guest_does_not_reach_the_targets_ports_with_its_pods_address(pods: Pods) -> None:
    """Behind masquerade it leaves with the very address that the exemption is for."""
    port = migration_rules.PEER_PORT
    pods.serve(pods.outside, port, "target")
    pods.serve(pods.outside, 8080, "web")
    assert pods.asked(SOURCE, port, by=pods.guest) == "target"
    pods.load(pods.pod, migration_rules.sending(target=SOURCE))
    assert pods.asked(SOURCE, port, by=pods.guest) == ""
    assert pods.asked(SOURCE, 8080, by=pods.guest) == "web"
    assert pods.asked(SOURCE, port, by=pods.pod) == "target"
    listed = pods.pod.run("nft", "list", "chain", "ip", migration_rules.SENDING, "forward")
    assert [line for line in listed.splitlines() if "tcp" in line and "packets 0 " not in line], listed
    pods.load(pods.pod, migration_rules.settled(*BOTH))
    assert pods.asked(SOURCE, port, by=pods.guest) == "target"


SAY = """
import socket, sys
source, to, port = sys.argv[1:]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((source, 0))
s.sendto(b"knock", (to, int(port)))
"""


def counted(netns: Netns, chain: tuple[str, str], words: str) -> int:
    """How many packets the one rule with these words has seen."""
    (line,) = (one for one in netns.run("nft", "list", "chain", "ip", *chain).splitlines() if words in one)
    return int(re.search(r"counter packets (\d+)", line)[1])  # type: ignore[index]  # nft's own


def test_no_knock_comes_from_the_guests_side_under_the_sources_address(pods: Pods) -> None:
    """Nor does one go out to the target."""
    port = migration_rules.PEER_PORT
    rules = migration_rules.receiving(source=SOURCE, pod=POD, exempt=True, has_knocked=True)
    pods.load(pods.pod, rules + migration_rules.sending(target=OTHER))
    pods.guest.ip("address", "add", f"{SOURCE}/32", "dev", "lo")
    for source, to in ((SOURCE, POD), (GUEST, OTHER)):
        pods.guest.run("python3", "-c", SAY, source, to, str(port))
    sent, received = (migration_rules.SENDING, "forward"), (migration_rules.RECEIVING, "input")
    until(lambda: counted(pods.pod, sent, f"udp dport {port}"), what="it is dropped")
    until(lambda: counted(pods.pod, received, f"udp dport {port} counter packets"), what="it is dropped")
    assert counted(pods.pod, received, "limit rate") == 0
    pods.outside.run("python3", "-c", SAY, SOURCE, POD, str(port))
    until(lambda: counted(pods.pod, received, "limit rate"), what="the source's is heard")


def test_rules_come_and_go_without_touching_the_guests(netns: Netns) -> None:
    nat = nft.masquerade(nft.v4(guest=GUEST, gateway="10.0.2.1"), uplink="eth0", bridge="k6t-eth0")
    netns.run("nft", "-f", "-", stdin=nat)
    before = netns.run("nft", "list", "table", "ip", "nat")
    for text in (
        migration_rules.receiving(source=SOURCE, pod=POD, exempt=True, has_knocked=True),
        migration_rules.sending(target=OTHER),
        migration_rules.receiving(source="fd00::1", pod="fd00::2", exempt=False, has_knocked=False),
    ):
        for _ in range(2):
            netns.run("nft", "-f", "-", stdin=text)
        assert netns.run("nft", "list", "table", "ip", "nat") == before
    for _ in range(2):
        netns.run("nft", "-f", "-", stdin=migration_rules.settled(*BOTH))
    assert netns.run("nft", "list", "tables") == "table ip nat\n"


@given(
    st.sampled_from(["", "10.0.0.1", "::1", "fe80::1"]),
    st.sampled_from(["", "%", "/", ";", "\n"]),
    st.text(min_size=1, max_size=20),
)
def test_what_is_no_address_becomes_no_rule(address: str, sign: str, more: str) -> None:
    """Python takes any text for the scope of an IPv6 address."""
    odd = address + (sign or "%") + more
    with pytest.raises(ValueError, match="is not an IP address"):
        migration_rules.receiving(source=odd, pod=POD, exempt=True, has_knocked=True)
    with pytest.raises(ValueError, match="is not an IP address"):
        migration_rules.receiving(source=POD, pod=odd, exempt=True, has_knocked=True)
    with pytest.raises(ValueError, match="is not an IP address"):
        migration_rules.sending(target=odd)


def test_a_guest_that_has_just_arrived_may_leave_before_its_arrival_is_settled(netns: Netns) -> None:
    netns.run(
        "nft",
        "-f",
        "-",
        stdin=migration_rules.receiving(source=SOURCE, pod=POD, exempt=True, has_knocked=True),
    )
    netns.run("nft", "-f", "-", stdin=migration_rules.sending(target=OTHER))
    netns.run("nft", "-f", "-", stdin=migration_rules.settled(migration_rules.RECEIVING))
    assert netns.run("nft", "list", "tables") == "table ip bridgehead_sending\n"


def test_the_reserved_mac_is_the_bindings_own() -> None:
    assert masquerade.MASQUERADE.reserved_mac == masquerade.RESERVED_MAC
