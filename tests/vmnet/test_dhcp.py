from __future__ import annotations

import socket
import threading

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.waiting import until
from vmnet import dhcp
from vmnet.lease import Lease, classless_routes, service
from vmnet.plumbing import Route

scapy = pytest.importorskip("scapy.all", reason="scapy writes the frames that our code did not")

LEASE = Lease(
    interface="k6t-eth0",
    server="10.0.2.1",
    address="10.0.2.2/24",
    gateway="10.0.2.1",
    mtu=1400,
    hostname="vm",
    nameservers=("10.96.0.10", "fd00::10"),
    searches=("default.svc.cluster.local", "cluster.local"),
)
MAC = "02:11:22:33:44:55"


def said(kind: str, *options: tuple[str, object], mac: str = MAC, **fields: object) -> bytes:
    bootp = scapy.BOOTP(chaddr=bytes.fromhex(mac.replace(":", "")), xid=0x1234, **fields)
    return bytes(bootp / scapy.DHCP(options=[("message-type", kind), *options, "end"]))


def terms(lease: Lease = LEASE) -> dhcp.Terms:
    """What the program serves, after the way through JSON that its input takes."""
    return msgspec.json.decode(msgspec.json.encode(service(lease).config), type=dhcp.Terms)


def answered(data: bytes, lease: Lease = LEASE) -> dict[str, object] | None:
    message = dhcp.parse(data)
    reply = dhcp.answer(message, terms(lease)) if message else None
    if reply is None:
        return None
    packet = scapy.BOOTP(reply.payload)
    options = {option[0]: option[1:] for option in packet[scapy.DHCP].options if isinstance(option, tuple)}
    return {"packet": packet, "to": reply.address, "yiaddr": packet.yiaddr, **options}


def kind(answer: dict[str, object] | None) -> object:
    return None if answer is None else answer["message-type"][0]  # type: ignore[index]  # scapy's own tuple


def test_a_discover_is_offered_everything_whatever_it_asks_for() -> None:
    offer = answered(said("discover", ("param_req_list", [1])))
    assert offer is not None
    assert kind(offer) == dhcp.OFFER
    assert (offer["yiaddr"], offer["to"]) == ("10.0.2.2", "255.255.255.255")
    assert offer["subnet_mask"] == ("255.255.255.0",)
    assert offer["router"] == ("10.0.2.1",)
    assert offer["name_server"] == ("10.96.0.10",)
    assert offer["hostname"] == (b"vm",)
    assert offer["domain"] == (b"default.svc.cluster.local",)
    assert offer["interface-mtu"] == (1400,)
    assert offer["lease_time"] == (999 * 24 * 3600,)
    assert offer["server_id"] == ("10.0.2.1",)


@pytest.mark.parametrize("flags", [0, 0x8000])
@pytest.mark.parametrize("asks", ["discover", "request"])
def test_only_a_client_that_has_its_address_is_answered_there(asks: str, flags: int) -> None:
    """RFC 2131, 4.1; to no other address that a guest might name, or it would send by way of the Pod."""
    for address, to in (
        ("0.0.0.0", dhcp.BROADCAST),
        ("10.0.2.2", "10.0.2.2"),
        ("192.0.2.1", dhcp.BROADCAST),
    ):
        reply = answered(said(asks, ("requested_addr", "10.0.2.2"), ciaddr=address, flags=flags))
        assert reply is not None
        assert reply["to"] == to


CASES = [
    ("selecting us", [("server_id", "10.0.2.1"), ("requested_addr", "10.0.2.2")], {}, dhcp.ACK),
    ("selecting another", [("server_id", "10.0.2.9"), ("requested_addr", "10.0.2.2")], {}, None),
    ("init-reboot", [("requested_addr", "10.0.2.2")], {}, dhcp.ACK),
    ("init-reboot of another network", [("requested_addr", "192.168.1.9")], {}, dhcp.NAK),
    ("renewing", [], {"ciaddr": "10.0.2.2"}, dhcp.ACK),
    ("renewing another address", [], {"ciaddr": "10.0.2.77"}, dhcp.NAK),
]


@pytest.mark.parametrize(("name", "options", "fields", "wanted"), CASES, ids=[case[0] for case in CASES])
def test_a_request_is_answered_as_rfc_2131_says(
    name: str, options: list[tuple[str, object]], fields: dict[str, object], wanted: int | None
) -> None:
    assert kind(answered(said("request", *options, **fields))) == wanted


@pytest.mark.parametrize("message", ["release", "decline", "inform"])
def test_everything_else_is_ignored(message: str) -> None:
    assert answered(said(message)) is None


def test_a_bridged_network_serves_its_own_guest_only() -> None:
    lease = structs.replace(LEASE, mac=MAC)
    assert kind(answered(said("discover"), lease)) == dhcp.OFFER
    assert answered(said("discover", mac="02:99:99:99:99:99"), lease) is None


GOLDEN = [
    (
        [Route("224.0.0.0/4"), Route("192.168.1.0/24", "192.168.2.1")],
        [4, 224, 0, 0, 0, 0, 24, 192, 168, 1, 192, 168, 2, 1],
    ),
    (
        [Route("0.0.0.0/0", "10.129.0.1"), Route("10.128.0.0/14"), Route("224.0.0.0/4")],
        [14, 10, 128, 0, 0, 0, 0, 4, 224, 0, 0, 0, 0, 0, 10, 129, 0, 1],
    ),
    (
        [Route("0.0.0.0/0", "169.254.1.1"), Route("169.254.1.1/32")],
        [32, 169, 254, 1, 1, 0, 0, 0, 0, 0, 169, 254, 1, 1],
    ),
]


@pytest.mark.parametrize(("routes", "octets"), GOLDEN, ids=["plain", "OpenShift", "Calico"])
def test_option_121_is_byte_for_byte_kubevirts(routes: list[Route], octets: list[int]) -> None:
    assert list(classless_routes(routes)) == octets


def test_long_search_lists_are_split_and_put_together_again() -> None:
    names = tuple(f"a-rather-long-domain-number-{i}.example.org" for i in range(20))
    data = said("discover")
    message = dhcp.parse(data)
    assert message is not None
    reply = dhcp.answer(message, terms(structs.replace(LEASE, searches=names)))
    assert reply is not None
    pieces = [v for code, v in dhcp._options(reply.payload[240:]) if code == 119]
    assert len(pieces) > 1
    assert b"".join(pieces).count(b"\x07example\x03org\0") == 20


def test_a_client_with_little_room_gets_what_it_can_least_do_without() -> None:
    lease = structs.replace(LEASE, boot_file="x" * 255, private=((224, "y" * 255), (225, "z")))
    size = ("max_dhcp_size", 576)
    offer = answered(said("discover", size), lease)
    assert offer is not None
    assert 20 + 8 + len(offer["packet"]) <= 576  # type: ignore[arg-type]  # scapy's own packet
    assert offer["router"] == ("10.0.2.1",)
    assert offer["domain"] == (b"default.svc.cluster.local",)
    assert 224 not in offer
    assert offer[225] == (b"z",)  # type: ignore[index]  # scapy knows no name for it
    whole = answered(said("discover"), lease)
    assert whole is not None
    assert 224 in whole


def test_no_client_has_less_room_than_every_host() -> None:
    """RFC 2132, 9.10: 576 is the least that may be said."""
    offer = answered(said("discover", ("max_dhcp_size", 68)))
    assert offer is not None
    assert offer["domain"] == (b"default.svc.cluster.local",)


def test_an_option_that_is_cut_off_is_none() -> None:
    data = said("request", ciaddr="10.0.2.2")[:240] + b"\x35\1\3\x32\4\x0a\0"
    assert kind(answered(data)) == dhcp.ACK


def test_options_are_read_from_the_fields_that_overload_them() -> None:
    """RFC 2131, 4.1: what does not fit among the options stands in the fields of the boot file and the server."""
    options = b"\x34\1\3\x35\1\3\xff"
    file, sname = b"\x32\4\x0a\0\2\2\xff", b"\x36\4\x0a\0\2\1\xff"
    head = said("request")[:236]
    data = head[:44] + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + dhcp.MAGIC + options
    assert kind(answered(data)) == dhcp.ACK
    strange = data.replace(b"\x36\4\x0a\0\2\1", b"\x36\4\x0a\0\2\x09")
    assert answered(strange) is None


def test_pieces_of_one_option_are_one() -> None:
    data = said("request")[:236] + dhcp.MAGIC + b"\x35\1\3\x32\2\x0a\0\x32\2\2\2\xff"
    assert kind(answered(data)) == dhcp.ACK


def test_an_offer_names_no_address_that_the_client_has() -> None:
    """RFC 2131, table 3: ciaddr is 0 in an OFFER, and the client's own in an ACK."""
    offer, ack = answered(said("discover", ciaddr="10.0.2.2")), answered(said("request", ciaddr="10.0.2.2"))
    assert offer is not None
    assert ack is not None
    found = [one["packet"].ciaddr for one in (offer, ack)]  # type: ignore[index]  # scapy's own
    assert found == ["0.0.0.0", "10.0.2.2"]


UNREAD = {
    "nothing": b"",
    "one octet": b"\1",
    "no magic": said("discover").replace(dhcp.MAGIC, b"DHCP"),
    "a reply": said("discover", op=2),
    "through a relay": said("discover", giaddr="10.0.2.9"),
    "no Ethernet": said("discover", htype=32),
    "a long hardware address": said("discover", hlen=16),
    "an option that is cut off": said("discover")[:240] + b"\x3d\xff\1\x35\1\1",
    "two kinds": said("discover")[:240] + b"\x35\2\1\3\xff",
    "no kind": said("discover")[:240] + b"\x37\1\1\xff",
    "padding only": said("discover")[:240] + bytes(300),
}


@pytest.mark.parametrize("data", UNREAD.values(), ids=UNREAD)
def test_what_no_client_of_this_link_sends_is_not_answered(data: bytes) -> None:
    assert answered(data) is None


TERMS = terms()
PIECE = st.tuples(st.sampled_from([0, 50, 52, 53, 54, 57, 61, 255]), st.binary(max_size=8))
WELL_FORMED = st.lists(PIECE, max_size=12).map(lambda all_: b"".join(bytes([c, len(v)]) + v for c, v in all_))


@given(st.binary(max_size=600))
def test_no_datagram_upsets_the_server(data: bytes) -> None:
    message = dhcp.parse(data)
    assert message is None or dhcp.answer(message, TERMS) is None


@given(head=st.binary(min_size=236, max_size=236), tail=st.binary(max_size=400) | WELL_FORMED)
def test_no_header_and_no_options_upset_the_server(head: bytes, tail: bytes) -> None:
    for front in (head, b"\1\1\6" + head[3:24] + bytes(4) + head[28:]):
        message = dhcp.parse(front + dhcp.MAGIC + tail)
        reply = None if message is None else dhcp.answer(message, TERMS)
        if reply is not None:
            assert scapy.BOOTP(reply.payload).op == 2
            assert reply.address in {TERMS.address, dhcp.BROADCAST}


def test_nothing_to_read_is_not_waited_for() -> None:
    """A datagram that poll told of is gone again when its checksum turns out to be wrong."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.bind(("127.0.0.1", 0))
        server = dhcp.Server(terms(), line)
        looks = threading.Thread(target=server.once, daemon=True)
        looks.start()
        until(lambda: not looks.is_alive(), what="it returns")
        assert not server.lost
