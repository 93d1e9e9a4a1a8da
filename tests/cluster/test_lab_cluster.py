"""The lab's cluster in this machine's own kernel: what a user does with it, and that it leaves nothing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nncp.errors import Error
from nncp.lab import room
from nncp.lab.cluster import oci, runtime
from nncp.lab.cluster.control import SILENT_S
from nncp.lab.cluster.worker import NAMESPACE
from tests import leftovers
from tests.cluster.conftest import handle, left
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nncp.lab.cluster.handle import Handle

pytestmark = pytest.mark.slow

NODES = ("node-1", "node-2")
OUTSIDE = [Path("/usr/libexec/kubernetes"), Path.home() / ".kube", Path("/etc/cni"), Path("/var/lib/kubelet")]
BEFORE = [path for path in OUTSIDE if path.exists()]
NOTICED = 4.0 * SILENT_S


def ready(cluster: Handle) -> dict[str, str]:
    """Each node's Ready condition."""
    found = json.loads(cluster.kubectl("get", "nodes", "-o", "json"))["items"]
    return {
        node["metadata"]["name"]: next(
            each["status"] for each in node["status"]["conditions"] if each["type"] == "Ready"
        )
        for node in found
    }


def test_two_nodes_are_ready(cluster: Handle) -> None:
    assert ready(cluster) == dict.fromkeys(NODES, "True")
    said = cluster.command("status")
    assert "node-1" in said
    assert "enp1s0" in said
    assert "ens1f0" in said


def test_a_second_one_of_the_name_is_refused(cluster: Handle) -> None:
    with pytest.raises(Error, match="a cluster already stands here"):
        cluster.command("up")


def test_what_is_no_node_is_refused_by_name(cluster: Handle) -> None:
    for words in (("off", "node-3"), ("cut", "tor"), ("mend", "kube-apiserver")):
        with pytest.raises(Error, match=f"{words[1]} is no node"):
            cluster.command(*words)
    with pytest.raises(Error, match="there is no machine node-3"):
        cluster.command("node", "node-3", "--", "true")


def test_all_is_turned_off_and_on_again_and_status_says_what_is_off(cluster: Handle) -> None:
    for what in (*NODES, "kube-apiserver"):
        cluster.command("off", what)
        cluster.command("off", what)  # what is off stays off
    said = cluster.command("status")
    assert "the API server does not answer" in said
    for node in NODES:
        assert f"{node} is off" in said
        with pytest.raises(Error, match="there is no machine"):
            cluster.on(node, "true")
    for what in ("node-1", "kube-apiserver", "node-2"):  # a node comes up without an API server too
        cluster.command("on", what)
    until(lambda: ready(cluster) == dict.fromkeys(NODES, "True"), seconds=NOTICED)


def test_images_reach_the_nodes_that_are_there_and_those_that_come_later(
    cluster: Handle, tmp_path: Path
) -> None:
    oci.layer(tmp_path / "layer.tar", {"a": b"b"})
    oci.write(tmp_path / "x.tar", "localhost/x:1", tmp_path / "layer.tar", command=["/a"])
    cluster.command("off", "node-2")
    assert cluster.command("load", str(tmp_path / "x.tar")) == "localhost/x:1\n"
    (tmp_path / "x.tar").unlink()
    cluster.command("on", "node-2")
    for node in NODES:
        listed = cluster.on(
            node, str(runtime.folder() / "tree/usr/bin/ctr"), "-n", NAMESPACE, "images", "ls", "-q"
        )
        assert "localhost/x:1" in listed.splitlines()
    with pytest.raises(Error, match="is no archive of an image"):
        cluster.command("load", str(tmp_path / "layer.tar"))


def test_nothing_is_written_outside(cluster: Handle) -> None:
    assert [path for path in OUTSIDE if path.exists()] == BEFORE


def test_pods_of_two_nodes_reach_each_other_and_the_api_server(
    cluster: Handle, pod: Callable[..., str]
) -> None:
    addresses = [pod(f"a{number}", node) for number, node in enumerate(NODES)]
    for number, address in enumerate(reversed(addresses)):
        cluster.kubectl("exec", f"a{number}", "--", "ping", "-c", "1", "-W", "30", address)
        cluster.kubectl("exec", f"a{number}", "--", "sh", "-c", "nc -w 30 10.96.0.1 443 </dev/null")


NETWORK = """
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: blue}
spec:
  config: >-
    {"cniVersion": "0.4.0", "name": "blue", "type": "bridge", "bridge": "blue",
     "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}}
"""


def test_pods_get_the_networks_that_their_annotations_name(cluster: Handle, pod: Callable[..., str]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=NETWORK)
    for name in ("b1", "b2"):
        pod(name, "node-1", networks="blue")
    shown = cluster.kubectl("exec", "b2", "--", "ip", "-4", "address", "show", "net1")
    address = shown.partition("inet ")[2].partition("/")[0]
    cluster.kubectl("exec", "b1", "--", "ping", "-c", "1", "-W", "30", "-I", "net1", address)


def test_what_a_node_writes_is_its_own_and_outlives_a_power_cycle(cluster: Handle) -> None:
    cluster.on(
        "node-1", "sh", "-c", "echo kept > /etc/kept; echo lost > /run/lost; ip link add d0 type bridge"
    )
    with pytest.raises(Error, match="No such file"):
        cluster.on("node-2", "cat", "/etc/kept")
    cluster.command("off", "node-1")
    with pytest.raises(Error):
        cluster.on("node-1", "true")
    until(lambda: ready(cluster)["node-1"] == "Unknown", seconds=NOTICED)
    assert "n1p0" not in cluster.on("tor", "ip", "-br", "link")  # the switch's link is gone too
    cluster.command("on", "node-1")
    assert ready(cluster) == dict.fromkeys(NODES, "True")
    assert cluster.on("node-1", "cat", "/etc/kept") == "kept\n"
    for words in (("cat", "/run/lost"), ("ip", "link", "show", "d0")):
        with pytest.raises(Error):
            cluster.on("node-1", *words)


def test_a_node_restores_at_its_start_what_the_unit_says(cluster: Handle) -> None:
    unit = "[Service]\nExecStart=ip link add restored type bridge\n"
    path = "/etc/systemd/system/nncp-restore.service"
    cluster.on("node-2", "sh", "-c", f"mkdir -p /etc/systemd/system; cat > {path}", stdin=unit)
    cluster.command("on", "node-2")
    assert "restored" in cluster.on("node-2", "ip", "-br", "link")
    cluster.on("node-2", "rm", path)


def test_a_node_that_is_cut_off_goes_on_and_comes_back(cluster: Handle, pod: Callable[..., str]) -> None:
    address = pod("stays", "node-2")
    cluster.command("cut", "node-2")
    until(lambda: ready(cluster)["node-2"] == "Unknown", seconds=NOTICED)
    cluster.on("node-2", "ping", "-c", "1", "-W", "30", address)
    cluster.command("mend", "node-2")
    until(lambda: ready(cluster)["node-2"] == "True")


def test_a_node_is_drained(cluster: Handle, pod: Callable[..., str]) -> None:
    pod("moves", "node-1")
    cluster.kubectl("drain", "node-1", "--force", "--timeout=300s")
    assert cluster.kubectl("get", "pods", "--field-selector=spec.nodeName=node-1") == ""
    cluster.kubectl("uncordon", "node-1")


def test_the_api_server_is_killed_and_comes_back_with_what_it_knew(cluster: Handle) -> None:
    cluster.kubectl("create", "configmap", "kept")
    cluster.command("off", "kube-apiserver")
    with pytest.raises(Error, match="refused"):
        cluster.kubectl("get", "nodes")
    cluster.command("on", "kube-apiserver")
    assert "kept" in cluster.kubectl("get", "configmaps")


@pytest.mark.parametrize("who", ["nobody", "maker", "first"])
def test_nothing_is_left_of_another_beside_it_however_it_ends(cluster: Handle, who: str) -> None:
    other = handle("one-two")  # a name that begins as the other's
    other.command("up")
    try:
        assert ready(other) == ready(cluster)
        kept = room.find(other.site)
        assert kept is not None
        if who != "nobody":
            os.kill(getattr(kept, who), signal.SIGKILL)
            until(lambda: room.find(other.site) is None)
            assert leftovers.gone(lambda: [*room.left(other.site.groups)]) == []  # before anybody asks
    finally:
        other.command("down")
    assert leftovers.gone(lambda: left(other)) == []
    assert ready(cluster) == dict.fromkeys(NODES, "True")
