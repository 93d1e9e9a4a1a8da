"""Ports of Pods and guests: a document says what is listed, and what carries the rest is not deleted."""

from __future__ import annotations

from typing import Any

import pytest
from model import compiled, host_of, told, wanted

from nncp.host import Host, Op
from nncp.known import KINDS
from nncp.listed import TOLD, bereft
from nncp.plan import plan


def host(*guests: str, kind: str = "linux-bridge", listed: Any = ()) -> Host:
    rows: dict[str, Any] = {f"link {name}": {"type": "veth", "elsewhere": True} for name in guests}
    rows |= {f"port {name}": {"controller": "br0", "type": kind} for name in (*guests, "eth1")}
    return host_of(
        {"link br0": {"type": kind}, "up br0": {}, "link eth1": {"type": "ethernet"}, "up eth1": {}, **rows}
    ).where(listed=listed, carried=())


def errors(now: Host, ops: list[Op]) -> list[str]:
    return [f"{error.subject}: {error.message}" for error in bereft(now, ops)]


ABSENT = "interfaces: [{name: br0, type: linux-bridge, state: absent}]"


@pytest.mark.parametrize("count", [1, 2, TOLD, TOLD + 1, TOLD + 3])
def test_a_bridge_that_carries_guests_is_not_deleted(count: int) -> None:
    guests = [f"veth{n:02}" for n in range(count)]
    now = host(*guests)
    ops = plan(now, wanted(ABSENT, now), KINDS)
    (error,) = errors(now, ops)
    more = f" and {count - TOLD} more" if count > TOLD else ""
    ports = f"{count} port{'s' * (count > 1)} of Pods and guests"
    assert error == f"br0: br0 would be deleted, and it carries {ports}: {', '.join(guests[:TOLD])}{more}"


def test_a_bridge_that_carries_what_documents_listed_is() -> None:
    listed = host("veth1", listed=["veth1"])
    for now in (host(), listed):
        assert errors(now, plan(now, wanted(ABSENT, now), KINDS)) == []


def test_a_bridge_that_stays_is_not_asked_for() -> None:
    now = host("veth1")
    ops = plan(now, wanted("interfaces: [{name: br0, type: linux-bridge, state: down}]", now), KINDS)
    assert [told(op) for op in ops] == ["remove up br0"]
    assert errors(now, ops) == []
    assert errors(now, [Op("create", ("link", "br0")), Op("remove", ("port", "br0"))]) == []


def test_a_list_lets_go_of_what_was_listed_and_says_what_it_keeps() -> None:
    text = "interfaces: [{name: br0, type: linux-bridge, bridge: {port: []}}]"
    now = host("tap1", "tap2", "veth1", listed=["veth1", "eth1"])
    found = compiled(text, now)
    assert [row.name for row in found.rows.values() if row.absent] == ["veth1", "eth1"]
    assert [(note.text, note.names) for note in found.notes] == [
        ("keeps 2 ports of Pods and guests on br0", ("tap1", "tap2"))
    ]
    assert [note.text for note in compiled(text, host("tap1")).notes] == [
        "keeps 1 port of Pods and guests on br0"
    ]
