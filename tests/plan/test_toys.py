"""Links that attributes name, and a table of rows, as one file each: order, names, words and show derive."""

from __future__ import annotations

from nncp.compile import compile_state
from nncp.document.read import read_partly
from nncp.document.source import load
from nncp.host import Host, Op, Row
from nncp.plan import plan
from nncp.render import render_plan
from nncp.show import show_state
from tests.toys import WITH_TOYS

CARDS = [
    row for name in ("eth1", "eth2") for row in (Row(("link", name), {"type": "dummy"}), Row(("up", name)))
]
RING = Row(("link", "hsr0"), {"type": "hsr", "port1": "eth1", "port2": "eth2"})
PROXY = Row(("proxy", "eth1", "192.0.2.9"))
ALL = Host([*CARDS, RING, Row(("up", "hsr0")), PROXY])


def told(ops: list[Op]) -> list[str]:
    return [f"{'* ' * op.implied}{op.verb} {' '.join(op.key)}" for op in ops]


def test_a_document_that_makes_a_link_of_two_others_is_planned_after_both() -> None:
    text = """
interfaces:
- {name: hsr0, type: hsr, state: up, hsr: {port1: eth1, port2: d2}}
- {name: d2, type: dummy, state: up}
"""
    found = read_partly(load(text, file="ring.yaml")[0], WITH_TOYS.by_type)
    assert not found.errors
    host = Host(CARDS)
    compiled = compile_state(found.state, found.interfaces, host, WITH_TOYS)
    assert not compiled.faults
    created = told(plan(host, compiled.rows.values(), WITH_TOYS))
    assert (
        created.index("create link d2") < created.index("create link hsr0") < created.index("create up hsr0")
    )


def test_what_names_a_link_goes_with_it() -> None:
    ops = plan(ALL, [Row(("link", "eth1"), absent=True)], WITH_TOYS)
    assert set(told(ops)) == {
        "remove link eth1",
        "* remove up eth1",
        "* remove link hsr0",
        "* remove up hsr0",
        "* remove proxy eth1 192.0.2.9",
    }


def test_what_a_change_takes_with_it_comes_back() -> None:
    turned = Row(RING.key, {"type": "hsr", "port1": "eth2", "port2": "eth1"})
    again = [line for line in told(plan(ALL, [turned], WITH_TOYS)) if not line.startswith("*")]
    assert again == ["remove link hsr0", "create link hsr0", "create up hsr0"]
    down = plan(ALL, [Row(("up", "eth1"), absent=True)], WITH_TOYS)
    assert "* remove proxy eth1 192.0.2.9" in told(down)


def test_a_way_back_is_planned_from_the_rows_that_were() -> None:
    after = Host(CARDS)
    back = told(plan(after, list(ALL), WITH_TOYS, undoing=True))
    assert back.index("create link hsr0") < back.index("create up hsr0")
    assert "create proxy eth1 192.0.2.9" in back
    away = [Row(key, absent=True) for key in (RING.key, PROXY.key)]
    assert set(told(plan(ALL, away, WITH_TOYS))) == {
        "remove link hsr0",
        "* remove up hsr0",
        "remove proxy eth1 192.0.2.9",
    }


def test_links_that_get_another_name_have_it_wherever_they_are_named() -> None:
    renamed = [Row(("link", f"lan{n}"), {"type": "dummy"}, was=f"eth{n}") for n in (1, 2)]
    ops = plan(ALL, renamed, WITH_TOYS)
    again = {op.key for op in ops if op.verb == "create" and op.key[0] == "proxy"}
    assert again == {("proxy", "lan1", "192.0.2.9")}  # it goes while the link is down for its new name
    assert RING.key not in {op.key for op in ops}


def test_a_plan_tells_a_new_table_in_its_own_words() -> None:
    lines = render_plan(plan(Host(CARDS), [PROXY], WITH_TOYS), WITH_TOYS)
    assert lines == ["+ eth1            proxy for 192.0.2.9", "Plan: 1 to add, 0 to change, 0 to remove."]


def test_a_new_table_shows_itself() -> None:
    shown = show_state(ALL, WITH_TOYS)
    assert shown["proxies"] == [{"address": "192.0.2.9", "link": "eth1"}]
    assert shown["interfaces"][-1]["hsr"] == {"port1": "eth1", "port2": "eth2"}
