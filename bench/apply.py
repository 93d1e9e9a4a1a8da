#!/usr/bin/env python3
"""How long an apply takes, beside iproute2 doing the same, and how that grows.

    nncp lab run -- python bench/apply.py [ROUNDS]

All are whole processes on the same kernel, in turn; a ratio is that of the medians. What each leaves behind
is compared too: the same links, memberships and states.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CARD = "card0"
NNCP = str(Path(sys.executable).parent / "nncp")


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


def medians(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """Return the median of each measure, taken in turn."""
    found = [[measure() for measure in measures] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*found, strict=True)]


class Applies:
    """Applies of N VLANs and N bridges, and the same by `ip -batch`."""

    def __init__(self, folder: Path, count: int) -> None:
        self.count = count
        self.batch, self.wish = folder / f"batch-{count}", folder / f"wish-{count}.json"
        self.batch.write_text(lines(count))
        self.wish.write_text(document(count))
        self.state = str(folder)
        self.left: list[tuple[str, str, bool]] = []

    def by_ip(self) -> float:
        """Make all by `ip -batch`, from a bare card."""
        clean(self.count)
        took = timed("ip", "-batch", str(self.batch))
        self.left = seen()
        return took

    def by_nncp(self) -> float:
        """Make all by an apply, from a bare card."""
        clean(self.count)
        took = self.again()
        assert seen() == self.left, "ip and nncp left different links"
        return took

    def again(self) -> float:
        """Apply once more."""
        return timed(NNCP, "apply", str(self.wish), "--state-dir", self.state)


def look() -> float:
    """Read what an apply has to read, by ip."""
    return timed("ip", "-j", "-d", "link") + timed("ip", "-j", "addr")


def with_addresses(count: int) -> None:
    """Give every bridge an address."""
    text = "".join(f"addr add 10.{n >> 8}.{n & 255}.1/24 dev b{n}\n" for n in range(1, count + 1))
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def many_routes(count: int) -> None:
    """Install so many routes as a routing daemon does, behind the card."""
    subprocess.run(["ip", "addr", "add", "192.0.2.1/24", "dev", CARD], check=True)
    text = "".join(
        f"route add 20.{n >> 16}.{n >> 8 & 255}.{n & 255}/32 via 192.0.2.2 proto bgp\n" for n in range(count)
    )
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def row(what: str, peer: float, ours: float, goal: float) -> None:
    """Print one line of the table."""
    print(f"| {what} | {peer:.2f} s | {ours:.2f} s | {ours / peer:.2f} | {goal} |", flush=True)


def growth(folder: Path, rounds: int) -> None:
    """Measure applies of several sizes, and what there is to do when nothing is."""
    ours = {}
    for count, goal in ((300, 1.6), (1000, 1.2)):
        some = Applies(folder, count)
        peer, ours[count] = medians(rounds, some.by_ip, some.by_nncp)
        row(f"{count} VLANs + {count} bridges, verified; `ip -batch`", peer, ours[count], goal)
    peer, again = medians(rounds, look, some.again)
    row("the same again, nothing to do; `ip -j -d link`, `ip -j addr`", peer, again, 2.0)
    with_addresses(1000)
    peer, again = medians(rounds, look, some.again)
    row("the same, each bridge with an address", peer, again, 2.5)
    more = Applies(folder, 2000)
    peer, twice = medians(1, more.by_ip, more.by_nncp)
    row("2000 VLANs + 2000 bridges; `ip -batch`", peer, twice, 1.2)
    row("2000 + 2000; 1000 + 1000", ours[1000], twice, 2.2)
    clean(2000)


def routes(folder: Path, rounds: int, count: int = 40_000) -> None:
    """Measure what routes of somebody else cost an apply."""
    wish = folder / "mtu.json"

    def moved(mtu: int) -> float:
        wish.write_text(json.dumps({"interfaces": [{"name": CARD, "type": "dummy", "mtu": mtu}]}))
        return timed(NNCP, "apply", str(wish), "--state-dir", str(folder))

    def changed() -> float:
        return (moved(1400) + moved(1500)) / 2

    def same() -> float:
        return moved(1500)

    clean(0)
    before = medians(rounds, same, changed)
    many_routes(count)
    after = medians(rounds, same, changed)
    row(f"nothing to do, {count} routes of bgp; none", before[0], after[0], 1.3)
    row(f"an MTU, {count} routes of bgp; none", before[1], after[1], 1.3)


def rules(folder: Path, rounds: int, count: int = 1000) -> None:
    """Measure rules, as whole processes and less what an apply of one rule takes."""
    listed = [
        {"ip-from": f"10.{n >> 8}.{n & 255}.0/24", "route-table": 200, "priority": 1000 + n}
        for n in range(count)
    ]
    batch, wish, one = (folder / name for name in ("rules", "rules.json", "rule.json"))
    batch.write_text(
        "".join(f"rule add from {r['ip-from']} lookup 200 priority {r['priority']}\n" for r in listed)
    )
    wish.write_text(json.dumps({"route-rules": {"config": listed}}))
    one.write_text(json.dumps({"route-rules": {"config": listed[:1]}}))

    def made(*argv: str) -> float:
        while b"lookup 200" in subprocess.run(["ip", "rule"], capture_output=True, check=True).stdout:
            # It deletes while it lists, and leaves some.
            subprocess.run(["ip", "rule", "flush", "table", "200"], check=False, stderr=subprocess.DEVNULL)
        return timed(*argv)

    peer, ours, least = medians(
        rounds,
        lambda: made("ip", "-batch", str(batch)),
        lambda: made(NNCP, "apply", str(wish), "--state-dir", str(folder)),
        lambda: made(NNCP, "apply", str(one), "--state-dir", str(folder)),
    )
    row(f"{count} rules, verified; `ip -batch`", peer, ours, 1.3)
    row("the same, less an apply of one rule", peer, ours - least, 1.3)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    # Ours is imported from compiled files, as it is wherever it is installed; an environment may forbid to
    # write them on the way.
    compileall.compile_dir(Path(__file__).parents[1] / "nncp", quiet=1)
    print(f"kernel {os.uname().release}, medians of {rounds}\n\n| what; peer | peer | ours | ratio | goal |")
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        growth(Path(folder), rounds)
        routes(Path(folder), rounds)
        rules(Path(folder), rounds)


if __name__ == "__main__":
    main()
