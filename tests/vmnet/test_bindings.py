from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from vmnet.bindings import BINDINGS, BRIDGE, MASQUERADE, bridge, masquerade
from vmnet.dhcp import Terms
from vmnet.domain_interface import ethernet
from vmnet.lease import Lease, options
from vmnet.model import Interface, MultusNetwork, Network, PodNetwork
from vmnet.plumbing import Gate, PodLink, Resolver, Route, Site

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nncp.host import Row

POD = "podb6e7df19490"
GUEST, OURS = "02:11:22:33:44:55", "06:aa:aa:aa:aa:aa"


def secondary(*, addresses: tuple[str, ...] = (), mtu: int = 1500) -> Site:
    return Site(
        interface=Interface(name="nic-add1"),
        network=Network(name="nic-add1", multus=MultusNetwork(network_name="virt-bridge")),
        index=1,
        link=PodLink(name=POD, mac=GUEST, mtu=mtu, addresses=addresses),
        mac=GUEST,
        device_mac=OURS,
        hostname="vm",
    )


def primary(*, addresses: tuple[str, ...] = ("10.244.1.5/24",), cidr: str = "") -> Site:
    return Site(
        interface=Interface(name="default"),
        network=Network(name="default", pod=PodNetwork(vm_network_cidr=cidr)),
        index=0,
        link=PodLink(
            name="eth0",
            mac="0a:58:0a:f4:01:05",
            mtu=1400,
            addresses=addresses,
            routes=(Route("0.0.0.0/0", "10.244.1.1"), Route("10.96.0.0/12", "10.244.1.1")),
        ),
        mac=GUEST,
        device_mac=OURS,
        hostname="vm",
        resolver=Resolver(("10.96.0.10",), ("default.svc.cluster.local", "cluster.local")),
    )


def leased(binding: Any, site: Site) -> Lease:
    """The lease of a site, after a look at whether it is what the program is given to serve."""
    (service,) = binding.plumb(site).services
    lease = {BRIDGE: bridge, MASQUERADE: masquerade}[binding].lease(site)
    assert lease is not None
    assert list(msgspec.convert(service.config, Terms).options) == options(lease)
    return lease


def by_key(rows: Iterable[Row]) -> dict[tuple[str, ...], Row]:
    found = list(rows)
    assert len({row.key for row in found}) == len(found), "a row is wanted twice"
    return {row.key: row for row in found}


def test_the_bridge_binding_makes_the_slides_four_devices() -> None:
    rows = by_key(BRIDGE.plumb(secondary()).rows)
    x = "b6e7df19490"
    nic = rows["link", f"{x}-nic"]
    assert (nic.was, nic.attrs["mac"]) == (POD, OURS)
    assert rows["port", f"{x}-nic"].attrs == {"controller": f"k6t-{x}", "learning": False}
    assert rows["port", f"tap{x}"].attrs == {"controller": f"k6t-{x}"}
    assert rows["link", f"k6t-{x}"].attrs["type"] == "linux-bridge"
    dummy = rows["link", POD]
    assert (dummy.attrs["type"], dummy.attrs["mac"]) == ("dummy", GUEST)
    assert rows["up", POD].absent
    assert BRIDGE.plumb(secondary()).services == ()


def test_addresses_move_to_the_dummy_and_nobody_answers_for_them() -> None:
    rows = by_key(BRIDGE.plumb(secondary(addresses=("10.10.0.7/24", "fd00::7/64"))).rows)
    for address in ("10.10.0.7/24", "fd00::7/64"):
        assert rows["address", "b6e7df19490-nic", address].absent
        assert not rows["address", POD, address].absent
    assert rows["sysctl", "net/ipv4/conf/all/arp_ignore"].attrs == {"value": "1"}
    assert ("address", "k6t-b6e7df19490", "169.254.75.11/32") in rows


def test_a_network_without_ipam_has_no_addresses_at_all() -> None:
    assert not [row for row in BRIDGE.plumb(secondary()).rows if row.key[0] == "address"]


@given(mtu=st.integers(1280, 9000))
def test_tap_bridge_and_dummy_have_the_pods_mtu(mtu: int) -> None:
    plumbing = BRIDGE.plumb(secondary(mtu=mtu))
    assert {row.attrs["mtu"] for row in plumbing.rows if row.key[0] == "link"} == {mtu}
    assert f'<mtu size="{mtu}" />' in plumbing.domain


SITES = [secondary(), secondary(addresses=("10.10.0.7/24",)), primary()]


@pytest.mark.parametrize("site", SITES, ids=["l2", "ipam", "pod network"])
@pytest.mark.parametrize("binding", BINDINGS, ids=lambda b: str(b.name))
def test_no_guest_mac_stands_on_an_up_link_and_ipv6_is_off_before_any_goes_up(
    binding: object, site: Site
) -> None:
    rows = by_key(binding.plumb(site).rows)  # type: ignore[attr-defined]  # any of the tuple
    up = {key[1] for key, row in rows.items() if key[0] == "up" and not row.absent}
    for name in up:
        assert rows["link", name].attrs.get("mac") != site.mac
        off = ("sysctl", f"net/ipv6/conf/{name}/disable_ipv6")
        assert rows[off].attrs == {"value": "1"}
        assert off in rows["up", name].needs


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda b: str(b.name))
def test_a_binding_is_pure(binding: object) -> None:
    assert binding.plumb(primary()) == binding.plumb(primary())  # type: ignore[attr-defined]  # any of the tuple


def test_masquerade_leaves_eth0_alone_and_puts_the_guest_behind_its_own_bridge() -> None:
    plumbing = MASQUERADE.plumb(primary())
    rows = by_key(plumbing.rows)
    assert not [key for key in rows if key[1] == "eth0"]
    assert rows["link", "k6t-eth0"].attrs["mac"] == "02:00:00:00:00:00"
    assert ("address", "k6t-eth0", "10.0.2.1/24") in rows
    assert rows["sysctl", "net/ipv4/ip_forward"].attrs == {"value": "1"}
    assert rows["sysctl", "net/ipv4/conf/k6t-eth0/route_localnet"].attrs == {"value": "1"}
    assert rows["port", "tap0"].attrs == {"controller": "k6t-eth0", "learning": False}
    lease = leased(MASQUERADE, primary())
    assert (lease.address, lease.server, lease.gateway, lease.mtu, lease.mac) == (
        "10.0.2.2/24",
        "10.0.2.1",
        "10.0.2.1",
        1400,
        "",
    )
    assert "table ip6" not in plumbing.nft


def test_masquerade_speaks_ipv6_to_the_guest_where_the_pod_has_it() -> None:
    plumbing = MASQUERADE.plumb(primary(addresses=("10.244.1.5/24", "fd00:10:244::5/64")))
    rows = by_key(plumbing.rows)
    assert ("address", "k6t-eth0", "fd10:0:2::1/120") in rows
    assert rows["sysctl", "net/ipv6/conf/k6t-eth0/disable_ipv6"].attrs == {"value": "0"}
    assert rows["sysctl", "net/ipv6/conf/tap0/disable_ipv6"].attrs == {"value": "1"}
    assert "ip6 saddr fd10:0:2::2 counter masquerade" in plumbing.nft


def test_masquerades_range_is_the_vms_choice() -> None:
    plumbing = MASQUERADE.plumb(primary(cidr="192.168.7.0/28"))
    assert ("address", "k6t-eth0", "192.168.7.1/28") in by_key(plumbing.rows)
    assert plumbing.address == leased(MASQUERADE, primary(cidr="192.168.7.0/28")).address == "192.168.7.2/28"
    assert "dnat to 192.168.7.2" in plumbing.nft


def test_bridge_on_the_pod_network_hands_the_pods_address_to_the_guest() -> None:
    plumbing = BRIDGE.plumb(primary())
    rows = by_key(plumbing.rows)
    assert rows["link", "eth0-nic"].was == "eth0"
    assert ("address", "k6t-eth0", "169.254.75.10/32") in rows
    assert ("address", "eth0", "10.244.1.5/24") in rows
    lease = leased(BRIDGE, primary())
    assert (lease.address, lease.gateway, lease.server, lease.mac) == (
        "10.244.1.5/24",
        "10.244.1.1",
        "169.254.75.10",
        GUEST,
    )
    assert [route.destination for route in lease.routes] == ["0.0.0.0/0", "10.96.0.0/12"]


def test_the_domain_gets_a_tap_that_is_there_already() -> None:
    assert BRIDGE.plumb(secondary(mtu=1400)).domain == (
        '<interface type="ethernet"><mac address="02:11:22:33:44:55" />'
        '<target dev="tapb6e7df19490" managed="no" /><model type="virtio-non-transitional" />'
        '<mtu size="1400" /><alias name="ua-nic-add1" /><rom enabled="no" /></interface>'
    )


def test_everything_that_a_vm_may_say_of_a_nic_is_in_its_xml() -> None:
    said = {
        "model": "virtio",
        "boot_order": 1,
        "state": "down",
        "acpi_index": 101,
        "pci_address": "0000:01:00.0",
    }
    nic = structs.replace(primary().interface, **said)
    text = ethernet(structs.replace(primary(), interface=nic, queues=4))
    for part in (
        '<boot order="1" />',
        '<link state="down" />',
        '<driver name="vhost" queues="4" />',
        '<acpi index="101" />',
        '<address type="pci" domain="0x0000" bus="0x01" slot="0x00" function="0x0" />',
    ):
        assert part in text
    assert "rom" not in text
    other = structs.replace(primary().interface, model="e1000e")
    text = ethernet(structs.replace(primary(), interface=other, queues=4))
    assert '<model type="e1000e" />' in text
    assert "vhost" not in text


def test_a_guest_that_has_the_pods_own_address_cannot_be_moved_in_kubevirts_words() -> None:
    assert "does not use masquerade" in BRIDGE.plumb(primary()).migration.refusal
    assert not BRIDGE.plumb(secondary()).migration.refusal
    assert BRIDGE.plumb(secondary()).gate == Gate(nic="b6e7df19490-nic", tap="tapb6e7df19490", mac=GUEST)
    masqueraded = MASQUERADE.plumb(primary())
    assert masqueraded.migration.exempt
    assert masqueraded.gate is None


def test_every_interface_has_a_dhcp_server_of_its_own_address() -> None:
    """KubeVirt's for the first ten; what it writes for the eleventh and the hundred-and-first is no address."""
    site = secondary(addresses=("10.10.0.7/24",))
    servers = [leased(BRIDGE, structs.replace(site, index=i)).server for i in range(300)]
    assert servers[:10] == [f"169.254.75.1{i}" for i in range(10)]
    assert len(set(servers)) == 300
    assert all(ipaddress.IPv4Address(server).is_link_local for server in servers)


def test_a_network_without_a_way_out_is_served_without_a_router() -> None:
    lease = leased(BRIDGE, secondary(addresses=("10.10.0.7/24",)))
    assert (lease.gateway, lease.routes) == ("", ())


def test_routes_are_handed_on_as_far_as_dhcp_has_words_for_them() -> None:
    link = structs.replace(
        primary().link,
        routes=(
            Route("10.244.1.0/24"),  # the guest's own subnet: KubeVirt leaves it to the address
            Route("10.244.0.0/16", "10.244.1.1"),  # so is this, as it holds the guest
            Route("192.168.0.0/16", "10.244.1.1"),
            Route("fd00::/8", "fe80::1"),
            Route("172.16.0.0/12", "fe80::1"),  # RFC 5549
            Route("0.0.0.0/0", "10.244.1.1"),
        ),
    )
    lease = leased(BRIDGE, structs.replace(primary(), link=link))
    assert lease.routes == (Route("192.168.0.0/16", "10.244.1.1"), Route("0.0.0.0/0", "10.244.1.1"))
    assert lease.gateway == "10.244.1.1"


def test_a_card_that_is_not_virtio_has_a_tap_of_one_queue() -> None:
    """QEMU could not open another: as in KubeVirt (netpod.go, networkQueues)."""
    for model, several in (("", True), ("virtio", True), ("e1000", False), ("igb", False)):
        nic = structs.replace(secondary().interface, model=model)
        plumbing = BRIDGE.plumb(structs.replace(secondary(), interface=nic, queues=4))
        tap = by_key(plumbing.rows)["link", "tapb6e7df19490"]
        assert ("multi-queue" in tap.attrs, "queues" in plumbing.domain) == (several, several)


def test_masquerade_in_a_pod_of_ipv6_alone_has_ipv6_alone() -> None:
    plumbing = MASQUERADE.plumb(primary(addresses=("fd00:10:244::5/64",)))
    rows = by_key(plumbing.rows)
    assert [key for key in rows if key[0] == "address"] == [("address", "k6t-eth0", "fd10:0:2::1/120")]
    assert not [key for key in rows if "ipv4" in key[1]]
    assert (plumbing.services, plumbing.address) == ((), "")
    assert "table ip nat" not in plumbing.nft
    assert "table ip6 nat" in plumbing.nft


def test_the_guard_of_a_network_without_addresses_lets_nothing_up() -> None:
    dhcp = "udp dport 67 accept"
    assert dhcp not in BRIDGE.plumb(secondary()).nft
    assert "arp" not in BRIDGE.plumb(secondary()).nft
    assert dhcp in BRIDGE.plumb(secondary(addresses=("10.10.0.7/24",))).nft


@pytest.mark.parametrize("site", SITES, ids=["l2", "ipam", "pod network"])
@pytest.mark.parametrize("binding", BINDINGS, ids=lambda b: str(b.name))
def test_a_binding_guards_its_own_bridge_in_tables_of_their_own(binding: Any, site: Site) -> None:
    tables = re.findall(r"(?m)^delete table (.*)$", binding.plumb(site).nft)
    guards = [table for table in tables if table.endswith(f" guard_{site.devices.bridge}")]
    assert guards
    assert set(tables) - set(guards) <= {"ip nat", "ip6 nat"}


@pytest.mark.parametrize("addresses", [("169.254.7.7/16",), ("fe80::7/64",), ("127.0.0.7/8", "::1/128")])
def test_an_address_that_nobody_else_could_reach_is_none(addresses: tuple[str, ...]) -> None:
    assert BRIDGE.plumb(primary(addresses=addresses)).services == ()
    plumbing = MASQUERADE.plumb(primary(addresses=addresses))
    assert not [row for row in plumbing.rows if row.key[0] == "address"]
    assert "table ip" not in plumbing.nft
