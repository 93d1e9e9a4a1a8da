"""What stands in a lab cluster and how it is connected.

    node-1  ens1f0 ── n1p0 ┐              ┌ n2p0 ── ens1f0  node-2
            ens1f1 ── n1p1 ┴──── tor ─────┴ n2p1 ── ens1f1
            enp1s0 ── to-node-1 ┐       ┌ to-node-2 ── enp1s0
                              control-plane

The control plane is a machine of its own, and the switch of the management network. Every Pod of a node has
an address of that node's range; routes lead to the others'.
"""

from __future__ import annotations

NODES = ("node-1", "node-2")
CONTROL = "control-plane"
SERVER = "10.99.0.1"
SERVICES = "10.96.0.0/16"
KUBERNETES = "10.96.0.1"
"""The Service `kubernetes`: the control plane has the address itself, and no kube-proxy is needed."""
URL = f"https://{SERVER}:443"


def number(node: str) -> int:
    """Return a node's number, from 1."""
    return NODES.index(node) + 1


def address(node: str) -> str:
    """Return a node's address on the management network."""
    return f"10.99.0.{10 + number(node)}"


def pods(node: str) -> str:
    """Return the range of a node's Pods."""
    return f"10.244.{number(node)}.0/24"
