"""What documents asked of a host before and nothing asks of it now: what `--prune` takes away.

Nothing goes but what a document has made: a route or rule that differs in one property is another's, and so
is a link of which no document said what it is. What stays all the same is told in notes.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from nncp.desk import Note
from nncp.document.lax import given
from nncp.document.rule import FIRST_PRIORITY, MAIN_PRIORITY
from nncp.document.state import SAME_TYPE, asked_texts
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.needs import Dependents, closure
from nncp.routes import route_rows
from nncp.tables.route import CONFIG_PROTOCOLS, is_narrowed, words
from nncp.tables.rtmsg import RT_SCOPE_LINK, RT_SCOPE_UNIVERSE, RTPROT_STATIC
from nncp.tables.rule import RULE, alone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.document.state import Interface, Route, RouteRule
    from nncp.document.together import Partly
    from nncp.host import Key
    from nncp.tables.rtmsg import Hop

K = TypeVar("K")
V = TypeVar("V")
Alike: TypeAlias = "tuple[Key, str]"
"""What entries have in common that are one route: family, table, destination and metric; and its type."""
NOWHERE: tuple[str, ...] = ()
"""The hop of a route that has none."""
SAID_OF_A_ROUTE = frozenset({"type", "protocol", "scope", "nexthops", "source", "cwnd"})


class Pruning:
    """What goes of a host.

    Args:
        former: the documents whose former wishes end.
        kept: all that are in force from now on.
        host: the rows as they are.
        made: the links that the former documents have made.

    """

    def __init__(
        self, former: Sequence[Partly], kept: Sequence[Partly], host: Host, made: Iterable[str]
    ) -> None:
        self.made = set(made)
        self.former = former
        self.kept = kept
        self.host = host
        self.notes: list[Note] = []

    def interfaces(self) -> list[dict[str, Any]]:
        """Return the entries that take links away: a card cannot be absent, it loses its configuration."""
        named = asked_texts([msgspec.to_builtins(_whole(part)) for part in self.kept])
        gone: dict[str, str] = {}
        for name, types in _said(self.former).items():
            have = self.host.get("link", name)
            if name in named or have is None:
                continue
            word = _type_to_go(types, have)
            if word and KINDS.by_type[word].virtual and name not in self.made:
                self._keep(("link", name), name, "it was there before a document asked for it")
            elif word:
                gone[name] = word
            else:
                is_other = f"it is of type {have.attrs['type']} by now"
                self._keep(("link", name), name, is_other if types - {""} else "no document said its type")
        self._spare(gone, named)
        return [{"name": name, "type": word, "state": "absent"} for name, word in gone.items()]

    def _spare(self, gone: dict[str, str], named: set[str]) -> None:
        """Leave out of `gone` the links with which others would go."""
        rows = {row.key: row.attrs for row in self.host}
        deleted = [name for name in gone if KINDS.by_type[gone[name]].virtual]
        above = Dependents.of(rows, KINDS)
        taken = {name: _links_of(closure([("link", name)], rows, KINDS, above)) - {name} for name in deleted}
        for name in deleted:
            taken[name] -= {str(self.host.attr("link", name, name="peer"))} - named
        while others := {name: found - gone.keys() for name, found in taken.items() if name in gone}:
            spared = {name: found for name, found in others.items() if found}
            for name, found in spared.items():
                del gone[name]
                self._keep(("link", name), name, f"{', '.join(sorted(found))} would go with it")
            if not spared:
                return

    def rows(self, wanted: Mapping[Key, Row]) -> Iterator[Row]:
        """Yield the routes and rules that go; `wanted` is what is asked for."""
        yield from self._routes(wanted)
        yield from self._rules()

    def _routes(self, wanted: Mapping[Key, Row]) -> Iterator[Row]:
        former, kept = list(_wishes(self.former)), list(_wishes(self.kept))
        stay = {(one.alike, one.hop) for one in kept}
        said = _grouped((one.alike, one) for one in (*former, *kept))
        stand = _grouped((row.key[:5], row) for row in self.host.table("route"))
        ends = _grouped((one.alike, one.hop) for one in former if (one.alike, one.hop) not in stay)
        for alike, hops in ends.items():
            rows = [row for row in stand.get(alike[0], ()) if not is_narrowed(row.key)]
            left = set(hops)
            for row in (row for row in rows if _alike(row) == alike):
                mine = {hop for hop in _hops(row) & set(hops) if _is_made(row, hop, said[alike])}
                less = _less(row, mine, wanted.get(row.key)) if mine else None
                if less is None or not _hits_another(less, row, rows):
                    left -= mine
                    yield from [less] if less else ()
            for row in (row for row in rows if _alike(row) == alike):
                if _hops(row) & left and row.attrs.get("protocol", RTPROT_STATIC) in CONFIG_PROTOCOLS:
                    what = f"route {row.key[3]} {words(row.key, row.attrs)}"
                    self._keep(row.key, what, "it is not as a document made it, or others are beside it")

    def _rules(self) -> Iterator[Row]:
        asked = [entry for part in self.kept for entry in _entries(part)]
        stay = {row.key for row, _ in RULE.asks(asked, self.host, _ignore)}
        free = {
            row.key: row
            for row in self.host.table("rule")
            if row.key not in stay and row.attrs.get("protocol", RTPROT_STATIC) == RTPROT_STATIC
        }
        former = [entry for part in self.former for entry in _entries(part)]
        told = [entry for entry in former if _has_priority(entry)]
        gone = {row.key for row, _ in RULE.asks(told, self.host, _ignore) if row.key in free}
        # One that was given none got one of these.
        given_one = {
            key: row
            for key, row in free.items()
            if key not in gone and FIRST_PRIORITY <= int(key[2]) < MAIN_PRIORITY
        }
        rest = [entry for entry in former if not _has_priority(entry)]
        mine = [row.key for row, _ in RULE.asks(rest, Host(given_one.values()), _ignore)]
        count, alike = (Counter(key[1::2] for key in keys) for keys in (mine, given_one))
        for key in mine:
            if key in given_one and alike[key[1::2]] <= count[key[1::2]]:
                gone.add(key)
            elif key in given_one:
                self._keep(
                    key, f"{key[1]} rule {key[2]}: {key[3]}", "others are alike, and one is not its own"
                )
        yield from (Row(key, alone(free[key].attrs), absent=True) for key in sorted(gone))

    def _keep(self, key: Key, what: str, why: str) -> None:
        self.notes.append(Note("keep", key, f"keeps {what}, though nothing asks for it now: {why}"))


def _whole(part: Partly) -> list[Any]:
    return [part.state, *part.interfaces.values()]


def _said(parts: Iterable[Partly]) -> dict[str, set[str]]:
    """Return by name the types of the interfaces that documents asked for, "" where one said none."""
    found: dict[str, set[str]] = {}
    for one in (one for part in parts for one in part.interfaces.values()):
        if one.scope == "link" and one.state not in {"absent", "ignore", "unknown"}:
            found.setdefault(one.name, set()).add(_type(one))
    return found


def _type(interface: Interface) -> str:
    word = given(interface.type)
    if word in SAME_TYPE and given(interface.part("veth")):
        return "veth"
    return "" if word in {None, "unknown"} else str(word)


def _type_to_go(said: set[str], have: Row) -> str:
    """Return the type by which a link goes, or "" where it stays."""
    word = str(have.attrs["type"])
    kind = KINDS.by_type.get(word)
    if kind is None or kind.shown_as:
        return ""
    if not kind.virtual:
        return word if said & {word, "", *(SAME_TYPE if word in SAME_TYPE else ())} else ""
    if word == "veth" and said & SAME_TYPE and ("veth" not in said or have.attrs.get("elsewhere")):
        return "ethernet"
    return word if word in said else ""


def _links_of(keys: Iterable[Key]) -> set[str]:
    return {key[1] for key in keys if key[0] == "link"}


class _Wish(Struct, frozen=True):
    """What one entry makes of a route."""

    alike: Alike
    hop: tuple[str, ...]
    weight: int
    source: str
    cwnd: int


def _wishes(parts: Iterable[Partly]) -> Iterator[_Wish]:
    for route in (route for part in parts for route in _routes_of(part)):
        for row, _ in route_rows([route], Host(), {}, KINDS, lambda _: True, _ignore):
            hops = row.attrs["nexthops"] or (NOWHERE,)
            weight = int(route.weight) if isinstance(route.weight, int) else 1
            source, cwnd = row.attrs.get("source", ""), row.attrs.get("cwnd", 0)
            yield _Wish(_alike(row), hops[0][:2], weight, source, cwnd)


def _ignore(*_: Any) -> None:
    """Take what is wrong with an entry: it is told elsewhere."""


def _routes_of(part: Partly) -> list[Route]:
    section = given(part.state.routes)
    return [one for one in (given(section.config) if section else None) or () if one.state != "absent"]


def _entries(part: Partly) -> list[RouteRule]:
    section = given(part.state.route_rules)
    return [one for one in (given(section.config) if section else None) or () if one.state != "absent"]


def _has_priority(entry: RouteRule) -> bool:
    return isinstance(entry.priority, int) and entry.priority >= 0


def _grouped(pairs: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    found: dict[K, list[V]] = {}
    for key, value in pairs:
        found.setdefault(key, []).append(value)
    return found


def _alike(row: Row) -> Alike:
    return row.key[:5], row.attrs.get("type", "unicast")


def _hops(row: Row) -> set[tuple[str, ...]]:
    return {hop[:2] for hop in row.attrs.get("nexthops", ())} or {NOWHERE}


def _is_made(row: Row, hop: tuple[str, ...], wishes: Sequence[_Wish]) -> bool:
    """Whether a hop of a route is, with all that the route has besides, what entries made."""
    attrs = row.attrs
    hops: Sequence[Hop] = attrs.get("nexthops", ())
    said = [one.weight for one in wishes if one.hop == hop] if len(hops) > 1 else [1]
    return (
        attrs.get("protocol", RTPROT_STATIC) == RTPROT_STATIC
        and not any(value for name, value in attrs.items() if name not in SAID_OF_A_ROUTE)
        and (attrs.get("source") or "") in {one.source for one in wishes}
        and (attrs.get("cwnd") or 0) in {one.cwnd for one in wishes}
        and all(one[2] in said and not any(one[3:]) for one in hops if one[:2] == hop)
    )


def _hits_another(less: Row, row: Row, rows: Sequence[Row]) -> bool:
    """Whether the kernel would do to another of `rows` what it is told to do to one of them.

    It deletes the first that has what the request names (fib_table_delete), which is no source where there is
    none; what it replaces is the first of all (fib_table_insert).
    """
    if not less.absent:
        return len(rows) > 1
    words = ("type", "protocol", "nexthops", *(("source",) if row.attrs.get("source") else ()))
    return any(
        all(one.attrs.get(word) == row.attrs.get(word) for word in words) for one in rows[: rows.index(row)]
    )


def _less(row: Row, gone: set[tuple[str, ...]], wanted: Row | None) -> Row | None:
    """Return a route as it is wanted without some of its hops; None where something else is wanted of it."""
    if wanted and (wanted.absent or wanted.attrs.get("type", row.attrs["type"]) != row.attrs["type"]):
        return None
    attrs = wanted.attrs if wanted else {}
    hops = [hop for hop in attrs.get("nexthops", row.attrs["nexthops"]) if hop[:2] not in gone]
    if not hops:
        return Row(row.key, row.attrs, absent=True)  # and none that gets its key once it has gone
    if len(hops) == 1:
        hops = [(*hops[0][:2], 1, *hops[0][3:])]
    is_near = row.key[1] == "ipv4" and not any(hop[1] for hop in hops)
    scope = RT_SCOPE_LINK if is_near else RT_SCOPE_UNIVERSE
    return Row(row.key, {**attrs, "nexthops": tuple(hops), "scope": scope})
