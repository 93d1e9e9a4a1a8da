"""What the commands do: documents in, text out. The command line only reads options and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from nncp import engine
from nncp.compile import Compiled, Note, compile_state
from nncp.document.emit import dump
from nncp.document.policy import Policy, read_policies
from nncp.document.read import by_place, read_together
from nncp.document.source import load
from nncp.document.unsupported import unsupported
from nncp.errors import Error, ErrorKind, raise_all
from nncp.host import Host
from nncp.journal import STATE_DIR
from nncp.kinds.tap import TAP
from nncp.known import KINDS
from nncp.listed import bereft
from nncp.macs import pinned
from nncp.netlink.carry import Refused
from nncp.render import render_plan
from nncp.show import show_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from nncp.document.together import Partly
    from nncp.host import Op, Row


WRITTEN = {name: kind for name, kind in KINDS.by_type.items() if name != TAP.type}
"""The types that a document may name: a tap is made for a guest, and goes with it."""


def documents(texts: Iterable[tuple[str, str]]) -> list[Policy]:
    """Read files; each may hold several documents.

    Raises:
        Error: with all errors of all files' syntax.

    """
    found: list[Policy] = []
    errors: list[Error] = []
    for file, text in texts:
        try:
            found += read_policies(load(text, file=file))
        except Error as error:
            errors.append(error)
    raise_all(errors)
    return found


class Desired:
    """What documents ask of a host: compiled anew for each look at it."""

    def __init__(self, policies: Sequence[Policy]) -> None:
        self.policies = policies
        self.read: Partly | None = None
        self.compiled = Compiled({}, {}, [])

    def __call__(self, host: Host) -> list[Row]:
        """Return the wanted rows.

        Raises:
            Error: with all that is wrong with the documents, given this host.

        """
        types = {row.name: str(row.attrs["type"]) for row in host.table("link")}
        self.read = found = read_together(self.policies, WRITTEN, types=types)
        self.compiled = compile_state(found.state, found.interfaces, host, KINDS)
        errors = [*found.errors, *(error for part in found.parts for error in unsupported(part))]
        errors += faults(found, self.compiled)
        raise_all(by_place(errors))
        return list(self.compiled.rows.values())

    def notes(self) -> list[Note]:
        """Return what is said beside the plan of the last look at a host."""
        chosen = [policy.name for policy in self.policies if policy.node_selector]
        text = "warning: the nodeSelector of {} is not evaluated: this is the host that is meant"
        notes = [Note("warn", ("policy", name), text.format(name)) for name in chosen]
        return [*notes, *self.compiled.notes]

    def located(self, error: Error) -> Error:
        """Give errors of the kernel or of the planner their places in the documents, where they have one."""
        for other in error.others:
            self.located(other)
        if error.where is not None or self.read is None:
            return error
        keys = [error.op.key] if isinstance(error, Refused) else []
        keys += [("link", error.subject), ("up", error.subject)]
        origins = self.compiled.origins
        if path := next((origins[key] for key in keys if key in origins), None):
            path = _deeper(self.read, path, error)
            placed = self.read.error(error.message, *path, subject=error.subject, hint=error.hint)
            error.where, error.path = placed.where, placed.path
        return error


def faults(found: Partly, compiled: Compiled, *, on_any_host: bool = False) -> Iterator[Error]:
    """Yield what is wrong with documents given a host, but for what their own errors explain."""
    for subject, fault in compiled.faults:
        if on_any_host and fault.of_host:
            continue
        error = found.error(fault.message, *fault.path, subject=subject, hint=fault.hint)
        error.kind = ErrorKind.UNSUPPORTED if fault.unsupported else error.kind
        if not found.tells_of(error):
            yield error


def _deeper(found: Partly, path: tuple[str | int, ...], error: Error) -> tuple[str | int, ...]:
    """Return the path of the one property that a refused operation was about, if it was about one."""
    words = list(error.op.attrs) if isinstance(error, Refused) else []
    interface = found.interfaces.get(int(path[1])) if path[0] == "interfaces" and len(path) == 2 else None
    if len(words) != 1 or interface is None:
        return path
    said, steps = to_builtins(interface), words[0].split(".")
    for way in ((), *((key,) for key in said), *((key, "options") for key in said)):
        value: Any = said
        for step in (*way, *steps):
            value = value.get(step) if isinstance(value, dict) else None
        if value is not None:
            return (*path, *way, *steps)
    return path


def show(names: Sequence[str], output: str) -> str:
    """Return the state of this host, or of some interfaces of it."""
    host = engine.snapshot()
    missing = [name for name in names if ("link", name) not in host]
    raise_all(Error(f"there is no interface {name}", kind=ErrorKind.USAGE, subject=name) for name in missing)
    state = show_state(host, KINDS, names)
    if output == "json":
        return _json(state)
    return dump(state) if output == "yaml" else _table(state)


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _table(state: dict[str, Any]) -> str:
    rows = [("NAME", "TYPE", "STATE", "MTU", "CONTROLLER", "ADDRESSES")]
    for interface in state["interfaces"]:
        found = [
            f"{entry['ip']}/{entry['prefix-length']}"
            for family in ("ipv4", "ipv6")
            for entry in interface.get(family, {}).get("address", ())
        ]
        words = (interface["name"], interface["type"], interface["state"], str(interface["mtu"]))
        rows.append((*words, interface.get("controller", ""), " ".join(found)))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ("  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def plan(
    found: Sequence[Policy], output: str, *, state_dir: Path = STATE_DIR, force: bool = False
) -> tuple[str, bool]:
    """Return what an apply would do, as text, and whether it is anything."""
    desired = Desired(found)
    host = engine.snapshot(state_dir=state_dir)
    want = desired(host)
    host = engine.with_sysctls(host, want)
    try:
        ops = engine.foresee(host, want)
        raise_all([] if force else bereft(host, ops))
    except Error as error:
        raise desired.located(error) from error
    return _told(ops, output, desired.notes()), bool(ops)


def apply(
    found: Sequence[Policy], state_dir: Path, timeout: float | None, output: str, *, force: bool = False
) -> str:
    """Apply documents and return what was done; see `nncp.apply_rows`."""
    desired = Desired(found)
    try:
        ops = engine.apply_compiled(desired, state_dir=state_dir, deadline=timeout, force=force)
    except Error as error:
        raise desired.located(error) from error
    return _told(ops, output, desired.notes() if ops else ())


def rollback(state_dir: Path, output: str) -> str:
    """Undo the last apply and return what was done."""
    ops = engine.rollback(state_dir=state_dir)
    if output == "json":
        return _json([_op(op) for op in ops])
    kept = [f"  {name} keeps its MAC address: it was pinned when its ports changed" for name in pinned(ops)]
    lines = render_plan(ops, KINDS)
    return "\n".join([*lines[:-1], *kept, lines[-1]]) + "\n"


def forget(state_dir: Path, output: str) -> str:
    """Drop the journal and say what is given up with it."""
    record = engine.forget(state_dir=state_dir)
    rows = record.before if record else ()
    names = sorted({row.name for row in rows if row.key[0] == "link"})
    if output == "json":
        return _json({"forgotten": record is not None, "rows": len(rows), "interfaces": names})
    if record is None:
        return "There is nothing to roll back, and nothing was given up.\n"
    about = f": {len(rows)} rows of {', '.join(names)} stay as they are now" if rows else ""
    return f"The way back is given up{about}.\n"


def _told(ops: Sequence[Op], output: str, notes: Sequence[Note] = ()) -> str:
    if output == "json":
        return _json([*(_op(op) for op in ops), *(_note(note) for note in notes)])
    lines = render_plan(ops, KINDS)
    return "\n".join([*lines[:-1], *(f"  {note.text}" for note in notes), lines[-1]]) + "\n"


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


def formatted(texts: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each file's name and its documents in their one form, once all of them are sound.

    Raises:
        Error: with all that is wrong with them, as far as no host is needed to tell.

    """
    files = [(name, load(text, file=name)) for name, text in texts]
    errors: list[Error] = []
    for _, nodes in files:
        try:
            found = read_together(read_policies(nodes), WRITTEN)
        except Error as error:
            errors.append(error)
        else:
            errors += [*found.errors, *(error for part in found.parts for error in unsupported(part))]
            compiled = compile_state(found.state, found.interfaces, Host(), KINDS)
            errors += faults(found, compiled, on_any_host=True)
    raise_all(by_place(errors))
    for name, nodes in files:
        yield name, "---\n".join(dump(node.value) for node in nodes)
