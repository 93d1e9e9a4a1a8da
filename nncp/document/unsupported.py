"""What the schema has a word for and the kernel backend no answer yet: refused by name, never dropped.

A property whose value asks for nothing (`dhcp: false`, an empty list) is no reason to refuse a document,
since `show` of other tools prints it. Whoever implements a property takes its line out of the table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nncp.document.source import Node, Step
    from nncp.errors import Error

NOTHING: tuple[Any, ...] = (None, False, "false", "no", "off", "", [], {})

# Of an interface, with what may be said all the same, besides NOTHING.
INTERFACE: Mapping[str, tuple[Any, ...]] = {
    "identifier": ("name",),
    "accept-all-mac-addresses": (),
    "wait-ip": ("any",),
    "alt-names": (),
    "ethtool": (),
    "lldp.enabled": (),
    "802.1x": (),
    "mptcp.address-flags": (),
    "dispatch": (),
    "ethernet.sr-iov": (),
    "link-aggregation.options.balance_slb": ("0", "n"),
    "link-aggregation.options.balance-slb": ("0", "n"),
    "ovs-db": (),
    "ipv4.dhcp": (),
    "ipv4.forwarding": (),
    "ipv4.prefix-route-metric": (),
    "ipv6.dhcp": (),
    "ipv6.autoconf": (),
    "ipv6.forwarding": (),
    "ipv6.prefix-route-metric": (),
    "ipv6.token": ("::",),
    "ipv6.addr-gen-mode": (),
}

# Of the document itself.
DOCUMENT: Mapping[str, tuple[Any, ...]] = {
    "hostname": (),
    "dns-resolver.config": (),
    "route-rules.config": (),
    "ovs-db": (),
    "ovn": (),
}


def unsupported(
    node: Node,
    *,
    interface: Mapping[str, tuple[Any, ...]] = INTERFACE,
    document: Mapping[str, tuple[Any, ...]] = DOCUMENT,
) -> list[Error]:
    """Return an error for each property of a document that asks for what is not supported yet."""
    if not isinstance(node.value, dict):
        return []
    found = list(_asked(node, (), document))
    first = {_steps(name)[0] for name in interface}
    interfaces = node.value.get("interfaces")
    for at, data in enumerate(interfaces if isinstance(interfaces, list) else ()):
        if not isinstance(data, dict) or data.get("state") in {"absent", "ignore"}:
            continue
        if not data.keys().isdisjoint(first):
            found += _asked(node, ("interfaces", at), interface)
    return found


def _steps(name: str) -> list[str]:
    return name.split(".") if name != "802.1x" else [name]


def _asked(node: Node, path: tuple[Step, ...], table: Mapping[str, tuple[Any, ...]]) -> Iterator[Error]:
    start = node.at(*path).value
    for name, harmless in table.items():
        steps = _steps(name)
        value = start
        for step in steps:
            value = value.get(step) if isinstance(value, dict) else None
        if value in NOTHING or value in harmless:
            continue
        error = node.error(f"{name} is not supported yet", *path, *steps, key=True)
        error.kind = ErrorKind.UNSUPPORTED
        yield error
