"""What a NodeNetworkState tells: the node's own, without what is Pods', what moves, and secrets."""

from __future__ import annotations

from typing import Any

from nncp.operator.observed import seen, within


def link(name: str, kind: str = "veth", **more: Any) -> dict[str, Any]:
    return {"name": name, "type": kind, "state": "up", **more}


def bridge(*ports: str, mac: str = "02:00:00:00:00:09") -> dict[str, Any]:
    section = {
        "options": {"gc-timer": 7, "stp": {"hello-timer": 3}},
        "port": [{"name": name} for name in ports],
    }
    return link("br1", "linux-bridge", bridge=section, **{"mac-address": mac})


def names(state: dict[str, Any]) -> list[str]:
    return [one["name"] for one in state["interfaces"]]


CARD = link("eth1", controller="br1", veth={"peer": "sw1"}, **{"mac-address": "02:00:00:00:00:05"})
POD = link("vethab12cd34", controller="br1", **{"mac-address": "02:00:00:00:00:01"})
ROUTED = link("cali1234567890a")


def test_pods_and_all_that_hangs_on_them_change_nothing() -> None:
    routes = [{"destination": "10.0.0.0/8", "next-hop-interface": "eth1"}]
    podded = [*routes, {"destination": "10.9.9.9/32", "next-hop-interface": "cali1234567890a"}]
    above = link("v.5", "vlan", vlan={"base-iface": "vethab12cd34", "id": 5})
    without = {"routes": {"running": routes}, "interfaces": [bridge("eth1", mac="02:00:00:00:00:05"), CARD]}
    beside = {
        "routes": {"running": podded},
        "interfaces": [bridge("eth1", "vethab12cd34", mac="02:00:00:00:00:01"), CARD, POD, ROUTED, above],
    }
    assert seen(beside) == seen(without)
    assert names(seen(beside)) == ["br1", "eth1"]


def test_a_bridge_with_pods_alone_has_no_address_to_tell() -> None:
    told = seen({"interfaces": [bridge("vethab12cd34", mac="02:00:00:00:00:01"), POD]})
    assert "mac-address" not in told["interfaces"][0]


def test_what_documents_are_about_is_the_nodes_whatever_it_looks_like() -> None:
    assert names(seen({"interfaces": [POD, ROUTED]}, ours={"vethab12cd34"})) == ["vethab12cd34"]


def test_a_card_whose_other_end_is_elsewhere_is_told() -> None:
    assert names(seen({"interfaces": [link("eth1"), link("ens1f0"), link("lo", "loopback")]})) == [
        *("eth1", "ens1f0", "lo")
    ]


def test_what_moves_by_itself_and_secrets_are_left_out() -> None:
    address = {
        "ip": "192.0.2.1",
        "prefix-length": 24,
        "valid-life-time": "9sec",
        "preferred-life-time": "5sec",
    }
    told = seen(
        {"interfaces": [link("e", ipv4={"address": [address]}, macsec={"mka-cak": "x", "port": 1}), bridge()]}
    )
    assert told["interfaces"][0] == link(
        "e", ipv4={"address": [{"ip": "192.0.2.1", "prefix-length": 24}]}, macsec={"port": 1}
    )
    assert told["interfaces"][1]["bridge"]["options"] == {"stp": {}}


def test_what_is_too_large_says_what_is_missing() -> None:
    routes = [{"destination": f"10.0.{n}.0/24"} for n in range(100)]
    state = {
        "routes": {"running": routes, "config": routes[:1]},
        "interfaces": [link(f"e{n}") for n in range(50)],
    }
    assert within(state).truncated == ""
    told = within(state, 2500)
    assert told.truncated == "left out: routes.running (100)"
    assert told.state["interfaces"] == state["interfaces"]
    told = within(state, 1000)
    kept = len(told.state["interfaces"])
    assert (
        told.truncated == f"left out: routes.running (100), routes.config (1), interfaces ({50 - kept} of 50)"
    )
    assert 0 < kept < 50
