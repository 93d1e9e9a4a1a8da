"""Links on top of each other: what goes up and down with another, what a port is, how high they stand."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from cards import link, vlan

if TYPE_CHECKING:
    from cards import Command
    from outside import Namespace

pytestmark = pytest.mark.kernel


@pytest.mark.parametrize(
    "document",
    [
        {"name": "v5", "type": "vlan", "vlan": {"base-iface": "eth1", "id": 55}},
        {"name": "b0", "type": "bond", "link-aggregation": {"mode": "active-backup", "port": ["eth1"]}},
    ],
)
def test_what_is_down_stays_down_though_the_link_below_flaps(
    nncp: Command, ns: Namespace, document: dict[str, Any]
) -> None:
    ns.batch(
        "link add link eth1 name v5 type vlan id 5",
        "link set v5 up",
        "link add link v5 name v5.9 type vlan id 9",
    )
    ns.batch("link add link eth1 name v6 type vlan id 6")
    before = ns.settled()
    for _ in range(3):
        nncp("apply", document)
        assert {name: "UP" in flags(ns, name) for name in ("v5", "v5.9", "v6")} == {
            "v5": True,
            "v5.9": False,
            "v6": False,
        }
        nncp("rollback")
        assert ns.differs(before) == {}


def test_a_link_that_is_brought_up_leaves_others_down(nncp: Command, ns: Namespace) -> None:
    ns.batch(
        "link set eth1 down",
        "link add link eth1 name v5 type vlan id 5",
        "link add link eth1 name v6 type vlan id 6",
    )
    before = ns.settled()
    nncp("apply", {"name": "eth1", "state": "up"}, {"name": "v6", "type": "vlan", "state": "up"})
    assert {name: "UP" in flags(ns, name) for name in ("eth1", "v5", "v6")} == {
        "eth1": True,
        "v5": False,
        "v6": True,
    }
    nncp("rollback")
    assert ns.differs(before) == {}


def flags(ns: Namespace, name: str) -> list[str]:
    return list(link(ns, name)["flags"])


def test_what_rests_on_a_link_goes_down_with_it_and_comes_back(nncp: Command, ns: Namespace) -> None:
    ns.batch("link add link eth1 name v7 type vlan id 7", "link set v7 up", "addr add 192.0.2.1/24 dev v7")
    ns.batch("link add link v7 name v7.8 type vlan id 8", "link set v7.8 up")
    before = ns.settled()
    told = nncp("apply", {"name": "eth1", "type": "ethernet", "state": "down"})
    assert [line.split() for line in told.splitlines() if line.startswith("-")] == [
        ["-", name, "up"] for name in ("eth1", "v7", "v7.8")
    ]
    nncp("rollback")
    assert ns.differs(before) == {}


def test_a_bridge_becomes_a_bond_of_its_port_and_a_bridge_again(nncp: Command, ns: Namespace) -> None:
    bridge = {"name": "x0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}}
    bond = {"name": "x0", "type": "bond", "link-aggregation": {"mode": 1, "port": ["eth1"]}}
    nncp("apply", bridge)
    before = ns.settled()
    nncp("apply", bond)
    assert link(ns, "eth1")["linkinfo"]["info_slave_kind"] == "bond"
    nncp("rollback")
    assert ns.differs(before) == {}


@pytest.mark.parametrize(
    ("kind", "stands"),
    [
        ("vlan", ()),
        ("vlan", ("link add d0 type dummy",)),
        ("vlan", ("link add d0 type dummy", "link set d0 up")),
        ("mac-vlan", ()),
    ],
)
def test_a_bond_takes_a_port_whose_base_is_made_or_brought_up_with_it(
    nncp: Command, ns: Namespace, kind: str, stands: tuple[str, ...]
) -> None:
    ns.batch(*stands)
    before = ns.settled()
    section = {"id": 5} if kind == "vlan" else {"mode": "bridge"}
    document = [
        {"name": "d0", "type": "dummy"},
        {"name": "v0", "type": kind, kind: {"base-iface": "d0", **section}},
        {"name": "b0", "type": "bond", "link-aggregation": {"mode": "active-backup", "port": ["v0"]}},
    ]
    nncp("apply", *document)
    assert link(ns, "v0")["master"] == "b0"
    assert nncp("apply", *document) == "No changes.\n"
    nncp("rollback")
    assert ns.differs(before) == {}


def test_links_rest_on_each_other_as_high_as_the_kernel_takes(nncp: Command, ns: Namespace) -> None:
    names = ["eth1", *(f"v{n}" for n in range(1, 9))]
    chain = [vlan(name, below) for below, name in itertools.pairwise(names)]
    nncp("plan", *chain, code=65)
    nncp("apply", *chain[:-1])
    assert ns.run(
        "ip", "link", "add", "link", "v7", "name", "v8", "type", "vlan", "id", "5", check=False
    ).returncode
    assert "v8 would rest on 8 links" in nncp("apply", chain[-1], code=65)
