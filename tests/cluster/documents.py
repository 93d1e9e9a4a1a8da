"""What the tests ask a cluster for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def policy(name: str = "p", *, desired: Any = None, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "nmstate.io/v1",
        "kind": "NodeNetworkConfigurationPolicy",
        "metadata": {"name": name},
        "spec": spec | ({} if desired is None else {"desiredState": desired}),
    }


def veth(mtu: object = 1400, **more: Any) -> dict[str, Any]:
    link = {"name": "v0", "type": "veth", "state": "up", "mtu": mtu, "veth": {"peer": "w0"}}
    return {"interfaces": [link | more]}
