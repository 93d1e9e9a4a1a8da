"""What a person is told of a document that cannot be meant: place, path, sentence and hint, all at once."""

from collections.abc import Callable

import pytest

from nncp.document.state import State
from nncp.errors import Error, ErrorKind

Refusal = Callable[[str], str]


def test_every_error_of_a_document_is_told_at_once_in_the_order_of_its_lines(refusal: Refusal) -> None:
    told = refusal("""\
        interfaces:
        - name: eth0.5000
          type: vlan
          vlan:
            base-ifac: eth0
            id: 5000
        - name: bond0
          type: bond
          link-aggregation:
            mode: 802.3ad
            port:
            - ens1f0
            - ens1f1
            - ens1f0
        - name: br1
          type: linux-bridge
          ipv4:
            enabled: true
            address:
            - ip: 172.16.1.21
              prefix-length: 33
        interface: []
        """)
    assert (
        told
        == """\
error: unknown key base-ifac in vlan
  --> node1.yaml:5:5  interfaces[0].vlan.base-ifac  (eth0.5000)
   |     base-ifac: eth0
   |     ^^^^^^^^^
  hint: did you mean base-iface?
error: vlan.id must be at most 4094, got 5000
  --> node1.yaml:6:9  interfaces[0].vlan.id  (eth0.5000)
   |     id: 5000
   |         ^^^^
  hint: use type: vxlan for ids above 4094
error: port ens1f0 is listed twice in bond0
  --> node1.yaml:14:7  interfaces[1].link-aggregation.port[2]  (bond0)
   |     - ens1f0
   |       ^^^^^^
error: ipv4.address[0].prefix-length must be at most 32, got 33
  --> node1.yaml:21:22  interfaces[2].ipv4.address[0].prefix-length  (br1)
   |       prefix-length: 33
   |                      ^^
error: unknown key interface
  --> node1.yaml:22:1  interface
   | interface: []
   | ^^^^^^^^^
  hint: did you mean interfaces?"""
    )


def test_a_manifest_is_told_of_by_the_path_of_its_own_file(refusal: Refusal) -> None:
    told = refusal("""\
        apiVersion: nmstate.io/v1
        kind: NodeNetworkConfigurationPolicy
        metadata:
          name: vm-bridge
        spec:
          desiredState:
            interfaces:
            - name: bond0.33
              type: vlan
              vlan: {id: "0x1389"}
        """)
    assert (
        told
        == """\
error: vlan.id must be at most 4094, got '0x1389'
  --> node1.yaml:10:18  spec.desiredState.interfaces[0].vlan.id  (bond0.33)
   |       vlan: {id: "0x1389"}
   |                  ^^^^^^^^
  hint: use type: vxlan for ids above 4094"""
    )


@pytest.mark.parametrize("text", ["interfaces:\n- name: eth0\n\tmtu: 1500\n"])
def test_a_tab_is_told_where_it_stands(refusal: Refusal, text: str) -> None:
    assert refusal(text).startswith("error: a tab cannot indent YAML\n  --> node1.yaml:3:1\n")
    assert refusal(text).endswith("  hint: indent with spaces")


def test_a_duplicate_key_is_told_with_its_path_and_the_line_of_the_first(refusal: Refusal) -> None:
    assert refusal("interfaces:\n- name: eth0\n  mtu: 1500\n  mtu: 1400\n") == (
        "error: duplicate key mtu, first on line 3\n"
        "  --> node1.yaml:4:3  interfaces[0].mtu\n"
        "   |   mtu: 1400\n"
        "   |   ^^^"
    )


def test_of_a_document_on_one_long_line_only_the_part_in_question_is_shown(refusal: Refusal) -> None:
    names = [f'{{"name": "eth{n}"}}' for n in range(1000)]
    names[500] = '{"name": "eth500", "mtu": "big"}'
    told = refusal(f'{{"interfaces": [{", ".join(names)}]}}')
    sentence, place, text, marks = told.splitlines()
    assert sentence == "error: mtu must be a whole number, got 'big'"
    assert place.endswith("  interfaces[500].mtu  (eth500)")
    assert text[marks.index("^") :].startswith('"big"}, {"name": "eth501"}')
    assert text.startswith("   | …")
    assert text.endswith("…")
    assert len(text) < 120


# The value of one property of an interface, and what is told of it: sentence, column, path, hint.
VALUES = [
    ("mtu: big", "mtu must be a whole number, got 'big'", "mtu", ""),
    ("mtu: 1500.5", "mtu must be a whole number, got 1500.5", "mtu", ""),
    ("mtu: true", "mtu must be a whole number, got true", "mtu", ""),
    ("mtu: 0", "mtu must be at least 1, got 0", "mtu", ""),
    (
        "state: upp",
        "state must be one of up, down, absent, ignore, unknown, got 'upp'",
        "state",
        "did you mean up?",
    ),
    ("controller: 5", "controller must be text, got 5", "controller", "quote it: '5'"),
    ("controller: 0123", "controller must be text, got 123", "controller", "quote it: '0123'"),
    ("controller: 0x1F", "controller must be text, got 31", "controller", "quote it: '0x1F'"),
    ("controller: True", "controller must be text, got true", "controller", "quote it: 'True'"),
    ("master: br0", "unknown key master", "master", "nmstate calls it controller since 1.0"),
    (
        "mac-address: 02-00-00-00-00-01",
        "mac-address must be a MAC address like 02:00:00:12:34:56, got '02-00-00-00-00-01'",
        "mac-address",
        "separate the bytes with colons",
    ),
    (
        "ipv4: 10.0.0.1",
        "ipv4 must be a mapping, got '10.0.0.1'",
        "ipv4",
        "put a colon and a space after each key",
    ),
    ("ipv4: {enabled: maybe}", "ipv4.enabled must be true or false, got 'maybe'", "ipv4.enabled", ""),
    (
        "ipv4: {address: {}}",
        "ipv4.address must be a list, got a mapping",
        "ipv4.address",
        "start each item with '- '",
    ),
    (
        "ipv4: {address: [{ip: 10.0.0.1}]}",
        "ipv4.address[0].prefix-length is missing",
        "ipv4.address[0].prefix-length",
        "",
    ),
    (
        "ipv4: {address: [{ip: 10.0.0.1/24, prefix-length: 24}]}",
        "ipv4.address[0].ip must be an IPv4 address, got '10.0.0.1/24'",
        "ipv4.address[0].ip",
        "write the prefix as prefix-length: 24",
    ),
    (
        "ipv4: {address: [{ip: '2001:db8::1', prefix-length: 24}]}",
        "ipv4.address[0].ip must be an IPv4 address, got '2001:db8::1'",
        "ipv4.address[0].ip",
        "it is an IPv6 address: put it under ipv6",
    ),
    (
        "ipv6: {address: [{ip: '2001:db8::1', prefix-length: 129}]}",
        "ipv6.address[0].prefix-length must be at most 128, got 129",
        "ipv6.address[0].prefix-length",
        "",
    ),
    ("ipv4: {autoconf: true}", "unknown key autoconf in ipv4", "ipv4.autoconf", "it belongs to ipv6"),
    ("base-iface: eth1", "unknown key base-iface", "base-iface", "it belongs to vlan"),
    ("vlan: {mtu: 1500}", "unknown key mtu in vlan", "vlan.mtu", "it belongs to the interface itself"),
    (
        "vlan: {protocol: 802.1x}",
        "vlan.protocol must be one of 802.1q, 802.1ad, got '802.1x'",
        "vlan.protocol",
        None,
    ),
    (
        "vlan: {id: null, loose-binding: 2}",
        "vlan.loose-binding must be true or false, got 2",
        "vlan.loose-binding",
        "",
    ),
    ("bridge: {}", "unknown key bridge", "bridge", ""),
]


@pytest.mark.parametrize(("text", "sentence", "path", "hint"), VALUES, ids=[case[0] for case in VALUES])
def test_a_wrong_value_is_told_in_one_sentence(
    read: Callable[[str], State], text: str, sentence: str, path: str, hint: str | None
) -> None:
    with pytest.raises(Error) as caught:
        read(f"interfaces:\n- name: eth0\n  type: vlan\n  {text}\n")
    (error,) = caught.value
    assert error.message == sentence
    assert error.path == f"interfaces[0].{path}"
    assert error.subject == "eth0"
    assert hint is None or error.hint == hint
    assert error.where is not None
    assert error.where.line == 4
    assert error.kind is ErrorKind.DOCUMENT


def test_the_ports_of_former_documents_are_told_by_their_present_word(refusal: Refusal) -> None:
    told = refusal("""\
        interfaces:
        - name: bond0
          type: bond
          link-aggregation: {mode: 802.3ad, slaves: [eth1]}
        """)
    assert "error: unknown key slaves in link-aggregation" in told
    assert "hint: nmstate calls it port since 1.0" in told


@pytest.mark.parametrize(
    ("text", "sentence", "place"),
    [
        ("- a\n", "a document must be a mapping, got a list", "1:1"),
        ("interfaces: 5\n", "interfaces must be a list, got 5", "1:13"),
        (
            "interfaces: [{name: a, ethtool: {feature: {rx-gro: maybe}}}]\n",
            "ethtool.feature.rx-gro must be true or false, got 'maybe'",
            "1:52",
        ),
        (
            "interfaces: [{name: a, ethtool: {feature: 5}}]\n",
            "ethtool.feature must be a mapping, got 5",
            "1:43",
        ),
        ("interfaces: []\nroutes: []\n", "routes must be a mapping, got a list", "2:9"),
        ("interfaces:\n- eth0\n", "an interface must be a mapping, got 'eth0'", "2:3"),
        ("interfaces:\n- type: dummy\n", "name is missing", "2:3"),
        ("interfaces:\n- name: 12\n  type: dummy\n", "name must be text, got 12", "2:9"),
        (
            "interfaces:\n- name: br0\n  type: lan-bridge\n",
            "type must be one of bond, dummy, ethernet, linux-bridge, vlan, got 'lan-bridge'",
            "3:9",
        ),
    ],
)
def test_a_document_of_the_wrong_shape_is_told_where_it_goes_wrong(
    refusal: Refusal, text: str, sentence: str, place: str
) -> None:
    assert refusal(text).startswith(f"error: {sentence}\n  --> node1.yaml:{place}")


def test_a_type_that_nmstate_knows_and_we_do_not_is_refused_by_name(read: Callable[[str], State]) -> None:
    with pytest.raises(Error, match="type: ovs-bridge is not supported yet") as caught:
        read("interfaces:\n- name: br0\n  type: ovs-bridge\n  bridge: {anything: 1}\n")
    assert caught.value.kind is ErrorKind.UNSUPPORTED
    assert caught.value.kind.exit_code == 69


def test_one_error_hides_no_other_in_the_same_list(refusal: Refusal) -> None:
    told = refusal("""\
        interfaces:
        - name: br0
          type: linux-bridge
          mtuu: 1500
          bridge:
            port:
            - nam: eth0
            - name: eth1
              vlan: {mode: trunk, tag: 7, trunk-tags: [{id: 5000}, {id-range: {min: 9, max: 5}}]}
            - name: eth2
            - name: eth1
        """)
    sentences = [line.removeprefix("error: ") for line in told.splitlines() if line.startswith("error: ")]
    assert sentences == [
        "unknown key mtuu",
        "bridge.port[0].name is missing",
        "unknown key nam in bridge.port[0]",
        "bridge.port[1].vlan.tag of a trunk is its native VLAN, and needs enable-native: true",
        "bridge.port[1].vlan.trunk-tags[0].id must be at most 4094, got 5000",
        "bridge.port[1].vlan.trunk-tags[1].id-range ends before it starts: 9 to 5",
        "port eth1 is listed twice in br0",
    ]


def test_two_names_of_one_property_must_agree(refusal: Refusal) -> None:
    text = "interfaces:\n- name: b\n  type: bond\n  link-aggregation: {port: [eth0], ports: [eth1]}\n"
    told = refusal(text)
    assert told.startswith("error: port and ports are one property and disagree\n")
    assert "  --> node1.yaml:4:3  interfaces[0].link-aggregation  (b)\n" in told


def test_a_place_in_json_on_one_line_has_its_column(refusal: Refusal) -> None:
    text = '{"interfaces": [{"name": "eth0.9", "type": "vlan", "vlan": {"id": 9999}}]}'
    assert f"node1.yaml:1:{text.index('9999') + 1}  interfaces[0].vlan.id  (eth0.9)" in refusal(text)
