"""What a Pod's nftables let through while its guest moves.

It is a table of its own, so that adding and removing it never touches the guest's rules, their counters or
their order. The target keeps the ports of a migration for itself, for the source's address alone. Addresses
prove nothing: behind masquerade the source's guest has the very same. So the source lets no guest reach those
ports, and whoever gets there all the same meets mutual TLS.
"""

from __future__ import annotations

import ipaddress

from vmnet import nft

FIRST_PORT, LAST_PORT = 49152, 49215
"""TCP ports of a migration: QEMUs take one in on all but the last (qemu.conf, migration_port_*)."""
PEER_PORT = LAST_PORT
"""Where a target's launcher hears its peer: UDP for a knock, TCP once somebody has knocked."""

TABLE = "bridgehead_migration"
PORTS = f"tcp dport {FIRST_PORT}-{LAST_PORT}"
KNOCKS = f"udp dport {PEER_PORT}"
BEFORE_DNAT = -110
"""A chain of that priority runs before masquerade's own DNAT (-100), and a connection that already has a
destination mapping, here onto itself, is not mapped again (nf_nat_inet_fn)."""


def receiving(*, source: str, pod: str, exempt: bool, has_knocked: bool, uplink: str = "eth0") -> str:
    """Return the transaction that lets a migration from the Pod at `source` in to this one, at `pod`.

    Before the source has knocked only that is let in. Its ports are open to that one sender on `uplink`, and
    shut to everybody else. With `exempt` they are kept from the guest, which is given all others.
    """
    family = _family(pod)
    match = f"iifname {uplink} {family} saddr {_plain(source)} {family} daddr {_plain(pod)}"
    accepted = [KNOCKS, PORTS] if has_knocked else [KNOCKS]
    chains = {
        "input": [
            "type filter hook input priority 0; policy accept;",
            *(f"{match} {ports} counter accept" for ports in accepted),
            f"{KNOCKS} counter drop",
            f"{PORTS} counter reject with tcp reset",
        ]
    }
    if exempt:
        chains["prerouting"] = [
            f"type nat hook prerouting priority {BEFORE_DNAT}; policy accept;",
            *(f"{match} {ports} counter dnat to {_plain(pod)}" for ports in (KNOCKS, PORTS)),
        ]
    return nft.replace(f"{family} {TABLE}", chains)


def sending(*, target: str) -> str:
    """Return the transaction that keeps every guest of this Pod from the ports of a migration at `target`."""
    family = _family(target)
    rules = [
        "type filter hook forward priority 0; policy accept;",
        *(f"{family} daddr {_plain(target)} {ports} counter drop" for ports in (KNOCKS, PORTS)),
    ]
    return nft.replace(f"{family} {TABLE}", {"forward": rules})


def settled() -> str:
    """Return the transaction that takes both back; connections that stand go on."""
    return nft.absent(f"ip {TABLE}") + nft.absent(f"ip6 {TABLE}")


def _family(address: str) -> str:
    return "ip6" if ipaddress.ip_address(address).version == 6 else "ip"


def _plain(address: str) -> str:
    """An address as the kernel writes it; ValueError for all else, which is a rule's text otherwise."""
    return str(ipaddress.ip_address(address))
