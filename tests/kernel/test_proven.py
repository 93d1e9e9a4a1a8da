"""A change is kept only while the node can be reached; what goes on beside it waits for that too."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from deadly import await_supervisor

from nncp import netns
from nncp.journal import Journal
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

DUMMY = {"interfaces": [{"name": "d0", "type": "dummy", "state": "up"}]}
GATEWAY = "192.0.2.1"


def links(ns: Namespace) -> set[str]:
    return {link["ifname"] for link in ns.json("ip", "-j", "link", "show")}


def program(folder: Path, text: str) -> str:
    file = folder / "probe"
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return f"exec:{file}"


@pytest.fixture
def waits(tmp_path: Path) -> str:
    """Return a probe that succeeds at once before a change, and after it once `go` is there."""
    begun, going, go = (tmp_path / word for word in ("begun", "going", "go"))
    return program(
        tmp_path,
        f"[ -e {begun} ] || exec touch {begun}; touch {going}; until [ -e {go} ]; do sleep 0.05; done",
    )


@pytest.fixture
def routed(host: Namespace, beyond: Namespace) -> Namespace:
    """Return a host with a gateway that answers."""
    host.batch("address add 192.0.2.5/24 dev eth1", f"route add default via {GATEWAY}")
    beyond.batch(f"address add {GATEWAY}/24 dev sw1", "address add 198.51.100.1/32 dev lo")
    return host


def eth1(address: str) -> dict[str, Any]:
    listed = [{"ip": address, "prefix-length": 24}]
    eth1 = {"name": "eth1", "type": "ethernet", "state": "up", "ipv4": {"enabled": True, "address": listed}}
    route = {"destination": "0.0.0.0/0", "next-hop-interface": "eth1", "next-hop-address": GATEWAY}
    return {"interfaces": [eth1], "routes": {"config": [route]}}


def await_file(file: Path) -> None:
    limit = Limit(60)
    while not file.exists():
        assert not limit.is_over()
        time.sleep(0.05)


def begun(host: Namespace, tmp_path: Path, probe: str) -> subprocess.Popen[str]:
    """Start an apply, and return it when all it waits for is its probe."""
    (tmp_path / "d0.json").write_text(json.dumps(DUMMY))
    argv = ("apply", str(tmp_path / "d0.json"), "--probe", probe, "--state-dir", str(tmp_path))
    process = host.popen(sys.executable, "-m", "nncp", *argv, stderr=subprocess.PIPE)
    await_file(tmp_path / "going")
    return process


def test_what_cuts_off_the_gateway_is_undone_and_what_does_not_is_kept(
    routed: Namespace, run: Callable[..., str]
) -> None:
    probes = ("--probe", "ping:gw", "--probe", "ping:198.51.100.1", "--probe-limit", "1")
    before = routed.json("ip", "-j", "address", "show", "eth1")
    cut = eth1("192.0.2.5")
    cut["routes"]["config"][0]["next-hop-address"] = "192.0.2.77"
    cut["routes"]["config"].append({"destination": "0.0.0.0/0", "state": "absent"})
    said = run("apply", "-", *probes, document=cut, code=75)
    assert "2 of 2 probes failed after the change" in said
    assert "probe ping:gw: " in said
    assert routed.json("ip", "-j", "address", "show", "eth1") == before
    assert routed.json("ip", "-j", "route", "show", "default")[0]["gateway"] == GATEWAY
    run("apply", "-", *probes, document=eth1("192.0.2.6"))
    assert "192.0.2.6" in routed.run("ip", "address", "show", "eth1").stdout


def test_what_failed_before_the_change_is_told_and_left_out(
    routed: Namespace, run: Callable[..., str]
) -> None:
    said = run("apply", "-", "--probe", "ping:192.0.2.99", "--probe", "ping:gw", document=DUMMY)
    assert "probe ping:192.0.2.99 failed before the change already, and is left out" in said
    assert "ping:gw" not in said
    assert "d0" in links(routed)


def test_all_that_is_wrong_with_probes_is_said_before_anything_is_done(
    host: Namespace, run: Callable[..., str]
) -> None:
    said = run("apply", "-", "--probe", "pong:gw", "--probe", "tcp:host", document=DUMMY, code=64)
    assert "pong" in said
    assert "tcp:host" in said
    assert "d0" not in links(host)


def test_what_is_gone_once_probes_were_tried_did_not_hold(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    probe = program(tmp_path, "ip link del d0 2>/dev/null; exit 0")
    said = run("apply", "-", "--probe", probe, document=DUMMY, code=75)
    assert "did not hold while probes were tried" in said
    assert "d0" not in links(host)


def test_what_comes_while_probes_are_tried_before_the_change_is_seen(
    host: Namespace, run: Callable[..., str], tmp_path: Path
) -> None:
    host.batch("link add br1 type bridge", "link set br1 up")
    gone = {"interfaces": [{"name": "br1", "type": "linux-bridge", "state": "absent"}]}
    said = run(
        "apply", "-", "--probe", program(tmp_path, "ip link set eth2 master br1"), document=gone, code=65
    )
    assert "eth2" in said
    assert "br1" in links(host)


def test_whoever_is_killed_while_a_probe_is_asked_has_it_undone(
    host: Namespace, tmp_path: Path, waits: str
) -> None:
    process = begun(host, tmp_path, waits)
    assert "d0" in links(host)
    process.kill()
    process.communicate()
    with netns.entered(host.path):
        await_supervisor(tmp_path)
    assert "d0" not in links(host)


@pytest.mark.parametrize(
    "verb", [("restore",), ("rollback", "--forget"), ("forget", "d0.json"), ("rollback",)]
)
def test_beside_an_apply_that_goes_on_nobody_undoes_or_forgets_what_it_has_not_done(
    host: Namespace, run: Callable[..., str], tmp_path: Path, waits: str, verb: tuple[str, ...]
) -> None:
    """They wait until it is done, and then they do what they were asked to with what is there."""
    run("apply", "-", document={"interfaces": [{"name": "d1", "type": "dummy", "state": "up"}]})
    process = begun(host, tmp_path, waits)
    other = host.popen(sys.executable, "-m", "nncp", *verb, "--state-dir", str(tmp_path))
    time.sleep(1)
    assert other.poll() is None
    (tmp_path / "go").touch()
    assert process.wait() == 0
    assert other.wait() == 0
    assert links(host) >= {"d1"} | ({"d0"} if verb != ("rollback",) else set())
    assert ("d0" in links(host)) == (verb != ("rollback",))
    with netns.entered(host.path):
        journal = Journal(tmp_path)
        names = [document.name.rpartition("/")[2] for document in journal.applied().read(journal.held)]
    assert ("d0.json" in names) == (verb not in {("rollback",), ("forget", "d0.json")})
    for one in (process, other):
        one.communicate()
