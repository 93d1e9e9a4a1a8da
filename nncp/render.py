"""How errors and plans look to a person. Words only; colours are the command line's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.errors import Error
    from nncp.host import Key, Op

ONCE = frozenset({"type", "index", "controller", "tx-queues", "rx-queues", "peer-index", "scope", "protocol"})
"""Attributes that a line of a plan says otherwise, or that nobody asked for."""


TOLD = frozenset({"link", "address", "route"})
"""Tables whose rows are told also when they go by themselves with something else."""


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
        if error.where.text:
            text = "".join(sign if sign.isprintable() else " " for sign in error.where.text)
            lines += [
                f"   | {text}",
                f"   | {' ' * (error.where.column - 1)}{'^' * max(1, error.where.width)}",
            ]
    elif error.path or error.subject:
        lines.append(f"  --> {path}{about}".replace("-->   (", "--> ("))
    if error.hint:
        lines.append(f"  hint: {_printed(error.hint)}")
    return "\n".join(lines)


def _printed(text: str) -> str:
    """Return text of which only line ends are no print: a program's last words may have several."""
    return "\n".join(printable(line.expandtabs()) for line in text.splitlines())


def render_plan(ops: Sequence[Op]) -> list[str]:
    """Return a plan as lines: what is added, changed, removed and interrupted, and a summary."""
    if not ops:
        return ["No changes."]
    again = _made_again(ops)
    lines = list(_lines(ops, again))
    return [*lines, _summary(lines, _flapping(ops, again), _restored(ops))]


def _made_again(ops: Sequence[Op]) -> set[Key]:
    removed = {op.key for op in ops if op.verb == "remove" and op.key[0] in {"link", "up"}}
    return {op.key for op in ops if op.verb == "create" and op.key in removed}


def _lines(ops: Sequence[Op], again: set[Key]) -> Iterator[str]:
    for op in ops:
        line = _line(op, again)
        if line:
            yield line


def _line(op: Op, again: set[Key]) -> str:
    name = op.key[1] if op.key[0] not in {"sysctl", "route"} else ""
    if op.back or (op.key in again and op.verb == "remove"):
        return ""
    if op.implied and op.key[0] not in TOLD:
        return ""
    if op.key in again and op.key[0] == "up":
        return f"! {name:<15} goes down and comes up again"
    if op.key in again:
        return f"! {name:<15} is deleted and made again: {_what(op.key, op.attrs)}"
    mark = {"create": "+", "change": "~", "remove": "-", "rename": "~"}[op.verb]
    if op.key[0] == "sysctl":
        return f"~ {_sysctl(op)}"
    if op.verb == "change":
        return f"~ {name:<15} {_changed(op)}"
    if op.verb == "rename":
        return f"~ {name:<15} renamed from {op.old['name']}"
    if op.verb == "remove" and op.key[0] == "link":
        return f"- {name:<15} {op.type}"
    if op.verb == "remove" and op.key[0] == "port":
        return f"- {name:<15} port of {op.old['controller']}"
    attrs = op.old if op.verb == "remove" else op.attrs
    return f"{mark} {name:<15} {_what(op.key, attrs)}" if name else f"{mark} {_what(op.key, attrs)}"


def _sysctl(op: Op) -> str:
    path, value, old = op.key[1], op.attrs["value"], op.old.get("value")
    name = path.split("/")[-2]
    if path.endswith("/disable_ipv6"):
        return f"{name:<15} IPv6 {'off' if value == '1' else 'on'}"
    return f"{path.replace('/', '.')}: {'' if old is None else f'{old} → '}{value}"


def _changed(op: Op) -> str:
    if "vids" in op.attrs:
        return f"VLANs: {_vids(op.old.get('vids', ()))} → {_vids(op.attrs['vids'])}"
    if op.key[0] == "route":
        return f"route {op.key[3]}: {_hops(op.old)} → {_hops(op.attrs)}"
    return ", ".join(
        f"{name}: {_value(op.old.get(name))} → {_value(value)}" for name, value in op.attrs.items()
    )


def _what(key: Key, attrs: Mapping[str, Any]) -> str:
    table = key[0]
    if table == "up":
        return "up"
    if table == "port":
        return f"port of {attrs.get('controller')}{_in_brackets(attrs)}"
    if table == "vlans":
        return f"VLANs {_vids(attrs.get('vids', ()))}"
    if table == "address":
        return f"address {key[2]}"
    if table == "route":
        return f"route {key[3]} {_hops(attrs)}"
    return f"{attrs.get('type', '')}{_in_brackets(attrs)}"


def _in_brackets(attrs: Mapping[str, Any]) -> str:
    said = [
        f"{name}: {_value(value)}"
        for name, value in attrs.items()
        if name not in ONCE and value not in {None, ""}
    ]
    return f" ({', '.join(said)})" if said else ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == "" else str(value)


def _vids(vids: Iterable[tuple[int, int, str]]) -> str:
    said = [
        f"{first if first == last else f'{first}-{last}'}{f' ({word})' if word else ''}"
        for first, last, word in vids
    ]
    return ", ".join(said) or "none"


def _hops(attrs: Mapping[str, Any]) -> str:
    hops = attrs.get("nexthops", ())
    if not hops:
        return str(attrs.get("type", ""))
    return " and ".join(f"{f'via {via} ' if via else ''}dev {name}" for name, via, _, _ in hops)


def _flapping(ops: Sequence[Op], again: set[Key]) -> list[str]:
    detached = {op.key for op in ops if op.verb == "remove" and op.key[0] == "port"}
    names = {key[1] for key in again}
    return sorted(names | {op.key[1] for op in ops if op.key in detached and op.back})


def _restored(ops: Sequence[Op]) -> list[str]:
    words = {"address": "addresses", "route": "routes"}
    found = {key: sum(op.back and op.verb == "create" and op.key[0] == key for op in ops) for key in words}
    return [f"{count} {words[key] if count > 1 else key}" for key, count in found.items() if count]


def _summary(lines: Sequence[str], flapping: Sequence[str], restored: Sequence[str]) -> str:
    count = {mark: sum(line.startswith(mark) for line in lines) for mark in "+~-!"}
    text = f"Plan: {count['+']} to add, {count['~']} to change, {count['-']} to remove"
    if flapping:
        text += f"; {', '.join(flapping)} will flap"
    if restored:
        text += f"; {' and '.join(restored)} lost on the way come back"
    return f"{text}."
