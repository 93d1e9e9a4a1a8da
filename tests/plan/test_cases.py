"""The planner, case by case: no kernel, no privilege."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from model import after, host_of, told, wanted

from nncp.document.source import load
from nncp.errors import Error
from nncp.host import Host, Op, Row
from nncp.known import KINDS
from nncp.plan import plan

CASES = load((Path(__file__).parent / "cases.yaml").read_text(), file="cases.yaml")[0].value


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_plan_has_these_writes_in_this_order(case: dict[str, Any]) -> None:
    host = host_of(case["host"])
    ops = plan(host, wanted(json.dumps(case["desired"]), host), KINDS)
    assert [told(op) for op in ops] == case["plan"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_carried_out_plan_leaves_nothing_to_do(case: dict[str, Any]) -> None:
    host = host_of(case["host"])
    want = wanted(json.dumps(case["desired"]), host)
    done = after(host, plan(host, want, KINDS))
    assert plan(done, want, KINDS) == []


def test_links_that_rest_on_each_other_in_a_circle_are_refused_by_name() -> None:
    want = [
        Row(("link", "a"), {"type": "vlan", "base-iface": "b", "id": 1}),
        Row(("link", "b"), {"type": "vlan", "base-iface": "a", "id": 2}),
    ]
    with pytest.raises(Error, match="a -> b -> a"):
        plan(Host(), want, KINDS)


def test_what_could_not_be_made_again_is_not_destroyed() -> None:
    host = host_of({"link v5": {"type": "vlan", "base-iface": "e", "id": 5}, "link e": {"type": "ethernet"},
                    "link t": {"type": "vxlan", "base-iface": "v5"}})  # fmt: skip
    with pytest.raises(
        Error, match="t would be deleted with v5 and could not be made again: interfaces of type vxlan"
    ):
        plan(host, [Row(("link", "v5"), {"type": "vlan", "base-iface": "e", "id": 6})], KINDS)


def test_a_link_that_stands_under_another_name_is_renamed_and_its_name_used_again() -> None:
    host = host_of({"link podX": {"type": "veth"}, "up podX": {}, "address podX 192.0.2.1/24": {}})
    want = [
        Row(("link", "X-nic"), {"type": "veth"}, was="podX"),
        Row(("up", "X-nic")),
        Row(("link", "podX"), {"type": "dummy"}),
        Row(("address", "X-nic", "192.0.2.1/24"), absent=True),
    ]
    assert [told(op) for op in plan(host, want, KINDS)] == [
        "* remove up podX",
        "rename link X-nic",
        "remove address X-nic 192.0.2.1/24",
        "create link podX",
        "create up X-nic",
    ]


def test_options_that_only_the_old_mode_knows_are_written_before_it_is_left() -> None:
    host = host_of({"link bond0": {"type": "bond", "mode": "802.3ad", "lacp_rate": "fast"}})
    want = [Row(("link", "bond0"), {"type": "bond", "mode": "active-backup", "lacp_rate": "slow"})]
    assert [dict(op.attrs) for op in plan(host, want, KINDS)] == [
        {"lacp_rate": "slow"},
        {"mode": "active-backup"},
    ]


def test_what_only_goes_with_something_else_is_told_and_not_written() -> None:
    host = host_of({"link d": {"type": "dummy"}, "up d": {}, "address d 2001:db8::1/64": {}})
    ops = plan(host, [Row(("link", "d"), absent=True)], KINDS)
    assert [op.key[0] for op in ops if not op.implied] == ["link"]
    assert Op("remove", ("address", "d", "2001:db8::1/64"), implied=True) in ops
