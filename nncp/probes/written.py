"""Probes as they are written on a command line: `KIND:TARGET`."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec import Struct

from nncp.document.complaints import did_you_mean
from nncp.errors import Error, ErrorKind, raise_all

GATEWAY = "gw"


class Probe(Struct, frozen=True):
    """What is asked: of a `kind`, its target (`gw`, an address, a name, a path), and how it was written.

    `family` is `ipv4` or `ipv6` where only a part of `ping:gw` is meant.
    """

    kind: str
    target: str
    text: str
    port: int = 0
    family: str = ""

    @property
    def is_gateway(self) -> bool:
        """Whether it is `ping:gw`."""
        return self.kind == "ping" and self.target == GATEWAY


def parsed(texts: Iterable[str]) -> list[Probe]:
    """Return the probes, each once; raises `Error` (`USAGE`) with all that is wrong with them."""
    found: dict[tuple[str, str, int], Probe] = {}
    errors: list[Error] = []
    for text in dict.fromkeys(texts):
        try:
            probe = parse(text)
        except Error as error:
            errors.append(error)
        else:
            found.setdefault((probe.kind, probe.target, probe.port), probe)
    raise_all(errors)
    return list(found.values())


def parse(text: str) -> Probe:
    """Return the probe that is written `KIND:TARGET`; raises `Error` (`USAGE`) that says what to write."""
    word, _, rest = text.partition(":")
    kind = KINDS.get(word)
    if kind is None:
        every = " or ".join(one.sample for one in KINDS.values())
        what = f"there is no kind of probe {word}" if word else "it names no kind"
        raise _wrong(text, what, did_you_mean(word, KINDS) or f"write {every}")
    try:
        target, port = kind.read(rest)
    except ValueError as error:
        raise _wrong(text, str(error), f"write {kind.sample}") from None
    return Probe(word, target, text, port)


def _wrong(text: str, why: str, hint: str) -> Error:
    return Error(f"probe {text or repr(text)}: {why}", kind=ErrorKind.USAGE, hint=hint)


def _read_ping(text: str) -> tuple[str, int]:
    return text if text == GATEWAY else _address(text), 0


def _address(text: str) -> str:
    """Return an address that one host has, in one spelling; raises ValueError."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text or repr(text)} is no address") from None
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        raise ValueError(f"{text} is no address of one host")
    if address.version == 6 and address.is_link_local != bool(address.scope_id):
        told = "lacks the link" if address.is_link_local else "is not link-local, and takes no link"
        raise ValueError(f"{text} {told} after it, as fe80::1%eth1 has it")
    return str(address)


def _read_tcp(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("it names no port")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 0xFFFF:
        raise ValueError(f"{port or repr(port)} is no port, which is a number from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        address = _address(host[1:-1])
        if ":" not in address:
            raise ValueError(f"only an IPv6 address stands in brackets, and not {address}")
        return address, int(port)
    if ":" in host:
        raise ValueError(f"an IPv6 address stands in brackets, as in tcp:[2001:db8::1]:{port}")
    return (_address(host) if _is_address(host) else _name(host)), int(port)


def _read_dns(text: str) -> tuple[str, int]:
    if ":" in text or _is_address(text):
        raise ValueError(f"{text} is no name, and no name server is asked for an address")
    return _name(text), 0


def _is_address(text: str) -> bool:
    """Whether it is IPv4's, however short: 127.1 is one that no name server is asked for (inet_aton(3))."""
    with contextlib.suppress(OSError, UnicodeError):
        socket.inet_aton(text)
        return True
    return False


def _name(text: str) -> str:
    with contextlib.suppress(UnicodeError):
        if re.fullmatch(r"[\w.-]+", text) and text.encode("idna").strip(b"."):
            return text
    raise ValueError(f"{text or repr(text)} is no name of a host")


def _read_exec(text: str) -> tuple[str, int]:
    if not text:
        raise ValueError("it names no program")
    path = Path(text).absolute()
    if not path.is_file():
        raise ValueError(f"{path} is {'no program' if path.exists() else 'not there'}")
    if not os.access(path, os.X_OK):
        raise ValueError(f"{path} may not be executed")
    return str(path), 0


class Kind(Struct, frozen=True):
    """A kind of probe: how it is read, the seconds it has, how it is written, what to look at."""

    read: Callable[[str], tuple[str, int]]
    seconds: float
    sample: str
    look_at: str


KINDS = {
    "ping": Kind(
        _read_ping,
        10.0,
        "ping:gw or ping:192.0.2.1",
        "look at `ip route` and `ip neigh`, and whether a firewall drops ICMP",
    ),
    "tcp": Kind(
        _read_tcp,
        10.0,
        "tcp:192.0.2.1:443",
        "look at `ip route get`, and whether something listens there",
    ),
    "dns": Kind(
        _read_dns,
        10.0,
        "dns:example.org",
        "look at /etc/resolv.conf, and whether its name servers are reached",
    ),
    "exec": Kind(_read_exec, 60.0, "exec:/usr/local/bin/check", "run {} by hand"),
}
