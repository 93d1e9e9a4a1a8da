"""Captures and templates over a state: what they take, what becomes of a text, and what is told of them."""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import pytest

from nncp.document.captured import captured
from nncp.document.policy import read_policies
from nncp.document.resolve import Resolved, resolve
from nncp.document.source import load
from nncp.errors import Error

STATE: dict[str, Any] = {
    "interfaces": [
        {"name": "eth0", "type": "ethernet", "state": "up", "mtu": 1500, "mac-address": "02:00:00:00:00:0A",
         "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.5", "prefix-length": 24}]}},
        {"name": "eth1", "type": "ethernet", "state": "down", "mtu": 9000, "controller": "bond0"},
        {"name": "ens7", "type": "veth", "state": "up", "mtu": 1400, "alt-names": [{"name": "a"}, {"name": "b"}]},
    ],
    "routes": {
        "running": [
            {"destination": "0.0.0.0/0", "next-hop-interface": "eth0", "next-hop-address": "192.0.2.1"},
            {"destination": "198.51.100.0/24", "next-hop-interface": "eth0", "metric": 100},
        ],
        "config": [],
    },
    "route-rules": {"config": [{"ip-from": "192.0.2.0/24", "route-table": 500}]},
    "dns-resolver": {"running": {"server": ["192.0.2.53"]}, "config": {}},
}  # fmt: skip


def states(*lines: str) -> dict[str, Any]:
    body = "".join(f"  {name}: '{line}'\n" for name, line in zip("abcdefghijkl", lines, strict=False))
    (policy,) = read_policies(load(f"capture:\n{body}desired: {{}}\n", file="p.yaml"))
    found = captured(policy.capture, lambda: STATE)
    if found.errors:
        raise found.errors[0]
    return found.states


def names(*lines: str) -> list[str]:
    last = list(states(*lines).values())[-1]
    return [entry["name"] for entry in last["interfaces"]]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('interfaces.type == "ethernet"', ["eth0", "eth1"]),
        ("interfaces.type != ethernet", ["ens7"]),
        ("interfaces.mtu == 1500", ["eth0"]),
        ('interfaces.mtu == "1500"', ["eth0"]),
        ("interfaces.mtu > 1400", ["eth0", "eth1"]),
        ("interfaces.mtu >= 1400", ["eth0", "eth1", "ens7"]),
        ("interfaces.mtu < 1500", ["ens7"]),
        ("interfaces.mtu <= 1500", ["eth0", "ens7"]),
        ('interfaces.name glob "eth*"', ["eth0", "eth1"]),
        ('interfaces.name in ("eth1", ens7)', ["eth1", "ens7"]),
        ("interfaces.controller == null", ["eth0", "ens7"]),
        ("interfaces.controller != null", ["eth1"]),
        ('interfaces.controller != "bond0"', ["eth0", "ens7"]),
        ('interfaces.mac-address == "02:00:00:00:00:0a"', ["eth0"]),
        ("interfaces.ipv4.enabled == true", ["eth0"]),
        ('interfaces.alt-names.name == "b"', ["ens7"]),
        ('interfaces.alt-names.1.name == "b"', ["ens7"]),
        ("interfaces.state == up and interfaces.type == veth", ["ens7"]),
        ("interfaces.state == down or interfaces.type == veth", ["eth1", "ens7"]),
        (
            "(interfaces.state == up or interfaces.mtu > 8000) and interfaces.type == ethernet",
            ["eth0", "eth1"],
        ),
        ("interfaces.name == routes.running.0.next-hop-interface", ["eth0"]),
        ("interfaces.name in routes.running.next-hop-interface", ["eth0"]),
    ],
)
def test_a_condition_takes_the_entries_that_fulfil_it(line: str, found: list[str]) -> None:
    assert names(line) == found


def test_a_capture_takes_of_another_one_and_compares_with_a_third() -> None:
    assert names(
        'routes.running.destination == "0.0.0.0/0"',
        "interfaces.state == up",
        "capture.b | interfaces.name == capture.a.routes.running.0.next-hop-interface",
    ) == ["eth0"]


def test_captures_may_stand_in_any_order() -> None:
    found = states(
        "interfaces.name == capture.b.routes.running.0.next-hop-interface", "routes.running.metric == 100"
    )
    assert [entry["name"] for entry in found["a"]["interfaces"]] == ["eth0"]


def test_only_the_list_that_is_compared_is_taken() -> None:
    assert states("routes.running.metric == 100") == {
        "a": {"routes": {"running": [STATE["routes"]["running"][1]]}}
    }
    assert states("route-rules.config.route-table == 500") == {"a": {"route-rules": STATE["route-rules"]}}


def test_a_replacement_is_of_each_entry_and_makes_what_lacks() -> None:
    made = states("interfaces.name == eth0", "capture.a | interfaces.lldp.enabled := true")["b"]
    assert made["interfaces"][0]["lldp"] == {"enabled": True}
    assert "lldp" not in STATE["interfaces"][0]
    gone = states("interfaces.name == eth0", "capture.a | interfaces.ipv4 := null")["b"]
    assert "ipv4" not in gone["interfaces"][0]
    moved = states(
        "routes.running.next-hop-interface := capture.b.interfaces.0.name", "interfaces.name == ens7"
    )["a"]
    assert {route["next-hop-interface"] for route in moved["routes"]["running"]} == {"ens7"}
    typed = states('interfaces.mtu := "9000"', "interfaces.mtu := 9000")
    assert [typed[name]["interfaces"][0]["mtu"] for name in "ab"] == ["9000", 9000]


def test_a_path_keeps_nothing_beside_it_and_words_keep_all() -> None:
    found = states("dns-resolver.running", "all of it")
    assert found["a"] == {"dns-resolver": {"running": {"server": ["192.0.2.53"]}}}
    assert found["b"] == STATE


@pytest.mark.parametrize(
    ("line", "at", "words"),
    [
        ('interfaces.name == "eth9"', 0, "no interface fulfils this"),
        ("interface.name == eth0", 0, "no property of an entry of a list"),
        ("routes.running == x", 0, "a property has to follow"),
        ("interfaces.mtu > much", 17, "compares numbers"),
        ("interfaces.name == routes.running.9.metric", 34, "no number 9"),
        ("interfaces.name == routes.walking.0.metric", 26, "routes has no walking"),
        ("interfaces.state == up and routes.running.metric == 1", 27, "another list"),
        ("interfaces.name.first := x", 16, "not within a mapping"),
        ("capture.z.interfaces.name == x", 8, "there is no capture z"),
        ("capture.a.interfaces.name == x", 8, "in a circle: a → a"),
    ],
)
def test_what_finds_nothing_is_told_at_its_character(line: str, at: int, words: str) -> None:
    with pytest.raises(Error) as caught:
        states(line)
    assert words in caught.value.message
    where = caught.value.where
    assert where is not None
    assert (where.line, where.column, caught.value.path) == (2, len("  a: '") + at + 1, "capture.a")


def test_a_circle_of_several_is_told_with_all_of_it() -> None:
    with pytest.raises(Error, match="a → b → c → a"):
        states(
            "capture.b.interfaces.mtu == 1", "capture.c.interfaces.mtu == 1", "capture.a.interfaces.mtu == 1"
        )


def resolved(text: str, **more: Any) -> Resolved:
    (policy,) = read_policies(load(dedent(text), file="p.yaml"))
    return resolve(policy, lambda: STATE, **more)


POLICY = """\
    capture:
      up: interfaces.name == "eth0"
      wide: interfaces.mtu > 1400
    desired:
      interfaces:
      - name: br0
        mtu: "{{ capture.up.interfaces.0.mtu }}"
        ipv4: "{{ capture.up.interfaces.0.ipv4 }}"
        description: "uplink {{ capture.up.interfaces.0.name }} of {{ values.site }}, {{ values.rack.number }}"
        ports: "{{ capture.wide.interfaces.name }}"
      routes: {config: "{{ capture.none.routes.running }}"}
"""


def test_a_reference_stands_for_a_scalar_a_list_or_a_mapping() -> None:
    text = POLICY.replace('      routes: {config: "{{ capture.none.routes.running }}"}\n', "")
    made = resolved(text, values={"site": "fra", "rack": {"number": 7}})
    assert made.errors == []
    (interface,) = made.policy.state.value["interfaces"]
    assert interface == {
        "name": "br0",
        "mtu": 1500,
        "ipv4": STATE["interfaces"][0]["ipv4"],
        "description": "uplink eth0 of fra, 7",
        "ports": ["eth0", "eth1"],
    }


def test_all_that_is_wrong_is_told_at_once_each_at_its_character() -> None:
    text = POLICY.replace("0.mtu }}", "1.mtu }}").replace("0.ipv4", "0.ipv5")
    errors = resolved(text, values={"site": ["a"], "rak": {}}).errors
    told = [
        (error.message, error.where and error.where.text[error.where.column - 1 :].split()[0], error.hint)
        for error in errors
    ]
    assert told == [
        ("interfaces has one entry, and no number 1", "1.mtu", ""),
        ("interfaces.0 has no ipv5", "ipv5", "did you mean ipv4?"),
        ("values.site is a list, and text stands around it", "values.site", "let it stand alone"),
        ("there is no capture none", "none.routes.running", ""),
    ]
    assert [error.message for error in resolved(POLICY, values={"site": "a", "rak": {}}).errors] == [
        "there is no value rack",
        "there is no capture none",
    ]


def test_a_text_that_is_folded_is_pointed_into() -> None:
    errors = resolved("""\
        capture:
          a: >-
            interfaces.name ==
            capture.b.interfaces.0.name
        desired: {}
    """).errors
    (error,) = errors
    assert str(error.where) == "p.yaml:4:13"


def test_one_of_several_is_told_of() -> None:
    made = resolved("""\
        capture: {up: interfaces.state == up}
        desired: {interfaces: [{name: "{{ capture.up.interfaces.0.name }}"}]}
    """)
    assert made.taken.choices == {"up": "capture up finds 2 interfaces (eth0, ens7); number 0 is used"}


def test_what_was_taken_once_is_not_taken_again() -> None:
    before = {"up": {"interfaces": [{"name": "old0"}]}}
    (policy,) = read_policies(
        load(
            'capture: {up: interfaces.name == "eth9"}\ndesired: {interfaces: [{name: "{{ capture.up.interfaces.0.name }}"}]}\n',
            file="p",
        )
    )

    def never() -> Any:
        raise AssertionError("the state is looked into")

    assert resolve(policy, never, before=before).policy.state.value == {"interfaces": [{"name": "old0"}]}
    (error,) = resolve(policy, never, before={}).errors
    assert error.message == "capture up is not among what was taken"


def test_the_state_in_a_document_is_looked_into_before_the_hosts() -> None:
    made = resolved("""\
        capture: {up: interfaces.state == up}
        current: {interfaces: [{name: x0, state: up}]}
        desired: {interfaces: [{name: "{{ capture.up.interfaces.0.name }}"}]}
    """)
    assert made.policy.state.value == {"interfaces": [{"name": "x0"}]}


def test_routes_that_a_document_asks_for_stand_on_the_host_that_it_means() -> None:
    made = resolved("""\
        capture: {way: routes.running.destination == "0.0.0.0/0"}
        current: {routes: {config: [{destination: 0.0.0.0/0, next-hop-interface: x0}]}}
        desired: {interfaces: [{name: "{{ capture.way.routes.running.0.next-hop-interface }}"}]}
    """)
    assert made.policy.state.value == {"interfaces": [{"name": "x0"}]}


def test_braces_of_a_bare_state_are_what_they_are() -> None:
    made = resolved("interfaces: [{name: eth0, description: '{{ capture.x.y }}'}]\n")
    assert made.policy.state.value["interfaces"][0]["description"] == "{{ capture.x.y }}"
    assert made.errors == []


def test_a_state_that_nobody_looks_into_is_not_made_up() -> None:
    (policy,) = read_policies(load("desired: {interfaces: []}\n", file="p"))

    def never() -> Any:
        raise AssertionError("the state is asked for")

    assert resolve(policy, never).errors == []


@pytest.mark.parametrize(
    ("capture", "words"),
    [
        ("[a]", "capture must be a mapping"),
        ("{a: 3}", "a capture is a line of text"),
        ("{a.b: all}", "a capture's name has no dot"),
        ("{'': all}", "a capture's name has no dot"),
    ],
)
def test_what_is_no_capture_is_refused(capture: str, words: str) -> None:
    (error, *_) = resolved(f"capture: {capture}\ndesired: {{}}\n").errors
    assert words in error.message


def test_a_list_is_compared_by_in_and_by_none_of_it_alone() -> None:
    first = "interfaces.type == veth"
    rest = names("interfaces.name != capture.b.interfaces.name", first)
    assert rest == [one["name"] for one in STATE["interfaces"] if one["type"] != "veth"]
    for compares in ("==", "glob"):
        with pytest.raises(Error, match="this is a list"):
            states(f"interfaces.name {compares} capture.b.interfaces.name", first)
