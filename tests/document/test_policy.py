"""What a file may hold: bare states, manifests, lists, several documents."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import pytest

from nncp.document.policy import Policy, read_policies
from nncp.document.read import read_partly, read_together
from nncp.document.source import Node, load
from nncp.document.state import Documented
from nncp.errors import Error

MANIFEST = """\
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata:
  name: bond-bridge
  labels: {a: b}
spec:
  nodeSelector:
    node-role.kubernetes.io/virt: ''
  desiredState:
    interfaces:
    - name: br0
      type: linux-bridge
      state: up
      bridge:
        port:
        - name: bond0
"""
TRUNK = {"mode": "trunk", "trunk-tags": [{"id-range": {"min": 2, "max": 4094}}]}


def policies(text: str) -> list[Policy]:
    return read_policies(load(text, file="node1.yaml"))


def refused(text: str) -> list[tuple[str, str, str]]:
    with pytest.raises(Error) as caught:
        policies(text)
    return [
        (error.message, str(error.where).removeprefix("node1.yaml:"), error.path) for error in caught.value
    ]


def test_a_bare_state_is_a_policy_without_a_name() -> None:
    (policy,) = policies("interfaces: []\n")
    assert (policy.name, policy.is_manifest, policy.state.value) == ("", False, {"interfaces": []})


def test_a_manifest_has_a_name_a_selector_and_a_state() -> None:
    (policy,) = policies(MANIFEST)
    assert (policy.name, policy.is_manifest) == ("bond-bridge", True)
    assert policy.node_selector == {"node-role.kubernetes.io/virt": ""}
    assert policy.state.path == ("spec", "desiredState")
    assert str(policy.state.place("interfaces", 0, "name")) == "node1.yaml:11:13"


def test_several_documents_a_list_and_json_give_their_policies_in_order() -> None:
    (node,) = load(MANIFEST, file="x")
    items = {"apiVersion": "v1", "kind": "List", "items": [node.value, node.value]}
    found = policies(f"---\n---\ninterfaces: []\n---\n{json.dumps(items)}\n---\n{MANIFEST}")
    assert [policy.name for policy in found] == ["", "bond-bridge", "bond-bridge", "bond-bridge"]
    assert found[2].state.error("no", "interfaces", 0).path == "items[1].spec.desiredState.interfaces[0]"


def ports(text: str, kinds: Mapping[str, Documented], **types: str) -> list[Any]:
    """Return the ports of the bridge, as the document is read on a host with links of these types."""
    found = read_together(policies(text), kinds, types=types)
    assert [error.message for error in found.errors] == []
    return [plain(port) for port in found.interfaces[0].config.port]


def plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(
    ("old", "new"),
    [("", ""), ("      state: up\n", ""), ("port:", "ports:"), ("      type: linux-bridge\n", "")],
)
def test_in_a_manifest_the_ports_of_a_bridge_that_is_up_carry_all_vlans_but_the_first(
    kinds: Mapping[str, Documented], old: str, new: str
) -> None:
    found = ports(MANIFEST.replace(old, new), kinds, br0="linux-bridge")
    assert found == [{"name": "bond0", "vlan": TRUNK}]


@pytest.mark.parametrize(
    ("old", "new"),
    [("name: bond0\n", "name: bond0\n          vlan: {}\n"), ("state: up", "state: down")],
)
def test_a_port_that_says_its_vlans_and_a_bridge_that_is_not_up_get_no_default(
    kinds: Mapping[str, Documented], old: str, new: str
) -> None:
    (port,) = ports(MANIFEST.replace(old, new), kinds)
    assert not port.get("vlan")


def test_what_a_manifest_gives_a_port_has_the_place_of_the_port(kinds: Mapping[str, Documented]) -> None:
    found = read_together(policies(MANIFEST), kinds)
    assert str(found.place("interfaces", 0, "bridge", "port", 0, "vlan", "mode")) == "node1.yaml:16:11"


def test_a_bare_state_gets_no_default(node: Callable[[str], Node], kinds: Mapping[str, Documented]) -> None:
    found = read_partly(node(MANIFEST).at("spec", "desiredState"), kinds)
    assert plain(found.interfaces[0].config.port) == [{"name": "bond0"}]


def test_a_manifest_without_a_state_asks_for_nothing() -> None:
    head = "apiVersion: nmstate.io/v1beta1\nkind: NodeNetworkConfigurationPolicy\n"
    (policy,) = policies(f"{head}metadata: {{name: x}}\nspec: {{}}\n")
    assert policy.state.value == {}


CLUSTER = """\
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: x}
spec:
"""


def test_what_only_a_cluster_reads_is_accepted_and_known_by_name() -> None:
    more = "  {mode: Plan, priority: 3, probes: [ping:gw], maxUnavailable: 10%, desiredState: {interfaces: []}}\n"
    (policy,) = policies(CLUSTER + more)
    assert policy.for_cluster == ("mode", "priority", "probes")


def test_what_is_wrong_with_it_is_told_at_its_place_all_at_once() -> None:
    text = (
        CLUSTER
        + """\
  mode: apply
  onDelete: Undo
  priorty: 1
  paused: 1
  maxUnavailable: 101%
  nodeSelectorTerms: [{matchExpressions: [{key: a, operator: is}]}]
  values: {address: {node: {a: b}}}
"""
    )
    operator = "spec.nodeSelectorTerms[0].matchExpressions[0].operator"
    words = "DoesNotExist, Exists, Gt, In, Lt, NotIn"
    limit = "maxUnavailable must be a number of nodes or a share of them like 50%, got '101%'"
    assert refused(text) == [
        ("unknown key priorty in spec", "7:3", "spec.priorty"),
        (limit, "9:19", "spec.maxUnavailable"),
        ("spec.mode must be one of Apply, Plan, got 'apply'", "5:9", "spec.mode"),
        ("spec.onDelete must be one of Keep, Revert, got 'Undo'", "6:13", "spec.onDelete"),
        ("spec.paused must be true or false, got 1", "8:11", "spec.paused"),
        (f"{operator} must be one of {words}, got 'is'", "10:62", operator),
        ("unknown key node in spec.values.address", "11:22", "spec.values.address.node"),
    ]


def test_all_that_is_wrong_with_manifests_is_told_at_once() -> None:
    text = """\
apiVersion: nmstate.io/v2
kind: NodeNetworkConfigurationPolicy
---
apiVersion: v1
kind: Pod
---
- a
---
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
spec:
  nodeSelectr: {}
  nodeSelector: {ssd: true, zone: {in: [a]}}
extra: 1
---
apiVersion: nmstate.io/v1
kind: NodeNetworkConfigurationPolicy
metadata: {name: %s}
"""
    assert refused(text % ("x" * 64)) == [
        ("apiVersion must be nmstate.io/v1, got 'nmstate.io/v2'", "1:13", "apiVersion"),
        ("kind must be NodeNetworkConfigurationPolicy, got 'Pod'", "5:7", "kind"),
        ("a document must be a mapping, got a list", "7:1", ""),
        ("unknown key extra", "14:1", "extra"),
        ("metadata.name is missing", "9:1", "metadata.name"),
        ("unknown key nodeSelectr in spec", "12:3", "spec.nodeSelectr"),
        ("label ssd must be text, got true", "13:23", "spec.nodeSelector.ssd"),
        ("label zone must be text, got a mapping", "13:35", "spec.nodeSelector.zone"),
        ("metadata.name must have at most 63 characters, got 64", "18:18", "metadata.name"),
        ("spec is missing", "16:1", "spec"),
    ]


def test_a_kind_that_is_nearly_right_gets_a_hint() -> None:
    with pytest.raises(Error) as caught:
        policies("apiVersion: nmstate.io/v1\nkind: NodeNetworkConfigurationPolicies\n")
    assert caught.value.hint == "did you mean NodeNetworkConfigurationPolicy?"


CAPTURE = "  capture: {gw: 'routes.running.destination==\"0.0.0.0/0\"'}\n  desiredState:"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (MANIFEST.replace("  desiredState:", CAPTURE), ("spec", "capture")),
        ("capture: {a: b}\ndesiredState: {interfaces: []}\n", ("capture",)),
    ],
)
def test_a_policy_has_captures(text: str, path: tuple[str, ...]) -> None:
    (policy,) = policies(text)
    assert policy.capture is not None
    assert (policy.capture.path, policy.is_template) == (path, True)


def test_the_two_words_for_a_desired_state_are_one_thing() -> None:
    assert refused("desired: {}\ndesiredState: {}\n") == [
        ("desired and desiredState are one thing", "2:1", "desiredState")
    ]


def test_a_typo_beside_a_capture_is_told() -> None:
    assert refused("capture: {}\ndesird: {}\n") == [("unknown key desird", "2:1", "desird")]


def test_a_policy_file_of_nmstate_without_captures_is_its_state() -> None:
    assert [policy.state.value for policy in policies("desired: {interfaces: []}\n")] == [{"interfaces": []}]
