from __future__ import annotations

import io
import json
from typing import Any

from vmnet.rack.report import (
    Bond,
    Migration,
    Negative,
    NodeFacts,
    Preflight,
    Report,
    Vm,
    as_table,
    as_text,
)


def heard(*, arrived: bool) -> dict[str, Any]:
    return {"arrived": arrived, "vlan": 33 if arrived else None, "copies": int(arrived)}


def way() -> dict[str, Any]:
    return {"small": heard(arrived=True), "full": heard(arrived=True), "over": heard(arrived=False)}


PAIR = {
    "bridge": "br1",
    "vlan": 33,
    "mtu": 1500,
    "members": ["node-1", "node-2"],
    "there": way(),
    "back": way(),
    "ok": True,
}


def migration(**changed: Any) -> Migration:
    facts: dict[str, Any] = {
        "from_node": "node-1",
        "to_node": "node-2",
        "total_s": 5.1,
        "downtime_ms": 86.0,
        "pings_sent": 900,
        "pings_lost": 1,
        "longest_gap_ms": 152.0,
        "prober_jitter_ms": 4.0,
        "tcp_survived": True,
        "pod_address_changed": True,
        "bytes_on_management": 95_000_000,
    }
    return Migration(**{**facts, **changed})


def full(**changed: Any) -> Report:
    bond = Bond(mode="802.3ad", partner_mac="02:00:00:00:00:01", ports_up=2)
    parts: dict[str, Any] = {
        "nodes": [NodeFacts(f"node-{n}", f"vm-bridge/node-{n}.yaml", 0.7, bond) for n in (1, 2)],
        "preflight": Preflight("ok", [PAIR]),
        "vm": Vm("vm", {"eth0": "10.0.2.2/24", "eth1": "172.17.33.250/24"}, 6.4),
        "migration": migration(),
        "negative": Negative("refused", "node-1's link to the switch does not carry VLAN 33", migrated=False),
        "wall_s": 61.0,
    }
    return Report(**{**parts, **changed})


def test_the_json_has_exactly_the_agreed_keys() -> None:
    said = json.loads(full().to_json())
    assert list(said) == ["nodes", "preflight", "vm", "migration", "negative", "wall_s"]
    assert list(said["nodes"][0]) == ["name", "policy", "apply_s", "bond"]
    assert list(said["nodes"][0]["bond"]) == ["mode", "partner_mac", "ports_up"]
    assert list(said["preflight"]) == ["verdict", "pairs"]
    assert list(said["vm"]) == ["name", "addresses", "first_answer_s"]
    assert list(said["migration"]) == [
        "from",
        "to",
        "total_s",
        "downtime_ms",
        "pings_sent",
        "pings_lost",
        "longest_gap_ms",
        "prober_jitter_ms",
        "tcp_survived",
        "pod_address_changed",
        "bytes_on_management",
    ]
    assert list(said["negative"]) == ["verdict", "reason", "migrated"]


def test_a_full_report_has_no_faults_and_reads_without_not_yet() -> None:
    assert full().faults() == []
    assert "not yet" not in as_text(full())


def test_what_was_not_reached_says_not_yet_and_is_a_fault() -> None:
    report = Report()
    assert [fault.partition(":")[0] for fault in report.faults()] == [
        "nodes",
        "preflight",
        "vm",
        "migration",
        "negative",
    ]
    assert as_text(report).count("not yet") == 10
    assert json.loads(report.to_json())["migration"] is None


def test_each_bound_of_the_migration_is_held() -> None:
    for changed, words in (
        ({"pings_lost": 4}, "4 pings lost"),
        ({"longest_gap_ms": 300.0}, "214 ms longer than the pause"),
        ({"tcp_survived": False}, "TCP session broke"),
        ({"pod_address_changed": False}, "kept its address"),
    ):
        (fault,) = full(migration=migration(**changed)).faults()
        assert words in fault


def test_a_way_back_that_was_allowed_is_a_fault() -> None:
    for negative in (Negative("allowed", "", migrated=True), Negative("refused", "", migrated=True)):
        assert len(full(negative=negative).faults()) == 1


def test_text_and_table_tell_the_same() -> None:
    from rich.console import Console

    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(as_table(full()))
    table = console.export_text()
    for word in (
        "172.17.33.250/24",
        "1 of 900 pings lost",
        "does not carry VLAN 33",
        "partner 02:00:00:00:00:01",
    ):
        assert word in as_text(full())
        assert word in table
