"""What documents mean on a host, as far as no kernel is needed to see it."""

from __future__ import annotations

import pytest
from model import wanted

from nncp.document.read import read_partly
from nncp.document.source import load
from nncp.document.unsupported import unsupported
from nncp.errors import ErrorKind
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.plan import plan

CARDS = [Row(("link", name), {"type": "ethernet", "mtu": 1500}) for name in ("eth1", "eth2")]
HOST = Host([*CARDS, *(Row(("up", card.name)) for card in CARDS)])


def planned(text: str, host: Host = HOST) -> list[str]:
    return [f"{op.verb} {' '.join(op.key)}" for op in plan(host, wanted(text, host), KINDS)]


@pytest.mark.parametrize("type_name", ["ethernet", "veth"])
def test_what_a_card_agrees_upon_with_its_switch_is_read_and_left_to_it(type_name: str) -> None:
    section = "ethernet: {auto-negotiation: true, duplex: full, speed: 1000}"
    text = f"interfaces:\n- {{name: eth1, type: {type_name}, {section}}}\n"
    host = Host([Row(("link", "eth1"), {"type": type_name}), Row(("up", "eth1"))])
    assert planned(text, host) == []


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ("ethernet: {sr-iov: {total-vfs: 2}}", "ethernet.sr-iov"),
        ("ethernet: {sr-iov: {}}", ""),
        (
            "type: bond, link-aggregation: {options: {balance-slb: true}}",
            "link-aggregation.options.balance-slb",
        ),
        ("type: bond, link-aggregation: {options: {balance_slb: 1}}", "link-aggregation.options.balance_slb"),
        ("type: bond, link-aggregation: {options: {balance_slb: 0}}", ""),
    ],
)
def test_what_no_kernel_does_is_refused_by_name_where_it_asks_for_something(
    section: str, refused: str
) -> None:
    (node,) = load(f"interfaces:\n- {{name: eth1, {section}}}\n", file="x")
    read = read_partly(node, KINDS.by_type)
    assert read.errors == []
    found = [error for part in read.parts for error in unsupported(part)]
    assert [error.message for error in found] == ([f"{refused} is not supported yet"] if refused else [])
    assert all(error.kind is ErrorKind.UNSUPPORTED for error in found)


def test_a_bond_option_that_is_off_and_no_kernels_is_nothing_to_write() -> None:
    bond = Row(("link", "bond0"), {"type": "bond", "mode": "balance-xor"})
    section = "link-aggregation: {mode: balance-xor, options: {balance-slb: false}}"
    host = Host([*HOST, bond, Row(("up", "bond0"))])
    assert planned(f"interfaces:\n- {{name: bond0, type: bond, {section}}}\n", host) == []


@pytest.mark.parametrize(
    "text",
    [
        "{name: veth1, type: ethernet, veth: {peer: veth1.ep}}",
        "{name: veth1, type: veth, veth: {peer: veth1.ep}}\n- {name: veth1.ep, type: ethernet}",
        "{name: veth1.ep, type: veth}\n- {name: veth1, type: ethernet, veth: {peer: veth1.ep}}",
    ],
)
def test_a_veth_may_be_called_an_ethernet(text: str) -> None:
    verbs = planned(f"interfaces:\n- {text}\n")
    assert {"create link veth1", "create link veth1.ep"} & set(verbs)
    assert {"create up veth1", "create up veth1.ep"} <= set(verbs)
