from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from vmnet import nft
from vmnet.model import Port

if TYPE_CHECKING:
    from conftest import Node

V4 = nft.v4(guest="10.0.2.2", gateway="10.0.2.1")
V6 = nft.v6(guest="fd10:0:2::2", gateway="fd10:0:2::1")

SLIDES_9_TO_12 = """\
table ip nat {
	chain prerouting {
		type nat hook prerouting priority dstnat; policy accept;
		iifname "eth0" counter packets 0 bytes 0 jump KUBEVIRT_PREINBOUND
	}

	chain input {
		type nat hook input priority 100; policy accept;
	}

	chain output {
		type nat hook output priority -100; policy accept;
		ip daddr 127.0.0.1 counter packets 0 bytes 0 dnat to 10.0.2.2
	}

	chain postrouting {
		type nat hook postrouting priority srcnat; policy accept;
		ip saddr 10.0.2.2 counter packets 0 bytes 0 masquerade
		oifname "k6t-eth0" counter packets 0 bytes 0 jump KUBEVIRT_POSTINBOUND
	}

	chain KUBEVIRT_PREINBOUND {
		counter packets 0 bytes 0 dnat to 10.0.2.2
	}

	chain KUBEVIRT_POSTINBOUND {
		ip saddr 127.0.0.1 counter packets 0 bytes 0 snat to 10.0.2.1
	}
}
"""

pytestmark = pytest.mark.skipif(shutil.which("nft") is None, reason="needs nft")


def counters_zero(text: str) -> str:
    return re.sub(r"packets \d+ bytes \d+", "packets 0 bytes 0", text)


def default_rules() -> str:
    return nft.masquerade(V4, uplink="eth0", bridge="k6t-eth0")


def test_nft_lists_the_table_as_the_slides_print_it(node: Node) -> None:
    node.run("nft", "-f", "-", stdin=default_rules())
    assert counters_zero(node.sh("nft list table ip nat")) == SLIDES_9_TO_12


def test_a_second_run_leaves_the_same_table(node: Node) -> None:
    for _ in range(2):
        node.run("nft", "-f", "-", stdin=default_rules())
    assert counters_zero(node.sh("nft list table ip nat")) == SLIDES_9_TO_12


def test_a_broken_transaction_changes_nothing(node: Node) -> None:
    node.run("nft", "-f", "-", stdin=default_rules())
    bad = nft.replace("ip nat", {"prerouting": ["jump NOWHERE"]})
    assert node.run("nft", "-f", "-", stdin=bad, check=False).returncode != 0
    assert counters_zero(node.sh("nft list table ip nat")) == SLIDES_9_TO_12


def test_named_ports_alone_are_forwarded(node: Node) -> None:
    ports = [Port(port=80), Port(port=53, protocol="UDP")]
    node.run("nft", "-f", "-", stdin=nft.masquerade(V4, uplink="eth0", bridge="k6t-eth0", ports=ports))
    text = counters_zero(node.sh("nft list table ip nat"))
    assert "\t\ttcp dport 80 counter packets 0 bytes 0 dnat to 10.0.2.2\n" in text
    assert "\t\tudp dport 53 ip saddr 127.0.0.1 counter packets 0 bytes 0 snat to 10.0.2.1\n" in text
    assert "\t\tip daddr 127.0.0.1 udp dport 53 counter packets 0 bytes 0 dnat to 10.0.2.2\n" in text
    assert "\t\tcounter packets 0 bytes 0 dnat" not in text


def chains(text: str) -> dict[str, list[str]]:
    """The rules of each chain of a ruleset, as they are written."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["chain"]:
            rules = found.setdefault(words[1], [])
        elif "counter" in words:
            rules.append(line.strip())
    return found


ALWAYS = {
    "prerouting": ["iifname eth0 counter jump KUBEVIRT_PREINBOUND"],
    "input": [],
    "postrouting": [
        "{fam} saddr {guest} counter masquerade",
        "oifname k6t-eth0 counter jump KUBEVIRT_POSTINBOUND",
    ],
}
NO_PORTS = ALWAYS | {
    "output": ["{fam} daddr {{ {loopback} }} counter dnat to {guest}"],
    "KUBEVIRT_PREINBOUND": ["counter dnat to {guest}"],
    "KUBEVIRT_POSTINBOUND": ["{fam} saddr {{ {loopback} }} counter snat to {gateway}"],
}
TWO_PORTS = ALWAYS | {
    "output": [
        "{fam} daddr {{ {loopback} }} tcp dport 80 counter dnat to {guest}",
        "{fam} daddr {{ {loopback} }} udp dport 8080 counter dnat to {guest}",
    ],
    "KUBEVIRT_PREINBOUND": [
        "tcp dport {{ 80 }} counter dnat to {guest}",
        "udp dport {{ 8080 }} counter dnat to {guest}",
    ],
    "KUBEVIRT_POSTINBOUND": [
        "tcp dport 80 {fam} saddr {{ {loopback} }} counter snat to {gateway}",
        "udp dport 8080 {fam} saddr {{ {loopback} }} counter snat to {gateway}",
    ],
}
PORTS = [Port(port=80, protocol=""), Port(port=8080, protocol="UDP")]


@pytest.mark.parametrize("nat", [V4, V6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize(("ports", "golden"), [([], NO_PORTS), (PORTS, TWO_PORTS)], ids=["no ports", "ports"])
def test_each_rule_is_kubevirts_word_for_word(
    nat: nft.Nat, ports: list[Port], golden: dict[str, list[str]]
) -> None:
    """As pkg/network/setup/netpod/masquerade expects them of itself."""
    words = {"fam": nat.family, "guest": nat.guest, "gateway": nat.gateway, "loopback": nat.loopback}
    wanted = {chain: [rule.format(**words) for rule in rules] for chain, rules in golden.items()}
    assert chains(nft.masquerade(nat, uplink="eth0", bridge="k6t-eth0", ports=ports)) == wanted


def test_ipv6_has_the_same_table(node: Node) -> None:
    node.run("nft", "-f", "-", stdin=nft.masquerade(V6, uplink="eth0", bridge="k6t-eth0"))
    text = counters_zero(node.sh("nft list table ip6 nat"))
    wanted = SLIDES_9_TO_12.replace("ip nat", "ip6 nat").replace("ip saddr", "ip6 saddr")
    wanted = wanted.replace("ip daddr", "ip6 daddr").replace("127.0.0.1", "::1")
    assert text == wanted.replace("10.0.2.", "fd10:0:2::")


def test_a_spoof_guard_is_a_table_of_its_own(node: Node) -> None:
    node.sh("ip link add v0 type veth peer name v1")
    guard = nft.spoof_guard(port="v0", mac="02:00:00:00:00:05")
    node.run("nft", "-f", "-", stdin=guard)
    assert "ether saddr != 02:00:00:00:00:05" in node.sh("nft list table bridge spoof_v0")
    node.run("nft", "-f", "-", stdin=nft.absent(nft.spoof_table("v0")))
    assert node.sh("nft list tables") == ""
