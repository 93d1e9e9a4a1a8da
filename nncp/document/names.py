"""How the host is called, and whom it asks for the addresses of others: `hostname` and `dns-resolver`."""

# No `from __future__ import annotations`: msgspec evaluates the annotations.
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import UNSET

from nncp.document.lax import Maybe, Query
from nncp.document.section import Section


class Dns(Section, frozen=True):
    """A resolver's lists: each that is written replaces its own."""

    meaning: ClassVar[Mapping[str, str]] = {
        "server": "The addresses of the name servers, in the order in which they are asked.",
        "search": "The domains in which short names are looked up, in their order.",
        "options": "Options of the resolver, as resolv.conf has them.",
    }

    server: Maybe[tuple[str, ...]] = UNSET
    search: Maybe[tuple[str, ...]] = UNSET
    options: Maybe[tuple[str, ...]] = UNSET


class DnsResolver(Section, frozen=True):
    """The resolver; `config: {}` empties it.

    dns-resolver:
      config:
        server:
        - 192.0.2.53
        search:
        - example.com
        options:
        - timeout:1
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "config": "The resolver that is wanted; {} empties it.",
        "running": "The resolver as it is now; only shown.",
    }

    config: Maybe[Dns] = UNSET
    running: Query = UNSET


class Hostname(Section, frozen=True):
    """The host's name: now, and after a start.

    hostname:
      config: node1
    """

    meaning: ClassVar[Mapping[str, str]] = {
        "running": "The name now, until the host starts again.",
        "config": "The name after a start.",
    }
    samples: ClassVar[Mapping[str, Any]] = {
        "running": "node1",
    }

    running: Maybe[str] = UNSET
    config: Maybe[str] = UNSET
