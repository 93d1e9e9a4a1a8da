"""A new interface type and a new table of rows on a real kernel: written, read, undone, judged from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nncp import engine, netns
from nncp.errors import Error
from nncp.host import Row
from tests.toys import WITH_TOYS

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

RING = Row(("link", "hsr0"), {"type": "hsr", "port1": "eth1", "port2": "d2"})
HOP = Row(("nexthop", "7"), {"link": "eth3", "gateway": "192.0.2.1"})
WANT = [
    Row(("link", "d2"), {"type": "dummy"}),
    Row(("up", "d2")),
    RING,
    Row(("up", "hsr0")),
    Row(("up", "eth3")),
    Row(("address", "eth3", "192.0.2.2/24"), {}),
    HOP,
]
REFUSED = Row(("link", "eth2"), {"type": "veth", "mac": "01:00:00:00:00:01"})


def hops(host: Namespace) -> list[Any]:
    return [(hop["id"], hop["dev"], hop["gateway"]) for hop in host.json("ip", "-j", "nexthop")]


def ring(host: Namespace) -> Any:
    (link,) = host.json("ip", "-d", "-j", "link", "show", "hsr0")
    data = link["linkinfo"]["info_data"]
    return data["slave1"], data["slave2"]


def test_they_are_written_read_and_undone(host: Namespace, tmp_path: Path) -> None:
    with netns.entered(host.path):
        engine.apply_rows(WANT, state_dir=tmp_path, kinds=WITH_TOYS)
        assert (ring(host), hops(host)) == (("eth1", "d2"), [(7, "eth3", "192.0.2.1")])
        assert engine.plan_rows(engine.snapshot(WANT, kinds=WITH_TOYS), WANT, kinds=WITH_TOYS) == []
        engine.rollback(state_dir=tmp_path, kinds=WITH_TOYS)
    assert hops(host) == []
    assert {link["ifname"] for link in host.json("ip", "-j", "link")} == {"lo", "eth1", "eth2", "eth3"}


def test_they_come_back_when_an_apply_fails(host: Namespace, tmp_path: Path) -> None:
    with netns.entered(host.path):
        engine.apply_rows(WANT, state_dir=tmp_path, kinds=WITH_TOYS)
        other = [
            Row(RING.key, {**RING.attrs, "port1": "d2", "port2": "eth1"}),
            Row(("up", "eth3"), absent=True),
        ]
        with pytest.raises(Error, match="refused"):
            engine.apply_rows([*other, REFUSED], state_dir=tmp_path, kinds=WITH_TOYS)
    assert (ring(host), hops(host)) == (("eth1", "d2"), [(7, "eth3", "192.0.2.1")])
