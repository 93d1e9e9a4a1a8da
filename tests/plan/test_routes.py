"""Routes as bytes and back, and what a plan does with those that are not wholly known."""

from __future__ import annotations

import re
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model import host_of, wanted

from nncp import wire
from nncp.errors import Error
from nncp.host import Host, Op, Row
from nncp.known import KINDS
from nncp.plan import plan
from nncp.render import render_plan
from nncp.tables.nexthop import NEXTHOP
from nncp.tables.route import ROUTE, rows_of
from nncp.tables.rtmsg import (
    HOPLESS,
    NONE,
    RTA_NH_ID,
    RTA_PREF,
    RTAX_CC_ALGO,
    TYPES,
    cannot_be_made,
    link_word,
    pack,
    unpack,
)

NAMES = {1: "lo", 5: "eth0", 6: "eth1"}
INDEXES: Any = {name: index for index, name in NAMES.items()}
REALM = wire.attr(11, struct.pack("=I", 7)).hex()


@st.composite
def hops(draw: Any, family: str) -> tuple[Any, ...]:
    gateways = ["", "2001:db8::1", "fe80::1"] + (["192.0.2.1"] if family == "ipv4" else [])
    hop = st.tuples(
        st.sampled_from(["eth0", "eth1"]), st.sampled_from(gateways), st.integers(1, 256), st.booleans()
    )
    found = draw(st.lists(st.one_of(hop, hop.map(lambda one: (*one, REALM))), min_size=1, max_size=3))
    if len(found) == 1:
        return ((*found[0][:2], 1, *found[0][3:]),)
    return tuple(sorted(found))


@st.composite
def rows(draw: Any) -> Row:
    family = draw(st.sampled_from(["ipv4", "ipv6"]))
    net, source = ("192.0.2.0/24", "192.0.2.7") if family == "ipv4" else ("2001:db8::/32", "2001:db8::7")
    zero = "0.0.0.0/0" if family == "ipv4" else "::/0"
    kind = draw(st.sampled_from(sorted(TYPES.values())))
    attrs: dict[str, Any] = {**NONE, "type": kind, "protocol": draw(st.integers(0, 255))}
    attrs["scope"] = 0 if kind in HOPLESS else draw(st.sampled_from([0, 253, 254]))
    attrs["nexthops"] = () if kind in HOPLESS else draw(hops(family))
    maybe = {
        "source": st.just(source),
        "cwnd": st.integers(1, 2**32 - 1),
        "metrics": st.sampled_from([((2, 1400),), ((1, 4), (2, 1400)), ((7, 12), (RTAX_CC_ALGO, "bbr"))]),
        "kept": st.just(((RTA_PREF, "01"),)),
    }
    attrs |= {name: draw(values) for name, values in maybe.items() if draw(st.booleans())}
    if (7, 12) in attrs["metrics"]:
        attrs["cwnd"] = 0  # one window is locked or it is not
    key = (
        "route",
        family,
        draw(st.sampled_from(["254", "0", "77", "100000"])),
        draw(st.sampled_from([net, zero])),
    )
    further = [f"tos {draw(st.sampled_from([8, 16]))}"] if draw(st.booleans()) else []
    further += ["from 2001:db8:1::/48"] if family == "ipv6" and draw(st.booleans()) else []
    further += link_word(family, attrs["nexthops"])
    return Row((*key, draw(st.sampled_from(["0", "5", "4294967295"])), *further), attrs)


@given(rows())
def test_a_route_that_is_written_reads_as_itself(row: Row) -> None:
    assert unpack(row.key[1], pack(row.key, row.attrs, INDEXES), NAMES) == (row.key, row.attrs)


def test_a_kernel_without_ipv6_answers_with_routes_that_are_none_of_it() -> None:
    key = ("route", "ipv4", "254", "198.51.100.0/24", "0")
    body = pack(key, {"type": "unicast", "nexthops": (("eth0", "192.0.2.1", 1, False),)}, INDEXES)
    assert [row.key for row in rows_of("ipv4", [body], NAMES)] == [key]
    assert list(rows_of("ipv6", [body], NAMES)) == []


def test_the_id_of_a_nexthop_is_sent_without_the_hops_that_a_dump_tells_beside_it() -> None:
    hop = ("eth0", "192.0.2.1", 1, False)
    key = ("route", "ipv4", "254", "198.51.100.0/24", "0")
    body = pack(key, {"type": "unicast", "nexthops": (hop, hop), "nexthop-id": 9}, INDEXES)
    assert set(wire.table(body, wire.RTMSG.size)) == {1, 15, RTA_NH_ID}


def _encapsulated(kind: int, *parts: bytes) -> bytes:
    """What lwtunnel_fill_encap() adds to a hop: a nest that is not marked as one, and its type."""
    return wire.attr(22, b"".join(parts)) + wire.attr(21, struct.pack("=H", kind))


BY_IP = _encapsulated(
    2, wire.attr(1, bytes(7) + b"\x09"), wire.attr(2, bytes([192, 0, 2, 77])), wire.attr(5, b"\x40")
)
BY_MPLS = _encapsulated(1, wire.attr(1, bytes.fromhex("00064140")))
BY_SEGMENT = _encapsulated(7, wire.attr(1, struct.pack("=I", 3)))
ENCAPSULATED = {
    "one hop": wire.attr(4, struct.pack("=I", 5)) + wire.attr(5, bytes([192, 0, 2, 254])) + BY_IP,
    "two hops": wire.attr(9, b"".join(
        struct.pack("=HBBi", 16 + len(encap), 0, 0, index) + wire.attr(5, bytes([192, 0, 2, 254])) + encap
        for index, encap in ((5, BY_IP), (6, BY_MPLS))
    )),
    "an end of a segment": wire.attr(4, struct.pack("=I", 5)) + BY_SEGMENT,
}  # fmt: skip


@pytest.mark.parametrize("told", ENCAPSULATED.values(), ids=ENCAPSULATED)
def test_an_encapsulation_is_sent_back_as_it_was_read(told: bytes) -> None:
    head = wire.RTMSG.pack(2, 24, 0, 0, 254, 4, 0, 1, 0) + wire.attr(1, bytes([198, 51, 100, 0]))
    found = unpack("ipv4", head + told, NAMES)
    assert found is not None
    assert cannot_be_made(found[1]) == ""
    again = pack(*found, INDEXES)
    assert unpack("ipv4", again, NAMES) == found
    for encap in (one for one in (BY_IP, BY_MPLS, BY_SEGMENT) if one in told):
        kind, data = wire.table(encap)[21], wire.table(encap)[22]
        assert wire.attr(21, kind) in again
        assert data in again
        assert wire.nest(22, data) in again


@pytest.mark.parametrize(
    ("encap", "why"),
    [
        (_encapsulated(6, wire.attr(1, b"\1\0\0\0")), "bpf"),
        (_encapsulated(7, wire.attr(1, struct.pack("=I", 15)), wire.attr(8, b"\4\0\1\0")), "bpf"),
        (_encapsulated(11), "encapsulation 11"),
    ],
)
def test_an_encapsulation_that_does_not_tell_what_makes_it_is_not_taken_away(encap: bytes, why: str) -> None:
    hop = wire.attr(4, struct.pack("=I", 5)) + encap
    found = unpack("ipv4", wire.RTMSG.pack(2, 0, 0, 0, 254, 4, 0, 1, 0) + hop, NAMES)
    assert found is not None
    assert why in cannot_be_made(found[1])
    host = Host([*_host(), Row(*found)])
    with pytest.raises(Error, match=why):
        plan(host, [Row(("up", "eth0"), absent=True)], KINDS)
    sent = tuple(
        (number, data.hex()) for number, data in ((7, wire.table(encap)[21]), (8, wire.table(encap)[22]))
    )
    assert why in NEXTHOP.cannot_be_made({"sent": sent}, KINDS)


def _host(**more: Any) -> Host:
    hop = [["eth0", "192.0.2.254", 1, False]]
    return host_of({
        "link eth0": {"type": "ethernet"}, "up eth0": {}, "address eth0 192.0.2.1/24": {},
        "route ipv4 254 198.51.100.0/24 0": {"type": "unicast", "protocol": 4, "nexthops": hop, **more},
    })  # fmt: skip


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"unknown": [77, 91]}, "attribute 77, 91"),
        (
            {"nexthops": [["eth0", "192.0.2.254", 1, False, wire.attr(21, struct.pack("=H", 6)).hex()]]},
            "bpf",
        ),
    ],
)
def test_what_could_not_be_made_again_is_not_taken_away(more: Any, reason: str) -> None:
    host = _host(**more)
    with pytest.raises(Error, match=reason):
        plan(host, [Row(("up", "eth0"), absent=True)], KINDS)
    assert plan(host, [Row(("link", "eth0"), {"mtu": 1400})], KINDS)
    assert cannot_be_made(_host().rows["route", "ipv4", "254", "198.51.100.0/24", "0"].attrs) == ""


def test_what_could_not_be_made_again_is_told_with_what_takes_it() -> None:
    host = _host(unknown=[77])
    key = ("route", "ipv4", "254", "198.51.100.0/24", "0")
    with pytest.raises(Error) as with_its_link:
        plan(host, [Row(("up", "eth0"), absent=True)], KINDS)
    with pytest.raises(Error) as itself:
        plan(host, [Row(key, {"nexthops": (("eth0", "192.0.2.254", 1, False),)}, absent=True)], KINDS)
    name = "198.51.100.0/24 via 192.0.2.254 dev eth0"
    assert re.match(
        f"route {name} would be deleted with eth0 and could not be made", with_its_link.value.message
    )
    assert re.match(f"route {name} would be deleted and could not be made again", itself.value.message)


def test_a_changed_route_is_written_whole() -> None:
    host = _host(source="192.0.2.1", metrics=[[2, 1400]], kept=[[RTA_PREF, "01"]])
    text = """
    routes:
      config:
      - {destination: 198.51.100.0/24, next-hop-interface: eth0, next-hop-address: 192.0.2.9}
    """
    (op,) = plan(host, wanted(text, host), KINDS)
    assert [op.attrs[name] for name in ("source", "metrics", "kept", "protocol")] == [
        "192.0.2.1", ((2, 1400),), ((RTA_PREF, "01"),), 4,
    ]  # fmt: skip
    assert len(op.attrs["nexthops"]) == 2


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
@pytest.mark.parametrize(
    "had",
    [{}, {"metrics": ((7, 20),)}, {"metrics": ((7, 7),)}, {"metrics": ((11, 10),)}, {"cwnd": 10}, {"source": ""}],
)  # fmt: skip
def test_what_a_route_had_not_is_taken_off_it_on_the_way_back(family: str, had: dict[str, Any]) -> None:
    net, via, source = ("198.51.100.0/24", "192.0.2.254", "192.0.2.1")
    if family == "ipv6":
        net, via, source = ("2001:db8:7::/48", "2001:db8::fe", "2001:db8::1")
    key = ("route", family, "254", net, "1024" if family == "ipv6" else "0")
    attrs = {"type": "unicast", "protocol": 4, "scope": 0, "nexthops": (("eth0", via, 1, False),), **had}
    read = unpack(family, pack(key, attrs, INDEXES), NAMES)
    assert read is not None
    host = Host([*_host(), Row(("address", "eth0", f"{source}/24")), Row(*read)])
    text = f"""
    routes: {{config: [{{destination: '{net}', next-hop-interface: eth0, next-hop-address: '{via}', cwnd: 20,
                         source: '{source}'}}]}}
    """
    (op,) = plan(host, wanted(text, host), KINDS)
    after = unpack(family, pack(key, op.attrs, INDEXES), NAMES)
    assert after is not None
    assert (after[1]["cwnd"], after[1]["source"]) == (20, source)
    (back,) = plan(host.with_rows([Row(*after)]), [Row(*read)], KINDS)
    assert unpack(family, pack(key, back.attrs, INDEXES), NAMES) == read


def test_a_route_that_gets_the_key_of_one_that_went_is_another() -> None:
    one, two = (
        {"type": "unicast", "protocol": 3, "nexthops": (("eth0", f"192.0.2.{n}", 1, False),)} for n in (1, 2)
    )
    first = ("route", "ipv4", "254", "10.0.0.0/8", "0")
    second = (*first, "via 192.0.2.2 dev eth0")
    both, left = [Row(first, one), Row(second, two)], Host([*_host(), Row(first, two)])
    asked = wanted(
        "routes: {config: [{state: absent, destination: 10.0.0.0/8, next-hop-address: 192.0.2.1}]}",
        Host([*_host(), *both]),
    )
    assert plan(left, asked, KINDS) == []
    (op,) = plan(left, both, KINDS)
    assert (op.verb, op.key, op.attrs["beside"]) == ("create", first, True)
    assert plan(left, [Row(first, two)], KINDS) == []


def test_a_route_is_told_as_ip_words_it() -> None:
    host = _host()
    text = """
    routes:
      config:
      - {destination: 203.0.113.0/24, next-hop-interface: eth0, next-hop-address: 192.0.2.9, metric: 50,
         table-id: 77, source: 192.0.2.1}
      - {destination: 198.51.100.0/24, next-hop-interface: eth0, next-hop-address: 192.0.2.254, cwnd: 20}
    """
    lines = render_plan(plan(host, wanted(text, host), KINDS), KINDS)
    assert lines[:2] == [
        "+ route 203.0.113.0/24 via 192.0.2.9 dev eth0 metric 50 table 77 src 192.0.2.1",
        "~ route 198.51.100.0/24: via 192.0.2.254 dev eth0 → via 192.0.2.254 dev eth0 cwnd 20",
    ]


def test_routes_of_daemons_that_go_along_are_counted() -> None:
    ops = [
        Op("remove", ("route", "ipv4", "254", f"10.0.{n}.0/24", "0"), implied=True,
           old={"protocol": 186 if n else 188, "nexthops": (("eth0", "192.0.2.1", 1, False),)})
        for n in range(3)
    ]  # fmt: skip
    two = (("eth0", "192.0.2.1", 1, False), ("eth1", "198.51.100.1", 1, False))
    for more in ({"nexthops": two}, {"nexthops": two[:1], "nexthop-id": 7}, {"nexthops": two[:1]}):
        key = ("route", "ipv4", "254", f"10.1.{len(ops)}.0/24", "0")
        ops.append(Op("remove", key, implied=True, old={"protocol": 12, **more}))
    lines = render_plan([Op("remove", ("up", "eth0")), *ops], KINDS)
    assert [line.split() for line in lines if "takes" in line] == [
        f"eth0 takes {what} with it".split()
        for what in ("1 route of ospf", "2 routes of bgp", "hops of 2 routes of bird", "1 route of bird")
    ]
    (line,) = [line for line in render_plan([Op("remove", ("up", "eth1")), ops[3]], KINDS) if "takes" in line]
    assert line.split() == ["eth1", *["takes", "hops", "of", "1", "route", "of", "bird", "with", "it"]]


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_route_of_another_type_is_another_wish(family: str) -> None:
    net = "2001:db8:7::/48" if family == "ipv6" else "203.0.113.0/24"
    key = ("route", family, "254", net, "1024" if family == "ipv6" else "0")
    host = Host([*_host(), Row(key, {"type": "blackhole", "protocol": 4, "nexthops": ()})])
    asked = "routes: {{config: [{{destination: '{}', route-type: {}}}]}}"
    assert plan(host, wanted(asked.format(net, "blackhole"), host), KINDS) == []
    (op,) = plan(host, wanted(asked.format(net, "unreachable"), host), KINDS)
    assert (op.verb, op.key, op.attrs["type"]) == ("change", key, "unreachable")
    assert render_plan([op], KINDS)[0] == f"~ route {net}: blackhole → unreachable"


@pytest.mark.parametrize(("family", "further"), [("ipv4", "tos 8"), ("ipv6", "from 2001:db8:9::/48")])
def test_a_route_for_some_packets_alone_is_not_the_one_that_is_asked_for(family: str, further: str) -> None:
    net = "2001:db8:7::/48" if family == "ipv6" else "203.0.113.0/24"
    key = ("route", family, "254", net, "1024" if family == "ipv6" else "0")
    host = Host([*_host(), Row((*key, further), {"type": "blackhole", "protocol": 4, "nexthops": ()})])
    (op,) = plan(
        host, wanted(f"routes: {{config: [{{destination: '{net}', route-type: blackhole}}]}}", host), KINDS
    )
    assert (op.verb, op.key) == ("create", key)


def test_a_creation_replaces_nothing_and_what_was_there_is_made_again_in_place() -> None:
    key, attrs = ("route", "ipv4", "254", "10.0.0.0/24", "0"), {"type": "blackhole"}
    beside = {**attrs, "beside": True}
    for asked, old, flag in (
        (attrs, {}, wire.NLM_F_EXCL), (attrs, attrs, wire.NLM_F_REPLACE), (beside, {}, 0), (beside, attrs, 0),
    ):  # fmt: skip
        (message,) = ROUTE.write(Op("create", key, asked, old), INDEXES)
        assert isinstance(message, bytearray)
        flags = wire.HEADER.unpack_from(message)[2]
        assert flags & (wire.NLM_F_EXCL | wire.NLM_F_REPLACE) == flag
