"""The Pod's nftables rulesets, each as one transaction for `nft -f -`, each safe to run again.

Masquerade's table is KubeVirt's, chain by chain and rule by rule, so that it reads as its users know it.
The exemption of a live migration is a table of its own: adding and removing it never touches the guest's
rules, their counters or their order.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vmnet.model import Port

Family = Literal["ip", "ip6"]

LIBVIRT_PORTS = "16509, 16514, 49152-49215"
"""libvirt's TCP and TLS ports, and those on which its QEMUs take in a migration (qemu.conf,
migration_port_*)."""

EXEMPTION = "bridgehead_migration"
"""The table that holds a migration's exemption. A chain of priority -110 runs before DNAT (-100), and a
connection that already has a destination mapping, here onto itself, is not mapped again (nf_nat_inet_fn)."""


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


def replace(table: str, chains: dict[str, list[str]]) -> str:
    """Return a transaction after which `table` holds exactly `chains`, whatever it held before.

    Declaring it first makes the removal succeed on a first run; all three steps are one commit in the kernel.
    """
    body = "\n".join(_chain(name, rules) for name, rules in chains.items())
    return f"table {table} {{ }}\ndelete table {table}\ntable {table} {{\n{body}\n}}\n"


def absent(table: str) -> str:
    """Return a transaction after which `table` is not there."""
    return f"table {table} {{ }}\ndelete table {table}\n"


def exempt(*, source: str, pod: str, word_port: int, uplink: str = "eth0") -> str:
    """Return the transaction that lets a migration from the Pod at `source` in to this one, at address `pod`.

    Libvirt's ports and the launchers' UDP word reach the Pod itself, for that one sender only.
    """
    fam = "ip6" if ":" in pod else "ip"
    match = f"iifname {uplink} {fam} saddr {source} {fam} daddr {pod}"
    rules = [
        "type nat hook prerouting priority -110; policy accept;",
        f"{match} tcp dport {{ {LIBVIRT_PORTS} }} counter dnat to {pod}",
        f"{match} udp dport {word_port} counter dnat to {pod}",
    ]
    return replace(f"{fam} {EXEMPTION}", {"prerouting": rules})


def exempt_no_more(*, pod: str) -> str:
    """Return the transaction that takes `exempt` back; connections that stand go on."""
    return absent(f"{'ip6' if ':' in pod else 'ip'} {EXEMPTION}")


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


def run(text: str) -> None:
    """Carry out a transaction in the current network namespace.

    Raises `Error` with nft's own first line.
    """
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text, text=True, capture_output=True, check=False)
    except FileNotFoundError:
        raise Error("nft is not installed", kind=ErrorKind.UNSUPPORTED, hint="install nftables") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nft failed and said nothing"]
        raise Error(f"failed to load nftables rules: {said[0]}", kind=ErrorKind.FAILED)


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
    return [f"{_proto(port)} dport {port.port} counter dnat to {nat.guest}" for port in ports]


def _postinbound(nat: Nat, ports: Sequence[Port]) -> list[str]:
    tail = f"{nat.family} saddr {nat.loopback} counter snat to {nat.gateway}"
    if not ports:
        return [tail]
    return [f"{_proto(port)} dport {port.port} {tail}" for port in ports]


def _outputs(nat: Nat, ports: Sequence[Port]) -> list[str]:
    match = f"{nat.family} daddr {nat.loopback}"
    if not ports:
        return [f"{match} counter dnat to {nat.guest}"]
    return [f"{match} {_proto(port)} dport {port.port} counter dnat to {nat.guest}" for port in ports]


def _proto(port: Port) -> str:
    return port.protocol.lower()
