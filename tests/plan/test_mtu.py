"""MTUs that cannot be, on the host as it will be: refused before anything is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest
from model import compiled, host_of

from nncp.host import Row
from nncp.known import KINDS
from nncp.mtu import may_change, moved

if TYPE_CHECKING:
    from nncp.host import Host

CARD = {"type": "ethernet", "mtu": 1500, "min-mtu": 70, "max-mtu": 9216}
KERNELS = {"protocol": 3}  # a link-local address of the kernel's own
PORTS = {f"port {name}": {"controller": "br0", "type": "linux-bridge"} for name in ("eth1", "eth2")}
BRIDGE = {"link br0": {"type": "linux-bridge", "mtu": 1500}}


def host(**more: Any) -> Host:
    return host_of({"link eth1": CARD, "link eth2": CARD, "link eth3": {**CARD, "mtu": 9000}, **more})


def faults(interfaces: str, now: Host) -> list[tuple[str, bool]]:
    """Return what is wrong: of whom, why, and whether only a host could tell."""
    found = compiled(f"interfaces:\n{interfaces}", now).faults
    return [(f"{name}: {fault.message} ({fault.hint})", fault.of_host) for name, fault in found]


def eth1(mtu: int, more: str = "") -> str:
    return f"- {{name: eth1, mtu: {mtu}{more}}}\n"


def vlan(name: str, base: str, mtu: int | None = 1501) -> str:
    asked = f", mtu: {mtu}" if mtu else ""
    return f"- {{name: {name}, type: vlan, vlan: {{base-iface: {base}, id: {crc32(name.encode()) % 4001 + 9}}}{asked}}}\n"


def bridge(*ports: str, more: str = "") -> str:
    return f"- {{name: br0, type: linux-bridge, bridge: {{port: [{', '.join(ports)}]}}{more}}}\n"


STATIC6 = ", ipv6: {address: [{ip: '2001:db8::1', prefix-length: 64}]}"
OFF6 = ", ipv6: {enabled: false}"
OLD6 = {"address eth1 2001:db8::9/64": {}}
IPV6 = "less than IPv6 takes, 1280, and eth1 has IPv6 addresses .use 1280 or more, or take its IPv6"


@pytest.mark.parametrize(
    ("document", "more", "why"),
    [
        (eth1(9217), {}, "eth1: mtu 9217 is more than eth1 takes, 9216 .use 9216 or less"),
        (eth1(69), {}, "eth1: mtu 69 is less than eth1 takes, 70 .use 70 or more"),
        ("- {name: b, type: linux-bridge, mtu: 65536}\n", {}, "b: mtu 65536 is more than b takes, 65535"),
        ("- {name: b, type: linux-bridge, mtu: 67}\n", {}, "b: mtu 67 is less than b takes, 68"),
        (eth1(1279, STATIC6), {}, f"eth1: mtu 1279 is {IPV6}"),
        (eth1(70, STATIC6), {}, f"eth1: mtu 70 is {IPV6}"),
        (eth1(1279), OLD6, f"eth1: mtu 1279 is {IPV6}"),
        (eth1(69), OLD6, "eth1: mtu 69 is less than eth1 takes, 70"),
        (vlan("v", "eth1"), {}, "v: mtu 1501 is more than eth1's MTU 1500 .give eth1 an mtu of 1501 too, or v at most"),
        (vlan("w", "v") + vlan("v", "eth1", None), {}, "w: mtu 1501 is more than v's MTU 1500"),
        (vlan("v", "br0") + bridge(), {}, "v: mtu 1501 is more than br0's MTU 1500"),
        (vlan("v", "br0", 9000) + bridge("{name: eth1}", "{name: eth3}"), {}, "v: mtu 9000 is more than br0's MTU 1500"),
        (vlan("v", "br0", 9000) + "- {name: eth3, controller: br0}\n", {**BRIDGE, **PORTS}, "v: mtu 9000 is more than br0's MTU 1500"),
        (vlan("v", "br0"), {**BRIDGE, **PORTS}, "v: mtu 1501 is more than br0's MTU 1500"),
        (vlan("v", "br0", 9001) + "- {name: eth3, controller: br0}\n", BRIDGE, "v: mtu 9001 is more than br0's MTU 9000"),
        (vlan("v", "d", 1501) + "- {name: d, type: dummy}\n", {"link d": {"type": "vlan", "base-iface": "eth3", "mtu": 9000}},
         "v: mtu 1501 is more than d's MTU 1500"),
    ],
)  # fmt: skip
def test_an_mtu_that_cannot_be_is_refused(document: str, more: Any, why: str) -> None:
    ((told, of_host),) = faults(document, host(**more))
    assert re.match(why, told)
    assert of_host, "the document alone would do"


LOW = {"link eth4": {**CARD, "mtu": 1200}}
V6 = ", ipv6: {enabled: true}"


def on(name: str, kind: str, section: str, more: str = STATIC6) -> str:
    return f"- {{name: {name}, type: {kind}, {section}{more}}}\n"


V = ("v", "vlan", "vlan: {base-iface: eth1, id: 5}")
AUTOCONF_OFF = ", ipv6: {enabled: true, autoconf: false}"


@pytest.mark.parametrize(
    ("document", "why", "place"),
    [
        (eth1(1200) + on(*V), "v: mtu 1200, which v gets from eth1, is less than IPv6 takes, 1280, and v is to have IPv6", ()),
        (on(*V, V6) + eth1(1279), "v: mtu 1279, which v gets from eth1,", ()),
        (on(*V, AUTOCONF_OFF) + eth1(1279), "v: mtu 1279, which v gets from eth1,", ()),
        (on("v", "vlan", "vlan: {base-iface: eth4, id: 5}"), "v: mtu 1200, which v gets from eth4,", ()),
        (on("m", "mac-vlan", "mac-vlan: {base-iface: eth4, mode: vepa}"), "m: mtu 1200, which m gets from eth4,", ()),
        (on("br0", "linux-bridge", "bridge: {port: [{name: eth1}, {name: eth4}]}"), "br0: mtu 1200, which br0 gets from eth4,", ()),
        (f"- {{name: eth4{V6}}}\n", "eth4: mtu 1200 of eth4 is less than IPv6 takes, 1280, and eth4 is to have IPv6 .give eth4 an mtu of 1280 or", ()),
        (eth1(1279), "old: mtu 1279 is less than IPv6 takes, 1280, and old has IPv6 addresses", ("mtu",)),
        (eth1(1279) + vlan("old", "eth1", None), "old: mtu 1279 is less than IPv6 takes, 1280, and old has IPv6", ()),
        (f"- {{name: bare{V6}}}\n", "bare: mtu 1000 of bare is less than IPv6 takes, 1280, and bare is to have IPv6", ()),
        (vlan("dummy-old", "eth4", None), "dummy-old: mtu 1200, which dummy-old gets from eth4,", ()),
    ],
)  # fmt: skip
def test_an_mtu_that_ipv6_cannot_have_and_a_link_gets_by_itself_is_refused(
    document: str, why: str, place: tuple[str, ...]
) -> None:
    old = {"link old": {"type": "vlan", "base-iface": "eth1", "mtu": 1500}, "address old 2001:db8::9/64": {}}
    bare = {"link bare": {"type": "linux-bridge", "mtu": 1000}}
    other = {"link dummy-old": {"type": "dummy", "mtu": 1500}, "address dummy-old 2001:db8::9/64": {}}
    now = host(**LOW, **bare, **(old if why.startswith("old") else other))
    ((name, fault),) = compiled(f"interfaces:\n{document}", now).faults
    assert re.match(why, f"{name}: {fault.message} ({fault.hint})")
    assert fault.path[2:] == place
    assert fault.of_host


STACK = {
    "link w": {"type": "vlan", "base-iface": "v", "mtu": 9000},
    "link v": {"type": "vlan", "base-iface": "eth3", "mtu": 9000},
    "link m": {"type": "mac-vlan", "base-iface": "eth3", "mtu": 2000},
    "link low": {"type": "macvtap", "base-iface": "eth3", "mtu": 1400},
    "link ipvl": {"type": "ipvlan", "base-iface": "eth3", "mtu": 9000},
    "link far": {"type": "vlan", "elsewhere": True, "mtu": 9000},
}


@pytest.mark.parametrize(
    ("document", "shrinks"),
    [
        ("- {name: eth3, mtu: 1500}\n", {"v": 1500, "w": 1500, "m": 1500}),
        ("- {name: eth3, mtu: 2000}\n- {name: w, mtu: 1999}\n", {"v": 2000, "w": 1999}),
        ("- {name: eth3, mtu: 1500}\n- {name: w, state: absent}\n- {name: m, state: ignore}\n", {"v": 1500}),
        ("- {name: v, type: vlan, vlan: {base-iface: eth1}}\n", {"v": 1500, "w": 1500}),
        ("- {name: eth3, mtu: 1500}\n- {name: m, type: dummy}\n", {"v": 1500, "w": 1500}),
        ("- {name: eth3, mtu: 9216}\n", {}),
        ("- {name: eth3, state: down}\n", {}),
    ],
)  # fmt: skip
def test_a_lesser_mtu_takes_down_what_rests_on_the_link_and_the_plan_says_so(
    document: str, shrinks: dict[str, int]
) -> None:
    now = host(**STACK)
    found = compiled(f"interfaces:\n{document}", now)
    assert not found.faults
    rows = {key[1]: row.attrs["mtu"] for key, row in found.rows.items() if "mtu" in row.attrs}
    assert {name: mtu for name, mtu in rows.items() if name != "eth3"} == shrinks
    assert {found.origins["link", name][0] for name in shrinks} <= {"interfaces"}
    told = ["warning: m gets mtu 1500 with eth3"] if "m, state: ignore" in document else []
    assert [note.text for note in found.notes] == told


@pytest.mark.parametrize(
    "document",
    [
        vlan("v", "eth1") + eth1(1500),
        vlan("v", "br0", 1401) + bridge("{name: eth1}", more=", mtu: 1400"),
    ],
)
def test_a_base_whose_mtu_the_document_itself_says_is_its_own_fault(document: str) -> None:
    assert [of_host for _, of_host in faults(document, host())] == [False]


def test_every_mtu_that_cannot_be_is_told_at_once() -> None:
    document = "- {name: d, type: dummy}\n" + eth1(69) + vlan("v", "eth2") + "- {name: eth3, mtu: 9217}\n"
    assert [told.split(":")[0] for told, _ in faults(document, host())] == ["eth1", "v", "eth3"]


@pytest.mark.parametrize(
    ("document", "more"),
    [
        (eth1(9216), {}),
        (eth1(70), {}),
        ("- {name: bond0, type: bond, mtu: 9000, link-aggregation: {mode: active-backup, options: {primary: eth1}, port: [eth1]}}\n", {}),
        (eth1(1280, STATIC6), {}),
        (eth1(1279, OFF6), OLD6),
        (eth1(1279), {"address eth1 fe80::1/64": KERNELS}),
        (eth1(1279), {"address eth1 192.0.2.1/24": {}, "address eth2 2001:db8::9/64": {}}),
        ("- {name: d, type: dummy, mtu: 100000}\n", {}),
        (vlan("v", "eth1", 1500), {}),
        (vlan("v", "eth1") + eth1(1501), {}),
        (vlan("w", "v") + vlan("v", "eth3", None), {}),
        (vlan("v", "br0", 9000) + bridge("{name: eth3}"), {}),
        (vlan("v", "br0", 9000) + bridge("{name: eth1}", more=", mtu: 9000"), {}),
        (vlan("v", "br0", 9000), {**PORTS, "link br0": {"type": "linux-bridge", "mtu": 9000}}),
        (vlan("v", "br0", 9000) + bridge("{name: eth3}"), {**BRIDGE, **PORTS}),
        ("- {name: eth3, state: absent}\n- {name: d, type: dummy}\n", {}),
        ("- {name: v, type: vlan, state: absent}\n", {"link v": {"type": "vlan", "base-iface": "eth1", "mtu": 9000}}),
    ],
)  # fmt: skip
def test_an_mtu_that_can_be_is_not(document: str, more: Any) -> None:
    assert faults(document, host(**more)) == []


@pytest.mark.parametrize(
    "document",
    [
        vlan("v", "eth4", None) + on("d", "dummy", "mtu: 1500"),
        vlan("v", "eth4", None) + "- {name: d, type: dummy}\n",
        on("v", "vlan", "vlan: {base-iface: eth4, id: 5}", OFF6),
        eth1(1280) + on(*V),
    ],
)  # fmt: skip
def test_an_mtu_that_is_too_little_for_other_links_alone_is_not_refused(document: str) -> None:
    assert faults(document, host(**LOW)) == []


def test_a_link_that_has_less_than_the_one_below_keeps_it() -> None:
    less = {"link v": {"type": "vlan", "base-iface": "eth1", "mtu": 1400}}
    ((told, _),) = faults(vlan("w", "v", 1450), host(**less))
    assert told.startswith("w: mtu 1450 is more than v's MTU 1400")


BOND9 = {"link bond9": {"type": "bond", "mode": "active-backup", "mtu": 1500}}
JUMBO = {**BOND9, "port eth3": {"controller": "bond9", "type": "bond"},
         "link eth3.5": {"type": "vlan", "base-iface": "eth3", "id": 5, "mtu": 9000}}  # fmt: skip


def bond(name: str, *ports: str, more: str = "") -> str:
    section = f"link-aggregation: {{mode: active-backup, port: [{', '.join(ports)}]}}"
    return f"- {{name: {name}, type: bond, {section}{more}}}\n"


@pytest.mark.parametrize(
    ("document", "more", "moves"),
    [
        ("- {name: t, type: linux-bridge}\n" + eth1(1400), {"link t": {"type": "dummy", "mtu": 1500}, "link u": {"type": "vlan", "base-iface": "eth1", "mtu": 1500}},
         {"u": (1400, "eth1")}),
        ("- {name: eth1, mtu: 1400}\n", {"link tap": {"type": "macvtap", "base-iface": "eth1", "mtu": 1500}}, {"tap": (1400, "eth1")}),
        ("- {name: v, type: vlan, mtu: 1400}\n", {"link v": {"type": "vlan", "base-iface": "eth1", "mtu": 1500}, "link w": {"type": "vlan", "base-iface": "v", "mtu": 1500}},
         {"w": (1400, "v")}),
        (bond("b0", "v", more=", mtu: 9000"), {"link v": {"type": "vlan", "base-iface": "eth3", "mtu": 1500}}, {"v": (9000, "b0")}),
        ("- {name: eth3, mtu: 8000}\n", {"link br0": {"type": "linux-bridge", "mtu": 9000}, "port eth3": PORTS["port eth1"]}, {"br0": (8000, "eth3")}),
        ("- {name: bond9, type: bond, mtu: 4000}\n", JUMBO, {"eth3": (4000, "bond9"), "eth3.5": (4000, "bond9")}),
        ("- {name: bond9, type: bond, mtu: 9000}\n", JUMBO, {}),
        ("- {name: bond9, type: bond, mtu: 1500}\n", JUMBO, {}),
        ("- {name: bond9, type: bond, mtu: 9100}\n", JUMBO, {"eth3": (9100, "bond9")}),
        (bond("b0", "eth3", "eth1"), {}, {"eth3": (1500, "b0")}),
        (bond("b0", "eth3", more=", mtu: 9000"), {}, {}),
        (bond("b0", "eth1", more=", mtu: 9000"), {}, {"eth1": (9000, "b0")}),
        (bond("b0", "eth3") + "- {name: eth3, mtu: 8000}\n", {}, {}),
        ("- {name: eth3, controller: ''}\n", JUMBO, {}),
        ("- {name: bond9, type: bond, mtu: 1400}\n- {name: eth2, controller: bond9}\n", JUMBO,
         {"eth3": (1400, "bond9"), "eth3.5": (1400, "bond9")}),
        (eth1(1400), {**BRIDGE, **PORTS}, {"br0": (1400, "eth1")}),
        (eth1(1400), {"link br0": {"type": "linux-bridge", "mtu": 1499}, **PORTS}, {}),
        ("- {name: eth1, mtu: 1400, controller: ''}\n", {**BRIDGE, **PORTS}, {}),
        ("- {name: eth1, controller: ''}\n", {"link br0": {"type": "linux-bridge", "mtu": 9000}, "port eth3": PORTS["port eth1"]}, {}),
        ("- {name: br0, type: linux-bridge, mtu: 1500}\n" + eth1(1400), {**BRIDGE, **PORTS}, {}),
        ("- {name: eth3, mtu: 1400, controller: br0}\n", {**BRIDGE, "link br0.5": {"type": "vlan", "base-iface": "br0", "id": 5, "mtu": 1500}},
         {"br0": (1400, "eth3"), "br0.5": (1400, "eth3")}),
    ],
)  # fmt: skip
def test_an_mtu_moves_those_of_others_with_it(
    document: str, more: Any, moves: dict[str, tuple[int, str]]
) -> None:
    now = host(**more)
    want = compiled(f"interfaces:\n{document}", now)
    assert want.faults == []
    asked = {key: row for key, row in want.rows.items() if key[0] != "link" or f"name: {key[1]}," in document}
    found = {row.name: (row.attrs["mtu"], cause) for row, cause, _ in moved(asked, now, KINDS)}
    assert found == moves


@pytest.mark.parametrize(
    ("document", "more", "why"),
    [
        (eth1(1000), {**BRIDGE, **PORTS, "address br0 2001:db8::1/64": {}}, "br0: mtu 1000 is less than IPv6 takes, 1280"),
        ("- {name: eth3, mtu: 1000, controller: br0}\n", {**BRIDGE, **PORTS, "address br0 2001:db8::1/64": {}}, "br0: mtu 1000 is less than IPv6"),
        (eth1(1000), {**BRIDGE, **PORTS, "link v": {"type": "vlan", "base-iface": "br0", "mtu": 1500}, "address v 2001:db8::1/64": {}},
         "v: mtu 1000 is less than IPv6 takes, 1280"),
        ("- {name: bond9, type: bond, mtu: 1200}\n", {**JUMBO, "address eth3.5 2001:db8::1/64": {}}, "eth3.5: mtu 1200 is less than IPv6"),
        ("- {name: bond9, type: bond, mtu: 9300}\n", JUMBO, "eth3: mtu 9300 is more than eth3 takes, 9216"),
        (bond("b0", "v", more=", mtu: 9000") + vlan("v", "eth1", None), {}, "v: mtu 9000 is more than eth1's MTU 1500"),
        ("- {name: d, type: dummy, mtu: 67}\n", {"link d": {"type": "dummy", "min-mtu": 0}, "address d 192.0.2.1/24": {}},
         "d: mtu 67 is less than IPv4 takes, 68, and d has IPv4 addresses"),
    ],
)  # fmt: skip
def test_an_mtu_that_another_link_cannot_follow_is_refused(document: str, more: Any, why: str) -> None:
    ((told, _),) = faults(document, host(**more))
    assert told.startswith(why)
    ((_, fault),) = compiled(f"interfaces:\n- {{name: d7, type: dummy}}\n{document}", host(**more)).faults
    assert fault.path[:2] in {("interfaces", 1), ("interfaces", 2)}


@pytest.mark.parametrize(
    ("document", "more"),
    [
        (eth1(1280), {**BRIDGE, **PORTS, "address br0 2001:db8::1/64": {}}),
        (eth1(1000), {**BRIDGE, **PORTS, "address br0 192.0.2.1/24": {}}),
        (eth1(1000) + "- {name: br0, state: absent}\n", {**BRIDGE, **PORTS, "address br0 2001:db8::1/64": {}}),
        ("- {name: d, type: dummy, mtu: 68}\n", {"link d": {"type": "dummy", "min-mtu": 0}, "address d 192.0.2.1/24": {}}),
        ("- {name: d, type: dummy, mtu: 60, ipv4: {enabled: false}}\n", {"link d": {"type": "dummy", "min-mtu": 0}, "address d 192.0.2.1/24": {}}),
    ],
)  # fmt: skip
def test_an_mtu_that_others_can_follow_is_not(document: str, more: Any) -> None:
    assert faults(document, host(**more)) == []


def test_nothing_is_written_to_a_bridge_that_follows_its_ports_nor_above_it() -> None:
    above = {"link br0.5": {"type": "vlan", "base-iface": "br0", "id": 5, "mtu": 1500}}
    now = host(
        **BRIDGE, **above, **{"link eth1.9": {"type": "vlan", "base-iface": "eth1", "id": 9, "mtu": 1500}}
    )
    want = compiled("interfaces: [{name: eth1, mtu: 1400, controller: br0}]", now)
    assert {key[1]: row.attrs["mtu"] for key, row in want.rows.items() if key[0] == "link"} == {
        "eth1": 1400,
        "eth1.9": 1400,
    }
    assert [note.text for note in want.notes] == [
        "warning: br0 gets mtu 1400 with eth1",
        "warning: br0.5 gets mtu 1400 with eth1",
    ]


def test_only_what_nobody_gives_an_mtu_shrinks() -> None:
    stands = host(
        **{f"link {name}": {"type": "vlan", "base-iface": "eth1", "mtu": 1500} for name in ("v", "w")}
    )
    want = {row.key: row for row in (Row(("link", "eth1"), {"mtu": 1400}), Row(("link", "v"), {"mtu": 1300}))}
    assert list(moved(want, stands, KINDS)) == [
        (Row(("link", "w"), {"type": "vlan", "mtu": 1400}), "eth1", True)
    ]


def test_links_in_a_circle_have_no_mtu_and_are_refused_as_a_circle() -> None:
    of_vlans = vlan("x", "a", 1500) + vlan("a", "b", None) + vlan("b", "a", None)
    of_a_bridge = vlan("x", "v", 1500) + vlan("v", "br0", None) + bridge("{name: v}")
    for circle in (of_vlans, of_a_bridge):
        ((told, _),) = faults(circle, host())
        assert "rest on each other in a circle" in told


ASKED = {
    "nothing": ("- {name: eth1}\n", False),
    "what is so": (eth1(1500) + vlan("v", "eth1", None) + bridge("{name: eth1}", "{name: eth2}"), False),
    "another MTU": (eth1(1400), True),
    "another base": (vlan("v", "eth3", None), True),
    "another type": ("- {name: v, type: dummy}\n", True),
    "a new link": ("- {name: d, type: dummy}\n", True),
    "a link that goes": ("- {name: v, type: vlan, state: absent}\n", True),
    "a new port": (bridge("{name: eth3}"), True),
    "a port of another": ("- {name: br1, type: linux-bridge, bridge: {port: [{name: eth2}]}}\n", True),
    "a port of the same": ("- {name: br1, type: linux-bridge}\n", False),
    "IPv6": (f"- {{name: eth1{STATIC6}}}\n", True),
}


@pytest.mark.parametrize(("document", "may"), ASKED.values(), ids=ASKED)
def test_mtus_are_looked_at_where_something_can_move_them(document: str, may: bool) -> None:
    stands = {"link v": {"type": "vlan", "base-iface": "eth1", "id": 5, "mtu": 1500}, **BRIDGE, **PORTS}
    up = {f"up {name}": {} for name in ("eth1", "eth2", "eth3", "v", "br0", "br1")}
    now = host(**stands, **up, **{"link br1": {"type": "linux-bridge", "mtu": 1500}})
    assert may_change(compiled(f"interfaces:\n{document}", now).rows.values(), now) == may
