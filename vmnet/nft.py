"""The Pod's nftables rulesets, each as one transaction for `nft -f -`, each safe to run again.

Masquerade's table is KubeVirt's, chain by chain and rule by rule, so that it reads as its users know it.
The rules that guard the Pod from its own guest, which KubeVirt has none of, are tables of their own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmnet.model import Port
    from vmnet.plumbing import Site

Family = Literal["ip", "ip6"]


FURTHER_MACS = 64
"""From how many MACs beside its own a bridged guest may send in five minutes, a bridge's ageing time: of
what it bridges in turn, its bonds, VRRP."""


class Nat(Struct, frozen=True):
    """One family of a masqueraded guest: its address, its gateway inside the Pod, and this Pod's loopback."""

    family: Family
    guest: str
    gateway: str
    loopback: str


def v4(*, guest: str, gateway: str) -> Nat:
    """Return the IPv4 translation of a guest."""
    return Nat(family="ip", guest=guest, gateway=gateway, loopback="127.0.0.1")


def v6(*, guest: str, gateway: str) -> Nat:
    """Return the IPv6 translation of a guest."""
    return Nat(family="ip6", guest=guest, gateway=gateway, loopback="::1")


def masquerade(nat: Nat, *, uplink: str, bridge: str, ports: Sequence[Port] = ()) -> str:
    """Return masquerade's ruleset for one family: everything is forwarded to the guest, or only `ports`."""
    fam = nat.family
    chains = {
        "prerouting": [_hook("prerouting", -100), f"iifname {uplink} counter jump KUBEVIRT_PREINBOUND"],
        "input": [_hook("input", 100)],
        "output": [_hook("output", -100), *_outputs(nat, ports)],
        "postrouting": [
            _hook("postrouting", 100),
            f"{fam} saddr {nat.guest} counter masquerade",
            f"oifname {bridge} counter jump KUBEVIRT_POSTINBOUND",
        ],
        "KUBEVIRT_PREINBOUND": _preinbound(nat, ports),
        "KUBEVIRT_POSTINBOUND": _postinbound(nat, ports),
    }
    return replace(f"{fam} nat", chains)


def masquerade_guard(bridge: str, nats: Sequence[Nat]) -> str:
    """Return the rules that keep a masqueraded guest to what its gateway is for, in tables beside KubeVirt's.

    It is heard under its own addresses alone: another would leave the Pod as it is, or leave an entry of its
    own in conntrack and in the neighbour table, of which all Pods of a node share one. Of the Pod itself it
    reaches DHCP and its gateway's ping. Without that, all that listens in the Pod would answer it, and what
    listens on 127.0.0.1 alone too: KubeVirt's route_localnet lets that address in (CVE-2020-8558).

    The guest's network is reached by the translation alone: who knows the guest's address and sends to it by
    way of the Pod would pass by `ports`.
    """
    pre = ["type filter hook prerouting priority -300; policy accept;", f"iifname != {bridge} accept"]
    into = ["type filter hook input priority 0; policy accept;", f"iifname != {bridge} accept"]
    # A conversation that the Pod itself began, a probe's or that of a process by its own 127.0.0.1.
    into += ["ct state established,related accept"]
    for nat in nats:
        pre += _own_sources(nat)
        into += _for_the_pod(nat)
    through = ["type filter hook forward priority 0; policy accept;", f"oifname != {bridge} accept"]
    through += ["ct state established,related accept", "ct status dnat accept"]
    chains = {
        name: [*rules, "counter drop"]
        for name, rules in (("prerouting", pre), ("input", into), ("forward", through))
    }
    rules = ["type filter hook input priority 0; policy accept;", f"iifname != {bridge} accept"]
    rules += [f"arp saddr ip {{ 0.0.0.0, {nat.guest} }} accept" for nat in nats if nat.family == "ip"]
    arp = {"input": [*rules, "counter drop"]}
    return replace(f"inet {guard(bridge)}", chains) + replace(f"arp {guard(bridge)}", arp)


def bridge_guard(site: Site, *, guest: str, server: str) -> str:
    """Return the rules that keep a bridged segment out of the Pod's own stack, all but the guest's DHCP.

    What the bridge hands up is looked at, and of what it forwards only from how many MACs the guest sends:
    its own and some of what it bridges in turn. Without it the Pod would answer for its other networks there,
    and forward into them, and ever new MACs would fill the node's memory: the kernel sets no limit to what a
    bridge learns (net/bridge/br_fdb.c). `guest` is the one address whose ARP is answered, at its tap; empty
    when there is none, and no DHCP. DHCP is for `server`: the Pod would forward what is for anybody else.
    What the Pod says itself, the lease by broadcast, is for the guest and never for the segment.
    """
    names = site.devices
    asked = f"iifname {names.tap} ether saddr {site.mac} ip daddr {{ 255.255.255.255, {server} }}"
    arp = f"iifname {names.tap} ether type arp arp saddr ip {{ 0.0.0.0, {guest} }} accept"
    own = [arp, f"{asked} udp dport 67 accept"]
    into = [
        "type filter hook input priority 0; policy accept;",
        f"iifname != {{ {names.nic}, {names.tap} }} accept",
        *(own if guest else ()),
        "counter drop",
    ]
    out = [
        "type filter hook prerouting priority -300; policy accept;",
        f"iifname != {names.tap} accept",
        f"ether saddr {site.mac} accept",
        "update @macs { ether saddr } accept",
        "counter drop",
    ]
    said = ["type filter hook output priority 0; policy accept;", f"oifname {names.nic} counter drop"]
    macs = f"  set macs {{ type ether_addr; size {FURTHER_MACS}; flags dynamic,timeout; timeout 5m; }}\n"
    return replace(
        f"bridge {guard(names.bridge)}", {"input": into, "output": said, "prerouting": out}, declared=macs
    )


def guard(bridge: str) -> str:
    """Return the name of the tables that guard a Pod from what comes by one of its bridges."""
    return f"guard_{bridge}"


def _own_sources(nat: Nat) -> list[str]:
    if nat.family == "ip":
        # A client without an address says 0.0.0.0. Untracked: no source port of DHCP takes room in conntrack.
        to_server = f"ip daddr {{ 255.255.255.255, {nat.gateway} }} udp dport 67"
        dhcp = f"ip saddr {{ 0.0.0.0, {nat.guest} }} {to_server} notrack accept"
        return [dhcp, f"ip saddr {nat.guest} accept"]
    # Neighbour discovery is said from a link-local address, or from none (RFC 4861, 4.3; RFC 4862, 5.4.2).
    return [f"ip6 saddr {{ ::, fe80::/10, {nat.guest} }} accept"]


def _for_the_pod(nat: Nat) -> list[str]:
    if nat.family == "ip":
        return [
            f"ip daddr {{ 255.255.255.255, {nat.gateway} }} udp dport 67 accept",
            f"ip daddr {nat.gateway} icmp type echo-request accept",
        ]
    return [
        # Any link-local address may ask, and each is a neighbour then: so few that the kernel keeps up with
        # forgetting them (arp(7), gc_thresh2).
        "icmpv6 type nd-neighbor-solicit limit rate 10/second burst 50 packets accept",
        "icmpv6 type nd-neighbor-advert accept",
        f"ip6 saddr {nat.guest} ip6 daddr {nat.gateway} icmpv6 type echo-request accept",
    ]


def replace(table: str, chains: dict[str, list[str]], *, declared: str = "") -> str:
    """Return a transaction after which `table` holds exactly `chains`, whatever it held before.

    `declared` is what they refer to, sets say.

    Declaring it first makes the removal succeed on a first run; all three steps are one commit in the kernel.
    """
    body = "\n".join(_chain(name, rules) for name, rules in chains.items())
    return f"table {table} {{ }}\ndelete table {table}\ntable {table} {{\n{declared}{body}\n}}\n"


def absent(table: str) -> str:
    """Return a transaction after which `table` is not there."""
    return f"table {table} {{ }}\ndelete table {table}\n"


def spoof_guard(*, port: str, mac: str) -> str:
    """Return the bridge-family ruleset that drops what enters `port` under another source MAC than `mac`.

    It goes by the port's name, so it may be there before the port is.
    """
    rules = [
        "type filter hook prerouting priority -300; policy accept;",
        f"iifname {port} ether saddr != {mac} counter drop",
    ]
    return replace(spoof_table(port), {"prerouting": rules})


def spoof_table(port: str) -> str:
    """Return the table of a port's spoof guard: one each, so that taking it away is one word."""
    return f"bridge spoof_{port}"


def masqueraded(*, port: str, addresses: Sequence[tuple[str, str]]) -> str:
    """Return the ruleset that hides addresses behind the node outside their own networks.

    Multicast keeps its source, as the reference bridge plugin's ipMasq has it.
    """
    rules = ["type nat hook postrouting priority 100; policy accept;"]
    for address, network in addresses:
        fam, group = ("ip6", "ff00::/8") if ":" in address else ("ip", "224.0.0.0/4")
        match = f"{fam} saddr {address} {fam} daddr != {network} {fam} daddr != {group}"
        rules.append(f"{match} counter masquerade")
    return replace(masquerade_table(port), {"postrouting": rules})


def masquerade_table(port: str) -> str:
    """Return the table of a port's masquerading."""
    return f"inet masquerade_{port}"


def tables(text: str) -> list[str]:
    """Return the tables that a transaction of `replace` makes, in its order."""
    return re.findall(r"^table (\S+ \S+) \{ \}$", text, re.MULTILINE)


def run(text: str) -> None:
    """Carry out a transaction in the current network namespace.

    Raises `Error` with nft's own first line.
    """
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise missing() from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nft failed and said nothing"]
        raise Error(f"failed to load nftables rules: {said[0]}", kind=ErrorKind.FAILED)


def is_installed() -> bool:
    """Whether there is an nft."""
    return shutil.which("nft") is not None


def missing() -> Error:
    """Return the error that says that there is none."""
    return Error("nft is not installed", kind=ErrorKind.UNSUPPORTED, hint="install nftables")


def listed(table: str) -> str:
    """Return a table of the current network namespace as nft prints it, without counts; "" for none."""
    argv = ["nft", "--stateless", "list", "table", *table.split()]
    try:
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        return ""
    return "" if done.returncode else done.stdout


def _hook(hook: str, priority: int) -> str:
    return f"type nat hook {hook} priority {priority}; policy accept;"


def _chain(name: str, rules: list[str]) -> str:
    return "\n".join([f"  chain {name} {{", *(f"    {rule}" for rule in rules), "  }"])


def _preinbound(nat: Nat, ports: Sequence[Port]) -> list[str]:
    if not ports:
        return [f"counter dnat to {nat.guest}"]
    return [f"{_proto(port)} dport {{ {port.port} }} counter dnat to {nat.guest}" for port in ports]


def _postinbound(nat: Nat, ports: Sequence[Port]) -> list[str]:
    tail = f"{nat.family} saddr {{ {nat.loopback} }} counter snat to {nat.gateway}"
    if not ports:
        return [tail]
    return [f"{_proto(port)} dport {port.port} {tail}" for port in ports]


def _outputs(nat: Nat, ports: Sequence[Port]) -> list[str]:
    match = f"{nat.family} daddr {{ {nat.loopback} }}"
    if not ports:
        return [f"{match} counter dnat to {nat.guest}"]
    return [f"{match} {_proto(port)} dport {port.port} counter dnat to {nat.guest}" for port in ports]


def _proto(port: Port) -> str:
    return port.protocol.lower() or "tcp"
