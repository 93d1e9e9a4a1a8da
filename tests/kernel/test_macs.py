"""MAC addresses on a real kernel: a bridge keeps its own, a bond has its active port's, and copies are permanent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import outside
import pytest
from test_ports import bond, bridge, ports

from tests.waiting import until

if TYPE_CHECKING:
    from outside import Namespace

pytestmark = pytest.mark.kernel

ONE, TWO = "52:54:00:00:01:01", "52:54:00:00:02:01"


def mac(ns: Namespace, name: str) -> str:
    """Return a link's MAC address."""
    return str(ns.json("ip", "-j", "link", "show", name)[0]["address"])


def queues(ns: Namespace) -> dict[str, int]:
    """Return the queue of each port of bonds."""
    found = ns.json("ip", "-d", "-j", "link", "show", "type", "bond_slave")
    return {link["ifname"]: link["linkinfo"]["info_slave_data"]["queue_id"] for link in found if link}


def plug_low(host: Namespace, beyond: Namespace, name: str) -> None:
    """Plug a Pod whose MAC address is lower than every other, which a bridge would take for its own."""
    outside.plug(host, beyond, name, f"{name}p", mac="02:00:00:00:00:01")
    host.batch(f"link set {name} master br1")


def test_a_bridge_that_a_document_makes_keeps_its_mac(host: Namespace, beyond: Namespace, apply: Any) -> None:
    apply(bridge("br1", "eth2", "eth1"))
    assert mac(host, "br1") == TWO, "the first listed port's"
    plug_low(host, beyond, "low")
    assert mac(host, "br1") == TWO
    host.batch("link del low")
    assert mac(host, "br1") == TWO
    assert apply(bridge("br1", "eth2", "eth1")) == "No changes.\n"


def test_a_bridge_over_a_new_bond_has_the_mac_of_the_bonds_first_port(
    host: Namespace, beyond: Namespace, apply: Any
) -> None:
    vlan = {"name": "bond0.5", "type": "vlan", "vlan": {"base-iface": "bond0", "id": 5}}
    apply(bridge("br1", "bond0.5"), vlan, bond("bond0", "eth2", "eth1"))
    assert mac(host, "br1") == mac(host, "bond0") == TWO
    plug_low(host, beyond, "low")
    assert mac(host, "br1") == TWO


def test_a_bridge_that_stands_is_pinned_when_a_document_changes_its_ports(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    host.batch("link add br1 type bridge", "link set br1 up", "link set eth1 master br1")
    apply({"name": "br1", "type": "linux-bridge", "mtu": 1400})
    plug_low(host, beyond, "low")
    assert mac(host, "br1") == "02:00:00:00:00:01", "nothing was said of its ports"
    host.batch("link del low")
    apply(bridge("br1", "eth1", "eth2"))
    plug_low(host, beyond, "low")
    assert mac(host, "br1") == ONE
    assert "br1 keeps its MAC address" in run("rollback")
    assert ports(host, "br1") == {"eth1", "low"}
    assert mac(host, "br1") == ONE


def test_a_bridge_that_gets_an_address_or_has_no_port_yet_is_pinned_too(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    host.batch("link add br1 type bridge", "link set br1 up", "link set eth1 master br1")
    address = {"ipv4": {"enabled": True, "address": [{"ip": "192.0.2.21", "prefix-length": 24}]}}
    apply({"name": "br1", "type": "linux-bridge", **address}, bridge("br2"))
    assert mac(host, "br1") == ONE
    alone = mac(host, "br2")
    plug_low(host, beyond, "low")
    assert mac(host, "br1") == ONE
    host.batch("link set low master br2")
    assert mac(host, "br2") == alone != "00:00:00:00:00:00"
    host.batch("link del low")
    assert (mac(host, "br1"), mac(host, "br2")) == (ONE, alone)
    told = run("rollback")
    assert "br1 keeps its MAC address" in told
    assert "br2 keeps" not in told


def test_a_copied_mac_of_a_bonds_port_is_its_permanent_one(host: Namespace, apply: Any) -> None:
    apply(bond("bond0", "eth1", "eth2"))
    assert mac(host, "eth2") == ONE
    apply({"name": "br1", "type": "linux-bridge", "copy-mac-from": "eth2"})
    assert mac(host, "br1") == TWO


def test_a_bond_with_its_active_ports_mac_is_right_with_any_of_them(
    host: Namespace, beyond: Namespace, run: Any, apply: Any
) -> None:
    vlan = {"name": "bond0.5", "type": "vlan", "vlan": {"base-iface": "bond0", "id": 5}}
    apply(bond("bond0", "eth1", "eth2", fail_over_mac="active", miimon=50), vlan)
    saved = run("show")
    assert mac(host, "bond0") == mac(host, "bond0.5") == ONE
    beyond.batch("link set sw1 down")
    until(lambda: mac(host, "bond0") == mac(host, "bond0.5") == TWO)
    host_file = host.run(
        "sh", "-c", "cat > /tmp/saved.yaml; echo /tmp/saved.yaml", stdin=saved
    ).stdout.strip()
    assert "mac:" not in run("plan", host_file)
    apply({"name": "bond0", "type": "bond", "mac-address": ONE})
    told = apply({"name": "bond0", "type": "bond", "mac-address": "02:00:00:00:00:09"}, code=65)
    assert "no port of bond0 has 02:00:00:00:00:09" in told
    assert "interfaces[0].mac-address" in told


def test_two_ports_swap_what_no_two_may_have(host: Namespace, run: Any, apply: Any) -> None:
    def asked(*numbers: int) -> dict[str, Any]:
        own = [{"name": f"eth{n}", "queue-id": number} for n, number in enumerate(numbers, 1)]
        return {
            "name": "bond0",
            "type": "bond",
            "link-aggregation": {"mode": "balance-rr", "ports-config": own},
        }

    for numbers in ((1, 2, 3), (2, 3, 1), (1, 3, 2)):
        apply(asked(*numbers))
        assert queues(host) == {f"eth{n}": number for n, number in enumerate(numbers, 1)}
    run("rollback")
    assert queues(host) == {"eth1": 2, "eth2": 3, "eth3": 1}


def test_empty_options_give_a_bond_those_of_a_new_one(host: Namespace, run: Any, apply: Any) -> None:
    apply(bond("bond0", "eth1", "eth2"))
    before = host.settled()["link"]["bond0"]["linkinfo"]
    given = {"miimon": 200, "updelay": 400, "primary": "eth2", "resend_igmp": 3, "primary_reselect": "better"}
    apply(bond("bond0", "eth1", "eth2", **given))
    part = {"name": "bond0", "type": "bond", "link-aggregation": {"mode": "active-backup"}}
    assert apply(part) == "No changes.\n"
    part["link-aggregation"]["options"] = {}
    apply(part)
    assert host.settled()["link"]["bond0"]["linkinfo"] == before
    assert apply(part) == "No changes.\n"
    apply(bond("bond1", arp_interval=100, arp_ip_target="192.0.2.1,192.0.2.2", arp_validate="all"))
    apply({"name": "bond1", "type": "bond", "link-aggregation": {"options": {}}})
    data = host.json("ip", "-d", "-j", "link", "show", "bond1")[0]["linkinfo"]["info_data"]
    assert (data["miimon"], data["arp_interval"], bool(data.get("arp_ip_target"))) == (100, 0, False)


@pytest.mark.parametrize(
    "document",
    [
        {"name": "br1", "ipv4": {"enabled": True, "address": [{"ip": "192.0.2.21", "prefix-length": 24}]}},
        {"name": "br1", "state": "absent"},
        {"name": "br1", "type": "linux-bridge", "bridge": {"port": [{"name": "eth1"}]}},
    ],
)
def test_a_bridge_without_a_mac_address_is_not_given_none(
    host: Namespace, run: Any, apply: Any, document: Any
) -> None:
    host.batch(
        "link add br1 type bridge",
        "link set br1 up",
        "link add d0 type dummy",
        "link set d0 master br1",
        "link del d0",
    )
    assert mac(host, "br1") == "00:00:00:00:00:00"
    apply(document)
    run("rollback")
    host.batch("link set eth1 master br1")
    assert mac(host, "br1") != "00:00:00:00:00:00"
