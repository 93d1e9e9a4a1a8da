"""The API's kinds and its admission, on a real API server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nncp.document.source import load
from nncp.errors import Error
from tests.cluster.documents import ROOT, policy
from tests.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

STRICT, LOOSE = "--validate=strict", "--validate=ignore"


@pytest.fixture(scope="module")
def api(cluster: Handle) -> Handle:
    """A cluster with the kinds and the admission, which takes a moment until it refuses."""
    cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "crds.yaml"))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")
    old = json.dumps(policy("old", nonsense=1))
    cluster.kubectl("apply", "--validate=ignore", "-f", "-", stdin=old)  # before there was an admission
    cluster.kubectl("apply", "-f", str(ROOT / "deploy" / "admission.yaml"))
    until(lambda: "denied" in said(cluster, policy(nonsense=1)))
    return cluster


def tried(cluster: Handle, document: dict[str, Any], *, validate: str = LOOSE) -> dict[str, Any]:
    """What the API server would store."""
    words = ("create", "--dry-run=server", validate, "-o", "json", "-f", "-")
    stored: dict[str, Any] = json.loads(cluster.kubectl(*words, stdin=json.dumps(document)))
    return stored


def said(cluster: Handle, document: dict[str, Any], *, validate: str = LOOSE) -> str:
    """What the API server says to a document; nothing when it takes it."""
    try:
        tried(cluster, document, validate=validate)
    except Error as error:
        return error.message
    return ""


def test_kubectl_explains_a_property_deep_inside(api: Handle) -> None:
    path = "nncp.spec.desiredState.interfaces.bridge.options.stp"
    told = until(lambda: api.on("control-plane", "sh", "-c", f"{kubectl(api)} explain {path} || :"))
    assert "Seconds that a port listens" in told


def kubectl(api: Handle) -> str:
    from nncp.lab.cluster import inside, program

    return " ".join(inside.kubectl(program.folder() / "kubectl"))


@pytest.mark.deviates("unknown-keys-are-refused")
@pytest.mark.parametrize("validate", [STRICT, LOOSE])
def test_unknown_keys_are_refused_by_their_paths_whoever_sends_them(api: Handle, validate: str) -> None:
    desired = {
        "interface": [],
        "route-rules": {"config": [{"priorty": 1}]},
        "interfaces": [
            {"name": "gone", "state": "absent", "of this nothing else is read": 1},
            {"name": "br1", "bridge": {"options": {"stp": {"forward-delai": 2}}}},
            {"name": "br2", "bridge": {"port": [{"name": "a"}, {"name": "b", "vlan": {"trunk-tag": []}}]}},
        ],
    }
    document = policy(
        desired=desired, maxUnavailabel=1, values={"address": {"node": {}}}, nodeSelectorTerms=[{"match": 1}]
    )
    document["spec"]["nodeSelectorTerms"][0]["matchExpressions"] = []
    paths = said(api, document, validate=validate).partition("unknown keys: ")[2].split(", ")
    assert sorted(paths) == [
        "spec.desiredState.interface",
        "spec.desiredState.interfaces[1].bridge.options.stp.forward-delai",
        "spec.desiredState.interfaces[2].bridge.port[1].vlan.trunk-tag",
        "spec.desiredState.route-rules.config[0].priorty",
        "spec.maxUnavailabel",
        "spec.nodeSelectorTerms[0].match",
        "spec.values.address.node",
    ]


def test_a_template_may_stand_for_anything_and_words_for_numbers(api: Handle) -> None:
    desired = {
        "interfaces": [
            {"name": "a", "mtu": "{{ values.mtu }}", "bridge": "{{ capture.x.interfaces.0.bridge }}"},
            {"name": "b", "mtu": "0x5dc", "ipv4": {"enabled": "yes", "address": "{{ capture.x }}"}},
            {"name": "c", "mtu": 1500, "ipv4": {"enabled": True}, "vlan": None},
            "{{ capture.x.interfaces.1 }}",
        ],
        "routes": "{{ capture.x.routes }}",
    }
    assert tried(api, policy(desired=desired), validate=STRICT)["spec"]["desiredState"] == desired


@pytest.mark.parametrize(
    "path", sorted((ROOT / "policies").glob("*/policy.yaml")), ids=lambda path: path.parent.name
)
def test_a_published_policy_reaches_the_cluster_as_it_is_meant(api: Handle, path: Path) -> None:
    """kubectl reads YAML 1.1, in which `on` and `no` are no texts; none of ours says it so."""
    (ours,) = (node.value for node in load(path.read_text(), file=path.name))
    sent = api.kubectl("create", "--dry-run=server", STRICT, "-o", "json", "-f", str(path))
    assert json.loads(sent)["spec"] == ours["spec"]


@pytest.mark.parametrize("count", [1500, 3000])
def test_the_last_of_very_many_vlans_is_looked_at_too(api: Handle, count: int) -> None:
    def vlan(number: int, **more: Any) -> dict[str, Any]:
        address = {"ip": f"10.0.{number // 250}.{number % 250}", "prefix-length": 24}
        return {
            "name": f"bond0.{number}",
            "type": "vlan",
            "state": "up",
            "vlan": {"base-iface": "bond0", "id": number},
            "ipv4": {"enabled": True, "address": [address]},
            **more,
        }

    vlans = [vlan(number) for number in range(2, count + 1)]
    name = f"vlans-{count}"
    api.kubectl("create", "-f", "-", stdin=json.dumps(policy(name, desired={"interfaces": vlans})))
    vlans[-1]["mtu"] = 1400
    changed = json.dumps(policy(name, desired={"interfaces": vlans}))
    api.kubectl("replace", "--dry-run=server", "-f", "-", stdin=changed)  # is compared with what is there
    vlans.append(vlan(1, tipe="x"))
    assert f"spec.desiredState.interfaces[{count - 1}].tipe" in said(
        api, policy(desired={"interfaces": vlans})
    )


@pytest.mark.deviates("limit-means-something")
@pytest.mark.parametrize(
    ("limit", "is_good"),
    [
        *((limit, True) for limit in (0, 3, "0%", "50%", "100%")),
        *((limit, False) for limit in (-1, "101%", "050%", "asdf", "42", "")),
    ],
)
def test_a_limit_that_means_nothing_is_refused(api: Handle, limit: Any, is_good: bool) -> None:
    assert ("spec.maxUnavailable must be" in said(api, policy(maxUnavailable=limit))) != is_good


@pytest.mark.parametrize(("name", "is_good"), [("a" * 63, True), ("a" * 64, False), ("a.b-c", True)])
def test_a_name_that_is_no_labels_value_is_refused(api: Handle, name: str, is_good: bool) -> None:
    assert ("metadata.name becomes" in said(api, policy(name))) != is_good


@pytest.mark.parametrize(
    ("field", "value"),
    [("mode", "apply"), ("onDelete", "Undo"), ("drift", True), ("priority", "high"), ("paused", "yes")],
)
def test_a_word_that_a_field_does_not_know_is_refused(api: Handle, field: str, value: Any) -> None:
    assert f"spec.{field}" in said(api, policy(**{field: value}))


def test_what_was_stored_before_may_be_labelled_and_is_judged_when_its_spec_changes(api: Handle) -> None:
    api.kubectl("label", "nncp", "old", "a=b")
    with pytest.raises(Error, match=r"spec\.nonsense"):
        api.kubectl("patch", "nncp", "old", "--type=merge", "-p", '{"spec": {"priority": 1}}')


def test_a_policy_without_a_spec_is_none_that_anybody_has_to_judge(api: Handle) -> None:
    document = policy()
    del document["spec"]
    assert said(api, document) == ""
