"""A node to a State: lax scalars, absence, null, second names, and back to the same document."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import UNSET, Struct

from nncp.document.emit import dump
from nncp.document.lax import LaxInt, Maybe
from nncp.document.read import read_state
from nncp.document.section import Section
from nncp.document.source import load
from nncp.document.state import Documented, Interface, State, document
from nncp.errors import Error

Read = Callable[[str], State]


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1500", 1500), ("'1500'", 1500), ("'0x5dc'", 1500), ("0x5dc", 1500), ("null", None), ("~", None)],
)
def test_a_whole_number_may_be_spelled_as_text(read: Read, written: str, meant: int | None) -> None:
    (interface,) = read(f"interfaces:\n- name: a\n  type: dummy\n  mtu: {written}\n").interfaces
    assert interface.mtu == meant
    assert type(interface.mtu) is type(meant)


@pytest.mark.parametrize("written", ["true", "yes", "On", "Y", "1", "'1'", "'TRUE'"])
def test_a_boolean_may_be_any_word_for_yes(read: Read, written: str) -> None:
    (interface,) = read(f"interfaces:\n- name: a\n  type: dummy\n  ipv4: {{enabled: {written}}}\n").interfaces
    assert interface.ipv4
    assert interface.ipv4.enabled is True


@pytest.mark.parametrize("written", ["false", "no", "OFF", "n", "0", "'0'", "'False'"])
def test_a_boolean_may_be_any_word_for_no(read: Read, written: str) -> None:
    (interface,) = read(f"interfaces:\n- name: a\n  type: dummy\n  ipv4: {{enabled: {written}}}\n").interfaces
    assert interface.ipv4
    assert interface.ipv4.enabled is False


@pytest.mark.parametrize("written", ["802.3ad", "4", "'4'"])
def test_a_word_that_the_kernel_numbers_may_be_a_number(read: Read, written: str) -> None:
    (bond,) = read(
        f"interfaces:\n- name: b\n  type: bond\n  link-aggregation: {{mode: {written}}}\n"
    ).interfaces
    assert bond.config.mode == "802.3ad"


def test_addresses_and_networks_take_their_canonical_spelling(read: Read) -> None:
    state = read("""\
        interfaces:
        - name: a
          type: dummy
          mac-address: 02:00:00:AA:BB:CC
          ipv6: {address: [{ip: '2001:DB8:0::1', prefix-length: 64}]}
        routes:
          config:
          - {destination: 10.1.2.3/8, next-hop-interface: a, next-hop-address: 10.0.0.1}
        """)
    (interface,) = state.interfaces
    assert interface.mac_address == "02:00:00:aa:bb:cc"
    assert document(state)["interfaces"][0]["ipv6"]["address"][0]["ip"] == "2001:db8::1"
    assert document(state)["routes"]["config"][0]["destination"] == "10.0.0.0/8"


def test_what_is_not_written_is_unset_and_null_is_none(read: Read) -> None:
    (vlan,) = read(
        "interfaces:\n- name: a\n  type: vlan\n  description: null\n  vlan: {id: null}\n"
    ).interfaces
    assert (vlan.description, vlan.mtu) == (None, UNSET)
    assert (vlan.config.id, vlan.config.base_iface) == (None, UNSET)
    assert vlan.is_up


def test_a_second_name_is_the_first_after_reading(read: Read) -> None:
    state = read("interfaces:\n- name: b\n  type: bond\n  link-aggregation: {ports: [eth0]}\n")
    assert state.interfaces[0].config.port == ("eth0",)
    assert document(state)["interfaces"][0]["link-aggregation"] == {"port": ["eth0"]} or (
        document(state)["interfaces"][0]["link-aggregation"] == {"port": ("eth0",)}
    )


def test_what_only_a_query_tells_is_ignored(read: Read) -> None:
    state = read("""\
        interfaces:
        - {name: a, type: dummy, driver: {odd: 1}, min-mtu: 68, max-mtu: big, permanent-mac-address: 5}
        routes:
          running: [anything]
        """)
    assert document(state) == {"interfaces": ({"name": "a", "type": "dummy"},), "routes": {}}


def test_of_an_absent_interface_only_name_type_and_state_are_read(read: Read) -> None:
    (interface,) = read(
        "interfaces:\n- {name: a, type: vlan, state: absent, mtu: big, vlan: [], odd: 1}\n"
    ).interfaces
    assert (interface.name, interface.type, interface.state) == ("a", "vlan", "absent")
    assert (interface.mtu, interface.config) == (UNSET, UNSET)


def test_a_type_that_is_not_written_is_the_hosts_or_that_of_the_section(
    kinds: Mapping[str, Documented],
) -> None:
    (node,) = load("interfaces:\n- {name: a, vlan: {id: 3}}\n- {name: b, bridge: {port: []}}\n", file="x")
    one, other = read_state(node, kinds, types={"a": "vlan"}).interfaces
    assert (one.type, one.config.id) == (UNSET, 3)
    assert other.config.port == ()
    with pytest.raises(Error, match="unknown key vlan"):
        read_state(node, kinds, types={"a": "bond"})


class SwitchConfig(Section, frozen=True):
    """A toy."""

    ports_count: Maybe[LaxInt] = UNSET


class Switch(Struct, frozen=True):
    section: str = "toy-switch"
    config: type[Struct] | None = SwitchConfig
    also: Mapping[str, type[Struct]] = {}


def test_a_type_is_what_is_handed_in_and_nothing_else(kinds: Mapping[str, Documented]) -> None:
    (node,) = load("interfaces:\n- {name: s, type: toy, toy-switch: {ports-count: '0x10'}}\n", file="x")
    (switch,) = read_state(node, {**kinds, "toy": Switch()}).interfaces
    assert switch.config == SwitchConfig(ports_count=LaxInt(16))
    with pytest.raises(Error, match="type must be one of"):
        read_state(node, kinds)


def test_a_state_cannot_be_changed(read: Read) -> None:
    (interface,) = read("interfaces:\n- {name: a, type: dummy}\n").interfaces
    with pytest.raises(AttributeError):
        interface.mtu = 1  # type: ignore[misc]


def test_an_empty_document_asks_for_nothing(kinds: Mapping[str, Documented]) -> None:
    (node,) = load("{}", file="x")
    assert read_state(node, kinds) == State()
    (node,) = load("interfaces:\n", file="x")
    assert read_state(node, kinds).interfaces == ()


WHOLE = st.integers(1, 4000) | st.integers(1, 4000).map(hex) | st.integers(1, 4000).map(str)
FLAG = st.sampled_from([True, False, "yes", "no", "on", "off", 0, 1, "0", "1", None])
NAMES = st.from_regex(r"[a-z][a-z0-9.]{0,13}", fullmatch=True).filter(
    lambda name: name not in {"all", "default"}
)
HOSTS = st.ip_addresses(v=6).filter(lambda ip: not (ip.is_multicast or ip.is_unspecified or ip.is_loopback))
ADDRESSES = HOSTS.map(lambda ip: {"ip": str(ip), "prefix-length": 64})
BASE = {
    "mtu": WHOLE | st.none(),
    "description": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9),
    "state": st.sampled_from(["up", "down", "ignore"]),
    "ipv4": st.fixed_dictionaries({}, optional={"enabled": st.just(False), "dhcp": FLAG}),
    "ipv6": st.fixed_dictionaries({}, optional={"dhcp": FLAG, "address": st.lists(ADDRESSES, max_size=2)}),
    "lldp": st.fixed_dictionaries({"enabled": st.booleans()}),
}
VLANS = st.fixed_dictionaries(
    {"type": st.just("vlan")},
    optional={
        **BASE,
        "vlan": st.fixed_dictionaries(
            {},
            optional={
                "id": WHOLE,
                "loose-binding": FLAG,
                "base-iface": NAMES,
                "protocol": st.sampled_from(["802.1q", "802.1ad"]),
            },
        )
        | st.none(),
    },
)
BONDS = st.fixed_dictionaries(
    {"type": st.just("bond")},
    optional={
        **BASE,
        "link-aggregation": st.fixed_dictionaries(
            {},
            optional={
                "mode": st.sampled_from([4, "1", "802.3ad"]),
                "options": st.fixed_dictionaries({"miimon": WHOLE}),
            },
        ),
    },
)
DOCUMENTS = st.dictionaries(NAMES, VLANS | BONDS, max_size=4).map(
    lambda named: {"interfaces": [{"name": name, **rest} for name, rest in named.items()]}
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(DOCUMENTS)
def test_a_state_that_is_written_down_reads_as_the_same_state(
    kinds: Mapping[str, Documented], data: dict[str, object]
) -> None:
    (node,) = load(dump(data), file="x")
    state = read_state(node, kinds)
    text = dump(document(state))
    (again,) = load(text, file="x")
    assert read_state(again, kinds) == state
    assert dump(document(read_state(again, kinds))) == text


def test_an_interface_without_a_section_is_of_the_base_alone(read: Read) -> None:
    (interface,) = read("interfaces:\n- {name: a, type: dummy}\n").interfaces
    assert type(interface) is Interface
    assert interface.config is UNSET
