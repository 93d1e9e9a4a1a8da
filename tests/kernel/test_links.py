"""Links that go, come back, and tell by what they leave out: judged by ip, not by our own reader."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cards import Command, link, vlan

if TYPE_CHECKING:
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

ABOVE = {
    "ipvlan": "link add link eth1.5 name top type ipvlan mode l2",
    "macvtap": "link add link eth1.5 name top type macvtap",
    "vxlan": "link add top type vxlan id 7 dstport 4789 dev eth1.5 remote 192.0.2.9",
}
TUNNELS = {
    "gre": "link add top type gre local 192.0.2.1 remote 192.0.2.9 dev eth1.5",
    "ip6tnl": "link add top type ip6tnl local 2001:db8::1 remote 2001:db8::2 dev eth1.5",
}


@pytest.mark.parametrize("kind", TUNNELS)
def test_a_tunnel_outlives_the_link_that_it_leaves_by(nncp: Command, ns: Namespace, kind: str) -> None:
    ns.batch("link add link eth1 name eth1.5 type vlan id 5", TUNNELS[kind])
    before = ns.settled()
    nncp("apply", {"name": "eth1.5", "type": "vlan", "state": "absent"})
    assert link(ns, "top")["linkinfo"]["info_kind"] == kind
    nncp("rollback")
    assert ns.differs(before) == {}


@pytest.mark.parametrize("kind", ABOVE)
def test_what_nobody_could_make_again_is_not_taken_with_what_it_rests_on(
    nncp: Command, ns: Namespace, kind: str
) -> None:
    ns.batch("link add link eth1 name eth1.5 type vlan id 5", ABOVE[kind])
    before = ns.settled()
    told = nncp(
        "apply",
        {"name": "eth2", "mtu": 1400},
        {"name": "eth1.5", "type": "vlan", "state": "absent"},
        code=69,
    )
    assert "error: top would be deleted with eth1.5 and could not be made again" in told
    assert f"interfaces of type {kind} are not supported yet" in told
    assert "--> <stdin>:3:3  interfaces[1]  (eth1.5)" in told
    assert "hint: delete or move top yourself first" in told
    assert ns.view() == before


def test_everything_that_could_not_be_made_again_is_told_at_once(nncp: Command, ns: Namespace) -> None:
    ns.batch("link add link eth1 name eth1.5 type vlan id 5", ABOVE["ipvlan"])
    told = nncp(
        "plan",
        {"name": "eth1.5", "type": "vlan", "vlan": {"id": 6}},
        {"name": "lo", "type": "dummy"},
        code=69,
    )
    assert "top would be deleted with eth1.5" in told
    assert "lo would be deleted and could not be made again: it is a device that no software makes" in told


def test_what_rests_on_a_link_gets_its_lesser_mtu_and_the_former_one_after_a_rollback(
    nncp: Command, ns: Namespace
) -> None:
    ns.batch(
        "link set p1 mtu 9000", "link set eth1 mtu 9000", "link add link eth1 name eth1.5 type vlan id 5",
        "link set eth1.5 up", "link add link eth1.5 name top type macvtap",
    )  # fmt: skip
    before = ns.settled()
    told = nncp("apply", {"name": "eth1", "mtu": 1500})
    assert {f"~ {name:<15} mtu: 9000 → 1500" for name in ("eth1", "eth1.5", "top")} <= set(told.splitlines())
    assert [link(ns, name)["mtu"] for name in ("eth1", "eth1.5", "top")] == [1500, 1500, 1500]
    nncp("rollback")
    assert ns.differs(before) == {}
    refused = nncp(
        "plan",
        {"name": "eth1", "mtu": 1200},
        {
            "name": "eth1.6",
            "type": "vlan",
            "vlan": {"base-iface": "eth1", "id": 6},
            "ipv6": {"enabled": True},
        },
        code=65,
    )
    assert "mtu 1200, which eth1.6 gets from eth1, is less than IPv6 takes, 1280" in refused
    assert "<stdin>:3:3  interfaces[1]  (eth1.6)" in refused


@pytest.mark.parametrize(
    ("made", "where"),
    [
        ("link add far type veth peer name near netns {}", "other end"),
        ("link add link eth1 name far netns {} type vlan id 7", "interface below it"),
        ("link add link eth1 name far netns {} type macvlan", "interface below it"),
    ],
)
def test_a_link_that_reaches_into_another_namespace_gets_no_other_type(
    nncp: Command, ns: Namespace, beyond: Namespace, tmp_path: Path, made: str, where: str
) -> None:
    here = ns if "veth" in made else beyond
    ns.batch(made.format(beyond.name))
    before = here.settled()
    told = Command(here, tmp_path)("apply", {"name": "far", "type": "dummy", "state": "up"}, code=69)
    assert f"far would be deleted and could not be made again: its {where} is in another network" in told
    assert here.view() == before


RESTING = {
    "a macvlan that was moved there": (
        "link add link eth1.5 name far type macvlan mode bridge", "link set far netns {}",
    ),
    "a VLAN that was made there": ("link add link eth1.5 name far netns {} type vlan id 7",),
    "an ipvlan that was made there": ("link add link eth1.5 name far netns {} type ipvlan",),
}  # fmt: skip


@pytest.mark.parametrize("what", RESTING)
def test_what_rests_on_a_link_from_another_namespace_refuses_that_it_goes(
    nncp: Command, ns: Namespace, beyond: Namespace, what: str
) -> None:
    ns.batch("link add link eth1 name eth1.5 type vlan id 5")
    ns.batch(*(line.format(beyond.name) for line in RESTING[what]))
    kind = beyond.json("ip", "-d", "-j", "link", "show", "far")[0]["linkinfo"]["info_kind"]
    before, there = ns.settled(), beyond.settled()
    changed = {"name": "eth1.5", "type": "vlan", "vlan": {"base-iface": "eth1", "id": 6}}
    for document in ({"name": "eth1.5", "state": "absent"}, changed):
        told = nncp("apply", document, code=69)
        assert (
            f"{kind} far in another network namespace would be deleted with eth1.5 and could not be made"
            in told
        )
    assert ns.differs(before) == beyond.differs(there) == {}
    beyond.batch("link del far")
    nncp("apply", {"name": "eth1.5", "state": "absent"})


HOLDER = """
import fcntl, struct, sys
files = []
for name, flags in ((b"t0", 0x1002), (b"t1", 0x1102)):
    files.append(open("/dev/net/tun", "r+b", buffering=0))
    fcntl.ioctl(files[-1], 0x400454CA, struct.pack("16sH22x", name, flags))
print("holds", flush=True)
sys.stdin.read()
"""


def test_a_tap_that_a_process_holds_open_gets_no_other_type(nncp: Command, ns: Namespace) -> None:
    ns.batch("tuntap add t0 mode tap", "tuntap add t1 mode tap multi_queue", "tuntap add t2 mode tap")
    with ns.popen(sys.executable, "-c", HOLDER) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "holds\n"
        told = nncp("plan", *({"name": f"t{n}", "type": "dummy"} for n in range(3)), code=69)
    assert "t0 would be deleted and could not be made again: a process holds it open" in told
    assert "t1 would be deleted and could not be made again: a process holds it open" in told
    assert "t2" not in told


def test_a_description_comes_and_goes_and_is_taken_back(nncp: Command, ns: Namespace) -> None:
    before = ns.settled()
    described = {"name": "eth1", "type": "ethernet", "description": "uplink to rack 7"}
    nncp("apply", described)
    assert link(ns, "eth1")["ifalias"] == "uplink to rack 7"
    assert "alias: uplink to rack 7 → none" in nncp("rollback")
    assert ns.differs(before) == {}
    nncp("apply", described)
    assert "alias: uplink to rack 7 → none" in nncp("apply", {**described, "description": ""})
    assert "ifalias" not in link(ns, "eth1")
    assert nncp("apply", {**described, "description": ""}) == "No changes.\n"
    assert "description" not in nncp("show")
    nncp("rollback")
    assert link(ns, "eth1")["ifalias"] == "uplink to rack 7"


FLAGS = {"reorder-headers": False, "registration-protocol": "none", "loose-binding": False}


def test_a_vlan_without_any_flag_is_wanted_shown_and_brought_back(nncp: Command, ns: Namespace) -> None:
    vlan = {"base-iface": "eth1", "id": 5}
    nncp("apply", {"name": "eth1.5", "type": "vlan", "vlan": {**vlan, **FLAGS}})
    assert link(ns, "eth1.5")["linkinfo"]["info_data"].get("flags", []) == []
    assert nncp("apply", {"name": "eth1.5", "type": "vlan", "vlan": {**vlan, **FLAGS}}) == "No changes.\n"
    assert "reorder-headers: false" in nncp("show")
    before = ns.settled()
    nncp("apply", {"name": "eth1.5", "type": "vlan", "vlan": {"reorder-headers": True, "id": 6}})
    assert link(ns, "eth1.5")["linkinfo"]["info_data"]["flags"] == ["REORDER_HDR"]
    nncp("rollback")
    assert ns.differs(before) == {}


@pytest.mark.parametrize("alias", [b"caf\xe9", b"caf\xe9\\xe9", b"caf\\xe9", b"\xff"])
def test_an_alias_of_any_bytes_is_shown_kept_and_brought_back(
    nncp: Command, ns: Namespace, alias: bytes
) -> None:
    def told() -> bytes:
        argv = ["ip", "netns", "exec", ns.name, "ip", "link", "show", "eth1"]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    ns.run("ip", "link", "set", "eth1", "alias", os.fsdecode(alias))
    assert told().endswith(b"alias " + alias + b"\n")
    described = {"name": "eth1", "type": "ethernet", "description": alias.decode(errors="backslashreplace")}
    assert described["description"] in nncp("show")
    assert nncp("apply", described) == "No changes.\n"
    nncp("apply", {**described, "description": "uplink"})
    assert described["description"] in nncp("rollback")
    assert told().endswith(b"alias " + alias + b"\n")


BOND = {"name": "bond0", "type": "bond", "link-aggregation": {"mode": "802.3ad", "port": ["eth1"]}}
OVER = {
    "a VLAN over a card": ([vlan("v", "eth1", mtu=9000)], "v", "eth1's MTU 1500"),
    "a mac-vlan over a dummy": (
        [{"name": "v", "type": "mac-vlan", "mtu": 9000, "mac-vlan": {"base-iface": "d0", "mode": "vepa"}},
         {"name": "d0", "type": "dummy"}],
        "v", "d0's MTU 1500",
    ),
    "a VLAN over a bond that gives its ports its own": (
        [{"name": "eth1", "mtu": 9000}, BOND, vlan("v", "bond0", mtu=9000)], "v", "bond0's MTU 1500",
    ),
    "a VLAN over what becomes less": (
        [{"name": "eth1", "mtu": 1400}, vlan("v", "eth1", mtu=1500)], "v", "eth1's MTU 1400",
    ),
    "a VLAN over a VLAN": ([vlan("w", "eth1"), vlan("v", "w", mtu=1501)], "v", "w's MTU 1500"),
    "more than the device takes": (
        [{"name": "v", "type": "dummy"}, {"name": "eth1", "mtu": 70000}], "eth1", "eth1 takes, 65535",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OVER)
def test_an_mtu_that_cannot_be_is_refused_at_its_place(nncp: Command, ns: Namespace, case: str) -> None:
    interfaces, name, most = OVER[case]
    before = ns.settled()
    told = nncp("apply", *interfaces, code=65)
    at = [interface["name"] for interface in interfaces].index(name)
    assert f"is more than {most}" in told
    assert f"--> <stdin>:{at + 2}:" in told
    assert f"interfaces[{at}].mtu  ({name})" in told
    assert ns.view() == before


def test_less_than_a_device_takes_is_refused(nncp: Command) -> None:
    assert "mtu 60 is less than eth1 takes, 68" in nncp("plan", {"name": "eth1", "mtu": 60}, code=65)
    told = nncp("plan", {"name": "b", "type": "linux-bridge", "mtu": 60}, code=65)
    assert "mtu 60 is less than b takes, 68" in told


def test_less_than_ipv6_takes_is_refused_while_there_are_addresses_of_it(
    nncp: Command, ns: Namespace
) -> None:
    ns.batch("addr add 2001:db8::5/64 dev eth1")
    before = ns.settled()
    told = nncp("apply", {"name": "eth1", "mtu": 1200}, code=65)
    assert "mtu 1200 is less than IPv6 takes, 1280, and eth1 has IPv6 addresses" in told
    assert ns.view() == before
    off = {"name": "eth1", "mtu": 1200, "ipv6": {"enabled": False}}
    nncp("apply", off)
    assert nncp("apply", off) == "No changes.\n"
    assert link(ns, "eth1")["mtu"] == 1200
    nncp("rollback")
    assert ns.differs(before) == {}


def test_a_link_too_small_for_ipv6_has_it_off(nncp: Command, ns: Namespace) -> None:
    ns.batch("link set eth1 mtu 1200")
    before = ns.settled()
    assert nncp("apply", {"name": "eth1", "ipv6": {"enabled": False}}) == "No changes.\n"
    nncp("apply", {"name": "eth1", "mtu": 1500, "ipv6": {"enabled": False}})
    assert ns.view()["ipv6"]["eth1"] == "1\n"
    nncp("rollback")
    assert ns.differs(before) == {}


FITS = {
    "a base that grows too": [vlan("v", "eth1", mtu=9000), {"name": "eth1", "mtu": 9000}],
    "a bridge that its ports make larger": [
        vlan("v", "br0", mtu=9000),
        {"name": "br0", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}},
        {"name": "eth1", "mtu": 9000},
    ],
    "a dummy without a bound": [{"name": "d0", "type": "dummy", "mtu": 100000}],
    "a bond with its own": [vlan("v", "bond0", mtu=9000), {**BOND, "mtu": 9000}],
}


TAKEN = {
    "a bridge and what is above it": (
        ("link add br0 type bridge", "link set eth1 master br0", "link set br0 up", "link add link br0 name br0.5 type vlan id 5"),
        {"name": "eth1", "mtu": 1400},
        {"eth1": 1400, "br0": 1400, "br0.5": 1400},
    ),
    "a bridge that gets a port": (
        ("link add br0 type bridge", "link set eth1 master br0", "link set eth2 mtu 1400"),
        {"name": "eth2", "controller": "br0"},
        {"eth1": 1500, "br0": 1400},
    ),
    "a bond's ports and what is above them": (
        ("link add b0 type bond", "link set eth1 down", "link set eth1 master b0", "link set b0 up", "link set eth1 mtu 9000",
         "link add link eth1 name eth1.5 type vlan id 5"),
        {"name": "b0", "type": "bond", "mtu": 4000},
        {"b0": 4000, "eth1": 4000, "eth1.5": 4000},
    ),
    "a port of a new bond": (
        ("link set eth1 mtu 9000", "link add link eth1 name eth1.5 type vlan id 5"),
        {"name": "b0", "type": "bond", "link-aggregation": {"mode": "active-backup", "port": ["eth1"]}},
        {"b0": 1500, "eth1": 1500, "eth1.5": 1500},
    ),
}  # fmt: skip
"""A host, what moves an MTU, and which others the kernel moves with it."""


@pytest.mark.parametrize("case", TAKEN)
def test_an_mtu_takes_others_with_it_as_the_plan_says_and_a_rollback_brings_them_back(
    nncp: Command, ns: Namespace, case: str
) -> None:
    host, document, after = TAKEN[case]
    ns.batch(*host)
    before = ns.settled()
    told = nncp("apply", document)
    assert {name: link(ns, name)["mtu"] for name in after} == after
    changed = {name for name in after if before["link"].get(name, {}).get("mtu", 1500) != after[name]}
    assert all(any(name in line.split() and "mtu" in line for line in told.splitlines()) for name in changed)
    assert nncp("apply", document).splitlines()[-1] == "No changes."
    nncp("rollback")
    assert {name: link(ns, name)["mtu"] for name in after if name in before["link"]} == {
        name: before["link"][name]["mtu"] for name in after if name in before["link"]
    }


def test_what_is_not_set_is_told_also_where_nothing_else_changes(nncp: Command) -> None:
    document = {"name": "eth1", "ethernet": {"speed": 1000}}
    for verb in ("plan", "apply"):
        told = nncp(verb, document)
        assert "warning: left to eth1 itself, and not set: speed" in told
        assert "No changes." in told


@pytest.mark.parametrize("case", FITS)
def test_an_mtu_that_can_be_is_applied(nncp: Command, ns: Namespace, case: str) -> None:
    wanted = FITS[case][0]
    nncp("apply", *FITS[case])
    assert link(ns, wanted["name"])["mtu"] == wanted["mtu"]
    assert nncp("apply", *FITS[case]) == "No changes.\n"
