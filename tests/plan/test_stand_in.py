"""A state that stands for a host: what is planned on it, and which hosts it can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nncp import answers, desired, offline, work
from nncp.applied import Applied
from nncp.errors import Error, ErrorKind

if TYPE_CHECKING:
    from nncp.document.policy import Policy

STATE = """\
interfaces:
- {name: eth1, type: ethernet, state: up, mac-address: "02:00:00:00:00:01",
   ipv4: {enabled: true, address: [{ip: 192.0.2.5, prefix-length: 24}]}}
- {name: eth2, type: ethernet, state: up}
- {name: br0, type: linux-bridge, state: up, bridge: {port: [{name: eth2}]}}
- {name: br0.5, type: vlan, state: up, vlan: {base-iface: br0, id: 5}}
- {name: tap0, type: tun, state: ignore}
- {name: ovs0, type: ovs-bridge, state: up}
- {name: x0, type: xfrm, state: up}
routes:
  config: [{destination: 0.0.0.0/0, next-hop-interface: eth1, next-hop-address: 192.0.2.1}]
route-rules:
  config: [{ip-from: 192.0.2.0/24, route-table: 50, priority: 7}]
"""


LESS = "interfaces: [{name: eth2, type: ethernet, state: up}]"


def current(text: str = STATE) -> Policy:
    return desired.current("state.yaml", text)


def planned(text: str, state: str = STATE) -> str:
    return answers.changes(work.plan(desired.documents([("d.yaml", text)]), current(state)), "table")


def test_a_state_on_itself_is_no_change() -> None:
    sayable = "\n".join(line for line in STATE.splitlines() if "ovs0" not in line and "x0" not in line)
    assert planned(sayable) == "No changes.\n"


def test_a_rule_from_all_addresses_is_one_without_a_network() -> None:
    state = "route-rules: {config: [{ip-from: '::/0', ip-to: '2001:db8::9/32', route-table: 9, priority: 5}]}"
    same = "route-rules: {config: [{family: ipv6, ip-to: '2001:db8::/32', route-table: 9}]}"
    assert planned(same, state) == planned(state, same.replace("}]", ", priority: 5}]")) == "No changes.\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("interfaces: [{name: eth1, mtu: 1400}]", ["~ eth1            mtu: 1500 → 1400"]),
        ("interfaces: [{name: br0.5, state: absent}]", ["- br0.5           vlan"]),
        (
            "interfaces: [{name: eth1, ipv4: {enabled: false}}]",
            ["- route 0.0.0.0/0 via 192.0.2.1 dev eth1", "- eth1            address 192.0.2.5/24"],
        ),
        (
            "route-rules: {config: [{state: absent, route-table: 50}]}",
            ["- ipv4 rule 7: from 192.0.2.0/24 lookup 50"],
        ),
        ("interfaces: [{name: br0, bridge: {port: []}}]", ["- eth2            port of br0"]),
    ],
)
def test_what_would_be_done_to_it_is_told(text: str, told: list[str]) -> None:
    lines = planned(text).splitlines()
    assert [line for line in told if line not in lines] == [], lines


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("interfaces: [{name: br0, bridge: {port: [{name: eth9}]}}]", "eth9, which is not there"),
        ("interfaces: [{name: x0, type: dummy}]", "x0 would be deleted and could not be made again"),
        ("interfaces: [{name: eth9, mtu: 1400}]", "there is no interface eth9"),
    ],
)
def test_what_it_lacks_is_missed_and_what_nobody_makes_is_there(text: str, words: str) -> None:
    with pytest.raises(Error, match=words):
        planned(text)


def test_an_empty_state_is_a_host_without_links() -> None:
    assert planned("interfaces: [{name: d0, type: dummy}]", "").endswith(
        "Plan: 2 to add, 0 to change, 0 to remove.\n"
    )


def test_a_cluster_has_the_state_of_a_node_in_an_object() -> None:
    lines = "".join(f"    {line}\n" for line in STATE.splitlines())
    node = f"apiVersion: nmstate.io/v1beta1\nkind: NodeNetworkState\nstatus:\n  currentState:\n{lines}"
    assert planned("interfaces: [{name: eth1, mtu: 1400}]", node).startswith("~ eth1")
    with pytest.raises(Error, match=r"has no status\.currentState"):
        current("kind: NodeNetworkState\nstatus: {}\n")
    with pytest.raises(Error, match="a 'Pod' is no state of a host"):
        current("kind: Pod\n")
    with pytest.raises(Error, match="this is the second document"):
        current("interfaces: []\n---\ninterfaces: []\n")


def test_what_is_wrong_with_it_is_told_at_its_place() -> None:
    with pytest.raises(Error, match="mtu must be a whole number") as caught:
        planned("interfaces: []", "interfaces: [{name: eth1, type: ethernet, mtu: wide}]")
    assert str(caught.value.where) == "state.yaml:1:48"


def test_values_fill_a_bare_state_too_where_somebody_hands_them_in() -> None:
    text = "interfaces: [{name: eth1, mtu: '{{ values.mtu }}'}]"
    found = desired.documents([("d.yaml", text)])
    assert work.plan(found, current(), {"mtu": 1400}).ops
    assert offline.difference(found, current(), {"mtu": 1400})["interfaces"][0]["mtu"] == 1400
    with pytest.raises(Error, match="there is no value mtu"):
        work.plan(found, current(), {})
    with pytest.raises(Error, match="mtu must be a whole number"):
        work.plan(found, current())


def test_what_policies_mean_is_what_differs_and_what_their_captures_took() -> None:
    text = """\
capture: {up: interfaces.name == "eth1"}
desired:
  interfaces: [{name: "{{ capture.up.interfaces.0.name }}", mtu: 1400, state: up}]
"""
    found = desired.documents([("p.yaml", text)])
    meant, taken = offline.meaning(found, current())
    assert meant["interfaces"] == [{"name": "eth1", "type": "ethernet", "state": "up", "mtu": 1400}]
    ((name, states),) = taken
    assert name == "p.yaml"
    assert [one["name"] for one in states["up"]["interfaces"]] == ["eth1"]
    again = offline.took_of(answers.captured(taken, "yaml"), file="captured.yaml")
    assert offline.meaning(found, current("interfaces: []"), before=again)[0] == meant | {
        "interfaces": [{"name": "eth1", "mtu": 1400, "state": "up"}]
    }
    for wrong in ("a: b", "a", "- 3", "- {policy: p}", "- {policy: p, captures: 3}", "a: {}"):
        with pytest.raises(Error, match="does not hold what captures took"):
            offline.took_of(wrong, file="captured.yaml")


CAPTURING = """\
capture: {{up: interfaces.name == "{}"}}
desired:
  interfaces: [{{name: "{{{{ capture.up.interfaces.0.name }}}}", mtu: {}, state: up}}]
"""


@pytest.mark.parametrize("output", ["yaml", "json"])
@pytest.mark.parametrize("files", [("p.yaml", "q.yaml"), ("p.yaml", "p.yaml")])
def test_captures_of_one_name_are_each_policys_own(files: tuple[str, str], output: str) -> None:
    texts = [CAPTURING.format("eth1", 1400), CAPTURING.format("lo", 65000)]
    found = desired.documents(zip(files, texts, strict=True))
    meant, taken = offline.meaning(found, current("interfaces: [{name: eth1}, {name: lo}]"))
    written = answers.captured(taken, output)
    again = offline.took_of(written, file="captured")
    there = current("interfaces: []")
    assert offline.meaning(found, there, before=again)[0] == meant
    assert {one["name"]: one["mtu"] for one in meant["interfaces"]} == {"eth1": 1400, "lo": 65000}
    with pytest.raises(Error, match="capture up is not among what was taken"):
        offline.meaning(desired.documents([("r.yaml", texts[0])]), there, before=again)


def test_documents_of_one_file_that_are_in_force_mean_each_what_its_own_captures_took() -> None:
    texts = [CAPTURING.format("eth1", 1400), CAPTURING.format("lo", 65000)]
    found = desired.documents([("p.yaml", "---\n".join(texts))])
    took = [{"up": {"interfaces": [{"name": name}]}} for name in ("eth1", "lo")]
    force = [
        Applied("p.yaml", {}, capture=policy.capture.value, taken=states)
        for policy, states in zip(found, took, strict=True)
        if policy.capture
    ]
    asked = desired.Desired(found)
    asked.sees(force)
    asked(work.stand_in(current("interfaces: [{name: eth1, type: ethernet}, {name: lo, type: loopback}]")))
    assert [one.taken for one in asked.meant()] == took
    assert desired.taken_before(desired.documents([("q.yaml", texts[0])])[0], force) is None


def test_what_was_captured_without_policies_names_is_taken_where_it_can_be_meant_one_way_only() -> None:
    texts = [CAPTURING.format("eth1", 1400), CAPTURING.format("lo", 65000).replace("up", "other", 1)]
    texts[1] = texts[1].replace("capture.up", "capture.other")
    old = "up: {state: {interfaces: [{name: eth1}]}}\nother: {state: {interfaces: [{name: lo}]}}\n"
    took = offline.took_of(old, file="captured.yaml")
    there = current("interfaces: []")
    meant, _ = offline.meaning(
        desired.documents([("p.yaml", texts[0]), ("q.yaml", texts[1])]), there, before=took
    )
    assert [one["name"] for one in meant["interfaces"]] == ["eth1", "lo"]
    with pytest.raises(Error, match=r"capture up is of several policies, .*: p\.yaml, q\.yaml") as caught:
        offline.meaning(desired.documents([("p.yaml", texts[0]), ("q.yaml", texts[0])]), there, before=took)
    assert caught.value.kind is ErrorKind.USAGE


def test_a_policys_name_does_not_speak_in_the_plans_own_voice() -> None:
    head = 'apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicy\nmetadata: {name: "a\\nPlan: b\\e[2J"}\n'
    said = planned(f"{head}spec: {{nodeSelector: {{a: b}}, desiredState: {{}}}}\n")
    assert "\\nPlan: b\\x1b[2J" in said
    assert "\x1b" not in said


def test_captures_look_into_all_that_was_recorded_routes_of_others_too() -> None:
    state = STATE.replace("  config: [{destination: 0.0.0.0/0", "  running: [{destination: 0.0.0.0/0", 1)
    policy = """
        capture:
          way: routes.running.destination == "0.0.0.0/0"
        desired: {interfaces: [{name: "{{ capture.way.routes.running.0.next-hop-interface }}", mtu: 1400}]}
        """
    assert planned(policy, state).startswith("~ eth1")


def test_an_address_of_a_lease_that_another_link_gets_for_good_is_told() -> None:
    leased = "{ip: 192.0.2.9, prefix-length: 24, valid-life-time: 3600sec}"
    said = planned(f"interfaces: [{{name: eth2, ipv4: {{enabled: true, address: [{leased}]}}}}]", LESS)
    assert "warning: leased, and eth2 has it for good: 192.0.2.9/24" in said
    state = LESS.replace("up}", f"up, ipv4: {{enabled: true, address: [{leased}]}}}}")
    assert "leased" not in planned(
        f"interfaces: [{{name: eth2, ipv4: {{enabled: true, address: [{leased}]}}}}]", state
    )
