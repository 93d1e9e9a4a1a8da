"""What kubernetes-nmstate's users rely on, on a real API server with real agents: its scenarios, anew.

Where we do otherwise, the test names the line of nncp/operator/deviations.yaml that says so.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.cluster.documents import policy, veth
from tests.cluster.outside import addresses, network, routes
from tests.cluster.programs import BLOCKING, FAILING, NODES, slots
from tests.waiting import until

if TYPE_CHECKING:
    from tests.cluster.programs import Operator

pytestmark = pytest.mark.slow

ONLY = {"kubernetes.io/hostname": "node-1"}


def conditions(item: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in item["status"]["conditions"]}


@pytest.mark.deviates("no-timestamp", "status-of-a-policy", "enactment-has-a-spec")
def test_an_enactment_progresses_and_is_available_and_says_of_what(scene: Operator) -> None:
    since = scene.now("nnce")
    scene.apply(policy("one", desired=veth(), nodeSelector=ONLY))
    told = scene.await_policy("one", "Available")
    assert (told["reason"], told["message"]) == (
        "SuccessfullyConfigured",
        "1/1 nodes successfully configured",
    )
    found = scene.items("nncp")["one"]
    assert {name: status for name, (status, _) in conditions(found).items()} == {
        "Available": "True", "Degraded": "False", "Ignored": "False", "Progressing": "False",
    }  # fmt: skip
    assert found["status"].keys() == {"conditions", "observedGeneration"}
    assert not [each for each in found["metadata"]["annotations"] if "nmstate" in each]
    (enactment,) = scene.items("nnce").values()
    assert conditions(enactment) == {
        "Available": ("True", "SuccessfullyConfigured"),
        **dict.fromkeys(
            ("Failing", "Progressing", "Pending", "Aborted"), ("False", "SuccessfullyConfigured")
        ),
    }
    assert scene.steps("node-1.one", since) == ["Pending", "Progressing", "Available"]
    assert enactment["status"]["desiredState"] == enactment["spec"]["desiredState"] == veth()
    assert enactment["status"]["policyGeneration"] == 1
    labels = enactment["metadata"]["labels"]
    assert (labels["nmstate.io/policy"], labels["nmstate.io/node"]) == ("one", "node-1")
    assert enactment["metadata"]["ownerReferences"][0]["kind"] == "Node"


@pytest.mark.deviates("all-nodes-first", "no-retry")
def test_what_no_node_can_do_fails_on_all_of_them_before_anything_changes(scene: Operator) -> None:
    begun = [scene.begun(node) for node in NODES]
    missing = {"name": "eth666", "type": "ethernet", "state": "up"}
    scene.apply(policy("one", desired={"interfaces": [*veth()["interfaces"], missing]}, maxUnavailable=1))
    scene.await_all("nnce", **{"node-1.one": "Failing", "node-2.one": "Failing"})
    until(
        lambda: scene.await_policy("one", "Degraded")["message"].startswith("2/2 nodes failed to configure")
    )
    assert "there is no interface eth666" in scene.await_policy("one", "Degraded")["message"]
    assert [scene.begun(node) for node in NODES] == begun


@pytest.mark.deviates("no-retry", "stuck-can-be-edited", "degraded-at-an-end")
def test_what_has_failed_is_tried_again_when_the_policy_is_edited_and_not_before(scene: Operator) -> None:
    since, begun = scene.now("nnce"), scene.begun("node-1")
    scene.probe("node-1", "bad", FAILING)
    scene.apply(policy("one", desired=veth(), nodeSelector=ONLY, probes=["exec:bad"]))
    told = scene.await_policy("one", "Degraded")
    assert told["message"].startswith("1/1 nodes failed to configure")
    assert scene.steps("node-1.one", since) == ["Pending", "Progressing", "Failing"]
    assert scene.link("node-1") == {}
    assert scene.begun("node-1") == begun + 1
    scene.patch("one", probes=[])
    scene.await_policy("one", "Available")
    assert scene.begun("node-1") == begun + 2


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_nodes_progress_at_the_same_time_than_may_be_unavailable(scene: Operator, limit: int) -> None:
    since = scene.now("nnce")
    for node in NODES:
        scene.probe(node, "wait", BLOCKING)
    scene.apply(policy("one", desired=veth(), probes=["exec:wait"], maxUnavailable=limit))
    scene.await_probed(*NODES[:limit])
    scene.let(*NODES)
    scene.await_policy("one", "Available")
    assert slots(scene.history("nnce", since)) == limit


@pytest.mark.deviates("orphans-go-at-once")
def test_a_policy_that_goes_takes_its_enactments_with_it_and_nothing_else(scene: Operator) -> None:
    scene.apply(policy("one", desired=veth()))
    scene.await_policy("one", "Available")
    scene.kill("node-2", "node")
    scene.cluster.kubectl("delete", "nncp", "one")
    until(lambda: scene.items("nnce") == {}, seconds=60, what=scene.what("nnce"))
    scene.start("node-2", "node")
    scene.await_ready()
    assert scene.items("nnce") == {}
    assert [scene.link(node)["mtu"] for node in NODES] == [1400, 1400]
    for node in NODES:
        scene.cluster.on(node, "ip", "link", "del", "v0")


def test_a_policy_that_matches_no_node_is_ignored_until_it_matches(scene: Operator) -> None:
    scene.apply(policy("one", desired=veth(), nodeSelector={"no": "where"}))
    told = scene.await_policy("one", "Ignored")
    assert (told["reason"], told["message"]) == ("NoMatchingNode", "Policy does not match any node")
    assert scene.items("nnce") == {}
    scene.cluster.kubectl(
        "patch", "nncp", "one", "--type=json", "-p", '[{"op": "remove", "path": "/spec/nodeSelector"}]'
    )
    scene.await_policy("one", "Available")
    assert scene.told("nnce") == {"node-1.one": "Available", "node-2.one": "Available"}


@pytest.mark.deviates("unmatched-reverts")
@pytest.mark.parametrize(("on_delete", "stays"), [("Keep", True), ("Revert", False)])
def test_a_node_whose_label_comes_or_goes_gets_or_loses_its_part(
    scene: Operator, on_delete: str, stays: bool
) -> None:
    scene.apply(policy("one", desired=veth(), nodeSelector={"wanted": "yes"}, onDelete=on_delete))
    scene.await_policy("one", "Ignored")
    scene.cluster.kubectl("label", "node", "node-2", "wanted=yes")
    scene.await_policy("one", "Available")
    assert scene.told("nnce") == {"node-2.one": "Available"}
    assert [bool(scene.link(node)) for node in NODES] == [False, True]
    scene.cluster.kubectl("label", "node", "node-2", "wanted-")
    until(lambda: scene.items("nnce") == {}, seconds=60, what=scene.what("nnce"))
    assert bool(scene.link("node-2")) == stays
    if stays:
        scene.cluster.on("node-2", "ip", "link", "del", "v0")
    scene.cluster.kubectl("label", "node", "node-2", "wanted=yes")  # the same is asked anew
    scene.await_policy("one", "Available")
    assert scene.link("node-2")["mtu"] == 1400
    scene.clear()
    scene.cluster.kubectl("label", "node", "node-2", "wanted-")


def test_a_policy_of_the_older_version_is_applied_too(scene: Operator) -> None:
    scene.apply(policy("one", desired=veth()) | {"apiVersion": "nmstate.io/v1beta1"})
    scene.await_policy("one", "Available")
    assert [scene.link(node)["mtu"] for node in NODES] == [1400, 1400]


@pytest.mark.deviates("captures-can-be-edited")
def test_a_capture_that_is_edited_is_taken_anew(scene: Operator) -> None:
    scene.cluster.on("node-1", "ip", "link", "set", "lo", "alias", "")
    capture = {"one": 'interfaces.name == "ens1f0"'}
    desired = veth(description="{{ capture.one.interfaces.0.name }}")
    scene.apply(policy("one", desired=desired, capture=capture, nodeSelector=ONLY))
    scene.await_policy("one", "Available")
    (found,) = scene.items("nnce").values()
    assert found["status"]["capturedStates"]["one"]["state"]["interfaces"][0]["name"] == "ens1f0"
    scene.patch("one", capture={"one": 'interfaces.name == "ens1f1"'})
    scene.await_policy("one", "Available")
    (found,) = scene.items("nnce").values()
    assert found["status"]["capturedStates"]["one"]["state"]["interfaces"][0]["name"] == "ens1f1"
    assert found["status"]["desiredState"]["interfaces"][0]["description"] == "ens1f1"


@pytest.mark.deviates("state-has-rules")
def test_a_nodes_state_is_there_again_when_it_was_deleted_and_is_written_only_when_it_is_another(
    scene: Operator,
) -> None:
    assert set(scene.items("nns")) == set(NODES)
    since = scene.now("nns")
    scene.cluster.kubectl("delete", "nns", "node-1")
    until(lambda: "currentState" in scene.items("nns").get("node-1", {}).get("status", {}), what=scene.log)
    rule = ("priority", "4711", "from", "192.0.2.0/24", "table", "100")
    scene.cluster.on("node-2", "ip", "rule", "add", *rule)
    scene.cluster.on("node-2", "ip", "link", "add", "d0", "type", "veth", "peer", "name", "e0")
    until(
        lambda: all(word in json.dumps(scene.items("nns")["node-2"]) for word in ('"d0"', "4711")),
        seconds=60,
        what=scene.log,
    )
    scene.cluster.on("node-2", "ip", "link", "del", "d0")
    scene.cluster.on("node-2", "ip", "rule", "del", *rule)
    history = [each for each in scene.history("nns", since) if each["metadata"]["name"] == "node-2"]
    states = [each["status"]["currentState"] for each in history]
    assert states
    assert all(one != other for one, other in itertools.pairwise(states))


@pytest.mark.deviates("contradictions-are-refused")
def test_two_policies_share_a_node_until_they_contradict_each_other(scene: Operator) -> None:
    other = {"name": "x0", "type": "veth", "state": "up", "veth": {"peer": "y0"}}
    scene.apply(policy("one", desired=veth(), nodeSelector=ONLY))
    scene.apply(policy("two", desired={"interfaces": [other]}, nodeSelector=ONLY))
    scene.await_policy("one", "Available")
    scene.await_policy("two", "Available")
    scene.patch("two", desiredState=veth(1300))
    told = scene.await_policy("two", "Degraded")
    assert "mtu" in told["message"]
    until(lambda: "policy two contradicts it" in scene.await_policy("one", "Available")["message"])
    assert (scene.link("node-1")["mtu"], bool(scene.link("node-1", "x0"))) == (1400, True)
    scene.patch("two", desiredState={"interfaces": [other]})
    scene.await_policy("two", "Available")


@pytest.mark.deviates("stray-changes")
def test_a_change_by_hand_that_nobody_has_kept_does_not_block_a_policy(scene: Operator) -> None:
    by_hand = {"interfaces": [{"name": "d0", "type": "veth", "state": "up", "veth": {"peer": "e0"}}]}
    state = ("--state-dir", str(scene.folder / "node-1" / "state"))
    trying = ("-m", "nncp", "try", *state, "--timeout", "3", "-")

    with subprocess.Popen(
        scene.cluster.argv("node-1", sys.executable, *trying), stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdin
        running.stdin.write(json.dumps(by_hand).encode())
        running.stdin.close()
        until(lambda: scene.link("node-1", "d0"), what=scene.log)
        running.kill()
    scene.apply(policy("one", desired=veth(), nodeSelector=ONLY))
    scene.await_policy("one", "Available")
    assert scene.link("node-1", "d0") == {}


@pytest.mark.parametrize(
    ("family", "address", "prefix", "to", "via"),
    [
        ("ipv4", "192.0.2.251", 24, "198.51.100.0/24", "192.0.2.1"),
        ("ipv6", "2001:db8::1:1", 64, "2001:dc8::/64", "2001:db8::1:2"),
    ],
)
def test_a_static_address_and_a_route_come_and_go(
    scene: Operator, family: str, address: str, prefix: int, to: str, via: str
) -> None:
    words = () if family == "ipv4" else ("-6",)
    own = {"enabled": True, "address": [{"ip": address, "prefix-length": prefix}]}
    if family == "ipv6":
        own |= {"dhcp": False, "autoconf": False}
    route = {"destination": to, "next-hop-interface": "v0", "next-hop-address": via, "metric": 150}
    peer = {"name": "w0", "type": "veth", "state": "up", "veth": {"peer": "v0"}}
    desired = {"interfaces": [*veth(**{family: own})["interfaces"], peer], "routes": {"config": [route]}}
    scene.apply(policy("one", desired=desired, nodeSelector=ONLY))
    scene.await_policy("one", "Available")
    assert f"{address}/{prefix}" in addresses(scene.cluster, "node-1", "v0")
    assert (to, "v0") in routes(scene.cluster, "node-1", "main", *words)
    gone = {"next-hop-interface": "v0", "state": "absent"}
    left = {"interfaces": [{"name": "v0", "type": "veth", family: {"enabled": True, "address": []}}]}
    scene.patch("one", desiredState=left | {"routes": {"config": [gone]}})
    scene.await_policy("one", "Available")
    assert addresses(scene.cluster, "node-1", "v0") == set()
    assert (to, "v0") not in routes(scene.cluster, "node-1", "main", *words)


def test_a_bridge_without_ports_comes_and_goes_by_state(scene: Operator) -> None:
    before = network(scene.cluster, "node-1")
    bridge = {"name": "br1", "type": "linux-bridge", "state": "up"}
    stp = {"options": {"stp": {"enabled": False}}, "port": []}
    scene.apply(policy("one", desired={"interfaces": [bridge | {"bridge": stp}]}, nodeSelector=ONLY))
    scene.await_policy("one", "Available")
    assert scene.link("node-1", "br1")["linkinfo"]["info_data"]["stp_state"] == 0
    scene.patch(
        "one", desiredState={"interfaces": [{"name": "br1", "type": "linux-bridge", "state": "absent"}]}
    )
    scene.await_policy("one", "Available")
    assert network(scene.cluster, "node-1") == before
