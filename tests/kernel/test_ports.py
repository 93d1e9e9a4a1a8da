"""Whose a port is: what documents list is theirs, what guests and Pods are plugged in stays."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from outside import plug

from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel


def pod(ns: Namespace, beyond: Namespace, n: int, bridge: str, *, mac: str = "") -> str:
    plug(ns, beyond, f"vethpod{n}", f"pod{n}", mac=mac)
    ns.batch(f"link set vethpod{n} master {bridge}")
    return f"vethpod{n}"


def bridge(name: str, *ports: Any, **options: Any) -> dict[str, Any]:
    listed = [port if isinstance(port, dict) else {"name": port} for port in ports]
    section = {"options": {"stp": {"enabled": False}, **options}, "port": listed}
    return {"name": name, "type": "linux-bridge", "state": "up", "bridge": section}


def ports(ns: Namespace, controller: str) -> set[str]:
    return {link["ifname"] for link in ns.json("ip", "-j", "link") if link.get("master") == controller}


def test_a_policy_applied_again_keeps_the_ports_of_pods_and_guests(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    apply(bridge("br1", "eth1"))
    guests = {pod(host, beyond, 1, "br1"), pod(host, beyond, 2, "br1"), "tap1"}
    host.batch("tuntap add tap1 mode tap", "link set tap1 master br1", "link set tap1 up")
    assert apply(bridge("br1", "eth1")) == "No changes.\n"
    planned = run("plan", "-", document={"interfaces": [bridge("br1", "eth1")]})
    assert "keeps 3 ports of Pods and guests on br1" in planned
    assert ports(host, "br1") == {"eth1", *guests}
    told = json.loads(run("plan", "-", "-o", "json", document={"interfaces": [bridge("br1", "eth2")]}))
    assert [set(entry["names"]) for entry in told if entry["verb"] == "keep"] == [guests]
    apply(bridge("br1", "eth2"))
    assert ports(host, "br1") == {"eth2", *guests}


def test_a_shorter_list_lets_go_of_what_was_listed(host: Namespace, beyond: Namespace, apply: Any) -> None:
    apply(bridge("br1", "eth1", "eth2"))
    guest = pod(host, beyond, 1, "br1")
    apply(bridge("br1", "eth1"))
    assert ports(host, "br1") == {"eth1", guest}
    apply(bridge("br1"))
    assert ports(host, "br1") == {guest}


def test_a_guests_port_goes_where_it_is_named(host: Namespace, beyond: Namespace, apply: Any) -> None:
    apply(bridge("br1", "eth1"), bridge("br2"))
    one, two, three = (pod(host, beyond, n, "br1") for n in (1, 2, 3))
    apply(bridge("br1", "eth1"), {"name": one, "type": "veth", "controller": ""}, bridge("br2", two))
    assert (ports(host, "br1"), ports(host, "br2")) == ({"eth1", three}, {two})


def test_what_a_rollback_restores_includes_what_was_listed(host: Namespace, run: Any, apply: Any) -> None:
    apply(bridge("br1"))
    host.batch("link set eth2 master br1")
    apply(bridge("br1", "eth1", "eth2"))
    run("rollback")
    assert ports(host, "br1") == {"eth2"}
    apply(bridge("br1"))
    assert ports(host, "br1") == {"eth2"}, "it is nobody's but his who plugged it"


@pytest.mark.parametrize("mtu", [1500, 1400])
def test_a_pod_that_ends_after_an_apply_is_nobodys_to_bring_back(
    host: Namespace, beyond: Namespace, run: Any, apply: Any, mtu: int
) -> None:
    apply(bridge("br1", "eth1"))
    until(lambda: "fe80::" in json.dumps(host.json("ip", "-j", "addr", "show", "br1")))
    before = host.settled()
    guest = pod(host, beyond, 1, "br1")
    host.batch(f"link add link {guest} name {guest}.5 type vlan id 5")
    apply(
        {
            **bridge("br1", "eth1"),
            "mtu": mtu,
            "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.22", "prefix-length": 24}]},
        }
    )
    host.batch(f"link del {guest}")
    run("rollback")
    assert host.differs(before) == {}
    assert apply(bridge("br1", "eth1")) == "No changes.\n"


def test_what_was_listed_is_forgotten_when_the_apply_fails(host: Namespace, apply: Any) -> None:
    apply(bridge("br1"))
    host.batch("link set eth2 master br1", "link property add dev eth3 altname taken")
    apply(bridge("br1", "eth2"), {"name": "taken", "type": "dummy"}, code=75)
    apply(bridge("br1"))
    assert ports(host, "br1") == {"eth2"}


def test_rows_that_no_document_asked_for_are_no_listing(host: Namespace, tmp_path: Path, apply: Any) -> None:
    apply(bridge("br1", "eth1"))
    plugged = (
        "import sys, pathlib, nncp\nfrom nncp.host import Row\n"
        "nncp.apply_rows([Row(('port', 'eth2'), {'controller': 'br1'})], state_dir=pathlib.Path(sys.argv[1]))"
    )
    host.run(sys.executable, "-c", plugged, str(tmp_path))
    apply(bridge("br1", "eth1"))
    assert ports(host, "br1") == {"eth1", "eth2"}


@pytest.mark.parametrize("wish", [{"state": "absent"}, {"type": "dummy", "state": "up"}])
def test_a_bridge_with_guests_is_deleted_only_by_force(
    host: Namespace, beyond: Namespace, run: Any, apply: Any, wish: dict[str, Any]
) -> None:
    apply(bridge("br1", "eth1"))
    guest = pod(host, beyond, 1, "br1")
    before = host.settled()
    document = {"name": "br1", **wish}
    for command in ("plan", "apply"):
        told = run(command, "-", document={"interfaces": [document]}, code=65)
        assert f"br1 would be deleted, and it carries 1 port of Pods and guests: {guest}" in told
        assert "<stdin>:1:" in told
    assert host.differs(before) == {}
    apply(document, options=("--force",))
    assert ports(host, "br1") == set()


ON_OURS = {
    "a guest's port": (
        "link add pod0 master br1 type veth peer name far netns {beyond}",
        "br1 would be deleted, and it carries 1 port of Pods and guests: pod0",
    ),
    "a Pod's macvlan": (
        "link add link br1 name far netns {beyond} type macvlan",
        "macvlan far in another network namespace, which is none of the apply's, would go with what is undone",
    ),
    "another tool's link": (
        "link add vx1 type vxlan id 7 dev br1 dstport 4789",
        "vx1, which is none of the apply's, would go with what is undone: interfaces of type vxlan",
    ),
    "a VLAN": (
        "link add link br1 name theirs type vlan id 9",
        "theirs, which is none of the apply's, would go with what is undone",
    ),
}
"""What others put on a bridge that an apply has made, and why the apply is not undone."""


@pytest.mark.parametrize("what", ON_OURS)
def test_an_apply_is_not_undone_under_what_others_have_put_on_its_links(
    host: Namespace, beyond: Namespace, run: Any, apply: Any, what: str
) -> None:
    before = host.settled()
    apply(bridge("br1", "eth1"))
    command, why = ON_OURS[what]
    host.batch(command.format(beyond=beyond.name))
    with_theirs = host.settled()
    assert why in run("rollback", code=69)
    assert host.differs(with_theirs) == {}
    apply(bridge("br1", "eth1"))
    run("rollback", "--force")
    left = host.settled()["link"].keys() - before["link"].keys()
    assert left == ({"pod0"} if "port" in what else set())


@pytest.mark.parametrize("listed", [[], ["eth1"], ["eth3"]])
def test_an_ignored_link_is_left_as_it_is(host: Namespace, apply: Any, listed: list[str]) -> None:
    apply(bridge("br0", "eth1"))
    before = host.settled()["link"]["eth1"]
    ignored = [{"name": name, "type": "ethernet", "state": "ignore"} for name in ("eth1", "eth3")]
    apply(bridge("br0", "eth2", *listed), *ignored)
    assert ports(host, "br0") == {"eth1", "eth2"}
    assert host.settled()["link"]["eth1"] == before


@pytest.mark.parametrize("order", [1, -1])
def test_a_port_moves_between_two_lists_of_one_document(host: Namespace, apply: Any, order: int) -> None:
    apply(bridge("br1", "eth1", "eth2"), bridge("br2", "eth3"))
    apply(*[bridge("br1", "eth1"), bridge("br2", "eth3", "eth2")][::order])
    assert (ports(host, "br1"), ports(host, "br2")) == ({"eth1"}, {"eth2", "eth3"})
    apply(*[bridge("br1", "eth1"), bond("bond0", "eth2"), bridge("br2", "eth3")][::order])
    assert (ports(host, "bond0"), ports(host, "br2")) == ({"eth2"}, {"eth3"})


def bond(name: str, *listed: str, mode: str = "active-backup", **options: Any) -> dict[str, Any]:
    section = {"mode": mode, "port": list(listed), "options": options}
    return {"name": name, "type": "bond", "state": "up", "link-aggregation": section}
