"""What the policies of one node are to each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.errors import Error
from nncp.operator.text import text_of
from nncp.operator.together import Meant, contradictions, in_order, meant


def policy(
    name: str, *interfaces: dict[str, Any], values: dict[str, Any] | None = None, **spec: Any
) -> Meant:
    desired = spec.pop("desired", {"interfaces": list(interfaces)})
    return meant(name, text_of(name, desired, spec.get("capture")), values or {}, spec.get("priority", 0))


BOND = {
    "name": "bond0",
    "type": "bond",
    "state": "up",
    "link-aggregation": {"mode": "active-backup", "port": ["eth1", "eth2"]},
}
VLAN = {"name": "bond0.3", "type": "vlan", "state": "up", "vlan": {"base-iface": "bond0", "id": 3}}
BRIDGE = {"name": "br1", "type": "linux-bridge", "state": "up", "bridge": {"port": [{"name": "bond0.3"}]}}
ADDRESS = {"name": "br1", "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.2", "prefix-length": 24}]}}
ROUTE = {"destination": "0.0.0.0/0", "next-hop-interface": "br1", "next-hop-address": "192.0.2.1"}


def test_what_makes_an_interface_comes_before_what_rests_on_it_whatever_the_names() -> None:
    found = [
        policy("a-route", desired={"routes": {"config": [ROUTE]}}),
        policy("b-address", ADDRESS),
        policy("c-bridge", BRIDGE),
        policy("d-vlan", VLAN),
        policy("e-bond", BOND),
    ]
    names = ["e-bond", "d-vlan", "c-bridge", "a-route", "b-address"]
    assert [each.name for each in in_order(found)] == names
    assert [each.name for each in in_order(reversed(found))] == names


def test_then_the_higher_priority_goes_first_and_never_before_what_it_rests_on() -> None:
    found = [
        policy("a", {"name": "d1", "type": "dummy"}),
        policy("b", {"name": "d2", "type": "dummy"}, priority=5),
        policy("vlan", VLAN, priority=99),
        policy("z-bond", BOND),
    ]
    assert [each.name for each in in_order(found)] == ["b", "a", "z-bond", "vlan"]


@given(st.dictionaries(st.sampled_from("abcdef"), st.tuples(*2 * [st.frozensets(st.sampled_from("xyz"))])))
def test_each_policy_has_its_turn_once_also_where_they_rest_on_each_other(
    links: dict[str, tuple[frozenset[str], frozenset[str]]],
) -> None:
    found = [Meant(name, b"", 0, makes, wants - makes) for name, (makes, wants) in links.items()]
    assert sorted(each.name for each in in_order(found)) == sorted(links)


def test_two_policies_that_say_different_things_contradict_and_both_places_are_told() -> None:
    one, other = policy("new", {**BRIDGE, "mtu": 1400}), policy("old", {**BRIDGE, "mtu": 1500})
    (error,) = contradictions(one, other)
    assert error.message.startswith("mtu of br1 is 1400, and 1500 in policy old:")
    assert error.path == "spec.desiredState.interfaces[0].mtu"
    assert contradictions(one, one) == []
    assert contradictions(policy("a", BOND), policy("b", VLAN)) == []


def test_one_port_of_two_controllers_is_a_contradiction_too() -> None:
    other = {**BRIDGE, "name": "br2"}
    assert contradictions(policy("a", BRIDGE), policy("b", other)) != []


def test_values_are_filled_in_and_captures_left_to_the_node() -> None:
    address = {"ip": "{{ values.address }}", "prefix-length": 24}
    bridge = {
        "name": "br1",
        "type": "linux-bridge",
        "mtu": "{{ capture.x.interfaces.0.mtu }}",
        "ipv4": {"enabled": True, "address": [address]},
    }
    capture = {"x": 'interfaces.name == "eth0"'}
    found = policy("p", bridge, values={"address": "192.0.2.7"}, capture=capture)
    (interface,) = found.desired["interfaces"]
    assert interface["ipv4"]["address"][0]["ip"] == "192.0.2.7"
    assert interface["mtu"] == "{{ capture.x.interfaces.0.mtu }}"
    with pytest.raises(Error, match=r"192\.0\.2\.777"):
        policy("p", bridge, values={"address": "192.0.2.777"}, capture=capture)


def test_all_that_is_wrong_everywhere_is_said_at_once() -> None:
    with pytest.raises(Error) as raised:
        policy("p", {**VLAN, "mtu": 0}, {"name": "x", "typo": 1}, {**BRIDGE, "mtu": "{{ values.gone }}"})
    told = [each.path for each in raised.value]
    assert told == [
        "spec.desiredState.interfaces[2].mtu",
        "spec.desiredState.interfaces[0].mtu",
        "spec.desiredState.interfaces[1].typo",
    ]
