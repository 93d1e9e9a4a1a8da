"""What a Pod's nftables let through while its guest moves.

It is a table of its own, so that adding and removing it never touches the guest's rules, their counters or
their order. The target keeps the port of a migration for itself, for the source's address alone. Addresses
prove nothing: behind masquerade the source's guest has the very same. So the source lets no guest reach that
port, and whoever gets there all the same meets mutual TLS.
"""

from __future__ import annotations

import ipaddress

from vmnet import nft
from vmnet.valid import is_address

PEER_PORT = 49215
"""The one port of a migration, at the target: UDP for a knock, TCP once somebody has knocked. It is the
last of those on which QEMUs take one in by libvirt's defaults (qemu.conf, migration_port_max)."""

RECEIVING, SENDING = "bridgehead_receiving", "bridgehead_sending"
"""A table for each side: a guest that has just arrived may leave before its arrival is settled."""
WORDS, KNOCKS = f"tcp dport {PEER_PORT}", f"udp dport {PEER_PORT}"
FEW_KNOCKS = f"{KNOCKS} limit rate 20/second burst 20 packets"
"""Each costs a hash, in a process that goes first on the CPU."""
BEFORE_DNAT = -110
"""A chain of that priority runs before masquerade's own DNAT (-100), and a connection that already has a
destination mapping, here onto itself, is not mapped again (nf_nat_inet_fn)."""


def receiving(*, source: str, pod: str, exempt: bool, has_knocked: bool, uplink: str = "eth0") -> str:
    """Return the transaction that lets a migration from the Pod at `source` in to this one, at `pod`.

    Before the source has knocked only that is let in. Its port is open to that one sender on `uplink`, and
    shut to everybody else. With `exempt` it is kept from the guest, which is given all others.
    """
    family = _family(pod)
    match = f"iifname {uplink} {family} saddr {_plain(source)} {family} daddr {_plain(pod)}"
    accepted = [FEW_KNOCKS, WORDS] if has_knocked else [FEW_KNOCKS]
    chains = {
        "input": [
            "type filter hook input priority 0; policy accept;",
            *(f"{match} {port} counter accept" for port in accepted),
            f"{KNOCKS} counter drop",
            f"{WORDS} counter reject with tcp reset",
        ]
    }
    if exempt:
        chains["prerouting"] = [
            f"type nat hook prerouting priority {BEFORE_DNAT}; policy accept;",
            *(f"{match} {port} counter dnat to {_plain(pod)}" for port in (KNOCKS, WORDS)),
        ]
    return nft.replace(f"{family} {RECEIVING}", chains)


def sending(*, target: str) -> str:
    """Return the transaction that keeps every guest of this Pod from the port of a migration at `target`."""
    family = _family(target)
    rules = [
        "type filter hook forward priority 0; policy accept;",
        *(f"{family} daddr {_plain(target)} {port} counter drop" for port in (KNOCKS, WORDS)),
    ]
    return nft.replace(f"{family} {SENDING}", {"forward": rules})


def settled(*tables: str) -> str:
    """Return the transaction that takes one side's rules back, or both's; connections that stand go on."""
    return "".join(nft.absent(f"{family} {table}") for table in tables for family in ("ip", "ip6"))


def _family(address: str) -> str:
    return "ip6" if ":" in _plain(address) else "ip"


def _plain(address: str) -> str:
    """An address as the kernel writes it; ValueError for all else, which is a rule's text otherwise.

    Python takes any text for the scope of an IPv6 address.
    """
    if not is_address(address):
        raise ValueError(f"{address!r} is not an IP address")
    return str(ipaddress.ip_address(address))
