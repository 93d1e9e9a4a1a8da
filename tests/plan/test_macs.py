"""MAC addresses that a document means without naming them."""

from __future__ import annotations

from typing import Any

import pytest
from model import compiled, host_of, told, wanted

from nncp.host import Host, Op, Row
from nncp.known import KINDS
from nncp.macs import is_lent, pinned
from nncp.plan import plan

ONE, TWO, OWN = "52:54:00:00:01:01", "52:54:00:00:02:01", "02:00:00:00:00:07"


def host(**more: Any) -> Host:
    return host_of({
        "link eth1": {"type": "ethernet", "mac": ONE}, "up eth1": {},
        "link eth2": {"type": "ethernet", "mac": OWN, "permanent-mac": TWO}, "up eth2": {},
        "link d1": {"type": "dummy", "mac": "02:00:00:00:00:d1"}, **more,
    })  # fmt: skip


BOND = "{name: bond0, type: bond, link-aggregation: {mode: 802.3ad, port: [eth2]}}"


@pytest.mark.parametrize(
    ("port", "others", "mac"),
    [
        ("eth1", [], ONE),
        ("eth2", [], TWO),
        ("eth2", [f"{{name: eth2, mac-address: '{OWN}'}}"], OWN),
        ("bond0", [BOND], TWO),
        ("v", [BOND, "{name: v, type: vlan, vlan: {base-iface: bond0, id: 5}}"], TWO),
        ("d", ["{name: d, type: dummy}"], None),
        ("bond0", ["{name: bond0, type: bond, link-aggregation: {mode: 802.3ad}}"], None),
        ("d1", ["{name: d1, type: bond, link-aggregation: {mode: 802.3ad, port: [eth2]}}"], TWO),
        (
            "v",
            [
                "{name: v, type: vlan, vlan: {base-iface: w, id: 5}}",
                "{name: w, type: vlan, vlan: {base-iface: v, id: 6}}",
            ],
            None,
        ),
    ],
)
def test_a_new_bridge_has_its_first_listed_ports_mac(port: str, others: list[str], mac: str | None) -> None:
    bridge = f"{{name: br1, type: linux-bridge, bridge: {{port: [{{name: {port}}}]}}}}"
    rows = compiled(f"interfaces: [{', '.join([bridge, *others])}]", host()).rows  # the circle's, too
    assert rows["link", "br1"].attrs.get("mac") == mac


@pytest.mark.parametrize("said", [f"mac-address: '{OWN}'", "copy-mac-from: eth1"])
def test_what_a_document_says_of_a_mac_comes_first(said: str) -> None:
    text = f"interfaces: [{{name: br1, type: linux-bridge, {said}, bridge: {{port: [{{name: eth2}}]}}}}]"
    (bridge,) = [row for row in wanted(text, host()) if row.key == ("link", "br1")]
    assert bridge.attrs["mac"] == (ONE if "eth1" in said else OWN)


def test_a_bridge_that_stands_is_given_no_mac() -> None:
    now = host(**{"link br1": {"type": "linux-bridge", "mac": OWN}})
    rows = wanted("interfaces: [{name: br1, type: linux-bridge, bridge: {port: [{name: eth1}]}}]", now)
    assert [dict(row.attrs) for row in rows if row.key == ("link", "br1")] == [{"type": "linux-bridge"}]


def test_a_copied_mac_is_a_bonds_ports_own_and_not_what_the_bond_lends_it() -> None:
    port = {"controller": "bond0", "type": "bond", "permanent-mac": ONE}
    now = host(
        **{
            "link bond0": {"type": "bond", "mac": TWO},
            "link eth1": {"type": "ethernet", "mac": TWO},
            "port eth1": port,
        }
    )
    rows = wanted("interfaces: [{name: d, type: dummy, copy-mac-from: eth1}]", now)
    assert [row.attrs["mac"] for row in rows if row.key == ("link", "d")] == [ONE]


def test_a_bridge_that_stays_and_one_without_a_mac_of_its_own_are_pinned() -> None:
    def port(verb: Any, name: str, bridge: str, kind: str = "linux-bridge") -> Op:
        attrs = {"controller": bridge}
        return Op(verb, ("port", name), *([{}, attrs] if verb == "remove" else [attrs]), type=kind)

    ops = [
        port("create", "eth1", "br1"), port("remove", "eth2", "br2"), port("create", "eth3", "bond0", "bond"),
        Op("create", ("link", "br3"), {"mac": ONE}, type="linux-bridge"), port("create", "eth4", "br3"),
        Op("create", ("link", "br7"), type="linux-bridge"), Op("create", ("link", "d"), type="dummy"),
        Op("remove", ("link", "br4"), type="linux-bridge"), port("remove", "eth6", "br4"),
        Op("change", ("link", "br5"), {"mtu": 1400}), port("change", "eth5", "br5"),
        *(Op("create", ("address", name, "192.0.2.1/24")) for name in ("br6", "eth9")),
        Op("change", ("link", "br6"), {"mtu": 1400}),
        Op("remove", ("address", "br5", "192.0.2.1/24")),
    ]  # fmt: skip
    bridges = {f"link br{n}": {"type": "linux-bridge"} for n in (1, 2, 4, 5, 6)}
    now = host_of({**bridges, "link bond0": {"type": "bond"}, "link eth9": {"type": "ethernet"}})
    assert pinned(now, ops) == ["br1", "br2", "br6", "br7"]


def test_a_bonds_mac_is_not_compared_while_it_is_a_ports() -> None:
    lent = {
        "type": "bond",
        "mode": "active-backup",
        "fail_over_mac": "active",
        "mac": TWO,
        "borrowed": ["mac"],
    }
    now = host(**{"link bond0": lent, "up bond0": {}, "port eth1": {"controller": "bond0", "type": "bond"}})
    assert (
        plan(now, wanted(f"interfaces: [{{name: bond0, type: bond, mac-address: '{ONE}'}}]", now), KINDS)
        == []
    )


FREE = "02:00:00:00:00:09"
FAILED_OVER = {
    "link bond0": {
        "type": "bond", "mode": "active-backup", "fail_over_mac": "active", "mac": TWO, "borrowed": ["mac"],
    },
    "link eth3": {"type": "ethernet", "mac": "02:00:00:00:00:d3"},
    **{f"port {name}": {"controller": "bond0", "type": "bond", "permanent-mac": mac}
       for name, mac in (("eth1", ONE), ("eth2", TWO))},
    **{f"up {name}": {} for name in ("bond0", "v", "w", "eth3")},
}  # fmt: skip


def vlans(mac: str, below: str = TWO) -> dict[str, Any]:
    return {
        "link v": {"type": "vlan", "base-iface": "bond0", "id": 5, "mac": below},
        "link w": {"type": "vlan", "base-iface": "v", "id": 6, "mac": mac},
    }


def settled_macs(text: str, now: Host) -> dict[str, str]:
    ops = plan(now, wanted(f"interfaces: [{text}]", now), KINDS)
    return {op.key[1]: op.attrs["mac"] for op in ops if op.key[0] == "link" and "mac" in op.attrs}


@pytest.mark.parametrize("name", ["v", "w"])
def test_a_vlans_mac_is_right_with_any_of_the_bonds_while_that_is_its_active_ports(name: str) -> None:
    now = host(**FAILED_OVER, **vlans(TWO))
    assert settled_macs(f"{{name: {name}, type: vlan, mac-address: '{ONE}'}}", now) == {}
    assert settled_macs(f"{{name: {name}, type: vlan, mac-address: '{FREE}'}}", now) == {name: FREE}


@pytest.mark.parametrize(
    ("more", "section"),
    [
        (vlans(OWN), ""),
        (vlans(TWO, OWN), ""),
        (vlans(TWO), ", vlan: {base-iface: eth3}"),
        ({**vlans(TWO), "link bond0": {**FAILED_OVER["link bond0"], "fail_over_mac": "none", "borrowed": []}}, ""),
        ({**vlans(TWO), "link bond0": {**FAILED_OVER["link bond0"], "mac": ONE}}, ""),
    ],
)  # fmt: skip
def test_a_vlan_with_a_mac_of_its_own_or_another_base_gets_the_one_that_is_asked_for(
    more: dict[str, Any], section: str
) -> None:
    now = host(**{**FAILED_OVER, **more})
    assert settled_macs(f"{{name: w, type: vlan, mac-address: '{ONE}'{section}}}", now) == {"w": ONE}


def test_ports_that_swap_queues_give_them_up_first() -> None:
    ports = {f"port eth{n}": {"controller": "bond0", "type": "bond", "queue-id": n} for n in (1, 2)}
    now = host(**{"link bond0": {"type": "bond", "mode": "balance-rr"}, "up bond0": {}, **ports})
    own = "[{name: eth1, queue-id: 2}, {name: eth2, queue-id: 1}]"
    text = f"interfaces: [{{name: bond0, type: bond, link-aggregation: {{ports-config: {own}}}}}]"
    ops = plan(now, wanted(text, now), KINDS)
    assert [(told(op), dict(op.attrs)) for op in ops] == [
        ("change port eth2", {"queue-id": 0}),
        ("change port eth1", {"queue-id": 2}),
        ("change port eth2", {"queue-id": 1}),
    ]


def test_a_bond_is_lent_no_mac_address_by_itself() -> None:
    bond = {
        "type": "bond",
        "mode": "active-backup",
        "fail_over_mac": "active",
        "mac": ONE,
        "borrowed": ["mac"],
    }
    now = host(**{"link bond0": bond, "port eth1": {"controller": "bond0", "type": "bond"}})
    vlan = now.with_rows([Row(("link", "v"), {"type": "vlan", "base-iface": "bond0", "mac": ONE})])
    assert not is_lent(ONE, "bond0", now)
    assert is_lent(ONE, "v", vlan)


@pytest.mark.parametrize(("mac", "sound"), [(ONE, True), (OWN, False)])
def test_a_bond_whose_ports_follow_it_keeps_its_mac_address(mac: str, sound: bool) -> None:
    bond = {"type": "bond", "mode": "active-backup", "fail_over_mac": "follow", "mac": ONE}
    text = f"interfaces: [{{name: bond0, type: bond, mac-address: '{mac}'}}]"
    found = compiled(text, host(**{"link bond0": bond})).faults
    assert [fault.path for _, fault in found] == ([] if sound else [("interfaces", 0, "mac-address")])
