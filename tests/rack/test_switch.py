from __future__ import annotations

from nncp.lab.switch import read_bond

HEAD = """\
Ethernet Channel Bonding Driver: v7.2.12

Bonding Mode: IEEE 802.3ad Dynamic link aggregation
MII Status: up

802.3ad info
LACP active: on
Active Aggregator Info:
	Number of ports: 2
	Partner Mac Address: 66:7b:d9:12:00:9b
"""


def port(name: str, mine: int, theirs: int, *, up: bool = True) -> str:
    return f"""
Slave Interface: {name}
MII Status: {"up" if up else "down"}
Speed: 10000 Mbps
details actor lacp pdu:
    port priority: 255
    port state: {mine}
details partner lacp pdu:
    port priority: 255
    port state: {theirs}
"""


def test_a_bond_whose_ports_collect_and_distribute_passes() -> None:
    bond = read_bond(HEAD + port("ens1f0", 63, 61) + port("ens1f1", 61, 63))
    assert (bond.mode, bond.partner_mac) == ("802.3ad", "66:7b:d9:12:00:9b")
    assert [p.name for p in bond.ports] == ["ens1f0", "ens1f1"]
    assert bond.passes


def test_a_known_partner_is_not_enough() -> None:
    assert not read_bond(HEAD + port("ens1f0", 63, 63) + port("ens1f1", 15, 63)).passes
    assert not read_bond(HEAD + port("ens1f0", 63, 7)).passes


def test_a_port_without_carrier_does_not_pass() -> None:
    assert not read_bond(HEAD + port("ens1f0", 63, 63, up=False)).passes


def test_a_bond_that_is_not_there_does_not_pass() -> None:
    assert not read_bond("").passes
