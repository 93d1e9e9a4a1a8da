"""One canonical form: what is written is what is read, for every attribute of every type and table."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nncp import wire
from nncp.document.lax import Form, Lax, LaxEnum, LaxInt
from nncp.host import Op, Row
from nncp.kinds import codec
from nncp.kinds.flat import flat
from nncp.kinds.linux_bridge import merged
from nncp.known import KINDS
from nncp.netlink.indexes import Indexes
from nncp.tables import vlans
from nncp.tables.link import LinkMessage
from nncp.tables.rtmsg import NONE, RTPROT_STATIC, pack, unpack
from nncp.tables.words import value as said_of

if TYPE_CHECKING:
    from nncp.kinds.codec import Codec
    from nncp.kinds.kind import Attr, Kind

NAMES = {3: "eth1", 4: "eth2"}
INDEXES = {name: index for index, name in NAMES.items()}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
IPV4 = st.ip_addresses(v=4).map(str)
IPV6 = st.ip_addresses(v=6).map(str)


def all_attrs() -> dict[str, Attr]:
    found = {}
    for kind in (*KINDS.by_type.values(), *KINDS.foreign.values()):
        for table in KINDS.tables.values():
            found |= {f"{kind.type}: {table.name}.{attr.name}": attr for attr in table.attrs(kind)}
    return found


ATTRS = all_attrs()


def values(of: Codec) -> st.SearchStrategy[Any]:
    if of.words:
        return st.sampled_from(of.words)
    if of.bounds:
        return st.integers(*of.bounds)
    if of is codec.MAC:
        return st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":"))
    if of in {codec.TEXT, codec.ALIAS}:
        return TEXT
    if of is codec.RAW:
        return st.binary(max_size=40).map(bytes.hex)
    hosts = IPV4.filter(lambda address: address != "0.0.0.0")
    return st.lists(hosts, max_size=16).map(",".join)


@pytest.mark.parametrize("name", ATTRS)
def test_what_is_packed_is_unpacked_as_it_was(name: str) -> None:
    of = ATTRS[name].codec

    @settings(max_examples=25)
    @given(values(of))
    def law(value: Any) -> None:
        assert of.unpack(of.pack(value)) == value

    law()


def leaf_types(kind: Kind) -> dict[str, Any]:
    """Return the document's type of each attribute, by its dotted name."""

    def below(struct_type: Any, prefix: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(struct_type):
            for option in getattr(field.type, "__args__", (field.type,)):
                inner = option.__args__[0] if getattr(option, "__origin__", None) is tuple else option
                if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
                    is_options = field.encode_name == "options" or inner is not option
                    found |= below(inner, "" if is_options else f"{prefix}{field.encode_name}.")
                elif isinstance(inner, Lax):
                    found[f"{prefix}{field.encode_name}"] = inner
        return found

    return below(kind.config, "") if kind.config else {}


@pytest.mark.parametrize("kind", KINDS.by_type.values(), ids=lambda kind: kind.type)
def test_what_the_schema_takes_can_be_packed_and_comes_back(kind: Kind) -> None:
    types = leaf_types(kind)
    for attr in (*kind.attrs, *kind.port_attrs):
        told = types.get(attr.name)
        if told is None:
            continue
        if issubclass(told, LaxInt):
            said: tuple[Any, ...] = (told.least, told.most)
        elif issubclass(told, LaxEnum):
            said = tuple(dict.fromkeys(told.words.values()))
        else:
            said = () if issubclass(told, Form) else (False, True)
        for value in said:
            assert attr.codec.unpack(attr.codec.pack(value)) == value, (attr.name, value)


HOPS = st.tuples(st.sampled_from(sorted(INDEXES)), IPV4, st.integers(1, 256), st.booleans())
ROUTES = st.fixed_dictionaries(
    {"nexthops": st.lists(HOPS, min_size=1, max_size=4, unique_by=lambda hop: hop[:2])},
    optional={
        "source": IPV4,
        "cwnd": st.integers(1, 2**32 - 1),
        "metrics": st.lists(
            st.tuples(st.sampled_from([2, 8, 10]), st.integers(1, 2**32 - 1)),
            min_size=1,
            unique_by=lambda m: m[0],
        ).map(lambda found: tuple(sorted(found))),
        "expires": st.just(None),
        "protocol": st.sampled_from([3, 4, 16]),
    },
)


@settings(max_examples=200)
@given(ROUTES, st.integers(0, 2**32 - 1), st.integers(1, 2**32 - 1), st.integers(0, 32), IPV4)
def test_a_route_is_read_as_it_was_written(
    attrs: dict[str, Any], metric: int, table: int, size: int, address: str
) -> None:
    raw = struct.unpack("!I", socket.inet_aton(address))[0] >> (32 - size) << (32 - size) if size else 0
    network = f"{socket.inet_ntoa(struct.pack('!I', raw))}/{size}"
    hops = attrs["nexthops"]
    hops = [(*hops[0][:2], 1, hops[0][3])] if len(hops) == 1 else hops
    written = {**{k: v for k, v in attrs.items() if v is not None}, "nexthops": tuple(sorted(hops))}
    key = ("route", "ipv4", str(table), network, str(metric))
    data = pack(key, written, Indexes(KINDS, dict(INDEXES), {}))
    found = unpack("ipv4", data, NAMES)
    assert found is not None
    read_key, read = found
    assert read_key == key
    assert {**NONE, "type": "unicast", "protocol": RTPROT_STATIC, "scope": 0, **written} == read


class Answers:
    """A kernel that dumps what it was told."""

    tells_makers = True

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.kinds = KINDS
        self.names = NAMES
        self.links: list[LinkMessage] = []

    def dump(self, _kind: int, _body: bytes) -> list[bytes]:
        return self.bodies


ADDRESSES = st.one_of(
    st.tuples(IPV4, st.integers(0, 32)),
    st.tuples(IPV6.filter(lambda text: not text.startswith("fe8")), st.integers(0, 128)),
)


@settings(max_examples=200)
@given(
    ADDRESSES,
    st.fixed_dictionaries(
        {},
        optional={
            "metric": st.integers(1, 2**32 - 1),
            **dict.fromkeys(("noprefixroute", "nodad", "home", "autojoin"), st.just(True)),
        },
    ),
)
def test_an_address_is_read_as_it_was_written(address: tuple[str, int], attrs: dict[str, Any]) -> None:
    table = KINDS.tables["address"]
    key = ("address", "eth1", f"{address[0]}/{address[1]}")
    op = Op("create", key, {"scope": 0, **attrs})
    (request,) = table.write(op, Indexes(KINDS, dict(INDEXES), {}))
    assert isinstance(request, bytearray)
    (row,) = table.read(Answers(bytes(request[wire.HEADER.size :])))
    assert row.key == key
    assert {name: row.attrs[name] for name in attrs} == attrs


VIDS = st.lists(
    st.tuples(st.integers(1, 4094), st.integers(1, 4094), st.sampled_from(["", "untagged"])), max_size=6
)


@given(VIDS)
def test_vlans_are_read_as_they_were_written(entries: list[tuple[int, int, str]]) -> None:
    apart: dict[int, str] = {}
    for first, last, word in entries:
        apart |= dict.fromkeys(range(first, min(last, first + 40) + 1), word)
    wanted = merged((vid, vid, word) for vid, word in apart.items())
    op = Op("create", ("vlans", "eth1"), {"vids": wanted}, type="ethernet")
    requests = list(KINDS.tables["vlans"].write(op, Indexes(KINDS, dict(INDEXES), {})))
    if not wanted:
        assert not requests
        return
    (request,) = requests
    assert vlans_in(bytes(request[wire.HEADER.size :])) == [Row(("vlans", "eth1"), {"vids": wanted})]


def vlans_in(*bodies: bytes) -> list[Row]:
    """Return the VLANs that a kernel with a bridge tells by these messages."""
    link = wire.IFINFO.pack(0, 0, 1, 0, 0) + wire.attr(3, b"br0\0")
    answers = Answers(*bodies)
    answers.links = [LinkMessage(link + wire.nest(18, wire.attr(1, b"bridge\0")), KINDS)]
    return list(vlans.VLANS.read(answers))


def test_what_a_cards_own_switch_tells_is_not_what_the_bridge_above_it_carries() -> None:
    """As br_fill_ifinfo and, after it, ndo_dflt_bridge_getlink answer for a card that is a bridge's port."""
    head = wire.IFINFO.pack(vlans.AF_BRIDGE, 0, INDEXES["eth1"], 0, 0) + wire.attr(10, struct.pack("=I", 1))
    bridges = head + wire.nest(
        26, wire.attr(2, struct.pack("=HH", 6, 1)), wire.attr(2, struct.pack("=HH", 0, 33))
    )
    cards = head + wire.nest(26, wire.attr(0, struct.pack("=H", 2)), wire.attr(1, struct.pack("=H", 0)))
    carried = Row(("vlans", "eth1"), {"vids": ((1, 1, "pvid untagged"), (33, 33, ""))})
    assert vlans_in(bridges, cards) == [carried]


ATTRIBUTES = st.lists(
    st.tuples(st.integers(1, 8), st.sampled_from([0, wire.NLA_F_NESTED]), st.binary(max_size=6))
)


@settings(max_examples=300)
@given(st.lists(st.tuples(ATTRIBUTES, st.binary(max_size=5)), max_size=8), st.integers(0, 30))
def test_attributes_are_picked_as_all_are_read(messages: list[tuple[Any, bytes]], cut: int) -> None:
    """Whatever was read before, of the same length or not, whole or cut off, with a torn attribute at its end."""
    pick = wire.Pick(16, (1, 3, 5))
    for attrs, torn in messages * 2:
        whole = bytes(16) + b"".join(wire.attr(number | flag, data) for number, flag, data in attrs) + torn
        for data in (whole, whole[: max(16, len(whole) - cut)]):
            every = wire.table(data, 16)
            assert pick(data) == {number: every[number] for number in (1, 3, 5) if number in every}


@settings(max_examples=300)
@given(
    st.dictionaries(st.integers(1, 70), st.binary(max_size=24), max_size=8),
    st.sampled_from([kind.link for kind in (*KINDS.by_type.values(), *KINDS.foreign.values())]),
    st.dictionaries(st.integers(1, 50), st.binary(max_size=12), max_size=8),
    st.binary(min_size=1, max_size=15).filter(lambda name: b"\0" not in name),
)
def test_no_link_of_anybody_ends_a_snapshot(
    given_attrs: dict[int, bytes], word: str, data: dict[int, bytes], name: bytes
) -> None:
    rest = b"".join(
        wire.attr(number, value) for number, value in given_attrs.items() if number not in {3, 5, 10, 18}
    )
    info = wire.attr(1, word.encode() + b"\0") + wire.nest(
        2, *(wire.attr(n, value) for n, value in data.items())
    )
    info += wire.attr(4, word.encode() + b"\0") + wire.nest(
        5, *(wire.attr(n, value) for n, value in data.items())
    )
    answers = Answers()
    head = wire.IFINFO.pack(0, 0, 3, 0, 0) + wire.attr(3, name + b"\0")
    answers.links = [LinkMessage(head + rest + wire.nest(18, info), KINDS)]
    for table in ("link", "port", "up", "sysctl"):
        list(KINDS.tables[table].read(answers))


def test_no_section_is_flattened_to_what_it_does_not_say() -> None:
    assert all(flat(kind.config()) == {} for kind in KINDS.by_type.values() if kind.config)


@given(st.binary(max_size=255).filter(lambda data: b"\0" not in data))
def test_an_alias_of_any_bytes_is_written_as_it_was_read(data: bytes) -> None:
    assert codec.ALIAS.pack(codec.ALIAS.unpack(data)) == data
    assert "\0" not in said_of(codec.ALIAS.unpack(data))
