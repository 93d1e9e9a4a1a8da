#!/usr/bin/env python3
"""How long a host does not answer while its address moves from a card to a bridge, beside `ip -batch`.

    nncp lab run -- python bench/first_policy.py [ROUNDS]

The commonest first policy: the card has the host's address and default route; a bridge takes the card as a
port, and both. Another namespace pings the address every millisecond: the longest time between two answers.
"""

from __future__ import annotations

import compileall
import json
import os
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NNCP = str(Path(sys.executable).parent / "nncp")
HOST, OUTSIDE = "host", "outside"
SETUP = """
link add eth1 address 02:00:00:00:00:01 type veth peer name far netns outside
link set lo up
link set eth1 up
addr add 192.0.2.10/24 dev eth1
route add default via 192.0.2.1 dev eth1
"""
BATCH = """
link add br1 address 02:00:00:00:00:01 type bridge
link set eth1 master br1
addr del 192.0.2.10/24 dev eth1
addr add 192.0.2.10/24 brd 192.0.2.255 dev br1
link set br1 up
route add default via 192.0.2.1 dev br1
"""
DOCUMENT = {
    "interfaces": [
        {"name": "eth1", "type": "ethernet", "ipv4": {"enabled": False}},
        {
            "name": "br1",
            "type": "linux-bridge",
            "bridge": {"port": [{"name": "eth1"}]},
            "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.10", "prefix-length": 24}]},
        },
    ],
    "routes": {
        "config": [{"destination": "0.0.0.0/0", "next-hop-address": "192.0.2.1", "next-hop-interface": "br1"}]
    },
}


def ip(*words: str, stdin: str = "") -> None:
    """Run ip."""
    subprocess.run(["ip", *words], input=stdin, text=True, check=True)


def ping(until: int) -> None:
    """Ping every millisecond until a pipe ends; print the longest time between two answers, in ms."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as line:
        line.connect(("192.0.2.10", 0))
        line.setblocking(False)
        os.set_blocking(until, False)
        number, last, worst = 0, time.monotonic(), 0.0
        while True:
            number += 1
            body = struct.pack("!HHI", os.getpid() & 0xFFFF, number & 0xFFFF, number)
            head = struct.pack("!BB", 8, 0)
            total = sum(struct.unpack("!5H", head + body))
            total = (total & 0xFFFF) + (total >> 16)
            line.send(head + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + body)
            time.sleep(0.001)
            try:
                while line.recv(100)[20] == 0:
                    worst, last = max(worst, time.monotonic() - last), time.monotonic()
            except OSError:
                pass
            try:
                if not os.read(until, 1):
                    break
            except BlockingIOError:
                continue
    print(f"{1000 * max(worst, time.monotonic() - last):.1f}")


def silence(*argv: str) -> float:
    """Return for how many ms the host was silent while a command changed it."""
    for name in (HOST, OUTSIDE):
        ip("netns", "add", name)
    try:
        ip("-n", HOST, "-batch", "-", stdin=SETUP)
        ip("-n", OUTSIDE, "-batch", "-", stdin="addr add 192.0.2.1/24 dev far\nlink set far up\n")
        pinger = subprocess.Popen(
            ["ip", "netns", "exec", OUTSIDE, sys.executable, __file__, "ping"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(0.5)
        subprocess.run(["ip", "netns", "exec", HOST, *argv], check=True, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        return float(pinger.communicate()[0])
    finally:
        for name in (HOST, OUTSIDE):
            ip("netns", "del", name)


def main() -> None:
    """Measure and print."""
    if sys.argv[1:] == ["ping"]:
        ping(0)
        return
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    compileall.compile_dir(Path(__file__).parents[1] / "nncp", quiet=1)
    found: dict[str, list[float]] = {"ip -batch": [], "nncp apply": []}
    with tempfile.TemporaryDirectory() as folder:
        batch, wish = Path(folder) / "batch", Path(folder) / "wish.json"
        batch.write_text(BATCH)
        wish.write_text(json.dumps(DOCUMENT))
        for turn in range(rounds):
            found["ip -batch"].append(silence("ip", "-batch", str(batch)))
            found["nncp apply"].append(silence(NNCP, "apply", str(wish), "--state-dir", f"{folder}/{turn}"))
    for name, took in found.items():
        print(f"{name}: silent {statistics.median(took):.1f} ms (median), {max(took):.1f} ms (worst)")
    ours, peer = (statistics.median(took) for took in reversed(found.values()))
    print(f"kernel {os.uname().release}, {rounds} rounds: {ours / peer:.2f} x")


if __name__ == "__main__":
    main()
