"""What stands in the rack and how it is connected.

    node-1  ens1f0 ── n1p0 ┐                    ┌ n2p0 ── ens1f0  node-2
            ens1f1 ── n1p1 ┴─────── tor ────────┴ n2p1 ── ens1f1
            enp1s0 ───────────────────────────────────── enp1s0
                                     └ prober ── eth0  prober, on VLAN 33

The nodes' data NICs are left bare: their bonds and bridges come from policies. The Pod network is what a
cluster brings along, so it is there from the start: a flat segment over enp1s0, one range a node.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nncp.lab import switch
from nncp.lab.nodes import Node, Rack, boot, cable, prepare

if TYPE_CHECKING:
    from collections.abc import Callable

NODES = ("node-1", "node-2")
PROBER_ADDRESS = "172.17.33.1/24"
CONFLIST = "/etc/cni/net.d/10-pods.conflist"
POD_MTU = 1400


def build(say: Callable[[str], None]) -> Rack:
    """Make the machines, connect them and configure the switch."""
    prepare()
    say("boots node-1, node-2, the switch and the prober")
    rack = Rack({name: boot(name) for name in (*NODES, "tor", "prober")})
    for number, name in enumerate(NODES, start=1):
        for port in (0, 1):
            cable(ends=((rack[name], f"ens1f{port}"), (rack["tor"], f"n{number}p{port}")))
        _pod_network(rack[name], number)
    cable(ends=((rack["node-1"], "enp1s0"), (rack["node-2"], "enp1s0")))
    cable(ends=((rack["prober"], "eth0"), (rack["tor"], "prober")))
    for name in NODES:
        rack[name].run("ip", "-batch", "-", stdin=MANAGEMENT)
    rack["prober"].run("ip", "-batch", "-", stdin=PROBER)
    say("configures the switch")
    switch.configure(rack["tor"])
    rack.write()
    return rack


MANAGEMENT = """\
link set enp1s0 master pods
link set enp1s0 up
"""
PROBER = f"""\
address add {PROBER_ADDRESS} dev eth0
link set eth0 up
"""


def _pod_network(node: Node, number: int) -> None:
    """Give a node its part of the Pod network: a bridge with an address, and the Pods' CNI configuration."""
    text = json.dumps(conflist(number), indent=2)
    node.run("sh", "-ec", 'mkdir -p "${0%/*}"; cat > "$0"', CONFLIST, stdin=text)
    pods = f"link add pods type bridge\naddress add {gateway(number)}/16 dev pods\nlink set pods up\n"
    node.run("ip", "-batch", "-", stdin=pods)
    # A fresh namespace may hand bridged frames to iptables, where another tool's rules would drop them.
    for family in ("iptables", "ip6tables", "arptables"):
        knob = f"/proc/sys/net/bridge/bridge-nf-call-{family}"
        node.run("sh", "-ec", 'test ! -e "$0" || echo 0 > "$0"', knob)


def gateway(number: int) -> str:
    """Return a node's own address on the Pod network."""
    return f"10.244.{number}.1"


def conflist(number: int) -> dict[str, Any]:
    """Return the CNI configuration of the Pod network on a node."""
    addresses = {
        "subnet": "10.244.0.0/16",
        "rangeStart": f"10.244.{number}.10",
        "rangeEnd": f"10.244.{number}.250",
        "gateway": gateway(number),
    }
    bridge = {
        "type": "bridge",
        "bridge": "pods",
        "mtu": POD_MTU,
        "isGateway": True,
        "ipam": {"type": "host-local", "ranges": [[addresses]], "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge]}
