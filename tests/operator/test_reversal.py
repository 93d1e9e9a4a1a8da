"""The way back of a policy, and the probes that it may name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nncp.errors import Error
from nncp.operator.allowed import probes
from nncp.operator.reversal import merged, without
from nncp.operator.ways import Step, Way

if TYPE_CHECKING:
    from pathlib import Path

API = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "6443"}


def state(*interfaces: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**more, "interfaces": list(interfaces)} if interfaces else more


def eth1(**more: Any) -> dict[str, Any]:
    return {"name": "eth1", "type": "ethernet", "state": "up", **more}


GONE = {"name": "eth1.5", "type": "vlan", "state": "absent"}


def test_the_older_word_on_a_leaf_counts_and_what_only_one_says_is_said() -> None:
    newer = state(eth1(mtu=1400, ipv4={"enabled": True, "dhcp": True}), GONE)
    older = state(eth1(mtu=1500, ipv4={"enabled": False}), hostname={"running": "a"})
    assert merged(newer, older) == {
        "hostname": {"running": "a"},
        "interfaces": [eth1(mtu=1500, ipv4={"enabled": False, "dhcp": True}), GONE],
    }


def test_what_was_made_first_goes_and_what_went_first_comes_back() -> None:
    there = {"name": "eth1.5", "type": "vlan", "state": "up", "vlan": {"base-iface": "eth1", "id": 5}}
    assert merged(state(there), state(GONE)) == state(GONE)
    assert merged(state(GONE), state(there)) == state(there)


def test_a_route_that_came_and_went_is_as_it_was_first() -> None:
    route = {"destination": "10.0.0.0/8", "next-hop-interface": "eth1"}
    back = merged({"routes": {"config": [route]}}, {"routes": {"config": [{**route, "state": "absent"}]}})
    assert back == {"routes": {"config": [{**route, "state": "absent"}]}}


def test_a_route_that_came_and_went_is_known_by_what_the_kernel_calls_its_table() -> None:
    route = {"destination": "10.0.0.0/8", "next-hop-interface": "eth1"}
    older = {"routes": {"config": [{**route, "state": "absent"}]}}
    assert merged({"routes": {"config": [{**route, "table-id": 254}]}}, older) == older


def test_a_route_through_a_link_that_goes_does_not_come_back() -> None:
    route = {"destination": "10.0.0.0/8", "next-hop-interface": "eth1.5", "table-id": 100}
    assert merged({"routes": {"config": [route]}}, state(GONE)) == state(GONE)


def test_nothing_is_led_away_from_by_nothing() -> None:
    assert merged({}, {}) == {}
    assert without({}, {"two": state(eth1(mtu=1500))}) == ({}, [])


WORDS = st.dictionaries(st.sampled_from(["mtu", "description", "ipv4"]), st.integers(0, 3))
STATES = st.lists(
    st.builds(lambda name, more: {"name": name, "state": "up", **more}, st.sampled_from("abc"), WORDS),
    unique_by=lambda one: one["name"],
).map(lambda listed: state(*listed))


@given(STATES, STATES, STATES)
def test_in_which_order_changes_are_put_together_makes_no_difference(one: Any, two: Any, three: Any) -> None:
    def order(found: Any) -> Any:
        return sorted(found.get("interfaces", ()), key=lambda each: str(each["name"]))

    assert order(merged(three, merged(two, one))) == order(merged(merged(three, two), one))


@pytest.mark.parametrize(
    ("other", "left", "told"),
    [
        (state({"name": "eth1.5", "type": "vlan"}), state(eth1(mtu=1500)), ["eth1.5 stays: two asks for it"]),
        (
            state({"name": "br5", "bridge": {"port": [{"name": "eth1.5"}]}}),
            state(eth1(mtu=1500)),
            ["eth1.5 stays: two asks for it"],
        ),
        (
            {"routes": {"config": [{"destination": "10.0.0.0/8", "next-hop-interface": "eth1.5"}]}},
            state(eth1(mtu=1500)),
            ["eth1.5 stays: two asks for it"],
        ),
        (state(eth1(mtu=9000)), state(GONE), ["eth1 stays: two asks for it"]),
        (state(eth1(ipv4={"enabled": True})), state(eth1(mtu=1500), GONE), []),
        (state({"name": "eth1", "state": "absent"}), state(GONE), ["eth1 stays: two asks for it"]),
        (state({"name": "eth2", "mtu": 1400}), state(eth1(mtu=1500), GONE), []),
    ],
)
def test_what_others_ask_for_stays_theirs(other: Any, left: Any, told: list[str]) -> None:
    assert without(state(eth1(mtu=1500), GONE), {"two": other}) == (left, told)


def test_routes_and_rules_and_names_that_others_ask_for_stay_too() -> None:
    route = {"destination": "10.0.0.0/8", "next-hop-interface": "eth1", "table-id": 254, "state": "absent"}
    rule = {"ip-to": "10.0.0.0/8", "route-table": 5, "state": "absent"}
    back = {"routes": {"config": [route]}, "route-rules": {"config": [rule]}, "dns-resolver": {"config": {}}}
    asks = {
        "routes": {"config": [{"destination": "10.0.0.0/8", "next-hop-interface": "eth1"}]},
        "route-rules": {"config": [{"ip-to": "10.0.0.0/8", "route-table": 5}]},
        "dns-resolver": {"config": {"server": ["192.0.2.1"]}},
    }
    left, told = without(back, {"two": asks})
    assert left == {}
    assert told == [
        *("dns-resolver stays: two asks for it", "route to 10.0.0.0/8 stays: two asks for it"),
        "rule 10.0.0.0/8 stays: two asks for it",
    ]
    assert without(back, {"two": {"routes": {"config": [{"destination": "10.0.0.0/9"}]}}}) == (back, [])


def test_a_step_counts_where_its_document_is_in_force() -> None:
    way = Way("a", state(GONE), Step("b", {"x": 1}, state(eth1(mtu=1500))))
    assert way.settled({"x": 1}) == Way("b", state(eth1(mtu=1500), GONE))
    assert way.settled({"x": 2}) == way.settled(None) == Way("a", state(GONE))


def test_the_usual_probes_are_those_that_there_can_be(tmp_path: Path) -> None:
    assert [each.text for each in probes(None, tmp_path, API)] == ["apiServer", "ping:gw"]
    assert [each.text for each in probes(None, tmp_path, {})] == ["ping:gw"]
    assert probes([], tmp_path, API) == []
    (found,) = probes(["apiServer", "tcp:[fd00::1]:6443"], tmp_path, API)
    assert (found.kind, found.target, found.port) == ("tcp", "fd00::1", 6443)


def test_programs_are_those_directly_in_one_folder(tmp_path: Path) -> None:
    program = tmp_path / "check"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for text in ("exec:check", f"exec:{program}"):
        assert probes([text], tmp_path, {})[0].target == str(program)
    wrong = [
        "exec:/bin/sh",
        "exec:../x",
        "exec:",
        "exec:..",
        f"exec:{tmp_path}/a/b",
        "exec:none",
        "tcp:x",
        "apiServer",
    ]
    with pytest.raises(Error) as caught:
        probes(wrong, tmp_path, {})
    assert len(list(caught.value)) == len(wrong)
