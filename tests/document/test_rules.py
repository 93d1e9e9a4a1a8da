"""What a document cannot mean although each of its values is well-formed."""

from collections.abc import Callable

import pytest

from nncp.document.state import State
from nncp.errors import Error

Read = Callable[[str], State]


def found(read: Read, text: str) -> list[tuple[str, str, int]]:
    """Sentence, path and line of each error."""
    try:
        read(text)
    except Error as error:
        return [(one.message, one.path, one.where.line if one.where else 0) for one in error]
    return []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("averyverylongnam", "must have 1 to 15 bytes, not 16"),
        ("grössegrösse12", "must have 1 to 15 bytes, not 16"),
        ("a/b", "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"),
        ("a b", "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"),
        ("a:b", "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"),
        ("..", "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"),
        ("v%d", "must be free of '/', ':', '%' and white space, and neither '.' nor '..'"),
        ("all", "must be neither all nor default: these are the kernel's words for every interface"),
        ("default", "must be neither all nor default: these are the kernel's words for every interface"),
        ("", "must not be empty"),
    ],
)
def test_a_name_that_the_kernel_refuses_is_refused(read: Read, name: str, why: str) -> None:
    text = f"interfaces:\n- type: dummy\n  name: '{name}'\n"
    assert found(read, text) == [(f"name {why}, got '{name}'", "interfaces[0].name", 3)]


def test_a_name_that_is_not_a_links_own_may_be_longer(read: Read) -> None:
    assert not found(
        read,
        "interfaces:\n- name: the card in slot 2 of the rack\n  type: ethernet\n  identifier: mac-address\n",
    )


def test_an_interface_stands_in_a_document_once(read: Read) -> None:
    text = "interfaces:\n- name: a\n  type: dummy\n- name: b\n  type: dummy\n- name: a\n  type: ethernet\n"
    assert found(read, text) == [
        ("interface a is in the document twice, first on line 2", "interfaces[2].name", 6)
    ]


BRIDGES = """\
interfaces:
- name: br0
  type: linux-bridge
  bridge:
    port:
    - name: eth0
- name: br1
  type: linux-bridge
  bridge:
    ports:
    - name: eth1
    - name: %s
- name: eth0
  type: ethernet
"""


def test_a_port_has_one_controller(read: Read) -> None:
    assert found(read, BRIDGES % "eth0") == [
        ("eth0 is a port of br0 already and cannot be one of br1", "interfaces[1].bridge.ports[1].name", 12)
    ]


def test_a_controller_is_not_its_own_port(read: Read) -> None:
    assert found(read, BRIDGES % "br1") == [
        ("br1 cannot be a port of its own", "interfaces[1].bridge.ports[1].name", 12)
    ]


@pytest.mark.parametrize(
    ("more", "sentence", "path"),
    [
        ("controller: br1", "eth0 has controller: br1, but br0 lists it as a port", "controller"),
        (
            "controller: ''",
            "eth0 leaves its controller by controller: '', but br0 lists it as a port",
            "controller",
        ),
        ("controller: br0", None, None),
        ("ipv4: {enabled: true}", "eth0 is a port of br0 and cannot have ipv4 enabled", "ipv4.enabled"),
        ("ipv4: {enabled: false}", None, None),
        ("state: absent", "eth0 cannot be a port of br0 and absent at once", None),
        ("state: ignore", None, None),
    ],
)
def test_a_port_and_its_controller_say_the_same(
    read: Read, more: str, sentence: str | None, path: str | None
) -> None:
    errors = found(read, BRIDGES % "eth2" + f"  {more}\n")
    assert [message for message, *_ in errors] == ([sentence] if sentence else [])
    if path:
        assert errors[0][1:] == (f"interfaces[2].{path}", 15)


def test_a_controller_that_lists_its_ports_lists_all_of_them(read: Read) -> None:
    text = BRIDGES % "eth2" + "- name: eth3\n  type: ethernet\n  controller: br1\n"
    assert found(read, text) == [
        ("eth3 has controller: br1, which does not list it as a port", "interfaces[3].controller", 17)
    ]


def test_a_controller_to_be_absent_has_no_ports(read: Read) -> None:
    text = "interfaces:\n- name: br0\n  state: absent\n- name: a\n  type: dummy\n  controller: br0\n"
    assert found(read, text) == [("controller br0 of a is to be absent", "interfaces[1].controller", 6)]


def test_ipv6_needs_its_least_mtu(read: Read) -> None:
    text = "interfaces:\n- name: a\n  type: dummy\n  mtu: 1279\n  ipv6: {enabled: true}\n"
    assert found(read, text) == [
        ("mtu must be at least 1280 while ipv6 is enabled, got 1279", "interfaces[0].mtu", 4)
    ]


VLANS = [
    ("{}", []),
    ("{mode: access, tag: 33}", []),
    ("{mode: trunk, trunk-tags: [{id: 33}, {id-range: {min: 100, max: 200}}]}", []),
    ("{mode: trunk, enable-native: true, tag: 1, trunk-tags: [{id: 33}]}", []),
    ("{tag: 33}", [("mode", "is missing")]),
    ("{mode: access}", [("tag", "is missing: mode: access needs its VLAN")]),
    (
        "{mode: access, tag: 3, enable-native: true, trunk-tags: [{id: 4}]}",
        [
            ("enable-native", "is for mode: trunk; an access port's VLAN is always untagged"),
            ("trunk-tags", "is for mode: trunk"),
        ],
    ),
    ("{mode: trunk}", [("trunk-tags", "is missing: a trunk lists its VLANs")]),
    (
        "{mode: trunk, tag: 7, trunk-tags: [{id: 4}]}",
        [("tag", "of a trunk is its native VLAN, and needs enable-native: true")],
    ),
    (
        "{mode: trunk, enable-native: true, trunk-tags: [{id: 4}]}",
        [("tag", "is missing: enable-native needs the VLAN that is native")],
    ),
    ("{mode: trunk, trunk-tags: [{}]}", [("trunk-tags[0]", "must have either id or id-range")]),
    (
        "{mode: trunk, trunk-tags: [{id: 1, id-range: {min: 2, max: 3}}]}",
        [("trunk-tags[0]", "must have either id or id-range")],
    ),
    (
        "{mode: trunk, trunk-tags: [{id-range: {min: 30, max: 20}}]}",
        [("trunk-tags[0].id-range", "ends before it starts: 30 to 20")],
    ),
    (
        "{mode: trunk, trunk-tags: [{id-range: {min: 1, max: 9}}, {id: 2}, {id-range: {min: 8, max: 11}}]}",
        [
            ("trunk-tags[1]", "overlaps an earlier one: 1-9 and 2"),
            ("trunk-tags[2]", "overlaps an earlier one: 1-9 and 8-11"),
        ],
    ),
]


@pytest.mark.parametrize(("vlan", "problems"), VLANS, ids=[vlan for vlan, _ in VLANS])
def test_the_vlans_of_a_port_fit_together(read: Read, vlan: str, problems: list[tuple[str, str]]) -> None:
    text = (
        "interfaces:\n- name: br0\n  type: linux-bridge\n  bridge:\n    port:\n"
        f"    - name: eth0\n      vlan: {vlan}\n"
    )
    expected = [
        (f"bridge.port[0].vlan.{key} {sentence}", f"interfaces[0].bridge.port[0].vlan.{key}", 7)
        for key, sentence in problems
    ]
    assert sorted(found(read, text)) == sorted(expected)


ROUTES = [
    ("{destination: 0.0.0.0/0, next-hop-interface: eth0, next-hop-address: 10.0.0.1}", []),
    ("{destination: 10.0.0.0/8, route-type: blackhole}", []),
    ("{state: absent, next-hop-interface: eth0}", []),
    ("{next-hop-interface: eth0}", ["destination is missing"]),
    ("{destination: 10.0.0.0/8}", ["next-hop-interface is missing"]),
    ("{destination: default, next-hop-interface: eth0}", None),
    (
        "{destination: 10.0.0.0/8, route-type: prohibit, next-hop-interface: eth0}",
        ["next-hop-interface is not for a prohibit route"],
    ),
    ("{destination: 10.0.0.0/8, next-hop-interface: eth0, next-hop-address: '2001:db8::1'}", []),
    (
        "{destination: '2001:db8::/32', next-hop-interface: eth0, next-hop-address: 192.0.2.1}",
        ["next-hop-address must be an IPv6 address as the destination is, got '192.0.2.1'"],
    ),
    ("{destination: 10.0.0.0/8, route-type: blackhole, next-hop-interface: lo}", []),
    ("{destination: 0.0.0.0/8, route-type: blackhole}", []),
    ("{destination: '2001:db8::/32', next-hop-interface: eth0, weight: 3}", ["weight is for IPv4 routes"]),
    (
        "{destination: 0.1.0.0/16, next-hop-interface: eth0}",
        ["destination 0.1.0.0/16 is in 0.0.0.0/8, which names no host"],
    ),
    ("{destination: 10.0.0.0/8, next-hop-interface: eth0, cwnd: 0}", ["cwnd must be at least 1, got 0"]),
    ("{destination: 10.0.0.0/8, next-hop-interface: gone}", ["next-hop-interface gone is to be absent"]),
]


@pytest.mark.parametrize(("route", "sentences"), ROUTES, ids=[route for route, _ in ROUTES])
def test_a_route_says_where_to_and_through_what(read: Read, route: str, sentences: list[str] | None) -> None:
    text = f"interfaces:\n- name: gone\n  state: absent\nroutes:\n  config:\n  - {route}\n"
    errors = found(read, text)
    if sentences is None:
        sentences = ["destination must be an IP network like 198.51.100.0/24, got 'default'"]
    assert [message for message, *_ in errors] == sentences
    assert all(path.startswith("routes.config[0].") and line == 6 for _, path, line in errors)


RULES = [
    ("{ip-from: 10.0.0.0/8, route-table: 50}", []),
    ("{family: ipv4, priority: 5}", []),
    ("{state: absent, ip-from: ''}", []),
    ("{priority: 5}", ["a rule needs ip-from, ip-to or family"]),
    ("{ip-from: 10.0.0.0/8, ip-to: '2001:db8::/32'}", ["ip-from and ip-to must be of one IP version"]),
    ("{ip-from: 10.0.0.0/8, family: ipv6}", ["ip-from is of ipv4, but family is ipv6"]),
    ("{family: ipv4, fwmask: 0xff}", ["fwmask needs a fwmark"]),
    (
        "{family: ipv4, action: prohibit, route-table: 50}",
        ["route-table is not for a rule with action: prohibit, which looks into no table"],
    ),
    ("{family: ipv4, action: prohibit, route-table: 254}", []),
    ("{family: ipv4, action: 6, route-table: 0}", []),
]


@pytest.mark.parametrize(("rule", "sentences"), RULES, ids=[rule for rule, _ in RULES])
def test_a_rule_is_of_one_ip_version(read: Read, rule: str, sentences: list[str]) -> None:
    errors = found(read, f"route-rules:\n  config:\n  - {rule}\n")
    assert [message for message, *_ in errors] == sentences


@pytest.mark.parametrize(
    ("name", "family", "ip", "why"),
    [
        ("eth0", "ipv6", "ff02::1", "is no address of a host"), ("eth0", "ipv6", "::", "is no address of a host"),
        ("eth0", "ipv6", "::1", "is the loopback's alone"), ("lo", "ipv6", "::1", ""), ("eth0", "ipv6", "fe80::1", ""),
        ("eth0", "ipv4", "0.0.0.0", "is no address of a host"), ("eth0", "ipv4", "224.0.0.5", ""),
        ("eth0", "ipv4", "127.0.0.7", ""),
    ],
)  # fmt: skip
def test_an_address_that_no_host_can_have_is_refused(
    read: Read, name: str, family: str, ip: str, why: str
) -> None:
    text = f"interfaces: [{{name: {name}, {family}: {{address: [{{ip: '{ip}', prefix-length: 8}}]}}}}]"
    told = [(f"{family}.address[0].ip {ip} {why}", f"interfaces[0].{family}.address[0].ip")] if why else []
    assert [each[:2] for each in found(read, text)] == told


@pytest.mark.parametrize(
    ("one", "other", "twice"),
    [
        ("route-type: blackhole", "route-type: unreachable", "unreachable here and blackhole"),
        ("route-type: blackhole", "next-hop-interface: eth0", "unicast here and blackhole"),
        ("next-hop-interface: eth0", "route-type: prohibit", "prohibit here and unicast"),
        ("route-type: blackhole", "route-type: blackhole", ""),
        ("route-type: blackhole", "route-type: unreachable, metric: 5", ""),
        ("route-type: blackhole", "route-type: unreachable, table-id: 77", ""),
        ("route-type: blackhole, table-id: 254, metric: 0", "route-type: unreachable, metric: -1", "unreachable here and blackhole"),
        ("state: absent, route-type: blackhole", "route-type: unreachable", ""),
    ],
)  # fmt: skip
def test_a_route_has_one_type(read: Read, one: str, other: str, twice: str) -> None:
    text = f"routes:\n  config:\n  - {{destination: 203.0.113.0/24, {one}}}\n  - {{destination: 203.0.113.9/24, {other}}}\n"
    told = [(f"the route to 203.0.113.0/24 is {twice} on line 3", "routes.config[1]")] if twice else []
    assert [each[:2] for each in found(read, text)] == told
