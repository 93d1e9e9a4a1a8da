"""What the commands do: documents in, text out. The command line only reads options and files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from nncp import engine
from nncp.compile import Compiled, Note, compile_state
from nncp.document.emit import dump
from nncp.document.policy import Policy, read_policies
from nncp.document.read import by_place, read_partly, read_state
from nncp.document.source import Node, load
from nncp.document.unsupported import unsupported
from nncp.errors import Error, ErrorKind, raise_all
from nncp.journal import STATE_DIR
from nncp.kinds.tap import TAP
from nncp.known import KINDS
from nncp.listed import bereft
from nncp.netlink.carry import Refused
from nncp.render import render_plan
from nncp.show import show_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from nncp.host import Host, Op, Row


WRITTEN = {name: kind for name, kind in KINDS.by_type.items() if name != TAP.type}
"""The types that a document may name: a tap is made for a guest, and goes with it."""


class Document(Struct, frozen=True):
    """One document of one file, with whatever manifest it came in."""

    node: Node
    policy: Policy


def documents(texts: Iterable[tuple[str, str]]) -> list[Document]:
    """Read files; each may hold several documents.

    Raises:
        Error: with all errors of all files' syntax.

    """
    found: list[Document] = []
    errors: list[Error] = []
    for file, text in texts:
        try:
            found += [Document(policy.state, policy) for policy in read_policies(load(text, file=file))]
        except Error as error:
            errors.append(error)
    raise_all(errors)
    return found


class Wish:
    """What documents ask of a host: compiled anew for each look at it."""

    def __init__(self, found: Sequence[Document]) -> None:
        self.documents = found
        self.compiled: list[Compiled] = []

    def __call__(self, host: Host) -> list[Row]:
        """Return the wanted rows.

        Raises:
            Error: with all that is wrong with the documents, given this host.

        """
        types = {row.name: str(row.attrs["type"]) for row in host.table("link")}
        errors = list(_twice(self.documents))
        self.compiled = []
        for document in self.documents:
            found = read_partly(document.node, WRITTEN, types=types)
            compiled = compile_state(found.state, found.interfaces, host, KINDS)
            self.compiled.append(compiled)
            errors += found.errors
            errors += unsupported(document.node)
            for subject, fault in compiled.faults:
                error = document.node.error(fault.message, *fault.path, subject=subject, hint=fault.hint)
                error.kind = ErrorKind.UNSUPPORTED if fault.unsupported else error.kind
                if not found.tells_of(error.path):
                    errors.append(error)
        raise_all(by_place(errors))
        return list({key: row for compiled in self.compiled for key, row in compiled.rows.items()}.values())

    def notes(self) -> list[Note]:
        """Return what is said beside the plan of the last look at a host."""
        return [note for compiled in self.compiled for note in compiled.notes]

    def located(self, error: Error) -> Error:
        """Give errors of the kernel or of the planner their places in the documents, where they have one."""
        for other in error.others:
            self.located(other)
        if error.where is not None:
            return error
        keys = [error.op.key] if isinstance(error, Refused) else []
        keys += [("link", error.subject), ("up", error.subject)]
        for compiled, document in zip(self.compiled, self.documents, strict=False):
            path = next((compiled.origins[key] for key in keys if key in compiled.origins), None)
            if path is not None:
                path = _deeper(document.node, path, error)
                placed = document.node.error(error.message, *path, subject=error.subject, hint=error.hint)
                error.where, error.path = placed.where, placed.path
                return error
        return error


def _twice(found: Sequence[Document]) -> Iterator[Error]:
    """Yield interfaces that more than one document is about: nobody knows which would count."""
    first: dict[object, int] = {}
    for number, document in enumerate(found):
        interfaces = document.node.value.get("interfaces") if isinstance(document.node.value, dict) else None
        for at, interface in enumerate(interfaces if isinstance(interfaces, list) else ()):
            name = interface.get("name") if isinstance(interface, dict) else None
            if isinstance(name, str) and first.setdefault(name, number) != number:
                other = found[first[name]].node
                yield document.node.error(
                    f"interface {name} is in another document too, {other.place()}",
                    *("interfaces", at, "name"),
                    hint="write all that concerns an interface in one place",
                )


def _deeper(node: Node, path: tuple[str | int, ...], error: Error) -> tuple[str | int, ...]:
    """Return the path of the one property that a refused operation was about, if it was about one."""
    words = list(error.op.attrs) if isinstance(error, Refused) else []
    interface = node.at(*path).value
    if len(words) != 1 or not isinstance(interface, dict):
        return path
    steps = words[0].split(".")
    for way in ((), *((key,) for key in interface), *((key, "options") for key in interface)):
        value: Any = interface
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
    found: Sequence[Document], output: str, *, state_dir: Path = STATE_DIR, force: bool = False
) -> tuple[str, bool]:
    """Return what an apply would do, as text, and whether it is anything."""
    wish = Wish(found)
    host = engine.snapshot(state_dir=state_dir)
    want = wish(host)
    host = engine.with_sysctls(host, want)
    try:
        ops = engine.foresee(host, want)
        raise_all([] if force else bereft(host, ops))
    except Error as error:
        raise wish.located(error) from error
    return _told(ops, output, wish.notes()), bool(ops)


def apply(
    found: Sequence[Document], state_dir: Path, timeout: float | None, output: str, *, force: bool = False
) -> str:
    """Apply documents and return what was done; see `nncp.apply_rows`."""
    wish = Wish(found)
    try:
        ops = engine.apply_compiled(wish, state_dir=state_dir, deadline=timeout, force=force)
    except Error as error:
        raise wish.located(error) from error
    return _told(ops, output, wish.notes() if ops else ())


def rollback(state_dir: Path, output: str) -> str:
    """Undo the last apply and return what was done."""
    ops = engine.rollback(state_dir=state_dir)
    if output == "json":
        return _json([_op(op) for op in ops])
    return "\n".join(render_plan(ops, KINDS)) + "\n"


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
            for policy in read_policies(nodes):
                read_state(policy.state, WRITTEN)
        except Error as error:
            errors.append(error)
    raise_all(errors)
    for name, nodes in files:
        yield name, "---\n".join(dump(node.value) for node in nodes)
