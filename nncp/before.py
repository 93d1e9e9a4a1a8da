"""What a plan is about to touch, as it is: the part of a host that a rollback leads back to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.difference import groups
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Op, Row
from nncp.kinds.kind import Tie
from nncp.needs import closure
from nncp.plan import plan
from nncp.tables.table import references

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.host import Key
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Rows


def before(now: Host, ops: Iterable[Op], kinds: Kinds) -> list[Row]:
    """Return the touched rows as they are, and the rows that `ops` will make as absent."""
    ops = list(ops)
    state = {row.key: row.attrs for row in now}
    names = {name for op in ops for name in _names(op, state, kinds)}
    links: list[Key] = [("link", name) for name in names]
    touched = closure(links, state, kinds) | {op.key for op in ops if op.key in state}
    touched.update(*(keys for keys in groups(state, kinds).values() if not touched.isdisjoint(keys)))
    touched -= {key for key in touched if kinds.tables[key[0]].fleeting(key, state[key])} - {
        op.key for op in ops
    }
    former = {op.key: op.old["name"] for op in ops if op.verb == "rename"}
    by_name: dict[str, list[Op]] = {}
    for op in ops:
        by_name.setdefault(op.key[1], []).append(op)
    found = {key: kinds.tables[key[0]].recorded(key, state, by_name) for key in state if key in touched}
    kept = [_as_it_was(key, attrs, former, kinds) for key, attrs in found.items()]
    made = {op.key for op in ops} - state.keys()
    down = {("up", key[1]) for key in touched if key[0] == "link"} - state.keys()
    return kept + [Row(key, absent=True) for key in sorted(made | down)]


def _names(op: Op, state: Rows, kinds: Kinds) -> Iterator[str]:
    """Yield the links whose rows an operation can move: its own, its controller's, its peer's."""
    table, name = kinds.tables[op.key[0]], op.key[1]
    yield from table.links(op.key, op.attrs)
    if not table.about:
        return
    yield name
    if op.verb == "rename":
        yield op.old["name"]
    found: list[tuple[Key, Mapping[str, Any]]] = [
        (op.key, {"type": op.type, **attrs}) for attrs in (op.attrs, op.old)
    ]
    if ("port", name) in state:
        found.append((("port", name), state["port", name]))
    for key, attrs in found:
        yield from (
            other for attr, other in references(key, attrs, kinds) if key[0] == "port" or attr.tie is Tie.PAIR
        )


def _as_it_was(key: Key, attrs: Mapping[str, Any], former: dict[Key, str], kinds: Kinds) -> Row:
    new = next((new for new, old in former.items() if ("link", old) == key), None)
    table = kinds.attrs(key[0], attrs.get("type", ""))
    lasting = {name: value for name, value in attrs.items() if name not in table or not table[name].volatile}
    return Row(key, lasting, was=new[1] if new else "")


def see_the_way_back(now: Host, ops: Sequence[Op], rows: Sequence[Row], kinds: Kinds) -> None:
    """See that a plan leads back from what `ops` make of `now` to `rows`.

    What is only made has a plain way back, its deletion, and costs no second plan.

    Raises:
        Error: it does not, so nothing may be written.

    """
    if all(op.verb == "create" and op.key not in now for op in ops) or any(op.verb == "rename" for op in ops):
        return
    try:
        plan(_then(now, ops), rows, kinds, undoing=True)
    except Error as error:
        raise Error(
            f"it could not be undone: {error.message}",
            kind=ErrorKind.UNSUPPORTED,
            subject=error.subject,
            hint=error.hint,
        ) from error


def _then(now: Host, ops: Iterable[Op]) -> Host:
    """Return the rows that `ops` leave, as far as the plan itself tells."""
    state = {row.key: row.attrs for row in now}
    for op in ops:
        if op.verb == "remove":
            del state[op.key]
        else:
            # What is made is new, also where its controller took the former one along.
            state[op.key] = {**(state[op.key] if op.verb == "change" else {}), **op.attrs}
    return Host(Row(key, attrs) for key, attrs in state.items())
