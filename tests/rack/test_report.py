from __future__ import annotations

import io
import json
from typing import Any

import pytest
from msgspec import structs

from vmnet.rack.report import (
    Bond,
    Conditions,
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
        "machine": Conditions([1.0, 1.2], steal_percent=0.0, load=0.4, prober_late_ms=4.0),
        "wall_s": 61.0,
    }
    return Report(**{**parts, **changed})


def test_the_json_has_exactly_the_agreed_keys() -> None:
    said = json.loads(full().to_json())
    assert list(said) == ["nodes", "preflight", "vm", "migration", "negative", "machine", "wall_s"]
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
    assert list(said["machine"]) == ["slowness", "steal_percent", "load", "prober_late_ms"]


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
    assert as_text(report).count("not yet") == 11
    assert json.loads(report.to_json())["migration"] is None


def test_what_the_migration_did_to_the_guest_is_a_fault_and_how_long_it_took_is_none() -> None:
    for changed, words in (
        ({"tcp_survived": False}, "TCP session broke"),
        ({"pod_address_changed": False}, "kept its address"),
    ):
        (fault,) = full(migration=migration(**changed)).faults()
        assert words in fault
    figures = {"pings_lost": 400, "longest_gap_ms": 9e4, "total_s": 900.0, "prober_jitter_ms": 800.0}
    assert full(migration=migration(**figures)).faults() == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"mode": "active-backup"}, "node-2: the bond is active-backup, not 802.3ad"),
        ({"partner_mac": "00:00:00:00:00:00"}, "node-2: no switch answers its LACP"),
        ({"ports_up": 1}, "node-2: 1 of its ports are up, not 2"),
        (None, "node-2: bond: not yet"),
    ],
)
def test_a_bond_that_is_not_as_promised_is_a_fault(changed: dict[str, Any] | None, words: str) -> None:
    report = full()
    bond = report.nodes[1].bond
    assert bond is not None
    spoiled = None if changed is None else structs.replace(bond, **changed)
    report.nodes[1] = structs.replace(report.nodes[1], bond=spoiled)
    assert report.faults() == [words]


def test_a_preflight_that_failed_or_let_nothing_pass_is_a_fault() -> None:
    assert full(preflight=Preflight("failed", [PAIR])).faults() == ["preflight: failed"]
    assert full(preflight=Preflight("ok", [])).faults() == ["preflight: no frames were exchanged"]


def test_a_figure_that_nobody_knows_is_called_unknown() -> None:
    report = full(migration=migration(downtime_ms=None, longest_gap_ms=None))
    assert "guest paused for unknown" in as_text(report)
    assert "longest gap unknown" in as_text(report)
    assert report.faults() == []
    assert report.migration is not None
    assert report.migration.gap_to_pause is None
    assert migration(downtime_ms=50.0, longest_gap_ms=100.0).gap_to_pause == 2.0


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Conditions([1.0, 1.9], 0.0, 0.1, 10.0), []),
        (Conditions([4.0, 7.9], 0.0, 0.1, 10.0), ["slow"]),
        (Conditions([1.0, 2.0], 0.0, 0.1), ["busy"]),
        (Conditions([1.7, 3.2], 0.0, 0.1), ["busy"]),
        (Conditions([1.0], 5.0, 0.1), ["busy"]),
        (Conditions([1.0], 0.0, 0.1, 25.1), ["busy"]),
        (Conditions([1.0], 0.0, 0.1, 25.0), []),
        (Conditions([3.0, 9.0], 0.0, 0.1), ["slow", "busy"]),
        (Conditions([], 0.0, 0.1), []),
        (Conditions([1.0], None, None, 10.0), []),
    ],
)
def test_a_machine_is_called_slow_or_busy_by_what_was_measured(found: Conditions, words: list[str]) -> None:
    assert found.words == words


def test_the_machine_is_told_with_its_evidence_and_beside_the_figures() -> None:
    text = as_text(full())
    assert "Machine:    quiet: 2 times fixed work took 1.0 to 1.2 times as long as on a quiet machine" in text
    assert "0 % of CPU time stolen, load 0.4; prober late by 4 ms" in text
    busy = as_text(full(machine=Conditions([3.0, 9.0], steal_percent=12.0, load=9.0, prober_late_ms=40.0)))
    assert "Machine:    slow and busy: 2 times fixed work took 3.0 to 9.0 times" in busy
    assert "late by 4 ms at most; this machine was slow and busy)" in busy


def test_a_way_back_that_was_allowed_or_not_refused_in_one_sentence_is_a_fault() -> None:
    for negative in (
        Negative("allowed", "why", migrated=True),
        Negative("refused", "why", migrated=True),
        Negative("refused", "", migrated=False),
        Negative("refused", "why\nand why", migrated=False),
    ):
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
