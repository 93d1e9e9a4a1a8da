"""What documents mean on a host, as far as no kernel is needed to see it."""

from __future__ import annotations

import itertools
import json

import pytest
from model import after, compiled, wanted

from nncp.document.read import read_partly
from nncp.document.source import load
from nncp.document.unsupported import unsupported
from nncp.errors import Error, ErrorKind
from nncp.host import Host, Row
from nncp.known import KINDS
from nncp.plan import plan

CARDS = [Row(("link", name), {"type": "ethernet", "mtu": 1500}) for name in ("eth1", "eth2")]
HOST = Host([*CARDS, *(Row(("up", card.name)) for card in CARDS)])


def planned(text: str, host: Host = HOST) -> list[str]:
    return [f"{op.verb} {' '.join(op.key)}" for op in plan(host, wanted(text, host), KINDS)]


@pytest.mark.parametrize("type_name", ["ethernet", "veth"])
def test_what_a_card_agrees_upon_with_its_switch_is_read_and_left_to_it(type_name: str) -> None:
    section = "ethernet: {auto-negotiation: true, duplex: full, speed: 1000}"
    text = f"interfaces:\n- {{name: eth1, type: {type_name}, {section}}}\n"
    host = Host([Row(("link", "eth1"), {"type": type_name}), Row(("up", "eth1"))])
    assert planned(text, host) == []


@pytest.mark.parametrize(
    ("section", "refused"),
    [
        ("ethernet: {sr-iov: {total-vfs: 2}}", "ethernet.sr-iov"),
        ("ethernet: {sr-iov: {}}", ""),
        (
            "type: bond, link-aggregation: {options: {balance-slb: true}}",
            "link-aggregation.options.balance-slb",
        ),
        ("type: bond, link-aggregation: {options: {balance_slb: 1}}", "link-aggregation.options.balance_slb"),
        ("type: bond, link-aggregation: {options: {balance_slb: 0}}", ""),
    ],
)
def test_what_no_kernel_does_is_refused_by_name_where_it_asks_for_something(
    section: str, refused: str
) -> None:
    (node,) = load(f"interfaces:\n- {{name: eth1, {section}}}\n", file="x")
    read = read_partly(node, KINDS.by_type)
    assert read.errors == []
    found = [error for part in read.parts for error in unsupported(part)]
    assert [error.message for error in found] == ([f"{refused} is not supported yet"] if refused else [])
    assert all(error.kind is ErrorKind.UNSUPPORTED for error in found)


def test_a_bond_option_that_is_off_and_no_kernels_is_nothing_to_write() -> None:
    bond = Row(("link", "bond0"), {"type": "bond", "mode": "balance-xor"})
    section = "link-aggregation: {mode: balance-xor, options: {balance-slb: false}}"
    host = Host([*HOST, bond, Row(("up", "bond0"))])
    assert planned(f"interfaces:\n- {{name: bond0, type: bond, {section}}}\n", host) == []


@pytest.mark.parametrize(
    "text",
    [
        "{name: veth1, type: ethernet, veth: {peer: veth1.ep}}",
        "{name: veth1, type: veth, veth: {peer: veth1.ep}}\n- {name: veth1.ep, type: ethernet}",
        "{name: veth1.ep, type: veth}\n- {name: veth1, type: ethernet, veth: {peer: veth1.ep}}",
    ],
)
def test_a_veth_may_be_called_an_ethernet(text: str) -> None:
    verbs = planned(f"interfaces:\n- {text}\n")
    assert {"create link veth1", "create link veth1.ep"} & set(verbs)
    assert {"create up veth1", "create up veth1.ep"} <= set(verbs)


def link(name: str, kind: str, **more: object) -> dict[str, object]:
    return {"name": name, "type": kind, **more}


def bridge(name: str, *ports: str) -> dict[str, object]:
    return link(name, "linux-bridge", bridge={"port": [{"name": port} for port in ports]})


FREE = [Row(("link", "br0"), {"type": "linux-bridge"}), Row(("link", "br1"), {"type": "linux-bridge"})]
FORMER = [Row(("port", card.name), {"controller": "br0", "type": "linux-bridge"}) for card in CARDS]
TOGETHER = {
    "a port moves between two lists": [bridge("br0", "eth2"), bridge("br1", "eth1")],
    "a port moves from a list to who names its controller": [
        bridge("br0", "eth2"), link("eth1", "ethernet", controller="br1"), link("br1", "linux-bridge"),
    ],
    "what is down is a port and carries a VLAN": [
        bridge("br1", "eth1"), link("eth1", "ethernet", state="down"), bridge("br0"),
        link("v", "vlan", vlan={"base-iface": "eth1", "id": 5}, state="down"),
    ],
    "each end of a veth names the other": [
        link("a", "veth", veth={"peer": "b"}), link("b", "veth", veth={"peer": "a"}, mtu=1400), bridge("br1", "b"),
    ],
    "a list lets go of what is absent": [bridge("br0"), link("eth1", "ethernet", state="absent")],
}  # fmt: skip


@pytest.mark.parametrize("case", TOGETHER)
def test_the_order_of_interfaces_in_a_document_means_nothing(case: str) -> None:
    host = Host([*HOST, *FREE, *FORMER])
    orders = [
        {row.key: row for row in wanted(json.dumps({"interfaces": order}), host)}
        for order in itertools.permutations(TOGETHER[case])
    ]
    assert all(rows == orders[0] for rows in orders)


@pytest.mark.parametrize("case", [name for name in TOGETHER if "port moves" in name])
def test_a_port_that_moves_between_controllers_arrives(case: str) -> None:
    host = Host([*HOST, *FREE, *FORMER])
    done = after(host, plan(host, wanted(json.dumps({"interfaces": TOGETHER[case]}), host), KINDS))
    ports = {row.name: row.attrs["controller"] for row in done.table("port")}
    assert ports == {"eth1": "br1", "eth2": "br0"}
    assert ("up", "eth1") in done


@pytest.mark.parametrize(
    ("have", "kind", "why", "unsupported"),
    [
        ("dummy", "ipvlan", "x is of type dummy, and not of type ipvlan (type: dummy)", False),
        ("ipvlan", "ipvlan", "x is of type ipvlan, which is not supported yet, and could", True),
        ("vxlan", "ipvlan", "x is of type vxlan, which is not supported yet, and could", True),
        ("tap", "tun", "x is of type tap, which is not supported yet, and could", True),
    ],
)
def test_what_is_to_be_absent_and_of_no_type_that_is_known_is_called_what_it_is(
    have: str, kind: str, why: str, *, unsupported: bool
) -> None:
    host = Host([Row(("link", "x"), {"type": have})])
    ((_, fault),) = compiled(f"interfaces: [{{name: x, type: {kind}, state: absent}}]", host).faults
    assert f"{fault.message} ({fault.hint})".startswith(why)
    assert fault.unsupported is unsupported


@pytest.mark.parametrize(("bond", "most"), [({}, 16), ({"tx-queues": 4}, 4)])
def test_a_queue_that_a_bond_does_not_have_is_refused(bond: dict[str, object], most: int) -> None:
    links = [Row(("link", "bond0"), {"type": "bond", "mode": "balance-rr", **bond})] if bond else []
    own = f"[{{name: eth1, queue-id: {most}}}, {{name: eth2, queue-id: {most + 1}}}]"
    section = f"link-aggregation: {{mode: balance-rr, ports-config: {own}}}"
    text = f"interfaces: [{{name: bond0, type: bond, {section}}}]"
    ((_, fault),) = compiled(text, Host([*HOST, *links])).faults
    assert fault.message == (
        f"queue-id must be at most {most}, the number of bond0's transmit queues, got {most + 1}"
    )
    assert fault.path == ("interfaces", 0, "link-aggregation", "ports-config", 1, "queue-id")
    assert (fault.unsupported, fault.of_host) == (True, True)


@pytest.mark.parametrize(
    ("section", "told"),
    [
        ("address: [{ip: 'fe80::1', prefix-length: 64}]", "fe80::1/64"),
        ("enabled: true, address: [{ip: 'fe80::1', prefix-length: 64}, {ip: 'fe80::2', prefix-length: 64}]",
         "fe80::1/64, fe80::2/64"),
        ("address: [{ip: 'fe80::7', prefix-length: 64}, {ip: '2001:db8::1', prefix-length: 64}]", ""),
        ("address: [{ip: 'fe80::5054:ff:fe00:101', prefix-length: 64}]", ""),
        ("enabled: false", ""),
        ("enabled: true", ""),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["name: eth1", "name: d, type: dummy, mac-address: '52:54:00:00:01:01'"])
def test_a_link_local_address_that_a_document_lists_is_not_set_and_the_plan_says_so(
    section: str, told: str, kind: str
) -> None:
    card = Row(("link", "eth1"), {"type": "ethernet", "mtu": 1500, "mac": "52:54:00:00:01:01"})
    standing = [Row(("address", name, "fe80::7/64")) for name in ("eth1", "d")]
    notes = compiled(f"interfaces: [{{{kind}, ipv6: {{{section}}}}}]", Host([card, *standing])).notes
    name = kind[6:].partition(",")[0]
    text = f"warning: left to {name} itself, and not set: {told}"
    assert [note.text for note in notes] == ([text] if told else [])


BRIDGE = "{name: br0, type: linux-bridge"
ALONE = {
    f"{BRIDGE}, bridge: {{port: [{{name: lo}}]}}}}": "lo is the loopback, and can be no port of br0",
    f"{{name: lo, type: loopback, controller: br0}}, {BRIDGE}}}": "lo is the loopback, and can be no port of br0",
    "{name: b, type: bond, link-aggregation: {mode: balance-rr, port: [lo]}}": "lo is the loopback, and can be no port of b",
    "{name: v, type: vlan, vlan: {base-iface: lo, id: 5}}": "lo is the loopback, and nothing can rest on it",
    "{name: lo, type: loopback, mac-address: '02:00:00:00:00:01'}": "lo can have no MAC address",
    f"{BRIDGE}, bridge: {{port: [{{name: br1}}]}}}}, {{name: br1, type: linux-bridge}}": "br1 is a linux-bridge, and can be no port of br0",
}  # fmt: skip


@pytest.mark.parametrize("interfaces", ALONE)
def test_what_the_kernel_takes_for_no_port_and_no_base_is_refused_on_any_host(interfaces: str) -> None:
    lo = Row(("link", "lo"), {"type": "loopback", "mac": "00:00:00:00:00:00"})
    for host in (Host([*HOST, lo]), Host()):
        found = compiled(f"interfaces: [{interfaces}]", host).faults
        (told,) = [fault.message for _, fault in found if not fault.of_host]
        assert told.startswith(ALONE[interfaces])


def test_a_mac_address_is_copied_from_what_has_one() -> None:
    lo = Row(("link", "lo"), {"type": "loopback", "mac": "00:00:00:00:00:00"})
    text = "interfaces: [{name: d, type: dummy, copy-mac-from: lo}]"
    assert [fault.message for _, fault in compiled(text, Host([lo])).faults] == [
        "lo has no MAC address to copy"
    ]
    text = "interfaces: [{name: lo, type: loopback, mac-address: '00:00:00:00:00:00'}]"
    assert planned(text, Host([lo, Row(("up", "lo"))])) == []


PAIRS = {
    "{name: c0, type: veth, veth: {peer: b}}": ("veth", "peer"),
    "{name: c0, type: ethernet, veth: {peer: b}}": ("veth", "peer"),
    "{name: b, type: veth, veth: {peer: c0}}": ("veth",),
    "{name: c0, type: veth}, {name: b, type: veth, veth: {peer: c0}}": (),
}


@pytest.mark.parametrize("said", PAIRS)
@pytest.mark.parametrize(
    ("attrs", "why"),
    [
        ({"type": "veth", "elsewhere": True}, "has its other end in another network namespace"),
        ({"type": "ethernet"}, "is a card"),
    ],
)
def test_what_stands_without_another_end_here_gets_none(
    attrs: dict[str, object], why: str, said: str
) -> None:
    host = Host([Row(("link", "c0"), attrs)])
    ((name, fault),) = compiled(f"interfaces: [{said}]", host).faults
    assert (name, fault.unsupported, fault.of_host) == ("c0", True, True)
    assert fault.message == f"c0 {why}, and could not be made again as an end of a veth with b"
    assert fault.path == ("interfaces", 0, *PAIRS[said])


def test_a_pair_may_stay_as_it_is_and_get_another_end() -> None:
    host = Host([Row(("link", name), {"type": "veth", "peer": peer}) for name, peer in ("ab", "ba")])
    assert not compiled("interfaces: [{name: a, type: veth, veth: {peer: b}}]", host).faults
    assert "remove link b" in planned("interfaces: [{name: a, type: veth, veth: {peer: c}}]", host)


OPEN = Host([
    Row(("link", "veth1"), {"type": "veth", "elsewhere": True}), Row(("up", "veth1")),
    Row(("address", "veth1", "192.0.2.1/24")),
])  # fmt: skip


@pytest.mark.parametrize("kind", ["", "type: veth, ", "type: dummy, "])
def test_a_veth_whose_other_end_is_elsewhere_is_no_documents_to_delete(kind: str) -> None:
    why = r"veth1 would be deleted .* its other end is in another network namespace"
    with pytest.raises(Error, match=why):
        planned(f"interfaces: [{{name: veth1, {kind}state: absent}}]", OPEN)


def test_a_veth_whose_other_end_is_elsewhere_loses_its_configuration_as_a_card() -> None:
    verbs = planned("interfaces: [{name: veth1, type: ethernet, state: absent}]", OPEN)
    assert verbs == ["remove address veth1 192.0.2.1/24"]


def test_a_pair_goes_with_both_its_ends() -> None:
    host = Host([Row(("link", name), {"type": "veth", "peer": peer}) for name, peer in ("ab", "ba")])
    assert "remove link a" in planned("interfaces: [{name: a, type: veth, state: absent}]", host)
