"""What grows with a host or a document grows in proportion: calls are counted, seconds are not."""

from __future__ import annotations

import contextlib
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from model import host_of, wanted

from nncp.document.delta import difference
from nncp.document.revert import reverse
from nncp.errors import Error
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.tables.rule import words

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


def _rule_entries(size: int) -> list[dict[str, Any]]:
    """Rules that come and go: by their words, by their priorities, and some that are said twice."""
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(size)]
    return [
        *({"ip-from": network, "route-table": 50} for network in (*networks, *networks[:9])),
        *({"ip-to": network, "state": "absent"} for network in networks),
        *({"family": "ipv4", "priority": n, "state": "absent"} for n in range(size)),
    ]


def rules(size: int) -> Callable[[], object]:
    base = {"from": "", "iif": "", "mark": 0, "mask": 0, "table": 50, "action": "", "suppress": 0xFFFFFFFF}
    rows = [{**base, "to": f"10.{n >> 8}.{n & 255}.0/24", "protocol": 4} for n in range(2 * size)]
    host = Host(Row(("rule", "ipv4", str(n), words(attrs)), attrs) for n, attrs in enumerate(rows))
    text = json.dumps({"route-rules": {"config": _rule_entries(size)}})
    return lambda: wanted(text, host)


def documents(size: int) -> Callable[[], object]:
    """Two states beside each other: rules and routes that come and go, links that become ports or lose their base."""
    networks = [f"10.{n >> 8}.{n & 255}.0/24" for n in range(size)]
    current = {
        "interfaces": [
            {"name": "base", "type": "ethernet", "state": "up"},
            *({"name": f"d{n}", "type": "dummy", "state": "up"} for n in range(size)),
            *(
                {"name": f"v{n}", "type": "vlan", "state": "up", "vlan": {"base-iface": f"v{n - 1}" if n else "base", "id": 5}}
                for n in range(size)
            ),
        ],
        "routes": {"config": [{"destination": one, "next-hop-interface": "d0"} for one in networks]},
        "route-rules": {"config": [{"family": "ipv4", "priority": n, "ip-to": one} for n, one in enumerate(networks)]},
    }  # fmt: skip
    ports = {f"b{n}": [{"name": f"d{n}"}] for n in range(size)}
    desired = {
        "interfaces": [
            {"name": "base", "state": "absent"},
            *({"name": name, "type": "linux-bridge", "state": "up", "bridge": {"port": port}} for name, port in ports.items()),
        ],
        "routes": {"config": [{"destination": one, "state": "absent"} for one in networks]},
        "route-rules": {"config": _rule_entries(size)},
    }  # fmt: skip
    return lambda: (difference(desired, current), reverse(desired, current))


@pytest.mark.parametrize(
    "of", [routes, lambda size: routes(size, state="absent"), bridges, refused, rules, documents],
    ids=["routes that stand", "routes that go", "bridges below VLANs", "what could not be made again", "rules",
         "what differs and what undoes it"],
)  # fmt: skip
def test_twice_as_much_costs_twice_as_much(of: Callable[[int], Callable[[], object]]) -> None:
    assert calls(of(600)) < 2.4 * calls(of(300))
