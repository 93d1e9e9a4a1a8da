"""Every interface type on a real kernel: what a document asks for is what ip and bridge see."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

    from outside import Namespace

pytestmark = pytest.mark.kernel

CARDS = [
    line for n in range(3) for line in (f"link add eth{n} type veth peer name p{n}", f"link set p{n} up")
]


def nncp(ns: Namespace, *argv: str, document: Any = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the command line in the namespace."""
    text = document if isinstance(document, str) else json.dumps(document)
    done = ns.nncp(*argv, stdin=text)
    assert done.returncode == code, f"{argv} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


@pytest.fixture
def apply(ns: Namespace, tmp_path: Path) -> Any:
    ns.batch(*CARDS)

    def applied(*interfaces: dict[str, Any], code: int = 0, **rest: Any) -> str:
        document = {"interfaces": list(interfaces), **rest}
        done = nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document=document, code=code)
        if code == 0:
            again = nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document=document)
            assert again.stdout == "No changes.\n"
            assert nncp(ns, "diff", "-", "-o", "yaml", document=document).stdout == "{}\n"
            shown = nncp(ns, "show").stdout
            assert nncp(ns, "diff", "-", document=shown).stdout == "", (
                "what is shown differs from what is there"
            )
        return done.stdout + done.stderr

    return applied


def link(ns: Namespace, name: str) -> dict[str, Any]:
    (found,) = ns.json("ip", "-d", "-j", "link", "show", name)
    return dict(found)


def addresses(ns: Namespace, name: str) -> set[str]:
    (found,) = ns.json("ip", "-j", "addr", "show", name)
    return {
        f"{entry['local']}/{entry['prefixlen']}" for entry in found["addr_info"] if entry["scope"] == "global"
    }


def vlans(ns: Namespace, name: str) -> list[dict[str, Any]]:
    found = {entry["ifname"]: entry["vlans"] for entry in ns.json("bridge", "-compressvlans", "-j", "vlan")}
    # An empty list of flags says nothing.
    return [{key: value for key, value in entry.items() if value != []} for entry in found[name]]


@pytest.mark.parametrize(
    "mode",
    ["balance-rr", "active-backup", "balance-xor", "broadcast", "802.3ad", "balance-tlb", "balance-alb"],
)
def test_bond_modes(apply: Any, ns: Namespace, mode: str) -> None:
    options = {"miimon": "140", "xmit_hash_policy": "layer2+3"}
    apply(
        {
            "name": "bond0",
            "type": "bond",
            "link-aggregation": {"mode": mode, "options": options, "port": ["eth0", "eth1"]},
        }
    )
    info = link(ns, "bond0")["linkinfo"]["info_data"]
    assert (info["mode"], info["miimon"], info["xmit_hash_policy"]) == (mode, 140, "layer2+3")
    assert {link(ns, name)["master"] for name in ("eth0", "eth1")} == {"bond0"}
    assert "UP" in link(ns, "eth0")["flags"]


def test_bond_options_by_number_and_name(apply: Any, ns: Namespace) -> None:
    options = {
        "lacp_rate": 1,
        "ad_select": "bandwidth",
        "min_links": 1,
        "ad_actor_system": "02:00:00:00:00:01",
    }
    apply({"name": "bond0", "type": "bond", "link-aggregation": {"mode": 4, "options": options, "port": []}})
    info = link(ns, "bond0")["linkinfo"]["info_data"]
    assert (info["ad_lacp_rate"], info["ad_select"], info["min_links"]) == ("fast", "bandwidth", 1)
    assert info["ad_actor_system"] == "02:00:00:00:00:01"


def test_a_bond_option_of_another_mode_is_refused_by_name(apply: Any, ns: Namespace) -> None:
    section = {"mode": "active-backup", "options": {"lacp_rate": "fast"}}
    told = apply({"name": "bond0", "type": "bond", "link-aggregation": section}, code=65)
    assert "lacp_rate has no meaning in mode active-backup" in told
    assert "bond0" not in [entry["ifname"] for entry in ns.json("ip", "-j", "link")]


def test_bridge_options_and_port_vlans(apply: Any, ns: Namespace) -> None:
    options = {"stp": {"enabled": True, "forward-delay": 4, "priority": 4096}, "mac-ageing-time": 100,
               "group-forward-mask": 8, "multicast-snooping": False}  # fmt: skip
    trunk = {"mode": "trunk", "trunk-tags": [{"id": 33}, {"id-range": {"min": 100, "max": 110}}]}
    native = {"mode": "trunk", "enable-native": True, "tag": 5, "trunk-tags": [{"id": 6}]}
    ports = [
        {"name": "eth0", "stp-hairpin-mode": True, "stp-path-cost": 7, "vlan": trunk},
        {"name": "eth1", "vlan": {"mode": "access", "tag": 33}},
        {"name": "eth2", "vlan": native},
    ]
    apply({"name": "br0", "type": "linux-bridge", "bridge": {"options": options, "port": ports}})
    info = link(ns, "br0")["linkinfo"]["info_data"]
    assert (info["stp_state"], info["forward_delay"], info["ageing_time"]) == (1, 400, 10000)
    assert (info["priority"], info["group_fwd_mask"], info["mcast_snooping"], info["vlan_filtering"]) == (
        4096,
        "0x8",
        0,
        1,
    )
    port = link(ns, "eth0")["linkinfo"]["info_slave_data"]
    assert (port["hairpin"], port["cost"]) == (True, 7)
    untagged = ["PVID", "Egress Untagged"]
    assert vlans(ns, "eth0") == [{"vlan": 1, "flags": untagged}, {"vlan": 33}, {"vlan": 100, "vlanEnd": 110}]
    assert vlans(ns, "eth1") == [{"vlan": 33, "flags": untagged}]
    assert vlans(ns, "eth2") == [{"vlan": 5, "flags": untagged}, {"vlan": 6}]


def test_vlans_of_both_protocols_and_their_flags(apply: Any, ns: Namespace) -> None:
    apply(
        {
            "name": "eth0.33",
            "type": "vlan",
            "vlan": {"base-iface": "eth0", "id": "0x21", "registration-protocol": "gvrp"},
        },
        {
            "name": "eth0.33.7",
            "type": "vlan",
            "vlan": {"base-iface": "eth0.33", "id": 7, "protocol": "802.1ad"},
        },
    )
    outer, inner = (link(ns, name)["linkinfo"]["info_data"] for name in ("eth0.33", "eth0.33.7"))
    assert (outer["protocol"], outer["id"], outer["flags"]) == ("802.1Q", 33, ["REORDER_HDR", "GVRP"])
    assert (inner["protocol"], inner["id"]) == ("802.1ad", 7)
    apply({"name": "eth0.33", "type": "vlan", "vlan": {"base-iface": "eth0", "id": 34}})
    assert link(ns, "eth0.33")["linkinfo"]["info_data"]["id"] == 34
    assert "UP" in link(ns, "eth0.33.7")["flags"], "what stood on it stands on it again"


def test_mac_vlan_dummy_and_veth(apply: Any, ns: Namespace) -> None:
    apply(
        {"name": "m0", "type": "mac-vlan", "mac-address": "02:00:00:00:00:0A",
         "mac-vlan": {"base-iface": "eth0", "mode": "vepa"}},
        {"name": "d0", "type": "dummy", "mtu": 1400},
        {"name": "v0", "type": "veth", "veth": {"peer": "v1"}},
    )  # fmt: skip
    assert (link(ns, "m0")["linkinfo"]["info_data"]["mode"], link(ns, "m0")["address"]) == (
        "vepa",
        "02:00:00:00:00:0a",
    )
    assert (link(ns, "d0")["linkinfo"]["info_kind"], link(ns, "d0")["mtu"]) == ("dummy", 1400)
    assert (link(ns, "v0")["link"], "UP" in link(ns, "v1")["flags"]) == ("v1", True)
    apply({"name": "v0", "type": "veth", "state": "absent"}, {"name": "m0", "state": "absent"})
    assert {"v0", "v1", "m0"} & {entry["ifname"] for entry in ns.json("ip", "-j", "link")} == set()


def test_addresses_and_ipv6_switch(apply: Any, ns: Namespace) -> None:
    four = {
        "enabled": True,
        "address": [{"ip": "192.0.2.1", "prefix-length": 24}, {"ip": "192.0.2.2", "prefix-length": 24}],
    }
    six = {"enabled": True, "address": [{"ip": "2001:db8::1", "prefix-length": "64"}]}
    apply({"name": "eth0", "ipv4": four, "ipv6": six})
    assert addresses(ns, "eth0") == {"192.0.2.1/24", "192.0.2.2/24", "2001:db8::1/64"}
    apply({"name": "eth0", "ipv4": {**four, "address": four["address"][1:]}, "ipv6": {"enabled": False}})
    assert addresses(ns, "eth0") == {"192.0.2.2/24"}
    assert ns.run("cat", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6").stdout == "1\n"
    apply({"name": "eth0", "ipv4": {"enabled": False}})
    assert addresses(ns, "eth0") == set()


def test_routes_static_multipath_and_typed(apply: Any, ns: Namespace) -> None:
    static = {"enabled": True, "address": [{"ip": "192.0.2.1", "prefix-length": 24}]}
    hop = {"destination": "198.51.100.0/24", "next-hop-interface": "eth0"}
    config = [
        {**hop, "next-hop-address": "192.0.2.2", "weight": 2},
        {**hop, "next-hop-address": "192.0.2.3"},
        {"destination": "203.0.113.0/24", "route-type": "blackhole", "metric": 9},
    ]
    apply({"name": "eth0", "ipv4": static}, routes={"config": config})
    routes = {route["dst"]: route for route in ns.json("ip", "-d", "-j", "route")}
    assert [(hop["gateway"], hop["weight"]) for hop in routes["198.51.100.0/24"]["nexthops"]] == [
        ("192.0.2.2", 2),
        ("192.0.2.3", 1),
    ]
    assert (routes["203.0.113.0/24"]["type"], routes["203.0.113.0/24"]["metric"]) == ("blackhole", 9)
    apply(routes={"config": [{"state": "absent", "destination": "198.51.100.0/24"}]})
    assert "198.51.100.0/24" not in {route["dst"] for route in ns.json("ip", "-j", "route")}


def test_a_refusal_of_the_kernel_names_the_line_and_undoes_the_rest(ns: Namespace, tmp_path: Path) -> None:
    ns.batch(*CARDS, "link property add dev eth0 altname again")
    before = ns.settled()
    text = "interfaces:\n- name: d0\n  type: dummy\n  mtu: 1400\n- name: again\n  type: dummy\n  mtu: 1400\n"
    done = nncp(ns, "apply", "-", "--state-dir", str(tmp_path), document=text, code=75)
    assert "--> <stdin>:5:3  interfaces[1]  (again)" in done.stderr
    assert "create dummy again: File exists" in done.stderr
    assert "hint: a link has this name, perhaps as one more of its own" in done.stderr
    assert ns.differs(before) == {}


def test_an_apply_that_changes_nothing_writes_nothing_and_dumps_little(apply: Any, ns: Namespace) -> None:
    section = {"mode": "802.3ad", "port": ["eth0", "eth1"]}
    document = {"interfaces": [{"name": "bond0", "type": "bond", "link-aggregation": section}]}
    apply(*document["interfaces"])
    counted = (
        "import json, sys\nfrom nncp import work\nfrom nncp.netlink.channel import Channel\n"
        "made = []\nstart = Channel.__init__\n"
        "def noted(self, **more):\n    start(self, **more)\n    made.append(self)\n"
        "Channel.__init__ = noted\n"
        "from pathlib import Path\n"
        "work.apply(work.documents([('x', sys.stdin.read())]))\n"
        "print(sum(c.writes for c in made), sum(c.dumps for c in made))\n"
    )
    done = ns.run(sys.executable, "-c", counted, stdin=json.dumps(document))
    assert (
        done.stdout == "0 18\n"
    )  # links, addresses, routes of seven protocols and two families; no bridge, no VLANs
