"""The planner: from the rows that are and the rows that are wanted to the writes between them.

Used four times: what will change, whether it did, how to undo it, and what has drifted. So there is one
comparison in the code base (`difference`), and one order (`nncp.needs`).
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp.difference import TELLING, difference, groups, matched
from nncp.errors import Error, raise_all
from nncp.host import Cost, Host, Key, Op, Row
from nncp.kinds.kind import Attr, Tie
from nncp.kinds.link import SENT_BACK
from nncp.needs import closure, companions, lives_on, needs, up_before, upheld
from nncp.remake import irreplaceable, unreachable
from nncp.renaming import renamed
from nncp.tables.kinds import Kinds
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nncp.tables.table import Rows

AS_READ = tuple(attr.name for attr in SENT_BACK)


class _Book(Struct, frozen=True):
    """What one planning run looks things up in."""

    now: dict[Key, Mapping[str, Any]]
    want: dict[Key, Row]
    kinds: Kinds
    shared: dict[Key, list[Key]]
    alike: dict[Key, list[Key]]


def plan(now: Host, want: Iterable[Row], kinds: Kinds, *, undoing: bool = False) -> list[Op]:
    """Return the writes that lead from `now` to a host that holds `want`, in an order that works.

    Rows of `now` that `want` does not mention stay, or come back when a write takes them away.

    Args:
        now: the rows as they are.
        want: the rows that are wanted, and those that must not be.
        kinds: the interface types and tables.
        undoing: whether this is a way back, which also takes away what could not be made again.

    Raises:
        Error: a write would take away something that could not be made again, even to undo the plan.

    """
    wanted = {row.key: row for row in want}
    renaming = renamed(now, wanted.values(), kinds)
    rows = matched(renaming.rows, wanted, kinds)
    for key in wanted.keys() & rows.keys():
        if amid := kinds.tables[key[0]].amid:
            rows[key] = amid(key, rows, wanted)
    book = _Book(rows, wanted, kinds, upheld({**rows, **wanted}, kinds), groups(rows, kinds))
    roots = _with_followers([*_roots(book), *renaming.taken], book)
    gone = closure(roots, book.now, kinds)
    if not undoing:
        raise_all(irreplaceable(gone, roots, book.now, wanted, kinds))
    raise_all(unreachable(gone, book.now, kinds))
    target = _target(book, gone)
    removals = _removals(book, gone, target, renaming.taken, set(roots))
    return [*renaming.ops, *removals, *_writes(book, gone, target), *_going_with_changes(book, gone)]


def _roots(book: _Book) -> Iterator[Key]:
    """Yield what must go: what is wanted absent, and what stands in the way of a change."""
    for key, row in book.want.items():
        have = book.now.get(key)
        if have is None:
            if key[0] == "port" and not row.absent:
                yield from _down_for_port(row, book)
        elif row.absent:
            if not difference(have, row):
                yield key
        elif key[0] == "link":
            yield from _in_the_way(row, have, book)
        elif _is_replaced(row, have, book.kinds):
            yield key
        elif key[0] == "port" and _is_another(row, have, book):
            yield key
            yield from _down_for_port(row, book)


def _going_with_changes(book: _Book, gone: set[Key]) -> Iterator[Op]:
    """Yield what the kernel takes with a change, and nobody asked to go: routes with IPv6 that is off."""
    for key, row in book.want.items():
        takes, have = book.kinds.tables[key[0]].takes, book.now.get(key)
        if takes and have is not None and not row.absent and difference(have, row):
            for other in takes(key, row.attrs, book.now):
                if other not in gone and other not in book.want:
                    yield Op("remove", other, old=book.now[other], implied=True)


def _with_followers(roots: list[Key], book: _Book) -> list[Key]:
    """Return `roots` and the rows that are wanted right behind one of them, in the order of the wish."""
    found = dict.fromkeys(roots)
    for key, row in book.want.items():
        lead = book.kinds.tables[key[0]].follows(row)
        if lead in found and not book.want[lead].absent:
            found[key] = None
    return list(found)


def _is_replaced(row: Row, have: Mapping[str, Any], kinds: Kinds) -> bool:
    table = kinds.tables[row.key[0]]
    return table.replaced and not difference(have, row).keys() <= table.live


def _down_for_port(row: Row, book: _Book) -> Iterator[Key]:
    kind = book.kinds.by_type.get(_controller_type(row.attrs, book))
    if kind and kind.port_cost >= Cost.DOWN:
        yield ("up", row.name)


def _controller_type(attrs: Mapping[str, Any], book: _Book) -> str:
    key = ("link", attrs["controller"])
    wanted = book.want.get(key)
    found = wanted.attrs.get("type") if wanted else None
    return str(found or book.now.get(key, {}).get("type", ""))


def _in_the_way(row: Row, have: Mapping[str, Any], book: _Book) -> Iterator[Key]:
    cost = _cost(row, have, book.kinds)
    if cost >= Cost.NEW:
        yield row.key
    elif cost >= Cost.DOWN:
        yield ("up", row.name)
    if cost == Cost.EMPTY:
        yield from (
            key for key, attrs in book.now.items() if key[0] == "port" and attrs["controller"] == row.name
        )


def _cost(row: Row, have: Mapping[str, Any], kinds: Kinds) -> Cost:
    if row.attrs.get("type", have["type"]) != have["type"]:
        return Cost.NEW
    table = kinds.attrs("link", have["type"])
    cost = Cost.LIVE
    for name, value in difference(have, row).items():
        attr = table.get(name)
        if attr is None:
            continue
        if attr.create:
            cost = max(cost, Cost.NEW if name in have else Cost.LIVE)
        else:
            cost = max(cost, attr.cost_of(have.get(name), value))
    return cost


def _target(book: _Book, gone: set[Key]) -> dict[Key, Mapping[str, Any]]:
    """Return the rows of the host that the plan leads to: what stays, what is wanted, what comes back."""
    target = {
        key: _merged(book.now.get(key, {}), row, book) for key, row in book.want.items() if not row.absent
    }
    for key, attrs in book.now.items():
        row = book.want.get(key)
        if row is None or (row.absent and difference(attrs, row)):
            target[key] = attrs
    _forget_lost(target, book, gone)
    return target


def _merged(have: Mapping[str, Any], row: Row, book: _Book) -> Mapping[str, Any]:
    if row.key[0] == "link" and row.attrs.get("type", have.get("type")) != have.get("type"):
        return row.attrs
    if row.key[0] == "port" and have and _is_another(row, have, book):
        return row.attrs  # what a port was to another controller says nothing here
    return {**have, **row.attrs}


def _is_another(port: Row, have: Mapping[str, Any], book: _Book) -> bool:
    """Whether a port gets another controller, or its own becomes one of another type."""
    kind = _controller_type(port.attrs, book)
    return bool(port.attrs["controller"] != have["controller"] or have.get("type") != kind)


def _forget_lost(target: dict[Key, Mapping[str, Any]], book: _Book, gone: set[Key]) -> None:
    """Take out of `target` what loses for good something that it needs."""
    for key in [key for key in gone if key not in book.want]:
        if book.kinds.tables[key[0]].own(key, target[key]):
            del target[key]
    unmentioned = [key for key in target if key in gone and key not in book.want]
    while lost := _without_needs([key for key in unmentioned if key in target], target, book):
        for key in lost:
            del target[key]


def _without_needs(keys: list[Key], target: Rows, book: _Book) -> set[Key]:
    return {key for key in keys if not _stands(key, target, book)} or _fallen(keys, target, book)


def _fallen(keys: Iterable[Key], target: Rows, book: _Book) -> set[Key]:
    by_table: dict[str, list[Key]] = {}
    for key in keys:
        by_table.setdefault(key[0], []).append(key)
    found = (book.kinds.tables[name].fallen(rows, target, book.kinds) for name, rows in by_table.items())
    return set().union(*found)


def _stands(key: Key, target: Rows, book: _Book) -> bool:
    """Whether everything that `key` needs will be there: what it needed until now, but for what is moot."""
    attrs = target[key]
    if pair := _pair(key, attrs, book.kinds):
        other = target.get((key[0], pair))
        return other is not None and _pair((key[0], pair), other, book.kinds) == key[1]
    if key[0] == "vlans" and (port := book.now.get(("port", key[1]))):
        # Membership of another controller, or of none, has VLANs of its own.
        return bool(target.get(("port", key[1]), {}).get("controller") == port["controller"])
    if key[0] == "port" and _controller_type(attrs, book) != attrs["type"]:
        return False  # a controller of another type has ports of its own, or none
    return all(need in target for need in needs(key, target, book.kinds)) and all(
        any(row in target for row in book.shared[need])
        for need in lives_on(key, target, book.kinds)
        if need in book.shared
    )


def _pair(key: Key, attrs: Mapping[str, Any], kinds: Kinds) -> str:
    """Return the link that comes and goes with this one as its equal, or ""."""
    return next((name for attr, name in references(key, attrs, kinds) if attr.tie is Tie.PAIR), "")


def _removals(
    book: _Book, gone: set[Key], target: Rows, already: frozenset[Key], roots: set[Key]
) -> Iterator[Op]:
    """Yield the removals of what does not go by itself with something else that goes, leaves first."""
    lost = gone | {
        shared
        for shared, keys in book.shared.items()
        if (held := [key for key in keys if key in book.now]) and gone.issuperset(held)
    }
    taken = {
        key
        for key in gone
        if key in already
        or any(
            need in gone for need in needs(key, book.now, book.kinds) if not _spares(need, key, roots, book)
        )
        or any(need in lost for need in lives_on(key, book.now, book.kinds))
        or any(other in gone and other < key for other in companions(key, book.now, book.kinds))
    }
    for key in sorted(gone, key=lambda key: (-book.kinds.rank[key[0]], _turn_to_go(key, book), key)):
        attrs = book.now[key]
        row = book.want.get(key)
        kind = _type(key, attrs, book.now)
        back = key in target and (row is None or row.absent)
        if key not in taken:
            yield Op("remove", key, old=attrs, type=kind, back=back)
        elif key not in target and not book.kinds.tables[key[0]].own(key, attrs):
            yield Op("remove", key, old=attrs, type=kind, implied=True)


def _spares(need: Key, key: Key, roots: set[Key], book: _Book) -> bool:
    """Whether the kernel may spare a row that is to go when `need` goes."""
    return key in roots and need[0] == key[0] and book.kinds.tables[key[0]].spared


def _turn_to_go(key: Key, book: _Book) -> int:
    """Return how late a row goes: after what stands in front, or what needs it, where it may be spared."""
    table = book.kinds.tables[key[0]]
    below = table.spared and not any(need[0] == key[0] for need in needs(key, book.now, book.kinds))
    return below + len(tuple(table.behind(book.now[key])))


def _type(key: Key, attrs: Mapping[str, Any], state: Rows) -> str:
    """Return the type that an operation on this row goes by: for VLANs, a bridge or a port."""
    if key[0] == "vlans":
        return "port" if ("port", key[1]) in state else "linux-bridge"
    return str(attrs.get("type", ""))


def _writes(book: _Book, gone: set[Key], target: Rows) -> Iterator[Op]:
    """Yield creations and changes, each after everything that it needs."""
    made: set[Key] = set()
    touched = _touched(book, gone, target)
    held = _holders(book, gone) if touched else {}
    for key in _ordered(touched, target, book):
        yield from _made_free(key, held, book, target)
        exists = key in book.now and key not in gone
        row = Row(key, target[key])
        if exists:
            yield from _changes(row, book.now[key], book, target)
        elif key in made:
            yield from _changes(row, {}, book, target)
        else:
            yield from _creation(row, target, book, asked=key in book.want)
            made.update(companions(key, target, book.kinds))


def _holders(book: _Book, gone: set[Key]) -> dict[tuple[str, str, Any], Key]:
    """Return which port has what no two ports of a controller may have alike."""
    return {
        (attrs["controller"], attr.name, attrs.get(attr.name)): key
        for key, attrs in book.now.items()
        if key not in gone
        for attr in _unique(key, attrs, book)
    }


def _made_free(key: Key, held: dict[tuple[str, str, Any], Key], book: _Book, target: Rows) -> Iterator[Op]:
    """Yield the change by which another port gives up, for a moment, what this one is to get."""
    for attr in _unique(key, target[key], book):
        controller, value = target[key]["controller"], target[key].get(attr.name)
        holder = held.get((controller, attr.name, value), key)
        if holder != key and value != attr.shared and target[holder].get(attr.name) != value:
            attrs = book.now[holder]
            yield Op("change", holder, {attr.name: attr.shared}, {attr.name: value}, type=attrs["type"])
            book.now[holder] = {**attrs, attr.name: attr.shared}
        former = (controller, attr.name, book.now.get(key, {}).get(attr.name))
        if held.get(former) == key:
            del held[former]


def _unique(key: Key, attrs: Mapping[str, Any], book: _Book) -> Iterator[Attr]:
    """Yield the attributes that no two ports of a controller may have alike."""
    if key[0] == "port":
        table = book.kinds.attrs("port", _controller_type(attrs, book))
        yield from (attr for attr in table.values() if attr.shared is not None)


def _touched(book: _Book, gone: set[Key], target: Rows) -> list[Key]:
    found = []
    for key in target:
        row = book.want.get(key)
        if key in gone or (row and (key not in book.now or difference(book.now[key], row))):
            found.append(key)
    return found


def _ordered(keys: list[Key], target: Rows, book: _Book) -> Iterator[Key]:
    """Sort `keys` over `needs`; among equals, by table and each table's own turn (Kahn's algorithm)."""
    waits_for = _waits(keys, target, book)
    place = {key: _place(key, i, target, book) for i, key in enumerate(keys)}
    waits = {key: len(found) for key, found in waits_for.items()}
    frees: dict[Key, list[Key]] = {}
    for key, found in waits_for.items():
        for need in found:
            frees.setdefault(need, []).append(key)
    ready = [(place[key], key) for key, count in waits.items() if not count]
    heapq.heapify(ready)
    while ready:
        key = heapq.heappop(ready)[1]
        if key in place:
            yield key
        for other in frees.get(key, ()):
            waits[other] -= 1
            if not waits[other]:
                heapq.heappush(ready, (place.get(other, ()), other))
    if circle := [key for key in keys if waits[key]]:
        raise _circle(circle)


def _place(key: Key, number: int, target: Rows, book: _Book) -> tuple[Any, ...]:
    table = book.kinds.tables[key[0]]
    return (book.kinds.rank[key[0]], *table.turn(key, target[key], number))


def _waits(keys: list[Key], target: Rows, book: _Book) -> dict[Key, set[Key]]:
    """Return what is to be written before each of `keys`, and before what some of them uphold together."""
    pending = set(keys)
    ports = _ports_by_controller(keys, target)
    waits: dict[Key, set[Key]] = {}
    for shared, rows in book.shared.items():
        if found := pending.intersection(rows):
            waits[shared] = found
    for key in keys:
        asked = book.want[key].needs if key in book.want else ()
        found = {need for need in (*needs(key, target, book.kinds), *asked) if need in pending}
        found.update(need for need in lives_on(key, target, book.kinds) if need in waits)
        if key[0] == "link":
            # A VLAN takes its MAC address from below when it is made, and a bridge has its from its ports.
            for _, base in references(key, target[key], book.kinds):
                found |= ports.get(base, set())
        if key[0] == "port":
            found.update(
                pending.intersection(up_before(key, _controller_type(target[key], book), target, book.kinds))
            )
        waits[key] = found - {key}
    return waits


def _ports_by_controller(keys: Iterable[Key], target: Rows) -> dict[str, set[Key]]:
    found: dict[str, set[Key]] = {}
    for key in keys:
        if key[0] == "port":
            found.setdefault(target[key]["controller"], set()).add(key)
    return found


def _circle(keys: list[Key]) -> Error:
    names = [key[1] for key in keys if key[0] == "link"]
    message = f"these interfaces rest on each other in a circle: {' -> '.join([*names, names[0]])}"
    return Error(message, subject=names[0], hint="give one of them another base-iface or controller")


def _creation(row: Row, target: Rows, book: _Book, *, asked: bool) -> Iterator[Op]:
    attrs = {name: value for name, value in row.attrs.items() if value is not None and name not in TELLING}
    kind = _type(row.key, attrs, target)
    if row.key[0] == "port":
        kind = attrs["type"] = target[("link", attrs["controller"])]["type"]
    table = book.kinds.attrs(row.key[0], kind)
    wish = book.want.get(row.key)
    asked_for = wish.attrs if wish else {}
    attrs = {
        name: value
        for name, value in _known_in_mode(attrs, table, _mode(row, target)).items()
        if name not in table or _is_made_with(table[name], attrs, asked=name in asked_for)
    }
    pair = target.get((row.key[0], _pair(row.key, attrs, book.kinds)))
    if pair and "index" in pair:
        attrs["peer-index"] = pair["index"]
    if kept := {name: pair[name] for name in AS_READ if name in pair} if pair else {}:
        attrs["peer-kept"] = kept
    guards = {attr.without for name, attr in table.items() if name in attrs and attr.without in attrs}
    first = {name: value for name, value in attrs.items() if name not in guards}
    stem = book.kinds.tables[row.key[0]].stem(row.key)
    if stem and any(other != row.key for other in book.alike.get(stem, ())):
        first["beside"] = True
    old = book.now.get(row.key, {}) if book.kinds.tables[row.key[0]].whole else _given(row, target)
    yield Op("create", row.key, first, type=kind, back=not asked, old=old)
    if guards:
        yield Op("change", row.key, {name: attrs[name] for name in sorted(guards)}, type=kind, back=not asked)


def _is_made_with(attr: Attr, attrs: Mapping[str, Any], *, asked: bool) -> bool:
    """Whether a new row is given an attribute: neither what moves by itself, nor a 0 that is refused."""
    return (asked or not attr.volatile) and bool(attrs[attr.name] or not attr.under or attrs.get(attr.under))


def _given(row: Row, target: Rows) -> dict[str, Any]:
    """Return what the kernel gives a new row by itself: a bridge and its ports start in the default VLAN."""
    if row.key[0] != "vlans":
        return {}
    port = target.get(("port", row.name))
    bridge = target["link", port["controller"] if port else row.name]
    pvid = bridge.get("vlan-default-pvid", 1)
    return {"vids": ((pvid, pvid, "pvid untagged"),) if pvid else ()}


def _while_known(row: Row, have: Mapping[str, Any], table: Mapping[str, Attr]) -> Iterator[Op]:
    """Yield the change of what the mode that is left knows and the new one does not."""
    mode, old = row.attrs.get("mode"), have.get("mode")
    wanted = {
        name: value
        for name, value in difference(have, row).items()
        if name in table and table[name].only and old in table[name].only and mode not in table[name].only
    }
    if wanted:
        yield Op("change", row.key, wanted, {name: have.get(name) for name in wanted}, type=have["type"])


def _mode(row: Row, target: Rows) -> str | None:
    """Return the mode that decides which options there are: the link's own, or a port's controller's."""
    if row.key[0] == "port":
        return target.get(("link", row.attrs["controller"]), {}).get("mode")
    return row.attrs.get("mode")


def _known_in_mode(attrs: dict[str, Any], table: Mapping[str, Attr], mode: str | None) -> dict[str, Any]:
    return {
        name: value
        for name, value in attrs.items()
        if name not in table or not table[name].only or mode in table[name].only
    }


def _changes(row: Row, have: Mapping[str, Any], book: _Book, target: Rows) -> Iterator[Op]:
    """Yield the change of one row, with the switch thrown off around attributes that want it off."""
    wanted = difference(have, row)
    kind = _type(row.key, {**row.attrs, **have}, target)
    table = book.kinds.attrs(row.key[0], kind)
    wanted = {
        name: value
        for name, value in _known_in_mode(wanted, table, _mode(row, target)).items()
        if not (name in table and table[name].create)
    }
    switch = next((table[name].without for name in wanted if name in table and table[name].without), "")
    on = row.attrs.get(switch)
    yield from _while_known(row, have, table)
    if switch and have.get(switch):
        yield Op("change", row.key, {switch: False}, {switch: True}, type=kind)
    wanted = {name: value for name, value in wanted.items() if name != switch}
    if wanted and book.kinds.tables[row.key[0]].whole:
        yield Op("change", row.key, row.attrs, have)
    elif wanted:
        yield Op("change", row.key, wanted, {name: have.get(name) for name in wanted}, type=kind)
    if switch and on:
        yield Op("change", row.key, {switch: True}, {switch: False}, type=kind)
