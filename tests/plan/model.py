"""Hosts for the planner's tests, and what a kernel makes of a plan: a model, so that laws need no kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nncp.compile import compile_state
from nncp.document.read import read_partly
from nncp.document.source import load
from nncp.host import Cost, Host, Key, Op, Row
from nncp.known import KINDS
from nncp.needs import closure, companions, needs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nncp.desk import Compiled


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

    It takes with a row all that needs it, and gives a new port of a bridge its default VLAN. What an operation
    tells beside what it writes must be so: what it replaces, and of which type that is.
    """
    state: dict[Key, Mapping[str, Any]] = {row.key: row.attrs for row in host}
    for op in ops:
        if op.implied:
            continue
        if op.verb == "rename":
            raise NotImplementedError
        assert op.type == _type(op, state), f"{told(op)}: is not of type {op.type}"
        if op.verb == "remove":
            assert op.key in state, f"{told(op)}: not there any more"
            assert op.old == state[op.key], f"{told(op)}: replaces something else"
            for key in closure([op.key], state, KINDS):
                del state[key]
            continue
        if op.verb == "change":
            assert op.attrs, f"{told(op)}: changes nothing"
            assert op.old == {name: state[op.key].get(name) for name in op.old}, (
                f"{told(op)}: is no longer so"
            )
            assert not op.old or op.old.keys() >= op.attrs.keys(), (
                f"{told(op)}: replaces what it does not say"
            )
        _assert_allowed(op, state)
        if op.verb == "create":
            delays = (name for name, attr in KINDS.attrs(op.key[0], op.type).items() if attr.under)
            state[op.key] = dict.fromkeys(delays, 0)
        state[op.key] = {**state.get(op.key, {}), **op.attrs}
        lacking = [need for need in needs(op.key, state, KINDS) if need not in state]
        assert not lacking, f"{told(op)}: {lacking} is not there yet"
        peer = op.attrs.get("peer")
        if op.key[0] == "link" and peer and not companions(op.key, state, KINDS):
            state["link", peer] = {"type": "veth", "peer": op.key[1]}
        if op.key[0] == "port" and op.verb == "create" and op.type == "linux-bridge":
            pvid = state["link", op.attrs["controller"]].get("vlan-default-pvid", 1)
            state["vlans", op.key[1]] = {"vids": ((pvid, pvid, "pvid untagged"),) if pvid else ()}
    return Host(Row(key, attrs) for key, attrs in state.items())


def _type(op: Op, state: Mapping[Key, Mapping[str, Any]]) -> str:
    """Return what the row of an operation is of: its link's type, or its controller's for a port."""
    attrs = {**state.get(op.key, {}), **op.attrs}
    if op.key[0] == "port":
        return str(state["link", attrs["controller"]]["type"])
    if op.key[0] == "vlans":
        return "port" if ("port", op.key[1]) in state else "linux-bridge"
    return str(attrs["type"]) if op.key[0] == "link" else op.type


def _assert_allowed(op: Op, state: Mapping[Key, Mapping[str, Any]]) -> None:
    """Assert that a kernel takes each attribute now: what it costs is paid, what stands in its way is off."""
    have = state.get(op.key, {})
    then = {**have, **op.attrs}
    for name, value in op.attrs.items():
        attr = KINDS.attrs(op.key[0], op.type).get(name)
        if attr is None or have.get(name) == value:
            continue
        told_of = f"{told(op)} {name}"
        assert not (then if op.verb == "create" else have).get(attr.without), (
            f"{told_of}: {attr.without} is on"
        )
        controller = state.get(("link", then.get("controller", "")), then)
        assert not attr.only or controller.get("mode") in attr.only, f"{told_of}: unknown in this mode"
        assert not value or not attr.under or then.get(attr.under), f"{told_of}: {attr.under} is off"
        if op.key[0] == "link" and op.verb == "change":
            cost = attr.cost_of(have.get(name), value)
            assert cost < Cost.NEW, f"{told_of}: cannot be changed"
            assert cost < Cost.DOWN or ("up", op.key[1]) not in state, f"{told_of}: it is up"
            assert cost < Cost.EMPTY or op.key[1] not in _controllers(state), f"{told_of}: it has ports"
        if attr.shared is not None and value != attr.shared:
            others = [attrs for key, attrs in state.items() if key[0] == "port" and key != op.key]
            same = [
                attrs
                for attrs in others
                if attrs["controller"] == then["controller"] and attrs.get(name) == value
            ]
            assert not same, f"{told_of}: another port has it"


def _controllers(state: Mapping[Key, Mapping[str, Any]]) -> set[str]:
    return {attrs["controller"] for key, attrs in state.items() if key[0] == "port"}
