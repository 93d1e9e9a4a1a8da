"""What an administrator asks a real cluster by command line, with agents and engines on its nodes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp.lab.cluster.control import ADMIN
from tests.cluster.documents import ROOT, policy
from tests.cluster.programs import NAMESPACE, NODES, Operator
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

BRIDGE = {"name": "br-p", "type": "linux-bridge", "state": "up"}
OLD = {**BRIDGE, "name": "br-old"}
ACCOUNT = ("--namespace=default", "create", "token", "default")
IMPATIENT = (
    "import runpy; from nncp.operator import adoption; adoption.OUTLIVED = 0.5; "
    "runpy.run_module('nncp.operator.cluster', run_name='__main__')"
)


class Admin:
    """A command line in the control plane's machine."""

    def __init__(self, cluster: Handle) -> None:
        self.cluster = cluster

    def argv(self, *words: str, config: object = ADMIN) -> list[str]:
        env = ("env", "--default-signal=INT,TERM", f"KUBECONFIG={config}", f"PYTHONPATH={ROOT}", "NO_PROXY=*")
        return self.cluster.argv("control-plane", *env, sys.executable, "-P", "-m", "nncp", *words)

    def says(self, *words: str, code: int = 0, config: object = ADMIN, stdin: object = "") -> str:
        """What a command prints, which is to end with a code; what is wrong where that is none."""
        text = stdin if isinstance(stdin, str) else json.dumps(stdin)
        done = subprocess.run(
            self.argv(*words, config=config), input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done.stdout if code in {0, 1} else done.stdout + done.stderr

    def policies(self) -> list[str]:
        listed = self.cluster.kubectl("get", "nncp", "-o", "name").split()
        return [each.partition("/")[2] for each in listed]


@pytest.fixture(scope="module")
def admin(cluster: Handle) -> Admin:
    one = Admin(cluster)
    for words in (("status", "--cluster"), ("rollout", "watch", "p"), ("plan", "--cluster", "-")):
        told = one.says(*words, code=69, stdin=policy(desired={"interfaces": []}))
        assert "knows no nodenetworkconfigurationpolicies" in told
    assert "no controller has started" in one.says("adopt", "--all", code=69)
    return one


@pytest.fixture(scope="module")
def operator(admin: Admin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator, whose controller has found a policy at its first start."""
    cluster = admin.cluster
    for file in ("crds.yaml", "admission.yaml"):
        cluster.kubectl("apply", "-f", str(ROOT / "deploy" / file))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(policy("old", desired={"interfaces": [OLD]})))
    told = admin.says(
        "plan", "--cluster", "--wait", "1", "-", code=69, stdin=policy("p", desired={"interfaces": []})
    )
    assert "no controller has looked at" in told
    assert admin.policies() == ["old"]
    folder = tmp_path_factory.mktemp("operator")
    sockets = Path(tempfile.mkdtemp(prefix="s"))
    running = Operator(cluster, folder, sockets)
    try:
        until(lambda: all((folder / node / "ready").exists() for node in NODES), what=running.log)
        yield running
    finally:
        running.end()
        shutil.rmtree(sockets)
    assert "Traceback" not in running.log()


def test_what_was_there_before_is_planned_until_it_is_adopted_whoever_restarts(
    admin: Admin, operator: Operator
) -> None:
    def told() -> str:
        return admin.says("rollout", "watch", "old", "--timeout", "60", code=1).splitlines()[-1]

    what = "found at the first start: planned, not applied, until `nncp adopt old`; 2 nodes would change"
    assert told() == f"old  Ignored  {what}"
    operator.kill("control-plane", "cluster")
    before = operator.versions()
    operator.cluster.kubectl("delete", "leases", "controller", "-n", NAMESPACE)
    operator.start("control-plane", "cluster")
    assert "does not wait" not in admin.says("adopt", "--namespace", NAMESPACE, "none", "old", code=64)
    told_by_check = admin.says("cluster", "check", "--namespace", NAMESPACE)
    assert "kubernetes-nmstate: does not run" in told_by_check
    assert "to be adopted:      old" in told_by_check
    operator.apply(policy("new", desired={"interfaces": [{**BRIDGE, "name": "br-new"}]}))
    admin.says("rollout", "watch", "new", "--timeout", "60")
    assert {name: version for name, version in operator.versions().items() if "old" in name} == {
        name: version for name, version in before.items() if "old" in name
    }
    assert [operator.link(node, "br-old") for node in NODES] == [{}, {}]
    assert "old" in admin.says("status", "--cluster", "--check", code=1)

    assert admin.says("adopt", "--namespace", NAMESPACE, "old") == "old is adopted\n"
    until(lambda: operator.told("nncp")["old"] == "Available", seconds=60, what=operator.log)
    assert all(operator.link(node, "br-old") for node in NODES)
    assert "does not wait" in admin.says("adopt", "--namespace", NAMESPACE, "old", code=64)
    assert admin.says("adopt", "--namespace", NAMESPACE, "--all") == "No policy waits to be adopted.\n"
    found = json.loads(admin.says("status", "--cluster", "--check", "-o", "json"))
    assert [each["policy"] for each in found] == ["new", "old"]
    operator.cluster.kubectl("delete", "nncp", "new")


def test_a_plan_is_each_nodes_own_and_leaves_nothing_behind(admin: Admin, operator: Operator) -> None:
    vlan = {
        "name": "v.3",
        "type": "vlan",
        "state": "up",
        "vlan": {"base-iface": "{{ values.base }}", "id": 3},
    }
    per_node = {"mtu": {"nodes": {"node-1": "1400"}, "default": "1300"}}
    wanted = policy(
        "wanted",
        desired={"interfaces": [{**BRIDGE, "name": "b9", "mtu": "{{ values.mtu }}"}]},
        values=per_node,
    )
    told = admin.says("plan", "--cluster", "--exit-code", "-", code=1, stdin=wanted)
    assert told.startswith("node-1:\n+ b9 ")
    assert told.endswith("\n2 nodes would change\n")
    same = policy("same", desired={"interfaces": [OLD]})
    assert admin.says("plan", "--cluster", "--exit-code", "-", stdin=same).startswith(
        "node-1, node-2:\nNo changes.\n"
    )
    values = {"base": {"nodes": {"node-1": "br-old"}, "default": "nowhere"}}
    bad = policy("bad", desired={"interfaces": [vlan]}, values=values)
    (found,) = json.loads(
        admin.says("plan", "--cluster", "-o", "json", "-", code=65, stdin=bad).partition("error:")[0]
    )
    assert [each["answer"] for each in found["nodes"]] == ["changes", "refusal"]
    assert "node-2 refuses" in found["message"]
    assert "has no value base" in admin.says(
        "plan",
        "--cluster",
        "-",
        code=65,
        stdin={**bad, "spec": {**bad["spec"], "values": {"base": {"nodes": {"node-1": "x"}}}}},
    )
    assert admin.policies() == ["old"]
    until(lambda: all(name.endswith(".old") for name in operator.items("nnce")), what=operator.what("nnce"))


def of_plan(operator: Operator) -> list[str]:
    return [told for name, told in operator.told("nnce").items() if ".plan-" in name]


def test_a_rollout_is_told_event_by_event_and_ends_with_what_came_of_it(
    admin: Admin, operator: Operator
) -> None:
    (operator.folder / "node-1" / "probes.d" / "no").write_text(
        "#!/bin/sh\n[ ! -e /sys/class/net/br-p ] || kill -9 $PPID\n"
    )
    (operator.folder / "node-1" / "probes.d" / "no").chmod(0o755)
    operator.apply(policy("p", desired={"interfaces": [BRIDGE]}, maxUnavailable=1, probes=["exec:no"]))
    told = admin.says("rollout", "watch", "p", "-o", "json", "--timeout", "120", code=75).partition("error:")[
        0
    ]
    events: list[dict[str, Any]] = [json.loads(line) for line in told.splitlines()]
    assert {"node": "node-1", "status": "Failing"}.items() <= next(
        each for each in events if each["status"] == "Failing"
    ).items()
    assert [each["status"] for each in events if "policy" in each][-1] == "Degraded"
    assert "there is no policy q" in admin.says("rollout", "watch", "q", code=64)
    operator.cluster.kubectl("delete", "nncp", "p")


def test_who_may_not_or_cannot_reach_the_server_is_told_so_in_a_sentence(
    admin: Admin, operator: Operator, tmp_path: Path
) -> None:
    assert "nothing says which cluster" in admin.says(
        "status", "--cluster", code=69, config=tmp_path / "none"
    )
    text = admin.cluster.on("control-plane", "cat", str(ADMIN))
    away, poor = tmp_path / "away", tmp_path / "poor"
    server = json.loads(admin.cluster.kubectl("config", "view", "-o", "json"))["clusters"][0]["cluster"][
        "server"
    ]
    away.write_text(text.replace(server, "https://127.0.0.1:1"))
    token = admin.cluster.kubectl(*ACCOUNT).strip()
    whole = json.loads(admin.cluster.kubectl("config", "view", "--raw", "-o", "json"))
    whole["users"][0]["user"] = {"token": token}
    poor.write_text(json.dumps(whole))
    asked = policy(desired={"interfaces": []})
    assert "cannot be reached" in admin.says("plan", "--cluster", "-", code=69, config=away, stdin=asked)
    for words in (("status", "--cluster"), ("adopt", "--all"), ("plan", "--cluster", "-")):
        assert "forbidden" in admin.says(*words, code=77, config=poor, stdin=asked)
    assert "DaemonSet: " in admin.says("cluster", "check", config=poor)


def test_a_kubernetes_nmstate_is_found_by_its_labels_and_webhooks(admin: Admin, operator: Operator) -> None:
    labels = {"app": "kubernetes-nmstate"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"nodeSelector": {"no": "where"}, "containers": [{"name": "c", "image": "i"}]},
    }
    workload = {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "nmstate-handler", "namespace": "default", "labels": labels},
    }
    hook = {
        "name": "nodenetworkconfigurationpolicies-mutate.nmstate.io",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"operations": ["DELETE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["nodenetworkconfigurationpolicies/status"]}],
        "failurePolicy": "Ignore", "sideEffects": "None", "admissionReviewVersions": ["v1"],
    }  # fmt: skip
    hooks = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "nmstate"},
        "webhooks": [hook],
    }
    items = [{**workload, "spec": {"selector": {"matchLabels": labels}, "template": pod}}, hooks]
    stdin = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    admin.cluster.kubectl("apply", "-f", "-", stdin=stdin)
    told = admin.says("cluster", "check", code=1)
    assert "DaemonSet default/nmstate-handler, MutatingWebhookConfiguration nmstate\n" in told
    assert "nncp adopt POLICY" in told
    found = json.loads(admin.says("cluster", "check", "-o", "json", code=1))
    assert len(found["theirs"]) == 2
    admin.cluster.kubectl("delete", "-f", "-", stdin=stdin)
