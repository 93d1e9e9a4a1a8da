"""What the schema knows and the engine does not yet: refused by name, never dropped."""

from collections.abc import Callable

import pytest

from nncp.document.read import read_partly
from nncp.document.source import Node
from nncp.document.state import Interface, State
from nncp.document.unsupported import DOCUMENT, INTERFACE, unsupported
from nncp.errors import Error, ErrorKind
from nncp.known import KINDS

Parse = Callable[[str], Node]


def refused(node: Node) -> list[Error]:
    found = read_partly(node, KINDS.by_type)
    return [error for part in found.parts for error in unsupported(part)]


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("lldp: {enabled: true}", "lldp.enabled"),
        ("802.1x: {identity: me}", '["802.1x"]'),
        ("ipv4: {enabled: true, dhcp: yes}", "ipv4.dhcp"),
        ("ipv6: {autoconf: 1}", "ipv6.autoconf"),
        ("wait-ip: ipv4", "wait-ip"),
        ("identifier: mac-address", "identifier"),
    ],
)
def test_what_asks_for_something_unsupported_is_refused_by_name(
    node: Parse, read: Callable[[str], State], text: str, path: str
) -> None:
    source = f"interfaces:\n- name: eth0\n  type: ethernet\n  {text}\n"
    read(source)  # the schema takes it
    (error,) = refused(node(source))
    assert error.kind is ErrorKind.UNSUPPORTED
    assert error.message.endswith("is not supported yet")
    assert error.path == f"interfaces[0]{'' if path.startswith('[') else '.'}{path}"
    assert error.subject == "eth0"
    assert error.where
    assert error.where.line == 4


@pytest.mark.parametrize(
    "text",
    [
        "lldp: {enabled: false}",
        "ipv4: {dhcp: false}",
        "ipv6: {dhcp: no, autoconf: null}",
        "wait-ip: any",
        "ipv4: {dhcp: '0'}, ipv6: {dhcp: n, autoconf: 'False'}, lldp: {enabled: OFF}",
        "mptcp: {address-flags: []}",
        "state: absent, lldp: {enabled: true}",
        "ethtool: {pause: {rx: true, autoneg: no}, feature: {rx-gro: true}, ring: {rx: '256', rx-max: 4096}}",
        "ipv6: {addr-gen-mode: eui64}",
    ],
)
def test_what_asks_for_nothing_is_no_reason_to_refuse(node: Parse, text: str) -> None:
    assert refused(node(f"interfaces:\n- {{name: eth0, type: ethernet, {text}}}\n")) == []


def test_the_tables_name_properties_of_the_schema() -> None:
    fields = {*Interface.__struct_encode_fields__, *State.__struct_encode_fields__}
    fields |= {section for kind in KINDS.by_type.values() for section in (kind.section, *kind.also)}
    assert {name if name == "802.1x" else name.split(".")[0] for name in (*INTERFACE, *DOCUMENT)} <= fields


@pytest.mark.parametrize("text", ["interfaces: 5\n", "interfaces:\n- 5\n- {name: a}\n", "a: 1\n", "- a\n"])
def test_a_document_of_the_wrong_shape_is_not_its_business(node: Parse, text: str) -> None:
    assert refused(node(text)) == []


def test_a_resolver_that_is_to_be_emptied_is_not_passed_over(node: Parse) -> None:
    (error,) = refused(node("dns-resolver: {config: {}}\n"))
    assert (error.message, error.kind) == ("dns-resolver.config is not supported yet", ErrorKind.UNSUPPORTED)
    assert refused(node("dns-resolver: {running: {server: [192.0.2.1]}, config: null}\n")) == []
