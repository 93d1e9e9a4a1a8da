#!/usr/bin/env python3
"""How long one apply of N VLANs and N bridges takes, beside `ip -batch` making the same writes.

    nncp lab run -- python bench/apply.py [N] [ROUNDS]

Both are whole processes on the same kernel, in turn; the ratio is that of the medians. What each leaves
behind is compared too: the same links, memberships and states.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CARD = "card0"


def lines(count: int) -> str:
    """Return the batch for ip: what the document says, in the order in which we would write it."""
    numbers = range(1, count + 1)
    return "".join(
        [
            *(
                f"link add link {CARD} name v{n} type vlan id {n}\nlink add b{n} type bridge\n"
                for n in numbers
            ),
            *(f"link set v{n} master b{n}\n" for n in numbers),
            *(f"link set v{n} up\nlink set b{n} up\n" for n in numbers),
        ]
    )


def document(count: int) -> str:
    """Return the same as an nmstate document."""
    interfaces = []
    for n in range(1, count + 1):
        interfaces.append({"name": f"v{n}", "type": "vlan", "vlan": {"base-iface": CARD, "id": n}})
        interfaces.append({"name": f"b{n}", "type": "linux-bridge", "bridge": {"port": [{"name": f"v{n}"}]}})
    return json.dumps({"interfaces": interfaces})


def timed(*argv: str) -> float:
    """Return how long a command took, in seconds."""
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def seen() -> list[tuple[str, str, bool]]:
    """Return what ip sees of the links: name, controller, whether up."""
    out = subprocess.run(["ip", "-j", "link"], capture_output=True, check=True).stdout
    return sorted((link["ifname"], link.get("master", ""), "UP" in link["flags"]) for link in json.loads(out))


def clean(count: int) -> None:
    """Go back to the bare card."""
    text = f"link del {CARD}\n" + "".join(f"link del b{n}\n" for n in range(1, count + 1))
    subprocess.run(
        ["ip", "-force", "-batch", "-"], input=text, text=True, check=False, stderr=subprocess.DEVNULL
    )
    subprocess.run(["ip", "link", "add", CARD, "type", "dummy"], check=True)
    subprocess.run(["ip", "link", "set", CARD, "up"], check=True)


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    # Ours is imported from compiled files, as it is wherever it is installed; an environment may forbid to
    # write them on the way.
    compileall.compile_dir(Path(__file__).parents[1] / "nncp", quiet=1)
    nncp = (str(Path(sys.executable).parent / "nncp"),)
    with tempfile.TemporaryDirectory() as folder:
        batch, wish = Path(folder) / "batch", Path(folder) / "wish.json"
        batch.write_text(lines(count))
        wish.write_text(document(count))
        apply = (*nncp, "apply", str(wish), "--state-dir", folder)
        found: dict[str, list[float]] = {"ip": [], "nncp": [], "again": []}
        for _ in range(rounds):
            clean(count)
            found["ip"].append(timed("ip", "-batch", str(batch)))
            after_ip = seen()
            clean(count)
            found["nncp"].append(timed(*apply))
            assert seen() == after_ip, "ip and nncp left different links"
            found["again"].append(timed(*apply))
        clean(count)
    ip, ours, again = (statistics.median(found[name]) for name in ("ip", "nncp", "again"))
    print(f"kernel {os.uname().release}, {count} VLANs + {count} bridges, median of {rounds}")
    print(f"ip -batch {ip:.2f} s; nncp apply, verified {ours:.2f} s = {ours / ip:.2f} x")
    print(f"nncp apply again, no change {again:.2f} s")


if __name__ == "__main__":
    main()
