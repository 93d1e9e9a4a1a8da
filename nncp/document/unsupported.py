"""What the schema has a word for and the kernel backend no answer yet: refused by name, never dropped.

A property whose value asks for nothing (`dhcp: false`, an empty list) is no reason to refuse a document,
since `show` of other tools prints it. Whoever implements a property takes its line out of the table.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import UNSET, Struct

from nncp.errors import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nncp.document.part import Part
    from nncp.document.source import Step
    from nncp.errors import Error

_Refused: TypeAlias = tuple[tuple[str, ...], str, tuple[Any, ...]]
"""The keys of a property, why it is refused, and what may be said all the same."""
NOTHING: tuple[Any, ...] = (UNSET, None, False, "", (), [], {})

NO_CLIENT = "it needs a client, and nncp starts none"
NO_FILES = "it is kept in files, and nncp writes none"
NO_ETHTOOL = "it is asked of the driver by ethtool, which nncp does not speak"
NO_PROGRAM = "it needs a program of its own, and nncp starts none"
NOT_YET = "nncp reads and writes no such rows yet"

# Of an interface: why it is refused, and what may be said all the same, besides NOTHING.
INTERFACE: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "identifier": ("interfaces are found by their names", ("name",)),
    "accept-all-mac-addresses": (NOT_YET, ()),
    "wait-ip": (NO_CLIENT, ("any",)),
    "alt-names": (NOT_YET, ()),
    "ethernet.sr-iov": (NO_ETHTOOL, ()),
    "lldp.enabled": (NO_PROGRAM, ()),
    "802.1x": (NO_PROGRAM, ()),
    "mptcp": (NOT_YET, ({"address-flags": []},)),
    "dispatch": (NO_PROGRAM, ()),
    "ovs-db": (NO_PROGRAM, ()),
    "ipv4.dhcp": (NO_CLIENT, ()),
    "ipv4.forwarding": (NOT_YET, ()),
    "ipv4.prefix-route-metric": (NOT_YET, ()),
    "ipv6.dhcp": (NO_CLIENT, ()),
    "ipv6.autoconf": (NOT_YET, ()),
    "ipv6.forwarding": (NOT_YET, ()),
    "ipv6.prefix-route-metric": (NOT_YET, ()),
    "ipv6.token": (NOT_YET, ("::",)),
    "link-aggregation.options.balance_slb": ("it is no option of the kernel's bonds", ()),
}

# Of the document itself.
DOCUMENT: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "hostname": (NO_FILES, ()),
    "dns-resolver.config": (NO_FILES, ()),
    "ovs-db": (NO_PROGRAM, ()),
    "ovn": (NO_PROGRAM, ()),
}


def unsupported(
    part: Part,
    *,
    interface: Mapping[str, tuple[str, tuple[Any, ...]]] = INTERFACE,
    document: Mapping[str, tuple[str, tuple[Any, ...]]] = DOCUMENT,
) -> Iterator[Error]:
    """Yield an error for each property of a document that asks for what is not supported yet."""
    yield from _asked(part, part.state, (), _by_first_key(document))
    refused = _by_first_key(interface)
    for at, one in part.interfaces.items():
        if one.state not in {"absent", "ignore"}:
            yield from _asked(part, one, ("interfaces", at), refused)


def steps_of(name: str) -> tuple[str, ...]:
    """Return the keys that lead to a property of the tables."""
    return tuple(name.split(".")) if name != "802.1x" else (name,)


def _by_first_key(table: Mapping[str, tuple[str, tuple[Any, ...]]]) -> Mapping[str, list[_Refused]]:
    found: dict[str, list[_Refused]] = {}
    for name, (why, harmless) in table.items():
        steps = steps_of(name)
        found.setdefault(steps[0], []).append((steps, why, (*NOTHING, *harmless)))
    return found


def _asked(
    part: Part, start: Struct, path: tuple[Step, ...], refused: Mapping[str, list[_Refused]]
) -> Iterator[Error]:
    words = _words(type(start))
    for first, below in refused.items():
        if getattr(start, words.get(first, ""), UNSET) is UNSET:
            continue  # as nearly all are, of nearly all interfaces
        for steps, why, harmless in below:
            value = _below(start, steps)
            if any(value == other and type(value) is type(other) for other in harmless):
                continue
            written = part.written(*path, *steps)[len(path) :]
            message = f"{'.'.join(str(step) for step in written)} is not supported yet"
            error = part.error(message, *path, *steps, key=True, hint=why)
            error.kind = ErrorKind.UNSUPPORTED
            yield error


def _below(value: Any, steps: Iterable[str]) -> Any:
    """Return what is below a Struct, by the names in a document."""
    for step in steps:
        if not isinstance(value, Struct):
            return UNSET
        value = getattr(value, _words(type(value)).get(step, ""), UNSET)
    return value


@cache
def _words(struct: type[Struct]) -> Mapping[str, str]:
    """Return the names of its fields by those in a document."""
    return dict(zip(struct.__struct_encode_fields__, struct.__struct_fields__, strict=True))
