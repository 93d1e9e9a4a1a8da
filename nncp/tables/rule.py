"""Rules that choose a routing table: what `ip rule` shows (net/core/fib_rules.c).

Keys are ("rule", "ipv4" | "ipv6", priority, words), the words being all that a rule compares and does, as
`ip rule` has them: no two rules are alike in them (rule_exists). So a rule comes or goes, and is never
changed. The kernel's own are no rows, nor are those that compare what no document has a word for: they stay.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from itertools import chain
from typing import TYPE_CHECKING, Any

from nncp import wire
from nncp.document.meant import Wildcards
from nncp.document.rule import FIRST_PRIORITY, MAIN_PRIORITY, compared, family_of, next_priorities
from nncp.host import Host, Row
from nncp.tables.rtmsg import (
    FAMILIES,
    MAIN_TABLE,
    RT_TABLE_COMPAT,
    RTPROT_BOOT,
    RTPROT_KERNEL,
    RTPROT_STATIC,
)
from nncp.tables.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from nncp.document.state import RouteRule
    from nncp.host import Key, Op
    from nncp.tables.table import Dumps, Indexes

# struct fib_rule_hdr: family, to's and from's prefix lengths, tos, table, two unused, action, flags
HEAD = struct.Struct("=BBBBBxxBI")
(
    FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK,
    FRA_PAD, FRA_PROTOCOL,
) = (1, 2, 3, 6, 10, 14, 15, 16, 18, 21)  # fmt: skip
SAID = frozenset({
    FRA_DST, FRA_SRC, FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK, FRA_SUPPRESS_PREFIXLEN, FRA_TABLE, FRA_FWMASK,
    FRA_PAD, FRA_PROTOCOL,
})  # fmt: skip
"""What a document has a word for, and who made the rule."""
FR_ACT_TO_TBL = 1
ACTIONS = {FR_ACT_TO_TBL: "", 6: "blackhole", 7: "unreachable", 8: "prohibit"}
NUMBERS = {word: number for number, word in ACTIONS.items()}
DETACHED = 0x18
"""FIB_RULE_IIF_DETACHED, FIB_RULE_OIF_DETACHED: the link that it names is not there now."""
NONE = 0xFFFFFFFF
"""No suppression; every bit of a mark."""
RTPROT_UNSPEC = 0
CONFIG_PROTOCOLS = frozenset({RTPROT_UNSPEC, RTPROT_BOOT, RTPROT_STATIC})
OWN = frozenset({(0, 255), (32766, MAIN_TABLE), (32767, 253)})
"""Priority and table of those that a kernel makes that does not say so (fib_default_rules_init)."""


def _read(dumps: Dumps) -> Iterator[Row]:
    for word, family in FAMILIES.items():
        before: dict[str, list[Row]] = {}
        for data in dumps.dump(wire.RTM_GETRULE, HEAD.pack(family, 0, 0, 0, 0, 0, 0)):
            if HEAD.unpack_from(data)[0] != family:
                continue  # a kernel without IPv6 answers with all
            row, is_sayable = _rule(word, data)
            others = before.setdefault(row.key[2], [])
            behind = tuple(other.key for other in others if _is_hit(other.attrs, row.attrs))
            others.append(row)
            if not is_sayable:
                yield row
            elif not _is_own(row):
                yield Row(row.key, {**row.attrs, "behind": behind}) if behind else row


def _is_hit(other: Mapping[str, Any], attrs: Mapping[str, Any]) -> bool:
    """Whether the kernel takes a rule for the one that a request of these attributes means.

    What the request does not name is anything (net/core/fib_rules.c, rule_find), and the first is meant.
    """
    named = {name: value for name, value in attrs.items() if (value != NONE if name == "suppress" else value)}
    return other["action"] == attrs["action"] and all(other[name] == value for name, value in named.items())


def _is_own(row: Row) -> bool:
    """Whether the kernel has made a rule by itself."""
    protocol, place = row.attrs["protocol"], (int(row.key[2]), row.attrs["table"])
    return protocol == RTPROT_KERNEL or (protocol == RTPROT_UNSPEC and place in OWN)


def _rule(word: str, data: bytes) -> tuple[Row, bool]:
    """Return a rule as far as a document has words for it, and whether it has for all of it."""
    family, to_size, from_size, tos, table, action, flags = HEAD.unpack_from(data)
    given = wire.table(data, HEAD.size)
    is_sayable = not tos and not flags & ~DETACHED and action in ACTIONS and not given.keys() - SAID
    priority, table = _number(given, FRA_PRIORITY, 0), _number(given, FRA_TABLE, table)
    attrs = {
        "from": _network(family, given.get(FRA_SRC), from_size),
        "to": _network(family, given.get(FRA_DST), to_size),
        "iif": given.get(FRA_IIFNAME, b"").rstrip(b"\0").decode(errors="surrogateescape"),
        "mark": _number(given, FRA_FWMARK, 0),
        "mask": _number(given, FRA_FWMASK, 0),
        "table": table if action == FR_ACT_TO_TBL else 0,
        "action": ACTIONS.get(action, str(action)),
        "suppress": _number(given, FRA_SUPPRESS_PREFIXLEN, NONE),
        "protocol": given.get(FRA_PROTOCOL, b"\0")[0],
    }
    key = _key(word, priority, attrs)
    if not is_sayable:
        key = (UNSAID.name, *key[1:3], f"{key[3]}, and what no document can say")
    return Row(key, attrs), is_sayable


def _number(given: Mapping[int, bytes], number: int, default: int) -> int:
    return int(struct.unpack("=I", given[number])[0]) if number in given else default


def _network(family: int, data: bytes | None, size: int) -> str:
    return f"{wire.address(family, data)}/{size}" if data is not None else ""


def _key(family: str, priority: int, attrs: Mapping[str, Any]) -> Key:
    return ("rule", family, str(priority), words(attrs))


def words(attrs: Mapping[str, Any]) -> str:
    """Return what a rule compares and does, as `ip rule` words it."""
    said = [f"from {attrs['from'] or 'all'}"]
    said += [f"to {attrs['to']}"] if attrs["to"] else []
    if attrs["mark"] or attrs["mask"]:
        mask = "" if attrs["mask"] == NONE else f"/{attrs['mask']:#x}"
        said.append(f"fwmark {attrs['mark']:#x}{mask}")
    said += [f"iif {attrs['iif']}"] if attrs["iif"] else []
    said.append(attrs["action"] or f"lookup {attrs['table']}")
    said += [f"suppress_prefixlength {attrs['suppress']}"] if attrs["suppress"] != NONE else []
    return " ".join(said)


def _write(op: Op, indexes: Indexes) -> Iterator[bytearray]:  # noqa: ARG001  (a Table's shape)
    attrs = op.old if op.verb == "remove" else op.attrs
    family, table = FAMILIES[op.key[1]], attrs["table"]
    sizes = [int(attrs[word].partition("/")[2] or 0) for word in ("to", "from")]
    small = table if table < 256 else RT_TABLE_COMPAT
    body = HEAD.pack(family, *sizes, 0, small, NUMBERS[attrs["action"]], 0)
    for number, word in ((FRA_DST, "to"), (FRA_SRC, "from")):
        if attrs[word]:
            body += wire.attr(number, socket.inet_pton(family, attrs[word].partition("/")[0]))
    body += _numbered(FRA_PRIORITY, int(op.key[2]))
    body += _numbered(FRA_TABLE, table) if table else b""
    if attrs["mark"] or attrs["mask"]:
        body += _numbered(FRA_FWMARK, attrs["mark"]) + _numbered(FRA_FWMASK, attrs["mask"])
    if attrs["iif"]:
        body += wire.attr(FRA_IIFNAME, attrs["iif"].encode(errors="surrogateescape") + b"\0")
    if attrs["suppress"] != NONE:
        body += _numbered(FRA_SUPPRESS_PREFIXLEN, attrs["suppress"])
    body += wire.attr(FRA_PROTOCOL, bytes([attrs.get("protocol", RTPROT_STATIC)]))
    if op.verb == "remove":
        yield wire.message(wire.RTM_DELRULE, wire.NLM_F_ACK, body)
    else:
        flags = wire.NLM_F_ACK | wire.NLM_F_CREATE | wire.NLM_F_EXCL
        yield wire.message(wire.RTM_NEWRULE, flags, body)


def _numbered(number: int, value: int) -> bytes:
    return wire.attr(number, struct.pack("=I", value))


def _asks(
    entries: Sequence[RouteRule], host: Host, fault: Callable[[int, str, str], None]
) -> Iterator[tuple[Row, int]]:
    """Yield what the entries of `route-rules.config` ask for, each with its index.

    One that names no priority is content with any rule that has its words: the document's own, or the host's.
    """
    have = _Stands(host)
    new = [(index, entry) for index, entry in enumerate(entries) if entry.state != "absent"]
    wanted: dict[Key, tuple[Row, int]] = {}
    by_words: dict[tuple[str, str], Key] = {}
    free = next_priorities(chain(have.priorities(), (_priority(entry) or 0 for entry in entries)))
    for index, entry in sorted(new, key=lambda one: _priority(one[1]) is None):
        family, attrs, priority = _family(entry), _attrs(entry), _priority(entry)
        alike = (family, words(attrs))
        if priority is not None:
            key = have.named(priority, alike) or _key(family, priority, attrs)
        elif found := by_words.get(alike) or have.first(alike):
            key = found
        elif (number := next(free, None)) is not None:
            key = _key(family, number, attrs)
        else:
            message = f"no priority is left between {FIRST_PRIORITY} and {MAIN_PRIORITY}, the main table's"
            fault(index, message, "name one")
            continue
        by_words.setdefault(alike, key)
        stands = host.rows[key].attrs if key in host else attrs
        wanted.setdefault(key, (Row(key, {name: stands[name] for name in attrs}), index))
    taken = list(_taken_away(entries, host, wanted))
    own = wanted.keys() | {row.key for row, _ in taken}
    for row, index in wanted.values():
        if row.key not in host and (front := have.front(row, own)):
            message = f"whoever took this rule away would take the one that stands before it: {front}"
            fault(index, message, "name another priority")
        else:
            yield row, index
    yield from taken


class _Stands:
    """The rules of a host by what a document can say of them: networks have no host bits there."""

    def __init__(self, host: Host) -> None:
        self._by_words: dict[tuple[str, str], dict[int, Key]] = {}
        self._at: dict[tuple[str, ...], list[Row]] = {}
        for row in (*host.table(UNSAID.name), *host.table("rule")):
            self._at.setdefault(row.key[1:3], []).append(row)
        for row in host.table("rule"):
            alike = (row.key[1], words({**row.attrs, **_networks(row.attrs)}))
            self._by_words.setdefault(alike, {}).setdefault(int(row.key[2]), row.key)

    def front(self, new: Row, own: Collection[Key]) -> str:
        """Return a rule that the kernel would take for a new one, "" if none but those of the document."""
        asked = {**new.attrs, "protocol": RTPROT_STATIC}
        rows = (row for row in self._at.get(new.key[1:3], ()) if row.key not in own)
        hit = (row for row in rows if _is_hit({"protocol": RTPROT_STATIC, **row.attrs}, asked))
        return next((row.key[3] for row in hit), "")

    def priorities(self) -> Iterator[int]:
        """Yield the priorities in use."""
        return chain.from_iterable(self._by_words.values())

    def named(self, priority: int, alike: tuple[str, str]) -> Key | None:
        """Return the rule of a priority that has a family and words."""
        return self._by_words.get(alike, {}).get(priority)

    def first(self, alike: tuple[str, str]) -> Key | None:
        """Return the first rule that has a family and words, whatever its priority."""
        found = self._by_words.get(alike)
        return found[min(found)] if found else None


def _taken_away(
    entries: Sequence[RouteRule], host: Host, wanted: Mapping[Key, Any]
) -> Iterator[tuple[Row, int]]:
    """Yield the rules that absent entries mean and nothing asks for, each with the first that does."""
    absent = [(index, _said_of(entry)) for index, entry in enumerate(entries) if entry.state == "absent"]
    means = Wildcards([said for _, said in absent])
    for row in host.table("rule") if absent else ():
        if row.key in wanted or row.attrs.get("protocol", RTPROT_STATIC) not in CONFIG_PROTOCOLS:
            continue
        if (number := means.first(_full(row))) is not None:
            yield Row(row.key, alone(row.attrs), absent=True), absent[number][0]


def _priority(entry: RouteRule) -> int | None:
    """Return the priority that an entry names, None for one that leaves it to us."""
    return entry.priority if isinstance(entry.priority, int) and entry.priority >= 0 else None


def _family(entry: RouteRule) -> str:
    return str(entry.family or family_of(str(entry.ip_from or ""), str(entry.ip_to or "")))


def _networks(attrs: Mapping[str, Any]) -> dict[str, str]:
    """Return a rule's networks as a document has them: `ip rule` gives and keeps such with host bits."""
    found = ((word, attrs[word]) for word in ("from", "to"))
    return {
        word: str(ipaddress.ip_network(network, strict=False)) if network else "" for word, network in found
    }


def _attrs(entry: RouteRule) -> dict[str, Any]:
    action = str(entry.action) if entry.action else ""
    mark = int(entry.fwmark or 0)
    return {
        "from": compared(str(entry.ip_from or "")),
        "to": compared(str(entry.ip_to or "")),
        "iif": str(entry.iif or ""),
        "mark": mark,
        "mask": int(entry.fwmask) if isinstance(entry.fwmask, int) else NONE if mark else 0,
        "table": 0 if action else int(entry.route_table or MAIN_TABLE),
        "action": action,
        "suppress": int(entry.suppress_prefix_length)
        if isinstance(entry.suppress_prefix_length, int)
        else NONE,
    }


def _said_of(entry: RouteRule) -> dict[str, Any]:
    """Return all that an absent entry says of a rule; "" says that it compares no such network."""
    networks = {
        word: compared(value)
        for word, value in (("ip-from", entry.ip_from), ("ip-to", entry.ip_to))
        if isinstance(value, str)
    }
    said = {
        "family": entry.family or (_family(entry) if any((entry.ip_from, entry.ip_to)) else None),
        "priority": _priority(entry),
        "route-table": None if entry.action else entry.route_table or None,
        "action": entry.action,
        "iif": entry.iif,
        "suppress-prefix-length": entry.suppress_prefix_length,
        "fwmark": entry.fwmark,
        "fwmask": entry.fwmask,
    }
    return networks | {word: value for word, value in said.items() if isinstance(value, str | int)}


def _full(row: Row) -> dict[str, Any]:
    """Return all that an absent entry can say of a rule."""
    nothing = dict.fromkeys(
        ("ip-from", "ip-to", "iif", "action", "route-table", "suppress-prefix-length"), ""
    )
    return {**nothing, **_entry(row), "fwmark": row.attrs["mark"], "fwmask": row.attrs["mask"]}


def _entry(row: Row) -> dict[str, Any]:
    """Return a rule as a document has it."""
    attrs = {**row.attrs, **_networks(row.attrs)}
    entry: dict[str, Any] = {"family": row.key[1], "priority": int(row.key[2])}
    entry |= {word: attrs[name] for word, name in (("ip-from", "from"), ("ip-to", "to")) if attrs[name]}
    entry |= {word: attrs[word] for word in ("iif", "action") if attrs[word]}
    if attrs["table"]:
        entry["route-table"] = attrs["table"]
    if attrs["mark"] or attrs["mask"]:
        entry |= {"fwmark": f"{attrs['mark']:#x}", "fwmask": f"{attrs['mask']:#x}"}
    if attrs["suppress"] != NONE:
        entry["suppress-prefix-length"] = attrs["suppress"]
    return entry


def _show(host: Host, names: set[str]) -> Mapping[str, Any]:
    """Return the rules of an administrator; they are no interface's."""
    if names:
        return {}
    rules = (
        row for row in host.table("rule") if row.attrs.get("protocol", RTPROT_STATIC) in CONFIG_PROTOCOLS
    )
    found = sorted(rules, key=lambda row: (row.key[1], int(row.key[2]), row.key[3]))
    return {"route-rules": {"config": [_entry(row) for row in found]}} if found else {}


def alone(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule without what stands before it, which is no part of it."""
    return {name: value for name, value in attrs.items() if name != "behind"}


def _said(key: Key) -> str:
    return f"{key[1]} rule {key[2]}: {key[3]}"


UNSAID = Table(name="unsaid rule", about=False, what=lambda key, _: _said(key))
"""Rules that compare what no document has a word for: others', and only looked at."""

RULE = Table(
    name="rule",
    read=_read,
    write=_write,
    section="route-rules",
    asks=_asks,
    about=False,
    sentence=lambda op: f"{'create' if op.verb == 'create' else 'remove'} {_said(op.key)}",
    what=lambda key, _: _said(key),
    plural="rules",
    recorded=lambda key, rows, _: alone(rows[key]),
    behind=lambda attrs: map(tuple, attrs.get("behind", ())),
    show=_show,
)
