"""What a lease says is encoded when a Pod is attached, or refused then: nothing is left to fail when it is served."""

from __future__ import annotations

import contextlib
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from nncp.errors import Error
from vmnet import dhcp
from vmnet.lease import Lease, options, service
from vmnet.plumbing import Route

PLAIN = Lease(interface="k6t-eth0", server="10.0.2.1", address="10.0.2.2/24")
DISCOVER = struct.pack("!BBBBI", 1, 1, 6, 0, 7) + bytes(20) + b"\2\0\0\0\0\5" + bytes(202)
DISCOVER += dhcp.MAGIC + b"\x35\1\1\xff"


def said(lease: Lease) -> dict[int, bytes]:
    """A lease's options, its pieces put together, as a reader of our own finds them on the wire."""
    found: dict[int, bytes] = {}
    for option in options(lease):
        rest = option
        while rest:
            code, length = rest[0], rest[1]
            found[code] = found.get(code, b"") + rest[2 : 2 + length]
            rest = rest[2 + length :]
    return found


def refused(lease: Lease) -> list[str]:
    with pytest.raises(Error) as caught:
        service(lease)
    return [error.message for error in caught.value]


def test_a_lease_that_names_nothing_says_what_kubevirts_says() -> None:
    assert said(PLAIN) == {
        54: bytes([10, 0, 2, 1]),
        51: struct.pack("!I", 999 * 24 * 3600),
        1: bytes([255, 255, 255, 0]),
        26: struct.pack("!H", 1500),
        6: bytes([8, 8, 8, 8]),
        15: b"cluster.local",
        119: b"\7cluster\5local\0",
    }


def test_a_lease_that_names_everything_says_kubevirts_options_and_no_other() -> None:
    lease = structs.replace(
        PLAIN,
        gateway="10.0.2.1",
        hostname="vm",
        nameservers=("10.96.0.10", "fd00::10"),
        searches=("foo.com", "foo.local"),
        routes=(Route("0.0.0.0/0", "10.0.2.1"),),
        ntp_servers=("192.168.2.2", "192.168.2.3"),
        tftp_server="tftp.kubevirt.io",
        boot_file="config",
        private=((240, "private.options.kubevirt.io"),),
    )
    found = said(lease)
    assert set(found) == {1, 3, 6, 12, 15, 26, 42, 51, 54, 66, 67, 119, 121, 240}
    assert found[119] == b"\3foo\3com\0\3foo\5local\0"
    assert found[15] == b"foo.local"
    assert found[6] == bytes([10, 96, 0, 10])
    assert found[42] == bytes([192, 168, 2, 2, 192, 168, 2, 3])
    assert (found[66], found[67], found[240]) == (
        b"tftp.kubevirt.io",
        b"config",
        b"private.options.kubevirt.io",
    )


def test_the_mask_stands_before_the_router() -> None:
    codes = [option[0] for option in options(structs.replace(PLAIN, gateway="10.0.2.1"))]
    assert codes.index(1) < codes.index(3)


UNSAYABLE = [
    ({"hostname": "gäst"}, "'gäst' is not text that DHCP option 12 can hold"),
    ({"boot_file": "x" * 256}, "is not text that DHCP option 67 can hold"),
    ({"tftp_server": "a\nb"}, "is not text that DHCP option 66 can hold"),
    ({"searches": ("a" * 64 + ".com",)}, "is not a domain that DHCP can name"),
    ({"searches": ("a..b",)}, "is not a domain that DHCP can name"),
    ({"searches": ("bücher.example",)}, "is not a domain that DHCP can name"),
    ({"private": ((224, "x" * 256),)}, "is not text that DHCP option 224 can hold"),
    ({"private": ((224, "\ud800"),)}, "is not text that DHCP option 224 can hold"),
    ({"ntp_servers": ("pool",)}, "DHCP option 42 cannot be said"),
    ({"nameservers": ("1.2.3",)}, "DHCP option 6 cannot be said"),
    ({"routes": (Route("10.0.0.0/33"),)}, "DHCP option 121 cannot be said"),
    ({"gateway": "fe80::1"}, "DHCP option 3 cannot be said"),
]


@pytest.mark.parametrize(("fields", "message"), UNSAYABLE, ids=[row[1][-30:] for row in UNSAYABLE])
def test_what_no_option_can_hold_is_refused(fields: dict[str, object], message: str) -> None:
    told = refused(structs.replace(PLAIN, **fields))
    assert any(message in one for one in told), told


def test_all_that_cannot_be_said_is_told_at_once() -> None:
    assert len(refused(structs.replace(PLAIN, hostname="ä", boot_file="ö", gateway="none"))) == 3


def test_a_route_whose_host_bits_are_set_is_said_without_them() -> None:
    lease = structs.replace(PLAIN, routes=(Route("10.1.2.3/8", "10.0.2.1"),))
    assert said(lease)[121] == bytes([8, 10, 10, 0, 2, 1])


def test_what_no_reply_has_room_for_is_refused() -> None:
    routes = tuple(Route(f"10.{i}.0.0/16", "10.0.2.1") for i in range(200))
    (told,) = refused(structs.replace(PLAIN, routes=routes))
    assert told.startswith("the DHCP options of k6t-eth0 take 14")
    assert told.endswith("octets, and a reply has room for 1228")


ADDRESS = st.ip_addresses(v=4).map(str)
TEXT = st.text(max_size=300) | st.sampled_from(["vm", "a.example", "", "x" * 255])
LEASES = st.builds(
    Lease,
    interface=st.just("k6t-eth0"),
    server=ADDRESS,
    address=st.builds("{}/{}".format, ADDRESS, st.integers(0, 32)),
    gateway=st.just("") | ADDRESS,
    mtu=st.integers(68, 70000),
    hostname=TEXT,
    nameservers=st.lists(ADDRESS | TEXT, max_size=4).map(tuple),
    searches=st.lists(st.sampled_from(["cluster.local", "a.b"]) | TEXT, max_size=4).map(tuple),
    routes=st.lists(
        st.builds(Route, st.builds("{}/{}".format, ADDRESS, st.integers(0, 33)), ADDRESS), max_size=200
    ).map(tuple),
    tftp_server=TEXT,
    boot_file=TEXT,
    ntp_servers=st.lists(ADDRESS, max_size=80).map(tuple),
    private=st.lists(st.tuples(st.integers(224, 254), TEXT), max_size=6).map(tuple),
)


@given(LEASES)
def test_every_lease_is_refused_or_served_whole_in_one_frame(lease: Lease) -> None:
    with contextlib.suppress(Error):
        config = msgspec.json.encode(service(lease).config)
        terms = msgspec.json.decode(config, type=dhcp.Terms)
        message = dhcp.parse(DISCOVER)
        assert message is not None
        reply = dhcp.answer(message, terms)
        assert reply is not None
        assert len(reply.payload) + 28 <= max(min(lease.mtu, 1500), 328)  # the least of RFC 1542 is no more
        assert b"".join(options(lease)) in reply.payload
