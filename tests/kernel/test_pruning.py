"""What a document asked for before and lists no more: it goes by `--prune` alone, and nothing of others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


from machine import Machine, dummy, policy

pytestmark = pytest.mark.kernel


def test_what_a_document_lists_no_more_goes_by_prune_alone(machine: Machine) -> None:
    routes = {"config": [{"destination": "198.51.100.0/24", "route-type": "blackhole"}]}
    rules = {"config": [{"ip-from": "192.0.2.1/32", "route-table": 50, "priority": 5}]}
    machine.nncp(
        "apply", "-", document=policy("a", dummy("d0"), dummy("d1"), routes=routes, **{"route-rules": rules})
    )
    machine.nncp("apply", "-", document=policy("b", dummy("d1")))
    less = policy("a", dummy("d2"))
    assert "d0" not in machine.nncp("plan", "-", document=less)
    machine.nncp("apply", "-", "--prune", document=less)
    names = machine.names()
    assert "d0" not in names
    assert {"d1", "d2"} <= names, "another document asks for d1"
    assert "198.51.100.0" not in machine.ns.run("ip", "route").stdout
    assert "192.0.2.1" not in machine.ns.run("ip", "rule").stdout


ROUTES_BESIDE = (
    "route add 198.51.100.0/24 via 192.0.2.1 dev eth2 metric 7 proto static",
    "route add 198.51.100.0/24 via 192.0.2.1 dev eth2 table 100 proto static",
    "route add 198.51.100.0/24 tos 8 via 192.0.2.1 dev eth2 proto static",
    "route append 198.51.100.0/24 via 192.0.2.1 dev eth2 proto boot",
    "route append 198.51.100.0/24 via 192.0.2.1 dev eth2 src 192.0.2.6 proto static",
    "route append 198.51.100.0/24 via 192.0.2.2 dev eth2 proto static",
    "route append blackhole 198.51.100.0/24 proto static",
    "route add 203.0.113.0/24 via 192.0.2.1 dev eth2 proto static",
    "route add 2001:db8:1::/48 dev eth2 metric 7 proto static",
    "route append 2001:db8:1::/48 dev eth3 proto static",
)
RULES_BESIDE = (
    "rule add from 192.0.2.1 lookup 50 pref 77",
    "rule add from 192.0.2.1 lookup 51 pref 30001 proto static",
    "rule add from 192.0.2.2 lookup 50 pref 30002 proto static",
    "rule add from 192.0.2.1 to 192.0.2.2 lookup 50 pref 30003 proto static",
    "rule add from 192.0.2.1 fwmark 1 lookup 50 pref 30004 proto static",
    "rule add from 192.0.2.1 iif eth1 lookup 50 pref 30005 proto static",
    "rule add from 192.0.2.1 lookup 50 pref 30006 proto bird",
)


def host_tables(machine: Machine) -> list[str]:
    commands = ("route show table all proto static", "route show table all proto boot", "rule")
    asked = [f"{family} {command}" for family in ("-4", "-6") for command in commands]
    return [machine.ns.run("ip", *command.split()).stdout for command in asked]


def test_routes_and_rules_of_others_that_differ_in_one_property_outlive_a_prune(machine: Machine) -> None:
    addresses = ("address add 192.0.2.5/24 dev eth2", "address add 192.0.2.6/24 dev eth2")
    machine.ns.batch(*addresses, *ROUTES_BESIDE[:2])
    made = policy(
        "a",
        dummy("d0"),
        routes={
            "config": [
                {
                    "destination": "198.51.100.0/24",
                    "next-hop-address": "192.0.2.1",
                    "next-hop-interface": "eth2",
                },
                {"destination": "2001:db8:1::/48", "next-hop-interface": "eth2"},
            ]
        },
        **{"route-rules": {"config": [{"ip-from": "192.0.2.1", "route-table": 50}]}},
    )
    machine.nncp("apply", "-", document=made)
    ours = host_tables(machine)
    assert ours[0].count("198.51.100.0/24 via 192.0.2.1 dev eth2 \n") == 1
    machine.ns.batch(*ROUTES_BESIDE[2:], *RULES_BESIDE)
    beside = host_tables(machine)
    machine.nncp("apply", "-", "--prune", document=policy("a"))
    assert "d0" not in machine.names()
    gone = [
        line.strip()
        for was, now in zip(beside, host_tables(machine), strict=True)
        for line in was.splitlines()
        if line not in now.splitlines()
    ]
    assert [" ".join(line.split()) for line in gone] == [
        "198.51.100.0/24 via 192.0.2.1 dev eth2",
        "30000: from 192.0.2.1 lookup 50 proto static",
        "2001:db8:1::/48 dev eth2 metric 1024 pref medium",
    ]


def test_a_file_of_several_documents_is_pruned_by_all_of_them(machine: Machine, tmp_path: Path) -> None:
    file = tmp_path / "several.yaml"
    machine.ns.batch("link add d9 type dummy", "link set d9 mtu 1400")
    first, second = ({"interfaces": [dummy(name)]} for name in ("d0", "d1"))
    third = {"interfaces": [{"name": "d9", "state": "up", "mtu": 1300}]}
    file.write_text("\n---\n".join(json.dumps(one) for one in (first, second, third)))
    machine.nncp("apply", str(file))
    file.write_text(json.dumps(second))
    said = machine.nncp("apply", str(file), "--prune")
    names = machine.names()
    assert {"d1", "d9"} <= names
    assert "d0" not in names
    assert "keeps d9, though nothing asks for it now: no document said its type" in said


def test_files_of_one_name_in_two_folders_are_two_documents(machine: Machine, tmp_path: Path) -> None:
    files = [tmp_path / folder / "net.yaml" for folder in "ab"]
    for number, file in enumerate(files):
        file.parent.mkdir()
        file.write_text(json.dumps({"interfaces": [dummy(f"d{number}")]}))
        machine.nncp("apply", str(file), "--prune")
    assert machine.in_force() == [str(file) for file in files]
    assert {"d0", "d1"} <= machine.names()
