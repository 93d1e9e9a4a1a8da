"""What held is known by number, and undone in any order in which nothing is built on it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nncp import netns
from nncp.journal import MOST_KEPT, Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel


def policy(name: str, *interfaces: dict[str, Any], **rest: Any) -> dict[str, Any]:
    head = {"apiVersion": "nmstate.io/v1", "kind": "NodeNetworkConfigurationPolicy"}
    state = {"interfaces": list(interfaces), **rest}
    return {**head, "metadata": {"name": name}, "spec": {"desiredState": state}}


def dummy(name: str, **rest: Any) -> dict[str, Any]:
    return {"name": name, "type": "dummy", "state": "up", **rest}


def links(ns: Namespace) -> set[str]:
    return {link["ifname"] for link in ns.json("ip", "-j", "link", "show")}


def ids(run: Callable[..., str]) -> list[int]:
    return [one["id"] for one in json.loads(run("history", "-o", "json"))]


def in_force(ns: Namespace, state_dir: Path) -> list[str]:
    with netns.entered(ns.path):
        journal = Journal(state_dir)
        return [document.name for document in journal.applied().read(journal.held)]


def test_the_last_ones_are_undone_one_after_the_other(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    for name in "abc":
        run("apply", "-", document=policy(name, dummy(f"d{name}")))
    table = run("history").splitlines()
    assert [line.split()[0] for line in table] == ["ID", "3", "2", "1"]
    assert [line.split()[-1] for line in table[1:]] == ["c", "b", "a"]
    for left in ("ab", "a", ""):
        run("rollback")
        assert {name for name in links(host) if name.startswith("d")} == {f"d{name}" for name in left}
        assert in_force(host, tmp_path) == list(left)
    assert run("rollback") == "There is nothing to undo.\n"
    assert run("history") == "Nothing that was applied here can be undone.\n"


def test_one_in_the_middle_is_undone_alone(host: Namespace, run: Callable[..., str], tmp_path: Path) -> None:
    for name in "abc":
        run("apply", "-", document=policy(name, dummy(f"d{name}")))
    assert "Apply 2 (b) is undone." in run("rollback", "2")
    assert links(host) >= {"da", "dc"}
    assert "db" not in links(host)
    assert in_force(host, tmp_path) == ["a", "c"]
    assert "there is no apply 2 to undo" in run("rollback", "2", code=64)
    assert ids(run) == [3, 1]


def test_a_number_is_never_another_s(run: Callable[..., str]) -> None:
    for name in "ab":
        run("apply", "-", document=policy(name, dummy(f"d{name}")))
    for _ in "ab":
        run("rollback")
    run("apply", "-", document=policy("c", dummy("dc")))
    assert ids(run) == [3]


def test_what_later_ones_have_built_on_stays_and_they_are_named(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    bridge = {"name": "br1", "type": "linux-bridge", "state": "up", "bridge": {"port": [{"name": "eth1"}]}}
    vlan = {"name": "br1.5", "type": "vlan", "state": "up", "vlan": {"base-iface": "br1", "id": 5}}
    run("apply", "-", document=policy("bridge", bridge))
    run("apply", "-", document=policy("above", vlan))
    run("apply", "-", document=policy("beside", dummy("d0")))
    said = run("rollback", "1", code=69)
    assert "apply 1 is about br1" in said
    assert "so is the later apply 2 (above)" in said
    assert "nncp rollback 2" in said
    assert "(beside)" not in said
    run("rollback", "2")
    run("rollback", "1")
    assert not links(host) & {"br1", "br1.5"}
    assert "d0" in links(host)
    assert in_force(host, tmp_path) == ["beside"]


@pytest.mark.parametrize("later", ["rule", "route", "address", "same document", "source", "absent"])
def test_whatever_a_later_one_asks_for_is_built_on(
    host: Namespace, run: Callable[..., str], later: str
) -> None:
    host.batch("link add d7 type dummy", "link set eth2 up")
    d7 = {"name": "d7", "type": "dummy", "state": "absent"}
    source = {"destination": "10.8.0.0/16", "next-hop-interface": "eth2", "source": "10.9.0.1"}
    address = {"enabled": True, "address": [{"ip": "10.9.0.1", "prefix-length": 24}]}
    route = {"destination": "10.8.0.0/16", "next-hop-interface": "eth1", "next-hop-address": "10.9.0.9"}
    rule = {"ip-from": "10.9.0.0/24", "route-table": 200, "priority": 500}
    eth1 = {"name": "eth1", "type": "ethernet", "state": "up", "ipv4": address}
    run("apply", "-", document=policy("a", eth1, d7, **{"route-rules": {"config": [rule]}}))
    asked = {
        "rule": policy("b", dummy("d0"), **{"route-rules": {"config": [rule]}}),
        "route": policy("b", routes={"config": [route]}),
        "address": policy("b", eth1),
        "same document": policy("a", dummy("d0")),
        "source": policy("b", routes={"config": [source]}),
        "absent": policy("b", d7),
    }
    run("apply", "-", document=asked[later])
    assert "so is the later apply 2" in run("rollback", "1", code=69)
    run("rollback")
    run("rollback", "1")


def test_an_apply_that_wrote_nothing_is_undone_as_any_other(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    run("apply", "-", document=policy("a", dummy("d0")))
    run("apply", "-", document=policy("b", dummy("d0")))
    assert in_force(host, tmp_path) == ["a", "b"]
    run("rollback")
    assert in_force(host, tmp_path) == ["a"]
    assert "d0" in links(host)
    run("rollback")
    assert in_force(host, tmp_path) == []
    assert "d0" not in links(host)


def test_to_give_up_the_ways_back_keeps_the_host_and_its_documents(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    for name in "ab":
        run("apply", "-", document=policy(name, dummy(f"d{name}")))
    run("rollback", "--forget")
    assert ids(run) == []
    run("apply", "-", document=policy("c", dummy("dc")))
    assert ids(run) == [3]
    run("rollback")
    assert links(host) >= {"da", "db"}
    assert in_force(host, tmp_path) == ["a", "b"]
    assert run("rollback") == "There is nothing to undo.\n"


def test_only_so_many_are_kept(host: Namespace, run: Callable[..., str], tmp_path: Path) -> None:
    for number in range(MOST_KEPT + 2):
        run("apply", "-", document=policy("a", dummy("d0", mtu=1400 + number)))
    assert ids(run) == [*range(MOST_KEPT + 2, 2, -1)]
    with netns.entered(host.path):
        (folder,) = (path for path in (tmp_path / "journals").iterdir() if path.is_dir())
    assert len(list(folder.glob("kept*"))) == MOST_KEPT


def test_a_journal_of_the_version_before_can_be_undone(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    run("apply", "-", document=policy("a", dummy("d0")))
    (journal,) = tmp_path.glob("journals/*/kept-1.json")
    new = ("number", "at", "documents", "changes", "asked", "lists")
    record = {key: value for key, value in json.loads(journal.read_text()).items() if key not in new}
    journal.with_name("kept.json").write_text(json.dumps({**record, "version": 2}))
    journal.unlink()
    assert ids(run) == [0]
    run("rollback", "0")
    assert "d0" not in links(host)
    assert in_force(host, tmp_path) == []
