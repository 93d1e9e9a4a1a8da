"""Every policy, applied as it stands to the host that it was written for, cabled to a switch with LACP."""

from __future__ import annotations

import re
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


CARDS = ("ens1f0", "ens1f1")
SWITCH = ("172.16.1.1/24", "172.16.2.1/24")
"""Its addresses, untagged; in VLAN 33 it has 172.17.33.1/24."""
VLAN = 33
NATIVE = {"native-vlan"}
"""Policies whose uplink is a switch port that sends VLAN 33 untagged."""
WITH_DEVICE = {"native-vlan", "trunk-and-access"}
"""Policies that have a device of VLAN 33 at the second card, and not the switch: that would be a circle."""


@pytest.fixture
def switch(ns: Namespace, folder: Path) -> Iterator[Namespace]:
    """Yield a switch that the host's two cards are cabled to: by LACP where the policy makes a bond."""
    other = outside.make()
    try:
        other.batch(
            "link add tor type bridge vlan_filtering 1", *(f"address add {ip} dev tor" for ip in SWITCH)
        )
        bonded = "802.3ad" in (policy_of(folder)).read_text(encoding="utf-8")
        if bonded:
            other.batch("link add uplinks type bond mode 802.3ad miimon 50 lacp_rate fast")
        for card in CARDS[:1] if folder.name in WITH_DEVICE else CARDS:
            ns.batch(f"link add {card} type veth peer name {card} netns {other.name}")
            other.batch(f"link set {card} master {'uplinks' if bonded else 'tor'}", f"link set {card} up")
        if bonded:
            other.batch("link set uplinks master tor", "link set uplinks up")
        native = "pvid untagged" if folder.name in NATIVE else ""
        for port in {link["ifname"] for link in other.json("ip", "-j", "link", "show", "master", "tor")}:
            other.run("bridge", "vlan", "add", "dev", port, "vid", str(VLAN), *native.split())
        other.run("bridge", "vlan", "add", "dev", "tor", "vid", str(VLAN), "self")
        other.batch(
            "link set tor up",
            f"link add link tor name tor.{VLAN} type vlan id {VLAN}",
            f"address add 172.17.33.1/24 dev tor.{VLAN}",
            f"link set tor.{VLAN} up",
        )
        yield other
    finally:
        outside.remove(other)


@pytest.fixture
def device(ns: Namespace, folder: Path) -> Iterator[Namespace]:
    """Yield what is at the second card where that is not the switch."""
    other = outside.make()
    try:
        if folder.name in WITH_DEVICE:
            ns.batch(f"link add {CARDS[1]} type veth peer name card netns {other.name}")
            other.batch("address add 172.17.33.50/24 dev card", "link set card up")
        yield other
    finally:
        outside.remove(other)


def policy_of(folder: Path) -> Path:
    return next(iter(sorted(folder.glob("policy.yaml")) or sorted(folder.glob("node-*.yaml"))))


def addresses(folder: Path) -> list[str]:
    """Return the IPv4 addresses that the host has in the end, of which the switch can reach each."""
    found = data(folder / "expected.yaml")["interfaces"]
    return [one["ip"] for interface in found for one in interface.get("ipv4", {}).get("address", ())]


def nncp(ns: Namespace, *argv: str) -> str:
    done = ns.nncp(*argv)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_policy_leads_to_what_is_expected_and_carries_traffic(
    folder: Path, ns: Namespace, switch: Namespace, device: Namespace, tmp_path: Path
) -> None:
    policy, state = str(policy_of(folder)), ("--state-dir", str(tmp_path))
    nncp(ns, "apply", str(folder / "current.yaml"), *state)
    planned = nncp(ns, "plan", policy, *state)
    assert bare(nncp(ns, "plan", policy, "--current", str(folder / "current.yaml"))) == bare(planned)
    before, undo = settled(ns), tmp_path / "undo.yaml"
    undo.write_text(nncp(ns, "revert", policy), encoding="utf-8")
    nncp(ns, "apply", policy, *state)
    shown = load(nncp(ns, "show"), file="shown")[0].value
    assert lacks(shown, data(folder / "expected.yaml")) == []
    if "capture" not in Path(policy).read_text(encoding="utf-8"):  # what is captured is another thing now
        assert nncp(ns, "apply", policy, *state).splitlines()[-1] == "No changes."
        assert nncp(ns, "diff", policy, "-o", "yaml") == "{}\n"
    for port in ("bond0", *CARDS):
        await_forwarding(ns, port=port)
    for address in addresses(folder):
        assert switch.run("ping", "-c1", "-W60", address, check=False).returncode == 0, address
        if folder.name in WITH_DEVICE:
            assert device.run("ping", "-c1", "-W60", address, check=False).returncode == 0, address

    nncp(ns, "apply", str(undo), *state)
    assert settled(ns) == before


def settled(ns: Namespace) -> Any:
    """Return what is shown once carriers and addresses have settled."""
    ns.settled()
    return load(nncp(ns, "show"), file="shown")[0].value


def bare(plan: str) -> str:
    """Return a plan without the MAC addresses, which are drawn at random where none is told."""
    return re.sub(r"mac: [0-9a-f:]{17}(, )?", "", plan)


def await_forwarding(ns: Namespace, *, port: str) -> None:
    """Wait until a bridge's port forwards, woken by the kernel's events."""
    with netns.entered(ns.path), Events() as events:
        limit = Limit(45)
        while port_state(ns, port) not in {FORWARDING, ""}:
            assert events.wait(limit.left) or not limit.is_over(), f"{port} does not forward after {limit}"


def port_state(ns: Namespace, port: str) -> str:
    """Return the state of a bridge's port, "" where it is none."""
    states = (str(entry["state"]) for entry in ns.json("bridge", "-j", "link") if entry["ifname"] == port)
    return next(states, "")
