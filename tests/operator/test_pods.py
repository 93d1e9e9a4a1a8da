"""A refusal names the Pods whose ports it is about."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp.errors import Error
from nncp.operator.pods import by_port, named

if TYPE_CHECKING:
    from pathlib import Path


def attachment(namespace: Any, name: Any, *ports: str) -> str:
    interfaces = [{"name": port, "mac": "02:00:00:00:00:01"} for port in ports]
    inside = {"name": "eth0", "sandbox": "/run/netns/x"}
    words = [["IgnoreUnknown", "true"], ["K8S_POD_NAMESPACE", namespace], ["K8S_POD_NAME", name]]
    made = {"kind": "cniCacheV1", "cniArgs": words, "result": {"interfaces": [*interfaces, inside]}}
    return json.dumps(made)


def test_ports_are_pods_by_what_runtimes_and_multus_keep(tmp_path: Path) -> None:
    for folder, text in {
        "results/pods-1-eth0": attachment("default", "web-0", "veth1"),
        "multus/results/vlan-1-net1": attachment("default", "web-0", "veth2"),
        "results/odd": attachment("default", "../etc", "veth3"),
        "results/other": attachment(None, 3, "veth4"),
        "results/half": '{"cniArgs": [["K8S',
        "results/deep": "[" * 100_000,
        "results/long": attachment("default", "web-1", "a" * 16),
    }.items():
        (tmp_path / folder).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / folder).write_text(text, encoding="utf-8")
    (tmp_path / "results" / "folder").mkdir()
    assert by_port(tmp_path) == {"veth1": "default/web-0", "veth2": "default/web-0"}
    assert by_port(tmp_path / "nowhere") == {}


def test_all_that_is_wrong_names_its_pods() -> None:
    second = Error("br2 would be deleted, and it carries 1 port of Pods and guests: veth2")
    error = Error("br1 would be deleted: veth1, veth10 and 3 more", others=(second,))
    found = [each.message for each in named(error, {"veth1": "default/web-0", "veth2": "x/y"})]
    assert found == [
        "br1 would be deleted: veth1 (Pod default/web-0), veth10 and 3 more",
        "br2 would be deleted, and it carries 1 port of Pods and guests: veth2 (Pod x/y)",
    ]
