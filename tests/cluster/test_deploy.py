"""What `kubectl apply -k deploy/` starts on real kubelets, and what the tokens of its Pods may write there."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from nncp import restore
from nncp.errors import Error
from nncp.lab.cluster import image, runtime
from nncp.lab.cluster.addresses import CONTROL, SERVER
from nncp.lab.cluster.worker import NAMESPACE
from nncp.operator import at_start, events, host_copy, static_pod
from tests.waiting import until

if TYPE_CHECKING:
    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NODES = ("node-1", "node-2")
ALL = ("daemonset/agent", "deployment/controller")
TOKEN = "/var/run/secrets/kubernetes.io/serviceaccount/token"
HERE = ("--namespace=bridgehead",)
API = "kube-apiserver"


@pytest.fixture(scope="module")
def deployed(cluster: Handle) -> Handle:
    cluster.command("load", str(image.ensure(ROOT)))
    cluster.kubectl("apply", "-k", str(ROOT / "deploy"))
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(map(enactment, NODES)))
    for what in ALL:
        cluster.kubectl(*HERE, "rollout", "status", what, "--timeout=300s")
    return cluster


def enactment(node: str) -> dict[str, Any]:
    """What a policy asks of a node; it has a name that no agent takes for its own."""
    return {
        "apiVersion": "nmstate.io/v1beta1",
        "kind": "NodeNetworkConfigurationEnactment",
        "metadata": {"name": f"tokens-of-{node}"},
        "spec": {"nodeName": node, "policyName": "tokens", "policyGeneration": 1},
    }


def pods(cluster: Handle, component: str) -> list[dict[str, Any]]:
    """The Pods of a part, in the order of their nodes."""
    chosen = f"--selector=app.kubernetes.io/component={component}"
    found = json.loads(cluster.kubectl(*HERE, "get", "pods", chosen, "-o", "json"))["items"]
    return sorted(found, key=lambda each: str(each["spec"]["nodeName"]))


def test_agents_run_on_every_node_and_of_two_controllers_one_leads(deployed: Handle) -> None:
    assert [each["spec"]["nodeName"] for each in pods(deployed, "agent")] == list(NODES)
    names = [each["metadata"]["name"] for each in pods(deployed, "controller")]
    assert len(names) == 2
    holder = "jsonpath={.spec.holderIdentity}"
    assert until(lambda: deployed.kubectl(*HERE, "get", "lease/controller", "-o", holder)) in names


def apply(cluster: Handle, name: str, state: str = "up", **spec: Any) -> None:
    """Have a bridge by a policy of its own, and return when that is in force."""
    link = {"name": f"br-{name}", "type": "linux-bridge", "state": state}
    policy = {
        "apiVersion": "nmstate.io/v1",
        "kind": "NodeNetworkConfigurationPolicy",
        "metadata": {"name": name},
        "spec": {"maxUnavailable": 2, "desiredState": {"interfaces": [link]}, **spec},
    }
    told = json.loads(cluster.kubectl("apply", "-o", "json", "-f", "-", stdin=json.dumps(policy)))
    seen = f"--for=jsonpath={{.status.observedGeneration}}={told['metadata']['generation']}"
    for condition in (seen, "--for=condition=Available"):
        cluster.kubectl("wait", condition, f"nncp/{name}", "--timeout=300s")


@pytest.mark.parametrize("state", ["up", "absent"])
def test_a_policy_is_in_force_on_every_node(deployed: Handle, state: str) -> None:
    apply(deployed, "deployed", state)
    for node in NODES:
        assert ("br-deployed" in deployed.on(node, "ip", "-br", "link")) == (state == "up")


def test_a_bridge_with_pods_is_not_deleted_and_its_pods_are_named(deployed: Handle) -> None:
    policy = {
        "apiVersion": "nmstate.io/v1",
        "kind": "NodeNetworkConfigurationPolicy",
        "metadata": {"name": "no-pods"},
        "spec": {"desiredState": {"interfaces": [{"name": "cni0", "state": "absent"}]}},
    }
    names = [each["metadata"]["name"] for each in pods(deployed, "controller")]
    deployed.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    deployed.kubectl("wait", "--for=condition=Degraded", "nncp/no-pods", "--timeout=300s")
    told = deployed.kubectl("get", "nnce", "-o", "jsonpath={.items[*].status.conditions[*].message}")
    deployed.kubectl("delete", "nncp/no-pods")
    assert all(f"(Pod bridgehead/{name})" in told for name in names), told


def test_only_the_engine_has_rights_over_the_node_and_only_the_agent_a_token(deployed: Handle) -> None:
    name = pods(deployed, "agent")[0]["metadata"]["name"]

    def says(container: str, command: str) -> str:
        words = ("sh", "-c", f"{command} 2>&1 || :")
        return deployed.kubectl(*HERE, "exec", name, "-c", container, "--", *words)

    assert "CapBnd:\t0000000000000000" in says("agent", "cat /proc/self/status")
    assert says("agent", "id -u") == "65532\n"
    assert "No such file" not in says("agent", f"cat {TOKEN}")
    assert "No such file" in says("engine", f"cat {TOKEN}")
    for container, path in [
        ("agent", "/usr/x"),
        ("engine", "/usr/x"),
        ("engine", "/etc/nncp/probes.d/x"),
        ("engine", "/proc/sys/net/ipv4/ip_forward"),
    ]:
        assert "Read-only" in says(container, f"cp /etc/group {path}")


def test_the_engine_sees_what_rests_on_the_nodes_links_in_the_networks_of_pods(deployed: Handle) -> None:
    """Without its rights it would look away, and take a link from under a Pod without a word."""
    node = pods(deployed, "controller")[0]["spec"]["nodeName"]  # it has a network of its own
    (pod,) = (each for each in pods(deployed, "agent") if each["spec"]["nodeName"] == node)
    look = (
        "from pathlib import Path; from nncp.netns import entered; from nncp.netlink.channel import Channel\n"
        "for path in Path('/run/netns').iterdir():\n with entered(path), Channel(): print('seen')"
    )
    words = (*HERE, "exec", pod["metadata"]["name"], "-c", "engine", "--", "python", "-c", look)
    listed = deployed.on(node, "ls", "/run/netns").split()
    assert listed
    assert deployed.kubectl(*words).split() == ["seen"] * len(listed)


def test_a_copy_for_the_host_runs_in_the_nodes_own_python_where_that_fits(deployed: Handle) -> None:
    """As after a start without an API server, when there is no Pod."""
    pod = pods(deployed, "agent")[0]
    node, name = pod["spec"]["nodeName"], pod["metadata"]["name"]
    put = (
        "from pathlib import Path; from nncp.operator import host_copy as h\n"
        "ours = h.our_program()\n"
        "print(h.put(Path('/var/lib/nncp/restore')), ours.machine, ours.loader, h.VERSION)"
    )
    told = deployed.kubectl(*HERE, "exec", name, "-c", "engine", "--", "python", "-c", put)
    current, machine, loader, version = told.split()
    if host_copy.misfit(host_copy.look(Path("/usr")), host_copy.Program(int(machine), loader)):
        return
    nncp = (f"/usr/bin/{version}", "-I", "-S", "-B", current)
    link = '{"interfaces": [{"name": "br-copied", "type": "linux-bridge", "state": "%s"}]}'
    deployed.on(node, *nncp, "apply", "-", stdin=link % "up")
    deployed.on(node, "ip", "link", "delete", "br-copied")
    deployed.on(node, *nncp, "restore")
    assert "br-copied" in deployed.on(node, "ip", "-br", "link")
    deployed.on(node, *nncp, "apply", "-", stdin=link % "absent")


def test_whoever_has_no_rights_may_still_look(deployed: Handle) -> None:
    name = pods(deployed, "agent")[0]["metadata"]["name"]
    shown = deployed.kubectl(*HERE, "exec", name, "-c", "agent", "--", "nncp", "show", "-o", "json")
    assert "enp1s0" in {each["name"] for each in json.loads(shown)["interfaces"]}


# Requests as an agent's client sends them: kubectl reads a status before it patches it.
CLIENT = """
import http.client, json, ssl, sys
asked = json.load(sys.stdin)
line = http.client.HTTPSConnection(asked["host"], context=ssl._create_unverified_context())
said = {}
for name, (method, path, body) in asked["requests"].items():
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    headers = {"Authorization": "Bearer " + asked["token"], "Content-Type": kind}
    line.request(method, path + "?dryRun=All", json.dumps(body), headers)
    answer = json.loads(line.getresponse().read())
    said[name] = answer.get("message", "") if answer.get("code", 200) >= 400 else ""
print(json.dumps(said))
"""
KINDS = "/apis/nmstate.io/v1beta1"
ENACTMENTS, STATES = f"{KINDS}/nodenetworkconfigurationenactments", f"{KINDS}/nodenetworkstates"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/bridgehead/leases"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
STATUS, TOUCHED = {"status": {}}, {"metadata": {"labels": {"a": "b"}}}
DRY = {"dryRun": ["All"]}  # the options of a deletion that has a body stand there alone


def event(node: str) -> dict[str, Any]:
    """What an agent of a node tells."""
    made = events.Event("ReconcileFailed", "Rollback", "it did not answer", is_bad=True)
    return events.body(made, node=node, name=f"{node}.p", uid="u", now="2026-01-01T00:00:00.000000Z")


class Token:
    """Somebody who has a token and nothing else."""

    def __init__(self, cluster: Handle, token: str) -> None:
        self.cluster = cluster
        self.token = token

    def said(self, requests: dict[str, tuple[str, str, Any]]) -> dict[str, str]:
        """What the API server refuses, by the requests' names; nothing of one that it would do."""
        asked = {"host": SERVER, "token": self.token, "requests": requests}
        told = self.cluster.on(CONTROL, sys.executable, "-c", CLIENT, stdin=json.dumps(asked))
        found: dict[str, str] = json.loads(told)
        return found

    def tries(self, node: str) -> dict[str, str]:
        """What is said to each thing that an agent of a node does."""
        return self.said(
            {
                "an enactment's status": ("PATCH", f"{ENACTMENTS}/tokens-of-{node}/status", STATUS),
                "a state's status": ("PATCH", f"{STATES}/{node}/status", STATUS),
                "a state": ("PATCH", f"{STATES}/{node}", TOUCHED),
                "a state that goes": ("DELETE", f"{STATES}/{node}", DRY),
                "a lease": ("PATCH", f"{LEASES}/{node}", TOUCHED),
                "an event": ("POST", EVENTS, event(node)),
            }
        )


@pytest.fixture(scope="module")
def tokens(deployed: Handle) -> dict[str, Token]:
    """Those of two Pods, by their nodes, and one that is bound to no Pod."""

    def of(pod: dict[str, Any]) -> str:
        name = pod["metadata"]["name"]
        return deployed.kubectl(*HERE, "exec", name, "-c", "agent", "--", "cat", TOKEN)

    found = {pod["spec"]["nodeName"]: of(pod) for pod in pods(deployed, "agent")}
    found["nowhere"] = deployed.kubectl(*HERE, "create", "token", "agent").strip()
    made = {name: Token(deployed, token) for name, token in found.items()}
    # An admission policy that was just created takes a moment until it refuses.
    until(lambda: "agents.nmstate.io" in made["nowhere"].tries("node-1")["a lease"])
    return made


def test_an_agents_token_writes_what_is_its_own_nodes_and_nothing_else(tokens: dict[str, Token]) -> None:
    for node, other in (NODES, reversed(NODES)):
        assert set(tokens[node].tries(node).values()) == {""}
        for what, said in tokens[node].tries(other).items():
            assert f"the agent of node {node} writes only" in said, what


def test_a_token_that_says_of_no_node_writes_nothing(tokens: dict[str, Token]) -> None:
    for what, said in tokens["nowhere"].tries("node-1").items():
        assert "says of no node" in said, what


def test_an_agent_makes_what_has_its_nodes_name_only(tokens: dict[str, Token]) -> None:
    def made(node: str) -> dict[str, str]:
        named = {"metadata": {"name": node}}
        state = {"apiVersion": "nmstate.io/v1beta1", "kind": "NodeNetworkState", **named}
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **named}
        return tokens["node-1"].said({"a": ("POST", STATES, state), "b": ("POST", LEASES, lease)})

    for said in made("node-1").values():
        assert "already exists" in said
    for said in made("node-3").values():
        assert "the agent of node node-1 writes only what has its name, and this is node-3" in said


def test_neither_the_election_nor_what_is_asked_is_an_agents(tokens: dict[str, Token]) -> None:
    own, spec = f"{ENACTMENTS}/tokens-of-node-1", {"spec": {"go": "x.0"}}
    of_a_pod = event("node-1") | {"regarding": {"kind": "Pod", "name": "node-1.p", "namespace": "default"}}
    told = tokens["node-1"].said(
        {
            "election": ("PATCH", f"{LEASES}/controller", {"spec": {"holderIdentity": "me"}}),
            "spec": ("PATCH", own, spec),
            "end": ("DELETE", own, DRY),
            "policy": ("PATCH", "/apis/nmstate.io/v1/nodenetworkconfigurationpolicies/deployed", spec),
            "node": ("PATCH", "/api/v1/nodes/node-1", TOUCHED),
            "event of a Pod's": ("POST", EVENTS, of_a_pod),
            "event by its old name": ("POST", "/api/v1/namespaces/default/events", {}),
            "nothing": ("PATCH", f"{own}/status", {**STATUS, **spec}),
        }
    )
    assert "writes only what has its name" in told["election"]
    assert told.pop("nothing") == ""  # a write of a status that holds a spec leaves that as it is
    assert all("forbidden" in said for said in told.values()), told


def test_the_node_of_an_enactment_stays_whoever_changes_it(deployed: Handle) -> None:
    for change in ('{"spec": {"nodeName": "node-2"}}', '{"spec": null}'):
        with pytest.raises(Error, match=r"stays as it is|required"):
            deployed.kubectl("patch", "nnce", "tokens-of-node-1", "--type=merge", "-p", change)
    deployed.kubectl("patch", "nnce", "tokens-of-node-1", "--type=merge", "-p", '{"spec": {"aborted": true}}')


@pytest.mark.parametrize(
    ("component", "container"), [("agent", "agent"), ("agent", "engine"), ("controller", "controller")]
)
def test_a_container_that_is_killed_comes_back(deployed: Handle, component: str, container: str) -> None:
    def found() -> tuple[str, bool]:
        statuses = pods(deployed, component)[0]["status"]["containerStatuses"]
        (own,) = [each for each in statuses if each["name"] == container]
        return own["containerID"].removeprefix("containerd://"), all(each["ready"] for each in statuses)

    before, _ = found()
    node = pods(deployed, component)[0]["spec"]["nodeName"]
    ctr = str(runtime.folder() / "tree/usr/bin/ctr")
    deployed.on(node, ctr, "-n", NAMESPACE, "task", "kill", "--signal", "SIGKILL", before)
    until(lambda: found()[0] != before and found()[1], seconds=60.0, what=found)


def restores(cluster: Handle, node: str) -> str:
    """What brings a node's network back at its start, as its state says."""
    return cluster.kubectl("get", "nns", node, "--ignore-not-found", "-o", "jsonpath={.status.restore}")


def parts(cluster: Handle, node: str) -> dict[str, dict[str, Any]]:
    """A node's part in each policy, by its name."""
    found = json.loads(cluster.kubectl("get", "nnce", "-o", "json"))["items"]
    return {each["metadata"]["name"]: each for each in found if each["spec"]["nodeName"] == node}


def cycle(cluster: Handle, node: str, name: str, *, away: bool = True) -> None:
    """Power cycle a node, until its bridge is back; nothing that is so already is applied or told again.

    Args:
        cluster: whose node it is.
        node: which.
        name: of a policy of its own.
        away: whether there is no API server until the bridge is back.

    """
    apply(cluster, name)
    # A policy may be Available while a node is not ready.
    cluster.kubectl("wait", "--for=condition=Available", f"nnce/{node}.{name}", "--timeout=300s")
    before = parts(cluster, node)
    for words in [("off", API), ("off", node), ("on", node)] if away else [("on", node)]:
        cluster.command(*words)
    until(
        lambda: f"br-{name}" in cluster.on(node, "ip", "-br", "link"),
        seconds=120,
        what=lambda: cluster.on(node, "sh", "-c", "ls /var/log/pods; cat /var/log/pods/*/*/* || :"),
    )
    if away:
        with pytest.raises(Error):
            cluster.kubectl("get", "nodes")
        cluster.command("on", API)
    only = {"nodeSelector": {"kubernetes.io/hostname": node}}
    apply(cluster, f"{name}-2", **only)  # an agent that has done this has looked at all that there was
    cluster.kubectl("wait", "--for=condition=Available", f"nnce/{node}.{name}-2", "--timeout=300s")
    now = parts(cluster, node)
    assert {each: now[each] for each in before} == before  # and its resourceVersion
    (pod,) = (each for each in pods(cluster, "agent") if each["spec"]["nodeName"] == node)
    said = cluster.kubectl(*HERE, "logs", pod["metadata"]["name"], "-c", "engine")
    assert f"of {name}-2 begins" in said
    assert f"of {name} begins" not in said
    for each, where in ((f"{name}-2", only), (name, {})):
        apply(cluster, each, "absent", **where)
        cluster.kubectl("delete", "nncp", each)


def has(cluster: Handle, node: str, path: Path) -> bool:
    return "yes" in cluster.on(node, "sh", "-c", f"[ ! -e {path} ] || echo yes")


UNIT = Path("/", at_start.UNITS, restore.UNIT)
USR = "/opt/another/usr"
POD = Path("/", at_start.MANIFESTS, static_pod.FILE)


def test_without_the_api_server_a_unit_brings_back_a_nodes_network(deployed: Handle) -> None:
    said = until(lambda: restores(deployed, "node-2"), seconds=60)
    if said != "unit":
        pytest.skip(f"this machine, whose programs the nodes have: {said}")
    assert (has(deployed, "node-2", UNIT), has(deployed, "node-2", POD)) == (True, False)
    cycle(deployed, "node-2", "by-unit")


def test_without_the_api_server_a_static_pod_does_where_the_nodes_python_is_another(deployed: Handle) -> None:
    """The folder that the engine takes for the nodes' /usr is one with systemd and without a Python."""
    for node in NODES:
        deployed.on(node, "sh", "-ec", f"mkdir -p {USR}/lib/systemd; touch {USR}/lib/systemd/systemd")
    usr = {"name": "usr", "hostPath": {"path": USR}}
    at_once = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": len(NODES)}}
    change = {"spec": {"updateStrategy": at_once, "template": {"spec": {"volumes": [usr]}}}}
    deployed.kubectl(*HERE, "patch", "daemonset", "agent", "--patch", json.dumps(change))
    deployed.kubectl(*HERE, "rollout", "status", "daemonset/agent", "--timeout=300s")
    begins = "static Pod, since the modules are compiled for "
    said = until(lambda: (told := restores(deployed, "node-2")).startswith(begins) and told, seconds=60)
    until(lambda: at_start.SILENT not in restores(deployed, "node-2"), seconds=60, what=said)
    assert (has(deployed, "node-2", UNIT), has(deployed, "node-2", POD)) == (False, True)
    cycle(deployed, "node-2", "by-pod")
    # The engine may begin while the Pod is at work, or before.
    cycle(deployed, "node-2", "beside", away=False)
