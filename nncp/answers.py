"""What the commands answer, as text: YAML, JSON or a table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from textwrap import indent, wrap
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, to_builtins

from nncp.known import KINDS
from nncp.render import WIDEST, printable, render_plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nncp.desk import Note
    from nncp.engine import Undone
    from nncp.explain import Explanation
    from nncp.host import Op
    from nncp.journal import Record
    from nncp.restore import Restored
    from nncp.work import Changes


HEAD = ("name", "type", "state")
TOLD = 8
"""So many names are told to a person."""
BETWEEN = "---\n"
"""What parts two documents of a stream."""


def yaml(documents: Iterable[Any]) -> str:
    """Return documents in their one form."""
    from nncp.document.emit import dump  # noqa: PLC0415  (its expressions take a while to compile)

    return BETWEEN.join(dump(document) for document in documents)


def state(shown: dict[str, Any], output: str) -> str:
    """Return what `show` answers."""
    if output == "json":
        return _json(shown)
    return yaml([shown]) if output == "yaml" else _table(shown)


def changes(found: Changes, output: str) -> str:
    """Return what `plan` and `apply` answer."""
    if output != "table":
        told = [*(_op(op) for op in found.ops), *(_note(note) for note in found.notes)]
        return _json(told) if output == "json" else yaml([told])
    lines = render_plan(found.ops, KINDS)
    return "\n".join([*lines[:-1], *(f"  {printable(note.text)}" for note in found.notes), lines[-1]]) + "\n"


def parts(part: dict[str, Any]) -> str:
    """Return a part of a state for a person: a line for each interface and list, with what is said of it."""
    lines = [
        " ".join(
            (
                one["name"],
                one.get("type", ""),
                one.get("state", "up"),
                *(key for key in one if key not in HEAD),
            )
        )
        for one in part.get("interfaces", ())
    ]
    for section in (key for key in part if key != "interfaces"):
        count = len(part[section].get("config", ())) if isinstance(part[section], dict) else 1
        lines.append(f"{section} {count}")
    return "".join(f"{line}\n" for line in lines) or "No changes.\n"


def captured(took: Sequence[tuple[str, Mapping[str, Any]]], output: str) -> str:
    """Return what captures took, in the form of nmpolicy's: each state under its capture's name.

    That of several policies is a list, each of its entries with a policy's name.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    told = [
        {
            "policy": policy,
            "captures": {
                name: {"state": state, "metaInfo": {"time": time, "version": "0"}}
                for name, state in states.items()
            },
        }
        for policy, states in took
    ]
    whole: Any = told if len(told) > 1 else told[0]["captures"] if told else {}
    return _json(whole) if output == "json" else yaml([whole])


def explanation(found: Explanation, output: str) -> str:
    """Return what `explain` answers; what is not known is left out."""
    if output != "table":
        told = to_builtins(found)
        return _json(told) if output == "json" else yaml([told])
    facts = {name: text for name, text in _facts(found) if text}
    parts = [f"{found.path}\n{_columns({'': found.meaning})}".lstrip("\n")]
    parts += [_columns(facts), f"keys:\n{_columns(found.keys, margin=2)}" if found.keys else ""]
    parts.append(f"example:\n{indent(yaml([found.example]), '  ')}" if found.example else "")
    return "\n".join(filter(None, parts))


def _facts(found: Explanation) -> Iterator[tuple[str, str]]:
    """Yield what is known of a property, each with its name; "" where it is not."""
    bounds = (("from", found.minimum), ("to", found.maximum))
    told = " ".join(f"{word} {bound}" for word, bound in bounds if bound is not UNSET)
    yield "type", ", ".join(filter(None, (found.type, told)))
    yield "values", ", ".join(_spelled(word, others) for word, others in found.values.items())
    yield "default", "" if found.default is UNSET else yaml([found.default]).strip()
    only = f"only in mode {' or '.join(found.modes)}" if found.modes else ""
    yield "change", "; ".join(filter(None, (found.change, only)))
    yield "note", found.note


def _spelled(word: str, others: Sequence[Any]) -> str:
    return f"{word} ({', '.join(yaml([one]).strip() for one in others)})" if others else word


def _columns(told: Mapping[str, str], *, margin: int = 0) -> str:
    """Return names and texts side by side, the texts folded."""
    width = max(map(len, told), default=0) + 2
    lines = [
        f"{'':{margin}}{'' if at else name:{width}}{line}".rstrip()
        for name, text in told.items()
        for at, line in enumerate(wrap(text, WIDEST - margin - width) or [""])
    ]
    return "".join(f"{line}\n" for line in lines)


def undone(found: Undone, output: str) -> str:
    """Return what `rollback` answers: what was written, and which bridges keep a MAC address of their own."""
    if output == "json":
        ops = [_op(op) for op in found.ops]
        return _json({"id": found.number, "documents": list(found.documents), "ops": ops})
    if found.was_tried:
        return f"What was being tried is undone{_named(found.documents)}.\n"
    if found.number is None and not found.ops:
        return "There is nothing to undo.\n"
    kept = [f"  {name} keeps its MAC address: the apply has pinned it" for name in found.pinned]
    lines = render_plan(found.ops, KINDS)
    number = f"Apply {found.number}{_named(found.documents)} is undone.\n" if found.documents else ""
    return "\n".join([*lines[:-1], *kept, lines[-1]]) + f"\n{number}"


def committed(record: Record, output: str) -> str:
    """Return what `commit` answers: what is kept."""
    if output == "json":
        return _json(_apply(record))
    return f"Apply {record.number}{_named(record.documents)} is kept.\n"


def history(kept: Sequence[Record], tried: Record | None, output: str) -> str:
    """Return the applies that can be undone, and the one that is not kept yet."""
    if output == "json":
        waits = [{**_apply(tried), "tried": True}] if tried else []
        return _json([*waits, *({**_apply(record), "tried": False} for record in kept)])
    head = ("ID", "APPLIED", "WRITES", "DOCUMENTS")
    names = [printable(", ".join(one.documents)) for one in kept]
    rows = [
        (str(one.number), _when(one.at), str(one.changes), told)
        for one, told in zip(kept, names, strict=True)
    ]
    said = lined([head, *rows]) if kept else ""
    if tried:
        what = f"Apply {tried.number}{_named(tried.documents)}"
        said += f"{what} is being tried: `nncp commit` keeps it, `nncp rollback` undoes it.\n"
    return said or "Nothing that was applied here can be undone.\n"


def _apply(record: Record) -> dict[str, Any]:
    at = _when(record.at)
    documents = list(record.documents)
    return {"id": record.number, "at": at, "writes": record.changes, "documents": documents}


def _when(seconds: float) -> str:
    """Return a time as RFC 3339 has it, or "" for none."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""


def _named(documents: Sequence[str]) -> str:
    return f" ({printable(', '.join(documents))})" if documents else ""


def restored(found: Sequence[Restored], output: str) -> str:
    """Return what `restore` answers: by each apply, what its documents took to be in force again."""
    if output == "json":
        return _json([{"documents": list(one.names), "ops": [_op(op) for op in one.ops]} for one in found])
    lines = [f"{printable(', '.join(one.names))}: {render_plan(one.ops, KINDS)[-1]}" for one in found]
    return "".join(f"{line}\n" for line in lines) or "Nothing was applied here.\n"


def forgotten(record: Record | None, output: str) -> str:
    """Return what `rollback --forget` answers: what is given up with the journal."""
    rows = record.before if record else ()
    names = sorted({row.name for row in rows if row.key[0] == "link"})
    if output == "json":
        return _json({"forgotten": record is not None, "rows": len(rows), "interfaces": names})
    if record is None:
        return "There is nothing to roll back, and nothing was given up.\n"
    more = f" and {len(names) - TOLD} more" if len(names) > TOLD else ""
    about = f": {len(rows)} rows of {', '.join(names[:TOLD])}{more} stay as they are now" if rows else ""
    return f"The way back is given up{about}.\n"


def in_form(value: Any, output: str) -> str:
    """Return data as JSON or YAML."""
    return _json(value) if output == "json" else yaml([value])


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _table(shown: dict[str, Any]) -> str:
    rows = [("NAME", "TYPE", "STATE", "MTU", "CONTROLLER", "ADDRESSES")]
    for interface in shown["interfaces"]:
        found = [
            f"{entry['ip']}/{entry['prefix-length']}"
            for family in ("ipv4", "ipv6")
            for entry in interface.get(family, {}).get("address", ())
        ]
        words = (interface["name"], interface["type"], interface["state"], str(interface["mtu"]))
        rows.append((*words, interface.get("controller", ""), " ".join(found)))
    return lined(rows)


def lined(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as a table."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _note(note: Note) -> dict[str, Any]:
    told: dict[str, Any] = {"verb": note.verb, "table": note.key[0], "key": list(note.key[1:])}
    return told | ({"names": list(note.names)} if note.names else {}) | {"text": note.text}


def _op(op: Op) -> dict[str, Any]:
    told: dict[str, Any] = {"verb": op.verb, "table": op.key[0], "key": list(op.key[1:])}
    if op.attrs:
        told["attrs"] = dict(op.attrs)
    if op.old:
        told["old"] = dict(op.old)
    if op.back:
        told["restores"] = True
    return told
