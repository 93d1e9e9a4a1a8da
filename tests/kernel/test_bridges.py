"""Bridges: VLANs above one that filters, filtering that stays on, and timers that are another bridge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from test_kinds import link, vlans
from test_ports import bridge

from tests.waiting import until

if TYPE_CHECKING:
    from outside import Namespace

pytestmark = pytest.mark.kernel

TRUNK = {"mode": "trunk", "trunk-tags": [{"id-range": {"min": 101, "max": 200}}]}
UNTAGGED = ["PVID", "Egress Untagged"]
OWN = {"vlan": 1, "flags": UNTAGGED}


def vlan(name: str, base: str, number: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "type": "vlan", "state": "up", "vlan": {"base-iface": base, "id": number}, **more}


def test_a_filtering_bridge_without_vlans_is_shown_as_it_is(host: Namespace, run: Any) -> None:
    host.batch("link add br0 type bridge vlan_filtering 1", "link set eth1 master br0", "link set br0 up")
    assert run("diff", "-", document=_yaml(run("show"))) == ""


def _yaml(text: str) -> Any:
    import yaml

    return yaml.safe_load(text)


def test_a_vlan_above_a_filtering_bridge_is_carried_by_the_bridge(
    host: Namespace, beyond: Namespace, apply: Any
) -> None:
    beyond.batch("link add link sw1 name v type vlan id 133")
    beyond.batch("link set v up", "addr add 192.0.2.1/24 dev v")
    four = {"enabled": True, "address": [{"ip": "192.0.2.2", "prefix-length": 24}]}
    plan = apply(vlan("br0.133", "br0", 133, ipv4=four), bridge("br0", {"name": "eth1", "vlan": TRUNK}))
    assert "VLANs 1 (pvid untagged), 133" in plan
    assert vlans(host, "br0") == [OWN, {"vlan": 133}]
    until(lambda: host.run("ping", "-c1", "-W1", "192.0.2.1", check=False).returncode == 0)


def test_a_bridges_own_vlan_goes_with_the_last_link_that_wants_it(host: Namespace, apply: Any) -> None:
    apply(bridge("br0", {"name": "eth1", "vlan": TRUNK}))
    host.batch("bridge vlan add dev br0 vid 150 self")
    apply(vlan("a", "br0", 150), vlan("b", "br0", 160), vlan("c", "br0", 170))
    assert [entry["vlan"] for entry in vlans(host, "br0")] == [1, 150, 160, 170]
    apply({"name": "a", "state": "absent"}, {"name": "b", "state": "absent"}, vlan("c", "br0", 171))
    assert [entry["vlan"] for entry in vlans(host, "br0")] == [1, 150, 171], "150 is somebody else's"


def test_filtering_that_begins_under_vlans_takes_them_along(host: Namespace, run: Any, apply: Any) -> None:
    apply(bridge("br0", "eth1"), vlan("br0.150", "br0", 150))
    assert vlans(host, "br0") == [OWN]
    before = host.settled()["vlan"]
    document = bridge("br0", {"name": "eth1", "vlan": TRUNK})
    apply(document)
    assert vlans(host, "br0") == [OWN, {"vlan": 150}]
    assert apply(document) == "No changes.\n"
    run("rollback")
    assert host.settled()["vlan"] == before
    assert link(host, "br0")["linkinfo"]["info_data"]["vlan_filtering"] == 0


def test_two_vlans_of_one_link_in_one_bridge_are_warned_of(host: Namespace, run: Any) -> None:
    wish = [vlan("a", "eth1", 10), vlan("b", "eth1", 20), bridge("br0", "a", "b")]
    told = run("plan", "-", document={"interfaces": wish})
    assert "warning: br0 joins VLANs of eth1 into one network: a, b" in told


def test_timers_of_the_root_bridge_are_nobody_elses_wish(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    beyond.batch(
        "link add root type bridge stp_state 1 priority 0 forward_delay 1500 hello_time 100 max_age 1000",
        "link set sw1 master root", "link set root up",
    )  # fmt: skip
    document = bridge("br0", "eth1", stp={"enabled": True, "forward-delay": 2}, **{"mac-ageing-time": 200})
    apply(document)

    def follows() -> bool:
        data = link(host, "br0")["linkinfo"]["info_data"]
        return bool(data["root_port"] and data["forward_delay"] == 1500)

    until(follows)
    assert apply(document) == "No changes.\n"
    assert run("diff", "-", document={"interfaces": [document]}) == ""
    apply({**document, "mtu": 1400})
    run("rollback")
    assert link(host, "br0")["mtu"] == 1500
    host.batch("link set eth1 nomaster")
    until(lambda: not follows())
    assert link(host, "br0")["linkinfo"]["info_data"]["forward_delay"] == 200, (
        "its own was never written over"
    )


def own_timers(host: Namespace) -> tuple[int, ...]:
    """Return hello time, forward delay and maximal age of br0, without the switch that is the root."""
    host.batch("link set eth1 nomaster")
    until(lambda: not link(host, "br0")["linkinfo"]["info_data"]["root_port"])
    data = link(host, "br0")["linkinfo"]["info_data"]
    host.batch("link set eth1 master br0")
    until(lambda: bool(link(host, "br0")["linkinfo"]["info_data"]["root_port"]))
    return data["hello_time"], data["forward_delay"], data["max_age"]


def writes(host: Namespace, run: Any, *interfaces: dict[str, Any]) -> str:
    """Return what an apply says; a second one must not have anything to do."""
    document = {"interfaces": list(interfaces)}
    told: str = run("apply", "-", document=document)
    assert run("apply", "-", document=document) == "No changes.\n"
    assert run("diff", "-", document=document) == ""
    return told


def test_timers_are_written_once_while_another_bridge_is_the_root(
    host: Namespace, beyond: Namespace, run: Any
) -> None:
    beyond.batch(
        "link add root type bridge stp_state 1 priority 0 forward_delay 1500 hello_time 100 max_age 1000",
        "link set sw1 master root", "link set root up",
    )  # fmt: skip
    host.batch(
        "link add br0 type bridge stp_state 1 forward_delay 1550",
        "link set br0 up",
        "link set eth1 master br0",
    )
    until(lambda: bool(link(host, "br0")["linkinfo"]["info_data"]["root_port"]))

    def wish(**stp: int) -> dict[str, Any]:
        return {"name": "br0", "type": "linux-bridge", "bridge": {"options": {"stp": stp}}}

    timers = {"hello-time": 3, "max-age": 30}
    assert (
        run("diff", "-", document={"interfaces": [wish(**timers)]}) != ""
    )  # written, and no difference seen
    assert run("diff", "-", document={"interfaces": [{**wish(**timers), "mtu": 1400}]}, code=1)
    told = writes(host, run, wish(**timers))
    assert "br0 has others' values in force and does not tell its own: stp.hello-time, stp.max-age" in told
    assert "cannot be verified or undone" in told
    assert own_timers(host) == (300, 1550, 3000)
    told = writes(host, run, wish(**{"hello-time": 5}))
    assert "or undone" not in told
    assert own_timers(host) == (500, 1550, 3000)
    run("rollback")
    assert own_timers(host) == (300, 1550, 3000)
    assert writes(host, run, wish(**{"hello-time": 3})) == "No changes.\n"
    assert "stp." not in run("apply", "-", document={"interfaces": [{**wish(), "mtu": 1400}]})


def test_timers_that_were_read_before_another_bridge_became_the_root_are_undone(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    host.batch("link add br0 type bridge stp_state 1 forward_delay 1550 hello_time 250", "link set br0 up")
    shown = run("show", "br0")
    assert "forward-delay" not in shown
    assert run("diff", "-", document=_yaml(shown)) == ""
    apply(bridge("br0", "eth1", stp={"forward-delay": 20, "hello-time": 4}))
    beyond.batch(
        "link add root type bridge stp_state 1 priority 0 forward_delay 1500 hello_time 100 max_age 1000",
        "link set sw1 master root", "link set root up",
    )  # fmt: skip
    until(lambda: bool(link(host, "br0")["linkinfo"]["info_data"]["root_port"]))
    run("rollback")
    until(lambda: not link(host, "br0")["linkinfo"]["info_data"]["root_port"])
    data = link(host, "br0")["linkinfo"]["info_data"]
    assert (data["hello_time"], data["forward_delay"]) == (250, 1550)
