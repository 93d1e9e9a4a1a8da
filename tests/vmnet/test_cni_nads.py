"""NADs as `vmnet attach` carries them out: by whom, and what is refused before anything is made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Node

HERE = Path(__file__).parent / "manifests"
VM = (HERE / "vm.yaml").read_text()
NAD = (HERE / "nad.yaml").read_text()
CONF = ("--cni-conf-dir", "/run/net.d", "--cni-path", "/run/bin:/usr/lib/cni")

RECORDING = """#!/bin/sh
echo "$CNI_COMMAND" >> /run/said
exec /usr/lib/cni/bridge
"""

pytestmark = pytest.mark.kernel


@pytest.fixture
def bridged(bridged: Node) -> Node:
    """The same node, with a `bridge` of its own that writes a list."""
    bridged.sh("""
        sed -i 's/"type": "bridge"/"type": "pods-bridge"/' /run/net.d/10-pods.conflist
        mkdir /run/bin; ln -s /usr/lib/cni/bridge /run/bin/pods-bridge
    """)
    bridged.run("tee", "/run/bin/bridge", stdin=RECORDING)
    bridged.sh("chmod +x /run/bin/bridge")
    return bridged


def attach(node: Node, nad: str, *, code: int = 0) -> str:
    done = node.vmnet("attach", "pod-1", str(HERE / "vm.yaml"), "-", *CONF, check=False, stdin=nad)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_cnv_bridge_is_ours_and_bridge_is_looked_for(bridged: Node) -> None:
    for type_, said in (("cnv-bridge", ""), ("bridge", "ADD\nDEL\n")):
        attach(bridged, NAD.replace('"cnv-bridge"', f'"{type_}"'))
        assert len(bridged.sh("ip -br link show master br1 type veth").splitlines()) == 1
        assert (bridged.sh("ls /run/bridgehead/cni", check=False) != "") is (type_ == "cnv-bridge")
        bridged.vmnet("detach", "pod-1", *CONF)
        assert bridged.sh("ip -br link show master br1 type veth") == ""
        assert bridged.sh("cat /run/said", check=False) == said


@pytest.mark.parametrize("type_", ["bridge", "cnv-bridge"])
def test_a_nad_without_a_version_is_refused_at_its_place(bridged: Node, type_: str) -> None:
    """Then the same with a version is attached: nothing stands in its way."""
    nad = NAD.replace('"cnv-bridge"', f'"{type_}"')
    said = attach(bridged, nad.replace('"cniVersion": "0.3.1",', ""), code=65)
    assert "it has no cniVersion, which CNI takes as 0.1.0" in said
    assert 'hint: say "cniVersion": "0.3.1" or newer' in said
    assert "spec.config: cniVersion" in said
    assert bridged.sh("ls /run/netns; ls /run/bridgehead/pods", check=False) == ""
    bridged.vmnet("detach", "pod-1", *CONF)
    attach(bridged, nad)


@pytest.mark.parametrize("type_", ["bridge", "cnv-bridge"])
def test_a_bridge_that_is_unfit_is_refused_whoever_would_make_the_port(bridged: Node, type_: str) -> None:
    bridged.sh("ip link set br1 type bridge vlan_filtering 0")
    said = attach(bridged, NAD.replace('"cnv-bridge"', f'"{type_}"'), code=65)
    assert 'bridge "br1" does not filter VLANs' in said


@pytest.mark.parametrize("name", ["../../..", "a b", "-x"])
def test_a_networks_name_is_one_by_the_rules_of_cni(bridged: Node, name: str) -> None:
    said = attach(bridged, NAD.replace('"name": "virt-bridge",', f'"name": "{name}",'), code=65)
    assert f"'{name}' is not the name of a network" in said
    assert "spec.config: name" in said
