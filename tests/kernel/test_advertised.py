"""Addresses and routes that a router advertises: the kernel's, until a document has no use for them."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from outside import Namespace

pytestmark = pytest.mark.kernel

ADVERTISED = "2001:db8:aa:"
ADVERTISE = """
import ipaddress, socket, struct, sys
prefix = ipaddress.IPv6Address(sys.argv[1]).packed
# RFC 4861, section 4.2, and the option of 4.6.2: on-link, autonomous, for an hour.
told = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 1800, 0) + prefix
sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(sys.argv[2]))
sender.sendto(told, ("ff02::1", 0))
"""


def advertised(host: Namespace) -> list[str]:
    """Return what a link has by advertisements: addresses and the default route."""
    found = [entry["local"] for entry in host.json("ip", "-6", "-j", "addr", "show", "eth1")[0]["addr_info"]]
    routes = [route["dst"] for route in host.json("ip", "-6", "-j", "route", "show", "proto", "ra")]
    return [each for each in (*found, *routes) if each.startswith((ADVERTISED, "default"))]


@pytest.mark.parametrize(
    ("why", "document"),
    [
        ("autoconf", {"name": "eth1", "ipv6": {"enabled": True, "autoconf": False}}),
        ("port", {"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}}),
    ],
)
def test_what_routers_have_advertised_goes_where_it_is_not_asked_for_and_comes_back(
    host: Namespace,
    beyond: Namespace,
    apply: Callable[..., str],
    run: Callable[..., str],
    why: str,
    document: Any,
) -> None:
    def advertise() -> None:
        beyond.run(sys.executable, "-c", ADVERTISE, f"{ADVERTISED}:", "sw1")

    until(lambda: "tentative" not in json.dumps(beyond.json("ip", "-j", "addr", "show", "sw1")))
    advertise()
    until(lambda: len(advertised(host)) == 2)
    before = host.settled()
    assert ADVERTISED not in run("show", "eth1")
    assert apply({"name": "eth1", "ipv6": {"enabled": True}}) == "No changes.\n"
    told = apply(document)
    assert f"- eth1 {ADVERTISED}" in " ".join(told.replace("address", "").split())
    assert advertised(host) == []
    if why == "autoconf":
        advertise()
        host.settled()
        assert advertised(host) == []
        assert run("diff", "-", document={"interfaces": [document]}) == ""
    run("rollback")
    assert host.differs(before) == {}
