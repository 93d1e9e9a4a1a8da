"""What a node's resolv.conf says that its guests can use. Whatever else it says is left out: no failure."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from vmnet.plumbing import Resolver
from vmnet.valid import DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAMESERVERS = 3  # the resolver's own MAXNS (resolv.conf(5))
SEARCH_OCTETS = 255  # of all domains as DNS writes them: one option, as KubeVirt serves


def read_resolv_conf(path: Path) -> Resolver:
    """Read a resolv.conf as the resolver does: the last line of `search` or `domain` counts (resolv.conf(5)).

    KubeVirt adds up what several `search` lines list; a Pod's has one. A file that cannot be read says
    nothing.
    """
    try:
        text = path.read_bytes().decode(errors="replace")
    except OSError:
        return Resolver()
    lines = [line.split() for line in text.split("\n") if not line[:1].isspace()]
    servers = [words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1]
    searches = [words for words in lines if words[:1] in (["search"], ["domain"])]
    return Resolver(
        tuple(server for server in servers if _is_of_use(server))[:NAMESERVERS],
        tuple(_searched(searches[-1])) if searches else (),
    )


def _is_of_use(server: str) -> bool:
    """Whether a guest can ask there: not the node's own loopback, nor an address that takes a link to say."""
    try:
        address = ipaddress.ip_address(server)
    except ValueError:
        return False
    ours = address.is_loopback or address.is_unspecified or address.is_multicast
    return not ours and "%" not in server


def _searched(words: list[str]) -> Iterator[str]:
    left = SEARCH_OCTETS
    for name in words[1:2] if words[0] == "domain" else words[1:]:
        domain = name.lower().removesuffix(".")
        if DOMAIN.allows(domain) and len(domain) + 2 <= left:
            left -= len(domain) + 2
            yield domain
