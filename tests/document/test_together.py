"""Several documents are one desired state, and what they contradict each other in is told with both places."""

from collections.abc import Mapping

import pytest

from nncp.document.policy import read_policies
from nncp.document.read import read_together
from nncp.document.source import load
from nncp.document.state import Documented, document
from nncp.document.together import Partly

BOND = "interfaces:\n- {name: bond0, type: bond, link-aggregation: {port: [eth1, eth2]}}\n"
BRIDGE = "interfaces:\n- {name: br0, type: linux-bridge, bridge: {port: [{name: bond0}]}}\n"


def read(kinds: Mapping[str, Documented], *texts: str) -> Partly:
    nodes = [node for n, text in enumerate(texts) for node in load(text, file=f"{'abc'[n]}.yaml")]
    return read_together(read_policies(nodes), kinds)


def told(found: Partly) -> list[tuple[str, str]]:
    return [(str(error.where), error.message) for error in found.errors]


@pytest.mark.parametrize("order", [(BOND, BRIDGE), (BRIDGE, BOND)])
def test_documents_are_read_as_one_in_either_order(
    kinds: Mapping[str, Documented], order: tuple[str, str]
) -> None:
    found = read(kinds, *order)
    assert found.errors == []
    assert {interface.name for interface in found.interfaces.values()} == {"bond0", "br0"}


def test_what_documents_say_of_one_interface_is_put_together(kinds: Mapping[str, Documented]) -> None:
    found = read(
        kinds,
        "interfaces:\n- {name: eth1, type: ethernet, mtu: 9000, ipv4: {enabled: true}}\n",
        "interfaces:\n- {name: eth2, type: ethernet}\n- {name: eth1, mtu: 9000, ipv4: {dhcp: false}}\n",
    )
    assert found.errors == []
    assert document(found.state) == {}
    (one,) = (interface for interface in found.interfaces.values() if interface.name == "eth1")
    assert one.ipv4
    assert (one.type, one.mtu, one.ipv4.enabled, one.ipv4.dhcp) == ("ethernet", 9000, True, False)


def test_a_property_of_several_documents_has_the_place_of_the_one_that_says_it(
    kinds: Mapping[str, Documented],
) -> None:
    found = read(
        kinds, "interfaces:\n- {name: eth1, type: dummy}\n", "interfaces:\n- {name: eth1, mtu: 1400}\n"
    )
    assert str(found.place("interfaces", 0, "mtu")) == "b.yaml:2:21"
    assert str(found.place("interfaces", 0, "type")) == "a.yaml:2:22"


@pytest.mark.parametrize(
    ("one", "other", "sentence", "place"),
    [
        ("mtu: 9000", "mtu: 1500", "mtu of eth1 is 1500, and 9000 in a.yaml:2:34", "b.yaml:2:34"),
        ("mtu: 9000", "state: absent", "state of eth1 is absent, and up in a.yaml:2:3", "b.yaml:2:36"),
        (
            "ipv4: {address: [{ip: 192.0.2.1, prefix-length: 24}]}",
            "ipv4: {address: []}",
            "ipv4.address of eth1 is another one than in a.yaml:2:45",
            "b.yaml:2:45",
        ),
    ],
)
def test_what_documents_say_differently_is_told_with_both_places(
    kinds: Mapping[str, Documented], one: str, other: str, sentence: str, place: str
) -> None:
    found = read(kinds, *(f"interfaces:\n- {{name: eth1, type: dummy, {more}}}\n" for more in (one, other)))
    assert told(found) == [(place, sentence)]


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (
            "- {name: br0, type: linux-bridge, bridge: {port: [{name: eth2}]}}",
            "eth2 is a port of bond0 (a.yaml:2:61) already and cannot be one of br0",
        ),
        (
            "- {name: eth1, controller: br7}",
            "eth1 has controller: br7, but bond0 lists it as a port (a.yaml:2:55)",
        ),
        ("- {name: bond0, type: linux-bridge}", "type of bond0 is linux-bridge, and bond in a.yaml:2:23"),
    ],
)
def test_ports_and_controllers_of_different_documents_contradict_each_other_too(
    kinds: Mapping[str, Documented], other: str, sentence: str
) -> None:
    ((place, message),) = told(read(kinds, BOND, f"interfaces:\n{other}\n"))
    assert message == sentence
    assert place.startswith("b.yaml:2:")


def test_routes_of_all_documents_count_and_errors_name_the_right_one(kinds: Mapping[str, Documented]) -> None:
    route = "routes:\n  config:\n  - {{destination: {}, next-hop-interface: eth1{}}}\n"
    found = read(
        kinds,
        route.format("192.0.2.0/24", ""),
        route.format("2001:db8::/32", ", weight: 2") + "  - {destination: 198.51.100.0/24}\n",
    )
    assert found.state.routes
    assert len(found.state.routes.config or ()) == 3
    assert told(found) == [
        ("b.yaml:3:68", "weight is for IPv4 routes"),
        ("b.yaml:4:5", "next-hop-interface is missing"),
    ]


def test_what_is_told_of_the_host_as_a_whole_is_told_once(kinds: Mapping[str, Documented]) -> None:
    found = read(
        kinds, "description: a\nhostname: {config: one}\n", "description: b\nhostname: {config: two}\n"
    )
    assert told(found) == [("b.yaml:2:1", "hostname is another one than in a.yaml:2:11")]


def test_a_list_that_lost_a_wrong_item_keeps_the_places_of_the_others(
    kinds: Mapping[str, Documented],
) -> None:
    text = """\
interfaces:
- name: br0
  type: linux-bridge
  bridge:
    ports:
    - nam: eth1
    - name: eth2
    - name: eth2
"""
    found = read(kinds, text)
    assert told(found)[-1] == ("a.yaml:8:13", "port eth2 is listed twice in br0")
    assert found.errors[-1].path == "interfaces[0].bridge.ports[2].name"
