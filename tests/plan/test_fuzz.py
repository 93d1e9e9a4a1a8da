"""Whatever a document holds, what comes of it is a plan that can be packed, or an Error with its place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nncp import desired, offline, work
from nncp.desired import WRITTEN, Desired, checked, documents
from nncp.document.emit import dump
from nncp.document.schema import schema_of
from nncp.errors import Error
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.netlink.indexes import Indexes
from nncp.plan import plan
from nncp.render import render_error, render_plan

LINK = {"mtu": 1500, "mac": "02:00:00:00:00:01", "min-mtu": 68, "max-mtu": 65535}
HOST = Host(
    [
        Row(("link", "lo"), {"type": "loopback", "index": 1, "mtu": 65536}),
        Row(("link", "eth1"), {"type": "ethernet", "index": 3, **LINK}),
        Row(("link", "eth2"), {"type": "veth", "index": 4, "elsewhere": True, **LINK}),
        Row(("link", "br0"), {"type": "linux-bridge", "index": 5, "vlan-filtering": True, "vlan-default-pvid": 1, **LINK}),
        Row(("port", "eth2"), {"controller": "br0", "type": "linux-bridge"}),
        Row(("link", "bond0"), {"type": "bond", "index": 6, "mode": "active-backup", "miimon": 100, **LINK}),
        Row(("link", "v5"), {"type": "vlan", "index": 7, "base-iface": "bond0", "id": 5, "protocol": "802.1q", **LINK}),
        Row(("up", "eth1")),
        Row(("address", "eth1", "192.0.2.1/24"), {"scope": 0, "secondary-to": "", "after": "", "lasting": True}),
        Row(("sysctl", "net/ipv6/conf/eth1/disable_ipv6"), {"value": "0"}),
    ]
)  # fmt: skip
NAMES = [
    "lo",
    "eth1",
    "eth2",
    "br0",
    "bond0",
    "v5",
    "new0",
    "new1",
    "",
    "a b",
    "%d",
    "x\0y",
    "averyverylongname",
]
WORDS = st.sampled_from(
    ["up", "absent", "down", "ignore", "trunk", "access", "802.3ad", "active-backup", "yes", "no", "0x10", "::1",
     "fe80::1%eth1", "192.0.2.1", "192.0.2.0/24", "2001:db8::/32", "0.0.0.0/0", "foo", "\U0001f600", "a\nb"]
)  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS | st.sampled_from(NAMES) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "name", "x"]), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip
SCHEMA = schema_of(WRITTEN)


def said(schema: Any, path: str = "") -> st.SearchStrategy[Any]:
    """Return what a schema takes, mostly; now and then something else stands in its place."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]]
    branches = [branch for branch in schema.get("anyOf", ()) if branch != {"type": "null"}]
    if branches:
        return st.one_of(*(said(branch, path) for branch in branches))
    if "properties" in schema:
        needed = set(schema.get("required", ()))
        inner = {
            key: st.deferred(lambda part=part, key=key: said(part, key))
            for key, part in schema["properties"].items()
        }
        optional = {key: value for key, value in inner.items() if key not in needed}
        few = (
            st.lists(st.sampled_from(sorted(optional)), max_size=5, unique=True) if optional else st.just([])
        )
        return few.flatmap(lambda keys: st.fixed_dictionaries({key: inner[key] for key in {*needed, *keys}}))
    if schema.get("items"):
        return st.lists(said(schema["items"], path), max_size=3)
    return one(schema, path)


def one(schema: Any, path: str) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "minimum" in schema or "maximum" in schema:
        return st.integers(schema.get("minimum", -9), schema.get("maximum", 2**63))
    forms = {
        "mac": ["02:00:00:00:00:07", "03:00:00:00:00:07"], "ethernet-address": ["02:00:00:00:00:07"],
        "group-address": ["01:80:c2:00:00:04"], "ipv4-list": ["", "192.0.2.9, 192.0.2.3"],
        "ipv4": ["192.0.2.1", "198.51.100.7"], "ipv6": ["2001:db8::1", "fe80::7"], "ip": ["192.0.2.9", "2001:db8::9"],
        "ip-network": ["198.51.100.0/24", "0.0.0.0/0", "2001:db8:7::/48"], "ip-network-or-none": ["", "10.0.0.0/8"],
        "alias": ["", "uplink"],
    }  # fmt: skip
    return (
        st.sampled_from(forms.get(schema.get("format", ""), NAMES))
        if schema.get("type") == "string"
        else JUNK
    )


def interfaces() -> st.SearchStrategy[Any]:
    forms = SCHEMA["$defs"]["State"]["properties"]["interfaces"]["items"]["else"]["allOf"]
    return st.sampled_from(forms).flatmap(
        lambda form: said(form["then"]).map(
            lambda data: {**data, "type": form["if"]["properties"]["type"]["const"]}
        )
    )


@st.composite
def states(draw: Any) -> Any:
    state: dict[str, Any] = {"interfaces": draw(st.lists(interfaces(), max_size=3))}
    if draw(st.booleans()):
        state["routes"] = draw(said(SCHEMA["$defs"]["Routes"]))
    if draw(st.integers(0, 3)) == 0:
        _spoil(draw, state)
    return state


def _spoil(draw: Any, value: Any) -> None:
    """Put something else somewhere into a document."""
    while isinstance(value, dict | list) and value:
        key = draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        if not isinstance(value[key], dict | list) or not value[key] or draw(st.integers(0, 3)) == 0:
            value[key] = draw(JUNK)
            return
        value = value[key]


def carried_out(text: str, *more: str) -> None:
    """Do with a document all that an apply does, but for the kernel's part."""
    asked = Desired(documents([("a.yaml", text), *((f"{n}.yaml", other) for n, other in enumerate(more))]))
    want = asked(HOST)
    indexes = Indexes(KINDS, {row.name: row.attrs["index"] for row in HOST.table("link")}, {})
    try:
        ops = plan(HOST, want, KINDS)
    except Error as error:
        raise asked.located(error) from error
    json.dumps([[op.verb, op.key, dict(op.attrs)] for op in ops])
    render_plan(ops, KINDS)
    for op in ops:
        if not op.implied:
            list(KINDS.tables[op.key[0]].write(op, indexes))


def told(text: str, *more: str) -> list[str]:
    try:
        carried_out(text, *more)
    except Error as error:
        return [render_error(one) for one in error]
    return []


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(states())
def test_no_document_ends_in_anything_but_a_plan_or_errors(state: Any) -> None:
    text = dump(state)
    for message in told(text):
        assert message.startswith("error: ")
    try:
        list(checked([("a.yaml", text)]))
    except Error:
        assert told(text), "fmt refuses what plan takes"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(states(), states())
def test_nor_do_two(one: Any, other: Any) -> None:
    told(dump(one), dump(other))


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.characters(codec="utf-8"), max_size=60) | st.text("{}[]:,-&*!|>'\"\\ \n\t#?ab0.", max_size=60)
)
def test_no_text_ends_in_anything_but_a_document_or_errors(text: str) -> None:
    told(text)


@pytest.mark.parametrize("depth", [65, 900, 5000])
@pytest.mark.parametrize(("start", "end"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_a_document_of_any_depth_is_refused_with_a_place(depth: int, start: str, end: str) -> None:
    (first, *_) = told(f"interfaces:\n- {{name: a, type: dummy, ethtool: {start * depth}1{end * depth}}}\n")
    assert "a.yaml:2:" in first


LONG = "9" * 5000
VLAN = "{{name: {}, type: vlan, vlan: {{base-iface: {}, id: 5}}}}"
CARD = "interfaces: [{{name: eth1, type: ethernet, ethernet: {{sr-iov: {}}}}}]"
TOO_LONG = "a number of more than 1000 characters"


def said_by(command: str, text: str, current: str, values: str) -> list[Error]:
    """Return all that is wrong with a document, by one of the commands that need no host."""
    try:
        state, given_values = desired.current("c.yaml", current), desired.values("v.yaml", values)
        found = documents([("d.yaml", text)])
        if command == "plan":
            work.plan(found, state)
        elif command == "fmt":
            list(checked([("d.yaml", text)]))
        else:
            by_command = {"diff": offline.difference, "revert": offline.reverse, "policy": offline.meaning}
            dump(by_command[command](found, state, given_values))
    except Error as error:
        for one in error:
            render_error(one)
        return list(error)
    return []


@pytest.mark.parametrize("command", ["plan", "diff", "revert", "policy", "fmt"])
@pytest.mark.parametrize(
    ("text", "current", "values", "sentence"),
    [
        ("ovn: [5]", "", "", "ovn must be a mapping, got a list"),
        ("ovn: {bridge-mappings: {a: b}}", "", "", "ovn.bridge-mappings must be a list, got a mapping"),
        ("ovn: {bridge-mappings: [5]}", "", "", "a bridge mapping must be a mapping, got 5"),
        ("ovn: {bridge-mappings: [{localnet: [5]}]}", "", "", "localnet of a bridge mapping must be text, got a list"),
        ("ovn: {bridge-mappings: [{bridge: a}]}", "", "", "localnet of a bridge mapping is missing"),
        ("ovn: {bridge-mappings: null}", "ovn: null", "", ""),
        ("ovn: {bridge-mappings: [null]}", "", "", "a bridge mapping must be a mapping, got nothing"),
        (CARD.format("[5]"), "", "", "ethernet.sr-iov must be a mapping, got a list"),
        (CARD.format("5"), "", "", "ethernet.sr-iov must be a mapping, got 5"),
        (CARD.format("null"), CARD.format("{total-vfs: [5]}"), "", ""),
        ("interfaces: [{name: a, type: foo, state: [5]}]", "", "", "type must be one of"),
        ("interfaces: [{name: a, type: foo, state: {a: 5}}]", "", "", "type must be one of"),
        ("interfaces: [{name: a, type: [vlan], state: up}]", "interfaces: [{name: a, type: vlan, state: up}]", "",
         "type must be text"),
        ("interfaces: [{name: o, type: ovs-bridge, bridge: {port: 5}, ipv4: [5], vlan: {}}]",
         "interfaces: [{name: o, type: ovs-bridge, bridge: 5, ipv4: 5, vlan: 5}]", "", ""),
        ("interfaces: [{name: br0, type: linux-bridge, bridge: {port: []}}]",
         "interfaces: [{name: br0, type: linux-bridge, bridge: {port: [{name: untold}]}}]", "", ""),
        ("{capture: {a: interfaces.mtu == 1500}, desired: {}}",
         "interfaces: [{name: bond0, type: bond, link-aggregation: {port: []}}]", "", ""),
        ("{capture: {a: interfaces}, desired: {}, current: x}", "", "", "current must be a mapping, got 'x'"),
        (f"interfaces: [{{name: eth1, mtu: {LONG}}}]", "", "", TOO_LONG),
        (f"interfaces: [{{name: eth1, mtu: 0x{LONG}}}]", "", "", TOO_LONG),
        (f"interfaces: [{{name: eth1, mtu: -{LONG}.5}}]", "", "", TOO_LONG),
        (f"ovs-db: {{external_ids: {{a: 0o{'7' * 5000}}}}}", "", "", TOO_LONG),
        (json.dumps({"interfaces": [{"name": "eth1", "mtu": "@"}]}).replace('"@"', LONG), "", "", TOO_LONG),
        (f"interfaces: [{{name: eth1, mtu: '{LONG}'}}]", "", "", "mtu must be a whole number, got '999"),
        (f"{{capture: {{a: interfaces.mtu == {LONG}}}, desired: {{}}}}", "", "", TOO_LONG),
        (f"{{capture: {{a: 'interfaces.mtu := {LONG}'}}, desired: {{}}}}", "", "", TOO_LONG),
        (f"{{capture: {{a: interfaces.{LONG}.mtu}}, desired: {{}}}}", "", "", TOO_LONG),
        (f"{{capture: {{a: interfaces}}, desired: {{description: '{{{{ capture.a.interfaces.{LONG} }}}}'}}}}",
         "", "", TOO_LONG),
        ("{capture: {a: interfaces.description > 5}, desired: {}}",
         f"interfaces: [{{name: eth1, type: ethernet, description: '{LONG[:200]}'}}]", "", ""),
        ("", "", f"x: {LONG}", TOO_LONG),
        ("", f"interfaces: [{{name: eth1, mtu: {LONG}}}]", "", TOO_LONG),
    ],
)  # fmt: skip
def test_what_has_an_odd_shape_is_told_with_its_place(
    command: str, text: str, current: str, values: str, sentence: str
) -> None:
    errors = said_by(command, text, current, values)
    assert all(error.where or sentence == "" for error in errors)
    if sentence:
        assert any(error.message.startswith(sentence) for error in errors)


@pytest.mark.parametrize("command", ["plan", "diff", "revert", "policy"])
def test_nor_does_a_state_that_stands_for_a_host_have_one(command: str) -> None:
    (error,) = said_by(command, "ovn: {}", "ovn: {bridge-mappings: [5]}", "")
    assert (error.message, error.path) == (
        "a bridge mapping must be a mapping, got 5",
        "ovn.bridge-mappings[0]",
    )
    assert error.where
    assert error.where.file == "c.yaml"


@pytest.mark.parametrize(
    ("listed", "sentence"),
    [
        ([("a", "a")], "a cannot rest on itself"),
        ([("a", "b"), ("b", "a")], "these interfaces rest on each other in a circle: a -> b -> a"),
    ],
)
def test_a_state_in_which_links_rest_on_each_other_in_a_circle_stands_for_no_host(
    listed: list[tuple[str, str]], sentence: str
) -> None:
    current = f"interfaces: [{', '.join(VLAN.format(*pair) for pair in listed)}]"
    (error,) = said_by("plan", "interfaces: [{name: a, mtu: 1400}, {name: d0, type: dummy}]", current, "")
    assert (error.message, error.path) == (sentence, "interfaces[0].vlan.base-iface")
    for command in ("diff", "revert", "policy"):
        assert said_by(command, "interfaces: [{name: a, state: absent}]", current, "") == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "{name: br9, type: linux-bridge, bridge: {options: {mac-ageing-time: 100000000}}}",
            "bridge.options.mac-ageing-time must be at most 42949672, got 100000000",
        ),
        (
            "{name: bond0, type: bond, link-aggregation: {options: {arp_ip_target: foo}}}",
            (
                "link-aggregation.options.arp_ip_target must be IPv4 addresses of hosts, separated by commas, each once,"
                " got 'foo'"
            ),
        ),
        (
            "{name: bond0, type: bond, link-aggregation: {options: {primary: nosuch}}}",
            "primary nosuch is no port of bond0",
        ),
        (
            "{name: bond0, type: bond, link-aggregation: {options: {updelay: 150}}}",
            "updelay must be a multiple of miimon, 100, got 150",
        ),
        (
            "{name: eth1, type: ethernet, mac-address: '03:00:00:00:00:01'}",
            "mac-address must be that of one card, got '03:00:00:00:00:01'",
        ),
        (
            "{name: eth1, type: ethernet, ipv6: {enabled: true, address: [{ip: 'fe80::1%eth1', prefix-length: 64}]}}",
            "ipv6.address[0].ip must be an IPv6 address, got 'fe80::1%eth1'",
        ),
        (
            "{name: w0, type: veth, veth: {peer: 'a b'}}",
            "veth.peer must be a name of 1 to 15 bytes without '/', ':', '%' and white space, got 'a b'",
        ),
        (
            f"{{name: eth1, type: ethernet, description: {'x' * 256}}}",
            f"description must be text of at most 255 bytes, none of them zero, got '{'x' * 57}...'",
        ),
    ],
)
def test_what_no_kernel_takes_is_told_before_it_is_asked(text: str, sentence: str) -> None:
    assert [message.splitlines()[0] for message in told(f"interfaces:\n- {text}\n")] == [f"error: {sentence}"]
