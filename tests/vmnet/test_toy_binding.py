"""A binding that nobody knows but who hands it in: read, attached, recorded and detached like any other."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nncp.errors import Error
from nncp.host import Row
from tests.toys.binding import VM
from vmnet.bindings import BINDINGS
from vmnet.files import read_texts
from vmnet.plumbing import Binding, Migration, Plumbing, Service, Socket
from vmnet.rows import silent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Node

    from vmnet.plumbing import Site

ROOT = Path(__file__).parents[2]
REFUSAL = "toys stay at home"
RULES = "table ip toy {\n  chain c {\n    counter\n  }\n}\n"


def plumb(site: Site) -> Plumbing:
    """A tap that leads nowhere, beside the Pod's link, which stays as it is."""
    tap = site.devices.tap
    attrs = {"type": "tap", "mtu": site.link.mtu, "owner": site.owner, "group": site.group}
    return Plumbing(
        rows=(Row(("link", tap), attrs), *silent(tap)),
        devices=site.devices,
        domain=f'<interface type="toy"><target dev="{tap}"/></interface>',
        nft=RULES,
        services=(Service("toy", module="toys.serve", sockets=(Socket(tap, 69),), config={"a": 1}),),
        migration=Migration(refusal=REFUSAL),
        address="192.0.2.1/32",
    )


TOY = Binding(name="toy", plumb=plumb)
KNOWN = (*BINDINGS, TOY)


def attach(name: str) -> None:
    """Attach a Pod as `vmnet attach` does, with one binding more."""
    from vmnet.pod import Environment, attach
    from vmnet.record import Store

    vm = read_texts([("vm.yaml", VM)], bindings=KNOWN).vm()
    environment = Environment(store=Store(), conf_dir=Path("/run/net.d"))
    attach(name, vm, (), environment=environment, bindings=KNOWN)


def test_who_is_not_given_the_toy_refuses_it_by_name() -> None:
    with pytest.raises(Error, match="unknown field toy"):
        read_texts([("vm.yaml", VM)], bindings=BINDINGS)


def test_who_is_given_the_toy_proposes_it() -> None:
    text = VM.replace("toy: {}", "model: virtio")
    with pytest.raises(Error) as caught:
        read_texts([("vm.yaml", text)], bindings=KNOWN)
    assert caught.value.hint == "say bridge: {} or masquerade: {} or toy: {}"


@pytest.mark.kernel
def test_a_pod_is_attached_by_a_toy(pod_network: Node) -> None:
    node = pod_network
    node.run(sys.executable, str(Path(__file__)), "pod-1")
    links = {link["ifname"]: link for link in json.loads(node.sh("ip -n pod-1 -d -j addr"))}
    assert set(links) == {"lo", "eth0", "tap0"}
    assert "UP" in links["tap0"]["flags"]
    assert "table ip toy" in node.sh("ip netns exec pod-1 nft list ruleset")
    record = json.loads(node.sh("cat /run/bridgehead/pods/pod-1/pod.json"))
    (nic,) = record["interfaces"]
    assert (record["state"], nic["binding"], nic["address"]) == ("attached", "toy", "192.0.2.1/32")
    assert nic["domain"] == '<interface type="toy"><target dev="tap0"/></interface>'
    assert nic["services"] == [
        {
            "name": "toy",
            "module": "toys.serve",
            "sockets": [{"interface": "tap0", "port": 69}],
            "config": {"a": 1},
        }
    ]
    assert nic["gate"] is None
    assert nic["migration"] == {"refusal": REFUSAL, "exempt": False}
    node.vmnet("detach", "pod-1")
    assert node.sh("ls -A /run/netns /run/bridgehead/pods").split() == [
        "/run/bridgehead/pods:",
        "/run/netns:",
    ]


NAMES = {binding.name for binding in BINDINGS}


def compared(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield every text that something is compared with, or chosen by, and its line."""
    for node in ast.walk(tree):
        parts: list[Any] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Dict):
            parts = list(node.value.keys)
        for part in parts:
            for inner in ast.walk(part):
                if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                    yield inner.lineno, inner.value


@pytest.mark.parametrize("package", ["vmnet", "launcher"])
def test_nobody_but_a_binding_knows_its_name(package: str) -> None:
    files = [path for path in (ROOT / package).rglob("*.py") if "bindings" not in path.parts]
    assert len(files) > 10
    found = [
        f"{path.relative_to(ROOT)}:{line}: {word}"
        for path in files
        for line, word in compared(ast.parse(path.read_text(encoding="utf-8")))
        if word in NAMES
    ]
    assert found == []


def test_a_comparison_with_a_bindings_name_would_be_seen() -> None:
    said = 'if nic.binding == "bridge": pass\nif x in {"masquerade"}: pass\nmatch x:\n  case "bridge": pass'
    assert [word for _, word in compared(ast.parse(said))] == ["bridge", "masquerade", "bridge"]


if __name__ == "__main__":
    attach(sys.argv[1])
