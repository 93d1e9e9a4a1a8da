"""What grows with a host or a document grows in proportion: calls are counted, seconds are not."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from model import host_of, wanted

from nncp.errors import Error
from nncp.host import Row
from nncp.known import KINDS
from nncp.plan import plan

if TYPE_CHECKING:
    from collections.abc import Callable


def calls(work: Callable[[], object]) -> int:
    """Return how many functions, generators' steps included, `work` calls."""
    count = 0

    def counted(_frame: Any, event: str, _arg: Any) -> None:
        nonlocal count
        count += event.endswith("call")

    sys.setprofile(counted)
    try:
        with contextlib.suppress(Error):
            work()
    finally:
        sys.setprofile(None)
    return count


def routes(size: int, **more: Any) -> Callable[[], object]:
    rows: dict[str, Any] = {"link eth0": {"type": "ethernet"}, "up eth0": {}, "address eth0 10.0.0.1/8": {}}
    ends = [f"{n // 250}.{n % 250}" for n in range(size)]
    for end in ends:
        hop = [["eth0", f"10.0.{end}", 1, False]]
        rows[f"route ipv4 254 172.16.{end}/32 0"] = {"type": "unicast", "protocol": 4, "nexthops": hop}
    asked = [
        {
            "destination": f"172.16.{end}/32",
            "next-hop-interface": "eth0",
            "next-hop-address": f"10.0.{end}",
            **more,
        }
        for end in ends
    ]
    host, text = host_of(rows), json.dumps({"routes": {"config": asked}})
    return lambda: wanted(text, host)


def bridges(size: int) -> Callable[[], object]:
    """Filtering bridges, each below a VLAN link."""
    port = {"vlan": {"mode": "trunk", "trunk-tags": [{"id": 33}]}}
    asked = [
        interface
        for n in range(size)
        for interface in (
            {"name": f"d{n}", "type": "dummy"},
            {"name": f"b{n}", "type": "linux-bridge", "bridge": {"port": [{"name": f"d{n}", **port}]}},
            {"name": f"b{n}.33", "type": "vlan", "vlan": {"base-iface": f"b{n}", "id": 33}},
        )
    ]
    text = json.dumps({"interfaces": asked})
    return lambda: wanted(text, host_of({"link lo": {"type": "loopback"}}))


def refused(size: int) -> Callable[[], object]:
    """Links that go, each with one that nobody could make again."""
    rows: dict[str, Any] = {"link e": {"type": "ethernet"}}
    for n in range(size):
        rows |= {
            f"link v{n}": {"type": "vlan", "base-iface": "e"},
            f"link x{n}": {"type": "ipvlan", "base-iface": f"v{n}"},
        }
    host = host_of(rows)
    return lambda: plan(host, [Row(("link", f"v{n}"), absent=True) for n in range(size)], KINDS)


@pytest.mark.parametrize(
    "of", [routes, lambda size: routes(size, state="absent"), bridges, refused],
    ids=["routes that stand", "routes that go", "bridges below VLANs", "what could not be made again"],
)  # fmt: skip
def test_twice_as_much_costs_twice_as_much(of: Callable[[int], Callable[[], object]]) -> None:
    assert calls(of(600)) < 2.4 * calls(of(300))
