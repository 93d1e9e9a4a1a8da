"""A cluster for the tests of a module, in the kernel where they run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from nncp.lab import room
from nncp.lab.cluster.handle import Handle
from tests import leftovers

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
