#!/usr/bin/env python3
"""How long captures take over many interfaces, beside reading these from the kernel.

nncp lab run -- python bench/captures.py [ROUNDS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from nncp import engine
from nncp.desired import Desired, documents

PAIRS = 1000
POLICY = """
capture:
  way-out: routes.running.destination == "0.0.0.0/0"
  uplink: interfaces.name == capture.way-out.routes.running.0.next-hop-interface
  large: interfaces.type == veth and interfaces.mtu > 1400 or interfaces.name glob "d*"
desired:
  interfaces:
  - name: {}
    mac-address: "{{{{ capture.uplink.interfaces.0.mac-address }}}}"
"""


def many_interfaces() -> None:
    """Make veths, one of them the uplink."""
    lines = [
        f"link add v{n} type veth peer name w{n}\nlink set v{n} up\nlink set w{n} up" for n in range(PAIRS)
    ]
    lines += ["addr add 192.0.2.10/24 dev v0", "route add default via 192.0.2.1 dev v0"]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)


def measured() -> tuple[float, float]:
    """Return how long a snapshot took, and captures beyond the same document without them, in seconds."""
    with_captures = documents([("policy", POLICY.format("v0"))])
    plain = documents([("plain", "interfaces: [{name: v0, mac-address: 02:00:00:00:00:01}]")])
    start = time.perf_counter()
    host = engine.snapshot()
    took = time.perf_counter() - start
    taken = []
    for policies in (with_captures, plain):
        desired = Desired(policies)
        start = time.perf_counter()
        desired(host)
        taken.append(time.perf_counter() - start)
    return took, taken[0] - taken[1]


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    many_interfaces()
    found = [measured() for _ in range(rounds)]
    snapshot, captures = (statistics.median(column) for column in zip(*found, strict=True))
    print(
        f"| captures over {2 * PAIRS} interfaces; a snapshot | {snapshot:.3f} s | {captures:.3f} s |", end=""
    )
    print(f" {captures / snapshot:.2f} | 0.3 |")


if __name__ == "__main__":
    main()
