"""How errors and plans look to a person. Words only; colours are the command line's."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nncp.errors import Error, Place
    from nncp.host import Key, Op
    from nncp.tables.kinds import Kinds
    from nncp.tables.table import Table

WIDEST = 100
"""Characters of a line of the user's that an error shows."""

MARKS = {"create": "+", "change": "~", "remove": "-", "rename": "~"}


def printable(text: str) -> str:
    """Return text as a terminal may have it: what would move its cursor or change its colour is escaped."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def render_error(error: Error) -> str:
    """Return an error as its sentence, its place with the text in question underlined, and its hint."""
    lines = [f"error: {_printed(error.message)}"]
    about = f"  ({printable(error.subject)})" if error.subject else ""
    path = printable(error.path)
    if error.where:
        lines.append(f"  --> {printable(str(error.where))}  {path}{about}".rstrip())
        lines += [f"   | {line}" for line in _underlined(error.where) if error.where.text]
    elif error.path or error.subject:
        lines.append(f"  --> {path}{about}".replace("-->   (", "--> ("))
    if error.hint:
        lines.append(f"  hint: {_printed(error.hint)}")
    return "\n".join(lines)


def _underlined(place: Place) -> list[str]:
    """Return the text in question and what underlines it: of a long line the part around it.

    A document on one line, as JSON often is, would bury what is said about it.
    """
    text = "".join(sign if sign.isprintable() else " " for sign in place.text)
    start = max(0, place.column - 1 - WIDEST // 2) if len(text) > WIDEST else 0
    shown = text[start : start + WIDEST]
    before, after = "…" if start else "", "…" if start + WIDEST < len(text) else ""
    margin = len(before) + place.column - 1 - start
    marks = max(1, min(place.width, WIDEST - (place.column - 1 - start)))
    return [f"{before}{shown}{after}", f"{' ' * margin}{'^' * marks}"]


def _printed(text: str) -> str:
    """Return text of which only line ends are no print: a program's last words may have several."""
    return "\n".join(printable(line.expandtabs()) for line in text.splitlines())


def render_plan(ops: Sequence[Op], kinds: Kinds) -> list[str]:
    """Return a plan as lines: what is added, changed, removed and interrupted, and a summary."""
    if not ops:
        return ["No changes."]
    again = _made_again(ops)
    gone = {op.key[1] for op in ops if op.verb == "remove" and op.key[0] == "link"}
    lines = [
        line
        for op in ops
        if not (op.implied and op.key[0] == "up" and op.key[1] in gone)
        if (line := _line(op, again, kinds.tables[op.key[0]]))
    ]
    return [*lines, *_taken(ops, kinds), _summary(lines, _flapping(ops, again), _restored(ops, kinds))]


def flapping(ops: Sequence[Op]) -> list[str]:
    """Return the links whose traffic a plan interrupts."""
    return _flapping(ops, _made_again(ops))


def _made_again(ops: Sequence[Op]) -> set[Key]:
    removed = {op.key for op in ops if op.verb == "remove" and op.key[0] in {"link", "up"}}
    return {op.key for op in ops if op.verb == "create" and op.key in removed}


def _line(op: Op, again: set[Key], table: Table) -> str:
    if op.back or (op.key in again and op.verb == "remove"):
        return ""
    if op.implied and (not table.told or table.counted(op.old)):
        return ""
    if op.key in again and op.key[0] == "up":
        return f"! {op.key[1]:<15} goes down and comes up again"
    if op.key in again and op.verb == "create":
        return f"! {op.key[1]:<15} is deleted and made again: {table.what(op.key, op.attrs)}"
    mark = table.marks.get(op.verb, MARKS[op.verb])
    return f"{mark} {f'{op.key[1]:<15} ' if table.about else ''}{_text(op, table)}"


def _taken(ops: Sequence[Op], kinds: Kinds) -> list[str]:
    """Return a line for each link and each other owner of rows that go with it, or lose a part with it."""
    touched = {op.key[1] for op in ops if not op.implied}
    touched |= {
        link for op in ops if not op.implied for link in kinds.tables[op.key[0]].links(op.key, op.old)
    }
    count: Counter[tuple[str, str, str, str]] = Counter()
    for op in ops:
        table = kinds.tables[op.key[0]]
        if op.implied and (whose := table.counted(op.old)):
            links = list(table.links(op.key, op.old)) or [""]
            link = next((name for name in links if name in touched), links[0])
            count[link, op.key[0], table.partly(op.old), whose] += 1
    words = {key: kinds.tables[key[1]].plural if number > 1 else key[1] for key, number in count.items()}
    return [
        f"  {link:<15} takes {part}{number} {words[link, name, part, whose]} of {whose} with it"
        for (link, name, part, whose), number in count.items()
    ]


def _text(op: Op, table: Table) -> str:
    if op.verb == "rename":
        return f"renamed from {op.old['name']}"
    if op.verb == "change":
        return table.changed(op)
    if op.verb == "remove" and op.key[0] == "link":
        return op.type
    if op.verb == "remove" and op.key[0] == "port":
        return f"port of {op.old['controller']}"
    return table.what(op.key, op.old if op.verb == "remove" else op.attrs)


def _flapping(ops: Sequence[Op], again: set[Key]) -> list[str]:
    detached = {op.key for op in ops if op.verb == "remove" and op.key[0] == "port"}
    names = {key[1] for key in again}
    return sorted(names | {op.key[1] for op in ops if op.key in detached and op.back})


def _restored(ops: Sequence[Op], kinds: Kinds) -> list[str]:
    back = Counter(op.key[0] for op in ops if op.back and op.verb == "create")
    return [
        f"{back[name]} {table.plural if back[name] > 1 else name}"
        for name, table in kinds.tables.items()
        if table.plural and back[name]
    ]


def _summary(lines: Sequence[str], flapping: Sequence[str], restored: Sequence[str]) -> str:
    count = {mark: sum(line.startswith(mark) for line in lines) for mark in "+~-!"}
    text = f"Plan: {count['+']} to add, {count['~']} to change, {count['-']} to remove"
    if flapping:
        text += f"; {', '.join(flapping)} will flap"
    if restored:
        text += f"; {' and '.join(restored)} lost on the way come back"
    return f"{text}."
