"""A cluster for the tests of a module, in the kernel where they run."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.lab import room
from nncp.lab.cluster.handle import Handle
from tests import leftovers
from tests.cluster.documents import ROOT
from tests.cluster.outside import network
from tests.cluster.programs import NAMESPACE, NODES, Operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def handle(name: str) -> Handle:
    """A cluster of this run's own: others may stand on this machine."""
    return Handle(f"{leftovers.PREFIX}-{os.getpid()}-{name}")


def left(cluster: Handle) -> list[str]:
    """What a cluster has left: its note, its control groups."""
    groups = [f"control group {each.name}" for each in room.left(cluster.site.groups)]
    return groups + ([str(cluster.site.note)] if cluster.site.note.exists() else [])


@pytest.fixture(scope="module")
def cluster() -> Iterator[Handle]:
    one = handle("one")
    with one:
        yield one
    assert leftovers.gone(lambda: left(one)) == []


@pytest.fixture(scope="module")
def api(cluster: Handle) -> Handle:
    """A cluster that knows the operator's kinds, and what it refuses."""
    for file in ("crds.yaml", "admission.yaml"):
        cluster.kubectl("apply", "-f", str(ROOT / "deploy" / file))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=300s")
    cluster.kubectl("create", "namespace", NAMESPACE)
    cluster.kubectl("create", "configmap", "adoption", "-n", NAMESPACE)  # as if one had started before
    return cluster


@pytest.fixture
def operator(api: Handle, tmp_path: Path, socket_folder: Path) -> Iterator[Operator]:
    """The operator, for one test."""
    running = Operator(api, tmp_path, socket_folder)
    try:
        running.await_ready()
        yield running
    finally:
        running.end()
        for kind in ("nncp", "nnce", "nns"):
            api.kubectl("delete", kind, "--all")
        api.kubectl("delete", "events", "--all")
        api.kubectl("delete", "leases", "--all", "-n", NAMESPACE)  # a controller that was killed leads on
        for node in NODES:
            api.on(node, "sh", "-c", "ip link del v0 2>/dev/null || :")
    assert "Traceback" not in running.log()


@pytest.fixture(scope="module")
def standing(api: Handle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """The operator, for the tests of a module."""
    with tempfile.TemporaryDirectory(prefix="s") as sockets:
        running = Operator(api, tmp_path_factory.mktemp("operator"), Path(sockets))
        try:
            running.await_ready()
            yield running
        finally:
            running.end()
    assert "Traceback" not in running.log()


@pytest.fixture
def scene(standing: Operator) -> Iterator[Operator]:
    """An operator that stands; after the test each node goes back, and is as it was by ip and bridge."""
    before = {node: network(standing.cluster, node) for node in NODES}
    yield standing
    standing.clear()
    for node in NODES:
        assert network(standing.cluster, node) ^ before[node] == set()


@pytest.fixture
def pod(cluster: Handle) -> Iterator[Callable[..., str]]:
    """Make Pods that sleep, by name and node: `pod("a", "node-1")` is its address when it is ready."""
    made = []

    def make(name: str, node: str, *, networks: str = "") -> str:
        made.append(name)
        cluster.kubectl("apply", "-f", "-", stdin=sleeper(name, node, networks=networks))
        cluster.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=300s")
        return cluster.kubectl("get", "pod", name, "-o", "jsonpath={.status.podIP}")

    yield make
    if made:
        cluster.kubectl("delete", "pod", "--force", "--grace-period=0", "--ignore-not-found", *made)


def sleeper(name: str, node: str, *, networks: str = "") -> str:
    return f"""
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  annotations: {{k8s.v1.cni.cncf.io/networks: "{networks}"}}
spec:
  nodeName: {node}
  terminationGracePeriodSeconds: 0
  tolerations: [{{operator: Exists}}]
  containers:
  - name: c
    image: localhost/busybox:1
    imagePullPolicy: Never
    command: [sleep, infinity]
"""
