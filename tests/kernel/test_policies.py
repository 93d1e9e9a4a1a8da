"""Every policy, applied as it stands to the host that it was written for, cabled to a switch with LACP."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import outside
import pytest

from nncp import netns
from nncp.document.source import load
from nncp.netlink.channel import Events
from nncp.pace import Limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from outside import Namespace

pytestmark = pytest.mark.kernel

POLICIES = Path(__file__).parents[2] / "policies"
FOLDERS = sorted(folder for folder in POLICIES.iterdir() if folder.is_dir())
FORWARDING = "forwarding"


def data(file: Path) -> Any:
    return load(file.read_text(), file=file.name)[0].value


def lacks(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Return what of `wanted` is not in `found`; lists of named things are matched by name."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line for key, value in wanted.items() for line in lacks(found.get(key), value, f"{path}.{key}")
        ]
    if (
        isinstance(wanted, list)
        and isinstance(found, list)
        and all(isinstance(item, dict) for item in wanted)
    ):
        if all("name" in item for item in wanted):
            named = {item["name"]: item for item in found}
            return [
                line
                for item in wanted
                for line in lacks(named.get(item["name"]), item, f"{path}[{item['name']}]")
            ]
        if len(found) == len(wanted):
            return [
                line for one, other in zip(found, wanted, strict=True) for line in lacks(one, other, path)
            ]
    return [] if found == wanted else [f"{path}: {found!r}, not {wanted!r}"]


@pytest.fixture
def switch(ns: Namespace) -> Iterator[Namespace]:
    """Yield a switch that the host's two cards are cabled to."""
    other = outside.make()
    try:
        other.batch("link add uplinks type bond mode 802.3ad miimon 50 lacp_rate fast")
        for card in ("ens1f0", "ens1f1"):
            ns.batch(f"link add {card} type veth peer name {card} netns {other.name}")
            other.batch(f"link set {card} master uplinks")
        other.batch("link set uplinks up", "addr add 172.16.1.1/24 dev uplinks")
        yield other
    finally:
        outside.remove(other)


def nncp(ns: Namespace, *argv: str) -> str:
    done = ns.run(sys.executable, "-m", "nncp", *argv, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_policy_leads_to_what_is_expected_and_carries_traffic(
    folder: Path, ns: Namespace, switch: Namespace, tmp_path: Path
) -> None:
    policy = next(iter(sorted(folder.glob("policy.yaml")) or sorted(folder.glob("node-*.yaml"))))
    state = ("--state-dir", str(tmp_path))
    nncp(ns, "apply", str(folder / "current.yaml"), *state)
    assert nncp(ns, "apply", str(policy), *state).startswith("+")
    assert nncp(ns, "apply", str(policy), *state).splitlines()[-1] == "No changes."
    shown = load(nncp(ns, "show"), file="shown")[0].value
    assert lacks(shown, data(folder / "expected.yaml")) == []
    await_forwarding(ns, port="bond0")
    assert switch.run("ping", "-c1", "-W60", "172.16.1.21", check=False).returncode == 0


def await_forwarding(ns: Namespace, *, port: str) -> None:
    """Wait until a bridge's port forwards, woken by the kernel's events."""
    with netns.entered(ns.path), Events() as events:
        limit = Limit(45)
        while port_state(ns, port) != FORWARDING:
            assert events.wait(limit.left) or not limit.is_over(), f"{port} does not forward after {limit}"


def port_state(ns: Namespace, port: str) -> str:
    return next(str(entry["state"]) for entry in ns.json("bridge", "-j", "link") if entry["ifname"] == port)
