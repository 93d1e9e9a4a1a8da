"""VRFs on a real kernel: ports keep their addresses, and routes of others stand where they stood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from outside import Namespace

pytestmark = pytest.mark.kernel


def vrf(name: str = "red", **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": "vrf",
        "state": "up",
        "vrf": {word.replace("_", "-"): v for word, v in config.items()},
    }


def addresses(ns: Namespace, name: str) -> set[str]:
    (found,) = ns.json("ip", "-j", "addr", "show", name)
    return {f"{one['local']}/{one['prefixlen']}" for one in found["addr_info"] if one["scope"] == "global"}


def controller(ns: Namespace, name: str) -> str | None:
    (found,) = ns.json("ip", "-j", "link", "show", name)
    return found.get("master")


@pytest.fixture
def addressed(host: Namespace) -> Namespace:
    host.batch(
        "link set eth1 up",
        "address add 192.0.2.5/24 dev eth1",
        "-6 address add 2001:db8::5/64 dev eth1 nodad",
        "route add 198.51.100.0/24 via 192.0.2.1",
    )
    return host


def test_a_port_keeps_its_addresses_and_the_document_says_nothing_of_them(
    addressed: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    before = addresses(addressed, "eth1")
    said = apply(vrf(route_table_id=100, port=["eth1"]))
    assert addresses(addressed, "eth1") == before
    assert controller(addressed, "eth1") == "red"
    assert "eth1" in said
    assert addressed.json("ip", "-j", "-d", "link", "show", "red")[0]["linkinfo"]["info_data"] == {
        "table": 100
    }
    connected = addressed.run("ip", "route", "show", "table", "100").stdout
    assert "192.0.2.0/24 dev eth1" in connected
    assert (
        run("plan", "-", document={"interfaces": [vrf(route_table_id=100, port=["eth1"])]}) == "No changes.\n"
    )


def test_a_source_that_is_a_ports_is_for_the_vrfs_table_alone(
    addressed: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    apply(vrf(route_table_id=100, port=["eth1"]))
    route = {"destination": "203.0.113.0/24", "next-hop-interface": "eth1", "source": "192.0.2.5"}
    said = run("apply", "-", document={"routes": {"config": [route]}}, code=65)
    assert "192.0.2.5 is an address of the VRF red" in said
    assert "routes.config[0].source" in said
    by_hand = ["ip", "route", "add", "203.0.113.0/24", "dev", "eth1", "src", "192.0.2.5"]
    assert addressed.run(*by_hand, check=False).returncode != 0  # nor does the kernel take it
    run("apply", "-", document={"routes": {"config": [{**route, "table-id": 100}]}})
    assert "src 192.0.2.5" in addressed.run("ip", "route", "show", "203.0.113.0/24", "table", "100").stdout


def test_it_is_shown_and_what_is_shown_changes_nothing(
    addressed: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    from nncp.document.source import load

    apply(vrf(route_table_id=100, port=["eth1"]))
    shown = load(run("show"), file="shown")[0].value
    found = {interface["name"]: interface for interface in shown["interfaces"]}
    assert found["red"]["vrf"] == {"port": ["eth1"], "route-table-id": 100}
    assert found["eth1"]["ipv4"]["enabled"]
    assert run("plan", "-", document=shown) == "No changes.\n"


@pytest.mark.parametrize("config", [{"port": []}, {"port": ["eth2"]}])
def test_a_port_that_leaves_keeps_its_addresses_too(
    addressed: Namespace, apply: Callable[..., str], config: dict[str, Any]
) -> None:
    before = addresses(addressed, "eth1")
    apply(vrf(route_table_id=100, port=["eth1"]))
    apply(vrf(**config))
    assert controller(addressed, "eth1") is None
    assert addresses(addressed, "eth1") == before
    assert "LOWER_UP" in addressed.run("ip", "link", "show", "eth1").stdout


def test_another_table_is_another_vrf_with_the_same_ports(
    addressed: Namespace, apply: Callable[..., str]
) -> None:
    apply(vrf(route_table_id=100, port=["eth1"]))
    before = addresses(addressed, "eth1")
    apply(vrf(route_table_id=200))
    assert controller(addressed, "eth1") == "red"
    assert addresses(addressed, "eth1") == before
    assert "192.0.2.0/24 dev eth1" in addressed.run("ip", "route", "show", "table", "200").stdout
    apply(vrf(route_table_id=0))  # as it is


def test_addresses_and_routes_of_its_ports_and_of_itself_are_documents_as_others(
    addressed: Namespace, apply: Callable[..., str], run: Callable[..., str]
) -> None:
    document = {
        "interfaces": [
            {**vrf(route_table_id=100, port=["eth1", "eth2"]),
             "ipv4": {"enabled": True, "address": [{"ip": "10.255.0.1", "prefix-length": 32}]}},
            {"name": "eth2", "type": "veth", "state": "up",
             "ipv4": {"enabled": True, "address": [{"ip": "203.0.113.5", "prefix-length": 24}]}},
        ],
        "routes": {"config": [
            {"destination": "0.0.0.0/0", "next-hop-interface": "eth2", "next-hop-address": "203.0.113.1", "table-id": 100},
        ]},
        "route-rules": {"config": [{"ip-from": "10.9.0.0/16", "route-table": 100}]},
    }  # fmt: skip
    run("apply", "-", document=document)
    assert run("plan", "-", document=document) == "No changes.\n"
    assert "default via 203.0.113.1 dev eth2" in addressed.run("ip", "route", "show", "table", "100").stdout
    assert addresses(addressed, "red") == {"10.255.0.1/32"}


@pytest.mark.parametrize("leave", ["rollback", "absent"])
def test_all_is_as_before_when_it_goes(
    addressed: Namespace, apply: Callable[..., str], run: Callable[..., str], leave: str
) -> None:
    before = addressed.settled()
    apply(vrf(route_table_id=100, port=["eth1"]))
    if leave == "rollback":
        run("rollback")
    else:
        run("apply", "-", document={"interfaces": [{"name": "red", "type": "vrf", "state": "absent"}]})
    after = addressed.settled()
    # The first VRF makes the kernel's own rule for all of them, which stays (vrf_add_fib_rules).
    for table in ("rule", "rule6"):
        after[table] = [rule for rule in after[table] if "l3mdev" not in str(rule)]
    assert after == before


@pytest.mark.parametrize(
    ("interfaces", "words"),
    [
        ([vrf(port=["eth1"])], "vrf.route-table-id is missing"),
        ([vrf(route_table_id=100, port=["lo"])], "lo is the loopback"),
        ([vrf(route_table_id=100, port=["eth9"])], "eth9, which is not there"),
        (
            [vrf(route_table_id=100, port=["blue"]), vrf("blue", route_table_id=200)],
            "blue is a vrf, and can be no port",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_place(
    addressed: Namespace, apply: Callable[..., str], interfaces: list[dict[str, Any]], words: str
) -> None:
    assert words in apply(*interfaces, code=65)
