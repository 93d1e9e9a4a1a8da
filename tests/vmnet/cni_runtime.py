"""A container runtime as our bridge plugin meets one."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Node

CONF = {"cniVersion": "1.1.0", "name": "net", "type": "cnv-bridge", "bridge": "br1"}
VLAN = {**CONF, "vlan": 33}
MAC = "02:00:00:00:00:77"


def ipam(*subnets: str, **more: Any) -> dict[str, Any]:
    """Return a configuration with Debian 12's host-local, which is from before 1.1.0."""
    own = {"type": "host-local", "dataDir": "/run/ipam2", "ranges": [[{"subnet": s}] for s in subnets]}
    return {**CONF, "cniVersion": "1.0.0", "ipam": {**own, **more}}


class Runtime:
    """A container runtime with one container, `c1`, in namespace `c`."""

    def __init__(self, node: Node) -> None:
        self.node = node
        node.sh("ip netns add c")

    def call(
        self, verb: str, conf: dict[str, Any], *, ifname: str = "net1", **env: str
    ) -> tuple[int, dict[str, Any]]:
        environment = {
            "CNI_COMMAND": verb,
            "CNI_CONTAINERID": "c1",
            "CNI_NETNS": "/run/netns/c",
            "CNI_IFNAME": ifname,
            "CNI_PATH": "/usr/lib/cni",
            **env,
        }
        done = self.node.run(
            sys.executable, "-m", "vmnet.cni", stdin=json.dumps(conf), check=False, **environment
        )
        assert not done.stderr
        return done.returncode, json.loads(done.stdout or "{}")

    def ok(self, verb: str, conf: dict[str, Any], **more: str) -> dict[str, Any]:
        code, said = self.call(verb, conf, **more)
        assert code == 0, said
        return said

    def refused(self, verb: str, conf: dict[str, Any], **more: str) -> dict[str, Any]:
        code, said = self.call(verb, conf, **more)
        assert code == 1, said
        return said

    def port(self) -> str:
        return str(json.loads(self.node.sh("ip -j link show master br1 type veth"))[0]["ifname"])

    def link(self, name: str = "net1") -> dict[str, Any]:
        return dict(json.loads(self.node.sh(f"ip -n c -d -j addr show {name}"))[0])

    def gone(self) -> None:
        """Nothing is left of any port: no link, no table, no record, no journal, no lock."""
        assert "veth" not in self.node.sh("ip -br link")
        assert self.node.sh("nft list tables") == ""
        assert self.node.sh("find /run/bridgehead/cni -mindepth 1", check=False) == ""
        assert self.node.sh("find /var/lib/nncp -mindepth 1", check=False) == ""

    def leases(self) -> list[str]:
        """The addresses that host-local has given."""
        return [name for name in self.node.sh("ls /run/ipam2/net").split() if name[0].isdigit()]
