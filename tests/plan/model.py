"""Hosts for the planner's tests, and what a kernel makes of a plan: a model, so that laws need no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.compile import Compiled, compile_state
from nncp.document.read import read_partly
from nncp.document.source import load
from nncp.host import Host, Key, Op, Row
from nncp.known import KINDS
from nncp.needs import closure, companions, needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def tuples(value: Any) -> Any:
    return tuple(tuples(item) for item in value) if isinstance(value, list) else value


def key_of(text: str) -> Key:
    table, rest = text.split(" ", 1)
    return (table, rest) if table == "sysctl" else (table, *rest.split(" "))


def host_of(rows: Mapping[str, Mapping[str, Any] | None]) -> Host:
    return Host(
        Row(key_of(text), {name: tuples(value) for name, value in (attrs or {}).items()})
        for text, attrs in rows.items()
    )


def wanted(text: str, host: Host) -> list[Row]:
    """Return the rows that a document asks of a host; the document must be sound."""
    found = compiled(text, host)
    assert not found.faults, found.faults
    return list(found.rows.values())


def compiled(text: str, host: Host) -> Compiled:
    """Return the rows that a document asks of a host, and what is wrong with it on that host."""
    (node,) = load(text, file="case.yaml")
    types = {row.name: row.attrs["type"] for row in host.table("link")}
    found = read_partly(node, KINDS.by_type, types=types)
    assert not found.errors, [error.message for error in found.errors]
    return compile_state(found.state, found.interfaces, host, KINDS)


def told(op: Op) -> str:
    mark = "? " if op.implied else "* " if op.back else ""
    return f"{mark}{op.verb} {' '.join(op.key)}"


def after(host: Host, ops: Iterable[Op]) -> Host:
    """Return the host that a kernel would hold after `ops`; assert that each of them could be done.

    It takes with a row all that needs it, and gives a new port of a bridge its default VLAN.
    """
    state: dict[Key, Mapping[str, Any]] = {row.key: row.attrs for row in host}
    for op in ops:
        if op.implied:
            continue
        if op.verb == "rename":
            raise NotImplementedError
        if op.verb == "remove":
            assert op.key in state, f"{told(op)}: not there any more"
            for key in closure([op.key], state, KINDS):
                del state[key]
            continue
        state[op.key] = {**state.get(op.key, {}), **op.attrs}
        lacking = [need for need in needs(op.key, state, KINDS) if need not in state]
        assert not lacking, f"{told(op)}: {lacking} is not there yet"
        peer = op.attrs.get("peer")
        if op.key[0] == "link" and peer and not companions(op.key, state, KINDS):
            state["link", peer] = {"type": "veth", "peer": op.key[1]}
        if op.key[0] == "port" and state["link", op.attrs["controller"]]["type"] == "linux-bridge":
            state.setdefault(("vlans", op.key[1]), {"vids": ((1, 1, "pvid untagged"),)})
    return Host(Row(key, attrs) for key, attrs in state.items())
